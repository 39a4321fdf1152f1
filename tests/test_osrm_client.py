"""The OSRM client against a server of our own that answers, refuses and fails on demand."""

import itertools
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nco.data.errors import InputError
from nco.data.osrm_blocks import Block, polyline6
from nco.data.osrm_client import MAX_URL, OSRM
from nco.data.osrm_errors import (
    BadAnswer,
    NoConnection,
    NoRoute,
    NoSegment,
    Refused,
    ServerFailure,
    TimedOut,
    TooBig,
)
from nco.data.road_table import RoadTable
from tests import fake_osrm
from tests.fake_osrm import DROP, Asked, FakeOSRM, Fault, decode_polyline6, refusal, slow


@pytest.fixture
def fake() -> Iterator[FakeOSRM]:
    with fake_osrm.fake_osrm() as server:
        yield server


def draw_points(n: int, seed: int = 0) -> np.ndarray:
    """Places in a town, with more decimals than a server takes."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(24.9, 25.0, n), rng.uniform(60.1, 60.2, n)])


def whole(points: np.ndarray) -> list[fake_osrm.Point]:
    return [(round(x * 1e6), round(y * 1e6)) for x, y in points.tolist()]


def expected(points: np.ndarray, cell: Callable[..., float]) -> np.ndarray:
    places = [fake_osrm.snap(point) for point in whole(points)]
    return np.array([[cell(a, b) for b in places] for a in places], dtype=np.float32)


def assert_whole_table(table: RoadTable, points: np.ndarray) -> None:
    np.testing.assert_array_equal(table.duration, expected(points, fake_osrm.duration))
    np.testing.assert_array_equal(table.distance, expected(points, fake_osrm.distance))
    places = np.array([fake_osrm.snap(point) for point in whole(points)])
    np.testing.assert_allclose(table.snapped, places / 1e6, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        table.offset, np.abs(places - np.array(whole(points))).sum(1) / 10, atol=1e-9
    )


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


CODES = ["InvalidOptions", "InvalidQuery", "InvalidValue", "InvalidUrl", "InvalidService",
         "InvalidVersion", "NotImplemented", "NoTable"]  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_refusals_are_typed_and_not_repeated(fake: FakeOSRM, code: str) -> None:
    """The message says which address and service, what the server says and what it takes."""
    points = draw_points(5)
    with OSRM(fake.address) as osrm:
        osrm.table(points)
        fake.always = [refusal(code, "the server's word")]
        fake.asked.clear()
        with pytest.raises(Refused) as caught:
            osrm.table(points)
    assert isinstance(caught.value, InputError)
    assert caught.value.code == code
    assert len(fake.asked) == 1
    for part in (fake.address, "/table", code, "the server's word", "accepted: "):
        assert part in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_http_refusals_are_not_repeated(fake: FakeOSRM, status: int) -> None:
    fake.always = [lambda asked: (status, "some proxy's page")]
    with OSRM(fake.address, post=False) as osrm, pytest.raises(Refused, match=f"HTTP {status}"):
        osrm.table(draw_points(4))
    assert len(fake.asked) == 1


@pytest.mark.parametrize("post", [True, False])
def test_no_segment_names_the_point_of_the_caller(fake: FakeOSRM, post: bool) -> None:
    """Not that of the block, whose points have other numbers."""
    points = draw_points(12)
    lost = whole(points)[9]

    def fault(asked: Asked) -> tuple[int, object] | None:
        if lost not in asked.points:
            return None
        told = f"Could not find a matching segment for coordinate {asked.points.index(lost)}"
        return 400, {"code": "NoSegment", "message": told}

    fake.always = [fault]
    with (
        OSRM(fake.address, post=post, radius=250.0, max_cells=9) as osrm,
        pytest.raises(
            NoSegment, match=r"point 9 at \[24.9\d+, 60.1\d+\].*250 m; accepted"
        ) as caught,
    ):
        osrm.table(points)
    assert caught.value.point == 9
    assert {radius for asked in fake.asked for radius in asked.options["radiuses"]} <= {
        "250",
        "250.0",
    }
    assert all(len(asked.options["radiuses"]) == len(asked.points) for asked in fake.asked)


@pytest.mark.parametrize("status", [500, 502, 503, DROP])
def test_passing_failures_are_tried_again(fake: FakeOSRM, status: int) -> None:
    fake.once = [lambda asked: (status, "oops")]
    points = draw_points(4)
    with OSRM(fake.address, backoff=0.001) as osrm:
        assert_whole_table(osrm.table(points), points)
    assert [asked.method for asked in fake.asked] == ["POST", "POST"]


def test_lasting_failure_ends_after_the_retries(fake: FakeOSRM) -> None:
    """It is the server's fault, not the user's."""
    fake.always = [lambda asked: (503, "overloaded")]
    with (
        OSRM(fake.address, post=False, retries=2, backoff=0.001) as osrm,
        pytest.raises(ServerFailure, match="/table: HTTP 503: 'overloaded'") as caught,
    ):
        osrm.table(draw_points(4))
    assert len(fake.asked) == 3
    assert not isinstance(caught.value, InputError)


def test_connection_that_ended_while_idle_is_opened_again(fake: FakeOSRM) -> None:
    """Servers end them after seconds or hundreds of requests; without retries nothing is lost."""
    points = draw_points(3)
    with OSRM(fake.address, retries=0) as osrm:
        for _ in range(3):
            assert_whole_table(osrm.table(points), points)
        assert fake.connections == 1
        fake.once = [lambda asked: (DROP, "")]
        assert_whole_table(osrm.table(points), points)
    assert fake.connections == 2
    assert [asked.cells for asked in fake.asked] == [9] * 5


def test_server_that_always_hangs_up_is_no_connection(fake: FakeOSRM) -> None:
    fake.always = [lambda asked: (DROP, "")]
    with OSRM(fake.address, backoff=0.0) as osrm, pytest.raises(NoConnection, match="dropped"):
        osrm.table(draw_points(4))


def test_nobody_there() -> None:
    """The address is named, and what would be accepted."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with (
            OSRM(address, backoff=0.001) as osrm,
            pytest.raises(NoConnection, match=f"{address} /table: no connection .*accepted: ") as e,
        ):
            osrm.table(draw_points(2))
    assert isinstance(e.value, InputError)


def test_slow_answer_ends_in_time_and_is_not_repeated(fake: FakeOSRM) -> None:
    """Asking a slow server again makes it slower."""
    fake.always = [slow(0.5)]
    with OSRM(fake.address, timeout=0.1) as osrm, pytest.raises(TimedOut, match=r"within 0\.1 s"):
        osrm.table(draw_points(3))
    assert len(fake.asked) == 1


def test_null_is_nan_and_masked(fake: FakeOSRM) -> None:
    """Also where only one of the two numbers is missing, and in every block alike."""
    points = draw_points(8)
    islands = {place: i % 2 for i, place in enumerate(whole(points))}

    def cut(asked: Asked, answer: dict[str, Any]) -> None:
        for (r, i), (c, j) in itertools.product(
            enumerate(asked.sources), enumerate(asked.destinations)
        ):
            if islands[asked.points[i]] != islands[asked.points[j]]:
                missing = "durations" if islands[asked.points[i]] else "distances"
                answer[missing][r][c] = None

    fake.change = cut
    with OSRM(fake.address, max_cells=10) as osrm:
        table = osrm.table(points)
    side = np.arange(8) % 2
    same_side = side[:, None] == side
    np.testing.assert_array_equal(table.reachable, same_side)
    for cells, value in (
        (table.duration, fake_osrm.duration),
        (table.distance, fake_osrm.distance),
    ):
        np.testing.assert_array_equal(np.isnan(cells), ~same_side)
        np.testing.assert_array_equal(cells[same_side], expected(points, value)[same_side])


def test_all_null_is_an_answer(fake: FakeOSRM) -> None:
    """Only the way from a point to itself is sure."""

    def cut(asked: Asked, answer: dict[str, Any]) -> None:
        empty = [[None] * len(asked.destinations) for _ in asked.sources]
        answer.update(durations=empty, distances=empty)

    fake.change = cut
    with OSRM(fake.address) as osrm:
        table = osrm.table(draw_points(3))
    np.testing.assert_array_equal(table.reachable, np.eye(3, dtype=bool))
    np.testing.assert_array_equal(table.duration[np.eye(3, dtype=bool)], 0)


def test_rounding_below_zero_becomes_zero(fake: FakeOSRM) -> None:
    """And the diagonal is zero whatever the server says."""

    def change(asked: Asked, answer: dict[str, Any]) -> None:
        answer["distances"][0][1] = -0.9
        answer["durations"][2][1] = -0.1
        answer["durations"][1][1] = 7.5

    fake.change = change
    points = draw_points(3)
    with OSRM(fake.address) as osrm:
        table = osrm.table(points)
    distance, duration = expected(points, fake_osrm.distance), expected(points, fake_osrm.duration)
    distance[0, 1] = duration[2, 1] = 0
    np.testing.assert_array_equal(table.distance, distance)
    np.testing.assert_array_equal(table.duration, duration)


def changed(name: str, value: object) -> Fault:
    def fault(asked: Asked) -> tuple[int, object]:
        return 200, {"code": "Ok", **fake_osrm.table(asked), name: value}

    return fault


BAD_ANSWERS: list[tuple[str, Fault]] = [
    ("shape \\(2, 2\\)", changed("durations", [[0, 1], [1, 0]])),
    ("shape \\(\\)", changed("distances", None)),
    ("shape \\(9,\\)", changed("distances", [0] * 9)),
    ("not a table", changed("distances", [[0, 1, 2], [1, 0], [1, 2, 0]])),
    ("not a table", changed("durations", [["far", 1, 2], [1, 0, 2], [1, 2, 0]])),
    ("from -50", changed("durations", [[0, -50, 2], [1, 0, 2], [1, 2, 0]])),
    ("list of 3 places", changed("sources", [])),
    ("list of 3 places", changed("destinations", None)),
    ("lacks its 'location'", changed("sources", [{"distance": 1}] * 3)),
    ("not places", changed("sources", [{"location": [1, 2, 3], "distance": 1}] * 3)),
    ("not places", changed("sources", [{"location": [None, 2], "distance": 1}] * 3)),
    ("without OSRM's JSON", lambda asked: (200, "<html>Welcome</html>")),
    ("without OSRM's JSON", lambda asked: (200, '[{"code": "Ok"}]')),
    ("without OSRM's JSON", lambda asked: (200, '{"version": 3}')),
    ("without OSRM's JSON", lambda asked: (200, '{"code": "Ok", "durations": [[NaN]]}')),
    ("without OSRM's JSON", lambda asked: (204, "")),
    ("to inf", lambda asked: (200, json.dumps({"code": "Ok", **fake_osrm.table(asked)}).replace(
        '"durations": [[0.0', '"durations": [[1e999'))),
]  # fmt: skip


@pytest.mark.parametrize(("told", "fault"), BAD_ANSWERS)
def test_answers_of_another_shape_are_refused(fake: FakeOSRM, told: str, fault: Fault) -> None:
    """The message says what is wrong; half an answer is never taken."""
    fake.always = [fault]
    with OSRM(fake.address, post=False) as osrm, pytest.raises(BadAnswer, match=told) as caught:
        osrm.table(draw_points(3))
    assert fake.address in str(caught.value)
    assert not isinstance(caught.value, InputError)


BAD_POINTS = [
    ([[181.0, 0.0]], r"point 0 is \[181.0, 0.0\]; accepted: longitude"),
    ([[0.0, 0.0], [0.0, 90.5]], "point 1 is"),
    ([[0.0, np.nan]], "point 0 is"),
    ([[np.inf, 0.0]], "point 0 is"),
    (np.empty((0, 2)), "no points; accepted: at least 1"),
]


@pytest.mark.parametrize(("points", "told"), BAD_POINTS)
@pytest.mark.parametrize("service", ["table", "nearest", "route"])
def test_bad_points_are_not_sent(
    fake: FakeOSRM, service: str, points: list[list[float]], told: str
) -> None:
    with OSRM(fake.address) as osrm, pytest.raises(InputError, match=told):
        getattr(osrm, service)(np.array(points))
    assert fake.asked == []


@pytest.mark.parametrize("indices", [[3], [-1], []])
def test_bad_indices_are_not_sent(fake: FakeOSRM, indices: list[int]) -> None:
    with OSRM(fake.address) as osrm:
        with pytest.raises(InputError, match=r"sources: .*accepted: indices from 0 to 2"):
            osrm.table(draw_points(3), sources=indices)
        with pytest.raises(InputError, match=r"destinations: .*accepted"):
            osrm.table(draw_points(3), destinations=indices)
    assert fake.asked == []


@pytest.mark.parametrize(
    "address",
    ["", "ftp://a", "http://", "http://a:port", "http://a:99999", "http://a/?x=1", "http://a b",
     "http://me:secret@a"],
)  # fmt: skip
def test_bad_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"address.*accepted: an address such as"):
        OSRM(address)


@pytest.mark.parametrize(
    "wrong",
    [{"timeout": 0.0}, {"timeout": np.inf}, {"radius": -1.0}, {"radius": np.nan}, {"retries": -1},
     {"max_cells": 0}, {"backoff": -0.1}],
)  # fmt: skip
def test_bad_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="accepted: "):
        OSRM("http://a", **wrong)


def test_address_may_lack_its_scheme_and_have_a_path(fake: FakeOSRM) -> None:
    """A proxy's path comes before the service."""
    host = fake.address.removeprefix("http://")
    with OSRM(f"{host}/") as osrm:
        assert osrm.address == fake.address
        assert osrm.table(draw_points(2)).reachable.all()
    with OSRM(f"{fake.address}/osrm/7/", profile="a/b") as osrm:
        assert osrm.table(draw_points(2)).reachable.all()
    assert [asked.prefix for asked in fake.asked] == ["", "/osrm/7"]
    assert [asked.profile for asked in fake.asked] == ["driving", "a/b"]


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
