"""Lengths and times as the independent judges compute them: apart from `nco.data.instance`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from torch import Tensor

from nco.data.instance import Instance, Rounding


def numbers(value: Tensor) -> np.ndarray:
    """Of one instance (B = 1), float64."""
    return value[0].detach().double().cpu().numpy()


def _rounded(length: float, rounding: Rounding) -> float:
    """A Euclidean length as an arc length. For rules that cut, one within a billionth of the next
    whole step counts as that step: 0.7 * 10 must not become 6."""
    slack = 1e-9 * max(length, 1.0)
    match rounding:
        case Rounding.NONE:
            return length
        case Rounding.NEAREST:
            return float(math.floor(length + 0.5))
        case Rounding.CEIL:
            return float(math.ceil(length - slack))
        case Rounding.TRUNC:
            return float(math.floor(length + slack))
        case Rounding.DIMACS:
            return math.floor(10 * length + slack) / 10
        case Rounding.EXACT:
            return math.floor(1000 * length + 0.5) / 1000


@final
@dataclass(frozen=True)
class Lengths:
    """Arcs of one instance."""

    rounding: Rounding
    coords: list[list[float]] | None
    distance_matrix: np.ndarray | None
    duration_matrix: np.ndarray | None

    @classmethod
    def of(cls, instance: Instance) -> Lengths:
        """Of one instance (B = 1)."""
        distance, duration = instance.distance, instance.duration
        return cls(
            Rounding(int(instance.rounding[0])),
            None if instance.coords is None else numbers(instance.coords).tolist(),
            None if distance is None else numbers(distance),
            None if duration is None else numbers(duration),
        )

    def distance(self, i: int, j: int) -> float:
        """From i to j."""
        if self.distance_matrix is not None:
            return float(self.distance_matrix[i, j])
        assert self.coords is not None  # an Instance has one of the two
        (x, y), (u, v) = self.coords[i], self.coords[j]
        return _rounded(math.hypot(x - u, y - v), self.rounding)

    def duration(self, i: int, j: int) -> float:
        """Travel time from i to j; the distance where no durations are given."""
        if self.duration_matrix is not None:
            return float(self.duration_matrix[i, j])
        return self.distance(i, j)
