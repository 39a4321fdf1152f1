"""The real OSRM, where it is set up: what it answers, and that it starts and ends as it should."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nco.data.errors import InputError
from nco.data.osrm_client import OSRM
from nco.data.osrm_errors import NoConnection, NoRoute, NoSegment, OSRMError, ToolFailed
from nco.data.osrm_http import Connection
from nco.data.osrm_server import Algorithm, PreparedMap, RunningServer, prepare, running
from nco.data.osrm_tools import OSRMTools
from nco.data.road_table import RoadTable, reachable_points
from tests.street_grid import SIDE, crossings, write_two_islands

pytestmark = pytest.mark.osrm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("osrm")


@pytest.fixture(scope="module")
def extract(folder: Path) -> Path:
    path = folder / "islands.osm"
    write_two_islands(path)
    return path


@pytest.fixture(scope="module")
def islands(extract: Path, folder: Path, osrm_tools: OSRMTools) -> PreparedMap:
    return prepare(extract, cache=folder / "prepared", tools=osrm_tools)


@pytest.fixture(scope="module")
def server(islands: PreparedMap, osrm_tools: OSRMTools) -> Iterator[RunningServer]:
    with running(islands, tools=osrm_tools) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def small_server(islands: PreparedMap, osrm_tools: OSRMTools) -> Iterator[RunningServer]:
    """Takes 100 cells."""
    with running(islands, tools=osrm_tools, max_table_size=10) as running_server:
        yield running_server


def draw_points(n: int, seed: int = 0) -> np.ndarray:
    """On both islands in turn, near streets."""
    rng = np.random.default_rng(seed)
    both = np.stack([crossings(0), crossings(1)])
    places = both[np.arange(n) % 2, rng.integers(SIDE**2, size=n)]
    return places + rng.uniform(-0.0004, 0.0004, (n, 2))


def assert_equal(one: RoadTable, other: RoadTable) -> None:
    for name in ("duration", "distance", "snapped", "offset"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_islands_are_reachable_within_only(server: RunningServer) -> None:
    """Nulls of the real server become NaN in both matrices, and streets are not symmetric."""
    points = draw_points(30)
    with server.client() as osrm:
        table = osrm.table(points)
    side = np.arange(30) % 2
    np.testing.assert_array_equal(table.reachable, side[:, None] == side)
    np.testing.assert_array_equal(np.isnan(table.distance), ~table.reachable)
    # half a street is 55 m long
    assert table.offset.max() < 60
    within = table.distance[::2, ::2]
    assert not np.array_equal(within, within.T)


def test_distances_are_metres_along_the_street(server: RunningServer) -> None:
    """The southernmost street is a two-way parallel; the Earth is the ellipsoid WGS 84."""
    street = crossings(0)[:SIDE]
    with server.client() as osrm:
        table = osrm.table(street)
    steps = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    latitude = np.radians(50.0)
    radius = 6_378_137.0 / np.sqrt(1 - 0.00669438 * np.sin(latitude) ** 2) * np.cos(latitude)
    metres = radius * np.radians(0.001)
    np.testing.assert_allclose(table.distance, steps * metres, atol=0.5)
    np.testing.assert_array_equal(table.offset, 0)
    # 25 km/h in residential streets; turns cost nothing on the way straight on
    assert table.duration[0, SIDE - 1] == pytest.approx(7 * metres / (25 / 3.6), rel=0.05)


@pytest.mark.parametrize("post", [True, False])
def test_blocks_equal_one_request(
    server: RunningServer, small_server: RunningServer, post: bool
) -> None:
    """With the limit known and with the limit found; POST and GET give the same."""
    points = draw_points(40, seed=1)
    with server.client() as osrm:
        whole = osrm.table(points)
    for max_cells in (small_server.max_cells, 10**6):
        with OSRM(small_server.address, max_cells=max_cells, post=post) as osrm:
            assert_equal(osrm.table(points), whole)


def test_the_limit_is_the_square_of_the_setting(small_server: RunningServer) -> None:
    """100 cells of any shape pass in one request and 101 do not."""
    points = draw_points(101)
    told: list[tuple[int, int]] = []
    with OSRM(small_server.address, max_cells=10**6) as osrm:
        osrm.table(
            points, sources=[0], destinations=range(1, 101), progress=lambda *d: told.append(d)
        )
        assert told == [(100, 100)]
        osrm.table(points, sources=[0], progress=lambda *d: told.append(d))
    assert len(told) > 2


def test_far_points_are_told(server: RunningServer) -> None:
    """The server joins a point in another country to its nearest street without a word."""
    points = np.vstack([draw_points(4), [[0.0, 0.0]]])
    with server.client() as osrm:
        table = osrm.table(points)
    assert table.offset[4] > 5_000_000
    kept = reachable_points(table, max_offset=100.0)
    assert kept.far.tolist() == [4]
    with server.client(radius=100.0) as osrm, pytest.raises(NoSegment, match="point 4 at") as told:
        osrm.table(points)
    assert told.value.point == 4


def test_usable_points_are_of_the_larger_island_and_distinct(server: RunningServer) -> None:
    here, there = crossings(0)[:10], crossings(1)[:6]
    points = np.vstack([here[:4], there, here[2:10]])
    with server.client() as osrm:
        kept = reachable_points(osrm.table(points))
    assert kept.index.tolist() == [0, 1, 2, 3, 12, 13, 14, 15, 16, 17]
    assert kept.duplicate.tolist() == [10, 11]
    assert kept.unreachable.tolist() == [4, 5, 6, 7, 8, 9]


def test_legs_are_as_long_as_the_cells(server: RunningServer) -> None:
    """A route through many stops may turn round at each, and follows the streets."""
    points = draw_points(240, seed=2)[::2]
    with server.client() as osrm:
        table, legs = osrm.table(points), osrm.route(points)
    stop = np.arange(119)
    np.testing.assert_allclose(
        [leg.distance for leg in legs], table.distance[stop, stop + 1], atol=0.15
    )
    np.testing.assert_allclose(
        [leg.duration for leg in legs], table.duration[stop, stop + 1], atol=0.15
    )
    for i, leg in enumerate(legs):
        np.testing.assert_allclose(leg.geometry[0], table.snapped[i], atol=2e-6)
        np.testing.assert_allclose(leg.geometry[-1], table.snapped[i + 1], atol=2e-6)
        # along the grid either longitude or latitude stays
        if leg.distance > 0:
            assert np.abs(np.diff(leg.geometry, axis=0)).min(1).max() < 2e-5


def test_no_way_between_islands(server: RunningServer) -> None:
    points = np.vstack([crossings(0)[:3], crossings(1)[:1]])
    with server.client() as osrm, pytest.raises(NoRoute, match="from point 2 to point 3"):
        osrm.route(points)


def test_nearest_is_the_place_of_the_table(server: RunningServer) -> None:
    points = draw_points(6)
    with server.client() as osrm:
        table, near = osrm.table(points), osrm.nearest(points)
    np.testing.assert_array_equal(near.place, table.snapped)
    np.testing.assert_allclose(near.offset, table.offset, atol=1e-6)


REFUSED = [
    ("tables/v1/driving/10,50;10,50", "InvalidService"),
    ("table/v7/driving/10,50;10,50", "InvalidVersion"),
    ("table/v1/driving/10,50;x", "InvalidQuery"),
    ("table/v1/driving/10,50", "InvalidOptions"),
    ("table/v1/driving/10,50;10,95", "InvalidOptions"),
    ("table/v1/driving/10,50;10,50?sources=7", "InvalidOptions"),
    ("table/v1/driving/10,50;10,50?radiuses=1", "InvalidOptions"),
    ("table/v1/driving/10,50;10,50?annotations=speed", "InvalidQuery"),
    ("table/v1/driving/0,0;10,50?radiuses=10;10", "NoSegment"),
    ("table/v1/driving/" + ";".join(["10,50"] * 11), "TooBig"),
]


@pytest.mark.parametrize(("target", "code"), REFUSED)
def test_real_refusals_have_the_types_that_the_fake_assumes(
    small_server: RunningServer, target: str, code: str
) -> None:
    connection = Connection(small_server.address, timeout=10.0, retries=0, backoff=0.0)
    with pytest.raises(OSRMError, match=code) as told:
        connection.get(target)
    connection.close()
    assert isinstance(told.value, InputError)


def test_url_beyond_the_server_s_buffer_is_halved(
    small_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our own limit the server hangs up on long URLs, or refuses them."""
    monkeypatch.setattr("nco.data.osrm_client.MAX_URL", 10**9)
    points = np.repeat(draw_points(30), 100, axis=0)
    with OSRM(small_server.address, post=False, backoff=0.01, max_cells=10**8) as osrm:
        table = osrm.table(points, sources=[0])
        short = osrm.table(points[::100], sources=[0])
    np.testing.assert_array_equal(table.duration[:, ::100], short.duration)


def test_both_algorithms_agree(
    extract: Path, folder: Path, server: RunningServer, osrm_tools: OSRMTools
) -> None:
    points = draw_points(30, seed=3)
    mld = prepare(extract, algorithm="mld", cache=folder / "prepared", tools=osrm_tools)
    with running(mld, tools=osrm_tools) as other, other.client() as one, server.client() as two:
        first, second = one.table(points), two.table(points)
    np.testing.assert_allclose(first.duration, second.duration, atol=0.11)
    assert (first.provenance.algorithm, second.provenance.algorithm) == ("mld", "ch")
    assert first.provenance.version == osrm_tools.version


def test_prepared_maps_are_kept(
    extract: Path, folder: Path, islands: PreparedMap, osrm_tools: OSRMTools
) -> None:
    """By what the extract holds, not by its name."""
    copy = folder / "copy.osm"
    copy.write_bytes(extract.read_bytes())
    again = prepare(copy, cache=folder / "prepared", tools=osrm_tools)
    assert again == islands
    assert set(islands.seconds) == {"osrm-extract", "osrm-contract"}
    copy.write_bytes(extract.read_bytes() + b"\n")
    other = prepare(copy, cache=folder / "prepared", tools=osrm_tools)
    assert other.folder != islands.folder
    bicycle = prepare(extract, profile="bicycle", cache=folder / "prepared", tools=osrm_tools)
    assert bicycle.folder != islands.folder


def test_bad_extracts_fail_without_leaving_anything(tmp_path: Path, osrm_tools: OSRMTools) -> None:
    """The message names the file and has the tool's last words."""
    cache = tmp_path / "prepared"
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(b"not a map")
    with pytest.raises(
        ToolFailed, match=r"osrm-extract failed on .*broken.osm.pbf.* status -\d+: ."
    ) as e:
        prepare(broken, cache=cache, tools=osrm_tools)
    assert isinstance(e.value, InputError)
    empty = tmp_path / "empty.osm"
    empty.write_text('<?xml version="1.0"?><osm version="0.6"></osm>')
    with pytest.raises(ToolFailed, match=r"osrm-extract failed on .*empty.osm"):
        prepare(empty, cache=cache, tools=osrm_tools)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "profile", "told"),
    [
        ("town.txt", "car", r"town.txt is no map; accepted: .osm.pbf, .osm.bz2, .osm"),
        ("missing.osm", "car", "missing.osm does not exist"),
        ("missing.osm", "rocket", "profile 'rocket'.*accepted: car, bicycle, foot, or the path"),
    ],
)
def test_bad_names_are_refused(
    tmp_path: Path, osrm_tools: OSRMTools, name: str, profile: str, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        prepare(tmp_path / name, profile=profile, cache=tmp_path, tools=osrm_tools)


def answers(address: str) -> bool:
    connection = Connection(address, timeout=5.0, retries=0, backoff=0.0)
    try:
        connection.get("nearest/v1/driving/10,50")
    except NoConnection:
        return False
    finally:
        connection.close()
    return True


def test_server_ends_with_its_block(islands: PreparedMap, osrm_tools: OSRMTools) -> None:
    """Also where the block fails."""
    with running(islands, tools=osrm_tools) as first:
        assert answers(first.address)
    assert not answers(first.address)
    with pytest.raises(ZeroDivisionError), running(islands, tools=osrm_tools) as second:
        _ = 1 / 0
    assert not answers(second.address)


def test_ports_are_not_shared(islands: PreparedMap, osrm_tools: OSRMTools) -> None:
    """Two servers of OSRM on one port would answer in turns; a taken one is refused."""
    with running(islands, tools=osrm_tools) as one, running(islands, tools=osrm_tools) as two:
        assert one.address != two.address
        port = int(one.address.rpartition(":")[2])
        with (
            pytest.raises(InputError, match=f"port {port} cannot be used"),
            running(islands, tools=osrm_tools, port=port),
        ):
            pass
    with running(islands, tools=osrm_tools, port=port) as again:
        assert again.address == one.address
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(InputError, match="cannot be used"),
            running(islands, tools=osrm_tools, port=taken.getsockname()[1]),
        ):
            pass


def test_map_that_cannot_be_served(
    islands: PreparedMap, folder: Path, osrm_tools: OSRMTools
) -> None:
    """The server's last words are in the message."""
    from dataclasses import replace

    wrong: Algorithm = "mld"
    with (
        pytest.raises(ToolFailed, match=r"osrm-routed ended with exit status \d+: .*MLD"),
        running(replace(islands, algorithm=wrong), tools=osrm_tools),
    ):
        pass


def test_serve_ends_its_server_when_it_is_ended(
    extract: Path, tmp_path: Path, osrm_tools: OSRMTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nco data osrm serve` prints the address last; SIGTERM leaves no server behind."""
    monkeypatch.setenv("NCO_OSRM", str(osrm_tools.bin.parent))
    command = [sys.executable, "-m", "nco", "data", "osrm", "serve", str(extract), "--port", "0"]
    # prepared maps go beside the executables that the variable names: here into a link to them
    link = tmp_path / "osrm"
    link.mkdir()
    (link / "bin").symlink_to(osrm_tools.bin)
    (link / "share").mkdir()
    (link / "share" / "profiles").symlink_to(osrm_tools.profiles)
    monkeypatch.setenv("NCO_OSRM", str(link))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        prepared, address = process.stdout.readline(), process.stdout.readline().strip()
        assert "osrm-extract" in prepared
        assert answers(address)
        process.terminate()
        assert process.wait(20) == 0
    end = time.monotonic() + 5
    while answers(address) and time.monotonic() < end:
        time.sleep(0.05)
    assert not answers(address)


def test_real_town_in_blocks(
    osm_samples: dict[str, Path], folder: Path, osrm_tools: OSRMTools
) -> None:
    """Monaco: blocks by POST and GET equal one request, and the map's date is told."""
    prepared = prepare(osm_samples["monaco"], cache=folder / "prepared", tools=osrm_tools)
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(7.411, 7.435, 150), rng.uniform(43.727, 43.747, 150)])
    with running(prepared, tools=osrm_tools) as server:
        with server.client() as osrm:
            whole = osrm.table(points)
        for post in (True, False):
            with OSRM(server.address, max_cells=700, post=post) as osrm:
                assert_equal(osrm.table(points), whole)
    assert whole.provenance.data_version == "2016-03-05T00:26:02Z"
    kept = reachable_points(whole, max_offset=100.0)
    assert len(kept.index) > 75
    inside = np.ix_(kept.index, kept.index)
    assert whole.reachable[inside].all()
    asymmetry = (
        np.abs(whole.distance - whole.distance.T)[inside].mean() / whole.distance[inside].mean()
    )
    assert asymmetry > 0.05
