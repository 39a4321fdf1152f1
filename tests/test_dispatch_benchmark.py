"""Benchmarks of days of requests: stored, verified, reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.envs.dispatch_checker import check_days
from nco.report import write_report
from nco.store import RESULTS, Store, open_store
from nco.verify import verify_store

SOLVERS: list[dict[str, Any]] = [
    {"name": "greedy", "solver": {"solver": "dispatch-greedy"}},
    {"name": "random", "solver": {"solver": "dispatch-random", "share": 0.3}, "seeds": [0, 1]},
    {"name": "hindsight", "solver": {"solver": "dispatch-hindsight"}},
    {"name": "static", "solver": {"solver": "pyvrp"}},
]


def config(folder: Path, **changes: Any) -> BenchmarkConfig:
    """Two instances on four days each."""
    suite = {
        "type": "generated",
        "name": "d",
        "problem": "dvrptw",
        "num_customers": 6,
        "num_instances": 2,
        "requests": {"num_epochs": 3, "rate": 3},
        "scenarios": {"count": 4},
        "reference": {"type": "solver", "solver": "hindsight"},
    }
    values = {
        "name": "days",
        "output": folder / "store",
        "suites": [suite | changes],
        "solvers": [entry | {"budget": {"iterations": 5}} for entry in SOLVERS],
    }
    return parse(BenchmarkConfig, values, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("days")
    return open_store(run_benchmark(config(folder), progress=False))


def test_records_hold_days_that_the_judge_accepts(store: Store) -> None:
    """Means and tails are of the judge's costs on the test scenarios; a solver of static problems
    refuses by name; nothing is served late or not at all."""
    records = store.records()
    assert len(records) == 10
    for (_, name, solver, _, _), record in records.items():
        if solver == "static":
            assert record.status == "unsupported"
            assert "requests that come over the day" in str(record.error)
            continue
        assert record.status == "ok", record.error
        assert record.routes is None
        assert record.days is not None
        entry = next(e for e in store.header.suites["d"] if e.name == name)
        scenarios = Scenarios(Split.TEST, 4)
        reports = check_days(store.instance(entry), scenarios, record.days)
        found = record.scenarios
        assert found is not None
        costs = [report.cost for report in reports]
        assert found.mean == record.cost == pytest.approx(sum(costs) / 4, rel=1e-12)
        assert found.cvar == pytest.approx(max(costs), rel=1e-12)
        assert (found.kept, found.count) == (4, 4)
        assert (found.measures["unserved"], found.measures["late"]) == (0, 0)
        assert found.measures["routes"] == sum(report.routes for report in reports) / 4


def test_verify_finds_what_was_changed(store: Store, tmp_path: Path) -> None:
    """Untouched all is as stored; a cost, a request left out or a day too few is found."""
    assert verify_store(store.folder).mismatches == []
    lines = store.results_file.read_text().splitlines()
    first = json.loads(lines[0])
    (epoch, route) = next(
        (e, r) for e, routes in enumerate(first["days"][0]) for r in range(len(routes))
    )
    dropped = json.loads(lines[0])
    del dropped["days"][0][epoch][route]
    for changed, words in (
        (first | {"cost": first["cost"] - 1}, "cost is"),
        (first | {"days": first["days"][:3]}, "3 days are told"),
        (dropped, "is not served"),
    ):
        copy = tmp_path / words.split()[0]
        copy.mkdir()
        for path in store.folder.rglob("*.json"):
            (copy / path.relative_to(store.folder)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(store.folder)).write_bytes(path.read_bytes())
        (copy / RESULTS).write_text("\n".join([json.dumps(changed), *lines[1:]]) + "\n")
        found = verify_store(copy).mismatches
        assert any(words in text for text in found), found


def test_the_report_marks_who_knows_the_day(store: Store, tmp_path: Path) -> None:
    """Gaps are to hindsight; differences are not, and its row says what it is."""
    text = write_report(store.folder, tmp_path)[0].read_text()
    assert "hindsight (knows all)" in text
    assert "hindsight: told all requests of a day at its start, so no strategy" in text
    rows = [line for line in text.splitlines() if line.startswith("| greedy")]
    assert any("| 0 | 0 |" in row for row in rows)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenarios": None}, "scenarios are missing for dvrptw"),
        ({"requests": {"num_epochs": 0}}, "num_epochs is 0; accepted: at least 1"),
        ({"requests": {"speed": 1}}, "speed"),
    ],
)
def test_bad_suites(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    """Of days: the message names the key and what is accepted."""
    with pytest.raises(InputError, match=words):
        config(tmp_path, **changes)


def test_strategies_are_for_days(tmp_path: Path) -> None:
    """On a static suite they refuse; they have no batches; a model that is not there is named."""
    suite = {"type": "generated", "name": "s", "problem": "cvrp", "num_customers": 5,
             "num_instances": 1}  # fmt: skip
    entry: dict[str, Any] = {"name": "lazy", "solver": {"solver": "dispatch-lazy"}}
    values: dict[str, Any] = {
        "name": "x", "output": tmp_path / "store", "suites": [suite], "solvers": [entry]
    }  # fmt: skip
    stored = open_store(run_benchmark(parse(BenchmarkConfig, values, "x"), progress=False))
    (record,) = stored.records().values()
    assert record.status == "unsupported"
    assert "accepted: suites of dvrptw" in str(record.error)
    with pytest.raises(InputError, match="batch_size is 4 for dispatch-lazy"):
        parse(BenchmarkConfig, values | {"solvers": [entry | {"batch_size": 4}]}, "x")
    model = {"name": "m", "solver": {"solver": "dispatch-model", "path": str(tmp_path / "no")}}
    changed = values | {"solvers": [model], "output": tmp_path / "other"}
    with pytest.raises(InputError, match="no dispatcher here"):
        run_benchmark(parse(BenchmarkConfig, changed, "x"), progress=False)
