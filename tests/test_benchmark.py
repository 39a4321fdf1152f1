"""Running a benchmark: resuming, failing solvers, workers, references."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from nco import benchmark_tasks
from nco.baselines.solver import Budget, UnsupportedError
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.build import build_env, build_policy
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.checker import evaluate
from nco.model_files import ModelCard, TrainedOn, save_model
from nco.parallel import run_all
from nco.store import Record, open_store
from nco.train_config import PolicyConfig


@dataclass
class Fake:
    """A route for each customer; misbehaves on the calls given by number, from 1."""

    name: str = "fake"
    calls: list[int] = field(default_factory=list)
    """The seed of every call."""
    errors: dict[int, BaseException] = field(default_factory=dict)
    routes: list[list[int]] | None = None
    """The answer to everything, right or wrong."""

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        self.calls.append(seed)
        if len(self.calls) in self.errors:
            raise self.errors[len(self.calls)]
        return [
            evaluate(
                one,
                self.routes or [[c] for c in range(1, one.num_nodes)],
                solver=self.name,
                seconds=1e-6,
            )
            for one in unbatch(instance)
        ]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Takes the place of every solver in this process."""
    solver = Fake()
    monkeypatch.setattr(benchmark_tasks, "build_any_solver", lambda _: solver)
    benchmark_tasks.built.cache_clear()
    yield solver
    benchmark_tasks.built.cache_clear()


def make_config(folder: Path, **changes: Any) -> BenchmarkConfig:
    values = {
        "name": "small",
        "output": folder / "store",
        "suites": [{"type": "generated", "name": "s", "problem": "cvrp", "num_customers": 6,
                    "num_instances": 4}],
        "solvers": [{"name": "a", "solver": {"solver": "nearest"}, "seeds": [0, 1]}],
    }  # fmt: skip
    return parse(BenchmarkConfig, values | changes, "test")


def run(config: BenchmarkConfig) -> list[Record]:
    return open_store(run_benchmark(config, progress=False)).lines()


def test_every_run_once_and_a_second_run_does_nothing(tmp_path: Path, fake: Fake) -> None:
    """4 instances x 2 seeds are 8 calls; running again calls nobody and adds no line."""
    assert len(run(make_config(tmp_path))) == 8
    assert sorted(fake.calls) == [0] * 4 + [1] * 4
    before = (tmp_path / "store" / "results.jsonl").read_bytes()
    run(make_config(tmp_path))
    assert len(fake.calls) == 8
    assert (tmp_path / "store" / "results.jsonl").read_bytes() == before


def test_resuming_does_only_what_is_missing(tmp_path: Path, fake: Fake) -> None:
    """With two lines lost and a third torn, three calls mend the store."""
    whole = run(make_config(tmp_path))
    path = tmp_path / "store" / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]) + lines[5][:30])
    fake.calls.clear()
    mended = run(make_config(tmp_path))
    assert len(fake.calls) == 3
    assert {r.key for r in mended} == {r.key for r in whole}
    assert mended[:5] == whole[:5]


def test_an_interrupted_run_keeps_what_was_done(tmp_path: Path, fake: Fake) -> None:
    """After a Ctrl-C in the fourth call, three results are there and five calls are left."""
    fake.errors = {4: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(make_config(tmp_path), progress=False)
    assert len(open_store(tmp_path / "store").lines()) == 3
    fake.errors = {}
    fake.calls.clear()
    assert len(run(make_config(tmp_path))) == 8
    assert len(fake.calls) == 5


def test_failures_are_recorded_with_their_words(tmp_path: Path, fake: Fake) -> None:
    """A crash, a refusal and a solver's exit each leave a record without a cost."""
    fake.errors = {1: RuntimeError("out of luck"), 2: UnsupportedError("no windows here")}
    first, second, *others = run(make_config(tmp_path))
    assert (first.status, first.error) == ("failed", "RuntimeError: out of luck")
    assert (second.status, second.error) == ("unsupported", "no windows here")
    assert first.cost is second.cost is None
    assert {r.status for r in others} == {"ok"}


def test_the_checker_has_the_last_word(tmp_path: Path, fake: Fake) -> None:
    """An answer that leaves out customers is recorded as infeasible, with the reason."""
    fake.routes = [[1, 2]]
    for record in run(make_config(tmp_path)):
        assert record.status == "infeasible"
        assert not record.feasible
        assert len(record.violations) == 4, "customers 3 to 6"


def test_a_timeout_is_recorded(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that never comes back is stopped."""

    def forever(*_: object) -> list[Solution]:
        while True:
            pass

    monkeypatch.setattr(Fake, "solve", forever)
    entry = {"name": "a", "solver": {"solver": "nearest"}, "timeout": 0.05}
    records = run(make_config(tmp_path, solvers=[entry]))
    assert [r.status for r in records] == ["timeout"] * 4
    assert all(0.05 <= r.wall_seconds < 2 for r in records)


def test_batches_are_runs_of_their_own(tmp_path: Path, fake: Fake) -> None:
    """4 instances alone, then batches of 3 and 1; all lines of a batch carry its seconds."""
    entry = {"name": "a", "solver": {"solver": "nearest"}, "batch_size": 3}
    records = run(make_config(tmp_path, solvers=[entry]))
    batches = [r for r in records if r.batch_size == 3]
    assert [r.batch for r in batches] == [0, 0, 0, 1]
    assert len({r.wall_seconds for r in batches}) == 2
    assert [r.cost for r in batches] == [r.cost for r in records if r.batch_size == 1]


def test_workers_change_nothing_but_the_time(tmp_path: Path) -> None:
    """Two processes store the same routes and costs as this one."""
    solvers = [
        {"name": n, "solver": {"solver": n}, "batch_size": 2} for n in ("nearest", "savings")
    ]
    serial = run(make_config(tmp_path / "1", solvers=solvers))
    parallel = run(make_config(tmp_path / "2", solvers=solvers, num_workers=2))

    def facts(records: list[Record]) -> dict[Any, Any]:
        return {
            r.key: (r.status, r.error, r.routes, r.depots, r.cost, r.violations) for r in records
        }

    assert len(serial) == 16
    assert facts(parallel) == facts(serial)


def test_a_worker_that_dies_costs_one_result(tmp_path: Path) -> None:
    """Of ten tasks one kills its process; the nine others have their results."""

    def fragile(number: int) -> int:
        if number == 3:
            os._exit(1)
        return number * number

    results = dict(run_all(fragile, list(range(10)), 2, -1))
    assert results == {n: -1 if n == 3 else n * n for n in range(10)}


def test_references_are_costed_anew(tmp_path: Path, shared: Path, fake: Fake) -> None:
    """X-n101-k25's published best costs 27591 by our checker too."""
    path = shared / "instances" / "cvrp" / "X-n101-k25.vrp"
    suite = {
        "type": "files",
        "name": "x",
        "paths": [str(path)],
        "reference": {"type": "best-known"},
    }
    store = open_store(run_benchmark(make_config(tmp_path, suites=[suite]), progress=False))
    reference = store.header.suites["x"][0].reference
    assert reference is not None
    assert reference.cost == 27591
    assert reference.routes is not None
    assert len(reference.routes) >= 25


def test_a_reference_of_another_rounding_is_refused(tmp_path: Path, shared: Path) -> None:
    """The same file without rounding does not have the cost that its solution claims."""
    path = shared / "instances" / "cvrp" / "X-n101-k25.vrp"
    suite = {"type": "files", "name": "x", "paths": [str(path)], "rounding": "none",
             "reference": {"type": "best-known"}}  # fmt: skip
    with pytest.raises(InputError, match=r"claims cost 27591.*same objective and rounding"):
        run_benchmark(make_config(tmp_path, suites=[suite]), progress=False)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ({"type": "files", "paths": ["no/such/*.vrp"]}, r"no file fits 'no/such/\*\.vrp'"),
        ({"type": "files", "paths": []}, "has no instance"),
        ({"type": "generated", "problem": "knapsack", "num_customers": 5, "num_instances": 1},
         "knapsack"),
        ({"type": "generated", "problem": "ovrp", "num_customers": 20, "num_instances": 1,
          "protocol": "kool"}, "accepted: tsp, cvrp"),
    ],
)  # fmt: skip
def test_bad_suites_are_refused_before_anything_is_written(
    tmp_path: Path, suite: dict[str, Any], told: str
) -> None:
    """The message names what is wrong, and no store appears."""
    with pytest.raises(InputError, match=told):
        run_benchmark(make_config(tmp_path, suites=[{"name": "s", **suite}]), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path, fake: Fake) -> None:
    """A file where the folder's parent should be gives one clear message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"output .*file/store cannot be written"):
        run_benchmark(make_config(tmp_path, output=tmp_path / "file" / "store"), progress=False)


def test_a_trained_model_runs_alone_and_in_batches(tmp_path: Path) -> None:
    """Both ways give the same greedy routes; the version tells the weights; a model that does not
    fit is recorded as unsupported."""
    policy = {"type": "pomo", "dim": 16, "num_heads": 2, "num_layers": 1, "hidden": 16}
    config = TypeAdapter(PolicyConfig).validate_python(policy)
    trained = TrainedOn(
        num_customers=6, distribution="uniform", instances=0, hardware="none", seconds=0.0
    )
    card = ModelCard(
        name="tiny", problem="cvrp", policy=config, trained_on=trained, metrics={}, versions={}
    )
    save_model(tmp_path / "model", build_policy(config, build_env("cvrp")).eval(), card)
    suites = [
        {"type": "generated", "name": p, "problem": p, "num_customers": 6, "num_instances": 3}
        for p in ("cvrp", "tsp")
    ]
    entry = {"name": "a", "solver": {"solver": "model", "path": str(tmp_path / "model")},
             "batch_size": 3}  # fmt: skip
    records = run(make_config(tmp_path, suites=suites, solvers=[entry]))
    alone = [r for r in records if (r.suite, r.batch_size) == ("cvrp", 1)]
    batch = [r for r in records if (r.suite, r.batch_size) == ("cvrp", 3)]
    assert [r.status for r in alone + batch] == ["ok"] * 6
    assert [r.routes for r in alone] == [r.routes for r in batch]
    assert all(re.fullmatch(r"tiny, weights [0-9a-f]{10}", r.solver_version) for r in alone)
    assert {r.status for r in records if r.suite == "tsp"} == {"unsupported"}


@pytest.mark.parametrize(
    ("solver", "told"),
    [
        ({"solver": "model", "path": "no-such-model"}, "no-such-model: no such model"),
        ({"solver": "hgs"}, r"pip install nco-routing\[hgs\]"),
    ],
)
def test_a_solver_that_is_not_there_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solver: dict[str, str], told: str
) -> None:
    """A wrong path or a missing package is told with the solver's place, and leaves no store."""
    benchmark_tasks.built.cache_clear()
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "hybgensea" else there(name)
    )
    solvers = [{"name": "b", "solver": {"solver": "nearest"}}, {"name": "a", "solver": solver}]
    with pytest.raises(InputError, match=rf"solvers\.1 \(a\): .*{told}"):
        run(make_config(tmp_path, solvers=solvers))
    assert not list(tmp_path.iterdir())


def test_progress_goes_to_standard_error(
    tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output stays free for the report's path that the command line prints."""
    run_benchmark(make_config(tmp_path))
    told = capsys.readouterr()
    assert told.out == ""
    assert "8/8 runs" in told.err
