"""The work of a benchmark, as it runs in a worker process.

A task carries the files of its instances rather than the instances: what is solved is what the
store holds.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import Tensor

from nco.baselines.dispatching import DayStrategy
from nco.baselines.solver import Solver, UnsupportedError
from nco.baselines.walkers import PlanWalker, Walker
from nco.benchmark_config import (
    BenchmarkSolver,
    ModelConfig,
    WalkingConfig,
    decided_on_the_way,
    solver_on,
)
from nco.data.batching import collate
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.solution import Solution
from nco.data.walk_text import packed
from nco.day_results import dispatch_days
from nco.dispatch_model import load_dispatcher
from nco.provenance import package_version
from nco.scenario_config import build_any_solver
from nco.store import Status, Task
from nco.strategy_config import LearnedConfig, StrategyConfig, build_strategy
from nco.walk_results import walk_through
from nco.walker_config import ReoptimisationConfig


@dataclass(frozen=True)
class Answer:
    """What a solver gave back for one instance, not yet judged."""

    routes: list[list[int]] | None = None
    depots: list[int] | None = None
    trace: list[tuple[float, float]] | None = None
    vehicles: list[int] | None = None
    days: list[list[list[list[int]]]] | None = None
    """Of a strategy for days of requests, in place of all that."""
    walks: str | None = None
    """Of what decides on the way, likewise; as `nco.data.walk_text` packs them."""
    plan_scenarios: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a task."""

    status: Status
    """``ok``: there is one answer an instance. Whether they are feasible is for the parent."""
    error: str | None
    answers: tuple[Answer, ...]
    wall_seconds: float
    """Of one instance alone as its `Solution` tells, or of one of its days; of a batch, and of a
    failure, the call's."""
    setup_seconds: float
    """What the call took beyond that, with building the solver: imports, weights, processes."""
    cpu_seconds: float | None
    version: str
    """Of the solver."""


UNKNOWN = "version unknown"
"""Of a solver that could not be built or took its process down."""
DIED = Outcome(
    "failed",
    "the worker process died (killed, out of memory or crashed)",
    (),
    0.0,
    0.0,
    None,
    UNKNOWN,
)


class _TimeoutReached(TimeoutError):
    """The task's time is up."""


@dataclass
class Built:
    """A solver in this process."""

    solver: Solver | DayStrategy | Walker
    version: str
    """Of what does its work: a package, or weights by their digest."""
    warm: bool = False
    """True when it has solved something."""


@functools.lru_cache(maxsize=16)
def built(config: str, on_the_way: str | None) -> Built:
    """The solver of a configuration in JSON, built once a process.

    Args:
        on_the_way: the problem of its suite, where that is decided on the way.

    Raises:
        InputError: its package is not installed, there is no such model, or it is not one of the
            suite's problem.
    """
    return _build(TypeAdapter(BenchmarkSolver).validate_json(config), on_the_way)


def _build(config: BenchmarkSolver, on_the_way: str | None) -> Built:
    if on_the_way is not None:
        assert isinstance(config, WalkingConfig)  # the configuration of the benchmark says so
        return _built_walker(config, on_the_way)
    if isinstance(config, ReoptimisationConfig):
        raise InputError(
            f"reoptimisation goes through worlds; accepted: suites of {', '.join(config.problems)}"
        )
    if not isinstance(config, ModelConfig):
        package = config.package or "nco-routing"
        version = f"{package} {package_version(package)}"
        if isinstance(config, LearnedConfig):
            # PyVRP is imported only where it is needed
            from nco.baselines.dispatch_routes import ChooseThenRoute

            choice = load_dispatcher(config.path)
            weights = _digest(choice.policy.state_dict())
            return Built(ChooseThenRoute(choice), f"{choice.name}, weights {weights}, {version}")
        if isinstance(config, StrategyConfig):
            return Built(build_strategy(config), version)
        return Built(build_any_solver(config), version)
    from nco.model_solver import model_solver

    solver = model_solver(config)
    version = f"{solver.name}, weights {_digest(solver.policy.state_dict())}"
    return Built(solver if config.search is None else solver.searching(config.search), version)


def _built_walker(config: WalkingConfig, problem: str) -> Built:
    # models and PyVRP are imported only where they are needed
    from nco.neural_solver import NeuralSolver
    from nco.policy_walker import PolicyWalker
    from nco.walker_build import build_walker

    walker = build_walker(config, problem)
    planner = walker.solver if isinstance(walker, PlanWalker) else walker
    if isinstance(planner, NeuralSolver | PolicyWalker):
        weights = _digest(planner.policy.state_dict())
        return Built(walker, f"{planner.name}, weights {weights}")
    planner = config.by if isinstance(config, ReoptimisationConfig) else config
    package = getattr(planner, "package", None) or "nco-routing"
    return Built(walker, f"{package} {package_version(package)}")


def _digest(weights: Mapping[str, Tensor]) -> str:
    """What tells these weights from others."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:10]


def run_task(task: Task) -> Outcome:
    """Solve; every error of the solver becomes part of the outcome.

    Raises:
        InputError: an instance file is missing or has changed.
    """
    instances = [task.store.instance(entry) for entry in task.instances]
    timeout = None if task.entry.timeout is None else task.entry.timeout * len(instances)
    version = UNKNOWN
    started = time.perf_counter()
    try:
        suite = task.store.header.config.suite(task.suite)
        solver = solver_on(suite, task.entry)
        with _one_thread():
            own = built(solver.model_dump_json(), decided_on_the_way(suite))
            version = own.version
            if isinstance(own.solver, DayStrategy):
                return _dispatch(own.solver, own.version, task, instances, timeout, started)
            if isinstance(own.solver, Walker):
                return _walk(own.solver, own, task, instances, timeout, started)
            return _solve(own.solver, own, task, instances, timeout, started)
    except _TimeoutReached:
        status, error = "timeout", f"stopped after {timeout:g} s"
    except UnsupportedError as problem:
        status, error = "unsupported", str(problem)
    except Exception as problem:
        status = "out-of-memory" if _no_memory(problem) else "failed"
        error = f"{type(problem).__name__}: {problem}"
    return Outcome(status, error, (), time.perf_counter() - started, 0.0, None, version)


def _no_memory(problem: Exception) -> bool:
    """Whether memory was what was missing; on the CPU torch tells so in words only."""
    return isinstance(problem, MemoryError | torch.OutOfMemoryError) or (
        isinstance(problem, RuntimeError) and "can't allocate memory" in str(problem)
    )


def _dispatch(
    strategy: DayStrategy,
    version: str,
    task: Task,
    instances: list[Instance],
    timeout: float | None,
    began: float,
) -> Outcome:
    """All days of one instance."""
    (one,) = instances
    test = task.store.header.config.suite(task.suite).scenarios
    if one.dispatch is None or test is None:
        raise UnsupportedError(
            f"{strategy.name} dispatches requests that come over the day; accepted: suites of "
            "dvrptw, with scenarios"
        )
    cpu_started = cpu_seconds()
    with _time_limit(timeout):
        found = dispatch_days(strategy, one, test.scenarios, task.entry.budget.build(), task.seed)
    cpu, call = _difference(cpu_started, cpu_seconds()), found.seconds * test.count
    days = [[[list(route) for route in routes] for routes in day] for day in found.days]
    setup = time.perf_counter() - began - call
    each = None if cpu is None else cpu / test.count
    return Outcome("ok", None, (Answer(days=days),), found.seconds, setup, each, version)


def _walk(
    walker: Walker,
    own: Built,
    task: Task,
    instances: list[Instance],
    timeout: float | None,
    began: float,
) -> Outcome:
    """All worlds of one instance."""
    (one,) = instances
    test = task.store.header.config.suite(task.suite).scenarios
    assert test is not None  # the suite's configuration says so
    budget = task.entry.budget.build()
    if not own.warm and isinstance(task.entry.solver, ModelConfig):
        # what is done once in a process; in a world that tests nobody
        walk_through(walker, one, Scenarios(Split.SELECTION, 1), budget, task.seed)
    own.warm = True
    cpu_started, call_started = cpu_seconds(), time.perf_counter()
    with _time_limit(timeout):
        found = walk_through(walker, one, test.scenarios, budget, task.seed)
    call = time.perf_counter() - call_started
    cpu = _difference(cpu_started, cpu_seconds())
    # as the wall seconds: all of what was prepared, and one world's share of the rest
    cpu = None if cpu is None else cpu * min(1.0, found.seconds / call)
    answer = Answer(walks=packed(found.walks), plan_scenarios=found.plan_scenarios)
    setup = time.perf_counter() - began - call
    return Outcome("ok", None, (answer,), found.seconds, setup, cpu, own.version)


def _solve(
    solver: Solver,
    own: Built,
    task: Task,
    instances: list[Instance],
    timeout: float | None,
    began: float,
) -> Outcome:
    alone = len(instances) == 1
    budget = task.entry.budget.build()
    if not own.warm and (isinstance(task.entry.solver, ModelConfig) or not alone):
        # what is done once in a process (compiling, allocating, starting other processes) is no
        # part of solving; classical solvers keep it out of the seconds of one instance themselves
        solver.solve(instances[0], budget, task.seed)
        own.warm = True
    batch = collate(instances)
    started, cpu_started = time.perf_counter(), cpu_seconds()
    with _time_limit(timeout):
        solutions = solver.solve(batch, budget, task.seed)
    call, cpu = time.perf_counter() - started, _difference(cpu_started, cpu_seconds())
    answers = _answers(solutions, len(instances))
    if not own.warm:
        own.warm, cpu = True, None  # with the start of processes in it
    wall = min(solutions[0].seconds, call) if alone else call
    status, error = "ok", None
    if timeout is not None and call > timeout:
        status, error = "timeout", f"came back after {call:.3g} s; the timeout is {timeout:g} s"
    setup = time.perf_counter() - began - wall
    return Outcome(status, error, answers, wall, setup, cpu, own.version)


def _answers(solutions: list[Solution], count: int) -> tuple[Answer, ...]:
    if len(solutions) != count:
        raise ValueError(f"the solver gave {len(solutions)} solutions for {count} instances")
    # plain numbers: some solvers give numpy's, which JSON does not know
    return tuple(
        Answer(
            routes=[[int(node) for node in route] for route in s.routes],
            depots=[int(depot) for depot in s.depots],
            vehicles=[int(vehicle) for vehicle in s.vehicles] or None,
            trace=[(float(seconds), float(cost)) for seconds, cost in s.trace],
            plan_scenarios=s.plan_scenarios,
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
