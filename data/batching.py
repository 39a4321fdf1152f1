"""Batches of instances: padding, joining, taking apart, changing fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.fleet import Fleet, cut_fleet, fleet_with_dtype, pad_fleet
from nco.data.instance import (
    DEMAND_FIELDS,
    FIELDS,
    PRIZE_FIELDS,
    Instance,
    distance_matrix,
    duration_matrix,
)

PER_NODE = ("coords", "linehaul", "backhaul", "service_time", "time_window", "valid", "presence",
            "zone", "kind", "prize", "penalty", "realised_prize", "demand_spread")  # fmt: skip
"""Fields with an axis of nodes, the second one."""
PER_ARC = ("distance", "duration")
"""Fields with two axes of nodes."""
RULES = (*PRIZE_FIELDS, "realised_prize", *DEMAND_FIELDS, "traffic", "prices", "dispatch")
"""Fields that make another problem of an instance where they are given."""


def pad(instance: Instance, num_nodes: int, num_vehicles: int | None = None) -> Instance:
    """The same instances with padding up to ``num_nodes`` nodes, and up to ``num_vehicles``
    vehicles where they have a fleet."""
    fleet = instance.fleet
    if fleet is not None:
        fleet = pad_fleet(
            fleet, num_vehicles or fleet.num_vehicles, max(num_nodes, instance.num_nodes)
        )
    extra = num_nodes - instance.num_nodes
    if extra < 0:
        raise InputError(
            f"cannot pad {instance.num_nodes} nodes to {num_nodes}; accepted: at least as many"
        )
    if extra == 0 and fleet is None:
        return instance

    def grow(name: str, *dims: int) -> Tensor | None:
        value = getattr(instance, name)
        if value is None:
            return None
        spec = [0, 0] * value.dim()
        for dim in dims:
            spec[2 * (value.dim() - 1 - dim) + 1] = extra
        return torch.nn.functional.pad(value, spec)

    return replace(
        instance,
        {name: grow(name, 1) for name in PER_NODE}
        | {name: grow(name, 1, 2) for name in PER_ARC}
        | {"fleet": fleet},
    )


def collate(instances: Sequence[Instance]) -> Instance:
    """One batch of several, padded to the largest; a mix of matrices and coordinates is allowed.

    What not all of them have, coordinates, keys, zones or kinds, none has in the batch; where some
    have probabilities, all others are certain.

    Raises:
        InputError: there is none, or one of `RULES` holds for some and not for others.
    """
    if not instances:
        raise InputError("there is no instance to collate; at least one is needed")
    for name in RULES:
        if len({getattr(i, name) is None for i in instances}) > 1:
            raise InputError(
                f"some of the instances to collate have {name} and others do not; accepted: all "
                "or none"
            )
    size = max(i.num_nodes for i in instances)
    dtype = instances[0].dtype
    for instance in instances:
        dtype = torch.promote_types(dtype, instance.dtype)
    with_distance = any(i.distance is not None for i in instances)
    with_duration = any(i.duration is not None for i in instances)
    fleets = [i.fleet for i in instances if i.fleet is not None]
    if fleets and len(fleets) < len(instances):
        raise InputError(
            f"{len(fleets)} of {len(instances)} instances have a fleet; accepted in one batch: all "
            "or none"
        )
    vehicles = max((fleet.num_vehicles for fleet in fleets), default=None)
    with_presence = any(i.presence is not None for i in instances)
    optional = ("coords", "key", "zone", "kind")
    absent = [n for n in optional if any(getattr(i, n) is None for i in instances)]
    parts = []
    for instance in instances:
        part = pad(with_dtype(instance, dtype), size, vehicles)
        changes: dict[str, Tensor | None] = dict.fromkeys(absent)
        if with_distance and part.distance is None:
            changes["distance"] = distance_matrix(part)
            changes["rounding"] = torch.zeros_like(part.rounding)
        if with_presence and part.presence is None:
            changes["presence"] = torch.ones_like(part.linehaul)
        if with_duration and part.duration is None:
            changes["duration"] = duration_matrix(part)
        parts.append(replace(part, changes))
    return torch.cat(parts) if len(parts) > 1 else parts[0]  # type: ignore[return-value]


def replace(instance: Instance, changes: Mapping[str, Tensor | Fleet | None]) -> Instance:
    """A copy with some fields changed; the rest is shared."""
    unknown = set(changes) - set(FIELDS)
    if unknown:
        raise InputError(f"unknown fields {sorted(unknown)}; accepted: {', '.join(FIELDS)}")
    fields: dict[str, Any] = {name: getattr(instance, name) for name in FIELDS} | dict(changes)
    return Instance(**fields, batch_size=instance.batch_size)


def with_nodes(instance: Instance, index: Int[Tensor, " kept"]) -> Instance:
    """The same instances with only these nodes, in this order; all depots must be among them,
    first."""
    changes: dict[str, Tensor | None] = {}
    for name in (*PER_NODE, *PER_ARC):
        value = getattr(instance, name)
        if value is not None:
            value = value.index_select(1, index)
            changes[name] = value.index_select(2, index) if name in PER_ARC else value
    return replace(instance, changes)


def with_dtype(instance: Instance, dtype: torch.dtype) -> Instance:
    """The same instances with floating-point fields of this dtype.

    `Instance.to(dtype)` would turn masks and counts into floats as well.
    """
    fields = {name: getattr(instance, name) for name in FIELDS if name != "fleet"}
    changes = {n: v.to(dtype) for n, v in fields.items() if v is not None and v.is_floating_point()}
    fleet = instance.fleet
    return replace(
        instance, changes | {"fleet": None if fleet is None else fleet_with_dtype(fleet, dtype)}
    )


def unbatch(instance: Instance) -> list[Instance]:
    """The instances of a batch, each with B = 1 and without padding."""
    singles = []
    for i in range(instance.batch_size[0]):
        one = instance[i : i + 1]
        n = int(one.valid.sum())
        if one.fleet is not None:
            one = replace(one, {"fleet": _real_vehicles(one.fleet)})
        if n < one.num_nodes:
            cut: dict[str, Tensor | Fleet | None] = {}
            if one.fleet is not None:
                cut["fleet"] = cut_fleet(one.fleet, one.fleet.num_vehicles, n)
            for name in PER_NODE:
                value = getattr(one, name)
                cut[name] = None if value is None else value[:, :n]
            for name in PER_ARC:
                value = getattr(one, name)
                cut[name] = None if value is None else value[:, :n, :n]
            one = replace(one, cut)
        singles.append(one)
    return singles


def _real_vehicles(fleet: Fleet) -> Fleet:
    return cut_fleet(fleet, int(fleet.valid.sum()), fleet.profile.shape[2])
