"""How a choice is made from scores: callables ``(logits, mask, generator) -> action``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.envs.environment import FORBIDDEN, mask_bias

MIN_TEMPERATURE = 1e-6
"""Below, scores divided by it would come near what keeps forbidden nodes out."""


@runtime_checkable
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
        return (logits + mask_bias(mask, logits.dtype)).argmax(2)


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
        if not self.temperature >= MIN_TEMPERATURE:
            raise InputError(
                f"temperature is {self.temperature}; accepted: at least {MIN_TEMPERATURE:g}"
            )
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
        return draw(self.kept(logits, mask).softmax(2), generator)

    def kept(
        self,
        logits: Float[Tensor, "batch trajectory node"],
        mask: Bool[Tensor, "batch trajectory node"],
    ) -> Float[Tensor, "batch trajectory node"]:
        """The scores divided by the temperature, far below all where a node is masked or cut."""
        if self.temperature != 1:
            logits = logits / self.temperature
        scores = logits + mask_bias(mask, logits.dtype)
        if self.top_k is not None and self.top_k < scores.shape[2]:
            least = scores.topk(self.top_k, dim=2).values[:, :, -1:]
            scores = scores.masked_fill(scores < least, FORBIDDEN)
        if self.top_p is not None and self.top_p < 1:
            ordered, order = scores.softmax(2).sort(2, descending=True)
            # a node goes when those before it already make up p; the best one never goes
            cut = ordered.cumsum(2) - ordered >= self.top_p
            scores = scores.masked_fill(torch.zeros_like(cut).scatter(2, order, cut), FORBIDDEN)
        return scores


def draw(
    probabilities: Float[Tensor, "batch trajectory node"], generator: torch.Generator | None
) -> Int[Tensor, "batch trajectory"]:
    """One index for each row, never one of probability 0.

    On a CPU by cumulative sums and one uniform number a row, which costs a tenth of Gumbel noise.
    A GPU adds in parallel, so its sums need not rise and may step where a probability is 0; there
    by `race`.
    """
    if probabilities.device.type != "cpu":
        return race(probabilities, generator)
    total = probabilities.cumsum(2)
    last = total[:, :, -1:]
    uniform = torch.rand(last.shape, generator=generator, device=last.device, dtype=last.dtype)
    # strictly below the end, whatever rounding does: the first sum above it has a weight of its own
    threshold = torch.minimum(uniform * last, torch.nextafter(last, torch.zeros_like(last)))
    return torch.searchsorted(total, threshold, right=True).squeeze(2)


def race(
    probabilities: Float[Tensor, "batch trajectory node"], generator: torch.Generator | None
) -> Int[Tensor, "batch trajectory"]:
    """One index for each row: the first to arrive, each after an exponential time of rate p.

    Torch's times on a GPU are never 0, so a probability of 0 gives a speed of 0 and never wins.
    """
    time = torch.empty_like(probabilities).exponential_(generator=generator)
    return (probabilities / time).argmax(2)
