"""REINFORCE (Williams 1992, doi:10.1007/BF00992696) against an exponential moving average."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nco.algorithm import Algorithm, ValidationSet
from nco.data.instance import Instance
from nco.models.policy import Encoding, Policy
from nco.reinforce import moving_average, sample_one
from nco.rollout import Trajectory
from nco.train_config import ExponentialBaselineConfig, TrainConfig


@final
class ExponentialBaseline(Algorithm):
    """Each cost is compared with the moving average of the batches' means (Kool et al. 2019)."""

    def __init__(self, config: TrainConfig, validation: ValidationSet, policy: Policy) -> None:
        super().__init__(config, validation, policy)
        self.register_buffer("average", torch.tensor(torch.nan))

    def rollout(
        self, instance: Instance, generator: torch.Generator
    ) -> tuple[Trajectory, Encoding]:
        return sample_one(self.env, self.policy, instance, generator, self.kernel)

    def advantage(
        self, instance: Instance, trajectory: Trajectory
    ) -> Float[Tensor, "batch trajectory"]:
        settings = self.config.algorithm
        assert isinstance(settings, ExponentialBaselineConfig)
        average = moving_average(
            self.get_buffer("average"), trajectory.costs, settings.beta, self.trainer.world_size
        )
        self.average = average
        return average - trajectory.costs

    def extra_loss(self, instance: Instance, trajectory: Trajectory) -> Tensor | None:
        return None
