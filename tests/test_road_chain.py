"""Real roads from the extract to the map: each stage feeds the next, and what comes out is true."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from nco.data.geography import metres_between, to_metres
from nco.data.osrm_tools import OSRMTools
from nco.data.street_network import StreetNetwork
from nco.envs.checker import check_routes
from nco.map_page import clock
from tests.pages import loaded
from tests.road_chain import PROBLEMS, Solved, run_chain

pytestmark = pytest.mark.osrm


@pytest.mark.parametrize("town", ["helsinki", "monaco"])
def test_from_an_extract_to_routes_on_a_map(
    town: str,
    osm_samples: dict[str, Path],
    osrm_tools: OSRMTools,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Extract, server, matrices, instances, three solvers, the judge, GeoJSON and page."""
    chain, network = run_chain(osm_samples[town], tmp_path, osrm_tools)
    (tmp_path / "seconds.json").write_text(json.dumps(chain.seconds, indent=2))
    record_property("seconds", chain.seconds)
    print(
        town, *(f"{seconds:6.2f} s  {stage}" for stage, seconds in chain.seconds.items()), sep="\n"
    )
    assert len(chain.solved) == 3 * len(PROBLEMS)
    on_street = distance_to_streets(network)
    for solved in chain.solved:
        assert_judged(solved)
        assert_arcs_are_the_server_s(solved)
        assert_timetable_follows(solved)
        assert_lines_follow_streets(solved, on_street)
        assert_page_stands_alone(solved)


def assert_judged(solved: Solved) -> None:
    """By the instance as it was drawn from the city map, which the command has never seen."""
    report = check_routes(solved.drawn, solved.routes)
    assert report.feasible, report.violations
    assert report.cost == pytest.approx(solved.cost, rel=1e-9)


def assert_arcs_are_the_server_s(solved: Solved) -> None:
    """Each arc of the matrices is the way of the route service, which answers another question."""
    drawn = solved.drawn
    assert drawn.distance is not None
    assert drawn.duration is not None
    for route, legs in zip(solved.from_depot, solved.asked_again, strict=True):
        for (a, b), leg in zip(itertools.pairwise([0, *route, 0]), legs, strict=True):
            assert drawn.distance[0, a, b].item() == pytest.approx(leg.distance, abs=0.15)
            assert drawn.duration[0, a, b].item() == pytest.approx(leg.duration, abs=0.15)


def assert_timetable_follows(solved: Solved) -> None:
    """By the server's seconds; every stop once, inside its hours, within the load."""
    drawn = solved.drawn
    early, late = drawn.time_window[0].double().numpy().T
    service, demand = drawn.service_time[0].tolist(), drawn.linehaul[0].tolist()
    points = [f["properties"] for f in solved.features if f["geometry"]["type"] == "Point"]
    lines = [f["properties"] for f in solved.features if f["geometry"]["type"] == "LineString"]
    for number, (route, legs) in enumerate(
        zip(solved.from_depot, solved.asked_again, strict=True), start=1
    ):
        visits = [told for told in points if told["route"] == number]
        assert [told["node"] for told in visits] == [0, *route]
        load = visits[0]["load"]
        assert load == pytest.approx(sum(demand[node] for node in route))
        assert load <= float(drawn.capacity[0]) * (1 + 1e-6)
        for (before, told), leg in zip(itertools.pairwise(visits), legs, strict=False):
            node = told["node"]
            # float32 keeps the tenth of a second of OSRM's answers only below some hours
            assert told["arrival"] == pytest.approx(before["departure"] + leg.duration, abs=0.06)
            start = max(told["arrival"], early[node])
            assert start <= late[node] * (1 + 1e-6)
            assert told["waiting"] == pytest.approx(start - told["arrival"], abs=1e-3)
            assert told["departure"] == pytest.approx(start + service[node], abs=1e-3)
            load -= demand[node]
            assert told["load"] == pytest.approx(load, abs=1e-6)
        back = visits[-1]["departure"] + legs[-1].duration
        assert lines[number - 1]["end"] == pytest.approx(back, abs=0.06)
        assert back <= late[0] * (1 + 1e-6)
    assert sorted(p["node"] for p in points if p["kind"] == "stop") == [*range(1, drawn.num_nodes)]


def assert_lines_follow_streets(
    solved: Solved, on_street: Callable[[np.ndarray], np.ndarray]
) -> None:
    """As long as the cells of the matrix say, and never off a street of the extract."""
    lines = [f for f in solved.features if f["geometry"]["type"] == "LineString"]
    told = [line["properties"]["distance"] for line in lines]
    assert sum(told) == pytest.approx(solved.cost, rel=1e-6)
    for route, line, metres in zip(solved.from_depot, lines, told, strict=True):
        places = np.array(line["geometry"]["coordinates"])
        length = float(metres_between(places[:-1], places[1:]).sum())
        # OSRM rounds every cell to a tenth of a metre, and every place to about as much
        assert length == pytest.approx(metres, rel=2e-4, abs=1)
        assert on_street(places).max() < 0.75 * STEP
        at = 0
        for stop in solved.places[[0, *route, 0]]:
            passed = np.flatnonzero(np.linalg.norm(to_metres(places[at:], stop), axis=1) < 1)
            assert len(passed), f"the line misses {stop} after its place {at}"
            at += int(passed[0])


def assert_page_stands_alone(solved: Solved) -> None:
    """It loads nothing, and shows all stops with their times."""
    assert loaded(solved.page) == []
    for point in solved.features:
        if point["geometry"]["type"] == "Point":
            told = point["properties"]
            assert f"<td>{told['name']}</td><td>{clock(told['arrival'])}</td>" in solved.page


STEP = 1.0
"""Metres from one place on a street to the next, of those that lines are compared with."""


def distance_to_streets(network: StreetNetwork) -> Callable[[np.ndarray], np.ndarray]:
    """Metres from places to the nearest of many places on streets that are open to cars."""
    middle = network.nodes.mean(0)
    ends = to_metres(network.nodes, middle)[network.edges[network.roads]]
    count = np.ceil(network.length[network.roads] / STEP).astype(int) + 1
    street = np.repeat(np.arange(len(ends)), count)
    nth = np.arange(len(street)) - np.repeat(np.cumsum(count) - count, count)
    share = (nth / (count - 1).clip(min=1)[street])[:, None]
    known = KDTree(ends[street, 0] * (1 - share) + ends[street, 1] * share)
    return lambda places: known.query(to_metres(places, middle))[0]
