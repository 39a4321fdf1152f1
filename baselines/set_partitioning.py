"""The best combination of routes that a pool of plans holds, by integer programming.

Routes cost what they cost whatever the other vehicles do, so the mean over scenarios of a plan is
the sum of those of its routes, and choosing routes that serve every customer once is a set
partitioning problem (Balinski and Quandt 1964, doi:10.1287/opre.12.2.300).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ortools.sat.python import cp_model

from nco.baselines.candidate_pool import CandidatePool, Chosen, solved_singly
from nco.baselines.solver import Budget, SolveFailed
from nco.baselines.workers import Routes
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer
from nco.data.solution import Solution
from nco.envs.plans import PlanValue, stacked

POOLING = 0.8
"""The share of a time limit that the pool gets."""
UNITS = 10**9
"""The mean cost of the dearest route, as an integer."""

Route = tuple[int, tuple[int, ...]]
"""The depot and the customers."""


@dataclass(frozen=True)
class SetPartitioning:
    """CP-SAT over the routes of all of a pool's plans; never worse than the best of them on the
    selection scenarios. To price the different routes of some plans takes no more than to price
    the plans, and is counted as that.

    Args:
        pool: the plans, and the value that routes are priced by: the expectation, since CVaR is no
            sum over routes.

    Raises:
        InputError: the objective is not the expectation.
    """

    pool: CandidatePool

    def __post_init__(self) -> None:
        self.pool.value.require_sum(self.name)

    @property
    def name(self) -> str:
        return "set-partitioning"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`.

        Raises:
            SolveFailed: a run of the pool failed, or no best combination was proved in time.
        """
        if bool((instance.num_depots == 0).any()):
            raise InputError(f"{self.name} got a TSP, which has one route; accepted: a VRP")
        limit = budget.time_limit
        share = Budget(None if limit is None else POOLING * limit, iterations=budget.iterations)

        def combined(one: Instance) -> Chosen:
            found = self.pool.candidates(one, share, seed)
            began = time.perf_counter()
            left = None if limit is None else max(0.1, limit - found.seconds)
            routes = _routes(found.plans)
            costs = route_costs(self.pool.value, one, routes)
            chosen = cheapest_partition(one, routes, costs, left)
            plan = Routes([list(stops) for _, stops in chosen], [depot for depot, _ in chosen])
            seconds = found.seconds + time.perf_counter() - began
            return Chosen(plan, seconds, len(found.plans) * self.pool.value.scenarios.count)

        return solved_singly(self.name, instance, combined)


def _routes(plans: Sequence[Routes]) -> list[Route]:
    """The different routes of the plans."""
    found: dict[Route, None] = {}
    for plan in plans:
        depots = plan.depots or [0] * len(plan.routes)
        found |= {(d, tuple(r)): None for d, r in zip(depots, plan.routes, strict=True) if r}
    return list(found)


def route_costs(value: PlanValue, one: Instance, routes: Sequence[Route]) -> list[float]:
    """The mean cost of each route alone.

    Raises:
        SolveFailed: two routes together do not cost what they cost apart, so that costs are no sum
            over routes.
    """
    plans = stacked(one, [([stops], [depot]) for depot, stops in routes])
    costs = value.route_costs(one, plans)[0].mean(1)
    pair = routes[: min(2, len(routes))]
    both = stacked(one, [([stops for _, stops in pair], [depot for depot, _ in pair])])
    together, apart = value.route_costs(one, both)[0, 0].mean(), costs[: len(pair)].sum()
    if not torch.isclose(together, apart, rtol=1e-9):
        raise SolveFailed(
            f"two routes cost {float(together):g} together and {float(apart):g} apart, so this "
            "simulation's costs are no sum over routes"
        )
    return costs.tolist()


def cheapest_partition(
    one: Instance, routes: Sequence[Route], costs: Sequence[float], seconds: float | None
) -> list[Route]:
    """The routes that serve each customer once at the least cost.

    Raises:
        SolveFailed: there are none, or the best was not proved in time.
    """
    model = cp_model.CpModel()
    taken = [model.new_bool_var(str(i)) for i in range(len(routes))]
    for customer in is_customer(one)[0].nonzero().flatten().tolist():
        model.add_exactly_one(
            [use for use, (_, stops) in zip(taken, routes, strict=True) if customer in stops]
        )
    model.add(sum(taken) <= int(one.num_vehicles))
    scale = UNITS / max(costs)
    weights = [round(cost * scale) for cost in costs]
    model.minimize(sum(w * use for w, use in zip(weights, taken, strict=True)))
    solver = cp_model.CpSolver()
    # one thread and a fixed seed: the same routes every time
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    if seconds is not None:
        solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status != cp_model.OPTIMAL:
        raise SolveFailed(f"CP-SAT ended with {solver.status_name(status)}; accepted: OPTIMAL")
    return [route for use, route in zip(taken, routes, strict=True) if solver.value(use)]
