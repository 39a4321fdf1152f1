"""A made-up town as an .osm file: two grids of streets with no bridge between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 8
"""Streets in each direction of each grid."""
STEP = 0.001
"""Degrees from street to street."""
CORNERS = ((10.0, 50.0), (10.02, 50.0))
"""South-west ends of the two grids."""


def crossings(island: int) -> np.ndarray:
    """Longitude and latitude of the crossings of one grid, row by row from the south."""
    west, south = CORNERS[island]
    north, east = np.divmod(np.arange(SIDE**2), SIDE)
    return np.column_stack([west + east * STEP, south + north * STEP])


def write_two_islands(path: Path) -> None:
    """Every fourth street is one-way; the outermost ones are not, so each grid hangs together."""
    lines = ['<?xml version="1.0"?>', '<osm version="0.6" generator="nco">']
    ways = []
    for island in range(2):
        first = 1 + island * SIDE**2
        for i, (x, y) in enumerate(crossings(island).tolist()):
            lines.append(f'<node id="{first + i}" version="1" lat="{y:.7f}" lon="{x:.7f}"/>')
        numbers = (first + np.arange(SIDE**2)).reshape(SIDE, SIDE)
        for streets in (numbers, numbers.T):
            ways += [(street.tolist(), k % 4 == 2) for k, street in enumerate(streets)]
    for number, (nodes, oneway) in enumerate(ways, start=1):
        lines.append(f'<way id="{number}" version="1">')
        lines += [f'<nd ref="{node}"/>' for node in nodes]
        lines.append('<tag k="highway" v="residential"/>')
        lines += ['<tag k="oneway" v="yes"/>'] if oneway else []
        lines.append("</way>")
    path.write_text("\n".join([*lines, "</osm>\n"]), encoding="utf-8")
