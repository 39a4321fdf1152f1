"""What knowing would be worth, on tiny instances: whether a problem measures uncertainty at all.

Birge and Louveaux 2011 (doi:10.1007/978-1-4614-0237-4), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nco.baselines.candidate_pool import EquivalentSolver
from nco.baselines.certain_problems import EQUIVALENTS, MEAN_LEVEL, ROUTE_BY_ROUTE
from nco.baselines.enumeration import Enumeration, enumerated
from nco.baselines.solver import Budget, Solver
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.envs.a_priori import APriori
from nco.envs.objective import MEAN
from nco.envs.plans import PlanValue, stacked
from nco.envs.scenario_cost import CertainCost
from nco.envs.soft_windows import SoftWindowCost
from nco.envs.variants import environments, scenario_costs

NOTHING = 0.002
"""A VSS below this share of the recourse problem's value is about zero."""


@dataclass(frozen=True)
class Information:
    """Means over instances, in their units; all on the same scenarios."""

    wait_and_see: float
    """WS: of each scenario's own best plan."""
    recourse: float
    """RP: of the best plan for all scenarios."""
    mean_value: float
    """EEV: of the best plan for the mean-value problem."""

    @property
    def perfect_information(self) -> float:
        """EVPI = RP - WS: what knowing the scenario beforehand would save."""
        return self.recourse - self.wait_and_see

    @property
    def stochastic_solution(self) -> float:
        """VSS = EEV - RP: what planning with the scenarios saves. Where it is about 0, the problem
        tests nothing that a deterministic one does not."""
        return self.mean_value - self.recourse


def information(instance: Instance, value: PlanValue, planner: Solver) -> Information:
    """WS, RP and EEV of tiny instances by trying every plan.

    Args:
        value: of the expectation.
        planner: finds the best plan for the mean-value problem.

    Raises:
        InputError: the objective is not the expectation, or an instance is too large.
    """
    if value.objective != MEAN:
        raise InputError(f"information is about the mean, and not {value.objective.name}")
    found: list[tuple[float, float, float]] = []
    for one in unbatch(instance):
        best = enumerated(one, value)
        plan = planner.solve(one, Budget(), 0)[0]
        priced = value.of(one, stacked(one, [(plan.routes, plan.depots)]))
        found.append((float(best.wait_and_see.mean()), best.value, float(priced)))
    return Information(*_means(found))


def _means(rows: Sequence[tuple[float, float, float]]) -> list[float]:
    return torch.tensor(rows, dtype=torch.float64).mean(0).tolist()


def information_of(problem: str, instance: Instance, num_scenarios: int, seed: int) -> Information:
    """`information` of a problem by its name, on test scenarios.

    Raises:
        InputError: the problem has no scenarios for plans, or as `information`.
    """
    env = environments.get(problem)
    if problem not in ROUTE_BY_ROUTE or not isinstance(env, APriori):
        raise InputError(f"problem is {problem!r}; accepted: {', '.join(ROUTE_BY_ROUTE)}")
    scenarios = Scenarios(Split.TEST, num_scenarios, seed)
    simulation = scenario_costs[problem]
    value = PlanValue(env, simulation, scenarios, MEAN)
    only = Scenarios(Split.SELECTION, 1)
    if isinstance(simulation, SoftWindowCost):
        # the same prices and soft windows, where hard ones would be another problem
        mean = SoftWindowCost(mean_times=True)
        planner: Solver = Enumeration(PlanValue(env, mean, only, MEAN))
    else:
        # with mean demands known, vehicles keep their capacity
        rules = environments["cvrp"] if problem.startswith("vrpsd") else env.rules
        certain = PlanValue(rules, CertainCost(rules), only, MEAN)
        planner = EquivalentSolver(EQUIVALENTS[problem](MEAN_LEVEL[problem]), Enumeration(certain))
    return information(instance, value, planner)
