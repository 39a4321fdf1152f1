"""Ruin and recreate: it keeps every rule, goes back exactly, and reaches what is best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nco.baselines.local_search import rows_as_actions
from nco.baselines.ruin_recreate import RuinRecreate, kick, recreate, ruin, undo
from nco.baselines.solver import Budget
from nco.data.batching import unbatch
from nco.data.instance import Instance, distance_matrix
from nco.data.multi_task import VARIANTS, multi_task_instances, variant_by_name
from nco.envs.checker import check_routes, routes_from_actions
from nco.local_search_solver import RuinRecreateSolver
from tests.multi_task import TIGHT, best_route_sets_cost, small
from tests.small import best_tour_length, instances
from tests.test_local_search import asymmetric, random_actions


def begun(instance: Instance, seed: int = 0) -> RuinRecreate:
    """From a random solution."""
    chain = RuinRecreate(instance, seed)
    chain.begin(random_actions(instance, seed))
    return chain


def judged(chain: RuinRecreate, instance: Instance) -> float:
    """The checker's cost of the best solution, which must be feasible."""
    routes, depots = routes_from_actions(instance, chain.best_actions().tolist())
    report = check_routes(instance, routes, depots)
    assert report.feasible, report.violations
    return report.cost


def test_every_variant_reaches_the_brute_force_optimum() -> None:
    """Of five customers, with tight capacities, windows and limits, one and several depots."""
    for variant in VARIANTS:
        one = small(variant, 5, 1, seed=2)
        chain = begun(one)
        for heat in (1.0, 0.1, 0.01):
            chain.anneal(300, heat * chain.scale)
        assert chain.cost == pytest.approx(judged(chain, one), rel=1e-9), variant.name
        assert chain.cost == pytest.approx(best_route_sets_cost(one), rel=1e-6), variant.name


@pytest.mark.parametrize("problem", ["tsp", "atsp"])
def test_tours_reach_the_optimum(problem: str) -> None:
    for one in unbatch(instances("tsp", 8, 4, seed=3)):
        instance = asymmetric(one, 5) if problem == "atsp" else one
        chain = begun(instance)
        chain.anneal(300, 0.1 * chain.scale)
        assert judged(chain, instance) == pytest.approx(
            best_tour_length(distance_matrix(instance)[0].tolist()), rel=1e-6
        )


def test_mixed_variants_stay_feasible_and_get_shorter() -> None:
    """On 30 customers with limits that bind: each step ends in an allowed solution, whose length is
    that of its rows, and the best one only gets better."""
    batch = multi_task_instances(24, 30, torch.Generator().manual_seed(3), tightness=TIGHT)
    gains = []
    for one in unbatch(batch):
        chain = begun(one)
        first = chain.cost
        for _ in range(10):
            before = chain.cost
            assert chain.anneal(20, 0.3 * chain.scale) == (chain.cost < before)
            rows = chain.local.rows
            now = rows_as_actions(rows.row, rows.size, int(one.num_depots))
            report = check_routes(one, *routes_from_actions(one, now.tolist()))
            assert report.feasible, report.violations
            assert rows.length.sum() == pytest.approx(report.cost, rel=1e-9)
        assert chain.cost == pytest.approx(judged(chain, one), rel=1e-9)
        gains.append(1 - chain.cost / first)
    assert min(gains) >= 0
    assert np.mean(gains) > 0.01


@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdvrpbltw"])
def test_what_is_undone_is_as_it_was(problem: str) -> None:
    """Rows, loads, lengths and the rows that are free, bit for bit; half done or done."""
    one = (
        instances("tsp", 12, 1, seed=1)
        if problem == "tsp"
        else small(variant_by_name(problem), 12, 1, seed=1)
    )
    chain = begun(one)
    rules, rows, ruins = chain.local.rules, chain.local.rows, chain.ruins

    def content() -> list[object]:
        first = max(rules.num_depots, 1)
        nodes = [x[first:].tolist() for x in (rows.where, rows.place, rows.delivered, rows.picked)]
        routes = [rows.row[r, : rows.size[r] + 2].tolist() for r in np.flatnonzero(rows.size)]
        free = sorted(rows.free[: len(rows.free) - rows.used[0]].tolist())
        return [nodes, routes, rows.length.tolist(), free, rows.used.tolist()]

    before = content()
    changed = 0
    for turn in range(60):
        if problem == "tsp":
            kick(rules, rows, chain.near, ruins)
        else:
            ruin(rules, rows, chain.near, ruins)
            assert ruins.counts[0] == ruins.absent.sum() > 0
            if turn % 2:
                assert recreate(rules, rows, ruins)
        changed += content() != before
        undo(rules, rows, ruins)
        assert content() == before
        assert not ruins.absent.any()
        assert not ruins.touched.any()
    assert changed > 20


def test_vehicles_are_not_exceeded() -> None:
    """As many as the solution at the beginning has, and never one more."""
    one = small(variant_by_name("cvrp"), 20, 1, seed=4)
    routes, _ = routes_from_actions(one, begun(one).best_actions().tolist())
    limited = one.clone()
    limited.num_vehicles = torch.tensor([len(routes)])
    chain = RuinRecreate(limited, 0)
    chain.begin(begun(one).best_actions())
    chain.anneal(2000, chain.scale)
    assert judged(chain, limited) <= begun(one).cost


def test_the_solver_repeats_itself_and_beats_its_start() -> None:
    """With iterations the same seed gives the same solutions; another seed takes other ways."""
    batch = instances("cvrp", 30, 3, seed=4)
    solver = RuinRecreateSolver()
    few = [s.cost for s in solver.solve(batch, Budget(iterations=1), 0)]
    first = solver.solve(batch, Budget(iterations=20), 0)
    again = solver.solve(batch, Budget(iterations=20), 0)
    other = solver.solve(batch, Budget(iterations=20), 1)
    assert [s.routes for s in first] == [s.routes for s in again]
    assert [s.trace[-1][1] for s in first] == pytest.approx([s.cost for s in first], rel=1e-6)
    assert [s.routes for s in first] != [s.routes for s in other]
    assert sum(s.cost for s in first) < sum(few)


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_the_smallest_instances(nodes: int) -> None:
    """Tours and routes too small for anything to be exchanged."""
    for problem in ("tsp", "cvrp"):
        (one,) = unbatch(instances(problem, nodes, 1, seed=0))
        chain = begun(one)
        chain.anneal(50, chain.scale)
        assert chain.cost == pytest.approx(judged(chain, one), rel=1e-9)
