"""Points, and what the fake server answers for them, as arrays."""

from collections.abc import Callable

import numpy as np

from nco.data.road_table import RoadTable
from tests import fake_osrm


def draw_points(n: int, seed: int = 0) -> np.ndarray:
    """Places in a town, with more decimals than a server takes."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(24.9, 25.0, n), rng.uniform(60.1, 60.2, n)])


def whole(points: np.ndarray) -> list[fake_osrm.Point]:
    return [(round(x * 1e6), round(y * 1e6)) for x, y in points.tolist()]


def expected(points: np.ndarray, cell: Callable[..., float]) -> np.ndarray:
    places = [fake_osrm.snap(point) for point in whole(points)]
    return np.array([[cell(a, b) for b in places] for a in places], dtype=np.float32)


def assert_whole_table(table: RoadTable, points: np.ndarray) -> None:
    np.testing.assert_array_equal(table.duration, expected(points, fake_osrm.duration))
    np.testing.assert_array_equal(table.distance, expected(points, fake_osrm.distance))
    places = np.array([fake_osrm.snap(point) for point in whole(points)])
    np.testing.assert_allclose(table.snapped, places / 1e6, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        table.offset, np.abs(places - np.array(whole(points))).sum(1) / 10, atol=1e-9
    )
