"""What policies see of arcs: matrices without units, and how they enter scores.

Axes: B instances, N nodes, as origins (i, rows) and as destinations (j, columns).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.data.instance import Instance, distance_matrix, is_depot
from nco.envs.environment import coordinate_columns, unit_length, unit_time


@dataclass(frozen=True, slots=True)
class Arcs:
    """The arc from each node i to each node j, in float32; 0 where one of them is padding."""

    distance: Float[Tensor, "batch from to"]
    """d_ij in the instance's `unit_length`: one scalar for all arcs, whatever the unit was."""
    duration: Float[Tensor, "batch from to"]
    """t_ij in the instance's `unit_time`; the distances where no durations are given."""
    direction: Float[Tensor, "batch from to 2"]
    """Cosine and sine of the angle of the way from i to j as the crow flies; both are 0 where the
    nodes lie in one place or the instance has no coordinates."""
    home: Float[Tensor, "batch node"] | None
    """d from each node to the depot nearest to it; None where no instance has a depot."""
    valid: Bool[Tensor, "batch node"] | None
    """Real nodes; None where all are."""


def arcs_of(instance: Instance) -> Arcs:
    """The arcs of B instances, from their matrices or else from coordinates."""
    valid = instance.valid
    outside = ~(valid.unsqueeze(2) & valid.unsqueeze(1))
    distance = _without_unit(distance_matrix(instance), unit_length(instance))
    duration = distance
    if instance.duration is not None:
        duration = _without_unit(instance.duration, unit_time(instance))
    return Arcs(
        distance=distance.masked_fill(outside, 0),
        home=_home(distance, instance) if bool((instance.num_depots > 0).any()) else None,
        duration=duration.masked_fill(outside, 0),
        direction=_directions(instance).masked_fill(outside.unsqueeze(3), 0),
        valid=None if bool(valid.all()) else valid,
    )


def _home(
    distance: Float[Tensor, "batch from to"], instance: Instance
) -> Float[Tensor, "batch node"]:
    elsewhere = ~is_depot(instance).unsqueeze(1)
    nearest = distance.masked_fill(elsewhere, torch.inf).amin(2)
    return nearest.masked_fill(nearest.isinf() | ~instance.valid, 0)


def _without_unit(
    matrix: Float[Tensor, "batch from to"], unit: Float[Tensor, " batch"]
) -> Float[Tensor, "batch from to"]:
    # where all nodes are in one place any unit will do
    return (matrix / unit.masked_fill(unit == 0, 1).view(-1, 1, 1)).float()


def _directions(instance: Instance) -> Float[Tensor, "batch from to 2"]:
    coords = coordinate_columns(instance)
    step = coords.unsqueeze(1) - coords.unsqueeze(2)
    length = step.square().sum(3, keepdim=True).sqrt()
    return (step / length.masked_fill(length == 0, 1)).float()


class TravelScores(nn.Module, ABC):
    """What the way from the current node adds to the score of each node, before the clip."""

    @abstractmethod
    def forward(self, arcs: Arcs) -> Float[Tensor, "batch from to"]:
        """For every origin and destination."""


@final
class TravelBias(TravelScores):
    """-a log(d_ij + ε) - b log(t_ij + ε) with learnt a and b.

    Args:
        clip: of the scores that it is added to. a + b begins at 1 / clip, so that behind the clip
            a node at half the distance is about twice as likely; from 1 on, near nodes would all
            begin at the clip's end, where they cannot be told apart.
    """

    EPSILON = 1e-3

    def __init__(self, clip: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), 0.5 / clip))

    def forward(self, arcs: Arcs) -> Float[Tensor, "batch from to"]:
        distance, duration = (
            (matrix + self.EPSILON).log() for matrix in (arcs.distance, arcs.duration)
        )
        return -(self.weight[0] * distance + self.weight[1] * duration)


@final
class TravelRule(TravelScores):
    """w d_ij + v h_j with learnt w and v, h_j being the way from j to the depot.

    It begins as a rule that is good by itself, so that a network, whose own part should begin
    small, has to learn only what the rule misses (docs/decisions.md). What is far from the depot
    comes first, as it is dear to come back for.
    """

    WAY, HOME = -3.0, 1.5

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([self.WAY, self.HOME]))

    def forward(self, arcs: Arcs) -> Float[Tensor, "batch from to"]:
        way, home = self.weight
        if arcs.home is None:
            return way * arcs.distance
        return way * arcs.distance + home * arcs.home.unsqueeze(1)
