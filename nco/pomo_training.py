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


@final
class SharedBaseline(Algorithm):
    """REINFORCE with several trajectories of each instance and their mean as the baseline."""

    def __init__(self, config: TrainConfig, validation: ValidationSet, policy: Policy) -> None:
        super().__init__(config, validation, policy)
        settings = config.algorithm
        assert isinstance(settings, SharedBaselineConfig)
        self.num_starts = settings.num_starts
        self.forced_starts = settings.forced_starts
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
        advantage = costs.mean(1, keepdim=True) - costs
        if self.variant_means is None:
            return advantage
        self.variant_means.update(instance, costs)
        return self.variant_means.divide(instance, advantage)

    def extra_loss(self, instance: Instance, trajectory: Trajectory) -> Tensor | None:
        return None
