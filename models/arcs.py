"""What policies see of arcs: matrices without units, and how they enter scores.

Axes: B instances, N nodes, as origins (i, rows) and as destinations (j, columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.data.instance import Instance, distance_matrix
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
        duration=duration.masked_fill(outside, 0),
        direction=_directions(instance).masked_fill(outside.unsqueeze(3), 0),
        valid=None if bool(valid.all()) else valid,
    )


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


@final
class TravelBias(nn.Module):
    """-a log(d_ij + ε) - b log(t_ij + ε) with learnt a and b: what the way from the current node
    adds to the score of each node.

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
