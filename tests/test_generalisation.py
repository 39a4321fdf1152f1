"""Benchmarks of generalisation: what is shifted, what is in and out, what is left out."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nco import benchmark_tasks
from nco.api import generate
from nco.baselines.solver import Budget
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.benchmark_suites import new_instances
from nco.config_files import load_yaml, parse, preset_names
from nco.data.errors import InputError
from nco.data.files import write
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.report import write_report
from nco.store import HEADER, Store, open_store
from nco.summary import summarise
from nco.verify import verify_store
from tests.draws import same
from tests.policies import save_fresh

PRESETS = [name for name in preset_names() if name.startswith("generalisation")]
BEST = {"type": "best-found"}


def make_config(folder: Path, **changes: Any) -> BenchmarkConfig:
    """A model of eight customers, at home and on three axes, beside two heuristics."""
    suites = [
        {"type": "generated", "name": "home", "axis": "base"},
        {"type": "generated", "name": "larger", "axis": "size", "num_customers": 11},
        {
            "type": "generated",
            "name": "clusters",
            "axis": "distribution",
            "distribution": "cluster",
        },
        {"type": "generated", "name": "tight", "axis": "tightness", "shift": {"capacity": 0.5}},
        {"type": "generated", "name": "windows", "axis": "variant", "problem": "vrptw"},
    ]
    suites = [{"problem": "cvrp", "reference": BEST, **suite} for suite in suites]
    solvers = [
        {"name": "model", "solver": {"solver": "model", "augment": 1}},
        {"name": "searching", "solver": {"solver": "model", "search": {"type": "local-search"}},
         "budget": {"iterations": 1}},
        {"name": "savings", "solver": {"solver": "savings"}},
        {"name": "nearest", "solver": {"solver": "nearest"}},
    ]  # fmt: skip
    values: dict[str, Any] = {
        "name": "g",
        "output": folder / "store",
        "model": str(folder / "home"),
        "num_customers": 8,
        "num_instances": 2,
        "suites": suites,
        "solvers": solvers,
    }
    if not (folder / "home").exists():
        save_fresh(folder / "home", "cvrp", "pomo")
    return parse(BenchmarkConfig, values | changes, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The benchmark of `make_config`, run."""
    return open_store(run_benchmark(make_config(tmp_path_factory.mktemp("g")), progress=False))


@pytest.mark.parametrize("name", PRESETS)
def test_shipped_benchmarks_are_valid(name: str) -> None:
    """They begin at a base, every suite has an axis and a reference, floors and ceilings are
    there, and a smoke tier does as the other but for files."""
    parsed = parse(BenchmarkConfig, load_yaml(name), name)
    assert parsed.name == name
    axes = [suite.axis for suite in parsed.single_suites()]
    assert axes[0] == ("variant" if "mtvrp" in name else "base")
    assert None not in axes
    assert all(suite.reference is not None for suite in parsed.single_suites())
    kinds = {entry.solver.solver for entry in parsed.solvers}
    assert kinds >= {"model", "pyvrp", "ortools", "nearest", "savings", "farthest-insertion"}
    budgets = {e.budget.time_limit for e in parsed.solvers if e.budget.time_limit}
    assert budgets == {parsed.times[-1]}
    if name.endswith("-smoke"):
        runs = sum(suite.num_instances for suite in parsed.single_suites()
                   if suite.type == "generated")  # fmt: skip
        limited = sum(e.budget.time_limit or 0 for e in parsed.solvers)
        assert runs * limited < 60, "seconds of a tier that is to end within two minutes"
    else:
        assert {"size", "distribution", "tightness" if "tsp" not in name else "size"} <= {*axes}


def test_suites_take_the_benchmarks_sizes_and_model(tmp_path: Path) -> None:
    """Where they name none themselves; the config that is stored names all of it."""
    config = make_config(tmp_path)
    sizes = {s.name: s.num_customers for s in config.single_suites() if s.type == "generated"}
    assert sizes == {"home": 8, "larger": 11, "clusters": 8, "tight": 8, "windows": 8}
    paths = {e.solver.path for e in config.solvers if e.solver.solver == "model"}
    assert paths == {str(tmp_path / "home")}
    again = BenchmarkConfig.model_validate_json(config.model_dump_json())
    assert again == config
    with pytest.raises(InputError, match="names no model"):
        make_config(tmp_path, model=None)
    with pytest.raises(InputError, match="rising"):
        make_config(tmp_path, times=[1.0, 0.1])


def test_marks_are_the_cards(store: Store) -> None:
    """In at home, out in what was shifted; no mark on what is no model."""
    marks = {
        summary.name: {row.entry.name: row.outside for row in summary.rows}
        for summary in summarise(store)
    }
    for name, parts in {"home": [], "larger": ["size"], "clusters": ["distribution"],
                        "tight": ["tightness"], "windows": ["problem"]}.items():  # fmt: skip
        assert list(marks[name]["model"] or {}) == parts
        assert marks[name]["model"] == marks[name]["searching"]
        assert marks[name]["savings"] is None


def test_figures_are_relative_to_the_best_found(store: Store) -> None:
    """No gap below 0, and one of 0 for each instance; what a model cannot express is counted."""
    records = store.records().values()
    for summary in summarise(store):
        for instance, reference in summary.references.items():
            costs = [r.cost for r in records if (r.suite, r.instance) == (summary.name, instance)
                     and r.cost is not None]  # fmt: skip
            assert reference == min(costs)
    windows = Counter(r.status for r in records if r.suite == "windows")
    assert windows == {"unsupported": 8}
    assert verify_store(store.folder).ok


def test_the_report_has_a_row_for_each_axis(store: Store, tmp_path: Path) -> None:
    """In and out apart; suites without a solution are told; by-time figures are there."""
    markdown, page = write_report(store.folder, tmp_path)
    text = markdown.read_text()
    table = text.partition("## Generalisation")[2].partition("\n## ")[0]
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if "|" in line}
    assert rows.keys() >= {"base", "size", "distribution", "tightness"}
    assert "(in: 1 cell)" in rows["base"]
    assert "(out: 1 cell)" in rows["size"]
    assert "model: cvrp, 8 customers, uniform; 0 instances seen" in table
    assert "out: tightness" in text
    assert "Primal integral to 10 s" in text
    assert "mean of" not in text
    for told in ("Gap at 0.1 s", "Every pair of solvers", "out: 1 cell"):
        assert told in page.read_text()


def test_the_means_of_an_axis_are_over_its_cells(tmp_path: Path) -> None:
    """Two sizes, one of them inside: apart for the model, together for the heuristic."""
    base = {"type": "generated", "problem": "cvrp", "axis": "size", "reference": BEST}
    sizes = [{**base, "name": f"n{n}", "num_customers": n} for n in (8, 10, 12, 14)]
    solvers = [{"name": "model", "solver": {"solver": "model", "augment": 1}},
               {"name": "savings", "solver": {"solver": "savings"}}]  # fmt: skip
    done = run_benchmark(make_config(tmp_path, suites=sizes, solvers=solvers), progress=False)
    gaps = {
        name: [row.gap.mean for s in summarise(open_store(done)) for row in s.rows
               if row.entry.name == name and row.gap]
        for name in ("model", "savings")
    }  # fmt: skip
    text = write_report(done, tmp_path / "r")[0].read_text()
    (line,) = (x for x in text.splitlines() if x.startswith("| size |"))
    inside, outside, floor = gaps["model"][0], sum(gaps["model"][1:]) / 3, sum(gaps["savings"]) / 4
    shown = [cell.strip() for cell in line.replace("\\|", "and").split("|")[1:-1]]
    assert shown == [
        "size",
        "4",
        f"{100 * inside:+.2f} % and {100 * outside:+.2f} % (in: 1 cell; out: 3 cells)".replace(
            "+0.00 %", "0 %"
        ),
        f"{100 * floor:+.2f} %".replace("+0.00 %", "0 %"),
    ]


def test_what_is_not_there_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files behind a variable that is not set, and a solver that is not installed; where they are
    there, they run."""
    benchmark_tasks.built.cache_clear()
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "hybgensea" else there(name)
    )
    monkeypatch.delenv("NCO_HERE", raising=False)
    (tmp_path / "files").mkdir()
    write(generate("cvrp", 5, 1, seed=1), tmp_path / "files" / "one.json")
    suites = [
        {"type": "generated", "name": "home", "axis": "base", "problem": "cvrp"},
        {"type": "files", "name": "library", "axis": "library", "paths": ["$NCO_HERE/*.json"]},
    ]
    solvers = [
        {"name": "nearest", "solver": {"solver": "nearest"}},
        {"name": "HGS", "solver": {"solver": "hgs"}, "where_installed": True},
    ]
    config = make_config(tmp_path, suites=suites, solvers=solvers)
    without = open_store(run_benchmark(config, progress=False))
    assert {r.suite for r in without.lines()} == {"home"}
    assert {r.solver for r in without.lines()} == {"nearest"}
    assert without.header.left_out["library"] == "the variable NCO_HERE is not set"
    assert "pip install nco-routing[hgs]" in without.header.left_out["HGS"]
    assert verify_store(without.folder).missing == 0
    assert "Left out: library (the variable NCO_HERE" in (
        write_report(without.folder)[0].read_text()
    )
    monkeypatch.setenv("NCO_HERE", str(tmp_path / "files"))
    config = make_config(tmp_path, suites=suites, solvers=solvers, output=tmp_path / "more")
    more = open_store(run_benchmark(config, progress=False))
    assert {r.suite for r in more.lines()} == {"home", "library"}
    assert more.header.traits["library"].distribution == "unknown"
    with pytest.raises(InputError, match="may be left out"):
        make_config(
            tmp_path,
            suites=[suites[0] | {"reference": {"type": "solver", "solver": "HGS"}}],
            solvers=solvers,
        )


def test_shifted_suites_hold_shifted_instances(tmp_path: Path) -> None:
    """The same as drawn without, but for the shift, which the source tells; published sets have
    none."""
    plain = {"type": "generated", "name": "a", "problem": "cvrp"}
    half = plain | {"name": "b", "shift": {"capacity": 0.5}}
    found = new_instances(make_config(tmp_path, suites=[plain, half]))
    for new, other in zip(found[:2], found[2:], strict=True):
        assert not same(new.instance, other.instance)
        assert same(new.instance.replace(capacity=other.instance.capacity), other.instance)
        assert "cvrp8 uniform, capacity × 0.5, seed 1234" in other.source
    with pytest.raises(InputError, match="by the protocol kool"):
        new_instances(make_config(tmp_path, suites=[half | {"protocol": "kool"}]))
    with pytest.raises(InputError, match="suite 'b': windows are to be tighter"):
        new_instances(make_config(tmp_path, suites=[half | {"shift": {"windows": 0.5}}]))


class _Full:
    """A solver that has no memory left."""

    name = "full"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out-of-memory"),
        (RuntimeError("no luck"), "failed"),
    ],
)
def test_no_memory_is_a_failure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str
) -> None:
    """It counts as a failure, and the report says which."""
    suite = {"type": "generated", "name": "home", "problem": "cvrp"}
    solvers = [{"name": "n", "solver": {"solver": "nearest"}}]
    config = make_config(tmp_path, suites=[suite], solvers=solvers, model=None)
    monkeypatch.setattr(
        "nco.benchmark_tasks.built", lambda *_: benchmark_tasks.Built(_Full(error), "1")
    )
    done = open_store(run_benchmark(config, progress=False))
    assert {r.status for r in done.lines()} == {status}
    told = {"out-of-memory": "2 out of memory", "failed": "2 failed"}[status]
    assert told in write_report(done.folder)[0].read_text()


def test_stores_of_before_still_verify(store: Store, tmp_path: Path) -> None:
    """A header without what was added since has its checksum; a changed one has not."""
    from nco.store import checksum_of

    content = json.loads((store.folder / HEADER).read_text())
    for key in ("left_out", "models", "traits"):
        del content[key]
    for suite in content["config"]["suites"]:
        del suite["axis"]
    content["checksum"] = checksum_of(content)
    old = tmp_path / "old"
    old.mkdir()
    (old / "results.jsonl").write_bytes((store.folder / "results.jsonl").read_bytes())
    (old / "instances").symlink_to(store.folder / "instances")
    (old / HEADER).write_text(json.dumps(content))
    assert verify_store(old).ok
    content["config"]["name"] = "other"
    (old / HEADER).write_text(json.dumps(content))
    assert not verify_store(old).ok
