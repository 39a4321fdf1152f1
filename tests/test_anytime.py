"""Gaps at fixed times and primal integrals, by hand and against a sum over small steps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nco.anytime import anytime, improvements, primal_integral, value_at
from nco.benchmark_config import SolverEntry
from nco.store import Record

REFERENCE = 10.0


def entry(limit: float | None) -> SolverEntry:
    budget = {} if limit is None else {"time_limit": limit}
    return SolverEntry.model_validate(
        {"name": "a", "solver": {"solver": "nearest"}, "budget": budget}
    )


def record(instance: str, cost: float | None, **changes: Any) -> Record:
    values = {
        "suite": "s", "instance": instance, "solver": "a", "seed": 0, "cost": cost,
        "status": "failed" if cost is None else "ok", "wall_seconds": 2.0, "setup_seconds": 0.0,
        "solver_version": "1", "finished": "2020-01-01T00:00:00Z",
    }  # fmt: skip
    return Record.model_validate(values | changes)


def test_integral_by_hand() -> None:
    """Nothing for a second, 20 for two, 12.5 for one, the reference after: (1 + 2 × 0.5 + 0.2) / 10
    of ten seconds; what comes after the horizon does not count."""
    curve = [(1.0, 20.0), (3.0, 12.5), (4.0, 10.0)]
    assert primal_integral(curve, REFERENCE, 10.0) == pytest.approx(0.22)
    assert primal_integral(curve, REFERENCE, 2.0) == pytest.approx(0.75)
    assert primal_integral([], REFERENCE, 5.0) == 1
    assert primal_integral([(0.0, 8.0)], REFERENCE, 5.0) == 0


@given(st.lists(st.tuples(st.floats(0, 12), st.floats(8, 50)), max_size=6), st.floats(0.5, 10))
def test_integral_is_the_mean_gap_over_time(
    curve: list[tuple[float, float]], horizon: float
) -> None:
    """A sum over 4,000 short steps."""
    steps, total = 4000, 0.0
    for i in range(steps):
        best = value_at(curve, (i + 0.5) * horizon / steps)
        total += 1.0 if best is None else max(0.0, 1 - REFERENCE / best)
    assert primal_integral(curve, REFERENCE, horizon) == pytest.approx(total / steps, abs=0.004)


def test_the_last_improvement_is_the_checkers() -> None:
    """A trace may claim to be below the cost: it is at the cost from then on. Without a trace the
    solution is there at the end; without a solution never."""
    claimed = record("i", 11.0, trace=[(0.1, 15.0), (0.5, 10.5), (0.7, 10.2)])
    assert improvements(claimed) == [(0.1, 15.0), (0.5, 11.0)]
    assert improvements(record("i", 11.0)) == [(2.0, 11.0)]
    assert improvements(record("i", None)) == []


def test_figures_by_hand() -> None:
    """Two instances, one of them with two seeds, one unsolved; gaps are over what is solved by
    then, integrals over all."""
    records = [
        record("i", 11.0, trace=[(0.1, 15.0), (0.5, 11.0)]),
        record("i", 12.0, seed=1, trace=[(0.2, 12.0)]),
        record("j", None),
        record("k", 10.0),
        record("i", 10.0, batch_size=4),
    ]
    references = {"i": 10.0, "j": 10.0}
    found = anytime(entry(1.0), records, references, [0.05, 0.15, 1.0], 0)
    means = [None if gap is None else (gap.count, gap.mean) for gap in found.gaps]
    assert means == [None, (1, pytest.approx(0.5)), (1, pytest.approx(0.15))]
    first = 0.1 + 0.4 * (1 - 10 / 15) + 0.5 * (1 - 10 / 11)
    second = 0.2 + 0.8 * (1 - 10 / 12)
    assert found.integral is not None
    assert found.integral.count == 2
    assert found.integral.mean == pytest.approx(100 * ((first + second) / 2 + 1) / 2)


def test_what_would_have_come_later_is_not_told() -> None:
    """A solver that was stopped at 1 s has no gap at 10 s; one that ends by itself has its own."""
    runs, references = [record("i", 11.0)], {"i": 10.0}
    told = [record("i", 11.0, trace=[(0.5, 11.0)])]
    stopped = anytime(entry(1.0), told, references, [1.0, 10.0], 0)
    assert stopped.gaps[0] is not None
    assert stopped.gaps[1] is None
    assert stopped.integral is None
    # without a trace only what it had at its limit is known
    silent = anytime(entry(1.0), runs, references, [0.5, 1.0], 0)
    assert silent.gaps[0] is None
    assert silent.gaps[1] is not None
    assert silent.integral is None
    ended = anytime(entry(None), runs, references, [1.0, 10.0], 0)
    assert ended.gaps[1] is not None
    assert ended.gaps[1].mean == pytest.approx(0.1)
    assert ended.integral is not None
    assert ended.integral.mean == pytest.approx(100 * (0.2 + 0.8 * (1 - 10 / 11)))
