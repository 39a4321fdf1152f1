"""Small street networks and made-up city maps for tests."""

from __future__ import annotations

import numpy as np

from nco.data.city_map import CityMap
from nco.data.geography import to_lonlat
from nco.data.street_network import ROAD_CLASSES, StreetNetwork

CENTRE = np.array([10.0, 50.0])
RESIDENTIAL = ROAD_CLASSES.index("residential")


def network(
    metres: list[tuple[float, float]],
    edges: list[tuple[int, int]],
    restrictions: list[tuple[int, int]] | None = None,
    speed: float | list[float] = 36.0,
) -> StreetNetwork:
    """Residential streets between places in metres; each edge is one direction."""
    return StreetNetwork(
        nodes=np.round(to_lonlat(np.array(metres, dtype=float), CENTRE), 6),
        edges=np.array(edges),
        speed=np.broadcast_to(np.array(speed, dtype=float), len(edges)).copy(),
        road_class=np.full(len(edges), RESIDENTIAL),
        restrictions=np.array(restrictions or [], dtype=np.int64).reshape(-1, 2),
        signals=np.zeros(len(metres), dtype=bool),
    )


def both_ways(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each edge in both directions, the opposite ones after all others."""
    return [*edges, *((b, a) for a, b in edges)]


def random_city(name: str, num_points: int, seed: int) -> CityMap:
    """A map with random matrices; no streets."""
    generator = np.random.default_rng(seed)
    distance, duration = generator.uniform(100, 5000, (2, num_points, num_points))
    for matrix in (distance, duration):
        np.fill_diagonal(matrix, 0)
    metres = generator.uniform(-1500, 1500, (num_points, 2))
    return CityMap(
        name=name,
        points=to_lonlat(metres, CENTRE),
        distance=distance.astype(np.float32),
        duration=(duration / 8).astype(np.float32),
        provenance={"source": {"generator": "random"}},
    )
