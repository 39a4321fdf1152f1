"""The tables of a report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from nco.report_page import Cell, Column, Table
from nco.statistics import Estimate, holm, paired, signed_rank
from nco.store import Record, Store
from nco.summary import Row, SuiteSummary

DASH = "–"
FAILURES = {
    "infeasible": "infeasible",
    "failed": "failed",
    "timeout": "timed out",
    "out-of-memory": "out of memory",
    "unsupported": "unsupported",
}
"""How a run can end without a solution, in words."""


def cost_digits(costs: Iterable[float]) -> int:
    """Decimals for a column of costs: none for whole ones, else five digits and at least one."""
    found = [abs(cost) for cost in costs]
    if all(cost == round(cost) for cost in found):
        return 0
    return max(1, 4 - math.floor(math.log10(max(found))))


def seconds_text(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return DASH
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-4 else f"{value:.1e}"


def percent(value: float, digits: int = 2) -> str:
    """A fraction in per cent, with its sign and a true minus."""
    text = f"{100 * value:+.{digits}f}"
    return f"{'0' if float(text) == 0 else text.replace('-', '−')} %"


def interval_text(estimate: Estimate) -> str:
    """Of fractions, in per cent; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (percent(v).removesuffix(" %") for v in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def summary_table(summary: SuiteSummary) -> Table:
    """One row a solver."""
    columns = [
        Column("Solver", "left"),
        Column("Budget", "left"),
        Column("Mean cost"),
        Column("Gap [95 % CI]"),
        Column("Feasible runs"),
        Column("Failures", "left"),
        Column("Wall s / instance"),
        Column("Batch throughput"),
    ]
    costs = [r.cost.mean for r in summary.rows if r.cost and _complete(summary, r.costs)]
    best = min(costs, default=None)
    digits = cost_digits(row.cost.mean for row in summary.rows if row.cost)
    return Table(columns, [_summary_row(summary, row, best, digits) for row in summary.rows])


def gap_cell(summary: SuiteSummary, row: Row, *, interval: bool) -> Cell:
    """The mean gap of a solver on a suite."""
    if row.gap is None:
        return Cell(DASH)
    notes = [interval_text(row.gap)] if interval else []
    notes += [over(row.gap.count, len(summary.instances))]
    if summary.is_reference(row):
        return Cell("reference", notes[-1])
    return Cell(percent(row.gap.mean), " ".join(filter(None, notes)))


def over(count: int, total: int) -> str:
    """How many a mean is over, where these are not all."""
    return "" if count == total else f"over {count:,} of {total:,}"


def _complete(summary: SuiteSummary, values: dict[str, float]) -> bool:
    return len(values) == len(summary.instances)


def _summary_row(summary: SuiteSummary, row: Row, best: float | None, digits: int) -> list[Cell]:
    total = len(summary.instances)
    seeds = len(row.entry.seeds)
    cost = Cell(DASH)
    if row.cost is not None:
        part = over(row.cost.count, total)
        is_best = best is not None and not part and row.cost.mean <= best * (1 + 1e-9)
        cost = Cell(f"{row.cost.mean:,.{digits}f}", part, is_best)
    # the clock of processes ticks every 10 ms
    cpu = "" if (row.cpu_seconds or 0) < 0.05 else f"CPU {seconds_text(row.cpu_seconds)} s"
    throughput = Cell(DASH)
    if row.throughput is not None:
        notes = f"batches of {row.throughput.batch_size}"
        throughput = Cell(f"{row.throughput.per_second:,.4g} / s", notes)
    return [
        Cell(row.entry.name, row.version or "did not run"),
        Cell(str(row.entry.budget), f"{seeds} seeds" if seeds > 1 else ""),
        cost,
        gap_cell(summary, row, interval=True),
        Cell(f"{row.statuses['ok']:,} / {row.expected_runs:,}"),
        Cell(failures(row.statuses) or "0"),
        Cell(seconds_text(row.wall_seconds), cpu),
        throughput,
    ]


def failures(statuses: Counter[str]) -> str:
    """How many runs ended in which way without a solution; empty where none did."""
    return ", ".join(f"{statuses[s]:,} {told}" for s, told in FAILURES.items() if statuses[s])


def comparison_table(summary: SuiteSummary) -> Table | None:
    """Each solver against the one that the suite compares to; None where nothing is paired."""
    rows = []
    for row in summary.rows:
        c = row.comparison
        if c is None or c.difference.count < 2:
            continue
        rows.append([
            Cell(row.entry.name), Cell(f"{c.wins} / {c.ties} / {c.losses}"),
            Cell(percent(c.difference.mean), interval_text(c.difference)),
            Cell(p_text(row.p_value)),
        ])  # fmt: skip
    columns = [Column("Solver", "left"), Column("Wins / ties / losses"),
               Column("Mean cost difference [95 % CI]"), Column("p")]  # fmt: skip
    return Table(columns, rows) if rows else None


def anytime_table(summary: SuiteSummary) -> Table | None:
    """What each solver had found by when; None without references."""
    times = summary.store.header.config.times
    columns = [Column("Solver", "left"), *(Column(f"Gap at {t:g} s") for t in times)]
    columns.append(Column(f"Primal integral to {times[-1]:g} s"))
    total = len(summary.instances)
    rows = []
    for row in summary.rows:
        if row.anytime is None or not row.costs:
            continue
        cells = [Cell(row.entry.name)]
        for found in row.anytime.gaps:
            note = "" if found is None else over(found.count, total)
            cells.append(Cell(DASH if found is None else percent(found.mean), note))
        cells.append(integral_cell(row))
        rows.append(cells)
    return Table(columns, rows) if rows else None


def integral_cell(row: Row) -> Cell:
    """The primal integral of a solver on a suite."""
    found = None if row.anytime is None else row.anytime.integral
    return Cell(DASH if found is None else f"{found.mean:.2f} %")


def pair_table(summary: SuiteSummary) -> Table | None:
    """Every solver against every other; None where fewer than three have results."""
    ran = [row for row in summary.rows if len(row.costs) > 1]
    if len(ran) < 3:
        return None
    tested = {(a, b): signed_rank(*paired(ran[a].costs, ran[b].costs))
              for a in range(len(ran)) for b in range(a + 1, len(ran))}  # fmt: skip
    corrected = dict(zip(tested, holm([t.p_value for t in tested.values()]), strict=True))
    rows = []
    for a, row in enumerate(ran[:-1]):
        cells = [Cell(row.entry.name)]
        for b in range(1, len(ran)):
            found = tested.get((a, b))
            if found is None:
                cells.append(Cell(""))
                continue
            told = f"{found.wins} / {found.ties} / {found.losses}"
            cells.append(Cell(told, f"p {p_text(corrected[a, b])}"))
        rows.append(cells)
    columns = [Column("Wins / ties / losses of", "left")]
    columns += [Column(f"against {row.entry.name}") for row in ran[1:]]
    return Table(columns, rows, fold="Every pair of solvers")


def p_text(p_value: float | None) -> str:
    """As it stands in tables."""
    if p_value is None:
        return DASH
    return "< 0.001" if p_value < 1e-3 else f"{p_value:.3f}"


def instance_table(summary: SuiteSummary) -> Table:
    """One row an instance: the cost and gap of each solver."""
    columns = [Column("Instance", "left"), Column("Reference")]
    columns += [Column(row.entry.name) for row in summary.rows]
    digits = cost_digits(cost for row in summary.rows for cost in row.costs.values())
    rows = []
    for instance in summary.instances:
        reference = summary.references.get(instance.name)
        shown = DASH if reference is None else f"{reference:,.{digits}f}"
        cells = [Cell(instance.name), Cell(shown)]
        best = min((r.costs[instance.name] for r in summary.rows if instance.name in r.costs),
                   default=0.0)  # fmt: skip
        for row in summary.rows:
            cost, gap = row.costs.get(instance.name), row.gaps.get(instance.name)
            if cost is None:
                cells.append(Cell(DASH))
                continue
            note = "" if gap is None or summary.is_reference(row) else percent(gap)
            cells.append(Cell(f"{cost:,.{digits}f}", note, cost <= best * (1 + 1e-9)))
        rows.append(cells)
    return Table(columns, rows, fold="Every instance")


def failure_table(summary: SuiteSummary, records: Sequence[Record]) -> Table | None:
    """What went wrong, equal reasons together; None where nothing did."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        if record.status != "ok":
            violations = "; ".join(record.violations[:3])
            more = len(record.violations) - 3
            reason = record.error or (violations + (f"; {more} more" if more > 0 else ""))
            name = record.solver
            name += f" (batches of {record.batch_size})" if record.batch_size > 1 else ""
            groups.setdefault((name, record.status, reason), []).append(record.instance)
    if not groups:
        return None
    rows = []
    for (solver, status, reason), instances in groups.items():
        shown = sorted(set(instances))
        names = ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
        rows.append([Cell(solver), Cell(status), Cell(f"{len(instances):,}"), Cell(names),
                     Cell(reason[:400])])  # fmt: skip
    columns = [Column("Solver", "left"), Column("Status", "left"), Column("Runs"),
               Column("Instances", "text"), Column("Reason", "text")]  # fmt: skip
    return Table(columns, rows)


def provenance_table(store: Store, records: Sequence[Record]) -> Table:
    """Where the numbers come from."""
    found, config = store.header.provenance, store.header.config
    finished = [r.finished for r in records]
    seeds = sorted({seed for entry in config.solvers for seed in entry.seeds})
    solvers = sorted({f"{r.solver}: {r.solver_version}" for r in records})
    facts = {
        "Created": found.created,
        "Runs": f"{min(finished)} to {max(finished)}" if finished else DASH,
        "Source code": found.git_commit or "no checkout",
        "Hardware": ", ".join(f"{key} {value}" for key, value in found.hardware.items()),
        "Workers": f"{config.num_workers}, one thread each",
        "Versions": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "Solvers": "; ".join(solvers) or DASH,
        "Seeds": f"solvers {', '.join(map(str, seeds))}; bootstrap {config.seed}",
        "Checksum": store.header.checksum,
    }
    return Table(
        [Column("", "left"), Column("", "text")],
        [[Cell(name), Cell(value)] for name, value in facts.items()],
    )
