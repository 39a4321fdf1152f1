"""Which attributes an instance has: one rule, and one set of words for every message."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from nco.data.fleet import Fleet
from nco.data.instance import Instance, is_customer
from nco.data.multi_task import Variant

NO_DEPOT = "no depot (a TSP)"
CAPACITY = "a capacity"
BACKHAULS = "backhauls"
MIXED_BACKHAULS = "mixed backhauls"
OPEN_ROUTES = "open routes"
TIME_WINDOWS = "time windows"
DISTANCE_LIMIT = "a distance limit"
SEVERAL_DEPOTS = "several depots"
FLEET_LIMIT = "a limited fleet"
FLEET = "vehicles with profiles, speeds, costs or shifts of their own"
ZONES = "zones"
MIN_MAX = "a min-max objective"
UNCERTAIN_CUSTOMERS = "customers that may not ask"
SOFT_WINDOWS = "soft time windows and traffic"
PRIZES = "prizes and penalties"
UNCERTAIN_DEMANDS = "uncertain demands"
REQUESTS = "requests that come over the day"


def attributes_by_name(instance: Instance) -> dict[str, Bool[Tensor, " batch"]]:
    """Which instances of a batch have each attribute, by the words above.

    Neutral values are no attribute: service times without time windows, mixed backhauls without a
    pickup, or a fleet of at least as many vehicles as customers change nothing. So the two kinds
    of backhauls exclude each other; and windows that are soft are not counted as windows.
    """
    pickups = (instance.backhaul > 0).any(1)
    early, late = instance.time_window.unbind(2)
    windows = ((early > 0) | late.isfinite()) & instance.valid
    depots = instance.num_depots
    limited = instance.num_vehicles < is_customer(instance).sum(1)
    with_fleet = torch.zeros_like(depots, dtype=torch.bool)
    zones = min_max = with_fleet
    if instance.fleet is not None:
        with_fleet, min_max = torch.ones_like(with_fleet), instance.fleet.min_max
        zones = has_zones(instance, instance.fleet)
    presence = instance.presence
    none = torch.zeros_like(limited)
    soft = torch.full_like(limited, instance.traffic is not None)
    return {
        NO_DEPOT: depots == 0,
        CAPACITY: instance.capacity.isfinite(),
        BACKHAULS: pickups & ~instance.mixed_backhaul,
        MIXED_BACKHAULS: pickups & instance.mixed_backhaul,
        OPEN_ROUTES: instance.open_route,
        TIME_WINDOWS: windows.any(1) & ~soft,
        DISTANCE_LIMIT: instance.distance_limit.isfinite(),
        SEVERAL_DEPOTS: depots > 1,
        FLEET_LIMIT: limited & (depots > 0),
        FLEET: with_fleet,
        ZONES: zones,
        MIN_MAX: min_max,
        UNCERTAIN_CUSTOMERS: none if presence is None else ((presence < 1) & instance.valid).any(1),
        SOFT_WINDOWS: soft,
        PRIZES: torch.full_like(none, instance.prize is not None),
        UNCERTAIN_DEMANDS: torch.full_like(none, instance.demand_law is not None),
        REQUESTS: torch.full_like(none, instance.dispatch is not None),
    }


def has_zones(instance: Instance, fleet: Fleet) -> Bool[Tensor, " batch"]:
    """Whether some vehicle may not serve some customer."""
    pair = fleet.valid.unsqueeze(2) & is_customer(instance).unsqueeze(1)
    return (~fleet.allowed & pair).any((1, 2))


VARIANT_ATTRIBUTES = (
    BACKHAULS,
    MIXED_BACKHAULS,
    OPEN_ROUTES,
    TIME_WINDOWS,
    DISTANCE_LIMIT,
    SEVERAL_DEPOTS,
)
"""What the 48 variants differ in."""


def attribute_bits(instance: Instance, names: Sequence[str]) -> Bool[Tensor, "batch attribute"]:
    """The columns of `attributes_by_name` with these names, in their order."""
    if not names:
        return instance.valid[:, :0]
    held = attributes_by_name(instance)
    return torch.stack([held[name] for name in names], 1)


def variant_bits(instance: Instance) -> Bool[Tensor, "batch 6"]:
    """Which of `VARIANT_ATTRIBUTES` each instance has."""
    return attribute_bits(instance, VARIANT_ATTRIBUTES)


def variant_index(instance: Instance) -> Int[Tensor, " batch"]:
    """`variant_bits` as one number, 0 to 63; the first attribute counts 1, the last 32."""
    bits = variant_bits(instance)
    return (bits << torch.arange(bits.shape[1], device=bits.device)).sum(1)


def variant_names(instance: Instance) -> list[str]:
    """The name of each instance's variant: cvrp, ovrp, ..., mdovrpmbltw; tsp without a depot; pvrp
    or pvrp-zones with a fleet; svrptw and mdsvrptw with soft windows; pctsp with prizes; vrpsd
    with uncertain demands; dvrptw with requests that come over the day.

    Variants are named as if every vehicle had a capacity.
    """
    held = {name: bits.tolist() for name, bits in attributes_by_name(instance).items()}

    def name(i: int) -> str:
        if held[NO_DEPOT][i]:
            return "tsp"
        if held[FLEET][i]:
            return "pvrp-zones" if held[ZONES][i] else "pvrp"
        if held[SOFT_WINDOWS][i]:
            return "mdsvrptw" if held[SEVERAL_DEPOTS][i] else "svrptw"
        if held[PRIZES][i]:
            return "pctsp"
        if held[UNCERTAIN_DEMANDS][i]:
            return "vrpsd"
        if held[REQUESTS][i]:
            return "dvrptw"
        mixed, classical = held[MIXED_BACKHAULS][i], held[BACKHAULS][i]
        return Variant(
            backhaul="mb" if mixed else "b" if classical else "",
            distance_limit=held[DISTANCE_LIMIT][i],
            time_window=held[TIME_WINDOWS][i],
            open_route=held[OPEN_ROUTES][i],
            several_depots=held[SEVERAL_DEPOTS][i],
        ).name

    return [name(i) for i in range(instance.batch_size[0])]
