"""Instances from city maps: against loops over the maps, the checker, and counting."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from nco.data.attributes import variant_names
from nco.data.batching import unbatch
from nco.data.city_collection import CityCollection
from nco.data.city_map import CityMap, write_split
from nco.data.errors import InputError
from nco.data.generators import PROBLEMS, cvrp_capacity, generate
from nco.data.instance import Instance, is_customer, validate
from nco.data.multi_task import (
    ROAD_PROBLEMS,
    VARIANTS,
    Tightness,
    multi_task_capacity,
    variant_by_name,
)
from nco.data.road_instances import RoadDistribution, draw_points, road_vrp_instances
from nco.envs.checker import check_routes
from nco.envs.variants import environments
from tests.draws import same, seeded
from tests.streets import random_city

SIZES = (12, 30, 21)
MAPS = [random_city(f"city-{i}", size, i) for i, size in enumerate(SIZES)]
CITIES = CityCollection.of(MAPS)


def draw(problem: str, size: int, batch: int, seed: int = 0, **more: Any) -> Instance:
    """From the three cities."""
    return generate(
        problem, num_customers=size, batch=batch, generator=seeded(seed), cities=CITIES, **more
    )


def points_of(one: Instance) -> tuple[CityMap, list[int]]:
    """The city and its points that an instance's nodes are, found by the coordinates."""
    assert one.coords is not None
    for city in MAPS:
        gap = np.linalg.norm(city.coords[None] - one.coords[0].numpy()[:, None], axis=2)
        if gap.min(1).max() < 1e-2:
            return city, gap.argmin(1).tolist()
    raise AssertionError("the coordinates are of no city")


@pytest.mark.parametrize("problem", ["atsp", "acvrp", "acvrptw", "amdovrpmbltw", "amtvrp-48"])
@pytest.mark.parametrize("distribution", get_args(RoadDistribution))
def test_matrices_are_those_of_one_city(problem: str, distribution: str) -> None:
    """Every entry, by loops; no point is twice; all cities occur, whatever their sizes."""
    seen = Counter()
    for one in unbatch(draw(problem, 6, 40, distribution=distribution)):
        city, points = points_of(one)
        seen[city.name] += 1
        assert len(set(points)) == len(points) == one.num_nodes
        assert one.distance is not None
        assert one.duration is not None
        for i, start in enumerate(points):
            for j, end in enumerate(points):
                assert one.distance[0, i, j] == city.distance[start, end]
                assert one.duration[0, i, j] == city.duration[start, end]
    assert len(seen) == 3


@pytest.mark.parametrize("problem", [name for name in ROAD_PROBLEMS if name != "atsp"])
def test_every_customer_can_be_served_alone(problem: str) -> None:
    """In its window from each depot and back, and within the limit from the best one: so says the
    checker. Instances are valid, their variants are those asked for, the environment takes
    them."""
    batch = draw(problem, 7, 12)
    validate(batch)
    environments[problem].require(batch)
    names = {variant_names(one)[0] for one in unbatch(batch)}
    if problem.startswith("amtvrp"):
        assert len(names) > 3
    else:
        variant = variant_by_name(ROAD_PROBLEMS[problem])
        # where no customer of an instance drew a pickup, it has no backhauls
        assert {variant.name} <= names <= {variant.name, replace(variant, backhaul="").name}
    for one in unbatch(batch):
        customers = is_customer(one)[0].nonzero().flatten().tolist()
        routes = [[c] for c in customers]
        depots = int(one.num_depots[0])
        reports = [
            check_routes(one, routes, depots=[depot] * len(routes), tolerance=1e-5)
            for depot in range(depots)
        ]
        assert any(report.feasible for report in reports), reports[0].violations
        for report in reports:
            assert not any("late" in v or "window" in v for v in report.violations)


def test_windows_need_their_asymmetric_certificate() -> None:
    """The way back counts as it is: with windows from twice the way out, as symmetric generators
    draw them, some customers could not be served from these cities' depots."""
    batch = draw("acvrptw", 7, 300)
    assert batch.duration is not None
    out, back = batch.duration[:, 0, 1:], batch.duration[:, 1:, 0]
    early, late = batch.time_window[:, 1:].unbind(2)
    horizon = batch.time_window[:, :1, 1]
    assert bool((early >= out * (1 - 1e-5)).all())
    assert bool((late + batch.service_time[:, 1:] + back <= horizon * (1 + 1e-5)).all())
    assert bool((early + 1 < 2 * out).any())
    # the horizon is 4.6 times the longest way, services and windows are shares of it too
    longest = batch.duration.amax((1, 2)).unsqueeze(1)
    assert torch.allclose(horizon, 4.6 * longest)
    service = batch.service_time[:, 1:] / longest
    assert 0.15 <= float(service.min()) < 0.152
    assert 0.178 < float(service.max()) <= 0.1801
    width = (late - early) / longest
    assert 0.179 < float(width.min()) < float(width.max()) < 0.201


def test_limits_are_drawn_from_the_ways() -> None:
    """Between the way to the farthest customer and back, and 2.8 of the longest ways."""
    batch = draw("acvrpl", 7, 500)
    assert batch.distance is not None
    there_and_back = (batch.distance[:, 0, 1:] + batch.distance[:, 1:, 0]).amax(1)
    longest = batch.distance.amax((1, 2))
    share = (batch.distance_limit - there_and_back) / (2.8 * longest - there_and_back)
    assert 0 <= float(share.min()) < 0.02
    assert 0.98 < float(share.max()) <= 1.001
    assert float(share.mean()) == pytest.approx(0.5, abs=0.05)


def test_demands_and_capacities_are_those_of_the_square() -> None:
    """ACVRP has Kool's capacity, other variants the multi-task one; one's own is kept."""
    assert draw("acvrp", 10, 3).capacity.tolist() == [cvrp_capacity(10)] * 3
    assert draw("acvrptw", 10, 3).capacity.tolist() == [multi_task_capacity(10)] * 3
    assert draw("acvrp", 10, 3, capacity=77).capacity.tolist() == [77] * 3
    demand = draw("acvrp", 10, 500).linehaul[:, 1:]
    assert Counter(demand.flatten().tolist()).keys() == set(range(1, 10))


def test_uniform_points_are_uniform() -> None:
    """Each point of each city is as often a depot and as often a customer as any other."""
    count = 30000
    city = torch.ones(count, dtype=torch.int64)
    drawn = draw_points(city, 1, 5, seeded(3), CITIES)
    for nodes, expected in ((drawn[:, :1], count / 30), (drawn[:, 1:], count * 5 / 30)):
        often = torch.bincount(nodes.flatten(), minlength=30)
        assert len(often) == 30
        # four standard deviations of a binomial count
        assert float((often - expected).abs().max()) < 4 * expected**0.5


@pytest.mark.parametrize("distribution", ["cluster", "mixed"])
def test_clusters_are_what_is_soonest_reached(distribution: str) -> None:
    """There is a point of the city from which the (half of the) customers are the nearest by
    driving time among all but the depots, in any order, with uniform depots."""
    customers = 8
    near = customers if distribution == "cluster" else customers // 2
    city = torch.randint(3, (400,), generator=seeded(1))
    drawn = draw_points(city, 2, customers - 0, seeded(2), CITIES, distribution)
    first_is_nearest = 0
    for c, nodes in zip(city.tolist(), drawn.tolist(), strict=True):
        depots, chosen = nodes[:2], nodes[2:]
        assert len({*depots, *chosen}) == 2 + customers
        found = False
        for base in range(SIZES[c]):
            order = [p for p in MAPS[c].duration[base].argsort(kind="stable") if p not in depots]
            if set(order[:near]) <= set(chosen):
                found = True
                first_is_nearest += order[0] == chosen[0]
        assert found
    # the nearest one is not always the first
    assert first_is_nearest < 300
    depots = torch.bincount(drawn[city == 1, :2].flatten(), minlength=30)
    assert int(depots.max()) < 4 * 2 * int((city == 1).sum()) / 30


def test_one_seed_gives_one_batch_on_the_device_of_the_cities() -> None:
    """Repeatable; a generator elsewhere is refused before anything is drawn."""
    assert same(draw("amtvrp-48", 8, 20, seed=4), draw("amtvrp-48", 8, 20, seed=4))
    assert not same(draw("amtvrp-48", 8, 20, seed=4), draw("amtvrp-48", 8, 20, seed=5))
    elsewhere = CITIES.to("meta")
    with pytest.raises(InputError, match="generator is on cpu and the cities are on meta"):
        generate("atsp", num_customers=4, batch=1, generator=seeded(), cities=elsewhere)


def test_mixed_batches_equal_single_ones_where_padding_is() -> None:
    """A batch with one depot or two pads the former; padding has no place, way or demand."""
    variants = [variant_by_name("cvrp"), variant_by_name("mdcvrp")]
    batch = road_vrp_instances(30, 5, seeded(), CITIES, variants, tightness=Tightness(num_depots=2))
    assert batch.valid.sum(1).unique().tolist() == [6, 7]
    padding = ~batch.valid
    assert batch.distance is not None
    assert float(batch.distance[padding].abs().sum()) == 0
    assert float(batch.distance.mT[padding].abs().sum()) == 0
    assert float(batch.linehaul[padding].sum()) == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"problem": "cvrp"}, "cities are given for cvrp; accepted for: acvrp"),
        ({"problem": "tsp"}, "accepted for: atsp"),
        ({"problem": "acvrq"}, "problem is 'acvrq'; accepted: .*acvrp"),
        ({"distribution": "explosion"}, "on city maps; accepted: uniform, cluster, mixed"),
        ({"num_customers": 12}, r"13 nodes, depots included, .* has 12 points"),
        ({"problem": "atsp", "num_customers": 13}, "13 nodes"),
        ({"problem": "atsp", "capacity": 9}, "capacity is 9 for atsp"),
        ({"variants": ["cvrp"]}, "only mtvrp-16"),
        ({"cities": None}, "cities are missing; accepted for acvrp"),
    ],
)
def test_what_does_not_fit_is_refused(asked: dict[str, object], told: str) -> None:
    """Each with what is accepted."""
    usual = {"problem": "acvrp", "num_customers": 4, "batch": 2, "cities": CITIES}
    with pytest.raises(InputError, match=told):
        generate(generator=seeded(), **(usual | asked))  # type: ignore[arg-type]


def test_names_on_roads() -> None:
    """One for each problem, none twice, in the literature's way."""
    assert len(ROAD_PROBLEMS) == 1 + len(VARIANTS) + 3
    assert ROAD_PROBLEMS.keys() & set(PROBLEMS) == {"atsp"}
    expected = {"atsp": "tsp", "acvrp": "cvrp", "acvrptw": "vrptw", "aovrp": "ovrp",
                "amdcvrp": "mdcvrp", "aovrpmbltw": "ovrpmbltw"}  # fmt: skip
    assert expected.items() <= ROAD_PROBLEMS.items()


def test_parts_of_a_collection_share_no_city(tmp_path: Path) -> None:
    """Instances of the test part come from test cities only."""
    for city in MAPS:
        city.save(tmp_path / city.name)
    write_split(tmp_path, {"train": ["city-0"], "validation": ["city-2"], "test": ["city-1"]})
    held_out = CityCollection.load(tmp_path, "test")
    assert held_out.names == ("city-1",)
    batch = generate("acvrp", num_customers=5, batch=20, generator=seeded(), cities=held_out)
    assert {points_of(one)[0].name for one in unbatch(batch)} == {"city-1"}
