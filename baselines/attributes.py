"""What an instance asks of a solver, in words, and the refusal of what a solver cannot do."""

from __future__ import annotations

from collections.abc import Set
from enum import StrEnum

import torch

from nco.baselines.solver import UnsupportedError
from nco.data.instance import Instance, distance_matrix, is_customer


class Attribute(StrEnum):
    """An attribute that changes which routes are feasible or how they are found."""

    TOUR = "a tour without a depot (TSP)"
    DEPOT = "routes from a depot"
    ASYMMETRIC = "asymmetric distances"
    TIME_WINDOWS = "time windows"
    BACKHAULS = "backhauls"
    MIXED_BACKHAULS = "mixed backhauls"
    BOTH_LOADS = "a delivery and a pickup at one customer"
    DISTANCE_LIMIT = "a distance limit"
    OPEN_ROUTES = "open routes"
    SEVERAL_DEPOTS = "several depots"
    FLEET_LIMIT = "a limited fleet"
    SHARED_FLEET = "a limited fleet over several depots"


TSP = frozenset({Attribute.TOUR})
CVRP = frozenset({Attribute.DEPOT})


def attributes(instance: Instance) -> set[Attribute]:
    """The attributes of one instance (B = 1, without padding).

    Neutral values are no attribute: service times without time windows, or a fleet of at least
    as many vehicles as customers, change nothing.
    """
    depots = int(instance.num_depots)
    window = instance.time_window[0]
    timed = bool((window[:, 0] > 0).any() | window[:, 1].isfinite().any())
    picked = bool((instance.backhaul > 0).any())
    mixed = bool(instance.mixed_backhaul)
    distance = distance_matrix(instance)[0]
    limited = depots > 0 and int(instance.num_vehicles) < int(is_customer(instance).sum())
    held = {
        Attribute.TOUR: depots == 0,
        Attribute.DEPOT: depots > 0,
        Attribute.ASYMMETRIC: not torch.equal(distance, distance.T),
        Attribute.TIME_WINDOWS: timed,
        Attribute.BACKHAULS: picked and not mixed,
        Attribute.MIXED_BACKHAULS: picked and mixed,
        Attribute.BOTH_LOADS: bool(((instance.backhaul > 0) & (instance.linehaul > 0)).any()),
        Attribute.DISTANCE_LIMIT: bool(instance.distance_limit.isfinite()),
        Attribute.OPEN_ROUTES: bool(instance.open_route),
        Attribute.SEVERAL_DEPOTS: depots > 1,
        Attribute.FLEET_LIMIT: depots == 1 and limited,
        Attribute.SHARED_FLEET: depots > 1 and limited,
    }
    return {name for name, present in held.items() if present}


def fleet(instance: Instance) -> int:
    """Vehicles that one instance (B = 1) can use: never more than its customers."""
    return min(int(instance.num_vehicles), int(is_customer(instance).sum()))


def refuse_unsupported(solver: str, instance: Instance, supported: Set[Attribute]) -> None:
    """Raise `UnsupportedError` naming every attribute of ``instance`` that is not supported."""
    missing = sorted(attributes(instance) - supported)
    if missing:
        raise UnsupportedError(
            f"{solver} cannot solve instances with {', '.join(missing)}; "
            f"it solves: {', '.join(sorted(supported))}"
        )
