"""Vehicles that differ from each other: the part of an `Instance` that makes it a profiled VRP.

Axes: B instances, M vehicles (then padding), N nodes as in the instance. A mask is True where
allowed.

The problem. Vehicle k leaves its depot, serves customers within its capacity and comes back, as
often as it likes (multi-trip); the time of all its trips together, travel and service, is at most
its shift. A travel time is the arc's duration over the vehicle's speed. Each customer is served
once, by a vehicle that is allowed to. The cost of a solution is

    time_weight * (sum, or with min_max the maximum, over vehicles of their times)
    + preference_weight * (sum over customers of the preference missed)
    + sum over vehicles that are used of fixed_cost
    + sum over vehicles of distance_cost * length driven

where the preference missed at a customer is the best profile value that any vehicle has for it,
less that of the vehicle that serves it: never negative, and 0 everywhere for neutral profiles.

Sources: the profiled VRP with preferences and with zones is that of Hua et al. 2025 (CAMP, arXiv
2501.02977), who maximise the preferences served: the same up to the constant sum of best values.
One kind of vehicle and neutral profiles make the CVRP; several speeds and capacities, the
heterogeneous CVRP of Li et al. 2021 (arXiv 2110.02629), min-sum or min-max.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from tensordict import TensorClass
from torch import Tensor

from nco.data.errors import InputError
from nco.data.refusal import refuse


class Fleet(TensorClass):
    """The vehicles of a batch of instances and what is to be minimised; see this module.

    Build it with `make_fleet`. All floating-point fields have the dtype of the instance. Fields are
    immutable by convention.
    """

    capacity: Tensor  # [B, M] of a trip; inf where there is none
    speed: Tensor  # [B, M]
    fixed_cost: Tensor  # [B, M] of a vehicle that serves a customer
    distance_cost: Tensor  # [B, M] of a unit of length
    depot: Tensor  # [B, M] int64; where the vehicle starts, refills and ends
    shift: Tensor  # [B, M] most time of all its trips together; inf where there is no limit
    valid: Tensor  # [B, M] bool; False for padding, which comes last
    profile: Tensor  # [B, M, N] in [0, 1]; of depots it means nothing
    allowed: Tensor  # [B, M, N] bool; of depots it means nothing
    time_weight: Tensor  # [B]
    preference_weight: Tensor  # [B]
    min_max: Tensor  # [B] bool; True: the longest time counts, not the sum

    def __post_init__(self) -> None:
        b, m = self.batch_size, self.valid.shape[-1]
        n = self.profile.shape[-1]
        shapes = dict.fromkeys(PER_VEHICLE, (*b, m)) | dict.fromkeys(PER_PAIR, (*b, m, n))
        shapes |= dict.fromkeys(WEIGHTS, tuple(b))
        for name, shape in shapes.items():
            found = tuple(getattr(self, name).shape)
            if found != tuple(shape):
                raise InputError(
                    f"fleet.{name} has shape {found}; accepted is {tuple(shape)}, for batch "
                    f"{tuple(b)}, {m} vehicles and {n} nodes"
                )

    @property
    def num_vehicles(self) -> int:
        """Vehicles of the batch, padding included."""
        return self.valid.shape[-1]


PER_VEHICLE = ("capacity", "speed", "fixed_cost", "distance_cost", "depot", "shift", "valid")
"""Fields with an axis of vehicles, the second one."""
PER_PAIR = ("profile", "allowed")
"""Fields with axes of vehicles and nodes."""
WEIGHTS = ("time_weight", "preference_weight", "min_max")
"""Fields of the whole instance."""
FLEET_FIELDS = (*PER_VEHICLE, *PER_PAIR, *WEIGHTS)
"""The names of the fields of a `Fleet`."""
_PADDING = {"speed": 1, "shift": torch.inf}
"""Of vehicles that are not there; 0 or False for the other fields."""


def make_fleet(
    *,
    num_nodes: int,
    capacity: Any,
    speed: Any = 1.0,
    fixed_cost: Any = 0.0,
    distance_cost: Any = 0.0,
    depot: Any = 0,
    shift: Any = torch.inf,
    profile: Any = 1.0,
    allowed: Any = True,
    time_weight: Any = 1.0,
    preference_weight: Any = 0.0,
    min_max: Any = False,
    dtype: torch.dtype = torch.float64,
) -> Fleet:
    """A fleet of M vehicles of one instance, or of B; what is not given is neutral.

    Args:
        num_nodes: N of the instance, depots included.
        capacity: ``[M]`` or ``[B, M]``: says how many vehicles and instances there are.
        speed, ...: as the fields of `Fleet`, or anything that broadcasts to them.
        dtype: the instance's.

    Raises:
        InputError: a value is no number or does not broadcast. Whether values make sense is checked
            with the instance that gets the fleet.
    """
    lead = _tensor("capacity", capacity, dtype)
    if lead.dim() not in (1, 2):
        raise InputError(f"fleet.capacity has {lead.dim()} axes; accepted: [M] or [B, M]")
    b, m = (1, lead.shape[0]) if lead.dim() == 1 else tuple(lead.shape)

    def full(name: str, value: Any, kind: torch.dtype, *shape: int) -> Tensor:
        given = _tensor(name, value, kind).to(lead.device)
        try:
            return given.expand(b, *shape).contiguous()
        except RuntimeError as error:
            raise InputError(
                f"fleet.{name} has shape {tuple(given.shape)}; accepted: one that broadcasts to "
                f"{(b, *shape)}"
            ) from error

    return Fleet(
        capacity=full("capacity", lead, dtype, m),
        speed=full("speed", speed, dtype, m),
        fixed_cost=full("fixed_cost", fixed_cost, dtype, m),
        distance_cost=full("distance_cost", distance_cost, dtype, m),
        depot=full("depot", depot, torch.int64, m),
        shift=full("shift", shift, dtype, m),
        valid=full("valid", True, torch.bool, m),
        profile=full("profile", profile, dtype, m, num_nodes),
        allowed=full("allowed", allowed, torch.bool, m, num_nodes),
        time_weight=full("time_weight", time_weight, dtype),
        preference_weight=full("preference_weight", preference_weight, dtype),
        min_max=full("min_max", min_max, torch.bool),
        batch_size=[b],
    )


def _tensor(name: str, value: Any, dtype: torch.dtype) -> Tensor:
    try:
        return torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"fleet.{name} is not an array of numbers: {error}") from error


def missed_preference(fleet: Fleet) -> Float[Tensor, "batch vehicle node"]:
    """What a customer loses in preference if a vehicle serves it; 0 for padded vehicles."""
    real = fleet.valid.unsqueeze(2)
    best = fleet.profile.masked_fill(~real, 0).amax(1, keepdim=True)
    return (best - fleet.profile).masked_fill(~real, 0)


def replace_fleet(fleet: Fleet, changes: dict[str, Tensor]) -> Fleet:
    """A copy with some fields changed; the rest is shared."""
    fields: dict[str, Any] = {name: getattr(fleet, name) for name in FLEET_FIELDS} | changes
    return Fleet(**fields, batch_size=fleet.batch_size)


def pad_fleet(fleet: Fleet, num_vehicles: int, num_nodes: int) -> Fleet:
    """The same fleets with padding up to so many vehicles and nodes."""
    vehicles = num_vehicles - fleet.num_vehicles
    nodes = num_nodes - fleet.profile.shape[2]
    grown: dict[str, Tensor] = {}
    for name in PER_VEHICLE:
        value = _PADDING.get(name, 0)
        grown[name] = torch.nn.functional.pad(getattr(fleet, name), (0, vehicles), value=value)
    for name in PER_PAIR:
        grown[name] = torch.nn.functional.pad(getattr(fleet, name), (0, nodes, 0, vehicles))
    return replace_fleet(fleet, grown)


def cut_fleet(fleet: Fleet, num_vehicles: int, num_nodes: int) -> Fleet:
    """The first vehicles and nodes only: what `pad_fleet` added goes."""
    cut = {name: getattr(fleet, name)[:, :num_vehicles] for name in PER_VEHICLE}
    pairs = {name: getattr(fleet, name)[:, :num_vehicles, :num_nodes] for name in PER_PAIR}
    return replace_fleet(fleet, cut | pairs)


def fleet_with_dtype(fleet: Fleet, dtype: torch.dtype) -> Fleet:
    """The same fleets with floating-point fields of this dtype."""
    fields = {name: getattr(fleet, name) for name in FLEET_FIELDS}
    changes = {name: v.to(dtype) for name, v in fields.items() if v.is_floating_point()}
    return replace_fleet(fleet, changes)


def validate_fleet(fleet: Fleet, num_depots: Tensor, demand: Tensor, customer: Tensor) -> None:
    """Raise `InputError` at the first value of a fleet that no solver could make sense of.

    Args:
        num_depots: ``[B]`` of the instances.
        demand: ``[B, N]``.
        customer: ``[B, N]``, nodes that must be served.
    """
    real = fleet.valid
    gap = real[:, 1:] & ~real[:, :-1]
    refuse("fleet.valid", gap | ~real[:, :1], real, "padding after all vehicles", ("vehicle",))
    for name, low_is_fine, endless in (
        ("capacity", False, True),
        ("shift", False, True),
        ("speed", False, False),
        ("fixed_cost", True, False),
        ("distance_cost", True, False),
    ):
        value = getattr(fleet, name)
        bad = ~(value >= 0) if low_is_fine else ~(value > 0)
        bad = bad if endless else bad | value.isinf()
        accepted = (
            f"a {'' if endless else 'finite '}number {'of at least' if low_is_fine else 'above'} 0"
        )
        refuse(f"fleet.{name}", bad & real, value, accepted, ("vehicle",))
    unknown = (fleet.depot < 0) | (fleet.depot >= num_depots.unsqueeze(1))
    refuse("fleet.depot", unknown & real, fleet.depot, "a depot of the instance", ("vehicle",))
    outside = ~((fleet.profile >= 0) & (fleet.profile <= 1))
    pair = real.unsqueeze(2) & customer.unsqueeze(1)
    refuse("fleet.profile", outside & pair, fleet.profile, "0 to 1", ("vehicle", "node"))
    for name in ("time_weight", "preference_weight"):
        value = getattr(fleet, name)
        refuse(
            f"fleet.{name}", ~(value >= 0) | value.isinf(), value, "a finite number of at least 0"
        )
    lost = customer & ~able(fleet, demand).any(1)
    refuse(
        "demand", lost, demand, "what fits into some vehicle that is allowed to serve the customer"
    )


def able(fleet: Fleet, demand: Tensor) -> Tensor:
    """``[B, M, N]``: vehicles that may serve a node, and whose capacity is enough for it alone."""
    fits = demand.unsqueeze(1) <= fleet.capacity.unsqueeze(2)
    return fleet.allowed & fits & fleet.valid.unsqueeze(2)
