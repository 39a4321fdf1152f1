"""Models for vehicles that differ, from the command line; and what reports say about fleets."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nco
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.benchmark_suites import new_instances
from nco.cli import app
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.fleet import PER_PAIR, PER_VEHICLE
from nco.data.fleet_generators import FleetLaw
from nco.data.instance import Instance
from nco.envs.checker import check_routes, fleet_bill
from nco.neural_solver import load
from nco.report import write_report
from nco.report_fleet import fleet_items, labels
from nco.rollout import trajectories_at_once
from nco.store import open_store
from nco.summary import summarise
from nco.verify import verify_store
from tests.fleets import RICH, fleet_of, fleets, tiny
from tests.policies import FLEET_POLICIES, save_fresh
from tests.small import instances

TRADE_OFF: dict[str, Any] = {
    "type": "trade-off",
    "name": "t",
    "problem": "pvrp",
    "num_customers": 6,
    "num_instances": 3,
    "preference_weights": [0.1, 0.9],
    "fleet": {"num_vehicles": [2, 3]},
}
PYVRP: dict[str, Any] = {
    "name": "PyVRP", "solver": {"solver": "pyvrp"}, "budget": {"iterations": 40},
}  # fmt: skip


def config(folder: Path, *solvers: dict[str, Any], **changes: Any) -> BenchmarkConfig:
    """A benchmark of one trade-off."""
    values = {"name": "b", "output": folder / "store", "suites": [TRADE_OFF | changes]}
    return parse(BenchmarkConfig, {**values, "solvers": [*solvers]}, "test")


@pytest.mark.parametrize("problem", ["pvrp", "pvrp-zones"])
@pytest.mark.parametrize("kind", FLEET_POLICIES)
def test_a_saved_model_solves_files(tmp_path: Path, kind: str, problem: Any) -> None:
    save_fresh(tmp_path / "model", problem, kind)
    zones = problem == "pvrp-zones"
    # more vehicles and customers than in any instance it could have seen
    given, answer = tmp_path / "in.json", tmp_path / "{name}.json"
    nco.write(fleets((4, 7), 2, 4, FleetLaw(num_vehicles=(2, 5)), zones=zones), given)
    arguments = ["--solver", str(tmp_path / "model"), "--augment", "1", "-o", str(answer)]
    result = CliRunner().invoke(app, ["solve", str(given), *arguments])
    assert result.exit_code == 0, result.output
    model = load(tmp_path / "model", augment=1)
    for i, one in enumerate(unbatch(nco.read(given)), start=1):
        (solution,) = model.solve(one)
        (stored,) = json.loads((tmp_path / f"in-{i}.json").read_text())["solutions"]
        report = check_routes(one, stored["routes"], vehicles=stored["vehicles"])
        assert report.feasible, report.violations
        assert stored["cost"] == pytest.approx(report.cost, rel=1e-12)
        assert (stored["routes"], stored["vehicles"]) == (solution.routes, solution.vehicles)


def test_a_model_for_vehicles_that_differ_refuses_others(tmp_path: Path) -> None:
    save_fresh(tmp_path / "model", "pvrp", "camp")
    with pytest.raises(InputError, match="has no fleet"):
        load(tmp_path / "model").solve(instances("cvrp", 5, 1))


def test_a_bill_adds_up_to_the_cost() -> None:
    """For every law's weights, and by hand for one instance."""
    for one in unbatch(fleets((3, 7), 12, 5, RICH)):
        fleet = fleet_of(one)
        able = fleet.allowed[0] & (one.linehaul[0] <= fleet.capacity[0].unsqueeze(1))
        routes = [[node] for node in range(1, one.num_nodes)]
        vehicles = [int(able[:, node].int().argmax()) for node in range(1, one.num_nodes)]
        bill = fleet_bill(one, routes, vehicles)
        span = bill.longest if bool(fleet.min_max) else bill.time
        cost = float(fleet.time_weight) * span + float(fleet.preference_weight) * bill.missed
        report = check_routes(one, routes, vehicles=vehicles)
        assert cost + bill.prices == pytest.approx(report.cost, rel=1e-12)
    one = tiny(0, customers=3, speed=[1.0, 2.0], profile=[[0, 1, 0.2, 0.5], [0, 0.4, 0.9, 0.5]])
    assert one.coords is not None
    home, *places = one.coords[0].tolist()
    ways = [2 * math.dist(home, place) for place in places]
    work = (one.service_time[0, 1:]).tolist()
    bill = fleet_bill(one, [[1], [2], [3]], [0, 0, 1])
    assert bill.length == pytest.approx(sum(ways))
    assert bill.time == pytest.approx(ways[0] + ways[1] + ways[2] / 2 + sum(work))
    assert bill.longest == pytest.approx(ways[0] + ways[1] + work[0] + work[1])
    assert bill.missed == pytest.approx(0.9 - 0.2)
    assert bill.used == 2


def test_bills_of_what_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="has no fleet"):
        fleet_bill(instances("cvrp", 3, 1), [[1]], [0])
    with pytest.raises(InputError, match="node 9, which does not exist"):
        fleet_bill(tiny(0), [[9]], [0])
    with pytest.raises(InputError, match="vehicle 7, which does not exist"):
        fleet_bill(tiny(0), [[1]], [7])


def test_a_trade_off_has_the_same_instances_with_other_weights(tmp_path: Path) -> None:
    found = new_instances(config(tmp_path, PYVRP))
    suites: dict[str, list[Instance]] = {}
    for new in found:
        suites.setdefault(new.suite, []).append(new.instance)
    assert list(suites) == ["t-0.1", "t-0.9"]
    for low, high in zip(*suites.values(), strict=True):
        weights = [float(fleet_of(one).preference_weight) for one in (low, high)]
        times = [float(fleet_of(one).time_weight) for one in (low, high)]
        assert weights == pytest.approx([0.1, 0.9])
        assert times == pytest.approx([0.9, 0.1])
        assert low.linehaul.equal(high.linehaul)
        for name in (*PER_VEHICLE, *PER_PAIR):
            assert getattr(fleet_of(low), name).equal(getattr(fleet_of(high), name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preference_weights": [0.1, 0.1]}, "repeat; accepted: each once"),
        ({"preference_weights": [0.1]}, "preference_weights"),
        ({"preference_weights": [0.1, 1.1]}, "preference_weights"),
        ({"problem": "pvrp-zones"}, "problem"),
    ],
)
def test_trade_offs_that_mean_nothing_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        config(tmp_path, PYVRP, **changes)


def test_a_benchmark_of_a_trade_off_from_start_to_report(tmp_path: Path) -> None:
    """Models and solvers; verified; every figure of the report's tables recomputed here."""
    save_fresh(tmp_path / "model", "pvrp", "camp")
    weights = {"solver": "model", "path": str(tmp_path / "model"), "augment": 1}
    model = {"name": "CAMP", "solver": weights}
    folder = run_benchmark(config(tmp_path, model, PYVRP), progress=False)
    verified = verify_store(folder)
    assert (verified.ok, verified.checked, verified.missing) == (True, 12, 0)
    store = open_store(folder)
    records = list(store.records().values())
    markdown = write_report(folder)[0].read_text()
    svg = (folder / "report-plots" / "t-trade-off.svg").read_text()
    assert "preference missed" in svg
    missed: dict[tuple[str, str], float] = {}
    for summary in summarise(store):
        own = [record for record in records if record.suite == summary.name]
        for solver, items in fleet_items(summary, own).items():
            bills = [
                fleet_bill(store.instance(entry), record.routes or [], record.vehicles or [])
                for entry in summary.instances
                for record in own
                if (record.solver, record.instance) == (solver, entry.name)
            ]
            assert items.count == len(bills) == 3
            missed[solver, summary.name] = sum(bill.missed for bill in bills) / 3
            assert items.means["Preference missed"] == pytest.approx(missed[solver, summary.name])
            time = sum(bill.time for bill in bills) / 3
            assert items.means["Time"] == pytest.approx(time)
            assert f"{time:,.4g}" in markdown
    # what weighs more is missed less
    assert missed["PyVRP", "t-0.9"] < missed["PyVRP", "t-0.1"]
    assert "### Items of the cost" in markdown
    # no prices in this law, so no column
    assert "Prices" not in markdown


def test_what_a_step_takes_counts_vehicles() -> None:
    alone, many = (fleets((8, 8), 1, 0, FleetLaw(num_vehicles=(m, m))) for m in (1, 6))
    assert trajectories_at_once(alone, 1e6) == pytest.approx(
        6 * trajectories_at_once(many, 1e6), rel=0.01
    )


def test_weights_at_neighbouring_points_share_a_label() -> None:
    points = [(0.0, 6.0, 6.6), (0.1, 5.6, 6.6), (0.2, 4.8, 6.8), (0.4, 1.6, 8.1), (0.8, 0.0, 9.9)]
    found = labels(points, (0.0, 6.5), (6.5, 10.5))
    assert found == [
        ("0 to 0.1", 6.0, 6.6), ("0.2", 4.8, 6.8), ("0.4", 1.6, 8.1), ("0.8", 0.0, 9.9),
    ]  # fmt: skip
