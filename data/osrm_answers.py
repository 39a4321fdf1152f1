"""What OSRM's answers hold, checked: what is no OSRM server must not pass unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float

from nco.data.osrm_errors import BadAnswer

LEAST = -10.0
"""Metres or seconds. Rounding gives down to -0.9; what is below this is another mistake."""

Answer = dict[str, Any]


@final
@dataclass(frozen=True)
class Snapped:
    """The places on streets that points are joined to."""

    place: Float[np.ndarray, "n 2"]
    """Longitude, latitude."""
    offset: Float[np.ndarray, " n"]
    """Metres from the point."""


@final
@dataclass(frozen=True)
class RouteLeg:
    """The way from one stop to the next."""

    geometry: Float[np.ndarray, "k 2"]
    """Longitude, latitude along the streets; at least two places."""
    distance: float
    """Metres."""
    duration: float
    """Seconds."""


@final
@dataclass(frozen=True)
class TableAnswer:
    """One block of a table; NaN where there is no way."""

    duration: Float[np.ndarray, "S D"]
    distance: Float[np.ndarray, "S D"]
    sources: Snapped
    destinations: Snapped


def read_table(answer: Answer, rows: int, columns: int, where: str) -> TableAnswer:
    """The parts of a table's answer.

    Raises:
        BadAnswer: something is missing, misshapen, no number, infinite or far below 0.
    """
    shape = rows, columns
    duration = _cells(answer, "durations", shape, where)
    distance = _cells(answer, "distances", shape, where)
    nowhere = np.isnan(duration) | np.isnan(distance)
    duration[nowhere] = distance[nowhere] = np.nan
    return TableAnswer(
        duration,
        distance,
        read_snapped(answer, "sources", rows, where),
        read_snapped(answer, "destinations", columns, where),
    )


def read_snapped(answer: Answer, name: str, count: int, where: str) -> Snapped:
    """The list of waypoints under a name."""
    waypoints = answer.get(name)
    if not isinstance(waypoints, list) or len(waypoints) != count:
        raise BadAnswer(f"{where}: {name} is not a list of {count} places")
    try:
        place = _numbers([waypoint["location"] for waypoint in waypoints])
        offset = _numbers([waypoint["distance"] for waypoint in waypoints])
    except (KeyError, TypeError) as error:
        raise BadAnswer(f"{where}: a place in {name} lacks its {error}") from error
    if place.shape != (count, 2) or offset.shape != (count,) or not np.isfinite(place).all():
        raise BadAnswer(f"{where}: {name} are not places of longitude and latitude")
    return Snapped(place, offset)


def read_legs(answer: Answer, count: int, where: str) -> list[RouteLeg]:
    """The legs of the first route, their geometries put together from those of their steps."""
    try:
        legs = answer["routes"][0]["legs"]
        found = [_leg(leg) for leg in legs]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadAnswer(f"{where}: a route lacks its {error}") from error
    if len(found) != count:
        raise BadAnswer(f"{where}: {len(found)} legs; accepted: {count}")
    return found


def _leg(leg: Answer) -> RouteLeg:
    places = np.concatenate([_numbers(s["geometry"]["coordinates"]) for s in leg["steps"]])
    # each step begins where the one before it ends
    fresh = np.append(True, (np.diff(places, axis=0) != 0).any(1))
    geometry = places[fresh] if fresh.sum() > 1 else places[[0, -1]]
    return RouteLeg(geometry, float(leg["distance"]), float(leg["duration"]))


def _cells(
    answer: Answer, name: str, shape: tuple[int, int], where: str
) -> Float[np.ndarray, "S D"]:
    try:
        cells = _numbers(answer.get(name))
    except (TypeError, ValueError) as error:
        raise BadAnswer(f"{where}: {name} is not a table of numbers: {error}") from error
    if cells.shape != shape:
        raise BadAnswer(f"{where}: {name} has shape {cells.shape}; accepted: {shape}")
    if np.isinf(cells).any() or (cells < LEAST).any():
        raise BadAnswer(
            f"{where}: {name} reach from {np.nanmin(cells)} to {np.nanmax(cells)}; accepted: "
            "finite numbers, or below 0 by no more than a rounding error"
        )
    return np.maximum(cells, 0.0)


def _numbers(values: Sequence[Any] | None) -> Float[np.ndarray, "..."]:
    """As an array; null, also in place of all values, becomes NaN."""
    return np.array(values, dtype=np.float64)
