"""Tables of a document, filled from stored figures.

    <!-- table: NAME -->          every suite by every solver: mean gaps
    <!-- table: NAME SUITE -->    one suite: a row for each solver
    ...
    <!-- end of table -->

What stands between the two lines is replaced; NAME.json is in the folder of results.
"""

from __future__ import annotations

import re
from pathlib import Path

from nco.data.errors import InputError
from nco.report import BUSY
from nco.report_page import Cell, Column, Table, markdown_page
from nco.report_tables import DASH, FAILURES, cost_digits, over, percent, seconds_text
from nco.stored_results import StoredGap, StoredResults, StoredRow, StoredSuite, read_results

RESULTS = Path("docs") / "results"
"""Beside the document."""
_BEGIN = re.compile(r"<!-- table: (\S+)(?: (\S+))? -->")
_END = "<!-- end of table -->"


def fill(document: Path, results: Path | None = None) -> str:
    """The text of a document with its tables as the stored figures have them.

    Args:
        results: the folder of the figures; by default `RESULTS` beside the document.

    Raises:
        InputError: a table's figures or suite are not there, or a table has no end.
    """
    folder = document.parent / RESULTS if results is None else results
    lines: list[str] = []
    inside: int | None = None
    for number, line in enumerate(read_lines(document), start=1):
        begin = _BEGIN.fullmatch(line.strip())
        if begin and inside is not None:
            raise InputError(f"{document}, line {number}: the table of line {inside} has no end; "
                             f"accepted: {_END} before the next one")  # fmt: skip
        if inside is not None and line.strip() != _END:
            continue
        lines.append(line)
        if begin:
            inside = number
            place = f"{document}, line {number}"
            lines += ["", *_table(folder, begin[1], begin[2], place).splitlines(), ""]
        elif line.strip() == _END:
            inside = None
    if inside is not None:
        raise InputError(f"{document}, line {inside}: the table has no end; accepted: {_END}")
    return "\n".join(lines) + "\n"


def read_lines(document: Path) -> list[str]:
    """The lines of a document.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return document.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{document} cannot be read: {error}") from None


def _table(folder: Path, name: str, suite: str | None, place: str) -> str:
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise InputError(f"{place}: {folder} has no {name}.json; there are: {known}")
    results = read_results(path)
    if suite is None:
        references = {(s.reference or DASH).partition(" (costs ")[0] for s in results.suites}
        told = f"Mean gaps to {references.pop()}. " if len(references) == 1 else ""
        return f"{_markdown(overview(results))}\n\n{told}{_circumstances(results)}"
    found = results.suite(suite)
    if found is None:
        known = ", ".join(s.name for s in results.suites)
        raise InputError(f"{place}: {path} has no suite {suite}; accepted: {known}")
    told = f"{found.instances} instances ({found.source}), gaps to {found.reference}. "
    return f"{_markdown(suite_table(found))}\n\n{told}{_circumstances(results)}"


def _markdown(table: Table) -> str:
    return markdown_page([table], "").rstrip("\n")


def _circumstances(results: StoredResults) -> str:
    hardware = results.hardware
    told = f"{hardware.get('processor', 'unknown processor')}, {hardware.get('cores', '?')} cores"
    if "accelerator" in hardware:
        told += f", {hardware['accelerator']}"
    if results.core_share is not None and results.core_share < BUSY:
        told += f", of which runs had {results.core_share:.0%} of one (a busy machine)"
    same: dict[str, list[str]] = {}
    for name, what in results.models.items():
        same.setdefault(what, []).append(name)
    models = "".join(f" Trained on ({', '.join(names)}): {what}." for what, names in same.items())
    return f"{results.name}, {results.created[:10]}, {told}.{models}"


def overview(results: StoredResults) -> Table:
    """Mean gaps: a row for each suite with a reference, a column for each solver."""
    suites = [suite for suite in results.suites if suite.reference is not None]
    rows_of = {suite.name: {row.solver: row for row in suite.rows} for suite in suites}
    solvers = dict.fromkeys(row.solver for suite in suites for row in suite.rows)
    names = [
        name
        for name in solvers
        if not all(name in rows and rows[name].is_reference for rows in rows_of.values())
    ]
    columns = [Column("", "left"), Column("instances"), *(Column(name) for name in names)]
    table = []
    for suite in suites:
        rows = rows_of[suite.name]
        label = suite.name if suite.axis in (None, suite.name) else f"{suite.axis}: {suite.name}"
        cells = [Cell(label), Cell(str(suite.instances))]
        cells += [_gap_cell(suite, rows.get(name)) for name in names]
        table.append(cells)
    return Table(columns, table)


def _gap_cell(suite: StoredSuite, row: StoredRow | None) -> Cell:
    if row is None:
        return Cell(DASH)
    if row.gap is None:
        kinds = [told for status, told in FAILURES.items() if row.statuses.get(status)]
        return Cell(", ".join(kinds) or DASH)
    notes = filter(None, (over(row.gap.count, suite.instances), row.mark))
    return Cell(percent(row.gap.mean), "; ".join(notes))


def suite_table(suite: StoredSuite) -> Table:
    """A row for each solver."""
    columns = [Column("", "left"), Column("budget", "left"), Column("mean cost"),
               Column("gap [95 %]"), Column("feasible"), Column("wall s / instance"),
               Column("in batches")]  # fmt: skip
    digits = cost_digits(row.cost for row in suite.rows if row.cost is not None)
    rows = []
    for row in suite.rows:
        part = over(row.cost_count, suite.instances)
        cost = Cell(DASH) if row.cost is None else Cell(f"{row.cost:,.{digits}f}", part)
        batches = DASH if row.per_second is None else f"{row.per_second:,.3g} / s"
        name = row.solver if not row.mark else f"{row.solver} ({row.mark})"
        rows.append([
            Cell(name), Cell(row.budget), cost, _interval_cell(row),
            Cell(f"{row.solved:,} / {row.runs:,}"), Cell(seconds_text(row.wall_seconds)),
            Cell(batches),
        ])  # fmt: skip
    return Table(columns, rows)


def _interval_cell(row: StoredRow) -> Cell:
    if row.is_reference:
        return Cell("reference")
    found: StoredGap | None = row.gap
    if found is None:
        return Cell(DASH)
    if found.low is None or found.high is None:
        return Cell(percent(found.mean))
    low, high = (percent(v).removesuffix(" %") for v in (found.low, found.high))
    return Cell(percent(found.mean), f"{low} to {high}")
