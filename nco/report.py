"""The report of a result store: Markdown, and one HTML page that needs nothing else."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import yaml

from nco.data.errors import InputError
from nco.data.text_file import write_text
from nco.provenance import utc_now
from nco.report_axes import axes_blocks
from nco.report_fleet import fleet_blocks, trade_off_blocks
from nco.report_overview import overview_blocks
from nco.report_page import (
    Block,
    Details,
    Heading,
    Items,
    Notice,
    Picture,
    Text,
    html_page,
    markdown_page,
)
from nco.report_plots import gap_strips, over_time, route_panels
from nco.report_scenarios import scenario_blocks
from nco.report_tables import (
    anytime_table,
    comparison_table,
    failure_table,
    instance_table,
    pair_table,
    provenance_table,
    summary_table,
)
from nco.store import Record, Store, open_store
from nco.summary import Row, SuiteSummary, summarise

MARKDOWN, HTML, PICTURES = "report.md", "report.html", "report-plots"
MAX_INSTANCE_ROWS = 25
BUSY = 0.8
"""A share of a core below which the report says that the machine was busy."""
LONG_RUN = 0.5
"""Seconds from which a run tells something about that."""

READING = (
    "Every cost is recomputed from the stored routes by an independent checker, in float64; no "
    "solver's own cost is shown. The command nco verify repeats this.",
    "Gap: the mean over the instances of cost / reference − 1. Several seeds of a solver are "
    "averaged for each instance first. The brackets hold a 95 % bootstrap interval (BCa, 9,999 "
    "resamples over instances, from five instances on). Without a reference there is no gap, only "
    "a dash.",
    "Means are over the instances with at least one feasible solution in time. Where these are not "
    "all, their number stands below; such a row is not comparable with a row over more instances.",
    "Infeasible, failed, timed-out, out-of-memory and unsupported runs count as failures and enter "
    "no mean.",
    "Gap at a time: of the best solution by then, over the instances that have one. A solver that "
    "ends by itself keeps what it has; one that was made to stop before, or does not tell when it "
    "found what, has a dash. Primal integral: the mean over the time of 1 − reference / cost, "
    "100 % before the first solution.",
    "In and out: whether a cell lies inside of the training distribution that a model's card "
    "declares, by one rule for problem, ways, size, distribution, demands and tightness; what is "
    "not known counts as out.",
    "Seconds per instance: wall time of one instance alone on one thread, the solver's set-up for "
    "it included, starting processes and loading weights not. Batch throughput is a measurement of "
    "its own, of whole batches, and not comparable with it.",
)


def write_report(store: Path, out_dir: Path | None = None) -> tuple[Path, Path]:
    """Write ``report.md`` (with ``report-plots/``) and ``report.html``; their paths.

    Args:
        out_dir: where to; None is the folder of the store.

    Raises:
        InputError: the store is damaged or the folder cannot be written.
    """
    opened = open_store(store)
    folder = store if out_dir is None else out_dir
    blocks = _blocks(opened)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / PICTURES, ignore_errors=True)
        (folder / PICTURES).mkdir()
    except OSError as error:
        raise InputError(f"report folder {folder} cannot be written: {error.strerror}") from None
    for block in blocks:
        if isinstance(block, Picture):
            write_text(folder / PICTURES / block.name, block.svg)
    write_text(folder / MARKDOWN, markdown_page(blocks, PICTURES))
    write_text(folder / HTML, html_page(f"Benchmark {opened.header.config.name}", blocks))
    return folder / MARKDOWN, folder / HTML


def _blocks(store: Store) -> list[Block]:
    records = list(store.records().values())
    summaries = summarise(store)
    blocks: list[Block] = [
        Heading(1, f"Benchmark {store.header.config.name}"),
        Text(_headline(store, summaries, records), soft=True),
        *_warnings(store, records),
        *axes_blocks(store, summaries),
        *overview_blocks(summaries),
        *trade_off_blocks(store, summaries, records),
    ]
    for summary in summaries:
        blocks += _suite_blocks(summary, [r for r in records if r.suite == summary.name])
    blocks += [Heading(2, "How to read this"), Items(READING)]
    blocks += _provenance_blocks(store, records)
    return blocks


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _headline(store: Store, summaries: list[SuiteSummary], records: list[Record]) -> str:
    instances = sum(len(s.instances) for s in summaries)
    parts = [
        _count(len(store.header.config.solvers), "solver"),
        _count(len(summaries), "suite"),
        _count(instances, "instance"),
        _count(len(records), "run"),
    ]
    return f"{', '.join(parts)}. Started {_day(store.header.provenance.created)}, report written "\
           f"{_day(utc_now())}."  # fmt: skip


def _day(time: str) -> str:
    return f"{time[:10]} {time[11:16]} UTC"


def _warnings(store: Store, records: list[Record]) -> list[Block]:
    warnings: list[Block] = []
    expected = {key for task in store.tasks() for key in task.keys}
    if store.header.left_out:
        told = "; ".join(f"{name} ({why})" for name, why in store.header.left_out.items())
        warnings.append(Notice(f"Left out: {told}."))
    missing = len(expected - {r.key for r in records})
    if missing:
        warnings.append(
            Notice(
                f"This benchmark is not complete: {missing:,} of {len(expected):,} runs are not in "
                "the store yet. Run it again to add them."
            )
        )
    workers = store.header.config.num_workers
    cores = store.header.provenance.hardware.get("cores", "")
    if cores.isdecimal() and workers > int(cores):
        warnings.append(
            Notice(f"{workers} workers shared {cores} cores: the times are longer than alone.")
        )
    share = core_share(records)
    if share is not None and share < BUSY:
        warnings.append(
            Notice(
                f"The runs got {share:.0%} of a core (CPU over wall seconds): other work was "
                "running on this machine, so solvers did less in their time than they could."
            )
        )
    return warnings


def core_share(records: list[Record]) -> float | None:
    """CPU over wall seconds, over the runs that are long enough to tell."""
    told = [
        (r.cpu_seconds, r.wall_seconds)
        for r in records
        if r.status == "ok" and r.cpu_seconds is not None and r.wall_seconds >= LONG_RUN
    ]
    return sum(cpu for cpu, _ in told) / sum(wall for _, wall in told) if told else None


def _suite_blocks(summary: SuiteSummary, records: list[Record]) -> list[Block]:
    name = summary.name
    sources = Counter(i.source.rpartition(", instance")[0] or i.source for i in summary.instances)
    told = "; ".join(sources) if len(sources) <= 3 else f"{len(sources)} files"
    blocks: list[Block] = [
        Heading(2, name),
        Text(f"{_count(len(summary.instances), 'instance')}: {told}."),
        Text(f"Gaps are relative to {summary.reference}." if summary.reference else
             "This suite has no reference, so there are no gaps."),
        summary_table(summary),
    ]  # fmt: skip
    blocks += fleet_blocks(summary, records)
    test = summary.store.header.config.suite(name).scenarios
    if test is not None:
        blocks += scenario_blocks(summary, records, test)
    marks = [f"{row.entry.name}: {told}" for row in summary.rows for told in _reasons(row)]
    if marks:
        told = "Outside of what the models declare to be trained on:"
        blocks += [Text(told, soft=True), Items(marks)]
    by_time = anytime_table(summary)
    if by_time is not None:
        blocks += [Heading(3, "By time"), by_time]
    strips = gap_strips(summary)
    if strips is not None:
        caption = "Gap of every instance (dots), mean (tick) and its 95 % interval (bar)."
        blocks.append(Picture(f"{name}-gaps.svg", strips, caption))
    curves = over_time(summary)
    if curves is not None:
        value = "gap" if summary.references else "cost"
        caption = (
            f"Mean {value} over time. Lines: solvers that tell their improvements, from when every "
            "instance has a solution; points: where a solver ended."
        )
        blocks.append(Picture(f"{name}-time.svg", curves, caption))
    panels = route_panels(summary, records)
    if panels is not None:
        caption = f"Instance {summary.instances[0].name}: the best solution of each solver."
        if bool((summary.first_instance.backhaul > 0).any()):
            caption += " Triangles are customers with a pickup."
        if summary.first_instance.fleet is not None:
            caption += " A colour for each vehicle."
        blocks.append(Picture(f"{name}-routes.svg", panels, caption))
    comparison = comparison_table(summary)
    if comparison is not None:
        blocks += [
            Heading(3, f"Paired with {summary.compared_to}"),
            Text(
                "On the instances that both solved: wins are lower costs, ties are within 1e-6. "
                "p: two-sided Wilcoxon signed-rank test, Holm-corrected for the solvers of the "
                "suite.",
                soft=True,
            ),
            comparison,
        ]
    pairs = pair_table(summary)
    if pairs is not None:
        blocks.append(pairs)
    if 1 < len(summary.instances) <= MAX_INSTANCE_ROWS:
        blocks.append(instance_table(summary))
    failures = failure_table(summary, records)
    if failures is not None:
        blocks += [Heading(3, "Failures"), failures]
    return blocks


def _reasons(row: Row) -> list[str]:
    """In what a suite is outside of a model's training distribution."""
    return [f"{part}: {why}" for part, why in (row.outside or {}).items()]


def _provenance_blocks(store: Store, records: list[Record]) -> list[Block]:
    config = store.header.config.model_dump(mode="json", exclude_none=True)
    return [
        Heading(2, "Provenance"),
        provenance_table(store, records),
        Details("Configuration", yaml.safe_dump(config, sort_keys=False)),
    ]
