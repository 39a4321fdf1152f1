"""CVRPs like the X set's against the paper's own description of them."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding, distance_matrix, validate
from nco.data.x_generator import CustomerPosition, DemandLaw, RouteLength, x_instances
from nco.envs.checker import check_routes
from tests.draws import nearest, seeded


def x_batch(**pinned) -> Instance:
    return x_instances(300, 100, seeded(11), **pinned)


def test_x_instances_lie_on_the_grid_without_superposition() -> None:
    """All places are integers from 0 to 1000 and no two nodes of an instance share one, also when
    a few clusters are crowded."""
    crowded = x_instances(4, 3000, seeded(12), customer_position="clustered")
    for instance in (x_batch(), crowded):
        validate(instance)
        coords = instance.coords
        assert coords is not None
        assert torch.equal(coords, coords.round())
        assert coords.min() >= 0
        assert coords.max() <= 1000
        assert (instance.rounding == int(Rounding.NEAREST)).all()
        for places in coords:
            assert len(places.unique(dim=0)) == len(places)


def test_x_depot_positions() -> None:
    """Pinned: (500, 500), (0, 0), anywhere. Unpinned: each in about a third of the instances."""
    for name, place in (("centre", 500), ("corner", 0)):
        coords = x_batch(depot_position=name).coords
        assert coords is not None
        assert (coords[:, 0] == place).all()
    coords = x_batch(depot_position="random").coords
    assert coords is not None
    assert abs(coords[:, 0].mean() - 500) < 5 * 1000 / math.sqrt(12 * 600)
    coords = x_batch().coords
    assert coords is not None
    for place in (500, 0):
        share = (coords[:, 0] == place).all(-1).double().mean()
        assert share == pytest.approx(1 / 3, abs=5 * math.sqrt(2 / 9 / 300))


def clustered_by_the_letter(rng: np.random.Generator, num_customers: int) -> np.ndarray:
    """The paper's clustered customers, by weighing every grid point."""
    grid = np.arange(1001)
    seeds = rng.integers(0, 1001, (rng.integers(3, 9), 2))
    weight = np.zeros((1001, 1001))
    for x, y in seeds:
        weight += np.exp(-np.hypot(grid[:, None] - x, grid[None, :] - y) / 40)
    weight[seeds[:, 0], seeds[:, 1]] = 0
    flat = (weight / weight.sum()).ravel()
    chosen = rng.choice(flat.size, num_customers - len(seeds), replace=False, p=flat)
    return np.concatenate((seeds, np.stack(np.unravel_index(chosen, weight.shape), 1)))


def test_x_clusters_have_the_papers_density() -> None:
    """The nearest-neighbour distance of clustered customers is that of a sampler that weighs every
    grid point, within five standard errors; random-clustered lies between clustered and random."""
    by_position = {}
    for name in get_args(CustomerPosition):
        coords = x_batch(customer_position=name).coords
        assert coords is not None
        by_position[name] = nearest(coords[:, 1:])
    rng = np.random.default_rng(0)
    letter = nearest(
        torch.from_numpy(np.stack([clustered_by_the_letter(rng, 100) for _ in range(25)]))
    )
    ours = by_position["clustered"]
    error = math.sqrt(float(letter.var() / len(letter) + ours.var() / len(ours)))
    assert error < 0.05 * ours.mean()
    assert abs(float(ours.mean() - letter.mean())) < 5 * error
    random, half = by_position["random"].mean(), by_position["random_clustered"].mean()
    assert ours.mean() < 0.8 * half < 0.8 * 0.9 * random


RANGES = {
    "unitary": (1, 1),
    "small_large_variance": (1, 10),
    "small_small_variance": (5, 10),
    "large_large_variance": (1, 100),
    "large_small_variance": (50, 100),
    "quadrant": (1, 100),
    "many_small_few_large": (1, 100),
}


@pytest.mark.parametrize("law", get_args(DemandLaw))
def test_x_demand_laws(law) -> None:
    """Demands are integers that fill the law's range; the two composed laws split as stated."""
    instance = x_batch(demand_law=law)
    demand = instance.linehaul[:, 1:]
    assert (demand.min(), demand.max()) == RANGES[law]
    assert torch.equal(demand, demand.round())
    if law == "quadrant":
        assert instance.coords is not None
        right, upper = (instance.coords[:, 1:] >= 500).unbind(-1)
        assert torch.equal(demand > 50, right == upper)
    elif law == "many_small_few_large":
        small = demand <= 10
        assert (demand[~small] >= 50).all()
        share = small.double().mean(1)
        assert share.min() >= 0.7
        assert share.max() <= 0.95
        assert share.mean() == pytest.approx(0.825, abs=5 * 0.25 / math.sqrt(12 * 300))
    else:
        low, high = RANGES[law]
        error = math.sqrt(((high - low + 1) ** 2 - 1) / 12 / demand.numel())
        assert demand.double().mean() == pytest.approx((low + high) / 2, abs=5 * error + 1e-12)


@pytest.mark.parametrize(
    ("name", "low", "high", "mean"),
    [
        ("triangular", 3, 25, 34 / 3),
        ("very_short", 3, 5, 4),
        ("short", 5, 8, 6.5),
        ("medium", 8, 12, 10),
        ("long", 12, 16, 14),
        ("very_long", 16, 25, 20.5),
        ("ultra_long", 25, 50, 37.5),
    ],
)
def test_x_route_lengths(name, low: float, high: float, mean: float) -> None:
    """Q over the mean demand is r, rounded up by less than one unit of load: it lies in the range
    and has the mean of its law."""
    assert name in get_args(RouteLength)
    instance = x_batch(route_length=name, demand_law="large_small_variance")
    average = instance.linehaul[:, 1:].double().mean(1)
    above, below = instance.capacity / average, (instance.capacity - 1) / average
    assert (above >= low).all()
    assert (below <= high).all()
    error = (high - low) / math.sqrt(12 * 300)
    assert ((above + below) / 2).mean() == pytest.approx(mean, abs=5 * error)


def test_x_capacity_holds_the_largest_demand() -> None:
    """One large demand among few small ones must fit, whatever r says."""
    instance = x_instances(
        500,
        3,
        seeded(13),
        demand_law="many_small_few_large",
        route_length="very_short",
    )
    validate(instance)
    instance = x_instances(500, 1, seeded(13))
    validate(instance)
    assert (instance.capacity >= instance.linehaul.amax(1)).all()


def test_x_distances_agree_with_the_checker() -> None:
    """float32 is enough for the grid: arcs rounded to integers are those of float64."""
    instance = x_instances(3, 60, seeded(14))
    lengths = distance_matrix(instance)
    for i in range(3):
        for customer in range(1, 61):
            trip = check_routes(instance[i : i + 1], [[customer]]).cost
            assert trip == float(lengths[i, 0, customer] + lengths[i, customer, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"depot_position": "C"},
        {"customer_position": "R"},
        {"demand_law": "normal"},
        {"route_length": "huge"},
    ],
)
def test_x_refuses_unknown_names(wrong: dict) -> None:
    """The message names the field, the value and all accepted names."""
    ((field, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{field} is '{value}'; accepted: .*(_|random)"):
        x_instances(1, 5, seeded(), **wrong)
