"""The local search on many solutions at once: its changes of length, its optima, its limits."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from nco.baselines.batched_filters import changes
from nco.baselines.batched_moves import moves_at
from nco.baselines.batched_search import BatchedLocalSearch
from nco.baselines.batched_tours import Places
from nco.baselines.solver import Budget
from nco.buffers import mapped
from nco.data.batching import collate, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import VARIANTS, multi_task_instances, variant_by_name
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.variants import multi_task, tsp
from nco.local_search_solver import LocalSearchSolver
from nco.search_sampling import LocalSearchOnSamples
from tests.multi_task import TIGHT, small
from tests.neighbourhood import Plan, as_plan, asymmetric, cost_of, neighbours
from tests.no_device import meta, on_no_device
from tests.small import instances, random_rollout

PROBLEMS = ("tsp", "atsp", "cvrp", "acvrp", "ovrp", "vrptw", "vrpb", "vrpl", "vrpmb", "mdcvrp",
            "mdvrpl", "amdcvrp", "mdovrpmbltw")  # fmt: skip


def some(problem: str, size: int, seed: int) -> Instance:
    """One instance of a problem; with "a" in front of a matrix with other ways back."""
    if problem in ("tsp", "atsp"):
        return instances(problem, size, 1, seed=seed)
    one = small(variant_by_name(problem.removeprefix("a")), size, 1, seed=seed)
    return asymmetric(one, seed) if problem.startswith("a") else one


def starts(instance: Instance, count: int, seed: int = 0) -> Tensor:
    """Random feasible solutions."""
    env = tsp if bool((instance.num_depots == 0).all()) else multi_task
    return random_rollout(env, instance, count, seed)


def length(instance: Instance, actions: Tensor) -> float:
    """By the checker, feasible or not."""
    return check_routes(instance, *routes_from_actions(instance, actions.tolist())).cost


@pytest.mark.parametrize("problem", ["tsp", "atsp"])
def test_a_move_of_a_tour_changes_the_length_as_foretold(problem: str) -> None:
    """Every move, taken: the nodes are the same, and the checker's length differs by what was
    computed."""
    assert_foretold(instances(problem, 7, 1, seed=3), kinds=16 if problem == "tsp" else 18)


@pytest.mark.parametrize("depots", [1, 2])
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_move_of_routes_changes_the_length_as_foretold(
    depots: int, opened: bool, symmetric: bool
) -> None:
    """The same of routes without any limit, so that all moves are there."""
    coords = torch.rand(6 + depots, 2, generator=torch.Generator().manual_seed(1))
    one = Instance.vrp(coords=coords, num_depots=depots, open_route=opened)
    one = one if symmetric else asymmetric(one, 1)
    assert_foretold(one, kinds=22 if depots == 1 and symmetric and not opened else 24)


def assert_foretold(one: Instance, kinds: int) -> None:
    """What all moves of two random solutions change their lengths by, of so many kinds."""
    search = BatchedLocalSearch(one)
    tables = search.tables
    pairs, singles = tables.near[0].numel(), one.num_nodes * tables.depots
    seen = set()
    for row in search.layout.rows(one, starts(one, 2, seed=3))[0]:
        places = Places.of(row.view(1, 1, -1), search.layout, one.num_nodes)
        foretold = changes(tables, places).flatten()
        index = foretold.isfinite().nonzero().view(1, -1, 1)
        rows = row.expand(1, index.shape[1], -1)
        places = Places.of(rows, search.layout, one.num_nodes)
        before = length(one, row)
        after = places.after(moves_at(tables, places, index))
        first = max(int(one.num_depots), 1)
        for which, moved in zip(index.flatten().tolist(), after[0], strict=True):
            customers = moved[moved >= first].sort().values
            assert customers.tolist() == list(range(first, one.num_nodes))
            change = length(one, moved) - before
            assert change == pytest.approx(float(foretold[which]), abs=2e-5), which
            block = len(tables.pairs) * pairs
            seen.add(which // pairs if which < block else -1 - (which - block) // singles)
    assert len(seen) == kinds


def joined_by_beginnings(plan: Plan) -> Iterator[Plan]:
    """2-opt of two routes: the end of one and the beginning of the other change places, turned."""
    for (a, (home, one)), (b, (away, two)) in itertools.permutations(enumerate(plan), 2):
        rest = [r for k, r in enumerate(plan) if k not in (a, b)]
        for i, j in itertools.product(range(len(one) + 1), range(len(two) + 1)):
            first, second = one[:i] + two[:j][::-1], one[i:][::-1] + two[j:]
            yield [*rest, (home, first), (away, second)]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_it_ends_where_no_move_improves(problem: str) -> None:
    """Every solution that one move leads to, found by trying all, is infeasible or not cheaper."""
    one = some(problem, 6, seed=1)
    depots = int(one.num_depots)
    begun = starts(one, 2)
    # few, so that most of what is refused is refused by turns
    found = BatchedLocalSearch(one, candidates=2).improve(begun)
    assert bool(found.done.all())
    for s in range(2):
        plan = as_plan(one, found.actions[0, s].numpy())
        cost = cost_of(one, plan)
        assert cost == pytest.approx(float(found.costs[0, s]), rel=1e-9)
        assert cost <= cost_of(one, as_plan(one, begun[0, s].numpy())) * (1 + 1e-9)
        near = itertools.chain(neighbours(plan, depots), joined_by_beginnings(plan))
        best = min(cost_of(one, [(d, r) for d, r in plan if r]) for plan in near)
        assert best >= cost - 5e-6, (problem, s, plan)


def test_mixed_variants_and_sizes_at_once() -> None:
    """All variants in one batch, padded: the checker accepts every result, none costs more than its
    start, the cost told is the checker's, and an instance alone gets the same."""
    sizes = (8, 12)
    parts = [
        multi_task_instances(12, n, torch.Generator().manual_seed(n), tightness=TIGHT)
        for n in sizes
    ]
    singles = [one for part in parts for one in unbatch(part)]
    batch = collate(singles)
    begun = starts(batch, 2)
    found = BatchedLocalSearch(batch).improve(begun)
    gains = []
    for b, one in enumerate(singles):
        for s in range(2):
            before = check_routes(one, *routes_from_actions(one, begun[b, s].tolist()))
            after = check_routes(one, *routes_from_actions(one, found.actions[b, s].tolist()))
            assert after.feasible, after.violations
            assert after.cost == pytest.approx(float(found.costs[b, s]), rel=1e-6)
            gains.append(before.cost - after.cost)
    assert min(gains) >= 0
    assert max(gains) > 1
    for b in (0, 15):
        alone = BatchedLocalSearch(singles[b]).improve(begun[b : b + 1])
        assert alone.costs[0].tolist() == pytest.approx(found.costs[b].tolist(), rel=1e-6)


def test_tours_of_two_sizes() -> None:
    """Padded tours: the actions behind the end mean nothing, and each is improved as alone."""
    singles = [instances("tsp", 8, 1, seed=1), instances("tsp", 12, 1, seed=2)]
    batch = collate(singles)
    begun = starts(batch, 3)
    found = BatchedLocalSearch(batch).improve(begun)
    for b, one in enumerate(singles):
        alone = BatchedLocalSearch(one).improve(begun[b : b + 1, :, : one.num_nodes])
        assert alone.costs[0].tolist() == pytest.approx(found.costs[b].tolist(), rel=1e-6)
        for s in range(3):
            assert cost_of(one, as_plan(one, found.actions[b, s].numpy())) < float("inf")


@pytest.mark.parametrize("size", [1, 2, 3])
def test_few_nodes(size: int) -> None:
    """Nothing to improve is no error."""
    tour = Instance.tsp(coords=torch.rand(size, 2, generator=torch.Generator().manual_seed(0)))
    found = BatchedLocalSearch(tour).improve(torch.arange(size).view(1, 1, size))
    assert sorted(found.actions[0, 0].tolist()) == list(range(size))
    routes = Instance.vrp(coords=torch.rand(size + 1, 2), demand=[0.0] + [1.0] * size, capacity=9)
    found = BatchedLocalSearch(routes).improve(starts(routes, 1))
    assert cost_of(routes, as_plan(routes, found.actions[0, 0].numpy())) < float("inf")


def test_drivable_is_the_checkers_rule() -> None:
    """On every variant: random routes, several at once and of different lengths, are drivable
    exactly where the checker finds nothing. Both happen often."""
    generator = torch.Generator().manual_seed(0)
    seen = {True: 0, False: 0}
    for variant in VARIANTS:
        one = small(variant, 6, 1, seed=1)
        first = int(one.num_depots)
        depots = torch.randint(first, (1, 8), generator=generator)
        routes = depots.unsqueeze(2).repeat(1, 1, 5)
        for r in range(8):
            count = int(torch.randint(1, 5, (), generator=generator))
            routes[0, r, :count] = torch.randperm(6, generator=generator)[:count] + first
        drivable = multi_task.drivable(multi_task.reset(one, 1).problem, depots, routes)
        for r, allowed in enumerate(drivable[0].tolist()):
            route = [node for node in routes[0, r].tolist() if node >= first]
            report = check_routes(one, [route], [int(depots[0, r])])
            broken = [v for v in report.violations if "is not visited" not in v]
            assert allowed == (not broken), (variant.name, route, broken)
            seen[allowed] += 1
    assert min(seen.values()) > 100


def test_vehicles_are_not_exceeded() -> None:
    """Where cutting a route would pay, but there is no vehicle for it, it is not cut."""
    coords = torch.tensor([[0.5, 0.5], [0.0, 0.5], [1.0, 0.5], [0.0, 0.6], [1.0, 0.6]])
    far = torch.cdist(coords, coords)
    # what joins the two sides is longer than the way by the depot
    far[1::2, 2::2] = far[2::2, 1::2] = 9.0
    for vehicles in (1, 2):
        one = Instance.vrp(distance=far * (1 - torch.eye(5)), num_vehicles=vehicles)
        found = BatchedLocalSearch(one).improve(torch.tensor([[[1, 2, 3, 4]]]))
        assert len(routes_from_actions(one, found.actions[0, 0].tolist())[0]) == vehicles


def test_ways_that_time_forbids_are_left_out_only_where_that_is_safe() -> None:
    """Where a detour is faster than the direct way, a way that two customers alone have no time for
    may be part of a longer route."""
    # 2 is reached in time only by way of 3
    ways = torch.tensor([[0, 1, 9, 1], [1, 0, 9, 9], [1, 1, 0, 9], [1, 9, 1, 0]]).float()
    windows = [[0.0, 20.0], [0.0, 20.0], [0.0, 4.0], [0.0, 20.0]]
    one = Instance.vrp(distance=ways, time_window=windows)
    search = BatchedLocalSearch(one)
    assert float(search.tables.distance.max()) == 9
    metric = small(variant_by_name("vrptw"), 6, 1, seed=1)
    closed = BatchedLocalSearch(metric).tables.distance.max()
    assert float(closed) > 100


def test_time_is_kept() -> None:
    """Without time nothing changes, and that nothing is known of the end is told; and a solver's
    limit holds."""
    one = instances("cvrp", 30, 1)
    begun = starts(one, 2)
    search = BatchedLocalSearch(one)
    found = search.improve(begun, in_time=lambda: False)
    assert found.iterations == 0
    assert not bool(found.done.any())
    for s in range(2):
        assert length(one, found.actions[0, s]) == pytest.approx(length(one, begun[0, s]))
    answers = iter([True, True, False])
    found = search.improve(begun, in_time=lambda: next(answers))
    assert found.iterations == 2
    assert bool((found.costs < torch.tensor([[length(one, x) for x in begun[0]]])).all())
    began = time.perf_counter()
    (solved,) = LocalSearchSolver(moves="batched").solve(
        instances("cvrp", 60, 1), Budget(time_limit=0.5), 0
    )
    assert solved.feasible
    # a loaded machine may keep a process waiting for seconds
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("start", ["nearest", "savings"])
def test_without_a_network(start: str) -> None:
    """Each start, on tours and routes: feasible, never worse than it began, and near to what the
    compiled search finds."""
    for problem in ("tsp", "cvrp"):
        one = instances(problem, 12, 1)
        costs = {}
        for moves in ("batched", "compiled"):
            solver = LocalSearchSolver(start, moves=moves)  # type: ignore[arg-type]
            (found,) = solver.solve(one, Budget(iterations=2), 0)
            assert found.feasible
            trace = [cost for _, cost in found.trace]
            assert trace == sorted(trace, reverse=True)
            assert found.cost == pytest.approx(trace[-1], rel=1e-6)
            costs[moves] = found.cost
        assert costs["batched"] <= costs["compiled"] * (1.2 if start == "savings" else 1.02)


def test_what_improves_where() -> None:
    """All at once where the instance is on a GPU, the compiled moves on the CPU, and what is asked
    for."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert LocalSearchOnSamples().batched(gpu)
    assert not LocalSearchOnSamples().batched(cpu)
    assert LocalSearchOnSamples(moves="batched").batched(cpu)
    assert not LocalSearchOnSamples(moves="compiled").batched(gpu)


def test_tours_and_routes_are_not_mixed() -> None:
    """In one batch."""
    both = collate([instances("tsp", 5, 1), instances("cvrp", 4, 1)])
    with pytest.raises(InputError, match="TSPs and others"):
        BatchedLocalSearch(both)


@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdovrpmbltw"])
def test_an_iteration_waits_for_nothing(problem: str) -> None:
    """On a device it copies nothing and looks at no number."""
    one = some(problem, 8, seed=1)
    search = BatchedLocalSearch(one)
    rows = search.layout.rows(one, starts(one, 3))
    search.exact, search.least = meta(search.exact), meta(search.least)
    search.tables = mapped(search.tables, meta)
    search.layout = search.tables.layout
    if search.problem is not None:
        search.problem = mapped(search.problem, meta)
    tried = torch.zeros(1, 3, search.tables.size, dtype=torch.bool, device="meta")
    # made once, before the iterations
    assert search.tables.kinds.device.type == "meta"
    row = meta(rows)
    on_no_device(lambda: search.iterate(row, tried))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdovrpmbltw"])
def test_on_a_gpu(problem: str) -> None:
    """It stays there, and is judged as on the CPU."""
    one = some(problem, 20, seed=1)
    begun = starts(one, 8)
    found = BatchedLocalSearch(one.to("cuda")).improve(begun.to("cuda"))
    assert found.actions.is_cuda
    assert bool(found.done.all())
    here = BatchedLocalSearch(one).improve(begun)
    assert float(found.costs.mean()) == pytest.approx(float(here.costs.mean()), rel=0.03)
    for s in range(8):
        cost = cost_of(one, as_plan(one, found.actions[0, s].cpu().numpy()))
        assert cost == pytest.approx(float(found.costs[0, s]), rel=1e-6)
