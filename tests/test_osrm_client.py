"""The OSRM client against a server of our own that answers, refuses and fails on demand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nco.data.osrm_blocks import Block, polyline6
from nco.data.osrm_client import MAX_URL, OSRM
from nco.data.osrm_errors import (
    BadAnswer,
    NoRoute,
    TooBig,
)
from tests import fake_osrm
from tests.fake_osrm import DROP, FakeOSRM, Fault, decode_polyline6, refusal
from tests.osrm_tables import assert_whole_table, draw_points, expected, whole


@pytest.mark.parametrize("post", [True, False])
@pytest.mark.parametrize("n", [1, 2, 17])
def test_table_holds_what_the_server_says(fake: FakeOSRM, n: int, post: bool) -> None:
    """Rows are origins, columns destinations, also of a single point; one request is enough."""
    points = draw_points(n)
    with OSRM(fake.address, post=post) as osrm:
        table = osrm.table(points)
    assert_whole_table(table, points)
    assert table.duration.dtype == table.distance.dtype == np.float32
    assert table.reachable.all()
    assert n == 1 or not np.array_equal(table.duration, table.duration.T)
    assert [asked.method for asked in fake.asked] == ["POST" if post else "GET"]
    assert fake.asked[0].options["annotations"] == ["duration", "distance"]


@pytest.mark.parametrize("post", [True, False])
@pytest.mark.parametrize("max_cells", [1, 7, 30, 168])
def test_blocks_make_the_same_table_from_their_own_points(
    fake: FakeOSRM, max_cells: int, post: bool
) -> None:
    """Each cell is asked for once, in requests within the limit that send no other point."""
    points = draw_points(13)
    seen: list[tuple[int, int]] = []
    with OSRM(fake.address, post=post, max_cells=max_cells) as osrm:
        table = osrm.table(points, progress=lambda done, total: seen.append((done, total)))
    assert_whole_table(table, points)
    asked_for = []
    for asked in fake.asked:
        assert asked.cells <= max_cells
        used = {*asked.sources, *asked.destinations}
        # a point alone has to come twice
        assert used == set(range(len(asked.points))) or len(set(asked.points)) == 1
        asked_for += [
            (asked.points[i], asked.points[j]) for i in asked.sources for j in asked.destinations
        ]
    assert sorted(asked_for) == sorted(itertools.product(whole(points), repeat=2))
    assert seen[-1] == (169, 169)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert fake.connections == 1


def test_sources_and_destinations_choose_rows_and_columns(fake: FakeOSRM) -> None:
    """In any order, with repetitions; points that nobody asked for are not sent."""
    points = draw_points(9)
    sources, destinations = [7, 2, 2], [0, 7, 5, 1]
    with OSRM(fake.address) as osrm:
        full = osrm.table(points)
        part = osrm.table(points, sources=sources, destinations=destinations)
    np.testing.assert_array_equal(part.duration, full.duration[np.ix_(sources, destinations)])
    np.testing.assert_array_equal(part.distance, full.distance[np.ix_(sources, destinations)])
    assert set(fake.asked[1].points) == {whole(points)[i] for i in (0, 1, 2, 5, 7)}
    unused = [3, 4, 6, 8]
    assert np.isnan(part.snapped[unused]).all()
    assert np.isnan(part.offset[unused]).all()
    np.testing.assert_array_equal(part.snapped[[0, 1, 2, 5, 7]], full.snapped[[0, 1, 2, 5, 7]])


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 40), max_cells=st.integers(1, 300)
)  # fmt: skip
def test_split_covers_a_block_once(rows: int, columns: int, max_cells: int) -> None:
    """No part is over the limit, and none is much smaller than need be."""
    block = Block(np.arange(rows), np.arange(100, 100 + columns))
    parts = block.split(max_cells)
    cells = [(i, j) for part in parts for i in part.rows for j in part.columns]
    assert sorted(cells) == sorted(itertools.product(block.rows, block.columns))
    assert max(part.cells for part in parts) <= max_cells
    assert len(parts) <= 4 * -(-rows * columns // max_cells)


def over(limit: int, status: int) -> Fault:
    """Refuses requests of more cells, in one of the ways that servers and proxies have."""
    body: object = {"code": "TooBig", "message": "Too many table coordinates"}
    return lambda asked: (status, body if status == 400 else "no") if asked.cells > limit else None


@pytest.mark.parametrize("post", [True, False])
@pytest.mark.parametrize("status", [400, 413, 414, 431, DROP])
def test_what_is_too_big_is_halved_and_the_limit_remembered(
    fake: FakeOSRM, status: int, post: bool
) -> None:
    """Later tables begin below what was refused."""
    fake.always = [over(40, status)]
    points = draw_points(20)
    with OSRM(fake.address, post=post, backoff=0.001) as osrm:
        assert_whole_table(osrm.table(points), points)
        refused = [asked.cells for asked in fake.asked if asked.cells > 40]
        # 400, 200, 100, 50; a drop is tried twice, and a first POST that fails then by GET
        assert len(set(refused)) <= 4
        assert len(refused) <= 4 * (4 if status == DROP else 2)
        fake.asked.clear()
        assert_whole_table(osrm.table(points), points)
    assert max(asked.cells for asked in fake.asked) <= (min(refused) + 1) // 2


def test_limit_below_two_points_is_an_error(fake: FakeOSRM) -> None:
    fake.always = [over(0, 400)]
    with OSRM(fake.address) as osrm, pytest.raises(TooBig, match=r"/table: TooBig.*two points"):
        osrm.table(draw_points(3))


def test_get_keeps_its_url_short(fake: FakeOSRM) -> None:
    """Before any server or proxy complains."""
    points = draw_points(600)
    with OSRM(fake.address, post=False, max_cells=10**9) as osrm:
        table = osrm.table(points, destinations=range(3))
    np.testing.assert_array_equal(table.duration, expected(points, fake_osrm.duration)[:, :3])
    lengths = [asked.length for asked in fake.asked]
    assert max(lengths) <= MAX_URL + 1
    assert 1 < len(lengths) < 8


NO_POST: list[tuple[int, object]] = [
    (404, "not found"),
    (405, "method not allowed"),
    (403, "forbidden"),
    (501, "not implemented"),
    (400, {"code": "InvalidUrl", "message": 'URL string malformed close to position 18: ""'}),
    (400, {"code": "InvalidQuery", "message": "Query string malformed"}),
    (200, "<html>a page</html>"),
    (DROP, ""),
]


@pytest.mark.parametrize("given_to_post", NO_POST)
def test_server_without_post_gets_get(fake: FakeOSRM, given_to_post: tuple[int, object]) -> None:
    """However it refuses, and from then on at once."""
    fake.always = [lambda asked: given_to_post if asked.method == "POST" else None]
    points = draw_points(6)
    with OSRM(fake.address, backoff=0.001) as osrm:
        for _ in range(2):
            assert_whole_table(osrm.table(points), points)
    methods = [asked.method for asked in fake.asked]
    assert methods == ["POST"] * (len(methods) - 2) + ["GET", "GET"]
    assert len(methods) <= 4


def test_nearest_gives_places_and_offsets(fake: FakeOSRM) -> None:
    points = draw_points(5)
    with OSRM(fake.address) as osrm:
        table, near = osrm.table(points), osrm.nearest(points)
    np.testing.assert_array_equal(near.place, table.snapped)
    np.testing.assert_array_equal(near.offset, table.offset)


@pytest.mark.parametrize("most", [2, 3, 7, 100])
def test_route_joins_its_requests(fake: FakeOSRM, most: int) -> None:
    """The legs come in order and have the streets' corners, however many requests they took."""
    points = draw_points(9)
    fake.always = [lambda asked: refusal("TooBig")(asked) if len(asked.points) > most else None]
    with OSRM(fake.address) as osrm:
        legs = osrm.route(points)
    places = [fake_osrm.snap(point) for point in whole(points)]
    assert len(legs) == 8
    for leg, (a, b) in zip(legs, itertools.pairwise(places), strict=True):
        line = np.array([a, (b[0], a[1]), b]) / 1e6
        np.testing.assert_allclose(leg.geometry, line, rtol=0, atol=1e-9)
        assert leg.distance == fake_osrm.distance(a, b)
        assert leg.duration == fake_osrm.duration(a, b)
    assert all(asked.options["continue_straight"] in (["False"], ["false"]) for asked in fake.asked)


def test_long_route_is_asked_for_in_parts(fake: FakeOSRM) -> None:
    """And a leg to the same place has two places all the same."""
    points = np.repeat(draw_points(120), 2, axis=0)
    with OSRM(fake.address) as osrm:
        legs = osrm.route(points)
    assert len(legs) == 239
    assert max(len(asked.points) for asked in fake.asked) <= 101
    assert [len(leg.geometry) for leg in legs[::2]] == [2] * 120


def test_no_route_names_the_two_points(fake: FakeOSRM) -> None:
    points = draw_points(10)
    here, there = whole(points)[6:8]
    fake.always = [
        lambda asked: (
            refusal("NoRoute", "Impossible route between points")(asked)
            if (here, there) in itertools.pairwise(asked.points)
            else None
        )
    ]
    with (
        OSRM(fake.address) as osrm,
        pytest.raises(NoRoute, match=r"/route: NoRoute.*from point 6 to point 7"),
    ):
        osrm.route(points)


@pytest.mark.parametrize(
    "routes", [None, [], [{}], [{"legs": []}], [{"legs": [{"steps": []}]}], [{"legs": 3}]]
)
def test_bad_routes_are_refused(fake: FakeOSRM, routes: object) -> None:
    fake.always = [lambda asked: (200, {"code": "Ok", "routes": routes})]
    with OSRM(fake.address, post=False) as osrm, pytest.raises(BadAnswer, match="/route"):
        osrm.route(draw_points(2))


def test_provenance_says_what_the_server_and_the_caller_told(fake: FakeOSRM) -> None:
    with OSRM(fake.address, radius=50.0, version="26", profile="bike") as osrm:
        before = osrm.table(draw_points(2)).provenance
        osrm.nearest(draw_points(1))
        after = osrm.table(draw_points(2)).provenance
    assert (before.address, before.profile, before.version) == (fake.address, "bike", "26")
    assert (before.algorithm, before.options) == (None, {"radius": 50})
    assert (before.data_version, after.data_version) == (None, "2024-05-06")
    assert {asked.profile for asked in fake.asked} == {"bike"}


def test_polyline_is_the_published_format() -> None:
    """The test vector of the package polyline of Mapbox, with six decimals."""
    points = np.array([[-120.2, 38.5], [-120.95, 40.7], [-126.453, 43.252]])
    quoted = "_izlhA~rlgdF_%7BgeC~ywl%40_kwzCn%60%7BnI"
    assert polyline6(points) == quoted


@given(
    st.lists(
        st.tuples(st.integers(-180_000_000, 180_000_000), st.integers(-90_000_000, 90_000_000)),
        min_size=1,
        max_size=20,
    )
)
def test_polyline_reads_back(places: list[tuple[int, int]]) -> None:
    from urllib.parse import unquote

    assert decode_polyline6(unquote(polyline6(np.array(places) / 1e6))) == places
