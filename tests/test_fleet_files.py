"""Profiled VRPs in files, drawings and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import nco
from nco.cli import app
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.files import read_solution, write_solution
from nco.data.geojson import solution_to_geojson
from nco.data.plot import colour_of, figure, html_page
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate, routes_from_actions, timetable
from nco.verify import verify_solution
from tests.draws import same
from tests.fleets import RICH, fleets, tiny


def solution() -> Solution:
    """A feasible one of three routes, two of them of vehicle 1."""
    instance = tiny(2, customers=4, capacity=[9.0, 9.0])
    return evaluate(instance, [[1], [2], [3, 4]], vehicles=[1, 0, 1], solver="hand", seconds=0.5)


@pytest.mark.parametrize("zones", [False, True])
def test_instances_come_back_to_the_bit(tmp_path: Path, zones: bool) -> None:
    law = replace(RICH, shift=1.5, min_max=zones)
    batch = fleets((3, 8), 5, 1, law, zones=zones)
    path = tmp_path / "a.json"
    nco.write(batch, path)
    again = nco.read(path)
    for one, other in zip(unbatch(batch), unbatch(again), strict=True):
        assert same(one, other)


def test_a_fleet_by_hand_is_neutral_where_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "hand.json"
    path.write_text(json.dumps({"format": "nco-instances", "version": 1, "instances": [
        {"coords": [[0, 0], [3, 4], [0, 1]], "linehaul": [0, 2, 1], "num_depots": 1,
         "fleet": {"capacity": [5, "inf"]}}]}))  # fmt: skip
    report = check_routes(nco.read(path), [[1], [2]], vehicles=[0, 1])
    assert (report.cost, report.feasible) == (12.0, True)


FAULTS = {
    "capacity": ([0], "fleet.capacity of instance 0, vehicle 0 is 0.0; accepted: a number above 0"),
    "speed": ([-1], "fleet.speed of instance 0, vehicle 0 is -1.0"),
    "depot": ([1], "fleet.depot of instance 0, vehicle 0 is 1; accepted: a depot of the instance"),
    "profile": (
        [[0, 2, 0]],
        "fleet.profile of instance 0, vehicle 0, node 1 is 2.0; accepted: 0 t",
    ),
    "allowed": ([[True, False, True]], "some vehicle that is allowed to serve the customer"),
    "time_weight": (-1, "fleet.time_weight of instance 0 is -1.0"),
    "speeds": ([1], "fleet.speeds"),
    "shift": ([1, 2], "fleet.shift has shape"),
}


@pytest.mark.parametrize("field", FAULTS)
def test_faults_are_named(tmp_path: Path, field: str) -> None:
    value, told = FAULTS[field]
    fleet = {"capacity": [5], field: value}
    path = tmp_path / "hand.json"
    path.write_text(json.dumps({"format": "nco-instances", "version": 1, "instances": [
        {"coords": [[0, 0], [3, 4], [0, 1]], "linehaul": [0, 2, 1], "num_depots": 1,
         "fleet": fleet}]}))  # fmt: skip
    with pytest.raises(InputError) as caught:
        nco.read(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_does_not_go_with_a_fleet_is_refused() -> None:
    one = tiny(0, customers=2)
    plain: dict[str, Any] = {"coords": one.coords, "demand": one.linehaul, "fleet": one.fleet}
    for name, value in (("capacity", 9.0), ("open_route", True), ("distance_limit", 3.0),
                        ("num_vehicles", 2), ("backhaul", one.linehaul)):  # fmt: skip
        changed: dict[str, Any] = {name: value}
        with pytest.raises(InputError, match=name):
            nco.Instance.vrp(**plain, **changed)
    with pytest.raises(InputError, match="the fleet is for batch"):
        nco.Instance.vrp(coords=torch.rand(4, 2), fleet=one.fleet)
    with pytest.raises(InputError, match="whose actions name vehicles"):
        routes_from_actions(one, [1, 2])
    with pytest.raises(InputError, match="timetables know no speeds"):
        timetable(one, solution())


def test_solutions_keep_their_vehicles(tmp_path: Path) -> None:
    given = solution()
    assert given.feasible
    assert given.depots == [0, 0, 0]
    path = tmp_path / "s.json"
    write_solution(given, path)
    stored = read_solution(path)
    assert stored.vehicles == [1, 0, 1]
    assert stored.instance is not None
    assert check_routes(stored.instance, stored.routes, vehicles=stored.vehicles).cost == given.cost
    assert verify_solution(path).ok
    text = json.loads(path.read_text())
    text["solutions"][0]["vehicles"] = [0, 0, 1]
    path.write_text(json.dumps(text))
    assert any("cost is" in line for line in verify_solution(path).mismatches)
    with pytest.raises(InputError, match="which vehicle drives"):
        write_solution(given, tmp_path / "s.sol")


def test_routes_are_drawn_in_the_colours_of_vehicles() -> None:
    given = solution()
    lines = [line for line in figure(given).axes[0].lines if line.get_linestyle() == "-"]
    colours = [line.get_color() for line in lines]
    assert colours == [colour_of(1), colour_of(0), colour_of(1)]
    legend = figure(given).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["vehicle 0", "vehicle 1"]
    assert "3 routes of 2 vehicles" in figure(given).axes[0].get_title()
    page = html_page(given, "t")
    assert "<th>vehicle</th>" in page
    assert "<tr><td>2</td><td>0</td><td>0</td><td>2</td></tr>" in page
    told = [f["properties"].get("vehicle") for f in solution_to_geojson(given)["features"]]
    assert told[:3] == [1, 0, 1]


def test_the_command_line_goes_all_the_way(tmp_path: Path) -> None:
    run, file = CliRunner(), str(tmp_path / "i.json")
    made = run.invoke(app, [
        "data", "generate", "pvrp-zones", "-n", "8", "-b", "2", "--vehicles", "2", "3",
        "--profile", "grid", "-o", file,
    ])  # fmt: skip
    assert made.exit_code == 0, made.output
    done = run.invoke(app, [
        "solve", file, "--solver", "pyvrp", "--iterations", "20", "-q",
        "-o", str(tmp_path / "{name}.json"), "--plot", str(tmp_path / "{name}.html"),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert verify_solution(tmp_path / "i-1.json").ok
    assert "<th>vehicle</th>" in (tmp_path / "i-1.html").read_text()
    shown = run.invoke(app, ["data", "inspect", file])
    assert "pvrp-zones" in shown.output
    wrong = run.invoke(app, ["data", "generate", "pvrp", "-n", "8", "--profile", "square", "-o",
                             str(tmp_path / "j.json")])  # fmt: skip
    assert "profile is 'square'; accepted: random, angular" in str(wrong.exception)
    assert not (tmp_path / "j.json").exists()
