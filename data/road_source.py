"""What knows roads: a routing server, or a street network and an algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nco.data.road_table import RoadTable

Progress = Callable[[int, int], None]
"""Told now and then how much is done, and of how much."""


@runtime_checkable
class RoadSource(Protocol):
    """Anything that computes tables: `nco.data.osrm_client.OSRM`, or
    `nco.data.street_routing.StreetRouter`."""

    def table(
        self, points: Float[np.ndarray, "n 2"], *, progress: Progress | None = None
    ) -> RoadTable:
        """From each point to each, longitude and latitude in degrees.

        Raises:
            InputError: a point is not accepted.
        """
        ...
