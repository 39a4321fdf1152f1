"""Street networks as OpenStreetMap XML, which OSRM reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nco.data.street_network import ROAD_CLASSES, SPEED_OF_LIMIT, StreetNetwork
from nco.data.text_file import write_text


def write_osm(network: StreetNetwork, path: Path) -> None:
    """Write streets, posted limits, one-ways and forbidden turns as OpenStreetMap XML.

    The limit written is the one at which `SPEED_OF_LIMIT` gives the network's speed, rounded to
    whole km/h.

    Raises:
        InputError: the file cannot be written.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<osm version="0.6" generator="nco">']
    for i, (lon, lat) in enumerate(network.nodes.tolist()):
        tags = _tags({"highway": "traffic_signals"}) if network.signals[i] else ""
        lines.append(
            f'<node id="{i + 1}" version="1" lat="{lat:.7f}" lon="{lon:.7f}">{tags}</node>'
        )
    way = np.arange(len(network.edges))
    way = np.where((network.reverse >= 0) & (network.reverse < way), network.reverse, way)
    for edge in network.roads.tolist():
        tail, head = network.edges[edge] + 1
        tags = {
            "highway": ROAD_CLASSES[network.road_class[edge]],
            "maxspeed": str(round(float(network.speed[edge]) / SPEED_OF_LIMIT)),
        }
        if network.reverse[edge] < 0:
            tags["oneway"] = "yes"
        lines += [
            f'<way id="{edge + 1}" version="1"><nd ref="{tail}"/><nd ref="{head}"/>',
            _tags(tags) + "</way>",
        ]
    for i, (before, after) in enumerate(network.restrictions.tolist(), 1):
        lines += [
            f'<relation id="{i}" version="1">'
            f'<member type="way" ref="{way[before] + 1}" role="from"/>'
            f'<member type="node" ref="{network.edges[before, 1] + 1}" role="via"/>'
            f'<member type="way" ref="{way[after] + 1}" role="to"/>',
            # only the first word has a meaning: which turn it is follows from the members
            _tags({"type": "restriction", "restriction": "no_left_turn"}) + "</relation>",
        ]
    write_text(path, "\n".join([*lines, "</osm>", ""]))


def _tags(tags: Mapping[str, str]) -> str:
    return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
