"""Fastest ways over a street network without a routing server: Dijkstra's algorithm by SciPy.

It searches from edge to edge, so that turns cost time and some are forbidden. The costs of turns
are those of OSRM's car profile (``car.lua``, v26) for traffic on the right.
"""

from __future__ import annotations

from functools import cached_property
from typing import final

import numpy as np
import scipy
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from nco.data.clock import utc_now
from nco.data.errors import InputError
from nco.data.geography import metres_between, to_lonlat, to_metres
from nco.data.road_source import Progress
from nco.data.road_table import RoadProvenance, RoadTable
from nco.data.street_network import StreetNetwork

TURN_SECONDS = 7.5
"""Of the sharpest turn at a junction."""
TURN_BIAS = 1.075
"""How much easier a turn to the right is."""
ONCOMING_SECONDS = 2.0
"""More for a turn across oncoming traffic, to the left."""
ROUND_SECONDS = 20.0
"""More for turning round."""
SIGNAL_SECONDS = 2.0
"""At traffic lights, whatever the turn."""
_CHUNK = 2**21
"""Entries of the tables that are searched at a time; they should stay in the processor's cache."""


def turn_seconds(network: StreetNetwork) -> Float[np.ndarray, " turn"]:
    """What each of the network's turns costs; where only two streets meet, none for the bend."""
    before, after = network.turns.T
    angle = network.turn_angles
    # at 180 degrees both signs mean the same turn; it counts as one to the right
    around = after == network.reverse[before]
    part = np.where(around, 1.0, angle / 180)
    right = TURN_SECONDS / (1 + np.exp(-((13 / TURN_BIAS) * part - 6.5 * TURN_BIAS)))
    left = TURN_SECONDS / (1 + np.exp(-((13 * TURN_BIAS) * -part - 6.5 / TURN_BIAS)))
    oncoming = ONCOMING_SECONDS / (1 + np.exp(-(13 * np.abs(part) - 3.25)))
    cost = np.where(part >= 0, right, left + oncoming) + ROUND_SECONDS * around
    via = network.edges[before, 1]
    cost = np.where((network.num_roads[via] > 2) | around, cost, 0.0)
    # OSRM cuts to tenths of a second
    return np.floor(10 * (cost + SIGNAL_SECONDS * network.signals[via])) / 10


@final
class StreetRouter:
    """A `RoadSource` over one network."""

    def __init__(self, network: StreetNetwork) -> None:
        self.network = network
        self.turn_seconds = turn_seconds(network)

    @cached_property
    def _graph(self) -> csr_array:
        """From edge to edge: the turn and the drive to the end of the second."""
        before, after = self.network.turns.T
        count = len(self.network.edges)
        cost = self.turn_seconds + self.network.seconds[after]
        return csr_array((cost, (before, after)), shape=(count, count))

    def table(
        self, points: Float[np.ndarray, "point 2"], *, progress: Progress | None = None
    ) -> RoadTable:
        """See `RoadSource.table`; a point is joined to the nearest street, however far.

        Progress is told in searches, one for each direction of each street with points.
        """
        if not bool(np.isfinite(points).all()) or not len(self.network.edges):
            raise InputError(
                f"{int((~np.isfinite(points)).sum())} coordinates are not finite, and the network "
                f"has {len(self.network.edges)} edges; accepted: none, and at least one"
            )
        road, share, snapped = self.snap(points)
        # each point is on its street in both directions, or twice in the only one
        back = self.network.reverse[road]
        edge = np.stack((road, np.where(back >= 0, back, road)))
        place = np.stack((share, np.where(back >= 0, 1 - share, share)))
        sources, at_source = np.unique(edge, return_inverse=True)
        between_ends = self._between_ends(sources, progress)
        at = at_source.reshape(edge.shape)
        duration = np.full((len(points),) * 2, np.inf)
        distance = np.full_like(duration, np.nan)
        for i, j in np.ndindex(2, 2):
            way = tuple(
                # from the place to the edge's end, to the last edge's end, and back to the place
                whole[np.ix_(at[i], at[j])]
                + ((1 - place[i]) * cost[edge[i]])[:, None]
                - ((1 - place[j]) * cost[edge[j]])[None, :]
                for whole, cost in zip(between_ends, self._costs, strict=True)
            )
            straight = (edge[i][:, None] == edge[j]) & (place[i][:, None] <= place[j])
            along = place[j] - place[i][:, None]
            way = tuple(
                np.where(straight, along * cost[edge[j]], whole)
                for whole, cost in zip(way, self._costs, strict=True)
            )
            better = way[0] < duration
            duration[better], distance[better] = way[0][better], way[1][better]
        np.fill_diagonal(duration, 0)
        np.fill_diagonal(distance, 0)
        everything = np.arange(len(points))
        return RoadTable(
            points=points,
            duration=np.where(np.isfinite(duration), duration, np.nan).astype(np.float32),
            distance=distance.astype(np.float32),
            snapped=snapped,
            offset=metres_between(points, snapped),
            sources=everything,
            destinations=everything,
            provenance=RoadProvenance(
                address="none",
                profile="car",
                created=utc_now(),
                version=f"scipy {scipy.__version__}",
                algorithm="dijkstra",
                data_version=None,
                options={},
            ),
        )

    def snap(
        self, points: Float[np.ndarray, "point 2"]
    ) -> tuple[
        Int[np.ndarray, " point"], Float[np.ndarray, " point"], Float[np.ndarray, "point 2"]
    ]:
        """The nearest street of each point (an edge of it), how far along it as a share, and the
        place there in degrees."""
        roads = self.network.roads
        centre = self.network.nodes.mean(0)
        start, end = (
            to_metres(self.network.nodes[self.network.edges[roads, k]], centre) for k in (0, 1)
        )
        step = end - start
        square = np.maximum((step**2).sum(1), 1e-12)
        metres = to_metres(points, centre)
        road, share = np.empty(len(points), dtype=np.int64), np.empty(len(points))
        size = max(1, _CHUNK // len(roads))
        for first in range(0, len(points), size):
            here = slice(first, first + size)
            away = metres[here, None] - start
            along = ((away * step).sum(2) / square).clip(0, 1)
            far = ((away - along[:, :, None] * step) ** 2).sum(2)
            best = far.argmin(1)
            road[here], share[here] = roads[best], np.take_along_axis(along, best[:, None], 1)[:, 0]
        nearest = np.searchsorted(roads, road)
        return road, share, to_lonlat(start[nearest] + share[:, None] * step[nearest], centre)

    @property
    def _costs(self) -> tuple[Float[np.ndarray, " edge"], Float[np.ndarray, " edge"]]:
        return self.network.seconds, self.network.length

    def _between_ends(
        self, edges: Int[np.ndarray, " some"], progress: Progress | None
    ) -> tuple[Float[np.ndarray, "some some"], Float[np.ndarray, "some some"]]:
        """Seconds and metres from the end of each edge to the end of each; from an edge to itself
        all the way round."""
        size = max(1, _CHUNK // len(self.network.edges))
        found = []
        for first in range(0, len(edges), size):
            seconds, metres = self._from_ends(edges[first : first + size])
            found.append((seconds[:, edges], metres[:, edges]))
            if progress is not None:
                progress(min(first + size, len(edges)), len(edges))
        seconds, metres = (np.concatenate(part) for part in zip(*found, strict=True))
        return seconds, metres

    def _from_ends(
        self, edges: Int[np.ndarray, " some"]
    ) -> tuple[Float[np.ndarray, "some edge"], Float[np.ndarray, "some edge"]]:
        seconds, previous = dijkstra(self._graph, indices=edges, return_predecessors=True)
        metres = _along_tree(previous, edges, self.network.length)
        index = np.arange(len(edges))
        seconds[index, edges], metres[index, edges] = np.inf, np.nan
        # the way round an edge ends with one of the turns into it
        before, after = self.network.turns.T
        place = np.full(len(self.network.edges), -1)
        place[edges] = index
        into = place[after] >= 0
        row, before, after = place[after[into]], before[into], after[into]
        cost = seconds[row, before] + self.turn_seconds[into] + self.network.seconds[after]
        # of several ways into an edge the last one written, the fastest, stays
        order = np.argsort(-cost, kind="stable")
        row, before, after, cost = row[order], before[order], after[order], cost[order]
        seconds[row, after] = cost
        metres[row, after] = metres[row, before] + self.network.length[after]
        return seconds, metres


def _along_tree(
    previous: Int[np.ndarray, "source edge"],
    roots: Int[np.ndarray, " source"],
    length: Float[np.ndarray, " edge"],
) -> Float[np.ndarray, "source edge"]:
    """Metres from each root along its tree of fastest ways, by pointer doubling: each round adds
    the way of the edge that is reached so far, so rounds grow with the logarithm of the depth."""
    reached = previous >= 0
    total = np.where(reached, length, 0.0)
    pointer = np.where(reached, previous, roots[:, None])
    while bool((pointer != roots[:, None]).any()):
        total = total + np.take_along_axis(total, pointer, 1)
        pointer = np.take_along_axis(pointer, pointer, 1)
    return total
