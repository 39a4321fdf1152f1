"""The checker's mean cost of a route with uncertain demands: plain loops and numbers, apart from
any environment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nco.data.instance import DemandLaw

POINTS = 24
"""Of the rule that integrates over a common factor."""
Probabilities = list[float]


@dataclass
class DemandRules:
    """One instance's; values by node."""

    law: DemandLaw
    mean: Sequence[float]
    spread: Sequence[float]
    correlation: float
    restocking: bool
    capacity: int
    distance: Callable[[int, int], float]
    _known: dict[int, Probabilities] = field(default_factory=dict)
    _quantiles: dict[int, list[float]] = field(default_factory=dict)

    def mean_cost(self, route: list[int]) -> float:
        """Of one route from depot 0 in the better direction, by the policy that is best where
        demands are independent."""
        costs = []
        for order in (route, route[::-1]):
            cost, policy = self._followed(order, self.probabilities, None)
            costs.append((cost, order, policy))
        cost, order, policy = costs[0] if costs[0][0] <= costs[1][0] else costs[1]
        if self.correlation == 0:
            return cost
        points, weights = np.polynomial.hermite_e.hermegauss(POINTS)
        total = 0.0
        for point, weight in zip(points.tolist(), (weights / weights.sum()).tolist(), strict=True):
            given = {node: self._given(node, point) for node in route}
            total += weight * self._followed(order, given.__getitem__, policy)[0]
        return total

    def probabilities(self, node: int) -> Probabilities:
        """Of the demands 0, 1, ..., capacity."""
        if node not in self._known:
            whole = [self._probability(node, k) for k in range(self.capacity)]
            self._known[node] = [*whole, max(0.0, 1 - math.fsum(whole))]
        return self._known[node]

    def _probability(self, node: int, k: int) -> float:
        mean, spread = self.mean[node], self.spread[node]
        match self.law:
            case DemandLaw.POISSON:
                return math.exp(-mean) * mean**k / math.factorial(k)
            case DemandLaw.NORMAL:
                if spread == 0:
                    return float(k == math.floor(mean + 0.5))
                below = 0.0 if k == 0 else _normal_cdf((k - 0.5 - mean) / spread)
                return _normal_cdf((k + 0.5 - mean) / spread) - below
            case DemandLaw.UNIFORM:
                low, high = round(mean - spread), round(mean + spread)
                hits = [max(0, value) == k for value in range(low, high + 1)]
                return sum(hits) / len(hits)

    def _given(self, node: int, factor: float) -> Probabilities:
        """The same in scenarios whose common factor is known."""
        root, rest = math.sqrt(self.correlation), math.sqrt(1 - self.correlation)
        if node not in self._quantiles:
            sums = itertools.accumulate(self.probabilities(node))
            self._quantiles[node] = [_normal_quantile(min(1.0, total)) for total in sums]
        upto = [_normal_cdf((x - root * factor) / rest) for x in self._quantiles[node]]
        return [a - b for a, b in zip(upto, [0.0, *upto], strict=False)]

    def _followed(
        self,
        order: list[int],
        probabilities: Callable[[int], Probabilities],
        policy: list[list[bool]] | None,
    ) -> tuple[float, list[list[bool]]]:
        """The mean cost of a route, and whether to turn back before its stop i with load q."""
        stops, full, d = [0, *order, 0], self.capacity, self.distance
        to_go = [0.0] * (full + 1)
        made: list[list[bool]] = []
        for i in range(len(order), -1, -1):
            here, ahead = stops[i], stops[i + 1]
            if ahead == 0:
                to_go = [d(here, 0)] * (full + 1)
                made.append([False] * (full + 1))
                continue
            share = probabilities(ahead)
            after = []
            for q in range(full + 1):
                served = sum(share[k] * to_go[q - k] for k in range(q + 1))
                missing = d(ahead, 0) + d(0, ahead)
                short = sum(
                    share[k] * (missing + to_go[q + full - k]) for k in range(q + 1, full + 1)
                )
                after.append(served + short)
            direct = [d(here, ahead) + after[q] for q in range(full + 1)]
            early = d(here, 0) + d(0, ahead) + after[full]
            if policy is not None:
                back = policy[i]
            else:
                back = [self.restocking and early < cost - 1e-9 * cost for cost in direct]
            made.append(back)
            to_go = [early if turn else cost for turn, cost in zip(back, direct, strict=True)]
        return to_go[full], made[::-1]


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _normal_quantile(p: float) -> float:
    """By bisection; to the last digits that matter here."""
    if p <= 0 or p >= 1:
        return -math.inf if p <= 0 else math.inf
    low, high = -40.0, 40.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _normal_cdf(middle) < p else (low, middle)
    return low
