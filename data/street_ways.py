"""The ways between stops: from a routing server, or from a city map's points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from nco.data.city_map import CityMap
from nco.data.errors import InputError, shortened
from nco.data.geography import metres_between, to_metres
from nco.data.instance import Instance
from nco.data.osrm_client import OSRM
from nco.data.road_table import reachable_points
from nco.data.stop_files import Stop, places_of

Line = Float[np.ndarray, "k 2"]
"""Longitude, latitude along a way; at least two places."""


@final
@dataclass(frozen=True)
class Ways:
    """From each of n points to each."""

    distance: Float[np.ndarray, "n n"]
    """Metres; NaN where there is no way."""
    duration: Float[np.ndarray, "n n"]
    """Seconds, likewise."""
    offset: Float[np.ndarray, " n"]
    """Metres from a point to the place that stands for it."""
    unreachable: Sequence[int]
    """Points outside the largest set that is joined in both directions."""


@runtime_checkable
class Streets(Protocol):
    """What knows the ways of a region."""

    kind: str
    """What stands for a stop, in words."""

    @property
    def credit(self) -> str:
        """Who made the map; a drawing must tell."""
        ...

    def ways(self, points: Float[np.ndarray, "n 2"]) -> Ways:
        """Between points of longitude and latitude in degrees."""
        ...

    def lines(self, points: Float[np.ndarray, "n 2"]) -> list[Line]:
        """The way from each point to the next, n - 1 of them."""
        ...


@final
@dataclass(frozen=True)
class ServedStreets:
    """The streets of an OSRM server; lines follow them."""

    server: OSRM
    kind = "street"
    credit = "Map data (c) OpenStreetMap contributors, ODbL"

    def ways(self, points: Float[np.ndarray, "n 2"]) -> Ways:
        """As `Streets`, by one table."""
        table = self.server.table(points)
        apart = reachable_points(table).unreachable.tolist()
        return Ways(table.distance, table.duration, table.offset, apart)

    def lines(self, points: Float[np.ndarray, "n 2"]) -> list[Line]:
        """As `Streets`."""
        return [leg.geometry for leg in self.server.route(points)]


@final
@dataclass(frozen=True)
class MappedStreets:
    """The points of a city map; each stop is served at the nearest, and lines are straight."""

    city: CityMap
    kind = "point of the city map"

    @property
    def credit(self) -> str:
        """The city's name."""
        return f"City map {self.city.name}; lines are straight"

    def ways(self, points: Float[np.ndarray, "n 2"]) -> Ways:
        """As `Streets`; there is always a way."""
        known = np.asarray(self.city.points)
        middle = known.mean(0)
        nearest = KDTree(to_metres(known, middle)).query(to_metres(points, middle))[1]
        cells = np.ix_(nearest, nearest)
        offset = metres_between(points, known[nearest])
        return Ways(self.city.distance[cells], self.city.duration[cells], offset, ())

    def lines(self, points: Float[np.ndarray, "n 2"]) -> list[Line]:
        """As `Streets`, straight."""
        return [points[i : i + 2] for i in range(len(points) - 1)]


def stops_instance(
    stops: list[Stop],
    streets: Streets,
    *,
    capacity: float | None = None,
    num_vehicles: int | None = None,
    radius: float = 500.0,
) -> Instance:
    """A VRP of metres and seconds; coordinates are metres around the middle of the stops' box.

    Args:
        stops: depots first.
        capacity: of each vehicle; given just where a stop has demand.
        num_vehicles: at most so many routes; None for any number.
        radius: metres within which each stop must have a street.

    Raises:
        InputError: a stop is too far from a street or has no way to and fro, a demand is above the
            capacity, or a number is not accepted.
    """
    _require_capacity(stops, capacity)
    if num_vehicles is not None and num_vehicles < 1:
        raise InputError(f"vehicles is {num_vehicles}; accepted: at least 1")
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(f"radius is {radius}; accepted: metres above 0")
    places = places_of(stops)
    ways = streets.ways(places)
    far = [
        f"{stops[i].where} is {ways.offset[i]:,.0f} m from the nearest {streets.kind}"
        for i in np.flatnonzero(~(ways.offset <= radius)).tolist()
    ]
    if far:
        raise InputError(f"{shortened(far)}; accepted: at most {radius:g} m, or a larger radius")
    apart = [stops[i].where for i in ways.unreachable]
    if apart:
        raise InputError(
            f"{shortened(apart)}: no way there and back on the streets of the map; accepted: stops "
            "that all reach each other"
        )
    middle = (places.min(0) + places.max(0)) / 2
    return Instance.vrp(
        coords=to_metres(places, middle),
        distance=ways.distance,
        duration=ways.duration,
        demand=[stop.demand for stop in stops],
        time_window=[stop.window for stop in stops],
        service_time=[stop.service for stop in stops],
        capacity=capacity,
        num_depots=sum(stop.is_depot for stop in stops),
        num_vehicles=num_vehicles,
    )


def _require_capacity(stops: list[Stop], capacity: float | None) -> None:
    demanding = [stop for stop in stops if stop.demand > 0]
    if capacity is None:
        if demanding:
            raise InputError(
                f"{demanding[0].where} has demand {demanding[0].demand:g}, and no capacity is "
                "given; accepted: both or neither"
            )
        return
    if not capacity > 0:
        raise InputError(f"capacity is {capacity:g}; accepted: a number above 0")
    if not demanding:
        raise InputError(
            f"capacity is {capacity:g}, and no stop has demand; accepted: both or neither"
        )
    for stop in demanding:
        if stop.demand > capacity:
            raise InputError(
                f"{stop.where} has demand {stop.demand:g}; accepted: at most the capacity, "
                f"{capacity:g}"
            )
