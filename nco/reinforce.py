"""What REINFORCE with a separate baseline does with one trajectory an instance."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nco.captured_rollout import CapturedRollouts
from nco.data.instance import Instance
from nco.envs.environment import Environment
from nco.kernels import Kernel
from nco.models.policy import Encoding, Policy
from nco.rollout import Trajectory, rollout
from nco.strategies import Sampling


def sample_one(
    env: Environment,
    policy: Policy,
    instance: Instance,
    generator: torch.Generator,
    kernel: Kernel | CapturedRollouts,
) -> tuple[Trajectory, Encoding]:
    """One sampled trajectory of each instance, recorded, with the encoding it came from.

    Args:
        kernel: as `nco.rollout.rollout` explains.
    """
    encoding = policy.encode(instance, generator)
    trajectory = rollout(
        env,
        policy,
        instance,
        Sampling(),
        generator=generator,
        record=True,
        encoding=encoding,
        kernel=kernel,
    )
    return trajectory, encoding


def moving_average(
    average: Float[Tensor, ""], costs: Float[Tensor, "batch 1"], beta: float, world_size: int
) -> Float[Tensor, ""]:
    """The exponential moving average of the batch's mean over all processes.

    NaN marks an average that has seen nothing: the first mean replaces it.
    """
    mean = costs.mean().detach()
    if world_size > 1:
        torch.distributed.all_reduce(mean)
        mean = mean / world_size
    return torch.where(average.isnan(), mean, beta * average + (1 - beta) * mean)
