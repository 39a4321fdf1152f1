"""PyVRP's and OR-Tools' adapters on all 48 variants, against brute force, at the edges too."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.solver import Budget, Solver, UnsupportedError
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.multi_task import VARIANTS, Variant
from nco.envs.checker import check
from tests.multi_task import best_route_sets_cost, small

PYVRP, ORTOOLS = PyVRPSolver(), ORToolsSolver()
BUDGETS = {PYVRP.name: Budget(60, iterations=150), ORTOOLS.name: Budget(60, iterations=60)}
BOTH = pytest.mark.parametrize("solver", [PYVRP, ORTOOLS], ids=lambda solver: solver.name)


def assert_optimal(solver: Solver, instance: Instance) -> None:
    """Feasible by the checker, and as cheap as the best of all route sets."""
    for single, found in zip(
        unbatch(instance), solver.solve(instance, BUDGETS[solver.name], 0), strict=True
    ):
        report = check(single, found)
        assert report.feasible, report.violations
        assert found.cost == pytest.approx(best_route_sets_cost(single), rel=1e-4)


@BOTH
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_optimum_of_every_variant(solver: Solver, variant: Variant) -> None:
    """Four customers, with constraints that bind."""
    assert_optimal(solver, small(variant, 4, 1, seed=1))


PLACES = [[0.0, 0.0], [1.0, 1.0], [0.3, 0.7], [0.9, 0.2]]


def along(*stops: int) -> float:
    """The length of a walk over `PLACES`, as the checker sums it."""
    return sum(math.dist(PLACES[i], PLACES[j]) for i, j in itertools.pairwise(stops))


EDGES: dict[str, dict[str, Any]] = {
    "a limit that one route meets": {"distance_limit": along(0, 2, 1, 3, 0)},
    "a limit that the farthest customer needs": {"distance_limit": along(0, 1, 0)},
    "windows that close at the arrival": {
        "time_window": [[0, along(0, 2, 1, 3, 0)], [0, along(0, 2, 1)], [0, 9], [0, 9]]
    },
    "a window of no width": {"time_window": [[0, 9], [along(0, 2, 1)] * 2, [0, 9], [0, 9]]},
    "service that just ends in time": {
        "time_window": [[0, along(0, 2, 1, 3, 0) + 0.7], [0, 9], [0, 9], [0, 9]],
        "service_time": [0, 0.1, 0.2, 0.4],
    },
    "an open route's last arrival": {
        "open_route": True,
        "time_window": [[0, 9], [0, 9], [0, 9], [0, along(0, 2, 1, 3)]],
    },
    "an open route's limit": {"open_route": True, "distance_limit": along(0, 2, 1, 3)},
    "an open route, which reloads nowhere": {
        "open_route": True, "demand": [0, 2, 2, 2], "capacity": 3,
    },
    "mixed loads that fit in one order": {
        "mixed_backhaul": True, "demand": [0, 3, 0, 2], "backhaul": [0, 0, 4, 0], "capacity": 6,
    },
    "mixed loads that peak within the route": {
        "mixed_backhaul": True, "demand": [0, 3, 0, 3], "backhaul": [0, 3, 3, 0], "capacity": 6,
    },
    "pickups alone on a route": {"demand": [0, 0, 2, 2], "backhaul": [0, 5, 0, 0], "capacity": 5},
    "durations unlike either direction's lengths": {
        "duration": [[0, 9, 1, 1], [1, 0, 9, 1], [1, 1, 0, 9], [1, 9, 1, 0]],
        "time_window": [[0, 8], [0, 4], [0, 4], [0, 4]],
    },
    "two depots, each with hours of its own": {
        "num_depots": 2, "time_window": [[0, 1], [0.5, 9], [0, 9], [0, 9]], "demand": [0, 0, 1, 1],
    },
    "two depots that each take their own back": {"num_depots": 2, "distance_limit": along(1, 3, 1)},
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", EDGES)
def test_optimum_at_the_edge_of_a_constraint(solver: Solver, name: str) -> None:
    """What is met exactly is kept: neither rounding nor the model may forbid the best routes."""
    fields = EDGES[name]
    lengths = {"coords": PLACES}
    if "duration" in fields:
        lengths = {"distance": [[math.dist(a, b) for b in PLACES] for a in PLACES]}
    assert_optimal(solver, Instance.vrp(**lengths, **fields))


def test_a_stop_without_load_does_not_part_pickups_from_deliveries() -> None:
    """The best order would pass it between a pickup and a delivery. OR-Tools keeps the rule;
    PyVRP, which has it in its arcs, refuses such an instance by name, but not where it is moot."""
    line = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]
    fields: dict[str, Any] = {"coords": line, "demand": [0, 0, 0, 2], "capacity": 2}
    classical = Instance.vrp(**fields, backhaul=[0, 2, 0, 0])
    assert_optimal(ORTOOLS, classical)
    with pytest.raises(UnsupportedError, match=r"pyvrp cannot .* customers without any load"):
        PYVRP.solve(classical, Budget(1), 0)
    assert_optimal(PYVRP, Instance.vrp(**fields, backhaul=[0, 2, 0, 0], mixed_backhaul=True))
    assert_optimal(PYVRP, Instance.vrp(**fields))


@BOTH
def test_float32_limits_are_met_too(solver: Solver) -> None:
    """A limit that is twice the way to the farthest customer, as float32 sums it."""
    coords = torch.rand(5, 2, generator=torch.Generator().manual_seed(3))
    farthest = (coords[1:] - coords[0]).norm(dim=1).max()
    assert_optimal(solver, Instance.vrp(coords=coords, distance_limit=2 * farthest))
