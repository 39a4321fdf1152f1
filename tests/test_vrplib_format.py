"""CVRPLIB and VRPLIB files against stated costs, PyVRP's reader, vrplib's, and themselves."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import vrplib
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.data.errors import InputError
from nco.data.files import read_solution
from nco.data.geometry import MATRIX_FORMATS, matrix_entries
from nco.data.instance import FIELDS, UNLIMITED, Instance, Rounding, distance_matrix
from nco.data.solution import Solution
from nco.data.solution_files import read_sol, read_tour, write_sol, write_tour
from nco.data.vrplib_format import read_vrplib, write_vrplib
from nco.envs.checker import check_routes, evaluate

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
# node 30 is the depot though it stands third; the square of its customers has side 10
SQUARE = """NAME : square
TYPE : CVRP
DIMENSION : 4
EDGE_WEIGHT_TYPE : EUC_2D
CAPACITY : 10
NODE_COORD_SECTION
7 0 10
12 10 10
30 0 0
5 10 0
DEMAND_SECTION
5 3
7 1
12 2
30 0
DEPOT_SECTION
30
-1
EOF
"""


def read_text(folder: Path, text: str, rounding: Rounding | None = None) -> Instance:
    path = folder / "test.vrp"
    path.write_text(text)
    return read_vrplib(path, rounding=rounding)


def same(a: Instance, b: Instance, *names: str) -> None:
    """Fields are equal, bit for bit; all of them where none is named."""
    for name in names or FIELDS:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or (x.dtype == y.dtype and x.equal(y)), name


def test_stated_costs_of_the_x_set_are_exact(shared: Path) -> None:
    """All 12 best-known solutions are feasible and cost what their file states, to the unit."""
    files = sorted((shared / "instances/cvrp").glob("*.vrp"))
    assert len(files) == 12
    for file in files:
        stored = read_sol(file.with_suffix(".sol"))
        report = check_routes(read_vrplib(file), stored.routes)
        assert report.feasible, (file.name, report.violations[:3])
        assert report.cost == stored.cost, file.name


@pytest.mark.parametrize("name", ["C1_10_1", "R1_10_1", "RC2_10_1"])
def test_windows_of_gehring_and_homberger(shared: Path, name: str) -> None:
    """With the DIMACS rounding the stored routes are feasible and cost what the file states."""
    file = shared / f"instances/vrptw/{name}.vrp"
    instance = read_vrplib(file, rounding=Rounding.DIMACS)
    stored = read_sol(file.with_suffix(".sol"))
    report = check_routes(instance, stored.routes)
    assert report.feasible, report.violations[:3]
    assert report.cost == pytest.approx(stored.cost, abs=1e-6)
    assert instance.num_vehicles.tolist() == [250]
    with pytest.raises(InputError, match="EUC_2D does not tell how lengths are rounded"):
        read_vrplib(file)


@pytest.mark.parametrize("name", ["X-n548-50-k25", "X-n573-66-k25"])
def test_backhauls_of_queiroga(shared: Path, name: str) -> None:
    """The stored routes, deliveries before pickups, are feasible and cost what the file states."""
    file = shared / f"instances/vrpb/{name}.vrp"
    instance = read_vrplib(file)
    stored = read_sol(file.with_suffix(".sol"))
    report = check_routes(instance, stored.routes)
    assert report.feasible, report.violations[:3]
    assert report.cost == stored.cost
    assert bool((instance.backhaul > 0).any())
    assert not bool(instance.mixed_backhaul)


def test_the_depot_comes_first_and_customers_keep_their_order(tmp_path: Path) -> None:
    """Customer k of a .sol file is the k-th node of the file without the depot."""
    instance = read_text(tmp_path, SQUARE)
    assert instance.coords is not None
    assert instance.coords[0].tolist() == [[0, 0], [0, 10], [10, 10], [10, 0]]
    assert instance.linehaul[0].tolist() == [0, 1, 2, 3]
    assert check_routes(instance, [[1, 2, 3]]).cost == 40


@settings(max_examples=15)
@given(st.data())
def test_every_matrix_format_survives_the_move_of_the_depot(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Rows and columns follow the nodes, in each format, wherever the depot stands."""
    n = data.draw(st.integers(2, 5))
    depot = data.draw(st.integers(0, n - 1))
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = data.draw(st.integers(1, 99))
    order = [depot, *(i for i in range(n) if i != depot)]
    for matrix_format in MATRIX_FORMATS:
        row, column = matrix_entries(matrix_format, n)
        values = " ".join(str(v) for v in matrix[row, column].tolist())
        demand = "\n".join(f"{i + 1} {0 if i == depot else i + 1}" for i in range(n))
        text = (
            f"TYPE: CVRP\nDIMENSION: {n}\nCAPACITY: 9\nEDGE_WEIGHT_TYPE: EXPLICIT\n"
            f"EDGE_WEIGHT_FORMAT: {matrix_format}\nEDGE_WEIGHT_SECTION\n{values}\n"
            f"DEMAND_SECTION\n{demand}\nDEPOT_SECTION\n{depot + 1}\n-1\nEOF\n"
        )
        instance = read_text(tmp_path_factory.getbasetemp(), text)
        read = distance_matrix(instance)[0]
        assert all(read[i, j] == matrix[order[i], order[j]] for i in range(n) for j in range(n))
        assert instance.linehaul[0].tolist() == [0, *(i + 1 for i in order[1:])]


def test_several_depots_in_the_order_of_their_section(tmp_path: Path) -> None:
    """Two depots come first, as DEPOT_SECTION lists them, and either may serve a customer."""
    text = SQUARE.replace("30\n-1", "30\n12\n-1").replace("12 2", "12 0")
    text = text.replace("TYPE : CVRP", "TYPE : MDVRP", 1)
    instance = read_text(tmp_path, text)
    assert instance.num_depots.tolist() == [2]
    assert instance.coords is not None
    assert instance.coords[0].tolist() == [[0, 0], [10, 10], [0, 10], [10, 0]]
    assert check_routes(instance, [[2], [3]], [0, 1]).cost == 40


def test_limits_times_and_fleet(tmp_path: Path) -> None:
    """SERVICE_TIME holds for customers only; DISTANCE limits the length where nobody is served."""
    extra = "CAPACITY : 10\nVEHICLES : 2\n"
    instance = read_text(tmp_path, SQUARE.replace("CAPACITY : 10\n", f"{extra}DISTANCE : 45.5\n"))
    assert instance.distance_limit.tolist() == [45.5]
    assert instance.num_vehicles.tolist() == [2]
    served = f"{extra}SERVICE_TIME : 3\nVEHICLES_MAX_DISTANCE : 45.5\n"
    instance = read_text(tmp_path, SQUARE.replace("CAPACITY : 10\n", served))
    assert instance.service_time[0].tolist() == [0, 3, 3, 3]
    assert instance.distance_limit.tolist() == [45.5]
    duration = f"{extra}SERVICE_TIME : 3\nDISTANCE : 45.5\n"
    with pytest.raises(InputError, match="limits the duration"):
        read_text(tmp_path, SQUARE.replace("CAPACITY : 10\n", duration))


HOURS = "TIME_WINDOW_SECTION\n5 0 90\n7 0 90\n12 0 90\n30 10 70\nDEPOT_SECTION"


def test_a_limit_of_the_duration_is_read_where_it_can_be_stated(tmp_path: Path) -> None:
    """Without service and windows it limits the length; from the depot's hours on, nothing."""
    limited = SQUARE.replace("CAPACITY : 10\n", "CAPACITY : 10\nVEHICLES_MAX_DURATION : 60\n")
    assert read_text(tmp_path, limited).distance_limit.tolist() == [60]
    timed = limited.replace("DEPOT_SECTION", HOURS)
    assert read_text(tmp_path, timed, Rounding.NONE).distance_limit.tolist() == [math.inf]
    tighter = timed.replace("DURATION : 60", "DURATION : 59.5")
    with pytest.raises(InputError, match=r"MAX_DURATION\): with time windows .* at least 60"):
        read_text(tmp_path, tighter, Rounding.NONE)
    served = limited.replace("CAPACITY : 10\n", "CAPACITY : 10\nSERVICE_TIME : 1\n")
    with pytest.raises(InputError, match=r"MAX_DURATION\): with service times"):
        read_text(tmp_path, served)


TWO_DEPOTS = SQUARE.replace("30\n-1", "30\n12\n-1").replace("12 2", "12 0").replace("CVRP", "MDVRP")


def fleet(*starts: int) -> str:
    """`SQUARE` with two depots and a vehicle at each of ``starts``."""
    rows = "".join(f"{vehicle} {depot}\n" for vehicle, depot in enumerate(starts, 1))
    text = TWO_DEPOTS.replace("CAPACITY : 10\n", f"CAPACITY : 10\nVEHICLES : {len(starts)}\n")
    return text.replace("DEPOT_SECTION", f"VEHICLES_DEPOT_SECTION\n{rows}DEPOT_SECTION")


def test_a_fleet_of_each_depot_is_read_where_it_is_no_limit(tmp_path: Path) -> None:
    """Two customers: two vehicles at each depot are all that can be used."""
    assert read_text(tmp_path, fleet(30, 12, 12, 30)).num_vehicles.tolist() == [UNLIMITED]
    for starts, message in (
        ((30, 12, 30), "1 vehicles start from depot 12; a fleet of each depot's own is not"),
        ((30, 30, 30), "0 vehicles start from depot 12"),
        ((30, 12, 7, 12), "7 is no depot; accepted: 30, 12"),
    ):
        with pytest.raises(InputError, match=message):
            read_text(tmp_path, fleet(*starts))
    untold = TWO_DEPOTS.replace("CAPACITY : 10\n", "CAPACITY : 10\nVEHICLES : 9\n")
    with pytest.raises(InputError, match=r"VEHICLES\): it is not told from which of the 2 depots"):
        read_text(tmp_path, untold)


lengths = st.floats(-1e7, 1e7, allow_nan=False)
amounts = st.floats(0, 1e6, allow_nan=False)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Every attribute that the format can state, set or neutral, from anything that is finite."""
    n = draw(st.integers(2, 6))
    num_depots = draw(st.integers(1, n - 1))

    def per_node(values: st.SearchStrategy[float]) -> list[float]:
        return [0.0 if i < num_depots else draw(values) for i in range(n)]

    fields: dict[str, object] = {}
    if draw(st.booleans()):
        fields["rounding"] = draw(st.sampled_from(Rounding))
    else:
        row = st.lists(amounts, min_size=n, max_size=n)
        matrix = torch.tensor([draw(row) for _ in range(n)], dtype=torch.float64)
        fields["distance"] = matrix.fill_diagonal_(0)
    if "distance" not in fields or draw(st.booleans()):
        fields["coords"] = [(draw(lengths), draw(lengths)) for _ in range(n)]
    demand, backhaul = per_node(amounts), per_node(amounts)
    fields["demand"] = demand
    fields["capacity"] = max(max(demand), max(backhaul)) + draw(st.floats(0.1, 1e6))
    if draw(st.booleans()):
        fields |= {"backhaul": backhaul, "mixed_backhaul": draw(st.booleans())}
    if draw(st.booleans()):
        early = [draw(amounts) for _ in range(n)]
        fields["time_window"] = [(e, e + draw(amounts)) for e in early]
    if draw(st.booleans()):
        fields["service_time"] = per_node(amounts)
    if draw(st.booleans()):
        fields["distance_limit"] = draw(st.floats(0.1, 1e6))
    if num_depots == 1 and draw(st.booleans()):
        fields["num_vehicles"] = draw(st.integers(1, 99))
    # the instance is built in the test: the types checked then take random numbers of Python's
    return {"num_depots": num_depots, **fields}


@settings(max_examples=60)
@given(arguments())
def test_what_is_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]
) -> None:
    """Attributes and distances survive to the last bit, with no word from the caller."""
    instance = Instance.vrp(**given)
    path = tmp_path_factory.getbasetemp() / "a.vrp"
    write_vrplib(instance, path)
    again = read_vrplib(path)
    same(instance, again, *(set(FIELDS) - {"distance", "rounding"}))
    assert distance_matrix(again).equal(distance_matrix(instance))
    if again.distance is None:
        same(instance, again)


def test_what_the_format_cannot_state_is_refused(tmp_path: Path) -> None:
    """The attribute is named and nothing is written."""
    line = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]
    matrix = [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    half_open = [[0, 9], [0, 9], [0, math.inf]]
    cases = [
        (Instance.tsp(coords=line), "needs a depot"),
        (Instance.vrp(coords=line), "needs a capacity"),
        (Instance.vrp(coords=line, capacity=2, open_route=True), "open_route"),
        (Instance.vrp(distance=matrix, duration=matrix, capacity=2), "duration"),
        (Instance.vrp(coords=line, capacity=2, time_window=half_open), "never closes"),
        (Instance.vrp(coords=[line] * 2, capacity=2), "one instance, not 2"),
        (Instance.vrp(coords=line, capacity=2, service_time=[1, 1, 1]), "depot has a service"),
        (
            Instance.vrp(coords=[*line, [3.0, 0.0]], capacity=2, num_depots=2, num_vehicles=1),
            "one fleet of 1 for 2 depots; accepted: at least 2",
        ),
    ]
    for instance, message in cases:
        with pytest.raises(InputError, match=message):
            write_vrplib(instance, tmp_path / "a.vrp")
    assert list(tmp_path.iterdir()) == []


def solve_sample(instance: Instance, routes: list[list[int]]) -> Solution:
    return evaluate(instance, routes, solver="by hand", seconds=0.0)


def test_sol_files_read_back(tmp_path: Path) -> None:
    """Routes and cost survive; vrplib's reader sees the same; Windows line ends do not matter."""
    instance = read_vrplib(SAMPLES / "town16.vrp")
    routes = [[2, 1, 14, 15], [3, 4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 16]]
    solution = solve_sample(instance, routes)
    assert solution.feasible, solution.violations
    path = tmp_path / "town16.sol"
    write_sol(solution, path)
    stored = read_solution(path)
    assert (stored.routes, stored.cost) == (routes, solution.cost)
    parsed = vrplib.read_solution(path)
    assert (parsed["routes"], parsed["cost"]) == (routes, solution.cost)
    path.write_bytes(path.read_bytes().replace(b"\n", b" \r\n").replace(b"Cost ", b"cost: "))
    assert read_solution(path) == stored


def test_tours_read_back_and_have_no_sol(tmp_path: Path) -> None:
    """A TSP's nodes are counted from 1 in a .tour file; a .sol file of a TSP is refused."""
    tour = solve_sample(Instance.tsp(coords=[[0, 0], [3, 4], [6, 0]]), [[2, 0, 1]])
    write_tour(tour, tmp_path / "a.tour")
    assert "TOUR_SECTION\n3\n1\n2\n-1\n" in (tmp_path / "a.tour").read_text()
    assert read_tour(tmp_path / "a.tour").routes == [[2, 0, 1]]
    with pytest.raises(InputError, match=r"accepted: \.tour or \.json"):
        write_sol(tour, tmp_path / "a.sol")
    square = Instance.vrp(coords=[[0, 0], [1, 0]])
    with pytest.raises(InputError, match="is for a TSP"):
        write_tour(solve_sample(square, [[1]]), tmp_path / "b.tour")
    two = Instance.vrp(coords=[[0, 0], [1, 0], [2, 0]], num_depots=2)
    with pytest.raises(InputError, match="the instance has 2"):
        write_sol(evaluate(two, [[2]], depots=[0], solver="x", seconds=0.0), tmp_path / "c.sol")
