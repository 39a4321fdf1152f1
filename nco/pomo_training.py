"""POMO: every start of an instance is compared with the mean over all of them.

Kwon et al. 2020, arXiv:2010.16011, algorithm 1 and equation 3.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nco.algorithm import Algorithm, ValidationSet
from nco.data.instance import Instance
from nco.models.policy import Encoding, Policy
from nco.reward_normalisation import VariantMeans
from nco.rollout import Trajectory, rollout
from nco.strategies import Sampling
from nco.train_config import SharedBaselineConfig, TrainConfig

SMALLEST = 1e-6
"""A standard deviation below this part of the mean cost is that of rounding."""


@final
class SharedBaseline(Algorithm):
    """REINFORCE with several trajectories of each instance and their mean as the baseline."""

    def __init__(self, config: TrainConfig, validation: ValidationSet, policy: Policy) -> None:
        super().__init__(config, validation, policy)
        settings = config.algorithm
        assert isinstance(settings, SharedBaselineConfig)
        self.num_starts = settings.num_starts
        self.forced_starts = settings.forced_starts
        self.unit = settings.advantage
        norm = settings.reward_norm
        self.variant_means = None if norm is None else VariantMeans(norm.alpha)

    def rollout(
        self, instance: Instance, generator: torch.Generator
    ) -> tuple[Trajectory, Encoding]:
        count = self.num_starts or self.env.num_starts(instance)
        encoding = self.policy.encode(instance, generator)
        trajectory = rollout(
            self.env,
            self.policy,
            instance,
            Sampling(),
            num_trajectories=count,
            starts=self.env.start_actions(instance, count) if self.forced_starts else None,
            generator=generator,
            record=True,
            encoding=encoding,
            kernel=self.kernel,
        )
        return trajectory, encoding

    def advantage(
        self, instance: Instance, trajectory: Trajectory
    ) -> Float[Tensor, "batch trajectory"]:
        costs = trajectory.costs
        if self.unit == "rank":
            return rank_advantage(costs)
        if self.unit == "standard":
            return standard_advantage(costs)
        advantage = costs.mean(1, keepdim=True) - costs
        if self.variant_means is None:
            return advantage
        self.variant_means.update(instance, costs)
        return self.variant_means.divide(instance, advantage)

    def extra_loss(self, instance: Instance, trajectory: Trajectory) -> Tensor | None:
        return None


def standard_advantage(
    costs: Float[Tensor, "batch trajectory"],
) -> Float[Tensor, "batch trajectory"]:
    """How many standard deviations of an instance's costs each is cheaper than their mean."""
    mean = costs.mean(1, keepdim=True)
    spread = costs.std(1, keepdim=True, correction=0)
    least = (SMALLEST * mean.abs()).clamp(min=torch.finfo(costs.dtype).tiny)
    return (mean - costs) / torch.maximum(spread, least)


def rank_advantage(
    costs: Float[Tensor, "batch trajectory"],
) -> Float[Tensor, "batch trajectory"]:
    """The share of the other trajectories that are dearer, less the share of those that are
    cheaper: from -1 to 1, equal costs alike, and 0 in the mean of an instance."""
    ordered = costs.sort(1).values
    cheaper = torch.searchsorted(ordered, costs.contiguous())
    dearer = costs.shape[1] - torch.searchsorted(ordered, costs.contiguous(), right=True)
    return (dearer - cheaper).to(costs.dtype) / (costs.shape[1] - 1)
