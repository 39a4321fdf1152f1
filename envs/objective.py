"""What is made small where a plan has many costs, one for each scenario."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.errors import InputError


@final
@dataclass(frozen=True)
class Objective:
    """The mean of the worst costs: CVaR (Rockafellar and Uryasev 2000, doi:10.21314/JOR.2000.038).

    Args:
        cvar: the level α, the share of the best costs that is left out; 0 is the expectation.

    Raises:
        InputError: the level is not from 0 to below 1.
    """

    cvar: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.cvar < 1:
            raise InputError(f"cvar is {self.cvar}; accepted: from 0 (the expectation) to below 1")

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"CVaR{100 * self.cvar:g}" if self.cvar else "mean"

    def of(self, costs: Float[Tensor, "*plan scenario"]) -> Float[Tensor, "*plan"]:
        """The value of costs in equally likely scenarios.

        With S scenarios the worst (1 - α) S of them count; of a part of a scenario, that part.
        """
        if self.cvar == 0:
            return costs.mean(-1)
        share = (1 - self.cvar) * costs.shape[-1]
        # in floating-point arithmetic 0.05 · 1000 is a little more than 50
        whole = math.floor(share + 1e-9)
        worst = costs.topk(min(whole + 1, costs.shape[-1]), -1).values
        place = torch.arange(worst.shape[-1], device=costs.device, dtype=costs.dtype)
        weights = (share - place).clamp(0, 1)
        return (worst * weights).sum(-1) / share


MEAN = Objective()
