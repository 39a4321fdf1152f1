"""Gaps, intervals and comparisons against examples worked out by hand or by other means."""

from __future__ import annotations

import numpy as np
import pytest

from nco.statistics import MIN_VALUES, compare, estimate, gap, holm


def test_gap_by_hand() -> None:
    """110 over 100 is 10 %, 95 over 100 is −5 %, and so is 950 over 1,000. Their mean is 2.5 %;
    the gap of the sums would be −3.6 %."""
    assert gap(110.0, 100.0) == pytest.approx(0.10)
    assert gap(95.0, 100.0) == pytest.approx(-0.05)
    mean = estimate([gap(110.0, 100.0), gap(950.0, 1000.0)], seed=0)
    assert mean is not None
    assert mean.mean == pytest.approx(0.025)


@pytest.mark.parametrize("reference", [0.0, -1.0, float("nan")])
def test_no_gap_to_nothing(reference: float) -> None:
    """A reference that is not above 0 gives an error, not a number."""
    with pytest.raises(ValueError, match="above 0"):
        gap(1.0, reference)


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    """Of 95 % intervals of skewed samples, 87 to 99 % hold the true mean."""
    random = np.random.default_rng(3)
    held = 0
    for seed in range(100):
        found = estimate(random.exponential(size=40).tolist(), seed)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 87 <= held <= 99


def test_interval_is_like_the_normal_one_where_that_is_right() -> None:
    """For many symmetric values the interval is the mean ± 1.96 standard errors, to a tenth."""
    values = np.random.default_rng(0).normal(5, 2, size=400)
    found = estimate(values.tolist(), seed=1)
    assert found is not None
    half = 1.96 * values.std(ddof=1) / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_repeats_with_its_seed() -> None:
    """The same seed gives the same interval, another one another."""
    values = np.random.default_rng(5).exponential(size=20).tolist()
    assert estimate(values, 7) == estimate(values, 7)
    assert estimate(values, 7) != estimate(values, 8)


def test_small_and_degenerate_samples() -> None:
    """No values: no estimate. Few: a mean without interval. All equal: an interval of no width."""
    assert estimate([], 0) is None
    few = estimate([1.0] * (MIN_VALUES - 1), 0)
    assert few is not None
    assert (few.mean, few.low, few.high, few.count) == (1.0, None, None, MIN_VALUES - 1)
    equal = estimate([0.25] * 9, 0)
    assert equal is not None
    assert (equal.low, equal.high) == (0.25, 0.25)


def test_comparison_by_hand() -> None:
    """Five wins of n = 5 without ties: the exact two-sided p is 2 / 2^5."""
    found = compare([9.0, 18.0, 27.0, 36.0, 44.0], [10.0, 20.0, 30.0, 40.0, 50.0], seed=0)
    assert found is not None
    assert (found.wins, found.ties, found.losses) == (5, 0, 0)
    assert found.p_value == pytest.approx(2 / 2**5)
    assert found.difference.mean == pytest.approx(-(0.1 * 4 + 0.12) / 5)


def test_comparison_of_equals_has_no_p_value() -> None:
    """Costs that differ by rounding alone are ties, and ties alone test nothing."""
    found = compare([1.0, 2.0, 3.0], [1.0 + 1e-9, 2.0, 3.0 - 1e-9], seed=0)
    assert found is not None
    assert (found.wins, found.ties, found.losses, found.p_value) == (0, 3, 0, None)


def test_holm_by_hand() -> None:
    """0.01, 0.03, 0.04 of three tests become 0.03, 0.06, 0.06; what is unknown does not count."""
    corrected = holm([0.04, None, 0.01, 0.03])
    assert corrected[1] is None
    assert [corrected[i] for i in (2, 3, 0)] == pytest.approx([0.03, 0.06, 0.06])
