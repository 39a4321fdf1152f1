"""How a choice is made from scores: callables ``(logits, mask, generator) -> action``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError


class Strategy(Protocol):
    """Chooses the next node of every trajectory; never one that the mask forbids."""

    def __call__(
        self,
        logits: Float[Tensor, "batch trajectory node"],
        mask: Bool[Tensor, "batch trajectory node"],
        generator: torch.Generator | None,
    ) -> Int[Tensor, "batch trajectory"]: ...


@final
@dataclass(frozen=True)
class Greedy:
    """The best-scored node that is allowed."""

    def __call__(
        self,
        logits: Float[Tensor, "batch trajectory node"],
        mask: Bool[Tensor, "batch trajectory node"],
        generator: torch.Generator | None,
    ) -> Int[Tensor, "batch trajectory"]:
        return logits.masked_fill(~mask, -torch.inf).argmax(2)


@final
@dataclass(frozen=True)
class Sampling:
    """A draw from the softmax of the allowed scores.

    Args:
        temperature: divides the scores; below 1 sharpens, above 1 flattens.
        top_k: keep the k best nodes only; None keeps all.
        top_p: keep the smallest set of best nodes whose probabilities sum to at least p
            (Holtzman et al. 2020, arXiv:1904.09751); None keeps all. Applied after ``top_k``.

    Raises:
        InputError: an argument is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; accepted: above 0")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k is {self.top_k}; accepted: 1 or more, or none")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; accepted: above 0 and at most 1, or none")

    def __call__(
        self,
        logits: Float[Tensor, "batch trajectory node"],
        mask: Bool[Tensor, "batch trajectory node"],
        generator: torch.Generator | None,
    ) -> Int[Tensor, "batch trajectory"]:
        scores = self.kept(logits, mask)
        weights = (scores - scores.amax(2, keepdim=True)).exp_()
        return draw(weights, generator)

    def kept(
        self,
        logits: Float[Tensor, "batch trajectory node"],
        mask: Bool[Tensor, "batch trajectory node"],
    ) -> Float[Tensor, "batch trajectory node"]:
        """The scores divided by the temperature, -inf where a node is masked or cut off."""
        scores = logits.masked_fill(~mask, -torch.inf)
        if self.temperature != 1:
            scores = scores / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[2]:
            least = scores.topk(self.top_k, dim=2).values[:, :, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        if self.top_p is not None and self.top_p < 1:
            ordered, order = scores.softmax(2).sort(2, descending=True)
            # a node goes when those before it already make up p; the best one never goes
            cut = ordered.cumsum(2) - ordered >= self.top_p
            scores = scores.masked_fill(torch.zeros_like(cut).scatter(2, order, cut), -torch.inf)
        return scores


def draw(
    weights: Float[Tensor, "batch trajectory node"], generator: torch.Generator | None
) -> Int[Tensor, "batch trajectory"]:
    """One index for each row, with probability in proportion to the weights (at least one > 0).

    By cumulative sums and one uniform number a row, which costs a tenth of Gumbel noise on a CPU.
    """
    total = weights.cumsum(2)
    uniform = torch.rand(
        *weights.shape[:2], 1, generator=generator, device=weights.device, dtype=weights.dtype
    )
    # rounding may leave the threshold at the very end: then the last index of positive weight
    threshold = (uniform * total[:, :, -1:]).clamp_max_(
        torch.nextafter(total[:, :, -1:], torch.zeros_like(total[:, :, -1:]))
    )
    return (total <= threshold).sum(2)
