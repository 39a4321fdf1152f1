"""Benchmarks of uncertain problems: results by test scenarios, stored, verified and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nco import cli
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.envs.objective import Objective
from nco.envs.plans import PlanValue, stacked
from nco.envs.variants import environments, scenario_costs
from nco.report import write_report
from nco.statistics import frequency
from nco.store import Store, open_store
from nco.verify import verify_store

POOL = {
    "problem": "pcvrp",
    "levels": [0.0, 0.4],
    "by": [{"solver": "random-insertion"}],
    "selection": {"scenarios": 40},
}
SOLVERS: list[dict[str, Any]] = [
    {
        "name": "mean value",
        "solver": {"solver": "equivalent", "problem": "pcvrp", "by": {"solver": "savings"}},
    },
    {"name": "pool", "solver": {"solver": "candidate-pool", **POOL}, "seeds": [0, 1]},
    {"name": "search", "solver": {"solver": "scenario-search", **POOL}},
    {"name": "partition", "solver": {"solver": "set-partitioning", **POOL}},
    {"name": "exact", "solver": {"solver": "enumeration", "problem": "pcvrp"}},
]


def config(folder: Path, **changes: Any) -> BenchmarkConfig:
    """Every solver by scenarios on two tiny instances."""
    suite = {
        "type": "generated",
        "name": "p",
        "problem": "pcvrp",
        "num_customers": 5,
        "num_instances": 2,
        "capacity": 15,
        "scenarios": {"count": 50},
    }
    values = {
        "name": "uncertain",
        "output": folder / "store",
        "suites": [suite | changes],
        "solvers": [entry | {"budget": {"iterations": 1}} for entry in SOLVERS],
    }
    return parse(BenchmarkConfig, values, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("uncertain")
    return open_store(run_benchmark(config(folder), progress=False))


def test_every_plan_is_judged_by_the_same_test_scenarios(store: Store) -> None:
    """Means, tails, parts and measures are those of the simulation on the test split; the cost is
    the exact mean, near the simulated one."""
    records = store.records()
    assert len(records) == 12
    for (_, name, _, _, _), record in records.items():
        assert record.status == "ok", record.error
        entry = next(e for e in store.header.suites["p"] if e.name == name)
        one = store.instance(entry)
        value = PlanValue(
            environments["pcvrp"], scenario_costs["pcvrp"], Scenarios(Split.TEST, 50), Objective()
        )
        assert record.routes is not None
        costs = value.costs(one, stacked(one, [(record.routes, record.depots)]))[0, 0]
        found = record.scenarios
        assert found is not None
        assert found.mean == pytest.approx(float(costs.mean()), rel=1e-12)
        worst = costs.sort(descending=True).values
        # 5 % of 50 scenarios are two and a half
        tail = float(worst[:2].sum() + worst[2] / 2) / 2.5
        assert found.cvar == pytest.approx(tail, rel=1e-12)
        assert found.parts == {"travel": found.mean}
        assert (found.kept, found.count) == (50, 50)
        assert record.cost == pytest.approx(found.mean, rel=0.2)
    assert verify_store(store.folder).mismatches == []


def test_tampered_results_are_found(store: Store, tmp_path: Path) -> None:
    """A lower mean, another measure, a part that is gone, and results that are gone."""
    path = store.folder / "results.jsonl"
    text = path.read_text()
    try:
        for change, told in (
            ({"mean": 0.5}, "scenarios: mean is 0.5, recomputed"),
            ({"measures": {"customers": 9.0}}, "scenarios: customers is 9.0, recomputed"),
            ({"parts": {}}, "scenarios: travel is None, recomputed"),
            (None, "what it came to in scenarios is missing, recomputed there"),
        ):
            lines = [json.loads(line) for line in text.splitlines()]
            found = None if change is None else lines[0]["scenarios"] | change
            lines[0]["scenarios"] = found
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            assert any(told in text for text in verify_store(store.folder).mismatches)
    finally:
        path.write_text(text)


def test_the_report_tells_means_tails_and_frequencies(store: Store) -> None:
    """Each solver's mean and CVaR over the instances, seeds averaged first, the frequency with
    Wilson's interval over instances, and parts and measures."""
    markdown, _ = write_report(store.folder)
    text = markdown.read_text()
    assert "In test scenarios" in text
    for heading in ("CVaR95", "Kept", "travel", "customers"):
        assert heading in text
    part = text[text.index("In test scenarios") :]
    by_instance: dict[str, list[float]] = {}
    for (_, name, solver, _, _), record in store.records().items():
        if solver == "pool" and record.scenarios is not None:
            by_instance.setdefault(name, []).append(record.scenarios.cvar)
    mean = sum(sum(v) / len(v) for v in by_instance.values()) / len(by_instance)
    (line,) = (row for row in part.splitlines() if row.startswith("| pool") and "[" in row)
    assert f"{mean:.4f}" in line
    # two instances, in which all scenarios are alike
    kept = frequency(2, 2)
    assert kept is not None
    assert f"[{kept.low:.2%}, {kept.high:.2%}]" in line


def test_what_is_refused(tmp_path: Path) -> None:
    """Scenarios of a certain problem, and a problem without certain ones."""
    with pytest.raises(InputError, match="scenarios are given for cvrp; accepted for: ptsp"):
        config(tmp_path, problem="cvrp")
    values = config(tmp_path).model_dump(mode="json")
    values["solvers"][0]["solver"]["problem"] = "tsp"
    with pytest.raises(InputError, match="tsp has no certain problems; accepted: ptsp, pcvrp"):
        parse(BenchmarkConfig, values, "test")


def test_what_information_is_worth_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Five figures that fit together; what is too large is told in one line."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["information", "pcvrp", "-n", "4", "-b", "2", "--scenarios", "20"])
    assert stopped.value.code == 0
    rows = capsys.readouterr().out.splitlines()
    see, plan, mean, perfect, stochastic = (float(row[22:].split()[0]) for row in rows)
    assert see <= plan <= mean
    assert perfect == pytest.approx(plan - see, abs=2e-4)
    assert stochastic == pytest.approx(mean - plan, abs=2e-4)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["information", "pcvrp", "-n", "9"])
    assert stopped.value.code == 2
    assert "at most 7" in capsys.readouterr().err
