"""REINFORCE with a learned critic (Bello et al. 2017, arXiv:1611.09940; Kool et al. 2019)."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.algorithm import Algorithm, ValidationSet, seeded_weights
from nco.data.instance import Instance
from nco.envs.environment import Environment, require_coordinates
from nco.models.encoder import Dense, post_norm_encoder
from nco.models.layers import node_mean
from nco.models.policy import Encoding, Policy
from nco.reinforce import sample_one
from nco.rollout import Trajectory
from nco.train_config import CriticBaselineConfig, TrainConfig


@final
class Critic(nn.Module):
    """Estimates an instance's cost: an encoder, the mean over the nodes, two linear layers."""

    def __init__(
        self, env: Environment, *, dim: int, num_heads: int, num_layers: int, hidden: int
    ) -> None:
        super().__init__()
        self.env = env
        self.encoder = post_norm_encoder(
            env,
            dim=dim,
            num_heads=num_heads,
            num_layers=num_layers,
            norm="batch",
            output_bias=False,
            feed_forward=lambda: Dense(dim, 4 * dim, "relu"),
        )
        self.head = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, instance: Instance) -> Float[Tensor, "batch 1"]:
        require_coordinates(instance)
        features = self.env.node_features(instance)
        nodes, _ = self.encoder(features, None)
        return self.head(node_mean(nodes, features.valid)).float()


@final
class CriticBaseline(Algorithm):
    """Each cost is compared with the critic's estimate, which learns by squared error."""

    def __init__(self, config: TrainConfig, validation: ValidationSet, policy: Policy) -> None:
        super().__init__(config, validation, policy)
        settings = config.algorithm
        assert isinstance(settings, CriticBaselineConfig)
        with seeded_weights(config.seed, 1):
            self.critic = Critic(
                self.env,
                dim=config.policy.dim,
                num_heads=config.policy.num_heads,
                num_layers=settings.num_layers,
                hidden=settings.hidden,
            )
        self._estimate: Tensor | None = None

    def rollout(
        self, instance: Instance, generator: torch.Generator
    ) -> tuple[Trajectory, Encoding]:
        return sample_one(self.env, self.policy, instance, generator, self.kernel)

    def advantage(
        self, instance: Instance, trajectory: Trajectory
    ) -> Float[Tensor, "batch trajectory"]:
        estimate = self.critic(instance)
        self._estimate = estimate
        return estimate.detach() - trajectory.costs

    def extra_loss(self, instance: Instance, trajectory: Trajectory) -> Tensor | None:
        assert self._estimate is not None  # `advantage` comes first
        return nn.functional.mse_loss(self._estimate, trajectory.costs)
