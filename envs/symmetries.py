"""The symmetries of the square, by which a policy may look at an instance in eight positions."""

from __future__ import annotations

import torch

from nco.data.batching import replace
from nco.data.instance import Instance
from nco.envs.environment import unit_coordinates


def augmented(instance: Instance, index: int) -> Instance:
    """What a policy sees under one of the square's 8 symmetries (Kwon et al. 2020, section 4).

    Costs must be computed on the instance itself: matrices and rounding are not transformed, and
    the coordinates of all nodes are, depots and customers alike.

    Args:
        index: 0 is the identity; bit 0 reflects x, bit 1 reflects y, bit 2 swaps the axes.
    """
    if index == 0:
        return instance
    x, y = unit_coordinates(instance).unbind(2)
    x = 1 - x if index & 1 else x
    y = 1 - y if index & 2 else y
    coords = torch.stack((y, x) if index & 4 else (x, y), 2)
    return replace(instance, {"coords": coords.masked_fill(~instance.valid.unsqueeze(2), 0)})
