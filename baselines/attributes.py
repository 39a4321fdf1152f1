"""What an instance asks of a solver, in words, and the refusal of what a solver cannot do."""

from __future__ import annotations

from collections.abc import Set
from enum import StrEnum

import torch

import nco.data.attributes as words
from nco.baselines.solver import UnsupportedError
from nco.data.instance import Instance, distance_matrix, is_customer


class Attribute(StrEnum):
    """An attribute that changes which routes are feasible or how they are found."""

    TOUR = words.NO_DEPOT
    DEPOT = "routes from a depot"
    ASYMMETRIC = "asymmetric distances"
    TIME_WINDOWS = words.TIME_WINDOWS
    BACKHAULS = words.BACKHAULS
    MIXED_BACKHAULS = words.MIXED_BACKHAULS
    BOTH_LOADS = "a delivery and a pickup at one customer"
    NO_LOAD = "customers without any load beside deliveries and classical backhauls"
    DISTANCE_LIMIT = words.DISTANCE_LIMIT
    OPEN_ROUTES = words.OPEN_ROUTES
    SEVERAL_DEPOTS = words.SEVERAL_DEPOTS
    FLEET_LIMIT = words.FLEET_LIMIT
    FLEET = words.FLEET
    ZONES = words.ZONES
    MIN_MAX = words.MIN_MAX
    SHARED_FLEET = f"{words.FLEET_LIMIT} over several depots"
    UNCERTAIN_CUSTOMERS = words.UNCERTAIN_CUSTOMERS
    SOFT_WINDOWS = words.SOFT_WINDOWS
    PRIZES = words.PRIZES
    UNCERTAIN_DEMANDS = words.UNCERTAIN_DEMANDS
    REQUESTS = words.REQUESTS


UNCERTAIN = frozenset(
    {
        Attribute.UNCERTAIN_CUSTOMERS,
        Attribute.SOFT_WINDOWS,
        Attribute.UNCERTAIN_DEMANDS,
        Attribute.REQUESTS,
    }
)
"""What no deterministic solver knows: see `nco.baselines.equivalents`."""
TSP = frozenset({Attribute.TOUR})
CVRP = frozenset({Attribute.DEPOT})


def attributes(instance: Instance) -> set[Attribute]:
    """The attributes of one instance (B = 1, without padding).

    Those that other modules name too are by the rule of `nco.data.attributes`. A capacity is none
    here: every solver of routes keeps it.
    """
    common = {name: bool(held) for name, held in words.attributes_by_name(instance).items()}
    several = common[Attribute.SEVERAL_DEPOTS]
    limited = common[Attribute.FLEET_LIMIT]
    distance = distance_matrix(instance)[0]
    held = {
        **{name: common[name] for name in Attribute if name in common},
        Attribute.DEPOT: not common[Attribute.TOUR],
        Attribute.ASYMMETRIC: not torch.equal(distance, distance.T),
        Attribute.BOTH_LOADS: bool(((instance.backhaul > 0) & (instance.linehaul > 0)).any()),
        Attribute.NO_LOAD: _overlooked(instance),
        Attribute.FLEET_LIMIT: limited and not several,
        Attribute.SHARED_FLEET: limited and several,
    }
    return {name for name, present in held.items() if present}


def _overlooked(instance: Instance) -> bool:
    """Whether a stop without a load can come between a pickup and a forbidden delivery."""
    delivered, picked = instance.linehaul > 0, instance.backhaul > 0
    idle = is_customer(instance) & ~delivered & ~picked
    both_kinds = delivered.any() & picked.any() & ~instance.mixed_backhaul
    return bool(both_kinds & idle.any())


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
