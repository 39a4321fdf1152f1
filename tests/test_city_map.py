"""City maps: built with the points asked for, stored, memory-mapped, split by whole cities."""

import json
import mmap
import shutil
from pathlib import Path

import numpy as np
import pytest

from nco.data import city_map
from nco.data.city_build import build_city
from nco.data.city_collection import CityCollection
from nco.data.city_map import CityMap, load_cities, read_split, split_by_name, write_split
from nco.data.errors import InputError
from nco.data.geography import metres_between
from nco.data.road_source import Progress
from nco.data.road_table import RoadTable
from nco.data.street_routing import StreetRouter
from nco.data.synthetic_city import CityPlan, synthetic_network
from tests.streets import both_ways, network, random_city


def test_a_map_is_read_as_it_was_written_and_stays_on_the_disk(tmp_path: Path) -> None:
    """All values come back to the bit; each array is a view of a mapped file, not a copy."""
    city = random_city("town", 30, 1)
    city.save(tmp_path / "town")
    back = CityMap.load(tmp_path / "town")
    assert (back.name, back.provenance) == (city.name, city.provenance)
    for name in ("points", "distance", "duration"):
        array = getattr(back, name)
        assert np.array_equal(array, getattr(city, name))
        assert isinstance(array, np.memmap)
        assert isinstance(array._mmap, mmap.mmap)  # pyright: ignore[reportAttributeAccessIssue]  # noqa: SLF001
    # what is written into the file after loading is seen: nothing was copied
    raw = np.lib.format.open_memmap(tmp_path / "town" / "distance.npy", mode="r+")
    raw[0, 1] = 123456.0
    raw.flush()
    assert back.distance[0, 1] == 123456.0


def test_coordinates_are_metres_to_one_scale() -> None:
    """Straight lines between them are those on the ellipsoid, in every direction, within 0.1 %."""
    city = random_city("town", 40, 2)
    coords = city.coords
    here, there = np.triu_indices(40, 1)
    flat = np.linalg.norm(coords[here] - coords[there], axis=1)
    assert np.allclose(flat, metres_between(city.points[here], city.points[there]), rtol=1e-3)
    assert np.allclose(coords.min(0) + coords.max(0), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "city.json").unlink(), "is no city map"),
        (lambda f: (f / "city.json").write_text("{"), "city.json is no JSON"),
        (lambda f: (f / "city.json").write_text('{"format": "x"}'), "is no nco-city of version 1"),
        (lambda f: (f / "city.json").write_text('{"format": "nco-city", "version": 1}'), "lacks"),
        (lambda f: (f / "distance.npy").unlink(), "distance.npy does not exist"),
        (lambda f: (f / "duration.npy").write_bytes(b"\x93NUMPY"), "duration.npy is broken"),
        (lambda f: (f / "points.npy").write_bytes(b""), "points.npy is broken"),
        (lambda f: cut(f / "distance.npy"), "distance.npy is broken"),
        (lambda f: np.save(f / "distance.npy", np.zeros((3, 3), np.float32)), r"float32 \(3, 3\)"),
        (lambda f: np.save(f / "distance.npy", np.zeros((5, 5))), "is float64"),
    ],
)
def test_a_broken_or_foreign_folder_is_refused(tmp_path: Path, damage, told: str) -> None:
    """With the file's name, and what is accepted."""
    random_city("town", 5, 0).save(tmp_path / "town")
    damage(tmp_path / "town")
    with pytest.raises(InputError, match=told) as caught:
        CityMap.load(tmp_path / "town")
    assert "accepted" in str(caught.value)
    assert "town" in str(caught.value)


def cut(path: Path) -> None:
    """Drop the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_map_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk half-way leaves nothing behind; what is there already is never touched."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(city_map, "write_text", full)
        with pytest.raises(InputError, match="town cannot be written: No space left"):
            random_city("town", 5, 0).save(tmp_path / "town")
    assert list(tmp_path.iterdir()) == []
    random_city("town", 5, 0).save(tmp_path / "town")
    with pytest.raises(InputError, match="is there already; accepted"):
        random_city("other", 6, 0).save(tmp_path / "town")
    assert CityMap.load(tmp_path / "town").name == "town"
    with pytest.raises(InputError, match="is not a folder"):
        random_city("town", 5, 0).save(tmp_path / "gone" / "town")


def test_whole_cities_are_held_out() -> None:
    """Each city is in one part; the parts have about their shares, follow from the names alone,
    and a city that comes or goes moves few others."""
    names = [f"city-{i}" for i in range(50)]
    split = split_by_name(names, validation=0.1, test=0.2)
    assert sorted(name for part in split.values() for name in part) == sorted(names)
    assert {part: len(found) for part, found in split.items()} == {
        "train": 35, "validation": 5, "test": 10,
    }  # fmt: skip
    assert {p: sorted(c) for p, c in split_by_name(names[::-1]).items()} == {
        p: sorted(c) for p, c in split.items()
    }
    fewer = split_by_name(names[:-1])
    moved = [n for p, found in fewer.items() for n in found if n not in split[p]]
    assert len(moved) <= 2
    assert all(split_by_name(["a", "b", "c"]).values())


@pytest.mark.parametrize(
    ("names", "shares"),
    [(["a", "b"], {}), (list("abcdef"), {"test": 0.9}), (list("abcdef"), {"validation": -0.1}),
     (["a", "a", "b", "c"], {})],
)  # fmt: skip
def test_impossible_splits_are_refused(names: list[str], shares: dict[str, float]) -> None:
    """Too few cities, too large shares, a name twice."""
    with pytest.raises(InputError, match=r"cities with shares .*accepted"):
        split_by_name(names, **shares)


def test_collections_are_read_by_part(tmp_path: Path) -> None:
    """A part has its cities, None has all; one map is a collection of itself; a city in two parts
    or a folder without parts is refused."""
    for i, name in enumerate("abcd"):
        random_city(name, 5 + i, i).save(tmp_path / name)
    write_split(tmp_path, {"train": ["a", "c"], "validation": ["b"], "test": ["d"]})
    assert [city.name for city in load_cities(tmp_path, "train")] == ["a", "c"]
    assert [city.name for city in load_cities(tmp_path)] == ["a", "c", "b", "d"]
    assert [city.name for city in load_cities(tmp_path / "b", "test")] == ["b"]
    write_split(tmp_path, {"train": ["a"], "validation": ["b"], "test": ["a"]})
    with pytest.raises(InputError, match="has a more than once"):
        read_split(tmp_path)
    write_split(tmp_path, {"train": ["a"], "validation": ["b"], "test": []})
    with pytest.raises(InputError, match="no city for test"):
        load_cities(tmp_path, "test")
    (tmp_path / "split.json").unlink()
    with pytest.raises(InputError, match="is no collection of cities"):
        load_cities(tmp_path, "train")


def test_matrices_with_gaps_are_no_cities_to_draw_from() -> None:
    """A NaN or a negative entry is told with its place."""
    city = random_city("town", 5, 0)
    city.duration[2, 3] = np.nan
    with pytest.raises(InputError, match="'town': duration from point 2 to point 3 is nan"):
        CityCollection.of([city])
    with pytest.raises(InputError, match="no city to draw from"):
        CityCollection.of([])


class Tampering:
    """Tables of a router with faults of servers put in: a point far off, two at one place, one
    that cannot be reached, small negative distances."""

    def __init__(self, router: StreetRouter, faults: bool) -> None:
        self.router, self.faults, self.asked = router, faults, []

    def table(self, points: np.ndarray, *, progress: Progress | None = None) -> RoadTable:
        """Faults at the points 0 to 4."""
        table = self.router.table(points, progress=progress)
        self.asked.append(len(points))
        if self.faults:
            table.offset[0] = 1000.0
            table.snapped[2] = table.snapped[1]
            table.duration[3, 4:] = table.distance[3, 4:] = np.nan
            table.distance[4, 5] = -0.4
        return table


def test_a_city_has_the_points_asked_for() -> None:
    """Unusable points are replaced: of more drawn, the first usable ones are kept, and the
    provenance counts the others and why."""
    town = synthetic_network(
        CityPlan(pattern="grid", side=1000.0, block=100.0), np.random.default_rng(0)
    )
    source = {"generator": "test"}
    told: list[tuple[int, int]] = []
    roads = Tampering(StreetRouter(town), faults=True)
    city = build_city("town", town, roads, 50, 7, source, progress=lambda *done: told.append(done))
    assert city.points.shape == (50, 2)
    assert told[-1][0] == told[-1][1]
    counts = city.provenance["points"]
    assert counts["dropped_far_from_a_street"] == 1
    assert counts["dropped_at_the_same_place"] == 1
    assert counts["dropped_not_reachable"] == 1
    assert counts["drawn"] - sum(v for k, v in counts.items() if k.startswith("dropped")) == 50
    for matrix in (city.distance, city.duration):
        assert bool((np.isfinite(matrix) & (matrix >= 0)).all())
        assert bool((matrix.diagonal() == 0).all())
    clean = StreetRouter(town).table(city.points)
    wrong = ~np.isclose(city.distance, clean.distance, rtol=1e-5, atol=1e-2)
    assert wrong.sum() <= 1
    gap = city.coords[:, None] - city.coords[None] + 10 * np.eye(50)[:, :, None]
    assert np.linalg.norm(gap, axis=2).min() >= 1.0
    json.dumps(city.provenance)
    again = build_city("town", town, StreetRouter(town), 50, 8, source)
    assert not np.array_equal(again.points, city.points)


def test_a_city_that_is_too_small_says_how_many_points_it_has() -> None:
    """A street of 40 m has no 50 points at least 1 m apart."""
    street = network([(0, 0), (40, 0)], both_ways([(0, 1)]))
    roads = Tampering(StreetRouter(street), faults=False)
    with pytest.raises(InputError, match=r"alley has \d+ usable points .* not 50"):
        build_city("alley", street, roads, 50, 0, {})
    assert len(roads.asked) == 3
    with pytest.raises(InputError, match="num_points is 1"):
        build_city("alley", street, roads, 1, 0, {})


def test_maps_move_with_their_folder(tmp_path: Path) -> None:
    """Nothing in a map knows where it lies."""
    random_city("town", 5, 0).save(tmp_path / "town")
    shutil.move(tmp_path / "town", tmp_path / "elsewhere")
    assert CityMap.load(tmp_path / "elsewhere").name == "town"
