"""What the OSRM client makes of refusals, failures, odd answers and bad input."""

import itertools
import json
import socket
from typing import Any

import numpy as np
import pytest

from nco.data.errors import InputError
from nco.data.osrm_client import OSRM
from nco.data.osrm_errors import (
    BadAnswer,
    NoConnection,
    NoSegment,
    Refused,
    ServerFailure,
    TimedOut,
)
from tests import fake_osrm
from tests.fake_osrm import DROP, Asked, FakeOSRM, Fault, refusal, slow
from tests.osrm_tables import assert_whole_table, draw_points, expected, whole

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
