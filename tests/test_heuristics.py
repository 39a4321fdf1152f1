"""The construction heuristics: feasible always, never below the optimum, reproducible."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from nco.baselines.insertion import FarthestInsertionSolver, RandomInsertionSolver, farthest_first
from nco.baselines.nearest_neighbour import NearestNeighbourSolver
from nco.baselines.savings import SavingsSolver
from nco.baselines.solver import Budget, Solver, UnsupportedError
from nco.data.batching import collate
from nco.data.instance import Instance, distance_matrix
from nco.envs.checker import check_routes
from tests.small import best_cvrp_cost, best_tour_length

HEURISTICS: list[Solver] = [
    NearestNeighbourSolver(),
    RandomInsertionSolver(),
    FarthestInsertionSolver(),
    SavingsSolver(),
]

# hub at the origin; two customers to the east, two to the north
CROSS = [[0.0, 0.0], [3.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 5.0]]


def _random(problem: str, num_customers: int, seed: int) -> Instance:
    generator = torch.Generator().manual_seed(seed)
    n = num_customers + 1
    coords = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    matrix = torch.rand(n, n, generator=generator, dtype=torch.float64).fill_diagonal_(0)
    demand = torch.randint(1, 10, (n,), generator=generator).double()
    demand[0] = 0
    match problem:
        case "tsp":
            return Instance.tsp(coords=coords)
        case "atsp":
            return Instance.tsp(distance=matrix)
        case "cvrp":
            return Instance.vrp(coords=coords, demand=demand, capacity=15)
        case _:
            return Instance.vrp(distance=matrix, demand=demand, capacity=15)


PROBLEMS = ["tsp", "atsp", "cvrp", "acvrp"]


def _optimum(instance: Instance) -> float:
    """By brute force."""
    if int(instance.num_depots):
        return best_cvrp_cost(instance)
    return best_tour_length(distance_matrix(instance)[0].tolist())


@pytest.mark.parametrize("solver", HEURISTICS, ids=lambda s: s.name)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_feasible_and_never_below_the_optimum(solver: Solver, problem: str) -> None:
    """The checker finds no fault, the cost is its cost, and brute force finds nothing dearer."""
    for seed in range(4):
        instance = _random(problem, 5, seed)
        (found,) = solver.solve(instance, Budget(), seed)
        report = check_routes(instance, found.routes, found.depots)
        assert report.feasible, report.violations
        assert found.cost == report.cost
        assert found.cost >= _optimum(instance) - 1e-9
        assert found.solver == solver.name


@pytest.mark.parametrize("solver", HEURISTICS, ids=lambda s: s.name)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("num_customers", [1, 2, 60])
def test_feasible_at_any_size(solver: Solver, problem: str, num_customers: int) -> None:
    """One customer, two, and many: no violation."""
    instance = _random(problem, num_customers, 11)
    (found,) = solver.solve(instance, Budget(), 0)
    assert found.feasible, found.violations


@pytest.mark.parametrize("solver", HEURISTICS, ids=lambda s: s.name)
def test_full_vehicles_with_fractional_demands(solver: Solver) -> None:
    """Thirty demands of 1/30 fill one vehicle of capacity 1: sums are exact, one route does."""
    generator = torch.Generator().manual_seed(3)
    coords = torch.rand(31, 2, generator=generator)
    demand = torch.full((31,), 1 / 30)
    demand[0] = 0
    (found,) = solver.solve(Instance.vrp(coords=coords, demand=demand, capacity=1), Budget(), 0)
    assert found.feasible, found.violations
    assert len(found.routes) == 1


@pytest.mark.parametrize("solver", HEURISTICS, ids=lambda s: s.name)
def test_a_padded_batch_is_solved_as_each_instance_alone(solver: Solver) -> None:
    """Neither padding nor the place in the batch changes the routes."""
    singles = [_random("cvrp", n, n) for n in (7, 12, 9)]
    batch = solver.solve(collate(singles), Budget(), 5)
    alone = [solver.solve(single, Budget(), 5)[0] for single in singles]
    assert [s.routes for s in batch] == [s.routes for s in alone]


def test_nearest_neighbour_by_hand() -> None:
    """A vehicle of 2 goes to 1 (3 away, as 3 is, but first), 2, home; then to 3, 4."""
    instance = Instance.vrp(coords=CROSS, demand=[0, 1, 1, 1, 1], capacity=2)
    (found,) = NearestNeighbourSolver().solve(instance, Budget(), 0)
    assert found.routes == [[1, 2], [3, 4]]
    assert found.cost == pytest.approx(3 + 1 + 4 + 3 + 2 + 5)


def test_nearest_neighbour_looks_along_the_arc() -> None:
    """From 0 it goes to 2 (1 away), though 1 is nearer on the way back."""
    instance = Instance.tsp(distance=[[0, 5, 1], [1, 0, 9], [9, 2, 0]])
    (found,) = NearestNeighbourSolver().solve(instance, Budget(), 0)
    assert found.routes == [[0, 2, 1]]
    assert found.cost == 1 + 2 + 1


def test_savings_by_hand() -> None:
    """Savings are 6 for (1, 2), 6 for (3, 4), and 7 - 5 = 2 or less across.

    s(1, 2) = 3 + 4 - 1 = 6, s(3, 4) = 3 + 5 - 2 = 6, s(1, 3) = 6 - sqrt(18) = 1.757...,
    s(2, 3) = 7 - 5 = 2, s(2, 4) = 9 - sqrt(41) = 2.597..., s(1, 4) = 8 - sqrt(34) = 2.169...
    With room for two, the arms are served one by one; with room for all, 2 and 4 are joined.
    """
    two = Instance.vrp(coords=CROSS, demand=[0, 1, 1, 1, 1], capacity=2)
    (found,) = SavingsSolver().solve(two, Budget(), 0)
    assert sorted(sorted(route) for route in found.routes) == [[1, 2], [3, 4]]
    assert found.cost == pytest.approx(8 + 10)
    four = Instance.vrp(coords=CROSS, demand=[0, 1, 1, 1, 1], capacity=4)
    (found,) = SavingsSolver().solve(four, Budget(), 0)
    assert found.routes[0] in ([1, 2, 4, 3], [3, 4, 2, 1])
    assert found.cost == pytest.approx(3 + 1 + 41**0.5 + 2 + 3)


def test_savings_never_turns_an_asymmetric_route_round() -> None:
    """Only 1 before 2 saves: back from 2 to 1 the arc costs 100."""
    instance = Instance.vrp(
        distance=[[0, 10, 10], [10, 0, 1], [10, 100, 0]], demand=[0, 1, 1], capacity=2
    )
    (found,) = SavingsSolver().solve(instance, Budget(), 0)
    assert found.routes == [[1, 2]]
    assert found.cost == 21


def test_farthest_first_order_by_hand() -> None:
    """0, 1, 10, 6 on a line: 10 is farthest from 0, then 6 (4 from 10), then 1."""
    line = np.array([0.0, 1.0, 10.0, 6.0])
    assert list(farthest_first(np.abs(line[:, None] - line))) == [2, 3, 1]


def test_random_insertion_is_seeded() -> None:
    """The same seed gives the same routes, another seed others."""
    instance = _random("tsp", 40, 0)
    routes = [RandomInsertionSolver().solve(instance, Budget(), s)[0].routes for s in (1, 1, 2)]
    assert routes[0] == routes[1]
    assert routes[0] != routes[2]


def test_insertion_beats_random_order() -> None:
    """Uniform TSP50: insertion stays within 30 % of the constant 0.7124 sqrt(n A) bound.

    A random order is about four times as long (mean distance 0.52 n).
    """
    for solver in (RandomInsertionSolver(), FarthestInsertionSolver()):
        costs = [solver.solve(_random("tsp", 49, s), Budget(), s)[0].cost for s in range(10)]
        assert np.mean(costs) < 1.3 * (0.7124 * 50**0.5 * (1 + 0.33 / 50) + 0.55)


_WINDOW = [[0.0, 9.0]] * 5


@pytest.mark.parametrize("solver", HEURISTICS, ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("attribute", "instance"),
    [
        ("time windows", Instance.vrp(coords=CROSS, time_window=_WINDOW)),
        ("open routes", Instance.vrp(coords=CROSS, open_route=True)),
        ("a distance limit", Instance.vrp(coords=CROSS, distance_limit=50)),
        ("several depots", Instance.vrp(coords=CROSS, num_depots=2)),
        ("a limited fleet", Instance.vrp(coords=CROSS, num_vehicles=2)),
        ("backhauls", Instance.vrp(coords=CROSS, backhaul=[0, 1, 0, 0, 0], capacity=3)),
        (
            "mixed backhauls",
            Instance.vrp(coords=CROSS, backhaul=[0, 1, 0, 0, 0], capacity=3, mixed_backhaul=True),
        ),
    ],
)
def test_unsupported_attributes_are_refused_by_name(
    solver: Solver, attribute: str, instance: Instance
) -> None:
    """The message names the solver and what it cannot express."""
    with pytest.raises(UnsupportedError, match=f"{solver.name} cannot .* {attribute}"):
        solver.solve(instance, Budget(), 0)


@pytest.mark.parametrize("solver", HEURISTICS, ids=lambda s: s.name)
@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_a_thousand_customers_take_seconds_at_most(solver: Solver, problem: str) -> None:
    """n = 1000: about half a second where nothing else runs."""
    instance = _random(problem, 1000, 0)
    start = time.perf_counter()
    (found,) = solver.solve(instance, Budget(), 0)
    assert time.perf_counter() - start < 5
    assert found.feasible
