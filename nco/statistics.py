"""Gaps, confidence intervals and paired comparisons.

The gap of an instance is ``cost / reference - 1``, a fraction; the gap of a suite is the mean over
its instances. No reference, no gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999
MIN_VALUES = 5
"""With fewer values no interval is given: a bootstrap of so few only repeats them."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap confidence interval."""

    mean: float
    low: float | None
    """Lower end of the interval; None where fewer than `MIN_VALUES` are known."""
    high: float | None
    count: int
    """Values that the mean is over."""


@dataclass(frozen=True)
class Frequency:
    """How often something happened, with its Wilson interval."""

    share: float
    low: float
    high: float
    count: int
    """Of trials."""


@dataclass(frozen=True)
class SignedRank:
    """Wins, and how surely they are no chance."""

    wins: int
    ties: int
    losses: int
    p_value: float | None
    """Wilcoxon signed-rank test, two-sided; None where every pair is a tie."""


@dataclass(frozen=True)
class Comparison:
    """Two solvers on the instances that both solved; a win is a lower cost."""

    wins: int
    ties: int
    losses: int
    difference: Estimate
    """Mean of ``cost / other - 1``."""
    p_value: float | None
    """Wilcoxon signed-rank test, two-sided; None where every pair is a tie."""


def gap(cost: float, reference: float) -> float:
    """``cost / reference - 1``; negative where the reference is beaten.

    Raises:
        ValueError: the reference is not above 0.
    """
    if not reference > 0:
        raise ValueError(f"reference is {reference}; accepted: a number above 0")
    return cost / reference - 1


def estimate(values: Sequence[float], seed: int) -> Estimate | None:
    """The mean of independent values with its 95 % bootstrap interval; None of no values.

    Bias-corrected and accelerated (Efron 1987, doi:10.1080/01621459.1987.10478410). Where the
    jackknife that it needs has no spread, so that it is undefined, the interval is the mean.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return None
    mean = float(data.mean())
    if data.size < MIN_VALUES:
        return Estimate(mean, None, None, int(data.size))
    if np.ptp(data) <= 1e-12 * max(1.0, float(np.abs(data).max())):
        return Estimate(mean, mean, mean, int(data.size))
    interval = stats.bootstrap(
        (data,),
        np.mean,
        vectorized=True,
        axis=-1,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        # in chunks: all resamples of a large suite at once would take gigabytes
        batch=max(1, 10_000_000 // int(data.size)),
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), int(data.size))


def frequency(happened: int, trials: int) -> Frequency | None:
    """The share of trials with its 95 % score interval (Wilson 1927,
    doi:10.1080/01621459.1927.10502953); None of no trials.

    Raises:
        ValueError: more happened than was tried, or less than nothing.
    """
    if not 0 <= happened <= trials:
        raise ValueError(f"{happened} of {trials} trials; accepted: from 0 to all of them")
    if trials == 0:
        return None
    return Frequency(happened / trials, *_wilson(happened / trials, float(trials)), trials)


def clustered_frequency(happened: Sequence[int], trials: Sequence[int]) -> Frequency | None:
    """The same where trials come in clusters, one number for each, and those of a cluster are
    alike: as many trials enter Wilson's interval as independent ones would tell as much (Kish
    1965, "Survey sampling", the design effect). Where it happened always or never there is nothing
    to tell alike by, and a cluster counts as one trial.

    Raises:
        ValueError: more happened in a cluster than was tried, or the two have different lengths.
    """
    pairs = list(zip(happened, trials, strict=True))
    if any(not 0 <= k <= n for k, n in pairs):
        raise ValueError(f"{pairs}; accepted: from 0 to all of the trials")
    clusters, total = len(pairs), sum(trials)
    if total == 0:
        return None
    share = sum(happened) / total
    spread = sum((k - share * n) ** 2 for k, n in pairs) / total**2
    effective = float(clusters)
    if 0 < share < 1 and clusters > 1:
        spread *= clusters / (clusters - 1)
        effective = min(total, share * (1 - share) / spread) if spread > 0 else float(total)
    return Frequency(share, *_wilson(share, effective), total)


def _wilson(share: float, trials: float) -> tuple[float, float]:
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = z / (1 + z**2 / trials) * (share * (1 - share) / trials + (z / trials) ** 2 / 4) ** 0.5
    # at the ends the interval reaches them, but for rounding
    return 0.0 if share == 0 else middle - spread, 1.0 if share == 1 else middle + spread


def compare(
    costs: Sequence[float], others: Sequence[float], seed: int, tolerance: float = 1e-6
) -> Comparison | None:
    """``costs`` against ``others``, paired by instance; None of no pairs.

    Costs within the relative ``tolerance`` are a tie: solvers sum the same arcs in different
    orders. Ties enter the test as zeros (Pratt 1959, doi:10.1080/01621459.1959.10501526).

    Raises:
        ValueError: the two have different lengths.
    """
    if len(costs) != len(others):
        raise ValueError(f"{len(costs)} costs and {len(others)} others; accepted: equally many")
    if not costs:
        return None
    relative = _relative(costs, others, tolerance)
    difference = estimate(relative.tolist(), seed)
    assert difference is not None
    test = signed_rank(costs, others, tolerance)
    return Comparison(test.wins, test.ties, test.losses, difference, test.p_value)


def _relative(costs: Sequence[float], others: Sequence[float], tolerance: float) -> np.ndarray:
    relative = np.asarray([gap(a, b) for a, b in zip(costs, others, strict=True)])
    relative[np.abs(relative) <= tolerance] = 0.0
    return relative


def signed_rank(
    costs: Sequence[float], others: Sequence[float], tolerance: float = 1e-6
) -> SignedRank:
    """As `compare`, without the difference and its interval."""
    relative = _relative(costs, others, tolerance)
    p_value = None
    if np.any(relative != 0):
        p_value = float(np.asarray(stats.wilcoxon(relative, zero_method="pratt"))[1])
    return SignedRank(
        wins=int((relative < 0).sum()),
        ties=int((relative == 0).sum()),
        losses=int((relative > 0).sum()),
        p_value=p_value,
    )


def paired(costs: dict[str, float], others: dict[str, float]) -> tuple[list[float], list[float]]:
    """The costs of two solvers on the instances that both solved."""
    both = [i for i in costs if others.get(i, 0.0) > 0]
    return [costs[i] for i in both], [others[i] for i in both]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values corrected for being several (Holm 1979); None stays None."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        corrected[i] = highest
    return corrected
