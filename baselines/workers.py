"""Runs solvers in worker processes of their own, measured and, if need be, killed from outside.

Workers are started by loky, so a user's script needs no ``if __name__ == "__main__"``. They are
kept for later calls, each with one thread.
"""

from __future__ import annotations

import importlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from nco.baselines.solver import Budget, SolveFailed
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate

Problem = TypeVar("Problem")

GRACE = 10.0
"""Seconds beyond the time limit after which a worker is killed: far more than solvers overrun by
on a busy machine, so that only a hanging one is hit."""

TRACE_STEP = 0.01
TRACE_GROWTH = 1.05
"""Of the improvements within 10 ms, or within 5 % of the time elapsed, a trace keeps the last."""

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


@dataclass(frozen=True)
class Routes:
    """Routes as `nco.data.solution.Solution` has them."""

    routes: list[list[int]]
    depots: list[int] | None = None
    vehicles: list[int] | None = None


@dataclass
class Search:
    """What a worker knows of its time, and what it found.

    Times are of ``time.monotonic``, which all processes of a machine share.
    """

    deadline: float | None
    iterations: int | None
    seed: int
    best: Routes | None = None
    improvements: list[tuple[float, Routes]] = field(default_factory=list)

    def seconds_left(self) -> float:
        """Until the deadline; infinite where there is none."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()

    def improved(self, found: Routes) -> None:
        """Note a new best solution."""
        self.best = found
        self.improvements.append((time.monotonic(), found))


class _Workers:
    """Idle worker processes; one process holds one solver's run at a time."""

    def __init__(self) -> None:
        self._idle: list[ProcessPoolExecutor] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self) -> Iterator[ProcessPoolExecutor]:
        """An idle worker, or a new one; given back only if all went well."""
        # loky tells of a grown process that it replaces; that is as it should be
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = ProcessPoolExecutor(max_workers=1, env=ONE_THREAD)
        try:
            yield worker
        except (TimeoutError, BrokenProcessPool, KeyboardInterrupt):
            worker.shutdown(wait=True, kill_workers=True)
            raise
        except BaseException:
            self._keep(worker)
            raise
        self._keep(worker)

    def _keep(self, worker: ProcessPoolExecutor) -> None:
        with self._lock:
            self._idle.append(worker)


_WORKERS = _Workers()


def _warm_up(module: str) -> None:
    importlib.import_module(module)


def solve_in_workers(
    name: str,
    instance: Instance,
    budget: Budget,
    seed: int,
    *,
    prepare: Callable[[Instance], Problem],
    search: Callable[[Problem, Search], Search],
    num_workers: int = 1,
    grace: float = GRACE,
) -> list[Solution]:
    """One solution for each instance of the batch, each found by ``search`` in a worker.

    The wall time is measured here. It starts before ``prepare`` and ends when the routes are
    back; starting the process and importing the solver's module are not in it.

    Args:
        name: of the solver, for messages and tables.
        prepare: makes of one instance (B = 1) what ``search`` gets; must be cheap to send.
        search: a module-level function; keeps `Search.deadline` and sets `Search.best`.
        num_workers: processes that work on instances of the batch at the same time.
        grace: seconds beyond the limit after which the worker is killed.

    Raises:
        SolveFailed: no feasible solution, or the worker overran the limit and grace, or it died.
    """

    singles = unbatch(instance)

    def run(single: Instance) -> Outcome:
        return _run_one(name, single, budget, seed, prepare, search, grace)

    if num_workers == 1:
        outcomes = [run(single) for single in singles]
    else:
        threads = ThreadPoolExecutor(num_workers)
        try:
            outcomes = list(threads.map(run, singles))
        finally:
            # after a failure the instances that wait are not begun
            threads.shutdown(cancel_futures=True)
    return [judge(name, one, out) for one, out in zip(singles, outcomes, strict=True)]


@dataclass(frozen=True)
class Outcome:
    """What a solver found for one instance, not yet judged."""

    best: Routes
    improvements: list[tuple[float, Routes]]
    """Seconds since it began, and each new best solution."""
    seconds: float


def _run_one(
    name: str,
    single: Instance,
    budget: Budget,
    seed: int,
    prepare: Callable[[Instance], Problem],
    search: Callable[[Problem, Search], Search],
    grace: float,
) -> Outcome:
    limit = budget.time_limit
    try:
        with _WORKERS.borrow() as worker:
            # twice: loky may replace a grown process after any call, so after the first of two
            for _ in range(2):
                worker.submit(_warm_up, search.__module__).result()
            start = time.monotonic()
            task = Search(None if limit is None else start + limit, budget.iterations, seed)
            job = worker.submit(search, prepare(single), task)
            done = job.result(None if limit is None else task.seconds_left() + grace)
            seconds = time.monotonic() - start
    except TimeoutError as error:
        raise SolveFailed(
            f"{name} was killed: it still ran {grace:g} s after its time limit of {limit:g} s"
        ) from error
    except BrokenProcessPool as error:
        raise SolveFailed(f"the process of {name} died: {error}") from error
    if done.best is None:
        limits = ("time limit", limit, " s"), ("iteration limit", budget.iterations, "")
        told = ", ".join(
            f"{what} {most:g}{unit}" for what, most, unit in limits if most is not None
        )
        raise SolveFailed(f"{name} found no feasible solution in {seconds:.3g} s ({told})")
    improvements = [(at - start, found) for at, found in done.improvements]
    return Outcome(done.best, improvements, seconds)


def judge(name: str, single: Instance, outcome: Outcome) -> Solution:
    """The solution and its trace in our own costs."""
    trace: list[tuple[float, float]] = []
    for at, found in _thinned(outcome.improvements):
        report = check_routes(single, found.routes, found.depots, vehicles=found.vehicles)
        # the solver's rounded costs may call better what is not
        if report.feasible and (not trace or report.cost < trace[-1][1]):
            trace.append((at, report.cost))
    return evaluate(
        single,
        outcome.best.routes,
        solver=name,
        seconds=outcome.seconds,
        depots=outcome.best.depots,
        vehicles=outcome.best.vehicles,
        trace=trace,
    )


def _thinned(improvements: list[tuple[float, Routes]]) -> list[tuple[float, Routes]]:
    kept: list[tuple[float, Routes]] = []
    opened = float("-inf")
    for at, found in improvements:
        if kept and at < max(opened + TRACE_STEP, opened * TRACE_GROWTH):
            kept[-1] = at, found
        else:
            kept.append((at, found))
            opened = at
    return kept
