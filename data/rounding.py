"""How Euclidean lengths become arc lengths."""

from __future__ import annotations

from enum import IntEnum

import torch
from jaxtyping import Float
from torch import Tensor


class Rounding(IntEnum):
    """How a Euclidean length becomes an arc length.

    A matrix given explicitly is never rounded again.
    """

    NONE = 0
    NEAREST = 1
    """To the nearest integer, halves up: TSPLIB's ``nint`` (EUC_2D) and CVRPLIB."""
    CEIL = 2
    """Up to the next integer (CEIL_2D)."""
    TRUNC = 3
    """Down to an integer (FLOOR_2D)."""
    DIMACS = 4
    """Truncated to one decimal: the DIMACS challenge's rule for time windows."""
    EXACT = 5
    """To the nearest thousandth."""


def round_lengths(
    length: Float[Tensor, "batch from to"], rounding: Tensor
) -> Float[Tensor, "batch from to"]:
    """Apply each instance's `Rounding` (``[B]``) to Euclidean lengths."""
    if not bool(rounding.any()):
        return length
    code = rounding.view(-1, 1, 1)
    # a length such as 0.3 * 10 must not fall below the integer that it stands for
    slack = 1e-9 * length.clamp(min=1)
    rounded = {
        Rounding.NEAREST: (length + 0.5).floor(),
        Rounding.CEIL: (length - slack).ceil(),
        Rounding.TRUNC: (length + slack).floor(),
        Rounding.DIMACS: (length * 10 + slack).floor() / 10,
        Rounding.EXACT: (length * 1000 + 0.5).floor() / 1000,
    }
    for kind, value in rounded.items():
        length = torch.where(code == int(kind), value, length)
    return length
