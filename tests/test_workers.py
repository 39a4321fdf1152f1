"""Solvers in worker processes: wall limits, several at once, and processes that fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nco.baselines.fast_tsp_solver import FastTSPSolver
from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.solver import (
    Budget,
    SolveFailed,
    Solver,
)
from nco.baselines.workers import Routes, Search, solve_in_workers
from tests.small import instances


@pytest.mark.parametrize(
    ("solver", "problem"),
    [(PyVRPSolver(), "cvrp"), (ORToolsSolver(), "cvrp"), (FastTSPSolver(), "tsp")],
    ids=["pyvrp", "ortools", "fast-tsp"],
)
def test_wall_limit_is_kept(solver: Solver, problem: str) -> None:
    """0.5 s on 100 customers: measured from outside, set-up included, at most 0.5 s more."""
    single = instances(problem, 100, 1)
    solver.solve(single, Budget(0.5), 0)  # the process starts
    start = time.monotonic()
    (found,) = solver.solve(single, Budget(0.5), 0)
    outside = time.monotonic() - start
    assert 0.4 < found.seconds < 1.0
    assert found.seconds <= outside
    assert all(0 < at <= found.seconds for at, _ in found.trace)


def test_workers_run_side_by_side() -> None:
    """Four instances of 1 s on two workers take less than the four seconds they report."""
    batch = instances("tsp", 30, 4)
    solver = FastTSPSolver(num_workers=2)
    solver.solve(batch[:2], Budget(0.1), 0)  # both processes start
    start = time.monotonic()
    found = solver.solve(batch, Budget(1.0), 0)
    outside = time.monotonic() - start
    assert sum(one.seconds for one in found) > 3.6
    assert outside < 3.3
    serial = FastTSPSolver().solve(batch, Budget(0.1), 0)
    assert [one.feasible for one in serial] == [True] * 4


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processes tied to a core")
def test_hgs_keeps_a_wall_limit_on_a_busy_core() -> None:
    """It counts CPU seconds, of which it gets half beside a process that never rests: without
    regard to that it would take twice its time."""
    tied = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    timed = (
        "from nco import generate, solve\n"
        "print(solve(generate('cvrp', 60), solver='hgs', time_limit=2, progress=False)[0].seconds)"
    )
    busy = subprocess.Popen([sys.executable, "-c", tied + "while True: pass"])
    try:
        told = subprocess.run(
            [sys.executable, "-c", tied + timed], capture_output=True, text=True, check=True
        )
    finally:
        busy.kill()
        busy.wait()
    assert float(told.stdout) < 3


def _hang(_problem: int, search: Search) -> Search:
    time.sleep(60)
    return search


def _die(_problem: int, search: Search) -> Search:
    os._exit(3)


def _one_by_one(problem: int, search: Search) -> Search:
    search.improved(Routes([[i] for i in range(1, problem)]))
    return search


def test_a_hanging_or_dying_worker_is_an_error() -> None:
    """Killed soon after limit and grace, named, and later calls work again."""
    instance = instances("cvrp", 8, 1)

    def solve(search: object, limit: float) -> list[object]:
        return solve_in_workers(  # type: ignore[return-value]
            "sleeper",
            instance,
            Budget(limit),
            0,
            prepare=lambda single: single.num_nodes,
            search=search,  # type: ignore[arg-type]
            grace=0.5,
        )

    solve(_one_by_one, 30.0)
    start = time.monotonic()
    with pytest.raises(SolveFailed, match="sleeper was killed"):
        solve(_hang, 0.5)
    assert time.monotonic() - start < 15
    with pytest.raises(SolveFailed, match="process of sleeper died"):
        solve(_die, 30.0)
    assert len(solve(_one_by_one, 30.0)) == 1


def test_a_plain_script_can_solve(tmp_path: Path) -> None:
    """No ``if __name__ == '__main__'`` is needed, stdout stays clean, and the process ends."""
    script = tmp_path / "plain.py"
    script.write_text(
        "from nco.baselines.pyvrp_solver import PyVRPSolver\n"
        "from nco.baselines.solver import Budget\n"
        "from nco.data.instance import Instance\n"
        "square = Instance.tsp(coords=[[0, 0], [1, 1], [0, 1], [1, 0]])\n"
        "print(PyVRPSolver().solve(square, Budget(iterations=20), 0)[0].cost)\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert float(done.stdout) == 4.0
