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
from nco.data.errors import InputError, shortened
from nco.data.instance import Instance
from nco.day_results import days_result, dispatch_days
from nco.dispatch_model import is_dispatcher
from nco.scenario_results import ScenarioResult, ScenarioTestConfig
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
    rows: list[tuple[str, ScenarioResult, float]] = []
    stored: list[StoredDays] = []
    failures: list[str] = []
    with Console(stderr=True, quiet=not progress).status(strategy.name):
        for name, one in named:
            try:
                found, seconds, entry = _one(strategy, one, test, budget, seed)
            except SolveFailed as error:
                failures.append(f"{name}: {error}")
                continue
            rows.append((name, found, seconds))
            stored.append(entry)
    _print(strategy, test, rows)
    if options.output is not None and stored:
        write_days(stored, options.output)
    if failures:
        raise SolveFailed("\n".join(failures))


def _one(
    strategy: DayStrategy, one: Instance, test: ScenarioTestConfig, budget: Budget, seed: int
) -> tuple[ScenarioResult, float, StoredDays]:
    done = dispatch_days(strategy, one, test.scenarios, budget, seed)
    found, broken = days_result(test, one, done.days)
    if broken:
        raise SolveFailed(f"{strategy.name} broke a rule: {shortened(broken)}")
    entry = StoredDays(one, strategy.name, test.count, test.seed, found.mean, done.days)
    return found, done.seconds, entry


def _print(
    strategy: DayStrategy,
    test: ScenarioTestConfig,
    rows: Sequence[tuple[str, ScenarioResult, float]],
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
    for instance, found, seconds in rows:
        measures = [found.measures[m] for m in ("requests", "routes", "unserved", "late")]
        table.add_row(
            instance, number(found.mean), number(found.cvar),
            *(number(value) for value in measures), f"{seconds:.3f}",
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)
