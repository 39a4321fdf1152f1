"""Streets from OpenStreetMap files: ``.osm.pbf``, ``.osm.bz2`` or ``.osm``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import osmium
from osmium.filter import KeyFilter
from osmium.osm import Node, Relation, Way

from nco.data.errors import InputError
from nco.data.extracts import extract_suffix
from nco.data.street_network import (
    ROAD_CLASSES,
    ROAD_SPEEDS,
    SPEED_OF_LIMIT,
    StreetNetwork,
)

_ACCESS = ("motorcar", "motor_vehicle", "vehicle", "access")
"""Who may drive: the first of these tags that is there decides."""
_CLOSED = frozenset(
    (
        "no", "agricultural", "forestry", "emergency", "psv", "taxi", "bus", "foot", "military",
        "official", "customers", "private", "delivery", "destination", "permit", "residents",
        "restricted",
    )
)  # fmt: skip
_KMH_OF_MPH = 1.609


def read_osm(path: Path) -> StreetNetwork:
    """The streets of an extract that are open to cars, node by node of their ways.

    Speeds are the posted limits times `SPEED_OF_LIMIT`, else the class's. Restrictions with one
    via node count, those for some hours or some vehicles do not, nor do barriers, ferries and
    streets for residents or deliveries only.

    Raises:
        InputError: the file is not there, is no OpenStreetMap file, or has no street.
    """
    extract_suffix(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; accepted: an OpenStreetMap file")
    streets = _Streets()
    try:
        processor = osmium.FileProcessor(str(path)).with_locations()
        for item in processor.with_filter(KeyFilter("highway", "restriction")):
            if isinstance(item, Node):
                if item.tags.get("highway") == "traffic_signals":
                    streets.signals.add(item.id)
            elif isinstance(item, Way):
                places = [(n.ref, n.location) for n in item.nodes]
                streets.add_way(item.id, dict(item.tags), [
                    (ref, at.lon, at.lat) if at.valid() else None for ref, at in places
                ])  # fmt: skip
            elif isinstance(item, Relation):
                streets.add_restriction(
                    dict(item.tags), [(m.role, m.type, m.ref) for m in item.members]
                )
    except RuntimeError as error:
        raise InputError(f"{path} is no OpenStreetMap file: {error}; accepted: one") from error
    if not streets.edges:
        raise InputError(f"{path} has no street that is open to cars; accepted: at least one")
    return streets.network()


class _Streets:
    """What has been read so far. Nodes, ways, relations: the order of every sorted file."""

    def __init__(self) -> None:
        self.places: list[tuple[float, float]] = []
        self.node: dict[int, int] = {}
        self.signals: set[int] = set()
        self.edges: dict[tuple[int, int], tuple[float, int]] = {}
        self.ends: dict[int, list[tuple[int, int]]] = {}
        """Of each way, its edges."""
        self.restrictions: list[tuple[tuple[int, int], tuple[int, int]]] = []

    def add_way(
        self, way: int, tags: Mapping[str, str], nodes: list[tuple[int, float, float] | None]
    ) -> None:
        """Take a street that is open to cars, in the directions that are open; nodes beyond the
        border of an extract have no place and are None."""
        name = tags.get("highway")
        allowed = next((tags[key] for key in _ACCESS if key in tags), "yes")
        if name not in ROAD_SPEEDS or allowed in _CLOSED or tags.get("area") == "yes":
            return
        speed = _limit(tags.get("maxspeed", ""))
        value = (ROAD_SPEEDS[name] if speed is None else speed, ROAD_CLASSES.index(name))
        forward, backward = _directions(tags)
        index = [None if node is None else self._node(*node) for node in nodes]
        steps = itertools.pairwise(index)
        arcs = [(a, b) for a, b in steps if a is not None and b is not None and a != b]
        driven = [*(arcs if forward else []), *((b, a) for a, b in (arcs if backward else []))]
        for arc in driven:
            self.edges.setdefault(arc, value)
        self.ends[way] = driven

    def _node(self, ref: int, lon: float, lat: float) -> int:
        if ref not in self.node:
            self.node[ref] = len(self.places)
            self.places.append((lon, lat))
        return self.node[ref]

    def add_restriction(self, tags: Mapping[str, str], members: list[tuple[str, str, int]]) -> None:
        """Take a restriction of the turns by one node."""
        before = [ref for role, _, ref in members if role == "from"]
        via = [(kind, ref) for role, kind, ref in members if role == "via"]
        after = [ref for role, _, ref in members if role == "to"]
        kind = tags.get("restriction", "")
        if [k for k, _ in via] != ["n"] or via[0][1] not in self.node or len(before) != 1:
            return
        node = self.node[via[0][1]]
        into = [arc for arc in self.ends.get(before[0], []) if arc[1] == node]
        out = [arc for way in after for arc in self.ends.get(way, []) if arc[0] == node]
        if len(into) != 1 or not out:
            return
        if kind.startswith("only_"):
            out = [arc for arc in self.edges if arc[0] == node and arc not in out
                   and arc != into[0][::-1]]  # fmt: skip
        elif not kind.startswith("no_"):
            return
        self.restrictions += [(into[0], arc) for arc in out]

    def network(self) -> StreetNetwork:
        """All of it as arrays."""
        place = {arc: i for i, arc in enumerate(self.edges)}
        turns = sorted({(place[a], place[b]) for a, b in self.restrictions})
        values = list(self.edges.values())
        return StreetNetwork(
            nodes=np.array(self.places),
            edges=np.array(list(self.edges)).reshape(-1, 2),
            speed=np.array([speed for speed, _ in values], dtype=np.float64),
            road_class=np.array([kind for _, kind in values]),
            restrictions=np.array(turns, dtype=np.int64).reshape(-1, 2),
            signals=np.array([ref in self.signals for ref in self.node]),
        )


def _directions(tags: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether a way is open along its nodes, and against them."""
    oneway = tags.get("oneway")
    if oneway in ("yes", "1", "true"):
        return True, False
    if oneway in ("-1", "reverse"):
        return False, True
    implied = tags.get("junction") in ("roundabout", "circular") or tags["highway"] == "motorway"
    return True, oneway == "no" or not implied


def _limit(text: str) -> float | None:
    """The km/h driven under a posted limit; None where there is no number in it."""
    found = re.match(r"(\d+)( ?mph)?", text)
    if found is None or int(found[1]) == 0:
        return None
    return int(found[1]) * (_KMH_OF_MPH if found[2] else 1) * SPEED_OF_LIMIT
