"""Streets as people name them: lines that go straight on over intersections."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

STRAIGHT_ON = np.radians(35)
"""A line goes on where it bends less."""

_End = tuple[int, int]
"""A street, and which of its two ends."""


def lines(
    places: Float[np.ndarray, "place 2"], pairs: Int[np.ndarray, "street 2"]
) -> tuple[Int[np.ndarray, " street"], Int[np.ndarray, "street 2"]]:
    """Which line each street belongs to, and its ends in the order in which the line is walked."""
    partner = _straight_on(places, pairs)
    line = np.full(len(pairs), -1)
    along = pairs.copy()
    both_ends = [(street, end) for street in range(len(pairs)) for end in (0, 1)]
    # from the ends of lines first; what is left then are circles
    starts = sorted(both_ends, key=lambda entry: entry in partner)
    number = 0
    for start in starts:
        if line[start[0]] >= 0:
            continue
        walked: _End | None = start
        while walked is not None and line[walked[0]] < 0:
            street, end = walked
            line[street] = number
            along[street] = pairs[street] if end == 0 else pairs[street, ::-1]
            walked = partner.get((street, 1 - end))
        number += 1
    return line, along


def _straight_on(
    places: Float[np.ndarray, "place 2"], pairs: Int[np.ndarray, "street 2"]
) -> dict[_End, _End]:
    """Ends that meet at an intersection and go on as one line, both ways; straightest first."""
    step = places[pairs[:, 1]] - places[pairs[:, 0]]
    outward = np.arctan2(step[:, 1], step[:, 0])
    ends: dict[int, list[tuple[int, int, float]]] = {}
    for street, (a, b) in enumerate(pairs.tolist()):
        ends.setdefault(a, []).append((street, 0, outward[street]))
        ends.setdefault(b, []).append((street, 1, outward[street] + np.pi))
    partner: dict[_End, _End] = {}
    for meeting in ends.values():
        bends = sorted(
            (abs((p[2] - q[2] + 2 * np.pi) % (2 * np.pi) - np.pi), p[:2], q[:2])
            for i, p in enumerate(meeting)
            for q in meeting[:i]
        )
        for bend, p, q in bends:
            if bend < STRAIGHT_ON and p not in partner and q not in partner:
                partner[p], partner[q] = q, p
    return partner


def ring(
    places: Float[np.ndarray, "place 2"], pairs: Int[np.ndarray, "street 2"], radius: float
) -> Int[np.ndarray, " some"]:
    """The streets of a way around the centre, near the circle of this radius."""
    length = np.linalg.norm(places[pairs[:, 1]] - places[pairs[:, 0]], axis=1)
    off = np.abs(np.linalg.norm(places[pairs].mean(1), axis=1) - radius) / radius
    count = len(places)
    graph = coo_array((length * (1 + 20 * off), pairs.T), shape=(count, count)).tocsr()
    angle = 2 * np.pi * np.arange(8) / 8
    corners = radius * np.stack((np.cos(angle), np.sin(angle)), 1)
    stops = KDTree(places).query(corners)[1]
    previous = dijkstra(graph, directed=False, indices=stops, return_predecessors=True)[1]
    street = {tuple(sorted(pair)): i for i, pair in enumerate(pairs.tolist())}
    found = set()
    for row, end in zip(previous, np.roll(stops, -1), strict=True):
        node = int(end)
        while row[node] >= 0:
            found.add(street[tuple(sorted((node, int(row[node]))))])
            node = int(row[node])
    return np.array(sorted(found), dtype=np.int64)
