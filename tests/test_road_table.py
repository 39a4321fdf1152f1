"""Road tables: which points are usable, files, and points from CSV."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.data.errors import InputError
from nco.data.point_files import read_points
from nco.data.road_table import RoadProvenance, RoadTable, reachable_points

PROVENANCE = RoadProvenance(
    address="http://a:1", profile="car", created="2026-01-02T03:04:05Z", version="26.10.0",
    algorithm=None, data_version=None, options={"radius": 50.0},
)  # fmt: skip


def make_table(
    reachable: np.ndarray, places: list[int] | None = None, offset: list[float] | None = None
) -> RoadTable:
    """Every way takes 1 s and 2 m; places are numbers of streets."""
    n = len(reachable)
    snapped = np.array(places if places is not None else range(n), dtype=np.float64)
    cells = np.where(reachable, np.float32(1), np.float32(np.nan))
    return RoadTable(
        points=np.zeros((n, 2)),
        duration=cells,
        distance=2 * cells,
        snapped=np.column_stack([snapped, snapped]),
        offset=np.array(offset or [0.0] * n, dtype=np.float64),
        sources=np.arange(n),
        destinations=np.arange(n),
        provenance=PROVENANCE,
    )


def largest_mutual(reachable: np.ndarray) -> int:
    """By looking at all subsets."""
    n = len(reachable)
    return max(
        size
        for size in range(1, n + 1)
        for chosen in itertools.combinations(range(n), size)
        if reachable[np.ix_(chosen, chosen)].all()
    )


def closure(reachable: np.ndarray) -> np.ndarray:
    for k in range(len(reachable)):
        reachable = reachable | (reachable[:, [k]] & reachable[[k]])
    return reachable


@settings(max_examples=60)
@given(n=st.integers(1, 7), density=st.floats(0.0, 0.5), seed=st.integers(0, 10**6))
def test_kept_points_are_the_largest_set_that_reaches_itself(
    n: int, density: float, seed: int
) -> None:
    """Against brute force, where reachability is transitive, as on streets it nearly is."""
    rng = np.random.default_rng(seed)
    direct = (rng.random((n, n)) < density) | np.eye(n, dtype=bool)
    reachable = closure(direct)
    kept = reachable_points(make_table(reachable))
    assert reachable[np.ix_(kept.index, kept.index)].all()
    assert len(kept.index) == largest_mutual(reachable)
    # without transitivity the greedy choice need not be the largest, but is always usable
    kept = reachable_points(make_table(direct))
    assert direct[np.ix_(kept.index, kept.index)].all()
    assert len(kept.index) >= 1
    assert sorted([*kept.index, *kept.unreachable]) == list(range(n))


def test_equal_components_give_the_one_with_the_first_point() -> None:
    side = np.array([1, 0, 0, 1])
    kept = reachable_points(make_table(side[:, None] == side))
    assert kept.index.tolist() == [0, 3]


def test_points_are_dropped_for_the_first_reason_that_holds() -> None:
    """A far point does not make the near one at its place a duplicate; what is told adds up."""
    reachable = np.ones((6, 6), dtype=bool)
    reachable[5, :5] = False
    table = make_table(reachable, places=[7, 7, 3, 7, 4, 5], offset=[90, 10, 0, 50, 50.1, 0])
    kept = reachable_points(table, max_offset=50.0)
    assert kept.far.tolist() == [0, 4]
    assert kept.duplicate.tolist() == [3]
    assert kept.unreachable.tolist() == [5]
    assert kept.index.tolist() == [1, 2]
    told = "2 of 6 points kept; dropped: 2 far from any street, 1 at the place of another, 1 not"
    assert str(kept).startswith(told)


def test_no_point_near_a_street() -> None:
    table = make_table(np.ones((2, 2), dtype=bool), offset=[90, 70])
    with pytest.raises(InputError, match=r"no point is within 50.0 m .* is 70 m away; accepted"):
        reachable_points(table, max_offset=50.0)


def test_part_of_a_table_is_refused() -> None:
    whole = make_table(np.ones((3, 3), dtype=bool))
    for sources in ([0, 1], [1, 0, 2]):
        part = RoadTable(
            whole.points, whole.duration[sources], whole.distance[sources], whole.snapped,
            whole.offset, np.array(sources), whole.destinations, whole.provenance,
        )  # fmt: skip
        with pytest.raises(InputError, match="accepted: all points in both directions"):
            reachable_points(part)


def test_file_gives_back_all_of_a_table(tmp_path: Path) -> None:
    reachable = np.ones((3, 3), dtype=bool)
    reachable[0, 1] = False
    table = make_table(reachable)
    table.save(tmp_path / "town.npz")
    back = RoadTable.load(tmp_path / "town.npz")
    names = ("points", "duration", "distance", "snapped", "offset", "sources", "destinations")
    for name in (*names, "reachable"):
        ours, theirs = getattr(table, name), getattr(back, name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
        assert ours.dtype == theirs.dtype
    assert back.provenance == PROVENANCE
    assert [path.name for path in tmp_path.iterdir()] == ["town.npz"]


def test_bad_table_files_are_refused(tmp_path: Path) -> None:
    table = make_table(np.ones((2, 2), dtype=bool))
    with pytest.raises(InputError, match=r"suffix '.csv'; accepted: .npz"):
        table.save(tmp_path / "a.csv")
    with pytest.raises(InputError, match="accepted: a name in a folder that exists"):
        table.save(tmp_path / "nowhere" / "a.npz")
    with pytest.raises(InputError, match=r"a.npz does not exist; accepted: a file"):
        RoadTable.load(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="is no road table"):
        RoadTable.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", points=np.zeros(3))
    with pytest.raises(InputError, match=r"is no road table.*duration"):
        RoadTable.load(tmp_path / "b.npz")
    with pytest.raises(InputError, match="not the provenance"):
        RoadProvenance.from_json('{"address": "a"}')


@pytest.mark.parametrize(
    "text",
    [
        "longitude,latitude\n24.9,60.1\n25,60.2\n",
        "name, Lat ,LON\nA,60.1,24.9\n\n'B',60.2,25\n",
        '\ufefflat,lng,note\n60.1,24.9,"two\nlines"\n60.2,25.0,\n',
    ],
)
def test_points_are_read_from_their_columns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_points(path), [[24.9, 60.1], [25.0, 60.2]])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n1,2\n", "line 1: 0 columns of longitude in a, b; accepted: one named longitude or"),
        ("lon,lng,lat\n1,2,3\n", "line 1: 2 columns of longitude"),
        ("lon,lat\n", "has no points"),
        ("lon,lat\n1\n", r"line 2: lat is missing; accepted"),
        ("lon,lat\n1,2\n3,north\n", r"line 3 \(lat\): 'north' is not accepted; accepted: a finite"),
        ("lon,lat\n1,nan\n", r"line 2 \(lat\): 'nan'"),
        ('lon,lat\n"1,2\n', r"line 2: unexpected end of data; accepted: CSV"),
        ("", "is empty"),
    ],
)
def test_bad_point_files_are_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"points.csv.*{told}"):
        read_points(path)
