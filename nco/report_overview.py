"""The top of a report of many suites: every suite's mean gaps in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nco.report_axes import mark
from nco.report_page import Block, Cell, Column, Heading, Picture, Table, Text
from nco.report_plots import suite_dots
from nco.report_tables import DASH, FAILURES, failures, gap_cell, integral_cell, over, percent
from nco.summary import Row, SuiteSummary

TIE = 1e-9
"""Gaps this near are equal: solvers sum the same arcs in different orders."""
FEW_SUITES = 3
"""Up to so many, the suites' own tables are overview enough."""


def overview_blocks(summaries: Sequence[SuiteSummary]) -> list[Block]:
    """A table of suites by solvers and its plot; nothing for few suites, without references, or
    where each suite has solvers of its own."""
    shown = [summary for summary in summaries if summary.references]
    suites = Counter(row.entry.name for summary in shown for row in summary.rows)
    if len(summaries) <= FEW_SUITES or max(suites.values(), default=0) < 2:
        return []
    told = "Mean gap of each solver on each suite"
    labels = {_basis(summary) for summary in shown}
    told += f", relative to {_basis(shown[0])}." if len(labels) == 1 else "."
    without = [summary.name for summary in summaries if not summary.references]
    if without:
        told += f" Without a reference, so without gaps: {', '.join(without)}."
    blocks: list[Block] = [Heading(2, "Overview"), Text(told), overview_table(shown)]
    blocks.append(
        Text(
            "Bold: the lowest gap among the solvers with one for every instance. A dash: the "
            "solver was not run there, or lacks suites for a mean over them.",
            soft=True,
        )
    )
    dots = suite_dots(shown, _solvers(shown))
    integrals = integral_table(shown)
    if integrals is not None:
        until = shown[0].store.header.config.times[-1]
        blocks += [
            Heading(3, f"Primal integral to {until:g} s"),
            Text(
                "The mean over that time of 1 - reference / cost, in per cent: 100 % before the "
                "first solution, and for an instance that is never solved. A dash: the solver had "
                "to stop before, or does not tell when it found what."
            ),
            integrals,
        ]
    if dots is not None:
        caption = "Mean gap (marker) and its 95 % interval (line) of each solver on each suite."
        blocks.append(Picture("overview.svg", dots, caption))
    return blocks


def overview_table(summaries: Sequence[SuiteSummary]) -> Table:
    """One row a suite, one column a solver, and the mean over the suites.

    The reference has a column only where it is not the same, or not known, everywhere.

    Args:
        summaries: at least one, each with references.
    """
    solvers = _solvers(summaries)
    columns = [Column("Suite", "left"), *(Column(name) for name in solvers)]
    several = len({_basis(summary) for summary in summaries}) > 1
    if several:
        columns.append(Column("Reference", "text"))
    rows = []
    for summary in summaries:
        found = [_row(summary, name) for name in solvers]
        best = min((r.gap.mean for r in found if r and r.gap and _complete(summary, r)),
                   default=None)  # fmt: skip
        axis = _axis(summary)
        cells = [Cell(summary.name, axis or "", heading=summary.name)]
        cells += [_cell(summary, row, best) for row in found]
        rows.append([*cells, Cell(_basis(summary))] if several else cells)
    if any(map(_axis, summaries)):
        # a mean over what is inside of a training distribution and what is not says nothing
        return Table(columns, rows)
    rows.append([Cell(f"mean of {len(summaries)} suites"), *_means(summaries, solvers)])
    if several:
        rows[-1].append(Cell(""))
    return Table(columns, rows, total=True)


def integral_table(summaries: Sequence[SuiteSummary]) -> Table | None:
    """The primal integrals of the same, for suites with axes; None where nothing has one."""
    if not any(map(_axis, summaries)):
        return None
    entries = summaries[0].store.header.config.solvers
    found = {entry.name: [_row(summary, entry.name) for summary in summaries] for entry in entries}
    names = [
        name
        for name, rows in found.items()
        if any(row and row.anytime and row.anytime.integral for row in rows)
    ]
    if not names:
        return None
    rows = []
    for place, summary in enumerate(summaries):
        shown = [found[name][place] for name in names]
        cells = [Cell(DASH) if row is None else integral_cell(row) for row in shown]
        rows.append([Cell(summary.name, _axis(summary) or "", heading=summary.name), *cells])
    return Table([Column("Suite", "left"), *(Column(name) for name in names)], rows)


def _basis(summary: SuiteSummary) -> str:
    """What gaps are relative to, without how costs are rounded: that is the suite's."""
    return (summary.reference or DASH).partition(" (costs ")[0]


def _axis(summary: SuiteSummary) -> str | None:
    return summary.store.header.config.suite(summary.name).axis


def _solvers(summaries: Sequence[SuiteSummary]) -> list[str]:
    """Those that ran on any of the suites, without the one that is the reference of all."""
    entries = summaries[0].store.header.config.solvers
    rows = {entry.name: [_row(summary, entry.name) for summary in summaries] for entry in entries}
    return [
        name
        for name, found in rows.items()
        if any(found)
        and not all(
            row and summary.is_reference(row) and _complete(summary, row)
            for summary, row in zip(summaries, found, strict=True)
        )
    ]


def _row(summary: SuiteSummary, solver: str) -> Row | None:
    return next((row for row in summary.rows if row.entry.name == solver), None)


def _complete(summary: SuiteSummary, row: Row) -> bool:
    return len(row.gaps) == len(summary.instances)


def _cell(summary: SuiteSummary, row: Row | None, best: float | None) -> Cell:
    if row is None:
        return Cell(DASH)
    if row.gap is not None:
        cell = gap_cell(summary, row, interval=False)
        is_best = _complete(summary, row) and best is not None and row.gap.mean <= best + TIE
        note = "; ".join(filter(None, (cell.note, mark(row.outside))))
        return Cell(cell.text, note if _axis(summary) else cell.note, is_best)
    kinds = [told for status, told in FAILURES.items() if row.statuses[status]]
    if row.statuses["ok"] or not kinds:
        return Cell(DASH)
    return Cell(kinds[0] if len(kinds) == 1 else failures(row.statuses))


def _means(summaries: Sequence[SuiteSummary], solvers: Sequence[str]) -> list[Cell]:
    """Of each solver the mean over the suites of its mean gaps, where it has one on all."""
    total = sum(len(summary.instances) for summary in summaries)
    cells: list[tuple[float | None, Cell]] = []
    for name in solvers:
        rows = [_row(summary, name) for summary in summaries]
        gaps = [row.gap for row in rows if row and row.gap]
        if len(gaps) < len(summaries):
            cells.append((None, Cell(DASH, f"{len(gaps)} of {len(summaries)} suites")))
            continue
        mean = sum(gap.mean for gap in gaps) / len(gaps)
        note = over(sum(gap.count for gap in gaps), total)
        cells.append((None if note else mean, Cell(percent(mean), note)))
    best = min((mean for mean, _ in cells if mean is not None), default=None)
    return [Cell(cell.text, cell.note, mean is not None and mean == best) for mean, cell in cells]
