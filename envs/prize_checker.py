"""The checker's rules of prizes: plain loops, apart from any environment."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PrizeRules:
    """One instance's; values by node."""

    prize: Sequence[float]
    """As they turned out, where that is uncertain."""
    penalty: Sequence[float]
    min_prize: float

    def judge(
        self, routes: list[list[int]], customers: Collection[int], tolerance: float
    ) -> tuple[float, list[str]]:
        """The penalties of the customers left out, and what is broken: there is one tour, which
        collects ``min_prize`` less the tolerance, a share of it, or visits all."""
        used = [route for route in routes if route]
        seen = {node for route in used for node in route}
        left = [node for node in customers if node not in seen]
        broken = []
        if len(used) > 1:
            broken.append(f"{len(used)} routes are given; a prize-collecting tour is one")
        collected = math.fsum(self.prize[node] for node in customers if node in seen)
        if left and self.min_prize - collected > tolerance * self.min_prize:
            broken.append(
                f"a prize of {collected:g} is collected, {self.min_prize - collected:g} below the "
                f"{self.min_prize:g} that a tour must collect unless it visits all"
            )
        return math.fsum(self.penalty[node] for node in left), broken
