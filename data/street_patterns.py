"""Where intersections of made-up cities lie, and which of them are joined by streets.

Metres east and north of the city's centre, in a square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay, KDTree

Pattern = Literal["grid", "radial", "organic", "mixed"]
"""Rotated grids; rings with radial streets; old towns without a plan; districts of all of them."""

_Draw = Callable[[np.random.Generator, float, float], np.ndarray]
"""(generator, side, block) -> ``[intersection, 2]``."""

WIDEST_ANGLE = np.radians(75)
"""Two intersections are not joined where a third one sees them under a wider angle. The diagonals
of a grid's blocks are seen under about 90 degrees, their sides under 45."""
LONGEST = 2.5
"""Blocks that a street may be long without an intersection."""


def intersections(
    pattern: Pattern, generator: np.random.Generator, side: float, block: float
) -> Float[np.ndarray, "intersection 2"]:
    """Places in the square of this side, about a block from each other."""
    draw: dict[Pattern, _Draw] = {
        "grid": _grid,
        "radial": _radial,
        "organic": _organic,
        "mixed": _mixed,
    }
    places = draw[pattern](generator, side, block)
    inside = (np.abs(places) <= side / 2).all(1)
    places = places[inside]
    return places[apart(places, 0.4 * block)]


def _turned(places: Float[np.ndarray, "place 2"], angle: float) -> Float[np.ndarray, "place 2"]:
    c, s = np.cos(angle), np.sin(angle)
    return places @ np.array([[c, s], [-s, c]])


def _grid(
    generator: np.random.Generator, side: float, block: float
) -> Float[np.ndarray, "intersection 2"]:
    """A turned lattice with blocks of a length and a width of its own, slightly uneven."""
    step = block * generator.uniform((0.8, 0.9), (1.1, 1.5))
    reach = np.ceil(0.75 * side / step).astype(int)
    x, y = (np.arange(-r, r + 1) * s for r, s in zip(reach, step, strict=True))
    # whole streets are moved, so that they stay straight, and each corner a little
    x, y = (line + generator.normal(0, 0.08 * block, line.shape) for line in (x, y))
    places = np.stack(np.meshgrid(x, y, indexing="ij"), 2).reshape(-1, 2)
    places = places + generator.normal(0, 0.03 * block, places.shape)
    return _turned(places, generator.uniform(0, np.pi / 2))


def _radial(
    generator: np.random.Generator, side: float, block: float
) -> Float[np.ndarray, "intersection 2"]:
    """Rings around a square in the middle, with twice as many radial streets where they would lie
    more than two blocks apart."""
    spokes = int(generator.integers(6, 10))
    turn = generator.uniform(0, 2 * np.pi)
    rings = [np.zeros((1, 2))]
    for k in range(1, int(0.75 * side / block)):
        radius = k * block
        while 2 * np.pi * radius / spokes > 2 * block:
            spokes *= 2
        angle = turn + 2 * np.pi * np.arange(spokes) / spokes
        rings.append(radius * np.stack((np.cos(angle), np.sin(angle)), 1))
    places = np.concatenate(rings)
    return places + generator.normal(0, 0.05 * block, places.shape)


def _organic(
    generator: np.random.Generator, side: float, block: float
) -> Float[np.ndarray, "intersection 2"]:
    """Uniform places, none of them close to another."""
    many = generator.uniform(-side / 2, side / 2, (int(8 * (side / block) ** 2), 2))
    return many[apart(many, 0.8 * block)]


def _mixed(
    generator: np.random.Generator, side: float, block: float
) -> Float[np.ndarray, "intersection 2"]:
    """Districts of different patterns and densities; each place belongs to the nearest centre."""
    count = int(generator.integers(3, 6))
    centres = generator.uniform(-0.4 * side, 0.4 * side, (count, 2))
    kinds: tuple[_Draw, ...] = (_grid, _grid, _radial, _organic)
    found = []
    for i, centre in enumerate(centres):
        draw = kinds[int(generator.integers(len(kinds)))]
        places = draw(generator, 2 * side, block * generator.uniform(0.8, 1.3)) + centre
        found.append(places[KDTree(centres).query(places)[1] == i])
    return np.concatenate(found)


def apart(places: Float[np.ndarray, "place 2"], least: float) -> Int[np.ndarray, " some"]:
    """Indices of those that are left when each drops the later ones that are nearer than this."""
    dropped = np.zeros(len(places), dtype=bool)
    for i, near in enumerate(KDTree(places).query_ball_point(places, least)):
        if not dropped[i]:
            dropped[[j for j in near if j > i]] = True
    return np.flatnonzero(~dropped)


def streets(
    places: Float[np.ndarray, "intersection 2"],
    generator: np.random.Generator,
    block: float,
    *,
    missing: float,
    barred: Callable[[np.ndarray, np.ndarray], Bool[np.ndarray, " street"]],
) -> Int[np.ndarray, "street 2"]:
    """Pairs of neighbours, without crossings.

    Delaunay's triangulation without its blunt diagonals and long sides, and without a random
    share; what a spanning tree needs stays.

    Args:
        places: the intersections.
        generator: what draws.
        block: the usual length of a street.
        missing: the share that is left out at random.
        barred: of streets between these ends, which cannot be.
    """
    corner = Delaunay(places).simplices
    side = np.concatenate([corner[:, [k, (k + 1) % 3]] for k in range(3)])
    across = places[np.concatenate([corner[:, (k + 2) % 3] for k in range(3)])]
    a, b = places[side[:, 0]] - across, places[side[:, 1]] - across
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    pairs, where = np.unique(np.sort(side, 1), axis=0, return_inverse=True)
    widest = np.zeros(len(pairs))
    np.maximum.at(widest, where.ravel(), np.arccos(cosine.clip(-1, 1)))
    start, end = places[pairs[:, 0]], places[pairs[:, 1]]
    possible = ~barred(start, end)
    length = np.linalg.norm(end - start, axis=1)
    kept = (widest < WIDEST_ANGLE) & (length < LONGEST * block)
    kept &= generator.random(len(pairs)) >= missing
    return pairs[possible & (kept | _spanning(pairs, np.where(possible, length, 1e6), len(places)))]


def _spanning(
    pairs: Int[np.ndarray, "pair 2"], length: Float[np.ndarray, " pair"], count: int
) -> Bool[np.ndarray, " pair"]:
    graph = coo_array((length, pairs.T), shape=(count, count)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    code = pairs[:, 0] * count + pairs[:, 1]
    chosen = np.sort(np.stack(tree.coords, 1), 1)
    return np.isin(code, chosen[:, 0] * count + chosen[:, 1])
