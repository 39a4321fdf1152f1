"""The contract of a policy for vehicles that differ.

Axes: B instances, K states of each, M vehicles, N nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.envs.environment import Observation
from nco.envs.fleet import FleetEnvironment
from nco.envs.fleet_features import FleetFeatures, FleetView, view_of
from nco.models.policy import Encoding, Policy, Scores

Communication = Literal["attention", "mean", "none"]
"""How vehicles hear of each other at each step: by a transformer block over them, as published for
CAMP; by a message to all from the mean of what they know, which is cheap; or not at all."""


@final
class PriceOfMoves(nn.Module):
    """What the next move costs, to be added to the scores before they are clipped.

    A vehicle at i that goes on to j pays for the way and for the preference that is missed at j;
    where it serves j later it needs the way home from there again. Three learnable weights begin
    with a rule that is good by itself, so that a network has to learn only what the rule misses
    (docs/decisions.md).
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([-3.0, -3.0, 1.5]))
        """Of the way, the missed preference and the way home."""

    def forward(self, seen: FleetFeatures) -> Float[Tensor, "batch vehicle from to"]:
        n = seen.ways.shape[3]
        index = seen.home[:, :, None, None].expand(-1, -1, n, 1)
        home = seen.ways.gather(3, index).mT
        way, missed, back = self.weights
        return way * seen.ways + missed * seen.price.unsqueeze(2) + back * home


class FleetPolicy(Policy, ABC):
    """Scores every node for every vehicle, from one look at the state.

    The same policy serves both environments: with `nco.envs.fleet.FleetVRP` one softmax runs over
    all vehicles and nodes, with `nco.envs.fleet_parallel.ParallelFleetVRP` one over the nodes of
    each vehicle. Training, decoding and scoring are those of any policy.

    It encodes ``fleet_env.fleet_features(instance)``, see `nco.envs.fleet_features.FleetFeatures`,
    and sees of a state what `nco.envs.fleet_features.FleetView` has. Neither the order of vehicles
    nor their number may be built into the weights. Values of padded vehicles and nodes are 0; no
    mask allows them (but for a padded vehicle to wait); attention over vehicles that may be padded
    needs `FleetFeatures.valid` in a table of the encoding.
    """

    def __init__(self, env: FleetEnvironment) -> None:
        super().__init__()
        self.env = env
        self.fleet_env = env
        """The same; for `FleetEnvironment.fleet_features`."""

    @property
    @final
    def needs_start(self) -> bool:
        return False

    @abstractmethod
    def joint(
        self, encoding: Encoding, view: FleetView
    ) -> Float[Tensor, "batch state vehicle node"]:
        """Scores of all nodes for all vehicles, unmasked."""

    @final
    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return Scores(self.joint(encoding, view_of(observation)).flatten(2), {})
