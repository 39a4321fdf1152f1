"""The top of a report on generalisation: one row for each axis along which suites were shifted, and
what lies inside of a model's training distribution told apart from what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nco.declared import Part, sizes_of, sizes_text
from nco.model_files import ModelCard
from nco.report_page import Block, Cell, Column, Heading, Items, Table, Text
from nco.report_tables import DASH, failures, percent
from nco.store import Store
from nco.summary import Row, SuiteSummary


def mark(found: dict[Part, str] | None) -> str:
    """Of a cell: in, or out with in what; empty for a solver that is no model."""
    if found is None:
        return ""
    return f"out: {', '.join(found)}" if found else "in"


def axes_blocks(store: Store, summaries: Sequence[SuiteSummary]) -> list[Block]:
    """The table of axes; nothing where no suite has one."""
    axes = axes_of(summaries)
    if not axes:
        return []
    blocks: list[Block] = [
        Heading(2, "Generalisation"),
        Text(
            "One row for each way in which instances were made to differ: the mean over its cells "
            "of each cell's mean gap, every cell with the same weight. Cells inside of a model's "
            "declared training distribution (in) and outside of it (out) are never averaged "
            "together. A cell is one of the suites below."
        ),
        axes_table(axes),
    ]
    cards = {entry.name: card for entry in store.header.config.solvers
             if (card := store.header.models.get(entry.name)) is not None}  # fmt: skip
    if cards:
        told = [f"{name}: {declared(card)}" for name, card in cards.items()]
        blocks += [Text("What the models declare to be trained on:", soft=True), Items(told)]
    return blocks


def axes_of(summaries: Sequence[SuiteSummary]) -> dict[str, list[SuiteSummary]]:
    """The suites of each axis that have a reference, the axes in the order of their first suite."""
    found: dict[str, list[SuiteSummary]] = {}
    for summary in summaries:
        axis = summary.store.header.config.suite(summary.name).axis
        if axis is not None and summary.references:
            found.setdefault(axis, []).append(summary)
    return found


def declared(card: ModelCard) -> str:
    """A model's training distribution in words."""
    trained = card.trained_on
    told = f"{card.problem}, {sizes_text(sizes_of(card))} customers, {trained.distribution}"
    if trained.variants is not None:
        told += f", only {', '.join(trained.variants)}"
    if trained.capacity is not None:
        told += f", capacity {trained.capacity}"
    if trained.cities is not None:
        told += f", streets of {len(trained.cities)} cities"
    return f"{told}; {trained.instances:,} instances seen"


def axes_table(axes: dict[str, list[SuiteSummary]]) -> Table:
    """One row an axis, one column a solver; those that are the reference everywhere have none."""
    everywhere = [summary for cells in axes.values() for summary in cells]
    names = [
        name
        for name in dict.fromkeys(row.entry.name for s in everywhere for row in s.rows)
        if not all(s.is_reference(r) for s in everywhere for r in s.rows if r.entry.name == name)
    ]
    columns = [Column("Axis", "left"), Column("Cells"), *(Column(name) for name in names)]
    rows = []
    for axis, cells in axes.items():
        line = [Cell(axis), Cell(str(len(cells)))]
        for name in names:
            line.append(_axis_cell([r for s in cells for r in s.rows if r.entry.name == name]))
        rows.append(line)
    return Table(columns, rows)


def _axis_cell(rows: Sequence[Row]) -> Cell:
    if not rows:
        return Cell(DASH)
    told = failures(sum((row.statuses for row in rows), Counter[str]()))
    notes = [told] if told else []
    parts = []
    for inside, side in ((True, "in"), (False, "out")):
        chosen = [row for row in rows if row.outside is not None and (not row.outside) == inside]
        if chosen:
            parts.append(_mean(chosen))
            notes.insert(len(parts) - 1, f"{side}: {_cells(len(chosen))}")
    if not parts:
        parts = [_mean(rows)]
    return Cell(" | ".join(parts), "; ".join(notes))


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"


def _mean(rows: Sequence[Row]) -> str:
    gaps = [row.gap.mean for row in rows if row.gap is not None]
    # a mean over fewer cells than the others' would not compare with theirs
    return percent(sum(gaps) / len(gaps)) if len(gaps) == len(rows) else DASH
