"""``nco solve`` for stops on the globe, end to end against a server of made-up streets."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nco import cli
from nco.data.city_map import CityMap
from nco.data.instance import Instance
from nco.data.json_format import read_json_solutions
from nco.envs.checker import check_routes, evaluate, timetable
from nco.map_page import clock
from tests.fake_osrm import Asked, FakeOSRM, Point, distance, duration, fake_osrm, snap
from tests.pages import loaded
from tests.policies import save_fresh
from tests.streets import random_city

STOPS = '''name,lon,lat,demand,tw_start,tw_end,service,note,depot
A,10.010,50.010,3,,,60,x,no
"B <&> ""b""",10.020,49.990,2,00:10,3600,30.5,,
Home,10.000,50.000,,0:05,2:00:00,,,yes
,9.990,50.015,4,,,,,false
'''
ORDER = [2, 0, 1, 3]
"""Of the file's stops as nodes."""
PLACES: list[Point] = [
    (10_000_000, 50_000_000),
    (10_010_000, 50_010_000),
    (10_020_000, 49_990_000),
    (9_990_000, 50_015_000),
]
NAMES = ["Home", "A", 'B <&> "b"', "4"]
SERVICE, EARLY, DEMAND = [0, 60, 30.5, 0], [300, 0, 600, 0], [0, 3, 2, 4]

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server() -> Iterator[FakeOSRM]:
    with fake_osrm() as fake:
        yield fake


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Solves files in a folder with ``stops.csv``: code, output, messages."""
    monkeypatch.chdir(tmp_path)
    Path("stops.csv").write_text(STOPS)

    def run(
        *arguments: object, solver: Sequence[str] = ("pyvrp", "--iterations", "50")
    ) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["solve", *map(str, arguments), "--solver", *solver, "--quiet"])
        code = caught.value.code or 0
        assert isinstance(code, int)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def as_geojson() -> str:
    """The stops once more: numbers and truth values in place of text."""
    told: list[dict[str, Any]] = [
        {"name": "A", "demand": 3, "service": 60, "depot": False, "tw_end": None},
        {"name": NAMES[2], "demand": 2.0, "tw_start": "00:10", "tw_end": 3600, "service": 30.5},
        {"name": "Home", "depot": True, "tw_start": 300, "tw_end": "02:00"},
        {"demand": "4"},
    ]
    places = [PLACES[ORDER.index(i)] for i in range(4)]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [x / 1e6, y / 1e6, 12.0]},
            "properties": properties,
        }
        for (x, y), properties in zip(places, told, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


def features_of(path: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines and points."""
    document = json.loads(Path(path).read_text())
    assert document["type"] == "FeatureCollection"
    kinds = [f["geometry"]["type"] for f in document["features"]]
    assert set(kinds) == {"LineString", "Point"}
    lines = [f for f, kind in zip(document["features"], kinds, strict=True) if kind != "Point"]
    return lines, [f for f in document["features"] if f not in lines]


@pytest.mark.parametrize("form", ["stops.csv", "stops.geojson"])
def test_stops_become_routes_along_the_streets_with_a_timetable(
    call: Call, server: FakeOSRM, form: str
) -> None:
    Path("stops.geojson").write_text(as_geojson())
    code, _, errors = call(
        form, "--osrm", server.address, "--capacity", 5, "-o", "a.json", "--geojson", "b.geojson"
    )
    assert (code, errors) == (0, "")
    (stored,) = read_json_solutions("a.json")
    assert sorted(node for route in stored.routes for node in route) == [1, 2, 3]
    lines, points = features_of("b.geojson")
    assert len(lines) == len(stored.routes) == 2
    for number, (route, line) in enumerate(zip(stored.routes, lines, strict=True), start=1):
        told, nodes = line["properties"], [0, *route, 0]
        assert told["distance"] == pytest.approx(
            sum(distance(PLACES[a], PLACES[b]) for a, b in itertools.pairwise(nodes)), rel=1e-6
        )
        # the made-up ways go along the parallel, then along the meridian
        corners = [PLACES[0]]
        for a, b in itertools.pairwise(nodes):
            corners += [(PLACES[b][0], PLACES[a][1]), PLACES[b]]
        assert line["geometry"]["coordinates"] == [[x / 1e6, y / 1e6] for x, y in corners]
        own = [p for p in points if p["properties"]["route"] == number]
        assert [p["properties"]["node"] for p in own] == nodes[:-1]
        load = told["load"]
        assert load == sum(DEMAND[node] for node in route)
        now, here = 300.0, 0
        for sequence, point in enumerate(own):
            visit, node = point["properties"], nodes[sequence]
            arrival = now + duration(PLACES[here], PLACES[node])
            start = max(arrival, EARLY[node])
            now, here, load = start + SERVICE[node], node, load - DEMAND[node]
            assert visit["sequence"] == sequence
            assert visit["name"] == NAMES[node]
            assert point["geometry"]["coordinates"] == [x / 1e6 for x in PLACES[node]]
            assert visit["arrival"] == pytest.approx(arrival)
            assert visit["waiting"] == pytest.approx(start - arrival)
            assert visit["departure"] == pytest.approx(now)
            assert visit["load"] == load
        assert told["start"] == 300
        assert told["end"] == pytest.approx(now + duration(PLACES[here], PLACES[0]))
    assert any(p["properties"]["waiting"] > 0 for p in points)


def test_the_page_loads_nothing_and_shows_every_stop(call: Call, server: FakeOSRM) -> None:
    code, _, errors = call(
        "stops.csv", "--osrm", server.address, "--capacity", 9, "--map", "{name}.html",
        "--geojson", "b.geojson",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    page = Path("stops.html").read_text()
    assert loaded(page) == []
    assert page.count("<svg") == 1
    assert "B &lt;&amp;&gt; &quot;b&quot;" in page
    assert NAMES[2] not in page
    assert "OpenStreetMap" in page
    lines, points = features_of("b.geojson")
    assert len(re.findall(r'<g data-route="\d+" class="line"', page)) == len(lines)
    # the made-up streets go east, north, west and south
    turns = re.findall(r'class="arrow".*?rotate\((-?\d+)deg\)', page)
    assert len(turns) == sum(line["properties"]["num_stops"] + 1 for line in lines)
    assert {int(turn) % 90 for turn in turns} == {0}
    for point in points:
        assert f"<td>{clock(point['properties']['arrival'])}</td>" in page


@pytest.mark.parametrize(
    "part",
    [
        '<img src="tile.png">',
        '<link rel="stylesheet" href="a.css">',
        "<script>import('./leaflet.js')</script>",
        "<style>body { background: url(a.png) }</style>",
        '<p style="background: url(a.png)">',
        '<svg><image xlink:href="a.png"/></svg>',
        "<script>tiles = 'https://tiles.example/1/2/3'</script>",
    ],
)
def test_a_page_that_loads_something_is_noticed(part: str) -> None:
    assert loaded(f"<html><body>{part}<p>https: in the text is harmless</body></html>")
    assert loaded("<html><body><p>https: in the text is harmless</body></html>") == []


def test_a_city_map_stands_for_the_streets(call: Call) -> None:
    city = random_city("made-up", 30, 4)
    city.save(Path("city"))
    rows = [f"{x + 1e-5},{y}" for x, y in city.points[[7, 3, 12]].tolist()]
    Path("near.csv").write_text("lng,latitude\n" + "\n".join(rows) + "\n")
    code, _, errors = call("near.csv", "--city", "city", "--geojson", "b.json", "-o", "a.json")
    assert (code, errors) == (0, "")
    (stored,) = read_json_solutions("a.json")
    known = CityMap.load(Path("city")).distance
    lines, _ = features_of("b.json")
    places = city.points + np.array((1e-5, 0))
    cost = 0.0
    for tour, line in zip(stored.routes, lines, strict=True):
        first = tour.index(0)
        nodes = [[7, 3, 12][node] for node in [*tour[first:], *tour[:first], 0]]
        cost += sum(float(known[a, b]) for a, b in itertools.pairwise(nodes))
        assert np.allclose(line["geometry"]["coordinates"], places[nodes], rtol=0, atol=1e-9)
    assert stored.cost == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lat,", "north,", "line 1: 0 columns of latitude"),
        (STOPS[STOPS.index("A,") :], "A,10,50,,,,,,\n", "stops.csv has no stop beside a depot"),
        (STOPS, "[]\n", "is no FeatureCollection"),
        (STOPS, STOPS.replace(",", ";"), "line 1: 0 columns of longitude"),
        (
            "00:10,",
            "8am,",
            "tw_start: '8am' is not accepted; accepted: a finite number of at least 0, or HH:MM",
        ),
        ("50.010,3", "50.010,three", "line 2 (A), demand: 'three'"),
        ("50.010,3", "50.010,-1", "line 2 (A), demand: '-1'"),
        ("10.010", "190", "line 2 (A): longitude 190"),
        ("10.010", "", "line 2 (A), longitude: ''"),
        ("00:10,", "00:61,", """line 3 (B <&> "b"), tw_start: '00:61'"""),
        ("00:10,", "2:10,", "tw_start 2:10 is after tw_end 3600"),
        (",yes", ",maybe", "line 4 (Home), depot: 'maybe'"),
        ("50.000,,", "50.000,1,", "line 4 (Home): demand 1"),
        ("4,,,,,false", "4,,,,", "line 5: 8 values; accepted: 9"),
        ("50.010,3", "50.010,11", "line 2 (A) has demand 11; accepted: at most the capacity, 9"),
        (STOPS[STOPS.index("\n") :], "\n", "stops.csv has no stop;"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(
    call: Call, server: FakeOSRM, old: str, new: str, told: str
) -> None:
    assert old in STOPS
    Path("stops.csv").write_text(STOPS.replace(old, new, 1))
    code, _, errors = call("stops.csv", "--osrm", server.address, "--capacity", 9)
    assert code == 2
    assert errors.startswith("error: stops.csv")
    assert told in errors


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"FeatureCollection"', '"Feature"', "is no FeatureCollection"),
        ('"Point"', '"Polygon"', "feature 1: its geometry is"),
        ('"demand": 3', '"demand": [3]', "feature 1 (demand): [3]"),
        ('"demand": 3', '"demand": true', "feature 1 (A), demand: 'True'"),
        ('"features"', '"feature"', "is no FeatureCollection"),
        ("[10.01,", '["x",', "feature 1 (A), longitude: 'x'"),
        ("}", "", "is no JSON"),
    ],
)
def test_a_wrong_feature_is_named(
    call: Call, server: FakeOSRM, old: str, new: str, told: str
) -> None:
    text = as_geojson()
    assert old in text
    Path("stops.geojson").write_text(text.replace(old, new, 1))
    code, _, errors = call("stops.geojson", "--osrm", server.address, "--capacity", 9)
    assert code == 2
    assert told in errors
    assert server.asked == []


def test_a_stop_without_a_way_is_named(call: Call, server: FakeOSRM) -> None:
    def island(asked: Asked, answer: dict[str, Any]) -> None:
        lost = [snap(p) == PLACES[2] for p in asked.points]
        for name in ("durations", "distances"):
            for i, j in itertools.product(range(len(lost)), repeat=2):
                if lost[j] and i != j:
                    answer[name][i][j] = None

    server.change = island
    arguments = ("stops.csv", "--osrm", server.address, "--capacity", 9)
    code, _, errors = call(*arguments, "--map", "m.html")
    assert code == 2
    assert 'line 3 (B <&> "b"): no way there and back' in errors
    assert "(A)" not in errors
    assert not Path("m.html").exists()


def test_a_stop_far_from_a_street_is_named(call: Call, server: FakeOSRM) -> None:
    def shifted(asked: Asked, answer: dict[str, Any]) -> None:
        answer["sources"][1]["distance"] = answer["destinations"][1]["distance"] = 700.0

    server.change = shifted
    arguments = ("stops.csv", "--osrm", server.address, "--capacity", 9)
    code, _, errors = call(*arguments)
    assert code == 2
    assert "line 2 (A) is 700 m from the nearest street; accepted: at most 500 m" in errors
    assert call(*arguments, "--radius", 701)[0] == 0


def test_stops_of_another_region_are_told_so(call: Call, server: FakeOSRM) -> None:
    """The order of the coordinates is named where all stops are far, not where one is."""
    far = list(range(4))

    def moved(asked: Asked, answer: dict[str, Any]) -> None:
        for name, i in itertools.product(("sources", "destinations"), far):
            answer[name][i]["distance"] = 4.9e6

    server.change = moved
    arguments = ("stops.csv", "--osrm", server.address, "--capacity", 9)
    code, _, errors = call(*arguments)
    assert code == 2
    assert "(Home) is 4,900 km from the nearest street" in errors
    assert "accepted: at most 500 m, longitude before latitude, on the map" in errors
    far.remove(2)
    assert "longitude before latitude" not in call(*arguments)[2]


PLAIN = "name,lon,lat,service\n" + "".join(
    f"{name},{x / 1e6},{y / 1e6},{30 * i}\n"
    for i, (name, (x, y)) in enumerate(zip("HABC", PLACES, strict=True))
)
"""Nothing is asked but to visit; service takes no part in that."""


@pytest.mark.parametrize("more", [(), ("--vehicles", 1)])
def test_stops_without_demand_and_hours_are_one_closed_tour(
    call: Call, server: FakeOSRM, more: tuple[object, ...]
) -> None:
    """The best of all; the map shows it from the first stop, with a timetable."""
    Path("plain.csv").write_text(PLAIN)
    code, _, errors = call(
        "plain.csv", "--osrm", server.address, "-o", "a.json", "--geojson", "b.geojson", *more
    )
    assert (code, errors) == (0, "")
    (stored,) = read_json_solutions("a.json")
    assert stored.instance is not None
    assert int(stored.instance.num_depots[0]) == 0
    assert stored.instance.duration is not None
    rounds = [[0, *order, 0] for order in itertools.permutations((1, 2, 3))]
    lengths = [
        sum(distance(PLACES[a], PLACES[b]) for a, b in itertools.pairwise(nodes))
        for nodes in rounds
    ]
    assert stored.cost == pytest.approx(min(lengths))
    ((line,), points) = features_of("b.geojson")
    nodes = [point["properties"]["node"] for point in points]
    assert [*nodes, 0] in rounds
    (tour,) = stored.routes
    assert nodes[1:] == [*tour[tour.index(0) + 1 :], *tour[: tour.index(0)]]
    assert line["properties"]["distance"] == pytest.approx(stored.cost)
    now = 0.0
    for a, b in itertools.pairwise([*nodes, 0]):
        now += 30 * a + duration(PLACES[a], PLACES[b])
    assert line["properties"]["end"] == pytest.approx(now)


def test_a_tour_needs_no_triangle_inequality(call: Call, server: FakeOSRM) -> None:
    """Where every way between stops is long, a VRP returns to the depot between them; a tour does
    not, and where vehicles are named the stops are a VRP."""

    def detours(asked: Asked, answer: dict[str, Any]) -> None:
        for i, j in itertools.product(range(1, 4), repeat=2):
            if i != j:
                answer["distances"][i][j] = 50_000.0

    server.change = detours
    Path("plain.csv").write_text(PLAIN)
    for more, count in (((), 1), (("--vehicles", 3), 3)):
        code, _, _ = call("plain.csv", "--osrm", server.address, "-o", "a.json", *more)
        assert code == 0
        assert len(read_json_solutions("a.json")[0].routes) == count


def test_a_model_of_routes_that_gets_a_tour_is_told_why(
    call: Call, server: FakeOSRM, tmp_path: Path
) -> None:
    """A model of closed tours solves it; one of routes is refused with what the stops lack."""
    Path("plain.csv").write_text(PLAIN)
    save_fresh(tmp_path / "acvrp", "acvrp", "rrnco")
    save_fresh(tmp_path / "atsp", "atsp", "rrnco")
    arguments = ("plain.csv", "--osrm", server.address)
    code, _, errors = call(*arguments, solver=["acvrp"])
    assert code == 2
    assert "stops without demand and hours are one closed tour (atsp)" in errors
    assert call(*arguments, "-o", "a.json", solver=["atsp"])[0] == 0
    assert read_json_solutions("a.json")[0].solver == "atsp"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "stops.csv holds stops and no streets are given; accepted: --osrm"),
        (("--capacity", 9), "--capacity is given without streets"),
        (("--map", "m.html"), "--map is given without streets"),
        (("--osrm", "http://127.0.0.1:9", "--city", "."), "accepted: one of them"),
        (("--osrm", "http://127.0.0.1:9", "-o", "a.geojson"), "accepted: --geojson a.geojson"),
        (("--osrm", "http://127.0.0.1:9", "--map", "m.png"), "accepted: .html"),
        (("--osrm", "http://127.0.0.1:9"), "no capacity is given"),
        (("--osrm", "http://127.0.0.1:9", "--capacity", 9, "--vehicles", 0), "vehicles is 0"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_asked(
    call: Call, arguments: tuple[object, ...], told: str
) -> None:
    code, _, errors = call("stops.csv", *arguments)
    assert code == 2
    assert told in errors


def test_a_timetable_waits_serves_and_agrees_with_the_judge() -> None:
    generator = np.random.default_rng(0)
    late = 0
    for _ in range(40):
        matrix = generator.uniform(1, 9, (5, 5))
        np.fill_diagonal(matrix, 0)
        opens = np.append(0.5, generator.uniform(0, 20, 4))
        closes = opens + np.append(40, generator.uniform(0, 12, 4))
        instance = Instance.vrp(
            distance=matrix,
            duration=matrix * 1.5,
            time_window=np.stack((opens, closes), 1),
            service_time=np.append(0, generator.uniform(0, 3, 4)),
        )
        solution = evaluate(instance, [[2, 1], [3, 4]], solver="hand", seconds=0.0)
        visits = [visit for route in timetable(instance, solution) for visit in route]
        assert all(v.start == max(v.arrival, opens[v.node]) for v in visits)
        punctual = all(v.start <= closes[v.node] for v in visits)
        assert punctual == check_routes(instance, solution.routes).feasible
        late += not punctual
    assert 0 < late < 40


def test_a_clock_goes_on_after_midnight() -> None:
    assert [clock(s) for s in (0.0, 59.6, 3661.0)] == ["0:00:00", "0:01:00", "1:01:01"]
    assert clock(90000.0) == "25:00:00"
