"""The figures of a report, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from nco.data.plot import draw, name_vehicles, svg
from nco.data.solution import Solution
from nco.envs.checker import evaluate
from nco.store import Record
from nco.summary import Row, SuiteSummary, best_record

# Okabe and Ito, "Color universal design" (2008): told apart by colour-blind readers
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#b8a800")
MARKERS = "osD^vPX*h"
"""Not as many as colours: the pairs of both repeat late."""
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#38424d",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#55606b",
    "ytick.color": "#55606b",
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}
MAX_PANELS = 6
LINEAR_BELOW = 1.0
"""Per cent: the gap axis is linear below and logarithmic above."""


def colour(summary: SuiteSummary, solver: str) -> str:
    """The solver's colour, the same in every figure of a store."""
    names = [entry.name for entry in summary.store.header.config.solvers]
    return COLOURS[names.index(solver) % len(COLOURS)]


def marker(summary: SuiteSummary, solver: str) -> str:
    """The solver's marker, the same in every figure of a store."""
    names = [entry.name for entry in summary.store.header.config.solvers]
    return MARKERS[names.index(solver) % len(MARKERS)]


def gap_strips(summary: SuiteSummary) -> str | None:
    """Every instance's gap, with the mean and its interval; None with fewer than two instances."""
    rows = [row for row in summary.rows if row.gap is not None]
    if not rows or max(len(row.gaps) for row in rows) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 0.9 + 0.46 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        # the same spread for every solver, so that a row's dots do not depend on the others
        for place, row in enumerate(rows):
            assert row.gap is not None
            gaps = 100 * np.array([row.gaps[name] for name in sorted(row.gaps)])
            spread = 0.24 * (2 * ((np.arange(len(gaps)) * 0.618034) % 1) - 1)
            ink = colour(summary, row.entry.name)
            size = 26 if len(gaps) <= 50 else 10
            axes.scatter(gaps, place + spread, s=size, color=ink, alpha=0.5, linewidths=0)
            mean = 100 * row.gap.mean
            if row.gap.low is not None and row.gap.high is not None:
                interval = [100 * row.gap.low, 100 * row.gap.high]
                axes.plot(interval, [place, place], color="#1c2530", linewidth=2)
            axes.plot(mean, place, marker="|", color="#1c2530", markersize=15, markeredgewidth=2)
        axes.axvline(0, color="#8a94a0", linewidth=1)
        axes.set_yticks(range(len(rows)), [row.entry.name for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        _gap_axis(axes, "x", [100 * g for row in rows for g in row.gaps.values()])
        axes.set_xlabel("gap to the reference (%)")
        return svg(figure)


def suite_dots(summaries: Sequence[SuiteSummary], solvers: Sequence[str]) -> str | None:
    """A line for each suite, with the mean gap of each of these solvers and its interval.

    None where no solver has a gap.
    """
    shown: list[float] = []
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 1.2 + 0.25 * len(summaries)), layout="constrained")
        axes = figure.add_subplot()
        # solvers of equal gap must not hide each other
        offsets = np.linspace(-0.27, 0.27, len(solvers)) if len(solvers) > 1 else [0.0]
        for solver, offset in zip(solvers, offsets, strict=True):
            found = [
                (place + offset, row.gap)
                for place, summary in enumerate(summaries)
                for row in summary.rows
                if row.entry.name == solver and row.gap is not None
            ]
            ink, shape = colour(summaries[0], solver), marker(summaries[0], solver)
            for place, gap in found:
                if gap.low is not None and gap.high is not None:
                    interval = [100 * gap.low, 100 * gap.high]
                    axes.plot(interval, [place, place], color=ink, linewidth=1.2, alpha=0.6)
                    shown += interval
            means = [100 * gap.mean for _, gap in found]
            places = [place for place, _ in found]
            axes.plot(means, places, shape, color=ink, markersize=5.5, label=solver)
            shown += means
        if not shown:
            return None
        axes.axvline(0, color="#8a94a0", linewidth=1)
        axes.set_yticks(range(len(summaries)), [summary.name for summary in summaries])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(summaries) - 0.4, -0.6)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="both")
        _gap_axis(axes, "x", shown)
        axes.set_xlabel("mean gap (%)")
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
        return svg(figure)


def _gap_axis(axes: Axes, which: str, gaps: Sequence[float]) -> None:
    """Linear where all gaps are of one size; else linear in the middle only."""
    positive = [g for g in gaps if g > 0.05]
    if positive and max(positive) > 15 * min(positive):
        scale = axes.set_xscale if which == "x" else axes.set_yscale
        scale("symlog", linthresh=LINEAR_BELOW, linscale=0.8)
        top, bottom = max(gaps), min(gaps)
        steps = [-10, -1, 0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]
        ticks = [t for t in steps if min(bottom, 0) <= t <= top * 1.3]
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_ticks(ticks)
        axis.set_ticks([], minor=True)
        limit = axes.set_xlim if which == "x" else axes.set_ylim
        limit(bottom * 1.3 if bottom < -0.05 else -0.12, top * 1.35)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def over_time(summary: SuiteSummary) -> str | None:
    """Mean gap (mean cost without references) over seconds; None where nothing was solved.

    A line for a solver with a trace, a point at its mean seconds for another.
    """
    by_gap = bool(summary.references)
    rows = [row for row in summary.rows if row.wall_seconds and (row.gap if by_gap else row.cost)]
    if not rows:
        return None
    factor = 100.0 if by_gap else 1.0
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 3.9), layout="constrained")
        axes = figure.add_subplot()
        shown: list[float] = []
        for row in rows:
            shown += _draw_over_time(axes, summary, row, factor, by_gap)
        axes.set_xscale("log")
        axes.grid(axis="both")
        axes.set_xlabel("seconds for one instance (log scale)")
        if by_gap:
            _gap_axis(axes, "y", shown)
            axes.set_ylabel("mean gap (%)")
        else:
            axes.set_ylabel("mean cost")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        figure.legend(loc="outside right upper", frameon=False, labelspacing=0.9)
        return svg(figure)


def _draw_over_time(
    axes: Axes, summary: SuiteSummary, row: Row, factor: float, by_gap: bool
) -> list[float]:
    """Draw one solver; the values drawn."""
    final = row.gap if by_gap else row.cost
    assert final is not None
    assert row.wall_seconds is not None
    name = row.entry.name
    ink, shape = colour(summary, name), marker(summary, name)
    end = (row.wall_seconds, factor * final.mean)
    values = [end[1]]
    if row.curve:
        end = (max(end[0], row.curve[-1][0]), end[1])
        values = [factor * v for _, v in row.curve] + values
        seconds = [max(t, 1e-4) for t, _ in row.curve] + [end[0]]
        axes.step(seconds, values, where="post", linewidth=1.8, color=ink)
    axes.plot(*end, linestyle="none", markersize=8, label=name, color=ink, marker=shape)
    return values


def route_panels(summary: SuiteSummary, records: Sequence[Record]) -> str | None:
    """The best solution of each solver for the suite's first instance, side by side.

    None where there is none or the instance has no coordinates.
    """
    instance = summary.first_instance
    name = summary.instances[0].name
    if instance.coords is None:
        return None
    found: list[tuple[Row, Solution]] = []
    for row in summary.rows:
        best = best_record(
            [r for r in records if (r.suite, r.instance, r.solver) ==
             (summary.name, name, row.entry.name)]
        )  # fmt: skip
        if best is not None and best.routes is not None:
            solution = evaluate(
                instance, best.routes, solver=row.entry.name, seconds=best.wall_seconds,
                depots=best.depots, vehicles=best.vehicles,
            )  # fmt: skip
            found.append((row, solution))
    if not found:
        return None
    found.sort(key=lambda pair: pair[1].cost)
    found = found[:MAX_PANELS]
    columns = len(found) if len(found) <= 4 else 3
    lines = math.ceil(len(found) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(10.4, (10.6 / columns if columns > 2 else 4.4) * lines), layout="constrained"
        )
        for place, (row, solution) in enumerate(found, start=1):
            axes = figure.add_subplot(lines, columns, place)
            draw(solution, axes)
            axes.set_axis_off()
            axes.set_title(_panel_title(summary, row, solution, name), fontsize=9.5)
        name_vehicles(figure, (vehicle for _, solution in found for vehicle in solution.vehicles))
        return svg(figure)


def _panel_title(summary: SuiteSummary, row: Row, solution: Solution, instance: str) -> str:
    reference = summary.references.get(instance)
    relative = "" if reference is None else f" ({100 * (solution.cost / reference - 1):+.2f} %)"
    count = len(solution.routes)
    many = "route" if count == 1 else "routes"
    return f"{row.entry.name}\n{solution.cost:,.6g}{relative}\n{count} {many}"
