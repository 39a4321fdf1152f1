"""OR-Tools on the PCTSP, and planning on the way: against brute force and the checker."""

from __future__ import annotations

import itertools

import pytest
import torch

from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.reoptimisation import Reoptimisation, Share
from nco.baselines.solver import Budget, UnsupportedError
from nco.data.batching import replace, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.prize_instances import realised_prizes
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate
from tests.test_prize_collecting import best_cost, draw

PLENTY = Budget(iterations=100)


class Exact:
    """Every subset in every order, the first of the cheapest."""

    name = "exact"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""
        found = []
        for one in unbatch(instance):
            tours = (
                list(order)
                for size in range(one.num_nodes)
                for order in itertools.permutations(range(1, one.num_nodes), size)
            )
            reports = ((check_routes(one, [tour] if tour else []), tour) for tour in tours)
            allowed = [(report.cost, tour) for report, tour in reports if report.feasible]
            best = min(allowed, key=lambda pair: pair[0])[1]
            found.append(evaluate(one, [best] if best else [], solver="exact", seconds=0.0))
        return found


def test_ortools_finds_the_optimum() -> None:
    """Also where a tour must visit all, where it must collect nothing and may stay at home."""
    batch = draw("pctsp", 6, 4, seed=7)
    needs = torch.tensor([0.0, 0.7, 1.0, 50.0])
    assert batch.penalty is not None
    changed = replace(batch, {"min_prize": needs, "penalty": batch.penalty * 0.3})
    solutions = ORToolsSolver().solve(changed, PLENTY, 0)
    for one, solution in zip(unbatch(changed), solutions, strict=True):
        assert solution.feasible, solution.violations
        staying = float(one.penalty.sum()) if float(one.min_prize) == 0 else float("inf")  # type: ignore[union-attr, arg-type]
        assert solution.cost == pytest.approx(min(staying, best_cost(one)), rel=1e-6)
    with pytest.raises(UnsupportedError, match=r"pyvrp cannot solve .*prizes and penalties"):
        PyVRPSolver().solve(changed, PLENTY, 0)


@pytest.mark.parametrize("share", ["all", "half", "first"])
def test_without_surprises_planning_again_changes_nothing(share: Share) -> None:
    """Where every prize is as expected, an optimal plan's rest stays optimal (Bellman)."""
    batch = draw("pctsp", 5, 3, seed=3)
    assert batch.prize is not None
    walks = Reoptimisation(Exact(), share).run(batch, batch.prize, PLENTY, 0)
    for one, walk in zip(unbatch(batch), walks, strict=True):
        assert walk.cost == pytest.approx(best_cost(one), rel=1e-6)
        steps = {"all": 1, "half": 2, "first": len(walk.tour)}[share]
        assert walk.plans >= steps


def test_walks_follow_the_rules_in_their_world() -> None:
    """They collect enough of the realised prizes, cost what the checker says, repeat exactly, and
    see a prize only on visiting: until a visit disagrees two worlds are walked alike."""
    batch = draw("spctsp", 6, 4, seed=5)
    first, second = realised_prizes(batch, Scenarios(Split.TEST, 2)).unbind(1)
    method = Reoptimisation(ORToolsSolver(), "first")
    walks = method.run(batch, first, PLENTY, 0)
    assert [w.tour for w in walks] == [w.tour for w in method.run(batch, first, PLENTY, 0)]
    others = method.run(batch, second, PLENTY, 0)
    for i, one in enumerate(unbatch(batch)):
        report = check_routes(one, [walks[i].tour], realised_prizes=first[i].tolist())
        assert (report.feasible, report.cost) == (True, walks[i].cost)
        assert walks[i].tour[0] == others[i].tour[0]
    assert [w.tour for w in walks] != [w.tour for w in others]


def test_lengths_with_shorter_detours_are_refused() -> None:
    """The way home is taken for the least that is left to go."""
    instance = Instance.vrp(
        distance=[[0, 1, 1], [9, 0, 1], [1, 1, 0]], prize=[0, 1, 1], penalty=[0, 1, 1], min_prize=1
    )
    with pytest.raises(InputError, match="break the triangle inequality"):
        Reoptimisation(Exact(), "all").run(instance, torch.ones(1, 3), PLENTY, 0)
