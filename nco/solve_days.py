"""``nco solve`` for days of requests: a strategy on test scenarios of each instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nco.baselines.dispatching import DayStrategy
from nco.baselines.solver import Budget, SolveFailed, require_limit, require_seed
from nco.cli_files import output_paths
from nco.data.day_files import StoredDays, write_days
from nco.data.errors import InputError
from nco.data.plot import PLOT_SUFFIXES, require_drawable
from nco.day_results import DispatchedDays, judged_days
from nco.dispatch_model import is_dispatcher
from nco.scenario_results import ScenarioTestConfig
from nco.solve_files import number, read_named
from nco.strategy_config import STRATEGIES, strategy_by_name

SCENARIOS = 20
"""Days of each instance, where the caller does not say."""


def wanted_for(solver: str) -> bool:
    """Whether this is a strategy for days of requests."""
    folder = Path(solver)
    return solver in STRATEGIES or is_dispatcher(folder) or is_dispatcher(folder / "model")


@dataclass(frozen=True)
class DayOptions:
    """What ``nco solve`` was asked for that days of requests have."""

    scenarios: int | None
    rounding: str | None
    output: Path | None
    plot: Path | None
    """Of the first day of each instance."""


def solve_days(
    files: Sequence[Path],
    solver: str,
    budget: Budget,
    seed: int,
    options: DayOptions,
    *,
    progress: bool,
) -> None:
    """Dispatch, print a table, and write the days where that is asked for.

    Raises:
        InputError: a file or an option is wrong, or an instance is not of dvrptw.
        SolveFailed: a strategy found no feasible routes, or broke a rule.
    """
    strategy = strategy_by_name(solver)
    require_limit(strategy.name, budget)
    require_seed(seed)
    count = SCENARIOS if options.scenarios is None else options.scenarios
    if count < 1:
        raise InputError(f"scenarios is {count}; accepted: at least 1")
    test = ScenarioTestConfig(count=count)
    named = [entry for path in files for entry in read_named(path, options.rounding)]
    for name, one in named:
        if one.dispatch is None:
            raise InputError(
                f"{name} is no instance of dvrptw, and {strategy.name} dispatches requests that "
                "come over the day; accepted: files of nco data generate dvrptw or nco data "
                "requests"
            )
    if options.output is not None:
        output_paths(options.output, [options.output.stem], (".json",))
    plots: list[Path] = []
    if options.plot is not None:
        plots = output_paths(options.plot, [name for name, _ in named], PLOT_SUFFIXES)
        for name, one in named:
            require_drawable(one, name)
    rows: list[tuple[str, DispatchedDays]] = []
    failures: list[str] = []
    with Console(stderr=True, quiet=not progress).status(strategy.name):
        for index, (name, one) in enumerate(named):
            try:
                done = judged_days(strategy, one, test, budget, seed)
            except SolveFailed as error:
                failures.append(f"{name}: {error}")
                continue
            rows.append((name, done))
            if plots:
                _plot(done, plots[index])
    _print(strategy, test, rows)
    if options.output is not None and rows:
        write_days([_stored(done) for _, done in rows], options.output)
    if failures:
        raise SolveFailed("\n".join(failures))


def _stored(done: DispatchedDays) -> StoredDays:
    test = done.test
    return StoredDays(done.instance, done.strategy, test.count, test.seed, done.cost, done.days)


def _plot(done: DispatchedDays, path: Path) -> None:
    """The first of the days."""
    # matplotlib takes a while to import
    from nco.day_plots import write_day_plot

    write_day_plot(done.instance, done.test.scenarios, 0, done.days[0], done.strategy, path)


def _print(
    strategy: DayStrategy, test: ScenarioTestConfig, rows: Sequence[tuple[str, DispatchedDays]]
) -> None:
    if not rows:
        return
    told = f"{strategy.name}, {test.count} days of each instance"
    if strategy.knows_all:
        told += "; knows each day from its start"
    table = Table("instance", title=told, title_justify="left")
    columns = ("cost", test.objective.name, "asked", "routes", "unserved", "late", "s / day")
    for column in columns:
        table.add_column(column, justify="right")
    for instance, done in rows:
        found = done.result
        measures = [found.measures[m] for m in ("requests", "routes", "unserved", "late")]
        table.add_row(
            instance, number(found.mean), number(found.cvar),
            *(number(value) for value in measures), f"{done.seconds:.3f}",
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)
