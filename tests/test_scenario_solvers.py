"""Solvers by scenarios: against brute force, against each other, and what they refuse."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest
import torch

from nco.baselines.candidate_pool import CandidatePool, EquivalentSolver, best_plan
from nco.baselines.enumeration import Enumeration, enumerated
from nco.baselines.equivalents import LikelyCustomers
from nco.baselines.insertion import RandomInsertionSolver
from nco.baselines.moves import alone, nearest, neighbours
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.savings import SavingsSolver
from nco.baselines.scenario_search import ScenarioSearch
from nco.baselines.set_partitioning import Route, SetPartitioning, cheapest_partition
from nco.baselines.solver import Budget, SolveFailed, Solver, UnsupportedError
from nco.baselines.workers import Routes
from nco.data.batching import replace as with_fields
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate
from nco.envs.objective import MEAN, Objective
from nco.envs.plans import PlanValue, actions_of, stacked
from nco.envs.presence import require_presence
from nco.envs.variants import environments, scenario_costs
from nco.information import information_of
from tests.draws import seeded

ONCE = Budget(iterations=1)


def value_of(problem: str, count: int = 60, objective: Objective = MEAN) -> PlanValue:
    scenarios = Scenarios(Split.SELECTION, count)
    return PlanValue(environments[problem], scenario_costs[problem], scenarios, objective)


def drawn(problem: str, num_customers: int, batch: int = 1, capacity: int = 20) -> Instance:
    given = None if problem == "ptsp" else capacity
    return generate(
        problem, num_customers=num_customers, batch=batch, generator=seeded(4), capacity=given
    )


def pool(problem: str, num_seeds: int = 6, objective: Objective = MEAN) -> CandidatePool:
    """Of plans that are found at once and are not good."""
    equivalents = [LikelyCustomers(level) for level in (0.0, 0.4)]
    value = value_of(problem, objective=objective)
    return CandidatePool(equivalents, [RandomInsertionSolver()], num_seeds, value)


@pytest.mark.parametrize("problem", ["ptsp", "pcvrp"])
def test_what_every_solver_finds(problem: str) -> None:
    """On six customers no solver is below the enumeration; the search is not above the pool, and
    neither is set partitioning; all on the same scenarios, and plans pass the checker."""
    batch, value = drawn(problem, 6, batch=2), value_of(problem)
    solvers: dict[str, Solver] = {
        "pool": pool(problem),
        "search": ScenarioSearch(pool(problem), value),
        "exact": Enumeration(value),
    }
    if problem == "pcvrp":
        solvers["partition"] = SetPartitioning(pool(problem))
    found: dict[str, list[float]] = {}
    for name, solver in solvers.items():
        solutions = solver.solve(batch, ONCE, 7)
        again = solver.solve(batch, ONCE, 7)
        assert [s.routes for s in solutions] == [s.routes for s in again]
        found[name] = []
        for one, solution in zip(unbatch(batch), solutions, strict=True):
            assert check_routes(one, solution.routes, solution.depots).feasible
            plans = stacked(one, [(solution.routes, solution.depots)])
            found[name].append(float(value.of(one, plans)))
    slack = 1 + 1e-9
    for name in ("search", "partition"):
        for got, start in zip(found.get(name, []), found["pool"], strict=False):
            assert got <= start * slack
    for costs in found.values():
        for got, least in zip(costs, found["exact"], strict=True):
            assert got >= least / slack


@pytest.mark.parametrize("problem", ["ptsp", "pcvrp"])
def test_the_search_ends_where_no_neighbour_is_better(problem: str) -> None:
    """From routes in the order of numbers, to a plan that is better and a local optimum."""
    one, value = drawn(problem, 8), value_of(problem)
    routes = [list(range(8))] if problem == "ptsp" else [[1, 2], [3, 4], [5, 6], [7, 8]]
    search = ScenarioSearch(pool(problem), value)

    def worth(plans: list[list[list[int]]]) -> torch.Tensor:
        actions = stacked(one, [(plan, None) for plan in plans])
        return value.of(one, actions)[0].masked_fill(~value.allowed(one, actions)[0], torch.inf)

    found, priced = search.improve(one, routes, None, 0)
    (before,), (after,) = worth([routes]).tolist(), worth([found]).tolist()
    assert after < 0.99 * before
    few = replace(search, value=replace(value, most=priced // 2))
    cut, spent = few.improve(one, routes, None, 0)
    assert spent == priced // 2
    assert after <= float(worth([cut])) < before
    around = list(neighbours(found, nearest(one, 10)))
    around += list(alone(found)) if problem == "pcvrp" else []
    assert float(worth(around).min()) >= after * (1 - 1e-9)


def every_plan(customers: list[int]) -> list[list[list[int]]]:
    """All ways to part customers into ordered routes; each set of routes once."""
    if not customers:
        return [[]]
    plans = []
    rest = customers[1:]
    for size in range(len(rest) + 1):
        for others in itertools.combinations(rest, size):
            left = [c for c in rest if c not in others]
            for order in itertools.permutations((customers[0], *others)):
                plans += [[list(order), *plan] for plan in every_plan(left)]
    return plans


def test_enumeration_tries_every_plan() -> None:
    """Five customers, 501 sets of routes of which capacity forbids some: the least mean, and the
    least cost of each scenario. A tour of six nodes likewise, also by CVaR."""
    one, value = drawn("pcvrp", 5, capacity=14), value_of("pcvrp", 50)
    plans = every_plan([1, 2, 3, 4, 5])
    assert len(plans) == 501
    kept = [plan for plan in plans if check_routes(one, plan).feasible]
    assert 0 < len(kept) < 501
    costs = value.costs(one, stacked(one, [(plan, None) for plan in kept]))[0]
    found = enumerated(one, value)
    assert found.value == pytest.approx(float(costs.mean(1).min()), rel=1e-12)
    assert torch.allclose(found.wait_and_see, costs.amin(0))
    tour = drawn("ptsp", 6)
    orders = [[[0, *rest]] for rest in itertools.permutations(range(1, 6))]
    for objective in (MEAN, Objective(0.9)):
        value = value_of("ptsp", 50, objective)
        costs = value.costs(tour, stacked(tour, [(order, None) for order in orders]))[0]
        found = enumerated(tour, value)
        assert found.value == pytest.approx(float(objective.of(costs).min()), rel=1e-12)
        assert torch.allclose(found.wait_and_see, costs.amin(0))


def test_set_partitioning_combines_routes_of_several_plans() -> None:
    """Two plans, each with one good route and one bad pair: the cheapest partition takes the good
    routes of both, as trying all subsets of routes does."""
    one = drawn("pcvrp", 6, capacity=60)
    stops = ((1, 2), (3, 4), (5, 6), (1, 2, 3), (4, 5, 6), (1,), (2, 3), (6,), (4, 5))
    routes: list[Route] = [(0, route) for route in stops]
    costs = [2.0, 9.0, 4.0, 7.0, 7.5, 1.0, 4.5, 3.0, 3.5]
    best = min(
        sum(costs[i] for i in chosen)
        for size in range(1, 7)
        for chosen in itertools.combinations(range(9), size)
        if sorted(v for i in chosen for v in routes[i][1]) == [1, 2, 3, 4, 5, 6]
    )
    found = cheapest_partition(one, routes, costs, None)
    assert sum(costs[routes.index(route)] for route in found) == best == 12.0
    with pytest.raises(SolveFailed, match="INFEASIBLE"):
        cheapest_partition(one, routes[:2], costs[:2], None)


def test_neighbours_keep_all_customers_and_differ() -> None:
    """Every move of two routes and of a tour gives a plan with the same customers, each once; and
    from any order of five nodes 2-opt, relocation and swap lead to any other."""
    for problem, routes in (("pcvrp", [[1, 2, 3], [4, 5], [6]]), ("ptsp", [[0, 3, 1, 2, 4, 5]])):
        one = drawn(problem, 6)
        near = nearest(one, 4)
        found = list(neighbours(routes, near)) + list(alone(routes))
        for plan in found:
            assert sorted(v for r in plan for v in r) == sorted(v for r in routes for v in r)
            assert all(plan)
    tour = drawn("ptsp", 5)
    near = nearest(tour, 4)
    seen: set[tuple[int, ...]] = {(0, 1, 2, 3, 4)}
    border = list(seen)
    while border:
        plans = {tuple(plan[0]) for plan in neighbours([list(border.pop())], near)} - seen
        seen |= plans
        border.extend(plans)
    assert len(seen) == 120


def test_unlikely_customers_are_inserted_where_they_cost_least() -> None:
    """The solver sees the likely ones alone; a plan without the last one, with it put into each
    place, is never cheaper."""
    one = drawn("pcvrp", 8, capacity=25)
    chance = require_presence(one)[0].clone()
    chance[1:] = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.2, 0.9, 0.8, 0.15])
    one = with_fields(one, {"presence": chance.unsqueeze(0)})
    seen: list[int] = []

    @dataclass(frozen=True)
    class Watching:
        name: str = "watching"

        def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
            seen.append(instance.num_nodes)
            assert instance.presence is None
            return SavingsSolver().solve(instance, budget, seed)

    solution = EquivalentSolver(LikelyCustomers(0.5), Watching()).solve(one, ONCE, 0)[0]
    assert seen == [7]
    # 8 is the least likely, so it came last
    without = [[v for v in route if v != 8] for route in solution.routes]
    without = [route for route in without if route]
    options = [*without[:0], [*without, [8]]]
    for r, route in enumerate(without):
        for place in range(len(route) + 1):
            longer = [*route[:place], 8, *route[place:]]
            options.append([*without[:r], longer, *without[r + 1 :]])
    reports = [check_routes(one, option) for option in options]
    assert solution.cost == pytest.approx(min(r.cost for r in reports if r.feasible), rel=1e-6)
    nobody = EquivalentSolver(LikelyCustomers(1.0), Watching()).solve(one, ONCE, 0)[0]
    assert seen == [7]
    assert nobody.feasible


def test_the_pool_chooses_by_its_objective() -> None:
    """The mean and CVaR choose other plans of the same; each the one of least value."""
    orders = [[[0, *torch.randperm(7, generator=seeded(s)).add(1).tolist()]] for s in range(60)]
    plans = [Routes(order) for order in orders]
    chosen: list[list[list[list[int]]]] = []
    for objective in (MEAN, Objective(0.95)):
        value = value_of("ptsp", 100, objective)
        chosen.append([])
        for one in unbatch(drawn("ptsp", 8, batch=6)):
            values = value.of(one, stacked(one, [(order, None) for order in orders]))[0]
            best = best_plan(value, one, plans)
            assert best.routes == orders[int(values.argmin())]
            chosen[-1].append(best.routes)
    assert chosen[0] != chosen[1]


def test_plans_as_actions() -> None:
    """Several depots name each route's own; the last one comes home; a tour is its nodes."""
    xy = torch.rand(6, 2, generator=seeded())
    two = Instance.vrp(coords=xy, num_depots=2)
    assert actions_of(two, [[2, 3], [4, 5]], [1, 0]) == [1, 2, 3, 0, 4, 5, 0]
    one = Instance.vrp(coords=xy)
    assert actions_of(one, [[1, 2], [], [3]], None) == [1, 2, 0, 3, 0]
    assert stacked(one, [([[1, 2], [3]], None), ([[1], [2], [3]], None)]).tolist() == [
        [[1, 2, 0, 3, 0, 0], [1, 0, 2, 0, 3, 0]]
    ]
    assert actions_of(Instance.tsp(coords=xy), [[3, 1, 2, 0, 4, 5]], None) == [3, 1, 2, 0, 4, 5]


@pytest.mark.parametrize("problem", ["ptsp", "pcvrp"])
def test_information_is_worth_something(problem: str) -> None:
    """WS < RP <= EEV on the same scenarios, and all the same where all is certain."""
    found = information_of(problem, drawn(problem, 6, batch=2), 50, 0)
    assert found.wait_and_see < found.recourse <= found.mean_value * (1 + 1e-9)
    assert found.perfect_information > 0
    certain = with_fields(
        drawn(problem, 5), {"presence": torch.ones(1, 5 if problem == "ptsp" else 6)}
    )
    same = information_of(problem, certain, 3, 0)
    assert same.perfect_information == pytest.approx(0, abs=1e-6)
    assert same.stochastic_solution == pytest.approx(0, abs=1e-6)


@dataclass(frozen=True)
class Failing:
    """Finds no routes from the second call on."""

    calls: list[int]
    name: str = "failing"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        self.calls.append(seed)
        if len(self.calls) > 1:
            return [evaluate(instance, [[1]], solver=self.name, seconds=0.0)]
        return SavingsSolver().solve(instance, budget, seed)


def test_failures_and_misfits_are_raised() -> None:
    """One infeasible run of many; deterministic solvers on uncertain instances; CVaR as a sum."""
    one, tour = drawn("pcvrp", 6), drawn("ptsp", 6)
    calls: list[int] = []
    with pytest.raises(SolveFailed, match="customer 2 is not visited"):
        replace(pool("pcvrp"), solvers=[Failing(calls)]).solve(one, ONCE, 0)
    assert len(calls) == 2
    for solver in (PyVRPSolver(), RandomInsertionSolver()):
        with pytest.raises(UnsupportedError, match="customers that may not ask"):
            solver.solve(tour, ONCE, 0)
    with pytest.raises(InputError, match="CVaR95, which is no sum"):
        SetPartitioning(pool("pcvrp", objective=Objective(0.95)))
    with pytest.raises(InputError, match="CVaR95, which is no sum"):
        Enumeration(value_of("pcvrp", objective=Objective(0.95))).solve(one, ONCE, 0)
    with pytest.raises(InputError, match="at most 7"):
        Enumeration(value_of("pcvrp")).solve(drawn("pcvrp", 9), ONCE, 0)
    with pytest.raises(InputError, match="one route"):
        SetPartitioning(pool("ptsp")).solve(tour, ONCE, 0)
    with pytest.raises(InputError, match=r"level is 2\.0"):
        LikelyCustomers(2.0)


def test_a_time_limit_holds_for_the_whole_pool() -> None:
    """PyVRP by four levels and two seeds, then the search: about the limit in all."""
    equivalents = [LikelyCustomers(level) for level in (0.0, 0.5)]
    value = value_of("pcvrp", 50)
    of_pyvrp = CandidatePool(equivalents, [PyVRPSolver()], 2, value)
    one = drawn("pcvrp", 12)
    solution = ScenarioSearch(of_pyvrp, value).solve(one, Budget(time_limit=1.0), 0)[0]
    assert solution.seconds < 3
    assert solution.feasible
