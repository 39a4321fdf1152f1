"""Benchmarks of problems that are decided on the way: stored, replayed by verify, reported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nco import cli
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.data.walk_text import packed, unpacked
from nco.envs.walk_checker import check_walks
from nco.report import write_report
from nco.store import RESULTS, Store, open_store
from nco.verify import verify_store
from tests.policies import save_fresh

PLAN: dict[str, Any] = {"solver": "equivalent", "by": {"solver": "savings"}}


def suite(problem: str, count: int, **changes: Any) -> dict[str, Any]:
    """Two instances."""
    values: dict[str, Any] = {
        "type": "generated", "name": problem, "problem": problem, "num_customers": 5,
        "num_instances": 2, "scenarios": {"count": count},
    }  # fmt: skip
    if "svrptw" in problem:
        values["distribution"] = "correlated"
    return values | changes


def config(folder: Path, suites: list[Any], solvers: list[Any], name: str = "s") -> BenchmarkConfig:
    """A benchmark with its store in the folder."""
    values = {"name": "walks", "output": folder / name, "suites": suites, "solvers": solvers}
    return parse(BenchmarkConfig, values, "test")


def model(path: Path, **options: Any) -> dict[str, Any]:
    """A model's configuration."""
    return {"solver": "model", "path": str(path), **options}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of nobody's training, by problem."""
    folder = tmp_path_factory.mktemp("models")
    for problem in ("vrpsd-adaptive", "vrpsd", "spctsp"):
        save_fresh(folder / problem, problem, "pomo")
    return folder


@pytest.fixture(scope="module")
def store(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Each kind of solver on each kind of problem."""
    alone = {"augment": 1, "multi_start": False}
    solvers = [
        ("decides", model(models / "vrpsd-adaptive", **alone), "vrpsd-adaptive"),
        ("chosen", model(models / "vrpsd-adaptive"), "vrpsd-adaptive"),
        ("plans", model(models / "vrpsd"), "vrpsd-adaptive"),
        ("mean demands", PLAN | {"problem": "vrpsd"}, "vrpsd-adaptive"),
        ("mean times", PLAN | {"problem": "svrptw", "by": {"solver": "pyvrp"}}, "svrptw-adaptive"),
        ("collects", model(models / "spctsp"), "spctsp"),
        ("plans again", {"solver": "reoptimisation"}, "spctsp"),
    ]
    entries = [
        {"name": name, "solver": solver, "suites": [on], "budget":
         {} if solver["solver"] == "model" else {"iterations": 10}}
        for name, solver, on in solvers
    ]  # fmt: skip
    chosen = {"scenarios": 5, "plans": 4}
    suites = [
        suite("vrpsd-adaptive", 30, selection=chosen, num_customers=6),
        suite("svrptw-adaptive", 10),
        suite("spctsp", 3, selection=chosen),
    ]
    folder = tmp_path_factory.mktemp("walks")
    return open_store(run_benchmark(config(folder, suites, entries), progress=False))


def test_records_hold_walks_that_the_judge_accepts(store: Store) -> None:
    """Means and tails are of the judge's costs in the same test scenarios for all; who chooses
    among policies or plans keeps to the suite's means."""
    records = store.records()
    assert len(records) == 14
    for (where, name, solver, _, _), record in records.items():
        assert record.status == "ok", record.error
        assert record.routes is None
        assert record.walks is not None
        entry = next(e for e in store.header.suites[where] if e.name == name)
        test = store.header.config.suite(where).scenarios
        assert test is not None
        scenarios = Scenarios(Split.TEST, test.count)
        reports = list(check_walks(store.instance(entry), scenarios, unpacked(record.walks)))
        costs = [report.cost for report in reports]
        found = record.scenarios
        assert found is not None
        assert found.mean == record.cost == pytest.approx(sum(costs) / test.count, rel=1e-12)
        assert found.kept == sum(not report.failed for report in reports)
        assert sum(found.parts.values()) == pytest.approx(found.mean, rel=1e-12)
        priced = {"chosen": 20, "plans": 20, "collects": 20}.get(solver, 0)
        assert record.plan_scenarios == priced
    assert verify_store(store.folder).mismatches == []


def _changed(store: Store, folder: Path, solver: str, change: Callable[[Any], Any]) -> list[str]:
    """What verify says of a copy in which the first record of a solver has been changed."""
    shutil.copytree(store.folder, folder)
    lines = [json.loads(line) for line in (folder / RESULTS).read_text().splitlines()]
    first = next(line for line in lines if line["solver"] == solver)
    first |= change(first)
    (folder / RESULTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return verify_store(folder).mismatches


def test_verify_replays_what_was_driven(store: Store, tmp_path: Path) -> None:
    """An action that is altered, left out or added is found by what it comes to or by the rule that
    it breaks; so is a cost, a measure, a scenario too few, and text that is none."""

    def walks(edit: Callable[[list[list[int]]], Any]) -> Callable[[Any], Any]:
        def change(record: Any) -> Any:
            found = unpacked(record["walks"])
            edit(found)
            return {"walks": packed(found)}

        return change

    def swapped(found: list[list[int]]) -> None:
        a, b = [i for i, node in enumerate(found[7]) if node > 0][:2]
        found[7][a], found[7][b] = found[7][b], found[7][a]

    changes: list[tuple[str, Callable[[Any], Any], str]] = [
        ("mean times", walks(swapped), "cost is"),
        ("decides", walks(lambda found: found[3].pop(0)), "scenario 3, customer"),
        ("chosen", walks(lambda found: found[0].append(99)), "node 99 does not exist"),
        ("collects", walks(lambda found: found[2].clear()), "that a tour must collect"),
        ("mean times", walks(lambda found: found.pop()), "9 walks are told; accepted: one for"),
        ("plans", lambda _: {"walks": "no"}, "walks cannot be read"),
        ("plans", lambda r: {"cost": r["cost"] - 1}, "cost is"),
        ("plans again", lambda r: {"scenarios": r["scenarios"] | {"kept": 0}}, "kept is 0"),
        ("plans again", lambda _: {"walks": None}, "there are no routes"),
    ]
    for number, (solver, change, words) in enumerate(changes):
        found = _changed(store, tmp_path / str(number), solver, change)
        assert any(words in text for text in found), (solver, found)


def test_the_report_says_how_many_scenarios_a_tail_has(store: Store, tmp_path: Path) -> None:
    """And warns of fewer than five; plans and policies stand in one table."""
    text = write_report(store.folder, tmp_path)[0].read_text()
    assert "1.5 of 30." in text
    assert "CVaR95 is of 1.5 of an instance's 30 test scenarios: too few" in text
    assert "100 scenarios have 5 in the tail" in text
    assert "it is decided on the way" in text
    rows = [line for line in text.splitlines() if "(20 prices)" in line]
    assert {row.split()[1] for row in rows} >= {"chosen", "plans", "collects"}


@pytest.mark.parametrize(
    ("changes", "solver", "words"),
    [
        ({"problem": "spctsp"}, PLAN | {"problem": "vrpsd"},
         r"is equivalent with problem vrpsd; accepted: model, reoptimisation"),
        ({"problem": "vrpsd-adaptive"}, PLAN | {"problem": "pcvrp"},
         r"with problem pcvrp; accepted: model, solvers by scenarios with problem vrpsd"),
        ({"problem": "vrpsd-adaptive"}, {"solver": "pyvrp"}, "is pyvrp; accepted: model, solv"),
        ({"problem": "vrpsd-adaptive"}, {"solver": "reoptimisation"}, "is reoptimisation; acce"),
        ({"problem": "cvrp", "scenarios": None}, {"solver": "reoptimisation"},
         "plans again on the way and runs on suite 'x' of cvrp; accepted: suites of spctsp"),
        ({"problem": "spctsp", "scenarios": None}, {"solver": "reoptimisation"},
         "scenarios are missing for spctsp; accepted: the worlds to go through"),
        ({"problem": "spctsp"}, {"solver": "model", "path": "m", "search": {"type": "sgbs"}},
         "has a search, which makes plans; accepted: none"),
    ],
)  # fmt: skip
def test_what_is_refused(
    tmp_path: Path, changes: dict[str, Any], solver: dict[str, Any], words: str
) -> None:
    """In one message, before anything runs."""
    values = suite("spctsp", 3, name="x") | changes
    with pytest.raises(InputError, match=words):
        config(tmp_path, [values], [{"name": "a", "solver": solver}])
    entry = {"name": "a", "solver": model(Path("m")), "batch_size": 2}
    with pytest.raises(InputError, match="with batch_size 2; accepted: none"):
        config(tmp_path, [suite("spctsp", 3)], [entry])


def test_models_of_other_problems_are_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the problem's name, also from the command line: one message and exit code 2."""
    suites = [suite("vrpsd-adaptive", 3)]
    for path, options, words in (
        (models / "spctsp", {}, "is of spctsp and runs on a suite of vrpsd-adaptive; accepted"),
        (models / "vrpsd-adaptive", {"samples": 4}, "samples is 4 .* hindsight; accepted: none"),
    ):
        entry = {"name": "a", "solver": model(path, **options)}
        with pytest.raises(InputError, match=words):
            run_benchmark(config(tmp_path, suites, [entry]), progress=False)
    # a policy that was trained for known prizes sees and chooses the same; one world is published
    save_fresh(tmp_path / "pctsp", "pctsp", "pomo")
    entries = [{"name": "a", "solver": model(tmp_path / "pctsp", augment=1, multi_start=False)}]
    kool = suite("spctsp", 1, protocol="kool", num_customers=20)
    stored = open_store(run_benchmark(config(tmp_path, [kool], entries, "k"), progress=False))
    assert {record.status for record in stored.records().values()} == {"ok"}
    with pytest.raises(InputError, match="asks for 2 scenarios by the protocol kool"):
        run_benchmark(config(tmp_path, [kool | {"scenarios": {"count": 2}}], entries, "l"))
    file = tmp_path / "b.yaml"
    values = {"name": "b", "suites": [suite("spctsp", 3)], "solvers":
              [{"name": "a", "solver": PLAN | {"problem": "vrpsd"}}]}  # fmt: skip
    file.write_text(json.dumps(values))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["benchmark", str(file)])
    assert stopped.value.code == 2
    assert "accepted: model, reoptimisation" in capsys.readouterr().err
