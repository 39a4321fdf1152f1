"""The figures of a report, from the records of a result store."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nco.anytime import Anytime, Curve, anytime, improvements
from nco.benchmark_config import SolverEntry
from nco.data.instance import Instance, Rounding
from nco.declared import Part
from nco.statistics import Comparison, Estimate, compare, estimate, gap, holm, paired
from nco.store import InstanceEntry, Key, Record, Store
from nco.suite_config import BestFoundReference, SolverReference

ROUNDINGS = {
    Rounding.NONE: "not rounded",
    Rounding.NEAREST: "rounded to the nearest integer",
    Rounding.CEIL: "rounded up to integers",
    Rounding.TRUNC: "cut to integers",
    Rounding.DIMACS: "cut to one decimal",
    Rounding.EXACT: "rounded to thousandths",
}


@dataclass(frozen=True)
class Throughput:
    """Solving in batches."""

    per_second: float
    """Instances a second."""
    batch_size: int
    """Of the largest batch."""
    mean_cost: float | None
    """Over the feasible solutions of the batches."""


@dataclass(frozen=True)
class Row:
    """One solver on one suite."""

    entry: SolverEntry
    version: str | None
    """None where it did not run."""
    statuses: Counter[str]
    """How many runs, one instance at a time, ended in which way."""
    expected_runs: int
    costs: dict[str, float]
    """Of each instance with a feasible solution, the mean over the seeds that found one."""
    gaps: dict[str, float]
    """Likewise, where the instance has a reference."""
    cost: Estimate | None
    """The mean of ``costs``."""
    gap: Estimate | None
    """The mean of ``gaps``."""
    wall_seconds: float | None
    """Mean of one instance alone, over the runs that gave a solution."""
    cpu_seconds: float | None
    throughput: Throughput | None
    curve: Curve
    """Mean gap over time (mean cost without references), over the instances of ``gap``, from when
    all of them have a solution; empty where the solver tells no trace."""
    anytime: Anytime | None
    """None without references."""
    outside: dict[Part, str] | None
    """Of a model, what of the suite is outside of its declared training distribution."""
    comparison: Comparison | None
    """With the solver that the suite compares to, on the instances that both solved."""
    p_value: float | None
    """Of the comparison, corrected (Holm) for the solvers of the suite."""

    @property
    def failures(self) -> int:
        """Runs without a feasible solution in time."""
        return sum(self.statuses.values()) - self.statuses["ok"]


@dataclass(frozen=True)
class SuiteSummary:
    """One suite: what a report shows of it."""

    store: Store
    name: str
    rows: list[Row]
    references: dict[str, float]
    """What the gap of each instance is relative to; without those that have none."""
    reference: str | None
    """The same in words."""
    compared_to: str | None
    """The solver that the others are compared to."""

    def is_reference(self, row: Row) -> bool:
        """True where a row's only seed is itself what gaps are relative to."""
        reference = self.store.header.config.suite(self.name).reference
        return (
            isinstance(reference, SolverReference)
            and reference.solver == row.entry.name
            and len(row.entry.seeds) == 1
        )

    @property
    def instances(self) -> list[InstanceEntry]:
        """In the order of the store."""
        return self.store.header.suites[self.name]

    @cached_property
    def first_instance(self) -> Instance:
        """The example that is drawn."""
        return self.store.instance(self.instances[0])


def summarise(store: Store) -> list[SuiteSummary]:
    """Every suite of a store.

    Raises:
        InputError: the store is damaged.
    """
    records = store.records()
    return [_suite(store, suite, records) for suite in store.header.suites]


def best_record(records: Sequence[Record]) -> Record | None:
    """The feasible one of lowest cost."""
    good = [r for r in records if r.status == "ok" and r.cost is not None]
    return min(good, key=lambda r: r.cost or 0.0) if good else None


def _suite(store: Store, suite: str, records: dict[Key, Record]) -> SuiteSummary:
    by_solver: dict[str, list[Record]] = defaultdict(list)
    for record in records.values():
        if record.suite == suite:
            by_solver[record.solver].append(record)
    references, label = _references(store, suite, by_solver)
    entries = store.entries(suite)
    costs = {e.name: _instance_costs(by_solver[e.name]) for e in entries}
    target = _compared_to(store, suite, costs)
    comparisons = [
        _comparison(costs[e.name], costs[target], store.header.config.seed)
        if target is not None and e.name != target
        else None
        for e in entries
    ]
    corrected = holm([None if c is None else c.p_value for c in comparisons])
    rows = [
        _row(store, suite, entry, by_solver[entry.name], references, comparison, p_value)
        for entry, comparison, p_value in zip(entries, comparisons, corrected, strict=True)
    ]
    return SuiteSummary(store, suite, rows, references, label, target)


def _row(
    store: Store,
    suite: str,
    entry: SolverEntry,
    records: list[Record],
    references: dict[str, float],
    comparison: Comparison | None,
    p_value: float | None,
) -> Row:
    alone = [r for r in records if r.batch_size == 1]
    returned = [r for r in alone if r.status in ("ok", "infeasible")]
    costs = _instance_costs(records)
    gaps = {i: gap(c, references[i]) for i, c in costs.items() if i in references}
    config = store.header.config
    seed = config.seed
    cpu = [r.cpu_seconds for r in returned if r.cpu_seconds is not None]
    return Row(
        entry=entry,
        version=records[-1].solver_version if records else None,
        statuses=Counter(r.status for r in alone),
        expected_runs=len(entry.seeds) * len(store.header.suites[suite]),
        costs=costs,
        gaps=gaps,
        cost=estimate(list(costs.values()), seed),
        gap=estimate(list(gaps.values()), seed),
        wall_seconds=_mean([r.wall_seconds for r in returned]),
        cpu_seconds=_mean(cpu),
        throughput=_throughput([r for r in records if r.batch_size > 1]),
        curve=_curve(alone, references, set(gaps) if references else set(costs)),
        anytime=anytime(entry, alone, references, config.times, seed) if references else None,
        outside=store.header.outside(entry.name, suite),
        comparison=comparison,
        p_value=p_value,
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _instance_costs(records: Sequence[Record]) -> dict[str, float]:
    """Mean cost over the feasible runs of each instance, alone; instances without are left out."""
    found: dict[str, list[float]] = defaultdict(list)
    for r in records:
        if r.batch_size == 1 and r.status == "ok" and r.cost is not None:
            found[r.instance].append(r.cost)
    return {instance: sum(costs) / len(costs) for instance, costs in found.items()}


def _references(
    store: Store, suite: str, by_solver: dict[str, list[Record]]
) -> tuple[dict[str, float], str | None]:
    """The cost that gaps are relative to, for each instance that has one, and what it is."""
    config = store.header.config.suite(suite)
    rounding = _rounding(store, suite)
    if isinstance(config.reference, SolverReference):
        entry = store.header.config.entry(config.reference.solver)
        records = by_solver[entry.name]
        costs = {}
        for instance in store.header.suites[suite]:
            best = best_record(
                [r for r in records if r.instance == instance.name and r.batch_size == 1]
            )
            if best is not None and best.cost is not None and best.cost > 0:
                costs[instance.name] = best.cost
        version = records[-1].solver_version if records else "version unknown"
        seeds = "one seed" if len(entry.seeds) == 1 else f"best of {len(entry.seeds)} seeds"
        return costs, f"{entry.name} ({version}, budget {entry.budget}, {seeds}, costs {rounding})"
    if isinstance(config.reference, BestFoundReference):
        runs = [r for found in by_solver.values() for r in found if r.batch_size == 1]
        best = {i.name: best_record([r for r in runs if r.instance == i.name])
                for i in store.header.suites[suite]}  # fmt: skip
        costs = {
            name: r.cost for name, r in best.items() if r and r.cost is not None and r.cost > 0
        }
        return costs, f"the best that any solver here found (costs {rounding})"
    stored = {i.name: i.reference for i in store.header.suites[suite] if i.reference is not None}
    sources = sorted({r.source for r in stored.values()})
    if not sources:
        return {}, None
    costs = {name: r.cost for name, r in stored.items() if r.cost > 0}
    return costs, f"{', '.join(sources)} (costs {rounding})"


def _rounding(store: Store, suite: str) -> str:
    kinds = {Rounding(int(store.instance(i).rounding[0])) for i in store.header.suites[suite]}
    return " or ".join(ROUNDINGS[kind] for kind in sorted(kinds))


def _compared_to(store: Store, suite: str, costs: dict[str, dict[str, float]]) -> str | None:
    """The reference where it is a solver; else the solver of lowest mean among the most solved."""
    config = store.header.config.suite(suite)
    if isinstance(config.reference, SolverReference):
        return config.reference.solver
    ran = {name: found for name, found in costs.items() if found}
    if len(ran) < 2:
        return None
    return min(ran, key=lambda name: (-len(ran[name]), sum(ran[name].values()) / len(ran[name])))


def _comparison(costs: dict[str, float], others: dict[str, float], seed: int) -> Comparison | None:
    return compare(*paired(costs, others), seed)


def _throughput(records: Sequence[Record]) -> Throughput | None:
    """Over the batches in which every instance got a solution."""
    batches: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for r in records:
        batches[r.seed, r.batch].append(r)
    whole = [b for b in batches.values() if all(r.status in ("ok", "infeasible") for r in b)]
    seconds = sum(b[0].wall_seconds for b in whole)
    if not seconds:
        return None
    costs = [r.cost for b in whole for r in b if r.status == "ok" and r.cost is not None]
    return Throughput(sum(map(len, whole)) / seconds, max(map(len, whole)), _mean(costs))


def _curve(records: Sequence[Record], references: dict[str, float], over: set[str]) -> Curve:
    """The mean over the runs of the best value so far, on the instances ``over``."""
    runs = []
    for r in records:
        if r.instance in over and r.status == "ok" and r.cost is not None:
            if not r.trace:
                return []
            scale = references.get(r.instance)
            steps = improvements(r)
            runs.append([(t, c if scale is None else gap(c, scale)) for t, c in steps])
    return mean_curve(runs)


def mean_curve(runs: Sequence[Curve], points: int = 300) -> Curve:
    """The mean of falling step functions, from where all of them are known.

    Where there are more than ``points`` steps, at that many times, evenly spaced on a log scale.
    """
    if not runs:
        return []
    start = max(min(t for t, _ in run) for run in runs)
    times = np.unique([t for run in runs for t, _ in run if t >= start])
    if len(times) > points:
        times = np.geomspace(max(start, 1e-4), times[-1], points)
        times[0], times[-1] = max(start, times[0]), max(t for run in runs for t, _ in run)
    total = np.zeros(len(times))
    for run in runs:
        steps = np.array(sorted(run))
        best = np.minimum.accumulate(steps[:, 1])
        total += best[np.searchsorted(steps[:, 0], times, side="right") - 1]
    return list(zip(times.tolist(), (total / len(runs)).tolist(), strict=True))
