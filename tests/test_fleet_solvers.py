"""Solvers on profiled VRPs: against brute force, each other, and what they must refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nco
from nco.baselines.ortools_solver import FLEET_STARTS, ORToolsSolver
from nco.baselines.solver import Budget, SolveFailed, UnsupportedError
from nco.data.batching import collate, replace
from nco.data.fleet import make_fleet
from nco.data.fleet_generators import FleetLaw
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.checker import check_routes
from tests.fleets import brute_force, fleet_of, fleets, tiny

KINDS: dict[str, dict[str, Any]] = {
    "preferences": {},
    "zones": {"allowed": [[True, False, True, True, True], [True, True, True, False, True]]},
    "shifts": {"shift": [2.6, 3.6]},
    "time only": {"preference_weight": 0.0, "fixed_cost": 0.0, "distance_cost": 0.0},
    "dear vehicles": {"fixed_cost": [0.3, 0.6]},
}


def solved(instance: Instance, solver: str, iterations: int = 150) -> list[Solution]:
    """With a limit that repeats; every claim is judged again."""
    found = nco.solve(
        instance, solver=solver, iterations=iterations, time_limit=3.0, progress=False
    )
    for solution in found:
        report = check_routes(solution.instance, solution.routes, vehicles=solution.vehicles)
        assert solution.feasible, solution.violations
        assert report.cost == solution.cost
    return found


@pytest.mark.parametrize("solver", ["pyvrp", "ortools"])
@pytest.mark.parametrize("kind", KINDS)
def test_solvers_find_the_optimum(kind: str, solver: str) -> None:
    singles = [tiny(seed, customers=4, **KINDS[kind]) for seed in range(3)]
    best = [brute_force(one) for one in singles]
    costs = [s.cost for s in solved(collate(singles), solver)]
    assert costs == pytest.approx(best, rel=1e-9)
    if kind == "shifts":
        free = [brute_force(tiny(seed, customers=4)) for seed in range(3)]
        assert best != pytest.approx(free, rel=1e-3), "no shift binds"


def test_ortools_finds_the_min_max_optimum() -> None:
    singles = [tiny(seed, customers=4, min_max=True) for seed in range(3)]
    costs = [s.cost for s in solved(collate(singles), "ortools")]
    assert costs == pytest.approx([brute_force(one) for one in singles], rel=1e-9)


@pytest.mark.parametrize("solver", ["pyvrp", "ortools"])
def test_several_depots(solver: str) -> None:
    """Vehicles start, refill and end at their own depot; a depot may have none."""
    place = torch.tensor([[0.0, 0], [1, 0], [5, 5], [0.1, 0], [0.2, 0], [0.9, 0], [0.8, 0]])
    fleet = make_fleet(
        num_nodes=7, capacity=[1.0, 1.0], depot=[0, 1], dtype=torch.float32, distance_cost=[0, 0.5]
    )
    instance = Instance.vrp(
        coords=place, demand=[0.0, 0, 0, 1, 1, 1, 1], num_depots=3, fleet=fleet
    )  # fmt: skip
    (found,) = solved(instance, solver)
    assert found.cost == pytest.approx(brute_force(instance), rel=1e-5)
    assert sorted(zip(found.vehicles, found.depots, strict=True)) == [(0, 0)] * 2 + [(1, 1)] * 2


def test_solvers_agree_where_brute_force_would_take_long() -> None:
    instance = fleets((8, 8), 1, 5, FleetLaw(num_vehicles=(3, 3), shift=1.0), zones=True)
    (one,) = solved(instance, "pyvrp", 400)
    (other,) = solved(instance, "ortools", 400)
    assert one.cost == pytest.approx(other.cost, rel=1e-6)


def test_ortools_starts_differently_where_its_first_start_fails() -> None:
    """Tight zones: insertion and savings give up on some, and on the first one all of them do."""
    tight = fleets((20, 20), 12, 5, FleetLaw(num_vehicles=(3, 3)), zones=True)[8:12]
    budget = Budget(time_limit=4.0, iterations=5)

    def fails(one: Instance, start: str) -> bool:
        try:
            (found,) = ORToolsSolver(start).solve(one, budget, 0)
        except SolveFailed:
            return True
        return not found.feasible

    for start in FLEET_STARTS[:-1]:
        assert fails(tight[:1], start)
    assert not fails(tight[3:4], FLEET_STARTS[2])
    assert all(found.feasible for found in ORToolsSolver().solve(tight, budget, 0))


def test_one_kind_of_vehicle_costs_what_the_cvrp_costs() -> None:
    plain = nco.generate("cvrp", 10, seed=4)
    capacity = plain.capacity.unsqueeze(1).expand(-1, 2)
    fleet = make_fleet(num_nodes=11, capacity=capacity, dtype=torch.float32)
    same = replace(plain, {"fleet": fleet, "capacity": torch.full_like(plain.capacity, torch.inf)})
    cost = nco.solve(plain, solver="pyvrp", iterations=400, progress=False)[0].cost
    assert [s.cost for name in ("pyvrp", "ortools") for s in solved(same, name, 400)] == (
        pytest.approx([cost] * 2, rel=1e-6)
    )


@pytest.mark.parametrize("solver", ["nearest", "savings", "hgs", "farthest-insertion"])
def test_others_refuse_fleets(solver: str) -> None:
    with pytest.raises(UnsupportedError, match="profiles, speeds, costs or shifts of their own"):
        nco.solve(tiny(0), solver=solver, iterations=1, progress=False)


def test_pyvrp_refuses_min_max_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"pyvrp cannot solve .* a min-max objective;"):
        nco.solve(tiny(0, min_max=True), solver="pyvrp", iterations=1, progress=False)


def test_a_preference_is_charged_once_however_many_trips() -> None:
    """Two trips for the price of two ways, and each customer's preference once."""
    fleet = make_fleet(
        num_nodes=3, capacity=[1.0, 1.0], profile=[[0, 0.25, 0.25], [0, 1.0, 1.0]],
        allowed=[[True] * 3, [False] * 3], preference_weight=2.0, fixed_cost=0.5,
    )  # fmt: skip
    instance = Instance.vrp(coords=[[0.0, 0], [1, 0], [0, 1]], demand=[0.0, 1, 1], fleet=fleet)
    for solver in ("pyvrp", "ortools"):
        (found,) = solved(instance, solver, 20)
        assert found.cost == pytest.approx(4 + 2 * 1.5 + 0.5)
        assert found.vehicles == [0, 0]
    assert not bool(fleet_of(instance).allowed[0, 1].any())
