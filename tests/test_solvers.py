"""The adapters of other people's solvers, and the solvers by name."""

from __future__ import annotations

import pytest
import torch

from nco.baselines.elkai_solver import ElkaiSolver
from nco.baselines.fast_tsp_solver import FastTSPSolver
from nco.baselines.hgs_solver import HGSSolver
from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.solver import (
    Budget,
    SolveFailed,
    Solver,
    UnsupportedError,
)
from nco.data.batching import collate, replace, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix
from nco.envs.checker import check_routes
from nco.solver_config import (
    solver_from_name,
)
from tests.small import best_cvrp_cost, best_tour_length, instances

SEARCHES: list[Solver] = [PyVRPSolver(), ORToolsSolver()]
OTHERS: list[Solver] = [HGSSolver(), FastTSPSolver(), ElkaiSolver()]


def _name(solver: Solver) -> str:
    return solver.name


def _rich(
    *,
    attributes: set[str],
    num_customers: int = 8,
    seed: int = 0,
) -> Instance:
    """A random instance with the named attributes."""
    generator = torch.Generator().manual_seed(seed)
    depots = 2 if "depots" in attributes else 1
    n = num_customers + depots
    real = torch.float64
    demand = torch.randint(1, 9, (n,), generator=generator).to(real)
    demand[:depots] = 0
    picked = torch.zeros(n, dtype=torch.bool)
    if "backhauls" in attributes or "mixed" in attributes:
        picked[depots::3] = True
    early = torch.rand(n, generator=generator, dtype=real) * 2
    early[:depots] = 0.125
    late = early + 0.6
    late[:depots] = 4.0
    timed = "windows" in attributes
    points = torch.rand(n, 2, generator=generator, dtype=real)
    matrix = torch.rand(n, n, generator=generator, dtype=real).fill_diagonal_(0)
    asymmetric = "asymmetric" in attributes
    return Instance.vrp(
        coords=None if asymmetric else points,
        distance=matrix if asymmetric else None,
        demand=torch.where(picked, 0.0, demand),
        backhaul=torch.where(picked, demand, 0.0),
        mixed_backhaul="mixed" in attributes,
        capacity=15.0,
        time_window=torch.stack([early, late], -1) if timed else None,
        service_time=torch.full((n,), 0.0517, dtype=real) if timed else None,
        distance_limit=2.9 if "limit" in attributes else None,
        open_route="open" in attributes,
        num_depots=depots,
        num_vehicles=5 if "fleet" in attributes else None,
    )


def _assert_judged(found_by: Solver, instance: Instance, budget: Budget) -> float:
    """Feasible by the checker, cost the checker's; returns the cost."""
    (found,) = found_by.solve(instance, budget, 0)
    report = check_routes(instance, found.routes, found.depots)
    assert report.feasible, report.violations
    assert found.cost == report.cost
    assert found.solver == found_by.name
    for (at, cost), (later, better) in zip(found.trace, found.trace[1:], strict=False):
        assert at < later
        assert cost > better
    if found.trace:
        assert found.trace[-1][0] <= found.seconds
        assert found.trace[-1][1] >= found.cost - 1e-9
    return found.cost


def _optimum(instance: Instance) -> float:
    """By brute force."""
    wide = instance.to(torch.float64)
    if int(instance.num_depots):
        return best_cvrp_cost(wide)
    return best_tour_length(distance_matrix(wide)[0].tolist())


@pytest.mark.parametrize("solver", SEARCHES, ids=_name)
@pytest.mark.parametrize("problem", ["tsp", "atsp", "cvrp"])
def test_optimum_of_tiny_instances(solver: Solver, problem: str) -> None:
    """Brute force over all orders finds nothing better on 6 customers, to 1e-4."""
    budget = Budget(time_limit=20, iterations=300)
    for single in unbatch(instances(problem, 6, 3)):
        cost = _assert_judged(solver, single, budget)
        best = _optimum(single)
        assert best - 1e-6 <= cost <= best * (1 + 1e-4)


RICH = [
    {"asymmetric"},
    {"windows"},
    {"limit"},
    {"open"},
    {"depots"},
    {"backhauls"},
    {"mixed"},
    {"fleet"},
    {"open", "windows", "limit"},
    {"depots", "open", "mixed", "asymmetric"},
    {"backhauls", "windows", "limit"},
    {"depots", "backhauls", "windows", "limit", "open"},
]


@pytest.mark.parametrize("attributes", RICH, ids=lambda a: "+".join(sorted(a)))
def test_two_solvers_agree_on_rich_instances(attributes: set[str]) -> None:
    """PyVRP and OR-Tools, which model every attribute differently, find the same cost."""
    instance = _rich(attributes=attributes)
    first = _assert_judged(PyVRPSolver(), instance, Budget(20, iterations=1500))
    second = _assert_judged(ORToolsSolver(), instance, Budget(20, iterations=300))
    assert first == pytest.approx(second, rel=2e-3)


def test_fleet_over_several_depots() -> None:
    """OR-Tools keeps one fleet limit over all depots; PyVRP refuses it by name."""
    instance = _rich(attributes={"depots", "fleet"})
    instance = replace(instance, {"num_vehicles": torch.tensor([3])})
    _assert_judged(ORToolsSolver(), instance, Budget(20, iterations=100))
    with pytest.raises(UnsupportedError, match=r"pyvrp cannot .* a limited fleet over several"):
        PyVRPSolver().solve(instance, Budget(1), 0)


@pytest.mark.parametrize("solver", SEARCHES, ids=_name)
def test_delivery_and_classical_pickup_at_one_customer_is_refused(solver: Solver) -> None:
    """With classical backhauls it is refused by name; mixed it is solved."""
    loads = {"demand": [0, 2, 2, 2], "backhaul": [0, 1, 3, 0], "capacity": 5}
    coords = [[0.0, 0], [1, 0], [0, 1], [1, 1]]
    with pytest.raises(UnsupportedError, match="a delivery and a pickup at one customer"):
        solver.solve(Instance.vrp(coords=coords, **loads), Budget(1), 0)
    mixed = Instance.vrp(coords=coords, mixed_backhaul=True, **loads)
    _assert_judged(solver, mixed, Budget(20, iterations=20))


@pytest.mark.parametrize("solver", SEARCHES, ids=_name)
def test_iteration_limit_repeats_exactly(solver: Solver) -> None:
    """Same seed, same routes; a batch of mixed sizes gives what each instance gives alone."""
    budget = Budget(time_limit=30, iterations=40)
    singles = [unbatch(instances("cvrp", n, 1))[0] for n in (12, 20)]
    alone = [solver.solve(single, budget, 7)[0].routes for single in singles]
    batch = solver.solve(collate(singles), budget, 7)
    assert [found.routes for found in batch] == alone


def test_pyvrp_uses_the_seed() -> None:
    """After one iteration on 60 customers, other seeds have other routes."""
    single = instances("cvrp", 60, 1)
    routes = [PyVRPSolver().solve(single, Budget(iterations=1), s)[0].routes for s in (1, 2, -1)]
    assert routes[0] != routes[1]
    assert routes[1] != routes[2]


@pytest.mark.parametrize("solver", OTHERS, ids=_name)
def test_other_solvers_reach_the_optimum(solver: Solver) -> None:
    """HGS-CVRP, fast-tsp and LKH on 6 customers, against brute force."""
    problem = "cvrp" if solver.name == "hgs" else "tsp"
    for single in unbatch(instances(problem, 6, 2)):
        budget = Budget(iterations=300) if solver.name == "hgs" else Budget(5)
        cost = _assert_judged(solver, single, budget)
        best = _optimum(single)
        assert cost == pytest.approx(best, rel=1e-4)


def test_elkai_solves_asymmetric_tours() -> None:
    """LKH's asymmetric mode, against brute force."""
    single = instances("atsp", 6, 1)
    cost = _assert_judged(ElkaiSolver(), single, Budget(iterations=2))
    assert cost == pytest.approx(_optimum(single), rel=1e-4)


@pytest.mark.parametrize("solver", [*SEARCHES, *OTHERS], ids=_name)
@pytest.mark.parametrize("num_customers", [1, 2, 3])
def test_smallest_instances(solver: Solver, num_customers: int) -> None:
    """One, two and three places to visit."""
    generator = torch.Generator().manual_seed(0)
    if solver.name in ("fast-tsp", "elkai"):
        instance = Instance.tsp(coords=torch.rand(num_customers, 2, generator=generator))
    else:
        coords = torch.rand(num_customers + 1, 2, generator=generator)
        instance = Instance.vrp(coords=coords, demand=[0] + [1] * num_customers, capacity=2)
    budget = Budget(0.2) if solver.name == "fast-tsp" else Budget(iterations=10)
    _assert_judged(solver, instance, budget)


@pytest.mark.parametrize(
    ("name", "instance", "attribute"),
    [
        ("hgs", _rich(attributes={"windows"}), "time windows"),
        ("hgs", _rich(attributes={"asymmetric"}), "asymmetric distances"),
        ("fast-tsp", _rich(attributes=set()), "routes from a depot"),
        ("fast-tsp", Instance.tsp(distance=[[0, 1, 2], [3, 0, 1], [1, 1, 0]]), "asymmetric"),
        ("elkai", _rich(attributes=set()), "routes from a depot"),
    ],
)
def test_unsupported_attributes_are_refused_by_name(
    name: str, instance: Instance, attribute: str
) -> None:
    """The message names the solver and the attribute."""
    with pytest.raises(UnsupportedError, match=f"{name} cannot .* {attribute}"):
        solver_from_name(name).solve(instance, Budget(1), 0)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf")])
def test_a_budget_needs_positive_limits(limit: float) -> None:
    """Zero, negative, NaN and infinite limits are refused with the value."""
    with pytest.raises(InputError, match="time_limit is"):
        Budget(time_limit=limit)


@pytest.mark.parametrize("name", ["pyvrp", "ortools", "hgs"])
def test_no_limit_at_all_is_refused(name: str) -> None:
    """A search that would never stop is not begun."""
    single = _rich(attributes=set())
    with pytest.raises(InputError, match=f"{name} needs a time limit or an iteration limit"):
        solver_from_name(name).solve(single, Budget(), 0)


@pytest.mark.parametrize("solver", SEARCHES, ids=_name)
def test_no_feasible_solution_is_a_failure(solver: Solver) -> None:
    """A window that closes before anyone can arrive: no routes, an exception with the name."""
    instance = Instance.vrp(coords=[[0, 0], [10, 0], [0, 1]], time_window=[[0, 99], [0, 5], [0, 9]])
    with pytest.raises(SolveFailed, match=f"{solver.name} found no feasible solution"):
        solver.solve(instance, Budget(time_limit=0.5, iterations=50), 0)
