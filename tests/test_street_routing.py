"""Street networks: routes against brute force, against OSRM, and by what must hold for any."""

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from nco.data.errors import InputError
from nco.data.geography import metres_between
from nco.data.osm_writer import write_osm
from nco.data.osrm_server import prepare, running
from nco.data.osrm_tools import OSRMTools
from nco.data.street_network import StreetNetwork, sample_points
from nco.data.street_patterns import Pattern
from nco.data.street_routing import StreetRouter, turn_seconds
from nco.data.synthetic_city import CityPlan, draw_plan, synthetic_network
from tests.streets import both_ways, network

PATTERNS: tuple[Pattern, ...] = ("grid", "radial", "organic", "mixed")


def small_city(pattern: Pattern, seed: int, **changes: float) -> StreetNetwork:
    """About 100 intersections."""
    plan = CityPlan(pattern=pattern, side=1000.0, block=100.0, **changes)  # type: ignore[arg-type]
    return synthetic_network(plan, np.random.default_rng(seed))


def search(streets: StreetNetwork, start: int, share: float, end: int, place: float) -> float:
    """Seconds from a place on one edge to a place on another, by trying every way that passes no
    edge twice; written with loops from the rules, without the router's graph or table of turns."""
    cost = {(a, b): s for (a, b), s in zip(streets.turns.tolist(), turn_seconds(streets).tolist(),
                                           strict=True)}  # fmt: skip
    forbidden = {tuple(pair) for pair in streets.restrictions.tolist()}
    edges = streets.edges.tolist()

    def onward(edge: int) -> list[int]:
        out = [f for f, (tail, _) in enumerate(edges) if tail == edges[edge][1]]
        ahead = [f for f in out if edges[f][1] != edges[edge][0]]
        return [f for f in (ahead or out) if (edge, f) not in forbidden]

    seconds = streets.seconds
    best = math.inf if start != end or share > place else (place - share) * seconds[start]
    stack = [(start, (1 - share) * seconds[start], frozenset[int]())]
    while stack:
        edge, spent, passed = stack.pop()
        for following in onward(edge):
            so_far = spent + cost[edge, following]
            if following == end:
                best = min(best, so_far + place * seconds[end])
            if following not in passed:
                stack.append((following, so_far + seconds[following], passed | {following}))
    return best


@settings(max_examples=40)
@given(st.data())
def test_routes_are_the_best_of_all_ways(data: st.DataObject) -> None:
    """On networks of up to five nodes with one-ways, dead ends and forbidden turns, durations are
    those of an exhaustive search, and NaN exactly where it finds no way."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = data.draw(st.integers(2, 5))
    metres = [tuple(place) for place in generator.uniform(-300, 300, (n, 2)).tolist()]
    pairs = list(itertools.combinations(range(n), 2))
    streets = [pair for pair in pairs if generator.random() < 0.7] or pairs[:1]
    edges = [e for e in both_ways(streets) if generator.random() < 0.75] or streets[:1]
    follow = [(i, j) for i, (_, via) in enumerate(edges) for j, (tail, _) in enumerate(edges)
              if via == tail]  # fmt: skip
    banned = [turn for turn in follow if generator.random() < 0.2]
    small = network(metres, edges, banned, generator.uniform(10, 90, len(edges)).tolist())
    router = StreetRouter(small)
    points = sample_places(small, 4, generator)
    table = router.table(points)
    road, share, _ = router.snap(points)

    def directions(i: int) -> list[tuple[int, float]]:
        back = int(small.reverse[road[i]])
        return [(int(road[i]), float(share[i]))] + (
            [(back, 1 - float(share[i]))] if back >= 0 else []
        )

    for i, j in itertools.permutations(range(4), 2):
        best = min(search(small, e, p, f, q) for e, p in directions(i) for f, q in directions(j))
        assert table.reachable[i, j] == math.isfinite(best)
        if math.isfinite(best):
            assert table.duration[i, j] == pytest.approx(best, rel=1e-5, abs=1e-3)


def sample_places(streets: StreetNetwork, count: int, generator: np.random.Generator) -> np.ndarray:
    """Anywhere on any street, reachable or not."""
    ends = streets.nodes[streets.edges[generator.choice(streets.roads, count)]]
    share = generator.uniform(0.1, 0.9, (count, 1))
    return ends[:, 0] * (1 - share) + ends[:, 1] * share


def test_distances_are_those_of_the_fastest_ways() -> None:
    """A short slow street and a long fast one: the way is the fast one, and so is its length."""
    corners = [(0.0, 0.0), (400.0, 0.0), (0.0, 300.0), (400.0, 300.0)]
    edges = [(0, 1), (0, 2), (2, 3), (3, 1)]
    speeds = [5.0, 80.0, 80.0, 80.0]
    town = network(corners, both_ways(edges), speed=speeds * 2)
    points = town.nodes[[0, 1]]
    table = StreetRouter(town).table(points)
    assert table.distance[0, 1] == pytest.approx(1000, rel=1e-3)
    assert table.duration[0, 1] == pytest.approx(1000 / 80 * 3.6, rel=0.01)


def test_a_point_behind_on_a_one_way_street_is_all_the_way_round() -> None:
    """On a one-way circle, back by 10 m is the circle less 10 m; the other way just 10 m."""
    square = network([(0, 0), (100, 0), (100, 100), (0, 100)], [(0, 1), (1, 2), (2, 3), (3, 0)])
    ends = square.nodes[square.edges[0]]
    points = np.stack([ends[0] * (1 - p) + ends[1] * p for p in (0.5, 0.6)])
    distance = StreetRouter(square).table(points).distance
    assert distance[0, 1] == pytest.approx(10, abs=0.2)
    assert distance[1, 0] == pytest.approx(390, abs=0.5)


def test_one_ways_make_matrices_asymmetric_and_nothing_else_does() -> None:
    """With free turns and without one-ways or forbidden turns both directions agree; one-ways make
    a tenth of the ways differ."""
    town = small_city("grid", 1, one_way=0.0, forbidden_turns=0.0)
    assert bool((town.reverse >= 0).all())
    points = sample_points(town, 60, np.random.default_rng(0))
    router = StreetRouter(dataclasses.replace(town, signals=np.zeros_like(town.signals)))
    router.turn_seconds = np.zeros_like(router.turn_seconds)
    table = router.table(points)
    # turning round in the street is no way, so it cannot differ by direction either
    assert np.allclose(table.duration, table.duration.T, rtol=1e-5, atol=1e-3)
    assert np.allclose(table.distance, table.distance.T, rtol=1e-5, atol=1e-2)
    busy = small_city("grid", 1, one_way=0.6, forbidden_turns=0.0)
    ways = StreetRouter(busy).table(sample_points(busy, 60, np.random.default_rng(0))).distance
    differs = np.abs(ways - ways.T) > 0.05 * np.maximum(ways, ways.T)
    assert differs.mean() > 0.1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_triangle_inequality_holds_through_points_of_one_direction(pattern: Pattern) -> None:
    """A stop on a one-way street cannot save a turn, so no way is longer than one with a stop
    there; a stop where one may turn round can, on a street for both directions."""
    town = small_city(pattern, 3, one_way=0.5)
    points = sample_points(town, 80, np.random.default_rng(1))
    router = StreetRouter(town)
    single = town.reverse[router.snap(points)[0]] < 0
    assert single.sum() > 5
    duration = router.table(points).duration.astype(float)
    through = duration[:, single, None] + duration[None, single, :]
    assert bool((duration[:, None, :] <= through + 1e-3).all())


def test_turns_cost_what_the_car_profile_says() -> None:
    """At a crossing: nearly nothing straight on, more to the left than to the right; where two
    streets meet nothing; turning round at a dead end 27.5 s."""
    cross = network([(0, 0), (0, -100), (100, 0), (0, 100), (-100, 0)],
                    both_ways([(0, 1), (0, 2), (0, 3), (0, 4)]))  # fmt: skip
    cost = dict(zip(map(tuple, cross.turns.tolist()), turn_seconds(cross).tolist(), strict=True))
    from_south = 4
    straight, right, left = cost[from_south, 2], cost[from_south, 1], cost[from_south, 3]
    # right: 7.5 / (1 + exp(6.5 * 1.075 - 6.5 / 1.075)) = 2.105; cut to tenths
    assert (straight, right, left) == (0.0, 2.1, 7.3)
    assert cost[0, 4] == 27.4
    bend = network([(0, 0), (100, 0), (100, 100)], both_ways([(0, 1), (1, 2)]))
    around = bend.turns[:, 1] == bend.reverse[bend.turns[:, 0]]
    assert turn_seconds(bend)[~around].tolist() == [0, 0]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("seed", [1, 2])
def test_made_up_cities_are_of_a_real_size_and_in_one_piece(pattern: Pattern, seed: int) -> None:
    """About as many intersections as blocks, streets between them that do not cross, all of them
    reachable from each; the same seed gives the same city."""
    generator = np.random.default_rng(seed)
    plan = draw_plan(pattern, generator)
    town = synthetic_network(plan, generator)
    assert 1000 <= plan.side <= 4000
    assert 0.5 <= len(town.nodes) / (plan.side / plan.block) ** 2 <= 1.6
    assert bool(town.mutually_reachable.all())
    assert 0 < (town.reverse < 0).mean() < 0.9
    assert town.length.max() < 1000
    again = np.random.default_rng(seed)
    other = synthetic_network(draw_plan(pattern, again), again)
    assert np.array_equal(town.edges, other.edges)
    assert np.array_equal(town.nodes, other.nodes)
    assert crossings(town) == 0


def crossings(town: StreetNetwork) -> int:
    """Pairs of streets that cross between their ends, by orientation of all quadruples."""
    ends = town.nodes[town.edges[town.roads]]
    a, b = ends[:, None, 0], ends[:, None, 1]
    c, d = ends[None, :, 0], ends[None, :, 1]

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        u, v = q - p, r - p
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    opposite = (side(a, b, c) * side(a, b, d) < -1e-22) & (side(c, d, a) * side(c, d, b) < -1e-22)
    return int(opposite.sum())


def test_a_river_has_as_many_crossings_as_bridges() -> None:
    """Crossroads on one bank are joined to those on the other by one way that shares no street
    with another, by Menger's theorem one bridge; on one bank, and without a river, by several."""
    dry = CityPlan(pattern="grid", one_way=0.0, forbidden_turns=0.0, missing=0.0)
    for bridges in (0, 1):
        plan = dataclasses.replace(dry, bridges=bridges)
        town = synthetic_network(plan, np.random.default_rng(5))
        count = len(town.nodes)
        ones = np.ones(len(town.edges), dtype=np.int32)
        streets = csr_array((ones, town.edges.T), shape=(count, count))
        crossroads = np.flatnonzero(town.num_roads >= 4)[::12].tolist()
        flows = [maximum_flow(streets, crossroads[0], end).flow_value for end in crossroads[1:]]
        single = np.mean(np.array(flows) == 1)
        assert single == 0 if bridges == 0 else 0.1 < single < 0.9


def test_points_are_drawn_by_length_and_uniformly_along() -> None:
    """A street of 900 m has three times the points of one of 300 m, evenly; none on the street
    that cannot be reached."""
    town = network([(0, 0), (900, 0), (900, 300), (2000, 300)],
                   [(0, 1), (1, 0), (1, 2), (2, 1), (3, 2)])  # fmt: skip
    points = sample_points(town, 4000, np.random.default_rng(0))
    road, share, _ = StreetRouter(town).snap(points)
    assert set(road.tolist()) == {0, 2}
    assert (road == 0).mean() == pytest.approx(0.75, abs=0.03)
    counts = np.histogram(share[road == 0], bins=10, range=(0, 1))[0] / (road == 0).sum()
    assert np.abs(counts - 0.1).max() < 0.03
    low, high = town.nodes[1], town.nodes[2]
    box = (low[0] - 1e-3, low[1] - 1e-3, high[0] + 1e-3, high[1] + 1e-3)
    inside = StreetRouter(town).snap(sample_points(town, 50, np.random.default_rng(0), box=box))[0]
    assert set(inside.tolist()) == {2}
    with pytest.raises(InputError, match="no street to draw points along in the box 0, 0, 1, 1"):
        sample_points(town, 5, np.random.default_rng(0), box=(0.0, 0.0, 1.0, 1.0))


def test_lengths_are_those_of_the_ellipsoid() -> None:
    """A degree on WGS 84 at the equator and at 60 degrees north; published to the centimetre."""
    start = np.array([[0.0, 0.0], [0.0, -0.5], [0.0, 60.0], [0.0, 59.5]])
    end = np.array([[1.0, 0.0], [0.0, 0.5], [1.0, 60.0], [0.0, 60.5]])
    published = [111319.49, 110574.28, 55800.00, 111412.27]
    assert np.allclose(metres_between(start, end), published, rtol=2e-5)
    near = metres_between(np.array([[179.999, 0.0]]), np.array([[-179.999, 0.0]]))
    assert near[0] == pytest.approx(222.64, abs=0.01)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("edges", [[0, 1], [1, 7]], "edges has 0 to 7; accepted: 0 to 1"),
        ("edges", [[0, 1], [0, 1]], "loop or a copy"),
        ("speed", [10.0, 0.0], "speed has 0"),
        ("restrictions", [[0, 0]], "do not follow each other"),
    ],
)
def test_impossible_networks_are_refused(field: str, value: list[object], told: str) -> None:
    """Each with what is wrong and what is accepted."""
    road = network([(0, 0), (100, 0)], [(0, 1), (1, 0)])
    with pytest.raises(InputError, match=told):
        dataclasses.replace(road, **{field: np.array(value)})


@pytest.mark.osrm
@pytest.mark.parametrize("pattern", PATTERNS)
def test_tables_agree_with_osrm(pattern: Pattern, tmp_path: Path, osrm_tools: OSRMTools) -> None:
    """Ways of more than 50 m, on the same city: durations within 0.2 % in the mean and 1 % for 99
    of 100, distances within 0.3 % in the mean and 1 % for 98 of 100; where two ways take nearly
    the same time, the two programs can choose different ones."""
    generator = np.random.default_rng(2)
    town = synthetic_network(draw_plan(pattern, generator), generator)
    write_osm(town, tmp_path / "town.osm")
    points = np.unique(sample_points(town, 150, generator), axis=0)
    prepared = prepare(tmp_path / "town.osm", tools=osrm_tools, cache=tmp_path)
    with running(prepared, tools=osrm_tools) as server, server.client() as client:
        theirs = client.table(points)
    ours = StreetRouter(town).table(points)
    assert bool(theirs.reachable.all())
    assert bool(ours.reachable.all())
    far = (theirs.distance > 50) & (ours.distance > 50)
    assert far.mean() > 0.97
    for name, mean, share in (("duration", 0.002, 0.99), ("distance", 0.003, 0.98)):
        a, b = (getattr(table, name)[far].astype(float) for table in (theirs, ours))
        off = np.abs(b / a - 1)
        assert off.mean() < mean
        assert np.quantile(off, share) < 0.01


@pytest.mark.osrm
@pytest.mark.parametrize("name", ["helsinki", "monaco"])
def test_tables_of_real_cities_are_near_those_of_osrm(
    name: str, tmp_path: Path, osrm_tools: OSRMTools, osm_samples: dict[str, Path]
) -> None:
    """The router knows no barriers, lanes, or turn angles smoothed over bends: durations within 5 %
    for nine of ten ways, and their ratio within 2 % in the middle."""
    read_osm = pytest.importorskip("nco.data.osm_reader", reason="needs osmium").read_osm
    town = read_osm(osm_samples[name])
    points = sample_points(town, 80, np.random.default_rng(0))
    prepared = prepare(osm_samples[name], tools=osrm_tools, cache=tmp_path)
    with running(prepared, tools=osrm_tools) as server, server.client() as client:
        theirs = client.table(points)
    ours = StreetRouter(town).table(points)
    far = (theirs.distance > 50) & (ours.distance > 50)
    ratio = ours.duration[far].astype(float) / theirs.duration[far]
    assert np.median(ratio) == pytest.approx(1, abs=0.02)
    assert (np.abs(ratio - 1) < 0.05).mean() > 0.9
    assert np.corrcoef(ours.duration[far], theirs.duration[far])[0, 1] > 0.99
