"""Seeded generators, and what tests ask of the instances drawn from them."""

from __future__ import annotations

import torch
from torch import Tensor

from nco.data.fleet import FLEET_FIELDS
from nco.data.instance import FIELDS, Instance


def seeded(seed: int = 0) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def nearest(coords: Tensor) -> Tensor:
    """Mean distance to the nearest other node, for each instance."""
    pairs = torch.cdist(coords.double(), coords.double())
    return (pairs + torch.eye(coords.shape[1]) * 1e9).amin(-1).mean(1)


def same(first: Instance, second: Instance) -> bool:
    """Whether all fields are equal to the bit."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in FIELDS if name != "fleet"]
    fleets = (first.fleet, second.fleet)
    if first.fleet is not None:
        pairs += [tuple(getattr(fleet, name) for fleet in fleets) for name in FLEET_FIELDS]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)
