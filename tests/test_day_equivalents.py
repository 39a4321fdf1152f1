"""Certain problems for uncertain days: what they are made of, and what solvers make of them."""

from __future__ import annotations

import pytest
import torch

from nco.baselines.day_equivalents import DaySolver, HardWindows, departures
from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.solver import Budget, SolveFailed, Solver, UnsupportedError
from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.prices import Prices
from nco.data.solution import Solution
from nco.data.traffic import Traffic
from nco.envs.checker import check_routes, evaluate
from nco.envs.soft_windows import mean_outcomes
from tests.day_oracle import Day, routes_of
from tests.test_service_days import days
from tests.test_soft_windows import by_hand, random_plans

BUDGET = Budget(iterations=20)
CALM = Traffic(delay=0.0, accidents=0.0)


@pytest.mark.parametrize("problem", ["svrptw", "mdsvrptw"])
def test_the_checker_prices_plans_by_mean_travel(problem: str) -> None:
    """As plain Python and the tensors do; lateness is no violation, an overload is."""
    instance = days(problem, "correlated", 9, 3)
    plans = random_plans(instance, 4)
    costs = mean_outcomes(instance, plans).cost[:, :, 0]
    depots = int(instance.num_depots[0])
    for b in range(3):
        for p in range(4):
            routes = routes_of(plans[b, p].tolist(), depots)
            found = evaluate(
                instance[b : b + 1],
                [route for _, route in routes],
                solver="random",
                seconds=0.0,
                depots=[depot for depot, _ in routes],
            )
            assert found.cost == pytest.approx(float(costs[b, p]), rel=1e-9)
            loads = [float(instance.linehaul[b, route].sum()) for _, route in routes]
            assert found.feasible == (max(loads) <= float(instance.capacity[b]))


def test_certain_problems_have_means_quantiles_and_prices() -> None:
    """Against plain Python: mean durations over the day, costs with half of a route's price, higher
    quantiles are longer, earlier closing."""
    one = days("svrptw", "correlated", 6, 1)
    mean, high = HardWindows().certain(one), HardWindows(0.9).certain(one)
    day, assert_close = Day(one, 0), pytest.approx
    clocks = [360 + 960 * (k + 0.5) / 16 for k in range(16)]
    assert mean.duration is not None
    assert mean.distance is not None
    assert high.duration is not None
    for i, j in ((0, 3), (2, 5), (4, 0)):
        expected = sum(day.time(i, j, clock) for clock in clocks) / 16
        assert float(mean.duration[0, i, j]) == assert_close(expected, rel=1e-5)
        touches = 30.0 if 0 in (i, j) else 0.0
        assert float(mean.distance[0, i, j]) == assert_close(expected + touches, rel=1e-5)
    away = ~torch.eye(7, dtype=torch.bool)
    assert bool((high.duration[0, away] > mean.duration[0, away]).all())
    assert mean.traffic is None
    earlier = HardWindows(buffer=20.0).certain(one)
    gain = mean.time_window[0, 1:, 1] - earlier.time_window[0, 1:, 1]
    assert float(gain.max()) == assert_close(20.0, rel=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.99])
@pytest.mark.parametrize("problem", ["svrptw", "mdsvrptw"])
def test_every_customer_fits_a_route_of_its_own(problem: str, level: float) -> None:
    """However long times are and however early windows close."""
    instance = days(problem, "correlated", 8, 1)
    certain = HardWindows(level, buffer=200.0).certain(instance)
    depots = int(instance.num_depots[0])
    for node in range(depots, 8 + depots):
        alone = _only(certain, node, depots)
        assert any(check_routes(alone, [[depots]], [depot]).feasible for depot in range(depots))


def _only(one: Instance, node: int, depots: int) -> Instance:
    """The instance with one customer."""
    kept = [*range(depots), node]
    assert one.distance is not None
    assert one.duration is not None
    return Instance.vrp(
        distance=one.distance[:, kept][:, :, kept],
        duration=one.duration[:, kept][:, :, kept],
        time_window=one.time_window[:, kept],
        service_time=one.service_time[:, kept],
        num_depots=depots,
    )


@pytest.mark.parametrize(
    ("problem", "solver"), [("svrptw", PyVRPSolver()), ("mdsvrptw", ORToolsSolver())]
)
def test_solvers_plan_days(problem: str, solver: Solver) -> None:
    """With every customer served; a second pass is kept only where it is cheaper; the same seed
    gives the same plan; uncertain days themselves are refused by name."""
    instance = days(problem, "correlated", 8, 1)
    with pytest.raises(UnsupportedError, match="soft time windows and traffic"):
        solver.solve(instance, BUDGET, 0)
    once = DaySolver(solver, HardWindows(0.8))
    first, again = (once.solve(instance, BUDGET, 3)[0] for _ in range(2))
    assert first.feasible
    assert again.routes == first.routes
    # an iteration limit holds for each pass, so the first of two is the same run
    twice = DaySolver(solver, HardWindows(0.8), passes=2).solve(instance, BUDGET, 3)[0]
    assert twice.cost <= first.cost + 1e-9
    name = f"{solver.name}, quantile 0.8, 2 passes"
    assert DaySolver(solver, HardWindows(0.8), passes=2).name == name


def test_without_delays_the_certain_problem_is_the_whole() -> None:
    """On free roads with wide windows a plan costs what the solver's own arcs add up to."""
    instance = days("svrptw", "svrpbench-paper", 7, 2)
    wide = instance.time_window.clone()
    wide[:, :, 0], wide[:, :, 1] = 0, 1e5
    rows = torch.tensor([CALM.row()] * 2)
    easy = replace(instance, {"traffic": rows, "time_window": wide})
    for one in (easy[:1], easy[1:]):
        certain = PyVRPSolver().solve(HardWindows().certain(one), BUDGET, 0)[0]
        plan = DaySolver(PyVRPSolver()).solve(one, BUDGET, 0)[0]
        assert plan.cost == pytest.approx(certain.cost, rel=1e-6)


def test_waiting_is_priced_where_a_solver_can() -> None:
    """Two customers in one direction, hours apart: one route waits, two drive twice. PyVRP weighs
    the two as the prices do; arcs and time on duty add up to the plan's cost."""
    for price, routes in ((0.01, 1), (0.9, 2)):
        paid = Prices(travel=1.0, waiting=price, lateness=9.0, overtime=9.0, route=5.0)
        one = Instance.vrp(
            coords=[[0.0, 0.0], [10.0, 0.0], [11.0, 0.0]],
            time_window=[[0.0, 900.0], [100.0, 110.0], [300.0, 310.0]],
            traffic=CALM.row(),
            prices=paid.row(),
            key=1,
        )
        plan = DaySolver(PyVRPSolver()).solve(one, BUDGET, 0)[0]
        assert len(plan.routes) == routes
        # either way one after the other, or each alone
        together = 22 + price * 199 + 5
        assert plan.cost == pytest.approx(min(together, 20 + 22 + 10))
    with pytest.raises(InputError, match="time_price is -1"):
        PyVRPSolver().pricing_time(-1.0)


def test_departures_of_a_plan() -> None:
    """By hand: 1 is served from 30 to 34, 2 from 44 on."""
    one = by_hand()
    plan = evaluate(one, [[1, 2], [3]], solver="hand", seconds=0.0)
    clock = departures(one, plan)[0]
    assert clock[1, [0, 2, 3]].tolist() == [34.0] * 3
    assert clock[2, [0, 1, 3]].tolist() == [44.0] * 3
    assert clock[0, 1:].tolist() == [20.0, 15.0, 1495.0]


def test_failures_raise() -> None:
    """A solver that finds nothing is not replaced by another."""

    class Lost:
        name = "lost"

        def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
            return [evaluate(instance, [], solver="lost", seconds=0.0)]

    with pytest.raises(SolveFailed, match="lost, mean times failed: customer 1 is not visited"):
        DaySolver(Lost()).solve(by_hand(), BUDGET, 0)
    with pytest.raises(InputError, match="quantile below 1"):
        HardWindows(1.0)
    with pytest.raises(InputError, match="passes is 0"):
        DaySolver(Lost(), passes=0)
