"""The named problems: each one line, a composition of resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nco.data.generators import ADAPTIVE, DAY_PROBLEMS
from nco.data.multi_task import ROAD_PROBLEMS, VARIANT_SETS, VARIANTS, Variant
from nco.envs.a_priori import APriori
from nco.envs.adaptive_windows import AdaptiveSoftWindows, soft_window_rules
from nco.envs.demands_on_arrival import DemandsOnArrival
from nco.envs.environment import Environment
from nco.envs.fleet import FleetVRP
from nco.envs.loads import BackhaulLoad, Load, Precedence
from nco.envs.presence import ExpectedLength, PresenceSimulation
from nco.envs.prize_collecting import PCTSP, SPCTSP
from nco.envs.resources import Resource
from nco.envs.scenario_cost import ScenarioCost
from nco.envs.soft_time import SoftTime
from nco.envs.soft_windows import MeanTravelPrice, SoftWindowCost
from nco.envs.travel import Distance, Time
from nco.envs.tsp import TSP
from nco.envs.uncertain_demands import ExpectedRecourse, RecourseSimulation
from nco.envs.vrp import VRP


def compose(variants: Sequence[Variant]) -> VRP:
    """The rules of these variants, also mixed in one batch, with what they need and no more.

    Sets that share an attribute see it under the same feature names.
    """
    backhauls = {v.backhaul for v in variants}
    resources: tuple[tuple[Resource, bool], ...] = (
        (Load(), backhauls == {""}),
        (BackhaulLoad(mixed="mb" in backhauls), backhauls != {""}),
        (Precedence(), "b" in backhauls),
        (Time(), any(v.time_window for v in variants)),
        (Distance(), any(v.distance_limit for v in variants)),
    )
    return VRP(
        tuple(resource for resource, needed in resources if needed),
        open_routes=any(v.open_route for v in variants),
        several_depots=any(v.several_depots for v in variants),
    )


def _soft_windows(problem: str) -> Environment:
    """The rules of one of `DAY_PROBLEMS`."""
    several = problem.startswith("md")
    if problem.endswith(ADAPTIVE):
        return AdaptiveSoftWindows(several_depots=several)
    return APriori(soft_window_rules(SoftTime(), several_depots=several), MeanTravelPrice())


tsp = TSP()
vrp_variants = {variant.name: compose([variant]) for variant in VARIANTS}
"""All 48 by name: cvrp, ovrp, vrpb, ... mdovrpmbltw."""
cvrp = vrp_variants["cvrp"]
pvrp = FleetVRP()
"""Profiled VRPs; zones are a matter of the instances."""
multi_task = compose(VARIANTS)
"""All variants, also mixed in one batch."""
_plain: Mapping[str, Environment] = {
    "tsp": tsp,
    "atsp": tsp,
    **vrp_variants,
    **{name: compose(variants) for name, variants in VARIANT_SETS.items()},
    "pctsp": PCTSP(),
    "spctsp": SPCTSP(),
}
_planned_demands = APriori(VRP((Load(binding=False),)), ExpectedRecourse())
"""Instances say whether vehicles may turn back early."""
environments: Mapping[str, Environment] = {
    **_plain,
    **{road: _plain[plain] for road, plain in ROAD_PROBLEMS.items()},
    "pvrp": pvrp,
    "pvrp-zones": pvrp,
    "ptsp": APriori(tsp, ExpectedLength()),
    "pcvrp": APriori(cvrp, ExpectedLength()),
    **{name: _soft_windows(name) for name in DAY_PROBLEMS},
    **dict.fromkeys(("vrpsd", "vrpsd-detour"), _planned_demands),
    "vrpsd-adaptive": DemandsOnArrival(),
}
"""By the problem's name; matrices, symmetric or not, change no rule."""
scenario_costs: Mapping[str, ScenarioCost] = {
    "ptsp": PresenceSimulation(),
    "pcvrp": PresenceSimulation(),
    **{name: SoftWindowCost() for name in DAY_PROBLEMS if not name.endswith(ADAPTIVE)},
    **dict.fromkeys(("vrpsd", "vrpsd-detour"), RecourseSimulation()),
}
"""What simulates plans, for the problems of which part is not known beforehand."""
