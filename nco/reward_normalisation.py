"""Multi-task reward normalisation: variants with long routes do not drown those with short ones.

Axes: B instances, S trajectories, V variants.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nco.data.attributes import VARIANT_ATTRIBUTES, variant_index
from nco.data.instance import Instance

NUM_VARIANTS = 2 ** len(VARIANT_ATTRIBUTES)
"""A variant is a set of attributes, whatever else it is called."""


@final
class VariantMeans(nn.Module):
    """A running mean cost of each variant, r ← (1 - α) r + α · (its mean in this batch).

    Berto et al. 2024, "RouteFinder: Towards foundation models for vehicle routing problems"
    (arXiv:2406.15007), multi-task reward normalisation: the exponential moving average with
    division. Division is what matters: to subtract a variant's mean changes all trajectories of an
    instance alike, and cancels where each is compared with the others' mean.

    Differs from the authors' code in: variants are told apart by all of their attributes.
    """

    mean: Float[Tensor, " variant"]

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        # 0: not seen yet
        self.register_buffer("mean", torch.zeros(NUM_VARIANTS))

    @torch.no_grad()
    def update(self, instance: Instance, costs: Float[Tensor, "batch trajectory"]) -> None:
        """Learn from a batch, together with the batches of all processes. A variant seen for the
        first time gets its mean; one that is absent keeps what it has."""
        variants = torch.arange(NUM_VARIANTS, device=costs.device).unsqueeze(1)
        # sums over a mask: scattered additions have no fixed order on a GPU, where a resumed run
        # must be the same run too, and a matrix product would be rounded in mixed precision
        member = (variant_index(instance) == variants).to(costs.dtype)
        seen = torch.stack(((member * costs.mean(1)).sum(1), member.sum(1)))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(seen)
        total, count = seen
        current = total / count.clamp(min=1)
        moved = torch.where(self.mean == 0, current, self.mean.lerp(current, self.alpha))
        self.mean.copy_(torch.where(count > 0, moved, self.mean))

    def divide(
        self, instance: Instance, advantage: Float[Tensor, "batch trajectory"]
    ) -> Float[Tensor, "batch trajectory"]:
        """Advantages as shares of what their variants cost; seen variants only."""
        index: Int[Tensor, " batch"] = variant_index(instance)
        smallest = torch.finfo(self.mean.dtype).tiny
        return advantage / self.mean[index].clamp(min=smallest).unsqueeze(1)
