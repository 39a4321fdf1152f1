"""The ways between stops: from a routing server, or from a city map's points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from nco.data.attributes import FLEET_LIMIT, attributes_by_name
from nco.data.city_map import CityMap
from nco.data.errors import InputError, shortened
from nco.data.geography import metres_between, to_metres
from nco.data.instance import Instance
from nco.data.osrm_client import OSRM
from nco.data.road_table import reachable_points
from nco.data.stop_files import Stop, places_of

ELSEWHERE = 50_000.0
"""Metres from a map's streets at which a stop is in another region."""

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
    _require_near(stops, ways.offset, streets.kind, radius)
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


def _require_near(
    stops: list[Stop], offset: Float[np.ndarray, " n"], kind: str, radius: float
) -> None:
    far = [
        f"{stops[i].where} is {_far(offset[i])} from the nearest {kind}"
        for i in np.flatnonzero(~(offset <= radius)).tolist()
    ]
    if far:
        # a mistake in one stop is another than one in the file
        all_of_them = bool((offset > ELSEWHERE).all())
        guess = ", longitude before latitude, on the map that is asked" if all_of_them else ""
        raise InputError(
            f"{shortened(far)}; accepted: at most {radius:g} m{guess}, or a larger radius"
        )


def _far(metres: float) -> str:
    return f"{metres:,.0f} m" if metres < 10_000 else f"{metres / 1000:,.0f} km"


def closed_tour(instance: Instance) -> Instance | None:
    """The same stops as a TSP, the depot one of its nodes, where nothing is asked of a vehicle but
    to visit them; None where there are several depots, capacities, windows or other limits.

    Without it, a VRP may be cheaper with several routes, as the shortest of fastest ways do not
    keep the triangle inequality.

    Args:
        instance: by `stops_instance`; its limit of vehicles is not looked at.
    """
    held = attributes_by_name(instance)
    if any(bool(present.any()) for name, present in held.items() if name != FLEET_LIMIT):
        return None
    return Instance.tsp(
        coords=instance.coords, distance=instance.distance, duration=instance.duration
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
