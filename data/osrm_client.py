"""A client of OSRM's ``table``, ``nearest`` and ``route`` services.

Run against the real OSRM 26.10, with both of its algorithms. What servers of version 5 do otherwise
is written down in their documentation and has only been tried against the tests' made-up server:
they take no POST (then GET is used, from the first request that they refuse), may answer without
``data_version``, and early ones with multi-level Dijkstra refuse distances (`Refused`, with their
code ``NotImplemented``).

Source: https://project-osrm.org/docs (HTTP API), and what servers were seen to do where it is
silent: they drop long URLs without an answer, give unreachable pairs as null in an answer that is
"Ok", give distances down to -0.9 m, and join any point to the nearest street however far it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Float, Int

from nco.data.clock import utc_now
from nco.data.errors import InputError
from nco.data.osrm_answers import (
    Answer,
    RouteLeg,
    Snapped,
    TableAnswer,
    read_legs,
    read_snapped,
    read_table,
)
from nco.data.osrm_blocks import Block, Options, get_target, post_body, post_target
from nco.data.osrm_errors import (
    BadAnswer,
    NoConnection,
    NoRoute,
    NoSegment,
    Refused,
    ServerFailure,
    TooBig,
)
from nco.data.osrm_http import Connection, Dropped
from nco.data.road_source import Progress
from nco.data.road_table import RoadProvenance, RoadTable

MAX_URL = 8000
"""Bytes of a request's path; proxies in front of public servers refuse more."""

MAX_STOPS = 100
"""Of one request for a route; the next request goes on from the last of them."""


@final
class OSRM:
    """One server. Keeps a connection alive: close it, or use it in a ``with``; one thread only.

    Args:
        address: ``http://host:port``, with a path where a proxy needs one.
        profile: the name in the request. Servers ignore it: their data decide.
        timeout: seconds for one answer.
        radius: metres within which a point must have a street; `NoSegment` where it has none.
            None takes the nearest street however far it is (`RoadTable.offset` tells).
        max_cells: of one request for a table. A server started with ``--max-table-size K`` takes
            K * K; where one refuses, smaller requests follow.
        post: whether to try POST first; a server that does not take it gets GET.
        retries: of a request after a failed connection or a 5xx answer.
        backoff: seconds before the first retry; doubles.
        version: of the server, for the provenance, where the caller knows it.
        algorithm: CH or MLD, likewise.
        data_version: date of the map, likewise; what the server tells counts more.

    Raises:
        InputError: a value is not accepted. Nothing is sent yet.
    """

    def __init__(
        self,
        address: str,
        *,
        profile: str = "driving",
        timeout: float = 60.0,
        radius: float | None = None,
        max_cells: int = 250_000,
        post: bool = True,
        retries: int = 3,
        backoff: float = 0.25,
        version: str | None = None,
        algorithm: str | None = None,
        data_version: str | None = None,
    ) -> None:
        if radius is not None and not (np.isfinite(radius) and radius > 0):
            raise InputError(f"radius {radius} is not accepted; accepted: metres above 0")
        if max_cells < 1:
            raise InputError(f"max_cells {max_cells} is not accepted; accepted: at least 1")
        self._connection = Connection(address, timeout=timeout, retries=retries, backoff=backoff)
        self._profile, self._radius = profile, radius
        self._max_cells, self._max_stops = max_cells, MAX_STOPS
        # None until an answer tells whether the server takes POST
        self._post: bool | None = None if post else False
        self._version, self._algorithm, self._data_version = version, algorithm, data_version

    def __enter__(self) -> OSRM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; a later request opens another."""
        self._connection.close()

    @property
    def address(self) -> str:
        """Of the server, as it is used."""
        return self._connection.address

    def table(
        self,
        points: Float[np.ndarray, "n 2"],
        *,
        sources: Sequence[int] | None = None,
        destinations: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> RoadTable:
        """Distances and durations between points, in as many requests as it takes.

        Args:
            points: longitude, latitude in degrees.
            sources: indices of ``points``; None for all.
            destinations: likewise.
            progress: told after every request how many cells are done.

        Raises:
            InputError: a point or index is not accepted; nothing is sent.
            OSRMError: the server or the way to it fails; see `nco.data.osrm_errors`.
        """
        points = _checked(points)
        rows = _indices("sources", sources, len(points))
        columns = _indices("destinations", destinations, len(points))
        whole = Block(np.arange(len(rows)), np.arange(len(columns)))
        duration = np.full((len(rows), len(columns)), np.nan, dtype=np.float32)
        distance = duration.copy()
        place, offset = np.full((len(points), 2), np.nan), np.full(len(points), np.nan)
        waiting, done = [whole], 0
        while waiting:
            part = waiting.pop()
            if part.cells > self._max_cells:
                waiting += reversed(part.split(self._max_cells))
                continue
            block = Block(rows[part.rows], columns[part.columns])
            try:
                answer = self._block(points, block)
            except (TooBig, Dropped) as error:
                if part.cells == 1:
                    raise _last(error) from error
                self._max_cells = (part.cells + 1) // 2
                waiting.append(part)
                continue
            cells = np.ix_(part.rows, part.columns)
            duration[cells], distance[cells] = answer.duration, answer.distance
            place[block.rows], offset[block.rows] = answer.sources.place, answer.sources.offset
            place[block.columns] = answer.destinations.place
            offset[block.columns] = answer.destinations.offset
            done += part.cells
            if progress is not None:
                progress(done, whole.cells)
        itself = rows[:, None] == columns
        duration[itself] = distance[itself] = 0.0
        return RoadTable(
            points, duration, distance, place, offset, rows, columns, self._provenance()
        )

    def nearest(self, points: Float[np.ndarray, "n 2"]) -> Snapped:
        """The place on the nearest street of each point, one request each.

        Args:
            points: longitude, latitude in degrees.

        Raises:
            InputError: a point is not accepted; nothing is sent.
            OSRMError: as `table`.
        """
        points, where = _checked(points), f"{self.address} /nearest"
        found = []
        for index in range(len(points)):
            answer = self._request("nearest", points, np.array([index]), {"number": 1})
            found.append(read_snapped(answer, "waypoints", 1, where))
        return Snapped(
            np.concatenate([one.place for one in found]),
            np.concatenate([one.offset for one in found]),
        )

    def route(self, points: Float[np.ndarray, "n 2"]) -> list[RouteLeg]:
        """The fastest way through points in their order: n - 1 legs with the streets' geometry.

        A vehicle may turn round at a stop, as it may between the cells of a table, so that each
        leg is as long as its cell.

        Args:
            points: longitude, latitude in degrees; at least 2.

        Raises:
            InputError: a point is not accepted; nothing is sent.
            OSRMError: as `table`; `NoRoute` names the two points without a way.
        """
        points = _checked(points)
        if len(points) < 2:
            raise InputError("a route through 1 point; accepted: at least 2")
        legs, waiting = [], [(0, len(points) - 1)]
        while waiting:
            first, last = waiting.pop()
            # both halves hold the stop between them
            middle = (first + last) // 2
            parts = [(middle, last), (first, middle)]
            if last - first >= self._max_stops:
                waiting += parts
                continue
            try:
                legs += self._legs(points, first, last)
            except (TooBig, Dropped, NoRoute) as error:
                if last - first == 1:
                    between = f"from point {first} to point {last}"
                    raise _last(error, between) from error
                if not isinstance(error, NoRoute):
                    self._max_stops = last - first
                waiting += parts
        return legs

    def _block(self, points: Float[np.ndarray, "n 2"], block: Block) -> TableAnswer:
        indices, rows, columns = block.indices()
        options: Options = {"annotations": ["duration", "distance"]}
        if not rows == columns == list(range(len(indices))):
            options |= {"sources": rows, "destinations": columns}
        answer = self._request("table", points, indices, options)
        return read_table(answer, len(rows), len(columns), f"{self.address} /table")

    def _legs(self, points: Float[np.ndarray, "n 2"], first: int, last: int) -> list[RouteLeg]:
        options: Options = {
            "steps": True,
            "geometries": "geojson",
            "overview": "false",
            "continue_straight": False,
        }
        answer = self._request("route", points, np.arange(first, last + 1), options)
        return read_legs(answer, last - first, f"{self.address} /route")

    def _request(
        self,
        service: str,
        points: Float[np.ndarray, "n 2"],
        indices: Int[np.ndarray, " k"],
        options: Options,
    ) -> Answer:
        """Ask about some of the points, by POST where the server takes it."""
        options = options | {"generate_hints": False}
        if self._radius is not None:
            options["radiuses"] = [self._radius] * len(indices)
        try:
            answer = self._send(service, points[indices], options)
        except NoSegment as error:
            point = None if error.point is None else int(indices[error.point])
            named = "a point" if point is None else f"point {point} at {points[point].tolist()}"
            radius = "the server's radius" if self._radius is None else f"{self._radius:g} m"
            raise NoSegment(
                f"{self.address} /{service}: {named} has no street within {radius}; accepted: "
                "(longitude, latitude) near a street, or a larger radius",
                point,
            ) from error
        self._data_version = answer.get("data_version") or self._data_version
        return answer

    def _send(self, service: str, places: Float[np.ndarray, "k 2"], options: Options) -> Answer:
        if self._post is not False:
            try:
                target = post_target(service, self._profile)
                answer = self._connection.post(target, post_body(places, options))
            except (Refused, Dropped, BadAnswer, ServerFailure):
                # servers without POST refuse it in many ways; GET tells whether it was that
                if self._post:
                    raise
            else:
                self._post = True
                return answer
        target = get_target(service, self._profile, places, options)
        if len(target) > MAX_URL:
            raise TooBig(
                f"{self.address} /{service}: {len(places)} points make a URL of {len(target)} "
                f"bytes; accepted: {MAX_URL}"
            )
        answer = self._connection.get(target)
        self._post = False
        return answer

    def _provenance(self) -> RoadProvenance:
        return RoadProvenance(
            address=self.address,
            profile=self._profile,
            created=utc_now(),
            version=self._version,
            algorithm=self._algorithm,
            data_version=self._data_version,
            options={"radius": self._radius},
        )


def _checked(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """In float64, each on the globe."""
    points = points.astype(np.float64)
    if len(points) == 0:
        raise InputError("no points; accepted: at least 1")
    # written so that NaN fails
    wrong = ~(np.abs(points) <= (180.0, 90.0)).all(1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"point {first} is {points[first].tolist()}; accepted: longitude from -180 to 180, "
            "then latitude from -90 to 90, in degrees"
        )
    return points


def _indices(name: str, given: Sequence[int] | None, count: int) -> Int[np.ndarray, " k"]:
    if given is None:
        return np.arange(count)
    indices = np.array(list(given), dtype=np.int64)
    wrong = (indices < 0) | (indices >= count)
    if len(indices) == 0 or wrong.any():
        told = f"index {indices[wrong][0]}" if len(indices) else "no index"
        raise InputError(f"{name}: {told}; accepted: indices from 0 to {count - 1}")
    return indices


def _last(error: TooBig | Dropped | NoRoute, between: str = "of two points") -> Exception:
    """What to raise for a request that cannot be made smaller."""
    if isinstance(error, Dropped):
        return NoConnection(f"{error}, for a request {between}; accepted: an OSRM server")
    if isinstance(error, NoRoute):
        return NoRoute(f"{error}; there is none {between}")
    return TooBig(f"{error}; refused even for a request {between}")
