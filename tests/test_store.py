"""The result store: what was written comes back, a killed run loses one line, nothing is mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nco.api import generate
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import FIELDS
from nco.provenance import collect
from nco.store import (
    NewInstance,
    Record,
    Store,
    create_store,
    open_store,
    refuse_other_config,
)


def make_config(folder: Path, **changes: Any) -> BenchmarkConfig:
    values = {
        "name": "small",
        "output": folder / "store",
        "suites": [{"type": "generated", "name": "s", "problem": "cvrp", "num_customers": 5,
                    "num_instances": 3}],
        "solvers": [{"name": "near", "solver": {"solver": "nearest"}, "seeds": [0, 1],
                     "batch_size": 2}],
    }  # fmt: skip
    return parse(BenchmarkConfig, values | changes, "test")


def make_store(folder: Path) -> Store:
    singles = unbatch(generate("cvrp", 5, 3, seed=1))
    new = [NewInstance("s", f"{i}", one, "test", None) for i, one in enumerate(singles)]
    return create_store(make_config(folder), collect(), new)


def make_record(instance: str, cost: float = 1.5) -> Record:
    return Record(
        suite="s",
        instance=instance,
        solver="near",
        seed=0,
        status="ok",
        routes=[[1, 2], [3]],
        depots=[0, 0],
        cost=cost,
        feasible=True,
        wall_seconds=0.1,
        setup_seconds=0.0,
        trace=[(0.05, 1.75)],
        solver_version="test 1",
        finished="2020-01-01T00:00:00Z",
    )


def test_instances_come_back_bit_by_bit(tmp_path: Path) -> None:
    """Every field of a stored instance equals the one that went in."""
    make_store(tmp_path)
    store = open_store(tmp_path / "store")
    for entry, one in zip(
        store.header.suites["s"], unbatch(generate("cvrp", 5, 3, seed=1)), strict=True
    ):
        read = store.instance(entry)
        for name in FIELDS:
            old, new = getattr(one, name), getattr(read, name)
            assert (old is None) == (new is None), name
            assert old is None or torch.equal(old, new), name


def test_records_come_back_and_the_last_of_a_key_counts(tmp_path: Path) -> None:
    """What was appended is read again, exactly; a second line of a key replaces the first."""
    store = make_store(tmp_path)
    first, second, again = make_record("0", 0.1 + 0.2), make_record("1"), make_record("0", 9.0)
    store.append([first, second])
    assert open_store(store.folder).lines() == [first, second]
    store.append([again])
    assert store.records() == {again.key: again, second.key: second}


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_dropped(tmp_path: Path, kept: int) -> None:
    """However much of the last line was written, it is ignored, and cut off before appending."""
    store = make_store(tmp_path)
    store.append([make_record("0"), make_record("1")])
    lines = store.results_file.read_text().splitlines(keepends=True)
    store.results_file.write_text(lines[0] + lines[1][:kept])
    assert [r.instance for r in store.lines()] == ["0"]
    assert store.drop_torn_line()
    assert not store.drop_torn_line()
    store.append([make_record("2")])
    assert [r.instance for r in store.lines()] == ["0", "2"]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    """Only a kill explains a torn last line; elsewhere the message names file and line."""
    store = make_store(tmp_path)
    store.append([make_record("0"), make_record("1"), make_record("2")])
    lines = store.results_file.read_text().splitlines(keepends=True)
    store.results_file.write_text(lines[0] + lines[1].replace('"ok"', '"fine"') + lines[2])
    with pytest.raises(InputError, match=r"results\.jsonl, line 2: status"):
        store.lines()


def test_another_config_is_refused_by_name(tmp_path: Path) -> None:
    """A changed seed is refused with both values; more workers are no change."""
    store = make_store(tmp_path)
    refuse_other_config(store, make_config(tmp_path, num_workers=7, output=tmp_path / "moved"))
    suite = {"type": "generated", "name": "s", "problem": "cvrp", "num_customers": 5,
             "num_instances": 3, "seed": 4}  # fmt: skip
    with pytest.raises(InputError, match=r"suites\.0\.seed is 4, stored is 1234"):
        refuse_other_config(store, make_config(tmp_path, suites=[suite]))


def test_tasks_cover_every_run_once(tmp_path: Path) -> None:
    """3 instances x 2 seeds alone, and the same in batches of 2 and 1: twelve different keys."""
    tasks = list(make_store(tmp_path).tasks())
    keys = [key for task in tasks for key in task.keys]
    assert len(keys) == len(set(keys)) == 12
    assert sorted(len(t.instances) for t in tasks if t.batch_size == 2) == [1, 1, 2, 2]


def test_a_changed_instance_file_is_refused(tmp_path: Path) -> None:
    """One digit of one coordinate changes the checksum."""
    store = make_store(tmp_path)
    entry = store.header.suites["s"][1]
    path = store.folder / entry.file
    path.write_text(path.read_text().replace("0.", "0.1", 1))
    with pytest.raises(InputError, match="has changed since it was stored"):
        store.instance(entry)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """Opening names the missing header; creating does not write over somebody's files."""
    with pytest.raises(InputError, match="is no result store"):
        open_store(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        make_store(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["store"], "no draft is left behind"
    assert (tmp_path / "store" / "thesis.txt").read_text() == "mine"


BAD = [
    ({"workers": 2}, "workers"),
    ({"num_workers": 0}, "num_workers"),
    ({"suites": []}, "suites"),
    ({"solvers": []}, "solvers"),
    ({"solvers": [{"name": "a", "solver": {"solver": "magic"}}]}, "magic"),
    ({"solvers": [{"name": "a", "solver": {"solver": "nearest"}, "budget": {"time_limit": 0}}]},
     "solvers.0.budget.time_limit"),
    ({"solvers": [{"name": "a", "solver": {"solver": "nearest"}, "seeds": []}]},
     "solvers.0.seeds"),
    ({"solvers": [{"name": "a", "solver": {"solver": "nearest"}, "seeds": [1, 1]}]}, "repeat"),
    ({"solvers": [{"name": "a", "solver": {"solver": "nearest"}},
                  {"name": "a", "solver": {"solver": "savings"}}]}, "repeat"),
    ({"solvers": [{"name": "a", "solver": {"solver": "nearest"}, "suites": ["t"]}]}, "accepted: s"),
    ({"suites": [{"type": "generated", "name": "s", "problem": "cvrp", "num_customers": 5,
                  "num_instances": 1, "reference": {"type": "solver", "solver": "lkh"}}]},
     "accepted: a solver that runs on it, near"),
    ({"suites": [{"type": "generated", "name": "../up", "problem": "cvrp", "num_customers": 5,
                  "num_instances": 1}]}, "suites.0.name"),
    ({"suites": [{"type": "generated", "name": "s", "problem": "cvrp", "num_customers": 5,
                  "num_instances": 1, "reference": {"type": "best-known"}}]}, "reference"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), BAD)
def test_a_bad_config_is_told_where(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """Each mistake gives a message that names the place or what is accepted."""
    with pytest.raises(InputError) as error:
        make_config(tmp_path, **changes)
    assert told in str(error.value).replace("generated.", "").replace("[", ".").replace("]", "")
