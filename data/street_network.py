"""Streets as a directed graph: what a car may drive, how fast, and where it may not turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nco.data.errors import InputError
from nco.data.geography import DECIMALS, metres_between, to_metres

ROAD_SPEEDS = {
    "motorway": 90,
    "motorway_link": 45,
    "trunk": 85,
    "trunk_link": 40,
    "primary": 65,
    "primary_link": 30,
    "secondary": 55,
    "secondary_link": 25,
    "tertiary": 40,
    "tertiary_link": 20,
    "unclassified": 25,
    "residential": 25,
    "living_street": 10,
    "service": 15,
}
"""OpenStreetMap's classes of roads for cars, with the km/h driven where no limit is posted: those
of OSRM's car profile (``car.lua``, v26)."""
ROAD_CLASSES = tuple(ROAD_SPEEDS)
SPEED_OF_LIMIT = 0.8
"""The share of a posted limit that is driven; OSRM's ``speed_reduction``."""
STOPS = frozenset(
    {"primary", "secondary", "tertiary", "unclassified", "residential", "living_street"}
)
"""Classes along which deliveries are made, so that points are drawn there."""


@final
@dataclass(frozen=True)
class StreetNetwork:
    """Nodes and directed edges; a street for both directions is two edges.

    Between two nodes there is at most one edge in each direction. Arrays are immutable by
    convention.

    Raises:
        InputError: an index is out of range, an edge is a loop or a copy, a speed
            is not above 0, or a restriction's edges do not follow each other.
    """

    nodes: Float[np.ndarray, "node 2"]
    """Longitude and latitude in degrees."""
    edges: Int[np.ndarray, "edge 2"]
    """From node and to node."""
    speed: Float[np.ndarray, " edge"]
    """Driven, in km/h."""
    road_class: Int[np.ndarray, " edge"]
    """Index into `ROAD_CLASSES`."""
    restrictions: Int[np.ndarray, "restriction 2"]
    """Turns that are forbidden: from this edge to that edge, by the node between them."""
    signals: Bool[np.ndarray, " node"]
    """Whether a node has traffic lights."""

    def __post_init__(self) -> None:
        count = len(self.edges)
        for name, index, size in (
            ("edges", self.edges, len(self.nodes)),
            ("road_class", self.road_class, len(ROAD_CLASSES)),
            ("restrictions", self.restrictions, count),
        ):
            if index.size and not (index.min() >= 0 and index.max() < size):
                raise InputError(
                    f"{name} has {index.min()} to {index.max()}; accepted: 0 to {size - 1}"
                )
        if not bool((self.speed > 0).all()):
            raise InputError(f"speed has {self.speed.min():g}; accepted: numbers above 0")
        codes = _codes(self.edges, len(self.nodes))
        if len(np.unique(codes)) < count or bool((self.edges[:, 0] == self.edges[:, 1]).any()):
            raise InputError(
                "edges have a loop or a copy; accepted: each pair of different nodes once"
            )
        before, after = self.restrictions.T
        if bool((self.edges[before, 1] != self.edges[after, 0]).any()):
            raise InputError(
                "restrictions have edges that do not follow each other; accepted: the second "
                "begins where the first ends"
            )

    @cached_property
    def length(self) -> Float[np.ndarray, " edge"]:
        """Of each edge, in metres."""
        return metres_between(self.nodes[self.edges[:, 0]], self.nodes[self.edges[:, 1]])

    @cached_property
    def seconds(self) -> Float[np.ndarray, " edge"]:
        """To drive along each edge."""
        return self.length / (self.speed / 3.6)

    @cached_property
    def reverse(self) -> Int[np.ndarray, " edge"]:
        """The edge of the opposite direction; -1 for a one-way street."""
        forth = _codes(self.edges, len(self.nodes))
        back = _codes(self.edges[:, ::-1], len(self.nodes))
        order = np.argsort(forth)
        place = np.searchsorted(forth, back, sorter=order).clip(max=len(forth) - 1)
        found = order[place] if len(forth) else place
        return np.where(forth[found] == back, found, -1)

    @cached_property
    def roads(self) -> Int[np.ndarray, " road"]:
        """One edge of each street, whatever its directions."""
        index = np.arange(len(self.edges))
        return index[(self.reverse < 0) | (index < self.reverse)]

    @cached_property
    def num_roads(self) -> Int[np.ndarray, " node"]:
        """How many streets meet at each node."""
        return np.bincount(self.edges[self.roads].ravel(), minlength=len(self.nodes))

    @cached_property
    def turns(self) -> Int[np.ndarray, "turn 2"]:
        """From which edge a car may go on to which; turning round only where it cannot go on."""
        tail, head = self.edges.T
        order = np.argsort(tail, kind="stable")
        degree = np.bincount(tail, minlength=len(self.nodes))
        first = np.cumsum(degree) - degree
        before = np.repeat(np.arange(len(tail)), degree[head])
        nth = np.arange(len(before)) - np.repeat(
            np.cumsum(degree[head]) - degree[head], degree[head]
        )
        after = order[first[head][before] + nth]
        round_turn = after == self.reverse[before]
        forbidden = _pairs_in(before, after, self.restrictions, len(tail))
        onward = np.bincount(before[~round_turn], minlength=len(tail))
        allowed = ~forbidden & (~round_turn | (onward[before] == 0))
        return np.stack((before[allowed], after[allowed]), 1)

    @cached_property
    def directions(self) -> Float[np.ndarray, "edge 2"]:
        """East and north of each edge, as a unit vector."""
        metres = to_metres(self.nodes, self.nodes.mean(0))
        step = metres[self.edges[:, 1]] - metres[self.edges[:, 0]]
        return step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)

    @cached_property
    def turn_angles(self) -> Float[np.ndarray, " turn"]:
        """Degrees by which each of `turns` bends to the right; negative to the left."""
        before, after = self.directions[self.turns].transpose(1, 2, 0)
        cross = before[1] * after[0] - before[0] * after[1]
        return np.degrees(np.arctan2(cross, (before * after).sum(0)))

    @cached_property
    def mutually_reachable(self) -> Bool[np.ndarray, " edge"]:
        """The largest set of edges of which each can be reached from each other by allowed
        turns."""
        count = len(self.edges)
        ones = np.ones(len(self.turns), dtype=bool)
        graph = csr_array((ones, (self.turns[:, 0], self.turns[:, 1])), shape=(count, count))
        label = connected_components(graph, directed=True, connection="strong")[1]
        return label == np.bincount(label).argmax()

    def restricted_to(self, keep: Bool[np.ndarray, " edge"]) -> StreetNetwork:
        """The network of these edges and the nodes at their ends."""
        used = np.zeros(len(self.nodes), dtype=bool)
        used[self.edges[keep].ravel()] = True
        node, edge = np.cumsum(used) - 1, np.cumsum(keep) - 1
        kept = keep[self.restrictions].all(1)
        return StreetNetwork(
            nodes=self.nodes[used],
            edges=node[self.edges[keep]],
            speed=self.speed[keep],
            road_class=self.road_class[keep],
            restrictions=edge[self.restrictions[kept]],
            signals=self.signals[used],
        )


def sample_points(
    network: StreetNetwork,
    count: int,
    generator: np.random.Generator,
    *,
    box: tuple[float, float, float, float] | None = None,
) -> Float[np.ndarray, "point 2"]:
    """Points along streets of the classes `STOPS` from which all of the rest can be reached.

    The street is drawn with probability proportional to its length, the place along it uniformly;
    degrees are rounded as OSRM does.

    Args:
        network: the streets.
        count: how many points.
        generator: what draws.
        box: west, south, east, north in degrees; streets that leave it have no points.

    Raises:
        InputError: there is no such street.
    """
    road = network.roads
    stops = np.isin(np.array(ROAD_CLASSES)[network.road_class[road]], sorted(STOPS))
    ends = network.nodes[network.edges[road]]
    wanted = stops & network.mutually_reachable[road]
    if box is not None:
        low, high = np.array(box[:2]), np.array(box[2:])
        wanted &= ((ends >= low) & (ends <= high)).all((1, 2))
    if not bool(wanted.any()):
        raise InputError(
            "no street to draw points along"
            + ("" if box is None else f" in the box {', '.join(f'{x:g}' for x in box)}")
            + f"; accepted: a network with streets of the classes {', '.join(sorted(STOPS))}"
        )
    length = np.where(wanted, network.length[road], 0)
    drawn = generator.choice(len(road), size=count, p=length / length.sum())
    share = generator.random((count, 1))
    return np.round(ends[drawn, 0] * (1 - share) + ends[drawn, 1] * share, DECIMALS)


def _codes(edges: Int[np.ndarray, "edge 2"], num_nodes: int) -> Int[np.ndarray, " edge"]:
    return edges[:, 0].astype(np.int64) * num_nodes + edges[:, 1]


def _pairs_in(
    before: Int[np.ndarray, " turn"],
    after: Int[np.ndarray, " turn"],
    pairs: Int[np.ndarray, "restriction 2"],
    count: int,
) -> Bool[np.ndarray, " turn"]:
    return np.isin(before * count + after, pairs[:, 0] * count + pairs[:, 1])
