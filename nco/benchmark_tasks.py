"""The work of a benchmark, as it runs in a worker process.

A task carries the files of its instances rather than the instances: what is solved is what the
store holds.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from pydantic import TypeAdapter

from nco.baselines.solver import Solver, UnsupportedError
from nco.data.instance import Instance, collate
from nco.data.solution import Solution
from nco.provenance import package_version
from nco.solver_config import SolverConfig, build_solver
from nco.store import Status, Task

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """What a solver gave back for one instance, not yet judged."""

    routes: list[list[int]]
    depots: list[int]
    trace: list[tuple[float, float]]


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    status: Status
    """``ok``: there is one answer an instance. Whether they are feasible is for the parent."""
    error: str | None
    answers: tuple[Answer, ...]
    wall_seconds: float
    """Of one instance alone as its `Solution` tells; of a batch, and of a failure, the call's."""
    setup_seconds: float
    """What the call took beyond that, with building the solver: imports, weights, processes."""
    cpu_seconds: float | None


DIED = Outcome(
    "failed", "the worker process died (killed, out of memory or crashed)", (), 0, 0, None
)


PACKAGES = {
    "pyvrp": "pyvrp",
    "ortools": "ortools",
    "hgs": "hybgensea",
    "fast-tsp": "fast-tsp",
    "elkai": "elkai",
}
"""The distribution that does the work of a solver; the others are our own code."""


def solver_version(config: SolverConfig) -> str:
    """The package that does a solver's work, with its version."""
    package = PACKAGES.get(config.solver, "nco-routing")
    return f"{package} {package_version(package) or 'not installed'}"


class _TimeoutReached(TimeoutError):
    """The task's time is up."""


@functools.lru_cache(maxsize=16)
def _solver(config: str) -> Solver:
    """The solver of a configuration in JSON, built once a process."""
    return build_solver(TypeAdapter(SolverConfig).validate_json(config))


def run_task(task: Task) -> Outcome:
    """Solve; every error of the solver becomes part of the outcome.

    Raises:
        InputError: an instance file is missing or has changed.
    """
    instances = [task.store.instance(entry) for entry in task.instances]
    timeout = None if task.entry.timeout is None else task.entry.timeout * len(instances)
    started = time.perf_counter()
    try:
        with _one_thread():
            return _solve(task, instances, timeout)
    except _TimeoutReached:
        status, error = "timeout", f"stopped after {timeout:g} s"
    except UnsupportedError as problem:
        status, error = "unsupported", str(problem)
    except Exception as problem:
        status, error = "failed", f"{type(problem).__name__}: {problem}"
    return Outcome(status, error, (), time.perf_counter() - started, 0.0, None)


def _solve(task: Task, instances: list[Instance], timeout: float | None) -> Outcome:
    alone = len(instances) == 1
    budget = task.entry.budget.build()
    started = time.perf_counter()
    solver = _solver(task.entry.solver.model_dump_json())
    if not alone:
        # what is done once in a process (compiling, allocating) is no part of a throughput
        solver.solve(instances[0], budget, task.seed)
    setup = time.perf_counter() - started
    batch = collate(instances)
    started, cpu_started = time.perf_counter(), cpu_seconds()
    with _time_limit(timeout):
        solutions = solver.solve(batch, budget, task.seed)
    call, cpu = time.perf_counter() - started, _difference(cpu_started, cpu_seconds())
    answers = _answers(solutions, len(instances))
    # a first call also starts processes and imports packages; that is not solving
    wall = min(solutions[0].seconds, call) if alone else call
    status, error = "ok", None
    if timeout is not None and call > timeout:
        status, error = "timeout", f"came back after {call:.3g} s; the timeout is {timeout:g} s"
    return Outcome(status, error, answers, wall, setup + call - wall, cpu)


def _answers(solutions: list[Solution], count: int) -> tuple[Answer, ...]:
    if len(solutions) != count:
        raise ValueError(f"the solver gave {len(solutions)} solutions for {count} instances")
    # plain numbers: some solvers give numpy's, which JSON does not know
    return tuple(
        Answer(
            routes=[[int(node) for node in route] for route in s.routes],
            depots=[int(depot) for depot in s.depots],
            trace=[(float(seconds), float(cost)) for seconds, cost in s.trace],
        )
        for s in solutions
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def cpu_seconds() -> float | None:
    """CPU time so far of this process and of its descendants; None where the system has no /proc.

    Solvers run in processes that stay alive, which `os.times` does not count.
    """
    times = os.times()
    total = times.user + times.system + times.children_user + times.children_system
    ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0
    pending = [os.getpid()]
    try:
        while pending:
            process = Path("/proc") / str(pending.pop())
            if process.name != str(os.getpid()):
                # after the name in brackets; fields 14 to 17 of proc(5)
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                total += sum(int(field) for field in fields[11:15]) / ticks
            for thread in (process / "task").iterdir():
                pending += [int(child) for child in (thread / "children").read_text().split()]
    except OSError:
        return None
    return total


def _difference(start: float | None, end: float | None) -> float | None:
    # below 0 where a process vanished unnoticed in between
    return None if start is None or end is None or end < start else end - start


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise in the block when the time is up.

    A signal does it, so native code is only interrupted where it comes back to Python; the caller
    must look at the clock as well.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TimeoutReached

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def run_all(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int, died: Result
) -> Iterator[tuple[Item, Result]]:
    """Each item with ``function`` of it, as they arrive, from processes with one thread each.

    With one worker everything runs in this process. Where a worker process dies, the items that
    may have killed it run again one at a time, and the one that kills again gives ``died``.
    """
    pending = dict(enumerate(items))
    alone = 0
    while pending:
        # dispatched first, so among them is the one that killed
        chosen = list(pending.items())[: 1 if alone else None]
        workers = 2 if alone and num_workers > 1 else num_workers
        with parallel_config(backend="loky", inner_max_num_threads=1):
            parallel = Parallel(n_jobs=workers, return_as="generator_unordered")
        calls = (delayed(_indexed)(function, index, item) for index, item in chosen)
        try:
            for index, result in cast("Iterator[tuple[int, Result]]", parallel(calls)):
                yield pending.pop(index), result
            alone = max(0, alone - 1)
        except TerminatedWorkerError:
            if alone:
                yield pending.pop(chosen[0][0]), died
            alone = 0 if alone else 2 * num_workers


def _indexed(function: Callable[[Item], Result], index: int, item: Item) -> tuple[int, Result]:
    return index, function(item)
