"""City maps from streets: points drawn, tables asked for, unusable points left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nco.data.city_map import CityMap
from nco.data.errors import InputError
from nco.data.geography import to_metres
from nco.data.road_source import Progress, RoadSource
from nco.data.road_table import ReachablePoints, RoadTable, reachable_points
from nco.data.street_network import StreetNetwork, sample_points
from nco.data.street_patterns import apart

LEAST_APART = 1.0
"""Metres; nearer points count as one place."""
FARTHEST = 50.0
"""Metres from a point to the street that a server joins it to. They are drawn on streets, so one
that is farther shows that the server's map is another one."""
OVERSAMPLED = 1.1
"""Points drawn at first for each point asked for."""
MOST_OVERSAMPLED = 4.0
"""Where this share of points was drawn and too few are usable, no more are drawn."""


@dataclass(frozen=True)
class _Attempt:
    """So many points drawn, and what came of them."""

    drawn: int
    table: RoadTable
    usable: ReachablePoints


def build_city(
    name: str,
    network: StreetNetwork,
    roads: RoadSource,
    num_points: int,
    seed: int,
    source: Mapping[str, Any],
    *,
    box: tuple[float, float, float, float] | None = None,
    progress: Progress | None = None,
) -> CityMap:
    """A map of exactly so many points.

    More points than asked for are drawn, since some are at one place or not reachable; where too
    few are left, twice as many are drawn, up to twice. Of those left the first ones drawn are kept.

    Args:
        name: of the city.
        network: the streets to draw points along.
        roads: what tells durations and distances; of the same streets.
        num_points: n.
        seed: of the points.
        source: where the streets come from, for the provenance.
        box: west, south, east, north; points outside are not drawn.
        progress: see `RoadSource.table`.

    Raises:
        InputError: fewer than two points are asked for, or fewer points are usable.
    """
    if num_points < 2:
        raise InputError(f"num_points is {num_points}; accepted: at least 2")

    def attempt(count: int) -> _Attempt:
        drawn = sample_points(network, count, np.random.default_rng(seed), box=box)
        kept = drawn[apart(to_metres(drawn, drawn.mean(0)), LEAST_APART)]
        table = roads.table(kept, progress=progress)
        return _Attempt(count, table, reachable_points(table, FARTHEST))

    found = attempt(math.ceil(OVERSAMPLED * num_points))
    while len(found.usable.index) < num_points:
        if found.drawn > MOST_OVERSAMPLED * num_points:
            raise InputError(
                f"{name} has {len(found.usable.index)} usable points of {found.drawn} drawn "
                f"({found.usable}); accepted: num_points of at most so many, not {num_points}"
            )
        found = attempt(2 * found.drawn)
    table, usable = found.table, found.usable
    index = usable.index[:num_points]
    cells = np.ix_(index, index)
    # servers round; the way to the place itself is nothing
    distance, duration = (np.maximum(m[cells], 0) for m in (table.distance, table.duration))
    for matrix in (distance, duration):
        np.fill_diagonal(matrix, 0)
    return CityMap(
        name=name,
        points=table.points[index],
        distance=distance,
        duration=duration,
        provenance={
            "source": dict(source),
            "roads": asdict(table.provenance),
            "units": {"distance": "m", "duration": "s", "points": "degrees, longitude first"},
            "box": box,
            "seed": seed,
            "points": {
                "asked": num_points,
                "drawn": found.drawn,
                "dropped_near_another": found.drawn - len(table.points),
                "dropped_far_from_a_street": len(usable.far),
                "dropped_at_the_same_place": len(usable.duplicate),
                "dropped_not_reachable": len(usable.unreachable),
                "dropped_beyond_number": len(usable.index) - len(index),
            },
        },
    )
