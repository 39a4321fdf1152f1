"""Environments whose rules reveal noise step by step, as a policy goes through a scenario.

What is still hidden is in the problem's tables or in a state's values, which `step` reads and
`observe` does not.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.envs.environment import Environment

TRAINING = Scenarios(Split.TRAIN, 1)
"""One scenario of each instance, which is fresh where the instance's key is."""


@dataclass(frozen=True)
class AdaptiveEnvironment(Environment, ABC):
    """Rules with hidden noise, in some scenarios of each instance.

    Trajectory s of an instance is in scenario s modulo their number: with one scenario all
    trajectories share it (common random numbers), with as many scenarios as trajectories each has
    its own.

    Args:
        scenarios: the worlds.
    """

    scenarios: Scenarios = TRAINING

    def in_scenarios(self, scenarios: Scenarios) -> AdaptiveEnvironment:
        """The same rules in other worlds."""
        return replace(self, scenarios=scenarios)


def worlds(count: int, like: Int[Tensor, "batch trajectory"]) -> Int[Tensor, "batch trajectory"]:
    """The place of each trajectory's world among ``count`` of its instance."""
    turn = torch.arange(like.shape[1], device=like.device) % count
    return turn.expand(like.shape)


def found(
    values: Float[Tensor, "batch world node"],
    world: Int[Tensor, "batch trajectory"],
    node: Int[Tensor, "batch trajectory"],
) -> Float[Tensor, "batch trajectory"]:
    """What each trajectory finds at a node."""
    return values.flatten(1).gather(1, world * values.shape[2] + node)


def refuse_hindsight(env: Environment, *, multi_start: bool, samples: int, augment: int) -> None:
    """Raise `InputError` where the cheapest of several trajectories of one scenario is asked
    for."""
    if isinstance(env, AdaptiveEnvironment) and (multi_start or samples > 1 or augment > 1):
        raise InputError(
            "noise is seen on the way, and to keep the cheapest of several trajectories of one "
            "scenario is hindsight; accepted: multi_start false, samples 1, augment 1"
        )
