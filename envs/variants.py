"""The named problems: each one line, a composition of resources."""

from __future__ import annotations

from nco.data.multi_task import VARIANTS, Variant
from nco.envs.loads import BackhaulLoad, Load, Precedence
from nco.envs.resources import Resource
from nco.envs.travel import Distance, Time
from nco.envs.tsp import TSP
from nco.envs.vrp import VRP

tsp = TSP()
cvrp = VRP((Load(),))
multi_task = VRP(
    (BackhaulLoad(), Precedence(), Time(), Distance()), open_routes=True, several_depots=True
)
"""All variants, also mixed in one batch."""


def compose(variant: Variant) -> VRP:
    """The rules of a variant, with what it needs and no more."""
    loads: dict[str, tuple[Resource, ...]] = {
        "": (Load(),),
        "b": (BackhaulLoad(), Precedence()),
        "mb": (BackhaulLoad(),),
    }
    return VRP(
        (
            *loads[variant.backhaul],
            *((Time(),) if variant.time_window else ()),
            *((Distance(),) if variant.distance_limit else ()),
        ),
        open_routes=variant.open_route,
        several_depots=variant.several_depots,
    )


vrp_variants = {variant.name: compose(variant) for variant in VARIANTS}
"""All 48 by name: cvrp, ovrp, vrpb, ... mdovrpmbltw."""
