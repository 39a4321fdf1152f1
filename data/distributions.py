"""Where nodes lie: distributions of coordinates in the unit square, drawn in whole batches.

Every function is ``(num_instances, num_nodes, generator, ...) -> [B, N, 2]`` in float32 on the
generator's device, and draws each instance's shape (centres, lines, angles) anew.

Sources: the mutation operators are those of Bossek, Kerschke, Neumann, Wagner, Neumann and
Trautmann, "Evolving Diverse TSP Instances by Means of Novel and Creative Mutation Operators"
(FOGA 2019, 10.1145/3299904.3340307), here applied once to a uniform instance; the paper applies
many in a row and draws sizes up to the fixed ones used here. Points that an operator pushes out of
the square are drawn again uniformly, as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nco.data.errors import InputError

DistributionName = Literal[
    "uniform",
    "gaussian",
    "gaussian_mixture",
    "cluster",
    "mixed",
    "explosion",
    "implosion",
    "expansion",
    "compression",
    "grid",
    "rotation",
]
"""The distributions of this file, by name."""

Coordinates = Callable[[int, int, torch.Generator], Tensor]
"""(num_instances, num_nodes, generator) -> ``[B, N, 2]``."""


def by_name(name: str) -> Coordinates:
    """The one of `DistributionName`, with its published parameters.

    Raises:
        InputError: the name is unknown.
    """
    known: dict[str, Coordinates] = {
        "uniform": uniform,
        "gaussian": gaussian,
        "gaussian_mixture": gaussian_mixture,
        "cluster": cluster,
        "mixed": mixed,
        "explosion": explosion,
        "implosion": implosion,
        "expansion": expansion,
        "compression": compression,
        "grid": grid,
        "rotation": rotation,
    }
    if name not in known:
        raise InputError(
            f"distribution is {name!r}; accepted: {', '.join(get_args(DistributionName))}"
        )
    return known[name]


def rand(generator: torch.Generator, *shape: int) -> Tensor:
    """U[0, 1) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def _randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def _exponential(generator: torch.Generator, rate: float, *shape: int) -> Tensor:
    empty = torch.empty(shape, device=generator.device)
    return empty.exponential_(rate, generator=generator)


def uniform(
    num_instances: int, num_nodes: int, generator: torch.Generator
) -> Float[Tensor, "batch node 2"]:
    """U[0, 1)^2."""
    return rand(generator, num_instances, num_nodes, 2)


def gaussian(
    num_instances: int, num_nodes: int, generator: torch.Generator
) -> Float[Tensor, "batch node 2"]:
    """One Gaussian with unit variances and a covariance from U(0, 1), scaled to fill the square.

    Both axes are scaled alike, so that the longer one fills the square and the shorter one is
    centred. Source: Zhou et al. 2023 (Omni-VRP, arXiv 2305.19587), the task c = l = 1.
    """
    covariance = rand(generator, num_instances, 1)
    x, noise = _randn(generator, num_instances, num_nodes, 2).unbind(-1)
    y = covariance * x + (1 - covariance * covariance).sqrt() * noise
    coords = torch.stack((x, y), -1)
    low, extent = _box(coords)
    longest = _positive(extent.amax(-1, keepdim=True))
    return ((coords - low) / longest + (1 - extent / longest) / 2).clamp(0, 1)


def gaussian_mixture(
    num_instances: int,
    num_nodes: int,
    generator: torch.Generator,
    *,
    modes: int = 3,
    scale: float = 10.0,
) -> Float[Tensor, "batch node 2"]:
    """GM(c, l): ``modes`` unit Gaussians around centres from U(0, scale)^2, each axis scaled to
    [0, 1].

    Every node picks its mode with equal probability. Source: Zhou et al. 2023 (Omni-VRP, arXiv
    2305.19587), with c in {3, 5, 7} and l in {10, 30, 50}.

    Raises:
        InputError: ``modes`` is below 1 or ``scale`` is not above 0.
    """
    if modes < 1:
        raise InputError(f"modes is {modes}; accepted: at least 1")
    if not scale > 0:
        raise InputError(f"scale is {scale}; accepted: a number above 0")
    centres = scale * rand(generator, num_instances, modes, 2)
    mode = _integers(generator, modes, num_instances, num_nodes)
    coords = _pick(centres, mode) + _randn(generator, num_instances, num_nodes, 2)
    low, extent = _box(coords)
    return ((coords - low) / _positive(extent)).clamp(0, 1)


def cluster(
    num_instances: int,
    num_nodes: int,
    generator: torch.Generator,
    *,
    clusters: int = 3,
    deviation: float = 0.07,
) -> Float[Tensor, "batch node 2"]:
    """Equal shares of the nodes around ``clusters`` centres from U(0.2, 0.8)^2, cut off at the
    square's border.

    Source: Bi et al. 2022 (AMDKD, arXiv 2210.07686), "cluster".

    Raises:
        InputError: ``clusters`` is below 1.
    """
    if clusters < 1:
        raise InputError(f"clusters is {clusters}; accepted: at least 1")
    centres = 0.2 + 0.6 * rand(generator, num_instances, clusters, 2)
    share = max(1, num_nodes // clusters)
    index = (torch.arange(num_nodes, device=generator.device) // share).clamp(max=clusters - 1)
    noise = _randn(generator, num_instances, num_nodes, 2)
    return (centres[:, index] + deviation * noise).clamp(0, 1)


def mixed(
    num_instances: int, num_nodes: int, generator: torch.Generator
) -> Float[Tensor, "batch node 2"]:
    """Half of the nodes, chosen at random, in one cluster as of `cluster`; the others uniform.

    Source: Bi et al. 2022 (AMDKD, arXiv 2210.07686), "mixed".
    """
    coords = uniform(num_instances, num_nodes, generator)
    clustered = cluster(num_instances, num_nodes, generator, clusters=1)
    rank = rand(generator, num_instances, num_nodes).argsort(1)
    return torch.where((rank < num_nodes // 2).unsqueeze(-1), clustered, coords)


def explosion(
    num_instances: int, num_nodes: int, generator: torch.Generator, *, radius: float = 0.3
) -> Float[Tensor, "batch node 2"]:
    """Nodes within ``radius`` of a uniform centre fly straight out of that ball, to a distance of
    ``radius`` plus an exponential of rate 10."""
    coords, offset, distance, inside = _ball(num_instances, num_nodes, generator, radius)
    reach = radius + _exponential(generator, 10.0, num_instances, num_nodes, 1)
    moved = coords - offset + offset / _positive(distance) * reach
    return _back_into_square(torch.where(inside, moved, coords), generator)


def implosion(
    num_instances: int, num_nodes: int, generator: torch.Generator, *, radius: float = 0.3
) -> Float[Tensor, "batch node 2"]:
    """Nodes within ``radius`` of a uniform centre move towards it by the share min(|N(0, 1)|, 1)
    of their distance."""
    coords, offset, _, inside = _ball(num_instances, num_nodes, generator, radius)
    share = _randn(generator, num_instances, num_nodes, 1).abs().clamp(max=1)
    return torch.where(inside, coords - offset * share, coords)


def expansion(
    num_instances: int, num_nodes: int, generator: torch.Generator, *, width: float = 0.3
) -> Float[Tensor, "batch node 2"]:
    """Nodes within ``width`` of a random line move straight away from it, to a distance of
    ``width`` plus an exponential of rate 10."""
    coords, offset, distance, inside = _tube(num_instances, num_nodes, generator, width)
    reach = width + _exponential(generator, 10.0, num_instances, num_nodes, 1)
    moved = coords - offset + offset / _positive(distance) * reach
    return _back_into_square(torch.where(inside, moved, coords), generator)


def compression(
    num_instances: int, num_nodes: int, generator: torch.Generator, *, width: float = 0.3
) -> Float[Tensor, "batch node 2"]:
    """Nodes within ``width`` of a random line move straight towards it by the share
    min(|N(0, 1)|, 1) of their distance."""
    coords, offset, _, inside = _tube(num_instances, num_nodes, generator, width)
    share = _randn(generator, num_instances, num_nodes, 1).abs().clamp(max=1)
    moved = torch.where(inside, coords - offset * share, coords)
    return _back_into_square(moved, generator)


def grid(
    num_instances: int, num_nodes: int, generator: torch.Generator, *, side: float = 0.3
) -> Float[Tensor, "batch node 2"]:
    """Nodes in a random box of this side are laid out as a square lattice that fills the box.

    Of m nodes in the box, g^2 with g = floor(sqrt(m)), chosen at random, make the g x g lattice;
    the rest stay. Fewer than 4 stay as they are.
    """
    coords = uniform(num_instances, num_nodes, generator)
    anchor = (1 - side) * rand(generator, num_instances, 1, 2)
    inside = ((coords > anchor) & (coords <= anchor + side)).all(-1)
    count = inside.sum(1, keepdim=True)
    rows = count.float().sqrt().floor().long()
    key = rand(generator, num_instances, num_nodes).masked_fill(~inside, 2.0)
    rank = key.argsort(1).argsort(1)
    chosen = inside & (rank < rows * rows) & (rows >= 2)
    rows = rows.clamp(min=2)
    cell = torch.stack((rank % rows, rank // rows), -1) / (rows - 1).unsqueeze(-1)
    return torch.where(chosen.unsqueeze(-1), anchor + side * cell, coords)


def rotation(
    num_instances: int, num_nodes: int, generator: torch.Generator, *, share: float = 0.4
) -> Float[Tensor, "batch node 2"]:
    """Each node is, with probability ``share``, one of those turned about the origin by a common
    angle from U(0, 2 pi) and shifted by a common vector from U(0, 1)^2."""
    coords = uniform(num_instances, num_nodes, generator)
    chosen = rand(generator, num_instances, num_nodes, 1) < share
    angle = 2 * math.pi * rand(generator, num_instances, 1)
    shift = rand(generator, num_instances, 1, 2)
    x, y = coords.unbind(-1)
    turned = torch.stack((angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y), -1)
    return _back_into_square(torch.where(chosen, turned + shift, coords), generator)


def _integers(generator: torch.Generator, high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=generator, device=generator.device)


def _pick(centres: Float[Tensor, "batch centre 2"], index: Tensor) -> Float[Tensor, "batch node 2"]:
    return centres.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))


def _positive(length: Tensor) -> Tensor:
    return length.clamp(min=1e-12)


def _box(coords: Float[Tensor, "batch node 2"]) -> tuple[Tensor, Tensor]:
    """Lower corner and extent, each ``[B, 1, 2]``."""
    low = coords.amin(1, keepdim=True)
    return low, coords.amax(1, keepdim=True) - low


def _back_into_square(
    coords: Float[Tensor, "batch node 2"], generator: torch.Generator
) -> Float[Tensor, "batch node 2"]:
    """Points outside of the square, drawn again uniformly."""
    outside = ((coords < 0) | (coords > 1)).any(-1, keepdim=True)
    return torch.where(outside, uniform(coords.shape[0], coords.shape[1], generator), coords)


def _ball(
    num_instances: int, num_nodes: int, generator: torch.Generator, radius: float
) -> tuple[
    Float[Tensor, "batch node 2"],
    Float[Tensor, "batch node 2"],
    Float[Tensor, "batch node 1"],
    Bool[Tensor, "batch node 1"],
]:
    """Uniform nodes; their offset and distance from a uniform centre; whether they are within."""
    coords = uniform(num_instances, num_nodes, generator)
    offset = coords - rand(generator, num_instances, 1, 2)
    distance = offset.norm(dim=-1, keepdim=True)
    return coords, offset, distance, distance < radius


def _tube(
    num_instances: int, num_nodes: int, generator: torch.Generator, width: float
) -> tuple[
    Float[Tensor, "batch node 2"],
    Float[Tensor, "batch node 2"],
    Float[Tensor, "batch node 1"],
    Bool[Tensor, "batch node 1"],
]:
    """Uniform nodes; their offset and distance from a random line; whether they are within.

    The line is y = a + b x with a from U(0, 1), and b from U(0, 3) if a < 0.5, else from U(-3, 0),
    so that it stays in the square for a while.
    """
    coords = uniform(num_instances, num_nodes, generator)
    a = rand(generator, num_instances, 1)
    b = 3 * rand(generator, num_instances, 1)
    b = torch.where(a < 0.5, b, -b)
    normal = torch.stack((-b, torch.ones_like(b)), -1) / (1 + b * b).sqrt().unsqueeze(-1)
    x, y = coords.unbind(-1)
    signed = ((y - a - b * x) / (1 + b * b).sqrt()).unsqueeze(-1)
    return coords, signed * normal, signed.abs(), signed.abs() < width
