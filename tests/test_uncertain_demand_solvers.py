"""Solvers of routing with uncertain demands, against all plans of tiny instances."""

from __future__ import annotations

import itertools

import pytest
import torch

from nco.baselines.candidate_pool import CandidatePool, EquivalentSolver
from nco.baselines.enumeration import Enumeration
from nco.baselines.equivalents import DemandQuantiles, LoadedTo
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.set_partitioning import SetPartitioning
from nco.baselines.solver import Budget, UnsupportedError
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.envs.checker import check_routes
from nco.envs.objective import Objective
from nco.envs.plans import PlanValue, actions_of
from nco.envs.recourse import expected_cost
from nco.envs.uncertain_demands import RecourseSimulation
from nco.envs.variants import environments
from tests.test_uncertain_demands import draw

EQUIVALENTS = (
    LoadedTo(0.7), LoadedTo(1.0), LoadedTo(3.0), DemandQuantiles(0.5), DemandQuantiles(0.9)
)  # fmt: skip


def test_equivalents_are_certain_and_plan_for_the_uncertain() -> None:
    """Loads that fit by means or quantiles; a smaller vehicle or a higher quantile asks for at
    least as many routes, and every plan is one of the uncertain problem."""
    batch = draw(8, 3, capacity=14, seed=2)
    counts = {}
    for equivalent in EQUIVALENTS:
        solutions = EquivalentSolver(equivalent, PyVRPSolver()).solve(
            batch, Budget(iterations=150), 0
        )
        for one, solution in zip(unbatch(batch), solutions, strict=True):
            certain = equivalent.certain(one)
            assert check_routes(certain, solution.routes).feasible
            plan = torch.tensor([[actions_of(one, solution.routes, None)]])
            assert solution.cost == pytest.approx(float(expected_cost(one, plan)), rel=1e-5)
        counts[equivalent] = sum(len(s.routes) for s in solutions)
    assert counts[LoadedTo(0.7)] > counts[LoadedTo(1.0)] > counts[LoadedTo(3.0)]
    assert counts[DemandQuantiles(0.9)] > counts[DemandQuantiles(0.5)]
    with pytest.raises(UnsupportedError, match="uncertain demands"):
        PyVRPSolver().solve(batch, Budget(iterations=10), 0)
    for wrong in (lambda: LoadedTo(0.0), lambda: DemandQuantiles(1.0)):
        with pytest.raises(InputError, match="level is"):
            wrong()


@pytest.mark.parametrize("restocking", [True, False])
def test_the_pool_and_partitioning_stay_above_the_best_plan(restocking: bool) -> None:
    """The optimum over all plans of 5 customers by the exact mean is below what any solver finds,
    and enumeration on many scenarios comes near it."""
    batch = draw(5, 2, restocking=restocking, capacity=12, seed=6)
    value = PlanValue(
        environments["vrpsd"], RecourseSimulation(), Scenarios(Split.SELECTION, 300),
        Objective(),
    )  # fmt: skip
    pool = CandidatePool([LoadedTo(0.8), LoadedTo(1.0), LoadedTo(9.0)], [PyVRPSolver()], 1, value)
    best = Enumeration(value).solve(batch, Budget(), 0)
    pooled = pool.solve(batch, Budget(iterations=100), 0)
    joined = SetPartitioning(pool).solve(batch, Budget(iterations=100), 0)
    for i, one in enumerate(unbatch(batch)):
        exact = best_partition(one)
        assert exact <= best[i].cost * (1 + 1e-6)
        assert best[i].cost == pytest.approx(exact, rel=0.02)
        assert exact <= joined[i].cost * (1 + 1e-6)
        assert exact <= pooled[i].cost * (1 + 1e-6)


def best_partition(instance: Instance) -> float:
    """The least exact mean over all partitions into routes in all orders."""
    n = instance.num_nodes - 1
    cost: dict[frozenset[int], float] = {}
    for size in range(1, n + 1):
        for chosen in itertools.combinations(range(1, n + 1), size):
            plans = torch.tensor([list(itertools.permutations(chosen))])
            cost[frozenset(chosen)] = float(expected_cost(instance, plans).min())
    best: dict[frozenset[int], float] = {frozenset(): 0.0}

    def of(nodes: frozenset[int]) -> float:
        if nodes not in best:
            first = min(nodes)
            rest = nodes - {first}
            best[nodes] = min(
                cost[frozenset({first, *more})] + of(nodes - {first, *more})
                for size in range(len(rest) + 1)
                for more in itertools.combinations(sorted(rest), size)
            )
        return best[nodes]

    return of(frozenset(range(1, n + 1)))
