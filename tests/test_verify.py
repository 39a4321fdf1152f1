"""Verification finds every kind of tampering, and nothing where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nco.api import generate
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.files import write, write_solution
from nco.data.json_format import write_json_solutions
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate
from nco.provenance import collect
from nco.store import NewInstance, Record, Reference, create_store
from nco.verify import judged, verify_solution, verify_store


def solved(seed: int) -> Solution:
    """Two routes of an instance with six customers, which fit into two vehicles of 30."""
    instance = generate("cvrp", 6, 1, seed)
    instance.linehaul[:, 1:] = 9
    instance.capacity[:] = 30
    return evaluate(instance, [[1, 2, 3], [4, 5, 6]], solver="test", seconds=0.5)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three instances with references, one feasible and one infeasible record each, one failed."""
    config = {
        "name": "small",
        "output": tmp_path / "store",
        "suites": [{"type": "files", "name": "s", "paths": []}],
        "solvers": [{"name": name, "solver": {"solver": "nearest"}}
                    for name in ("good", "bad", "failing")],
    }  # fmt: skip
    new, records = [], []
    for index in range(3):
        solution = solved(index)
        reference = Reference(source="test", cost=solution.cost, routes=solution.routes)
        new.append(NewInstance("s", f"{index}", solution.instance, "test", reference))
        for solver, routes in (("good", solution.routes), ("bad", [[1, 2, 3, 4, 5]]),
                               ("failing", None)):  # fmt: skip
            record = Record(
                suite="s",
                instance=f"{index}",
                solver=solver,
                seed=0,
                status="failed" if routes is None else "ok",
                error="it failed" if routes is None else None,
                routes=routes,
                depots=None if routes is None else [0] * len(routes),
                wall_seconds=0.5,
                setup_seconds=0.0,
                solver_version="test 1",
                finished="2020-01-01T00:00:00Z",
            )
            records.append(judged(record, solution.instance))
    made = create_store(parse(BenchmarkConfig, config, "test"), collect(), new)
    made.append(records)
    return made.folder


def edit_record(store: Path, solver: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the second instance's record of a solver."""
    path = store / "results.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(next(r for r in records if (r["solver"], r["instance"]) == (solver, "1")))
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


def test_an_honest_store_has_no_mismatch(store: Path) -> None:
    """Nine records, feasible, infeasible and failed ones, are all as they say; the six that have
    routes are the solutions recomputed."""
    report = verify_store(store)
    assert (report.checked, report.missing, report.mismatches) == (6, 0, [])
    assert report.ok


TAMPERING: list[tuple[str, dict[str, Any], str]] = [
    ("good", {"cost": 1.0}, "cost is 1.0, recomputed"),
    ("good", {"cost": None}, "cost is None, recomputed"),
    ("good", {"routes": [[1, 2, 3], [4, 5]]}, "feasible is True, recomputed False"),
    ("good", {"routes": [[2, 1, 3], [4, 5, 6]]}, "cost is"),
    ("bad", {"feasible": True}, "feasible is True, recomputed False"),
    ("bad", {"status": "ok"}, "status is 'ok', recomputed 'infeasible'"),
    ("bad", {"violations": []}, "violations is []"),
    ("failing", {"cost": 3.0}, "cost is 3.0, recomputed None"),
    ("failing", {"feasible": True}, "feasible is True"),
    ("failing", {"status": "ok"}, "status is 'ok', but there are no routes"),
    ("good", {"suite": "t"}, "does not ask for this run"),
    ("good", {"seed": 5}, "does not ask for this run"),
]


@pytest.mark.parametrize(("solver", "change", "told"), TAMPERING)
def test_a_tampered_record_is_found(
    store: Path, solver: str, change: dict[str, Any], told: str
) -> None:
    """Each change of one field of one record is a mismatch that names the line."""
    edit_record(store, solver, lambda record: record.update(change))
    found = [text for text in verify_store(store).mismatches if told in text]
    assert found
    assert "line " in found[0]


def test_a_tampered_instance_is_found(store: Path) -> None:
    """More capacity on the disk than was solved for."""
    path = store / "instances" / "s" / "1.json"
    path.write_text(path.read_text().replace('"capacity": 30', '"capacity": 90'))
    mismatches = verify_store(store).mismatches
    assert any("has changed since it was stored" in text for text in mismatches)


def test_an_instance_changed_with_its_checksum_is_found(store: Path) -> None:
    """Who mends the checksum in the header breaks the header's own."""
    path = store / "benchmark.json"
    header = json.loads(path.read_text())
    header["suites"]["s"][1]["sha256"] = "0" * 64
    path.write_text(json.dumps(header))
    assert any("checksum does not fit" in text for text in verify_store(store).mismatches)


def test_a_tampered_reference_is_found(store: Path) -> None:
    """A higher reference would make every gap smaller."""
    path = store / "benchmark.json"
    header = json.loads(path.read_text())
    header["suites"]["s"][1]["reference"]["cost"] *= 1.5
    path.write_text(json.dumps(header))
    assert any("reference cost is" in text for text in verify_store(store).mismatches)


def test_a_removed_record_is_counted(store: Path) -> None:
    """Bad results cannot be dropped in silence."""
    path = store / "results.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert verify_store(store).missing == 1


@pytest.mark.parametrize("suffix", [".json", ".sol"])
def test_solution_files(tmp_path: Path, suffix: str) -> None:
    """A written solution verifies against its instance; with another cost it does not."""
    solution = solved(1)
    file, instance = tmp_path / f"a{suffix}", tmp_path / "i.json"
    write_solution(solution, file)
    write(solution.instance, instance)
    assert verify_solution(file, instance).mismatches == []
    claimed = f"{solution.cost!r}"
    file.write_text(file.read_text().replace(claimed, "1.5"))
    report = verify_solution(file, instance)
    assert report.mismatches == [f"cost is 1.5, recomputed {solution.cost!r}"]


def test_several_solutions_carry_their_instances(tmp_path: Path) -> None:
    """Our JSON is verified by itself; the mismatch names the solution."""
    first, second = solved(1), solved(2)
    file = tmp_path / "two.json"
    write_json_solutions([first, second], file)
    assert verify_solution(file).checked == 2
    data = json.loads(file.read_text())
    data["solutions"][1]["routes"] = [[1, 2, 3]]
    data["solutions"][1]["depots"] = [0]
    file.write_text(json.dumps(data))
    mismatches = verify_solution(file).mismatches
    assert mismatches
    assert all(text.startswith("solution 2: ") for text in mismatches)


def test_an_infeasible_sol_file_is_a_mismatch(tmp_path: Path) -> None:
    """A .sol file cannot say that it is infeasible, so it claims that it is not."""
    solution = solved(1)
    write(solution.instance, tmp_path / "i.json")
    cost = check_routes(solution.instance, [[1, 2]]).cost
    (tmp_path / "a.sol").write_text(f"Route #1: 1 2\nCost {cost!r}\n")
    assert len(verify_solution(tmp_path / "a.sol", tmp_path / "i.json").mismatches) == 4


def test_a_sol_file_needs_its_instance(tmp_path: Path) -> None:
    """The message asks for the instance file; as many instances as solutions are needed."""
    write_solution(solved(1), tmp_path / "a.sol")
    with pytest.raises(InputError, match="give the instance file"):
        verify_solution(tmp_path / "a.sol")
    write(generate("cvrp", 6, 2), tmp_path / "i.json")
    assert len(unbatch(generate("cvrp", 6, 2))) == 2
    with pytest.raises(InputError, match="has 2 instances"):
        verify_solution(tmp_path / "a.sol", tmp_path / "i.json")
