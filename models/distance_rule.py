"""A policy without a network: the nearer a node, the better. For searches without learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch

from nco.data.instance import Instance, distance_matrix
from nco.envs.environment import Environment, Observation, unit_length
from nco.models.gates import Gate
from nco.models.pointer import lookup
from nco.models.policy import Encoding, Policy, Scores


@final
class DistanceRule(Policy):
    """Scores fall with the distance from the current node, in units of the instance's extent.

    The greedy choice is the nearest allowed node (nearest neighbour); a draw is a nearest neighbour
    with errors, and a draw by ``sharpness`` 0 is uniform.
    """

    def __init__(self, env: Environment, sharpness: float = 20.0) -> None:
        super().__init__()
        self.env = env
        self.sharpness = sharpness
        # where the policy is: it has no other parameter or buffer
        self.register_buffer("place", torch.zeros(0))

    @property
    def needs_start(self) -> bool:
        return not self.env.has_depot

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {}

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        unit = unit_length(instance).view(-1, 1, 1)
        scores = distance_matrix(instance) / unit * -self.sharpness
        # the way to padding may be anything but finite
        return Encoding({"scores": scores.float().nan_to_num()}, {})

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return Scores(lookup(encoding.batched["scores"], observation.current), {})
