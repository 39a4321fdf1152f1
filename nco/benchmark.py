"""Run a benchmark into its result store; what is there already is not run again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as RemainingColumn

from nco import provenance
from nco.baselines.solver import MissingExtraError
from nco.benchmark_config import BenchmarkConfig, ModelConfig, decided_on_the_way, solver_on
from nco.benchmark_suites import missing_variable, new_instances, suite_traits
from nco.benchmark_tasks import DIED, Outcome, built, run_task
from nco.data.errors import InputError
from nco.model_files import ModelCard, load_card, model_folder
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
    left_out = _left_out_suites(config)
    instances = new_instances(config)
    cards: dict[str, ModelCard] = {}
    for index, entry in enumerate(config.solvers):
        suites = [suite for suite in config.single_suites() if entry in config.entries(suite.name)]
        solvers = {
            (solver_on(suite, entry).model_dump_json(), decided_on_the_way(suite)): None
            for suite in suites
        }
        try:
            for solver, problem in solvers or {(entry.solver.model_dump_json(), None): None}:
                built(solver, problem)
        except MissingExtraError as error:
            if not entry.where_installed:
                raise InputError(f"solvers.{index} ({entry.name}): {error}") from error
            left_out[entry.name] = str(error)
        except InputError as error:
            raise InputError(f"solvers.{index} ({entry.name}): {error}") from error
        if isinstance(entry.solver, ModelConfig):
            cards[entry.name] = load_card(model_folder(entry.solver.path))
    traits = {
        suite.name: suite_traits(suite, [new.instance for new in instances
                                         if new.suite == suite.name])
        for suite in config.single_suites()
        if any(new.suite == suite.name for new in instances)
    }  # fmt: skip
    return create_store(
        config, provenance.collect(), instances, left_out=left_out, traits=traits, models=cards
    )


def _left_out_suites(config: BenchmarkConfig) -> dict[str, str]:
    missing = {suite.name: missing_variable(suite) for suite in config.single_suites()}
    return {name: f"the variable {v} is not set" for name, v in missing.items() if v is not None}


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
            days=None if answer is None else answer.days,
            walks=None if answer is None else answer.walks,
            wall_seconds=outcome.wall_seconds,
            setup_seconds=outcome.setup_seconds,
            cpu_seconds=outcome.cpu_seconds,
            trace=[] if answer is None or answer.trace is None else answer.trace,
            plan_scenarios=0 if answer is None else answer.plan_scenarios,
            solver_version=outcome.version,
            finished=provenance.utc_now(),
        )
        suite = task.store.header.config.suite(task.suite)
        records.append(judged(record, task.store.instance(entry), suite))
    return records
