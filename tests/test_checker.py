"""The checker against numbers that a person can check, and against public solutions."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from nco.data.batching import pad
from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.envs.checker import check, check_routes, evaluate, routes_from_actions

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("NCO_SHARED", ROOT.parent / "shared"))
REFERENCES = SHARED / "references" / "mtvrp"

SQUARE = [[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0]]
"""A 3 by 4 rectangle: sides 3 and 4, diagonals 5. Node 0 is the depot of the VRPs below."""


def vrp(**given: object) -> Instance:
    return Instance.vrp(coords=SQUARE, **given)  # type: ignore[arg-type]


def test_feasible_routes_cost_their_length() -> None:
    """0-1-2-3-0 is the rectangle's outline, 14; three round trips are 6 + 10 + 8."""
    report = check_routes(vrp(), [[1, 2, 3]])
    assert (report.cost, report.feasible, report.violations) == (14.0, True, [])
    assert check_routes(vrp(), [[1], [], [2], [3]]).cost == 24.0


def test_open_routes_do_not_return() -> None:
    """An open route stops at its last customer: 3 + 4 + 3, and so do its limit and its time."""
    windows = [[0.0, 1.0], [0.0, 99.0], [0.0, 99.0], [0.0, 99.0]]
    instance = vrp(open_route=True, distance_limit=10.0, time_window=windows)
    report = check_routes(instance, [[1, 2, 3]])
    assert report.cost == 10.0
    assert report.feasible


def test_asymmetric_matrix_is_read_from_row_to_column() -> None:
    """0->1->2->0 is 1 + 5 + 7 and the other way round 2 + 6 + 3, never rounded."""
    matrix = [[0.0, 1.0, 2.0], [3.0, 0.0, 5.0], [7.0, 6.0, 0.0]]
    instance = Instance.vrp(distance=matrix)
    assert check_routes(instance, [[1, 2]]).cost == 13.0
    assert check_routes(instance, [[2, 1]]).cost == 11.0
    assert check_routes(Instance.tsp(distance=matrix), [[2, 1, 0]]).cost == 11.0


@pytest.mark.parametrize(
    ("rounding", "cost"),
    [
        (Rounding.NONE, 2 * math.sqrt(2.0) * 1.1),
        (Rounding.NEAREST, 4.0),
        (Rounding.CEIL, 4.0),
        (Rounding.TRUNC, 2.0),
        (Rounding.DIMACS, 3.0),
        (Rounding.EXACT, 3.112),
    ],
)
def test_rounding(rounding: Rounding, cost: float) -> None:
    """The arc is 1.1 * sqrt(2) = 1.5556...; it is driven twice."""
    instance = Instance.vrp(coords=[[0.0, 0.0], [1.1, 1.1]], rounding=rounding)
    assert check_routes(instance, [[1]]).cost == pytest.approx(cost, rel=1e-12)


@pytest.mark.parametrize("rounding", list(Rounding))
def test_rounding_agrees_with_the_instance(rounding: Rounding) -> None:
    """Two separately written roundings agree on every arc of a random integer grid."""
    generator = torch.Generator().manual_seed(0)
    coords = torch.randint(0, 1000, (40, 2), generator=generator).double()
    instance = Instance.vrp(coords=coords, rounding=rounding)
    matrix = distance_matrix(instance)[0]
    for i in range(1, 40):
        expected = float(matrix[0, i] + matrix[i, 0])
        assert check_routes(instance, [[i]]).cost == pytest.approx(expected, rel=1e-12)


def test_tsp_is_one_closed_tour() -> None:
    """The outline costs 14 from any start; a tour in two pieces or with a gap is refused."""
    tsp = Instance.tsp(coords=SQUARE)
    assert check_routes(tsp, [[2, 3, 0, 1]]).cost == 14.0
    assert check_routes(tsp, [[2, 3, 0, 1]]).feasible
    split = check_routes(tsp, [[0, 1], [2, 3]])
    assert split.violations == ["a TSP has exactly one route; 2 are given"]
    assert check_routes(tsp, [[0, 1, 2]]).violations == ["customer 3 is not visited"]
    assert check_routes(tsp, []).violations[-1] == "a TSP has exactly one route; 0 are given"


VIOLATIONS = [
    ({}, [[1, 2]], "customer 3 is not visited"),
    ({}, [[1, 2, 3], [1]], "customer 1 is visited 2 times, not once"),
    ({}, [[1, 2, 3, 0]], "route 1 visits depot 0 as a customer"),
    (
        {"demand": [0, 2, 3, 2], "capacity": 6},
        [[1, 2, 3]],
        "route 1 delivers 7, 1 above the capacity 6",
    ),
    (
        {"backhaul": [0, 2, 3, 2], "capacity": 6},
        [[1, 2, 3]],
        "route 1 picks up 7, 1 above the capacity 6",
    ),
    (
        {"demand": [0, 1, 0, 1], "backhaul": [0, 0, 1, 0], "capacity": 9},
        [[1, 2, 3]],
        "route 1 delivers 1 to node 3 after the pickup at node 2",
    ),
    (
        # leaves with 4 + 4, then the pickup comes on top before anything is delivered
        {
            "demand": [0, 0, 4, 4],
            "backhaul": [0, 3, 0, 0],
            "capacity": 10,
            "mixed_backhaul": True,
        },
        [[1, 2, 3]],
        "route 1 leaves node 1 with a load of 11, 1 above the capacity 10",
    ),
    (
        {"demand": [0, 4, 4, 4], "capacity": 10, "mixed_backhaul": True},
        [[1, 2, 3]],
        "route 1 leaves the depot with a load of 12, 2 above the capacity 10",
    ),
    (
        # departure at 2, node 1 at 5, waits until 6, 1 of service, node 2 at 11
        {
            "time_window": [[2, 90], [6, 8], [0, 10], [0, 90]],
            "service_time": [0, 1, 0, 0],
        },
        [[1, 2, 3]],
        "route 1 starts service at node 2 at 11, 1 after its window closes at 10",
    ),
    (
        {"time_window": [[0, 13], [0, 90], [0, 90], [0, 90]]},
        [[1, 2, 3]],
        "route 1 is back at depot 0 at 14, 1 after it closes at 13",
    ),
    (
        {"distance_limit": 13},
        [[1, 2, 3]],
        "route 1 is 14 long, 1 above the distance limit 13",
    ),
    ({"num_vehicles": 2}, [[1], [2], [3]], "3 routes for 2 vehicles, 1 too many"),
]


@pytest.mark.parametrize(("given", "routes", "told"), VIOLATIONS)
def test_each_violation_is_told(given: dict, routes: list[list[int]], told: str) -> None:
    """Each broken rule gives exactly one violation, with the route, the node and the amount."""
    report = check_routes(vrp(**given), routes)
    assert report.violations == [told]
    assert not report.feasible
    assert math.isfinite(report.cost)


def test_just_feasible() -> None:
    """The limits of the violations above, loosened by the amount told, are kept."""
    loosened = [
        {"demand": [0, 2, 3, 2], "capacity": 7},
        {"backhaul": [0, 2, 3, 2], "capacity": 7},
        {"demand": [0, 1, 1, 0], "backhaul": [0, 0, 0, 1], "capacity": 2},
        {"demand": [0, 0, 4, 4], "backhaul": [0, 3, 0, 0], "capacity": 11, "mixed_backhaul": True},
        # delivering first makes room for the pickup
        {"demand": [0, 4, 4, 0], "backhaul": [0, 0, 0, 8], "capacity": 8, "mixed_backhaul": True},
        {"time_window": [[2, 90], [6, 8], [0, 11], [0, 90]], "service_time": [0, 1, 0, 0]},
        {"time_window": [[0, 14], [0, 90], [0, 90], [0, 90]]},
        {"distance_limit": 14},
        {"num_vehicles": 1},
    ]
    for given in loosened:
        assert check_routes(vrp(**given), [[1, 2, 3]]).violations == []


def test_durations_count_for_time_and_distances_for_cost() -> None:
    """With a duration matrix of its own, time follows it and length does not."""
    distance = [[0.0, 1.0], [2.0, 0.0]]
    duration = [[0.0, 10.0], [20.0, 0.0]]
    window = [[0, 29], [0, 9]]
    instance = Instance.vrp(distance=distance, duration=duration, time_window=window)
    report = check_routes(instance, [[1]])
    assert report.cost == 3.0
    assert report.violations == [
        "route 1 starts service at node 1 at 10, 1 after its window closes at 9",
        "route 1 is back at depot 0 at 30, 1 after it closes at 29",
    ]


def test_routes_return_to_their_own_depot() -> None:
    """Depots at 0 and 10, customers at 1 and 9: 2 + 2 from the near ones, 18 + 18 crossed."""
    coords = [[0.0, 0.0], [10.0, 0.0], [1.0, 0.0], [9.0, 0.0]]
    window = [[0, 99], [0, 1.5], [0, 99], [0, 99]]
    instance = Instance.vrp(coords=coords, num_depots=2)
    assert check_routes(instance, [[2], [3]], [0, 1]).cost == 4.0
    assert check_routes(instance, [[2], [3]], [1, 0]).cost == 36.0
    assert check_routes(instance, [[2], [3]]).cost == 20.0
    closing = Instance.vrp(coords=coords, num_depots=2, time_window=window)
    report = check_routes(closing, [[2], [3]], [0, 1])
    assert report.violations == ["route 2 is back at depot 1 at 2, 0.5 after it closes at 1.5"]
    unknown = check_routes(instance, [[2], [3]], [0, 2])
    assert unknown.violations == [
        "route 2 starts at depot 2, which does not exist; depots are 0 to 1"
    ]
    assert unknown.cost == math.inf


def test_unknown_and_padded_nodes_have_no_cost() -> None:
    """A node beyond the instance or in its padding is told, and the cost is infinite."""
    report = check_routes(vrp(), [[1, 2, 3], [4], [-1]])
    assert report.cost == math.inf
    assert report.violations == [
        "route 2 visits node 4, which does not exist; nodes are 0 to 3",
        "route 3 visits node -1, which does not exist; nodes are 0 to 3",
    ]
    padded = pad(vrp(), 6)
    assert check_routes(padded, [[1, 2, 3]]).feasible
    report = check_routes(padded, [[1, 2, 3, 4]])
    assert report.violations == ["route 1 visits node 4, which is padding"]
    assert report.cost == math.inf


def test_tolerance_is_relative() -> None:
    """An excess of 5e-7 of the limit passes and one of 2e-6 does not, whatever the unit."""
    for unit in (1e-6, 1.0, 1e6):
        coords = (torch.tensor(SQUARE, dtype=torch.float64) * unit).tolist()
        for excess, feasible in ((5e-7, True), (2e-6, False)):
            limit = 14.0 * unit * (1 - excess)
            instance = Instance.vrp(coords=coords, distance_limit=limit)
            assert check_routes(instance, [[1, 2, 3]]).feasible is feasible
    limited = vrp(distance_limit=13.0)
    assert check_routes(limited, [[1, 2, 3]], tolerance=0.1).feasible


def test_input_that_cannot_be_judged() -> None:
    """A batch, a missing depot, and a TSP with windows are errors, not violations."""
    two = Instance.vrp(coords=[SQUARE, SQUARE])
    with pytest.raises(InputError, match=r"batch of \(2,\)"):
        check_routes(two, [[1]])
    with pytest.raises(InputError, match="1 depots for 2 routes"):
        check_routes(vrp(), [[1], [2, 3]], [0])
    tsp = Instance.tsp(coords=SQUARE)
    tsp.capacity = torch.ones(1, dtype=torch.float64)
    with pytest.raises(InputError, match=r"TSP.* has capacity"):
        check_routes(tsp, [[0, 1, 2, 3]])


def test_evaluate_takes_nothing_on_trust() -> None:
    """The solution's figures are the checker's; its empty routes are gone."""
    solution = evaluate(
        vrp(demand=[0, 1, 1, 1], capacity=2),
        [[1, 2], [], [3]],
        solver="by hand",
        seconds=0.5,
        trace=[(0.1, 30.0)],
    )
    assert solution.cost == 12.0 + 8.0
    assert solution.feasible
    assert (solution.routes, solution.depots) == ([[1, 2], [3]], [0, 0])
    assert (solution.solver, solution.seconds, solution.trace) == ("by hand", 0.5, [(0.1, 30.0)])
    assert check(solution.instance, solution).cost == solution.cost
    tour = evaluate(Instance.tsp(coords=SQUARE), [[0, 1, 2, 3]], solver="s", seconds=0.0)
    assert tour.depots == [-1]


def test_routes_from_actions() -> None:
    """Depot visits split; repeated and trailing ones are nothing; the last depot seen counts."""
    one = vrp()
    assert routes_from_actions(one, [0, 0, 1, 2, 0, 0, 3, 0, 0]) == ([[1, 2], [3]], [0, 0])
    assert routes_from_actions(one, torch.tensor([2, 0, 1, 3])) == ([[2], [1, 3]], [0, 0])
    several = Instance.vrp(coords=SQUARE, num_depots=2)
    assert routes_from_actions(several, [1, 2, 0, 3, 0]) == ([[2], [3]], [1, 0])
    assert routes_from_actions(several, [0, 2, 1, 0, 1, 3]) == ([[2], [3]], [0, 1])
    tsp = Instance.tsp(coords=SQUARE)
    assert routes_from_actions(tsp, [2, 0, 1, 3]) == ([[2, 0, 1, 3]], [-1])
    assert routes_from_actions(pad(tsp, 6), [2, 0, 1, 3, 3, 3]) == ([[2, 0, 1, 3]], [-1])


CVRPLIB = sorted((SHARED / "instances" / "cvrp").glob("*.sol"))


@pytest.mark.skipif(not CVRPLIB, reason="shared/instances/cvrp is absent")
@pytest.mark.parametrize("path", CVRPLIB, ids=lambda p: p.stem)
def test_best_known_solutions(path: Path) -> None:
    """CVRPLIB's routes are feasible and cost what their file says, to the unit."""
    text = path.with_suffix(".vrp").read_text()
    section = {
        name: np.array([row.split() for row in body.split("\n") if row.strip()], dtype=float)
        for name, body in re.findall(r"(\w+_SECTION)\s*\n((?:[\s\d.-]+\n)+)", text)
    }
    found = re.search(r"CAPACITY\s*:\s*(\d+)", text)
    assert found
    instance = Instance.vrp(
        coords=section["NODE_COORD_SECTION"][:, 1:],
        demand=section["DEMAND_SECTION"][:, 1],
        capacity=float(found[1]),
        rounding=Rounding.NEAREST,
    )
    solution = path.read_text()
    routes = [
        [int(i) for i in row.split()]
        for row in re.findall(r"Route #\d+:((?:[ \t]+\d+)+)", solution)
    ]
    stated = re.search(r"Cost\s+(\d+)", solution)
    assert stated
    report = check_routes(instance, routes)
    assert report.violations == []
    assert report.cost == float(stated[1])


def reference_instance(stored: dict[str, np.ndarray], row: int) -> Instance:
    def of_row(name: str) -> np.ndarray | None:
        return stored[name][row].astype(float) if name in stored else None

    return Instance.vrp(
        coords=of_row("coords"),
        demand=of_row("linehaul"),
        backhaul=of_row("backhaul"),
        mixed_backhaul=bool(stored.get("mixed_backhaul", False)),
        capacity=float(stored["capacity"]),
        time_window=of_row("time_window"),
        service_time=of_row("service_time"),
        distance_limit=of_row("distance_limit"),
        open_route=bool(stored["open_route"]),
        num_depots=int(stored["num_depots"]),
    )


VARIANTS = sorted(REFERENCES.glob("*_50.npz"))


@pytest.mark.skipif(not VARIANTS, reason="shared/references/mtvrp is absent")
@pytest.mark.parametrize("path", VARIANTS, ids=lambda p: p.stem)
def test_reference_solutions(path: Path) -> None:
    """PyVRP's stored solutions are feasible and cost what was recomputed, in all 48 variants.

    The solver saw data rounded to 1e-3 and sums of that: hence 1e-2 on limits. The costs do not
    depend on the tolerance.
    """
    with np.load(path) as archive:
        stored = dict(archive)
    for row in range(len(stored["coords"])):
        instance = reference_instance(stored, row)
        routes, depots = routes_from_actions(instance, stored["reference_actions"][row].tolist())
        report = check_routes(instance, routes, depots, tolerance=1e-2)
        assert report.violations == [], f"instance {row}"
        assert report.cost == pytest.approx(stored["reference_cost"][row], rel=1e-6)
