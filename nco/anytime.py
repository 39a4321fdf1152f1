"""What a solver had found by when: gaps at fixed times, and the primal integral."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nco.benchmark_config import SolverEntry
from nco.statistics import Estimate, estimate, gap
from nco.store import Record

Curve = list[tuple[float, float]]
"""(seconds, value), a step function."""


@dataclass(frozen=True)
class Anytime:
    """One solver on one suite, at the benchmark's times."""

    gaps: list[Estimate | None]
    """At each of the times, the mean over the instances with a solution by then. None where the
    solver had to stop before, tells nothing on the way, or has no solution by then."""
    integral: Estimate | None
    """The primal integral up to the last of the times in per cent, over all instances: 100 where
    there never was a solution. None where the solver had to stop before or tells nothing on the
    way."""


def improvements(record: Record) -> Curve:
    """The costs of a solved run as they came. The costs on the way are the adapter's word, which
    our checker gave while it ran; the last one is recomputed from the routes."""
    if record.status != "ok" or record.cost is None:
        return []
    final = record.cost
    slack = 1e-6 * abs(final)
    reached = [t for t, c in record.trace if c <= final + slack]
    arrival = (min(reached, default=record.wall_seconds), final)
    return [*((t, c) for t, c in record.trace if c > final + slack and t < arrival[0]), arrival]


def value_at(curve: Curve, seconds: float) -> float | None:
    """The best value by then; None before the first one."""
    values = [value for at, value in curve if at <= seconds]
    return min(values) if values else None


def primal_integral(curve: Curve, reference: float, horizon: float) -> float:
    """The mean over the time from 0 to ``horizon`` of the primal gap, |c - r| / max(c, r), which is
    1 before the first solution (Berthold 2013, doi:10.1016/j.orl.2013.08.007, over the horizon).

    A cost below the reference has the gap 0: what is better than the reference is not worse.

    Args:
        curve: seconds and costs, in any order.
        reference: above 0.
    """
    total, since, gap_now = 0.0, 0.0, 1.0
    for at, cost in sorted(curve):
        if at >= horizon:
            break
        total += gap_now * (at - since)
        since = at
        gap_now = min(gap_now, max(0.0, 1 - reference / cost) if cost > 0 else 0.0)
    return (total + gap_now * (horizon - since)) / horizon


def anytime(
    entry: SolverEntry,
    records: Sequence[Record],
    references: dict[str, float],
    times: Sequence[float],
    seed: int,
) -> Anytime:
    """The figures of a solver's runs of one instance at a time; seeds are averaged first."""
    runs: dict[str, list[Curve]] = {}
    for r in records:
        if r.batch_size == 1 and r.instance in references and r.status != "unsupported":
            runs.setdefault(r.instance, []).append(improvements(r))
    silent = _limited(entry) and not any(r.trace for r in records)
    gaps: list[Estimate | None] = []
    for at in times:
        found = []
        # at its limit a solver that told nothing on the way has what it ended with
        known = at == entry.budget.time_limit if silent else _allowed(entry, at)
        for instance, curves in runs.items() if known else ():
            by_then = math.inf if silent else at
            costs = [c for c in (value_at(curve, by_then) for curve in curves) if c is not None]
            if costs:
                found.append(float(np.mean([gap(c, references[instance]) for c in costs])))
        gaps.append(estimate(found, seed))
    if silent or not _allowed(entry, times[-1]):
        return Anytime(gaps, None)
    integrals = [
        100 * float(np.mean([primal_integral(c, references[name], times[-1]) for c in curves]))
        for name, curves in runs.items()
    ]
    return Anytime(gaps, estimate(integrals, seed))


def _limited(entry: SolverEntry) -> bool:
    """Whether a solver searches for as long as it may: when it found its solution, only a trace can
    tell."""
    return entry.budget.time_limit is not None or entry.budget.iterations is not None


def _allowed(entry: SolverEntry, seconds: float) -> bool:
    """Whether a solver was given so much time: what would have come later is not known."""
    limit = entry.budget.time_limit
    return limit is None or seconds <= limit
