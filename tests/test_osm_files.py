"""OpenStreetMap files: what is written is read again, and what tags mean, by hand."""

import bz2
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nco.data.errors import InputError
from nco.data.osm_writer import write_osm
from nco.data.street_network import ROAD_CLASSES, StreetNetwork
from nco.data.synthetic_city import draw_plan, synthetic_network

pytest.importorskip("osmium", reason="needs the package osmium, of the extra roads")

from nco.data.osm_reader import read_osm

NODES = "".join(
    f'<node id="{i}" version="1" lat="50.0" lon="{10 + i / 1000:.3f}"/>' for i in range(1, 6)
)
LIGHTS = ('<node id="6" version="1" lat="50.001" lon="10.001">'
          '<tag k="highway" v="traffic_signals"/></node>')  # fmt: skip


def way(number: int, nodes: list[int], **tags: str) -> str:
    """A residential street unless the tags say otherwise."""
    tags = {"highway": "residential"} | tags
    inside = "".join(f'<nd ref="{ref}"/>' for ref in nodes)
    inside += "".join(f'<tag k="{k}" v="{v}"/>' for k, v in tags.items())
    return f'<way id="{number}" version="1">{inside}</way>'


def restriction(number: int, before: int, via: int, after: int, kind: str) -> str:
    """A relation of two ways and a node."""
    return (
        f'<relation id="{number}" version="1"><member type="way" ref="{before}" role="from"/>'
        f'<member type="node" ref="{via}" role="via"/>'
        f'<member type="way" ref="{after}" role="to"/>'
        f'<tag k="type" v="restriction"/><tag k="restriction" v="{kind}"/></relation>'
    )


def read(tmp_path: Path, *parts: str) -> StreetNetwork:
    """The network of a file with six nodes and these parts."""
    path = tmp_path / "map.osm"
    path.write_text(f'<osm version="0.6">{NODES}{LIGHTS}{"".join(parts)}</osm>')
    return read_osm(path)


def named_edges(streets: StreetNetwork) -> set[tuple[int, int]]:
    """Edges by the nodes' numbers, which their longitudes tell; 6 is the one in the north."""
    number = np.round((streets.nodes[:, 0] - 10) * 1000).astype(int)
    number[streets.nodes[:, 1] > 50.0005] = 6
    return {(int(number[a]), int(number[b])) for a, b in streets.edges}


def test_a_city_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Streets, speeds, classes, lights and forbidden turns come back, whatever their order."""
    generator = np.random.default_rng(4)
    town = synthetic_network(draw_plan("mixed", generator), generator)
    write_osm(town, tmp_path / "town.osm")
    back = read_osm(tmp_path / "town.osm")

    def described(streets: StreetNetwork) -> tuple[set[Any], set[Any], set[Any]]:
        place = [tuple(p) for p in np.round(streets.nodes, 6).tolist()]
        ends = [(place[a], place[b]) for a, b in streets.edges.tolist()]
        values = zip(ends, np.round(streets.speed, 6).tolist(), streets.road_class.tolist(),
                     strict=True)  # fmt: skip
        turns = {(ends[a], ends[b]) for a, b in streets.restrictions.tolist()}
        lights = {p for p, lit in zip(place, streets.signals.tolist(), strict=True) if lit}
        return set(values), turns, lights

    assert described(back) == described(town)
    assert len(described(town)[1]) > 5
    assert len(described(town)[2]) > 5


@pytest.mark.parametrize(
    ("tags", "edges"),
    [
        ({}, {(1, 2), (2, 1), (2, 3), (3, 2)}),
        ({"oneway": "yes"}, {(1, 2), (2, 3)}),
        ({"oneway": "-1"}, {(2, 1), (3, 2)}),
        ({"junction": "roundabout"}, {(1, 2), (2, 3)}),
        ({"highway": "motorway"}, {(1, 2), (2, 3)}),
        ({"highway": "motorway", "oneway": "no"}, {(1, 2), (2, 1), (2, 3), (3, 2)}),
        ({"highway": "footway"}, set()),
        ({"access": "private"}, set()),
        ({"access": "no", "motor_vehicle": "yes"}, {(1, 2), (2, 1), (2, 3), (3, 2)}),
        ({"area": "yes"}, set()),
    ],
)
def test_directions_and_access(
    tmp_path: Path, tags: dict[str, str], edges: set[tuple[int, int]]
) -> None:
    """Which directions of a way are open to cars."""
    streets = read(tmp_path, way(1, [1, 2, 3], **tags), way(2, [4, 5]))
    assert named_edges(streets) == edges | {(4, 5), (5, 4)}


@pytest.mark.parametrize(
    ("tags", "speed"),
    [
        ({}, 25),
        ({"highway": "primary"}, 65),
        ({"maxspeed": "50"}, 40),
        ({"maxspeed": "30 mph"}, 30 * 1.609 * 0.8),
        ({"maxspeed": "walk"}, 25),
        ({"maxspeed": "0"}, 25),
    ],
)
def test_speeds(tmp_path: Path, tags: dict[str, str], speed: float) -> None:
    """Four fifths of the posted limit, else the class's speed."""
    assert np.allclose(read(tmp_path, way(1, [1, 2], **tags)).speed, speed)


def test_restrictions_by_one_node(tmp_path: Path) -> None:
    """A forbidden turn is one pair of edges; an obligatory one forbids all others but turning
    round; what is for some hours or has a way between is not taken."""
    ways = [way(1, [1, 2]), way(2, [2, 3]), way(3, [2, 6]), way(4, [3, 4])]
    no = read(tmp_path, *ways, restriction(1, 1, 2, 3, "no_left_turn"))
    assert turns(no) == {((1, 2), (2, 6))}
    assert no.signals.sum() == 1
    only = read(tmp_path, *ways, restriction(1, 1, 2, 2, "only_straight_on"))
    assert turns(only) == {((1, 2), (2, 6))}
    hours = restriction(1, 1, 2, 3, "no_left_turn").replace(
        'k="restriction"', 'k="restriction:conditional"'
    )
    unclear = [hours, restriction(2, 1, 3, 4, "no_left_turn"), restriction(3, 9, 2, 3, "no_u_turn")]
    assert turns(read(tmp_path, *ways, *unclear)) == set()


def turns(streets: StreetNetwork) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """The forbidden turns by the nodes' numbers."""
    names = [next(iter(named_edges(dataclasses.replace(
        streets, edges=streets.edges[[i]], speed=streets.speed[[i]],
        road_class=streets.road_class[[i]], restrictions=np.empty((0, 2), dtype=np.int64),
    )))) for i in range(len(streets.edges))]  # fmt: skip
    return {(names[a], names[b]) for a, b in streets.restrictions.tolist()}


def test_a_compressed_file_is_read(tmp_path: Path) -> None:
    plain = read(tmp_path, way(1, [1, 2, 3]))
    path = tmp_path / "map.osm.bz2"
    path.write_bytes(bz2.compress((tmp_path / "map.osm").read_bytes()))
    assert named_edges(read_osm(path)) == named_edges(plain) == {(1, 2), (2, 1), (2, 3), (3, 2)}


def test_a_way_that_leaves_the_extract_is_cut_there(tmp_path: Path) -> None:
    """Its nodes outside have no place; no street leaps over them."""
    assert named_edges(read(tmp_path, way(1, [1, 2, 77, 4, 5]))) == {(1, 2), (2, 1), (4, 5), (5, 4)}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("map.txt", "", "is no map; accepted: .osm.pbf, .osm.bz2, .osm"),
        ("gone.osm", None, "does not exist"),
        ("bad.osm", "<osm", "no OpenStreetMap file"),
        ("bad.osm.pbf", "hello", "no OpenStreetMap file"),
        ("bad.osm.bz2", "hello", "no OpenStreetMap file"),
        ("empty.osm", '<osm version="0.6"></osm>', "no street that is open to cars"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: str | None, told: str) -> None:
    """With the file's name and what is accepted."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=told) as caught:
        read_osm(tmp_path / name)
    assert name in str(caught.value)


def test_every_class_of_roads_is_read(tmp_path: Path) -> None:
    """The classes written are those read."""
    for name in ROAD_CLASSES:
        streets = read(tmp_path, way(1, [1, 2], highway=name))
        assert {ROAD_CLASSES[i] for i in streets.road_class} == {name}
