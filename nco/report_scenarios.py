"""The part of a report that is about scenarios: means and tails of plans, and what they are of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from nco.report_page import Block, Cell, Column, Heading, Notice, Table, Text
from nco.report_tables import DASH, cost_digits, interval_text, over, percent
from nco.scenario_results import ScenarioResult, ScenarioTestConfig
from nco.statistics import Estimate, Frequency, clustered_frequency, compare, estimate
from nco.store import Record
from nco.strategy_config import HindsightConfig
from nco.summary import SuiteSummary

FEW = 5
"""Scenarios of an instance's tail below which the report warns."""
Figures = dict[str, dict[str, float]]
"""Of each solver, by instance; seeds are averaged first."""


def scenario_blocks(
    summary: SuiteSummary, records: Sequence[Record], test: ScenarioTestConfig
) -> list[Block]:
    """What the plans of a suite came to in its test scenarios; nothing where no plan is there."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.scenarios is not None and record.status == "ok" and record.batch_size == 1:
            found[record.solver].append(record)
    solvers = [row.entry.name for row in summary.rows if found[row.entry.name]]
    if not solvers:
        return []
    told = (
        f"{_what(found[solvers[0]])} in the same {_scenarios(test.count)} of its instance "
        f"(seed {test.seed}), which no solver saw. Means over the instances; brackets "
        "hold 95 % bootstrap intervals over instances. Differences are relative, paired by "
        f"instance, to the solver of lowest mean. {test.objective.name}: the mean of the worst "
        f"{1 - test.cvar:.0%} of an instance's scenarios, {tail_size(test):,.3g} of "
        f"{test.count:,}. Kept: scenarios without a failure (a "
        "customer late or left out, a vehicle found empty), with Wilson's interval for as many "
        "independent trials as all scenarios are worth, those of one instance being alike. "
        f"{_selection_text(summary)}"
    )
    knowing = _knowing(summary)
    if knowing:
        told += (
            f" {', '.join(knowing)}: told all requests of a day at its start, so no strategy; a "
            "lower bound where its routes are good enough, and never what others differ from here."
        )
    first = _results(found[solvers[0]])[0]
    blocks: list[Block] = [Heading(3, "In test scenarios"), Text(told, soft=True)]
    if tail_size(test) < FEW:
        blocks.append(
            Notice(
                f"{test.objective.name} is of {tail_size(test):,.3g} of an instance's "
                f"{_scenarios(test.count)}: too few to tell tails apart. {scenarios_for(test):,} "
                f"scenarios have {FEW} in the tail."
            )
        )
    blocks += [
        _table(summary, found, solvers, test),
    ]
    if len(first.parts) > 1 or first.measures:
        blocks.append(_parts_table(found, solvers))
    return blocks


def _scenarios(count: int) -> str:
    return f"{count:,} test scenario{'' if count == 1 else 's'}"


def tail_size(test: ScenarioTestConfig) -> float:
    """How many of an instance's scenarios the CVaR is the mean of."""
    return round((1 - test.cvar) * test.count, 9)


def scenarios_for(test: ScenarioTestConfig) -> int:
    """How many scenarios have a tail that is not of few."""
    return math.ceil(round(FEW / (1 - test.cvar), 9))


def _what(records: Sequence[Record]) -> str:
    """What is in the scenarios, and what the costs above are."""
    if any(record.days is not None for record in records):
        return "Scenarios are days; seconds above are those of one day. Every strategy is"
    if any(record.walks is not None for record in records):
        return (
            "Here it is decided on the way, as noise is seen; who has a plan follows it with the "
            "recourse that is best for it. Seconds above are those of all that is prepared for an "
            "instance and of one scenario. Every solver is"
        )
    return (
        "Costs above are as plans are priced beforehand: exact means or, with soft windows, at "
        "mean travel times. Here every plan is"
    )


def _knowing(summary: SuiteSummary) -> list[str]:
    """Who is told the whole scenario beforehand."""
    solvers = ((row.entry.name, row.entry.solver) for row in summary.rows)
    return [name for name, solver in solvers if isinstance(solver, HindsightConfig)]


def _selection_text(summary: SuiteSummary) -> str:
    """By what means solvers chose their plans, or their policies."""
    asked = summary.store.header.config.suite(summary.name).selection
    told = "Prices: plan-scenarios that a solver chose by, in the mean"
    if asked is None:
        return f"{told}; each solver had its own selection."
    equal = f"{told}: every solver that chooses among plans may price"
    if asked.plans is None:
        return f"{equal} {asked.means}, the same for all."
    most = asked.plans * asked.scenarios
    return f"{equal} {asked.means}, the same for all: {most:,} prices."


def _results(records: Sequence[Record]) -> list[ScenarioResult]:
    return [record.scenarios for record in records if record.scenarios is not None]


def _by_instance(
    records: Sequence[Record], figure: Callable[[ScenarioResult], float]
) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.scenarios is not None:
            values[record.instance].append(figure(record.scenarios))
    return {name: sum(each) / len(each) for name, each in values.items()}


def _table(
    summary: SuiteSummary,
    found: dict[str, list[Record]],
    solvers: Sequence[str],
    test: ScenarioTestConfig,
) -> Table:
    seed, total = summary.store.header.config.seed, len(summary.instances)
    means = {name: _by_instance(found[name], lambda r: r.mean) for name in solvers}
    tails = {name: _by_instance(found[name], lambda r: r.cvar) for name in solvers}
    knowing = _knowing(summary)
    real = [name for name in solvers if name not in knowing] or solvers
    best = min(real, key=lambda name: (-len(means[name]), _mean(means[name])))
    digits = cost_digits(_mean(means[name]) for name in solvers)
    rows = []
    for name in solvers:
        priced = sum(r.plan_scenarios for r in found[name]) / len(found[name])
        notes = [
            over(len(means[name]), total),
            f"{priced:,.0f} prices" if priced else "",
            "knows all" * (name in knowing),
        ]
        cells = [Cell(name, ", ".join(filter(None, notes)))]
        for figures in (means, tails):
            cells.append(_estimate_cell(figures[name], seed, digits))
            cells.append(_difference_cell(figures, name, best, seed))
        kept = _kept(found[name])
        cells.append(Cell(f"{kept.share:.2%}", f"[{kept.low:.2%}, {kept.high:.2%}]"))
        rows.append(cells)
    tail = test.objective.name
    columns = [Column("Solver", "left"), Column("Mean"), Column("Difference"), Column(tail),
               Column("Difference"), Column("Kept")]  # fmt: skip
    return Table(columns, rows)


def _kept(records: Sequence[Record]) -> Frequency:
    """Scenarios without a failure, instances being clusters of them."""
    kept: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        if record.scenarios is not None:
            kept[record.instance][0] += record.scenarios.kept
            kept[record.instance][1] += record.scenarios.count
    found = clustered_frequency(*zip(*kept.values(), strict=True))
    assert found is not None
    return found


def _mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


def _estimate_cell(values: dict[str, float], seed: int, digits: int) -> Cell:
    told = estimate(list(values.values()), seed)
    assert told is not None
    note = "" if told.low is None else f"[{told.low:,.{digits}f}, {told.high:,.{digits}f}]"
    return Cell(f"{told.mean:,.{digits}f}", note)


def _difference_cell(figures: Figures, name: str, best: str, seed: int) -> Cell:
    ours, theirs = figures[name], figures[best]
    both = [i for i in ours if theirs.get(i, 0.0) > 0]
    if name == best or not both:
        return Cell(DASH)
    pairs = compare([ours[i] for i in both], [theirs[i] for i in both], seed)
    assert pairs is not None
    told: Estimate = pairs.difference
    return Cell(percent(told.mean), interval_text(told))


def _parts_table(found: dict[str, list[Record]], solvers: Sequence[str]) -> Table:
    """The mean of every part of the cost and of every measure."""
    first = _results(found[solvers[0]])[0]
    columns = [Column("Solver", "left")]
    columns += [Column(name) for name in (*first.parts, *first.measures)]
    rows = []
    for solver in solvers:
        cells = [Cell(solver)]
        for group in ("parts", "measures"):
            for name in getattr(first, group):
                values = _by_instance(found[solver], lambda r, g=group, n=name: getattr(r, g)[n])
                cells.append(Cell(f"{_mean(values):,.4g}"))
        rows.append(cells)
    return Table(columns, rows, fold="Parts of the cost, and measures")
