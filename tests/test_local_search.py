"""The local search: its rule of routes, its neighbourhood, and what it keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nco.baselines.local_moves import descend
from nco.baselines.local_search import LocalSearch, actions_of
from nco.baselines.solver import Budget
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import VARIANTS, multi_task_instances, variant_by_name
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.route_rules import route_length, route_rules
from nco.envs.variants import multi_task, tsp
from nco.local_search_solver import LocalSearchSolver
from nco.search_sampling import tell_of_compiling
from tests.multi_task import TIGHT, small
from tests.neighbourhood import as_plan, asymmetric, cost_of, neighbours
from tests.small import instances, random_rollout


def random_actions(instance: Instance, seed: int) -> np.ndarray:
    """A random feasible solution."""
    env = tsp if int(instance.num_depots) == 0 else multi_task
    return random_rollout(env, instance, 1, seed)[0, 0].numpy()


def test_the_rule_of_a_route_is_the_checkers() -> None:
    """On every variant: a random route is allowed exactly where the checker finds nothing, and as
    long as it says. Both happen often."""
    random = np.random.default_rng(0)
    seen = {True: 0, False: 0}
    for variant in VARIANTS:
        one = small(variant, 6, 1, seed=1)
        rules = route_rules(one)
        first = int(one.num_depots)
        for _ in range(9):
            size = int(random.integers(1, 5))
            route = random.permutation(np.arange(first, one.num_nodes))[:size]
            depot = int(random.integers(first))
            report = check_routes(one, [route.tolist()], [depot])
            broken = [v for v in report.violations if "is not visited" not in v]
            length = route_length(rules, np.array([depot, *route, depot]), size)
            seen[not broken] += 1
            if broken:
                assert length == np.inf, (variant.name, broken)
            else:
                assert length == pytest.approx(report.cost, rel=1e-9), variant.name
    assert min(seen.values()) > 100


PROBLEMS = ("cvrp", "ovrp", "vrptw", "vrpb", "vrpl", "mdcvrp", "mdovrpmbltw", "mdvrpbltw")


@pytest.mark.parametrize("problem", [*PROBLEMS, "tsp", "atsp", "acvrp"])
def test_it_ends_where_no_move_improves(problem: str) -> None:
    """Every solution that one move leads to, found by trying all, is infeasible or not cheaper."""
    for seed in range(2):
        if problem in ("tsp", "atsp"):
            one = instances(problem, 7, 1, seed=seed)
        else:
            plain = problem.removeprefix("a")
            one = small(variant_by_name(plain), 6, 1, seed=seed)
        if problem == "acvrp":
            one = asymmetric(one, seed)
        start = random_actions(one, seed)
        found = LocalSearch(one, num_neighbours=20).improve(start)
        plan = as_plan(one, found.actions)
        cost = cost_of(one, plan)
        assert cost == pytest.approx(found.cost, rel=1e-9)
        assert cost <= cost_of(one, as_plan(one, start)) * (1 + 1e-9)
        depots = int(one.num_depots)
        best = min(
            cost_of(one, [(d, r) for d, r in near if r]) for near in neighbours(plan, depots)
        )
        assert best >= cost * (1 - 1e-7), (problem, seed, plan)


def test_mixed_variants_stay_feasible_and_get_shorter() -> None:
    """Larger instances of all variants: the checker accepts every result, none costs more than
    its start, and the cost told is the checker's."""
    batch = multi_task_instances(24, 20, torch.Generator().manual_seed(2), tightness=TIGHT)
    gains = []
    for one in unbatch(batch):
        start = random_actions(one, 0)
        before = check_routes(one, *routes_from_actions(one, start.tolist()))
        found = LocalSearch(one).improve(start)
        after = check_routes(one, *routes_from_actions(one, found.actions.tolist()))
        assert after.feasible, after.violations
        assert after.cost == pytest.approx(found.cost, rel=1e-6)
        gains.append(before.cost - after.cost)
        again = LocalSearch(one).improve(found.actions)
        assert again.moves == 0
    assert min(gains) >= 0
    assert max(gains) > 1


def test_vehicles_are_not_exceeded() -> None:
    """Where cutting a route would pay, but there is no vehicle for it, it is not cut."""
    coords = torch.tensor([[0.5, 0.5], [0.0, 0.5], [1.0, 0.5], [0.0, 0.6], [1.0, 0.6]])
    far = torch.cdist(coords, coords)
    # what joins the two sides is longer than the way by the depot
    far[1::2, 2::2] = far[2::2, 1::2] = 9.0
    for vehicles, routes in ((1, 1), (2, 2)):
        one = Instance.vrp(distance=far * (1 - torch.eye(5)), num_vehicles=vehicles)
        found = LocalSearch(one).improve(np.array([0, 1, 2, 3, 4]))
        assert len(routes_from_actions(one, found.actions.tolist())[0]) == routes


def test_an_infeasible_start_is_refused() -> None:
    """Too much for one vehicle."""
    one = Instance.vrp(coords=[[0, 0], [0, 1], [1, 0]], demand=[0, 2, 2], capacity=3)
    with pytest.raises(InputError, match="starts from feasible routes"):
        LocalSearch(one).improve(np.array([0, 1, 2]))


def test_routes_and_actions_are_one_another() -> None:
    """`actions_of` is what `routes_from_actions` takes apart."""
    one = small(variant_by_name("mdcvrp"), 5, 1, seed=0)
    routes, depots = [[3, 2], [4], [5, 6]], [1, 0, 1]
    assert routes_from_actions(one, actions_of(routes, depots).tolist()) == (routes, depots)


@pytest.mark.parametrize("start", ["nearest", "random", "savings"])
def test_without_a_network(start: str) -> None:
    """Each start, on tours and routes: feasible, and never worse than it began."""
    for problem in ("tsp", "cvrp"):
        for one in unbatch(instances(problem, 15, 2)):
            solver = LocalSearchSolver(start)  # type: ignore[arg-type]
            (found,) = solver.solve(one, Budget(iterations=2), 0)
            assert found.feasible
            costs = [cost for _, cost in found.trace]
            assert costs == sorted(costs, reverse=True)
            assert found.cost == pytest.approx(costs[-1], rel=1e-6)


def test_compiling_is_told_of_where_nothing_is_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As it takes long; not where numba has stored the function."""

    function = SimpleNamespace(__name__="descend", stats=SimpleNamespace(cache_path=tmp_path))
    tell_of_compiling(function, "the local search")
    assert "compiling the local search, once for this installation" in caplog.text
    caplog.clear()
    (tmp_path / "local_moves.descend-1.py311.nbi").touch()
    tell_of_compiling(function, "the local search")
    assert caplog.text == ""
    # as numba names its files
    LocalSearchSolver().solve(instances("tsp", 5, 1, seed=0), Budget(iterations=1), 0)
    tell_of_compiling(descend, "the local search")
    assert caplog.text == ""
