"""Run a benchmark into its result store; what is there already is not run again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as RemainingColumn

from nco import provenance
from nco.benchmark_config import BenchmarkConfig
from nco.benchmark_suites import new_instances
from nco.benchmark_tasks import DIED, Outcome, built, run_task
from nco.data.errors import InputError
from nco.parallel import run_all
from nco.store import HEADER, Record, Store, Task, create_store, open_store, refuse_other_config
from nco.verify import judged


def run_benchmark(config: BenchmarkConfig, *, progress: bool = True) -> Path:
    """Run what the store of this configuration does not hold yet; the folder of the store.

    Every solver solves every instance alone, with each of its seeds; where its entry says so, in
    batches too. A run that fails, or is infeasible, is recorded as that. Costs are our checker's.

    Raises:
        InputError: a solver's package or model is not there, an instance cannot be had; the output
            folder cannot be written, or holds the results of another configuration.
    """
    store = _open_or_create(config)
    store.drop_torn_line()
    there = store.records().keys()
    tasks = [task for task in store.tasks() if any(key not in there for key in task.keys)]
    total = _runs(store.tasks())
    with _bar(progress) as bar:
        line = bar.add_task(config.name, total=total, completed=total - _runs(tasks), failed="")
        failed = 0
        for task, outcome in run_all(run_task, tasks, config.num_workers, DIED):
            records = _records(task, outcome)
            store.append(records)
            failed += sum(record.status != "ok" for record in records)
            told = f"[red]{failed} not solved[/]" if failed else ""
            bar.update(line, advance=len(records), failed=told)
    return store.folder


def _open_or_create(config: BenchmarkConfig) -> Store:
    if (config.store_folder / HEADER).exists():
        store = open_store(config.store_folder)
        refuse_other_config(store, config)
        return store
    instances = new_instances(config)
    for index, entry in enumerate(config.solvers):
        try:
            built(entry.solver.model_dump_json())
        except InputError as error:
            raise InputError(f"solvers.{index} ({entry.name}): {error}") from error
    return create_store(config, provenance.collect(), instances)


def _runs(tasks: Iterable[Task]) -> int:
    return sum(len(task.instances) for task in tasks)


def _bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        RemainingColumn(),
        TextColumn("{task.fields[failed]}"),
        console=Console(stderr=True),
        disable=not shown,
    )


def _records(task: Task, outcome: Outcome) -> list[Record]:
    """The records of a task, with costs and violations by our own checker."""
    records = []
    for index, entry in enumerate(task.instances):
        answer = outcome.answers[index] if outcome.answers else None
        record = Record(
            suite=task.suite,
            instance=entry.name,
            solver=task.entry.name,
            seed=task.seed,
            batch_size=task.batch_size,
            batch=task.batch,
            status=outcome.status,
            error=outcome.error,
            routes=None if answer is None else answer.routes,
            depots=None if answer is None else answer.depots,
            vehicles=None if answer is None else answer.vehicles,
            wall_seconds=outcome.wall_seconds,
            setup_seconds=outcome.setup_seconds,
            cpu_seconds=outcome.cpu_seconds,
            trace=[] if answer is None else answer.trace,
            solver_version=outcome.version,
            finished=provenance.utc_now(),
        )
        suite = task.store.header.config.suite(task.suite)
        records.append(judged(record, task.store.instance(entry), suite))
    return records
