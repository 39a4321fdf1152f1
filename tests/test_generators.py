"""Generated instances against theory, against draws repeated here, and against brute force."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import floyd_warshall
from torch import Tensor

from nco.data import distributions
from nco.data.attributes import variant_names
from nco.data.distributions import DistributionName, by_name
from nco.data.errors import InputError
from nco.data.generators import (
    PROBLEMS,
    atsp_instances,
    cvrp_capacity,
    cvrp_instances,
    generate,
)
from nco.data.instance import FIELDS, Instance, Rounding, distance_matrix, is_customer, validate
from nco.data.kool import CAPACITY, kool_instances
from nco.data.multi_task import VARIANT_SETS, VARIANTS
from nco.data.x_generator import CustomerPosition, DemandLaw, RouteLength, x_instances
from nco.envs.checker import check_routes
from nco.envs.variants import environments

NAMES = get_args(DistributionName)
REQUESTS = [("tsp", name) for name in NAMES] + [("atsp", "uniform")]
REQUESTS += [("cvrp", name) for name in (*NAMES, "x")]
REQUESTS += [(name, "uniform") for name in PROBLEMS if name not in ("tsp", "atsp", "cvrp")]
REQUESTS += [("vrptw", "cluster"), ("mtvrp-48", "grid")]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nearest(coords: Tensor) -> Tensor:
    """Mean distance to the nearest other node, for each instance."""
    pairs = torch.cdist(coords.double(), coords.double())
    return (pairs + torch.eye(coords.shape[1]) * 1e9).amin(-1).mean(1)


def same(first: Instance, second: Instance) -> bool:
    pairs = [(getattr(first, name), getattr(second, name)) for name in FIELDS]
    return all(a is b is None or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("problem", "distribution"), REQUESTS)
def test_generated_instances_are_valid_and_repeatable(problem, distribution) -> None:
    """One seed gives one batch, another seed another; validation finds nothing to refuse."""
    for num_customers in (2, 5, 40):
        first, again, other = (
            generate(
                problem,
                num_customers=num_customers,
                batch=7,
                generator=seeded(seed),
                distribution=distribution,
            )
            for seed in (1, 1, 2)
        )
        validate(first)
        assert first.dtype == torch.float32
        assert first.batch_size == (7,)
        assert is_customer(first).sum(1).tolist() == [num_customers] * 7
        assert same(first, again)
        assert not same(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_distributions_stay_in_the_square(name) -> None:
    """Every coordinate is a number from 0 to 1, and instances of a batch differ."""
    for num_nodes in (1, 2, 3, 50):
        coords = by_name(name)(64, num_nodes, seeded())
        assert coords.shape == (64, num_nodes, 2)
        assert coords.isfinite().all()
        assert (coords >= 0).all()
        assert (coords <= 1).all()
    assert len(coords.flatten(1).unique(dim=0)) == 64


def test_uniform_moments() -> None:
    """Mean 1/2 and variance 1/12, within five standard errors of 400,000 draws."""
    coords = distributions.uniform(2000, 100, seeded()).double()
    n = coords.numel()
    assert abs(coords.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
    assert abs(coords.var() - 1 / 12) < 5 * math.sqrt((1 / 80 - 1 / 144) / n)


@pytest.mark.parametrize("name", ["gaussian", "gaussian_mixture", "cluster", "mixed"])
def test_clustered_distributions_are_denser_than_uniform(name) -> None:
    """The mean nearest-neighbour distance is at least a tenth below that of uniform nodes."""
    uniform = nearest(distributions.uniform(200, 100, seeded(1))).mean()
    # 1 / (2 sqrt(n)) without a border (Clark and Evans 1954); the border adds a few per cent
    assert 0.05 < uniform < 0.055
    assert nearest(by_name(name)(200, 100, seeded(2))).mean() < 0.9 * uniform


def test_gaussian_mixture_fills_the_square_and_spreads_with_scale() -> None:
    """Each axis runs from 0 to 1; modes further apart, for the same spread, are denser."""
    near = distributions.gaussian_mixture(300, 60, seeded(), modes=3, scale=5.0)
    far = distributions.gaussian_mixture(300, 60, seeded(), modes=3, scale=50.0)
    for coords in (near, far):
        assert torch.equal(coords.amin(1), torch.zeros(300, 2))
        assert torch.allclose(coords.amax(1), torch.ones(300, 2))
    assert nearest(far).mean() < 0.6 * nearest(near).mean()
    for modes, scale in ((0, 10.0), (3, 0.0), (3, math.nan)):
        with pytest.raises(InputError, match="accepted"):
            distributions.gaussian_mixture(1, 5, seeded(), modes=modes, scale=scale)


def test_gaussian_is_scaled_alike_on_both_axes() -> None:
    """The longer axis fills the square, the shorter one is centred in it, and the correlation is
    that of a covariance from U(0, 1): 1/2 on average."""
    coords = distributions.gaussian(400, 200, seeded()).double()
    low, high = coords.amin(1), coords.amax(1)
    assert torch.allclose((high - low).amax(1), torch.ones(400).double(), atol=1e-6)
    assert torch.allclose(low + high, torch.ones(400, 2).double(), atol=1e-6)
    centred = coords - coords.mean(1, keepdim=True)
    covariance = (centred[..., 0] * centred[..., 1]).mean(1)
    correlation = covariance / centred.square().mean(1).prod(-1).sqrt()
    assert abs(correlation.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 400)


def test_cluster_groups_have_the_stated_spread() -> None:
    """Thirds of the nodes scatter by 0.07 around centres between 0.2 and 0.8."""
    groups = distributions.cluster(500, 90, seeded()).double().unflatten(1, (3, 30))
    centres = groups.mean(2)
    assert (centres > 0.2 - 5 * 0.07 / math.sqrt(30)).all()
    assert (centres < 0.8 + 5 * 0.07 / math.sqrt(30)).all()
    # clipping at the border, 2.9 deviations away from the outermost centre, costs next to nothing
    assert groups.std(2).mean() == pytest.approx(0.07, rel=0.02)
    with pytest.raises(InputError, match="clusters is 0"):
        distributions.cluster(1, 5, seeded(), clusters=0)


def test_mixed_moves_exactly_half() -> None:
    """Half of the nodes are the uniform ones drawn first; the others are new."""
    before = distributions.uniform(50, 21, seeded(3))
    moved = (distributions.mixed(50, 21, seeded(3)) != before).any(-1)
    assert moved.sum(1).tolist() == [10] * 50
    assert moved.any(0).all()


def drawn_ball(seed: int) -> tuple[Tensor, Tensor]:
    """Nodes and centre as the ball operators draw them."""
    generator = seeded(seed)
    coords = torch.rand(200, 80, 2, generator=generator)
    return coords.double(), torch.rand(200, 1, 2, generator=generator).double()


def test_explosion_empties_the_ball_along_its_rays() -> None:
    """Nodes outside of the ball stay; those inside leave it along their ray, by an exponential of
    rate 10, or are drawn again because they left the square."""
    before, centre = drawn_ball(4)
    after = distributions.explosion(200, 80, seeded(4)).double()
    offset, moved = before - centre, after - centre
    inside = offset.norm(dim=-1) < 0.3
    assert torch.equal(after[~inside], before[~inside])
    cosine = torch.nn.functional.cosine_similarity(offset, moved, dim=-1)
    on_ray = inside & (cosine > 1 - 1e-7)
    assert (moved.norm(dim=-1)[on_ray] > 0.3 - 1e-6).all()
    # balls 0.1 clear of the border, so that what left the square flew at least that far
    clear = ((centre > 0.4) & (centre < 0.6)).all(-1) & inside
    beyond = torch.where(on_ray, moved.norm(dim=-1) - 0.3, 0.1).clamp(max=0.1)[clear]
    assert len(beyond) > 100
    # E min(X, 0.1) of an exponential of rate 10
    expected = 0.1 * (1 - math.exp(-1))
    assert beyond.mean() == pytest.approx(expected, abs=5 * 0.05 / math.sqrt(len(beyond)))


def test_implosion_pulls_towards_the_centre() -> None:
    """Inside the ball every node keeps its ray and a share of its distance; |N| > 1, so 31.7 % of
    them, fall into the centre."""
    before, centre = drawn_ball(5)
    after = distributions.implosion(200, 80, seeded(5)).double()
    offset, moved = before - centre, after - centre
    distance = offset.norm(dim=-1)
    inside = distance < 0.3
    assert torch.equal(after[~inside], before[~inside])
    kept = moved.norm(dim=-1)[inside] / distance[inside]
    assert torch.allclose(moved[inside], kept.unsqueeze(-1) * offset[inside], atol=1e-6)
    assert (kept < 1 + 1e-5).all()
    expected = math.erfc(1 / math.sqrt(2))
    error = math.sqrt(expected * (1 - expected) / len(kept))
    assert (kept < 1e-4).double().mean() == pytest.approx(expected, abs=5 * error)


@pytest.mark.parametrize("name", ["expansion", "compression"])
def test_tube_operators_move_across_a_line(name) -> None:
    """Nodes within 0.3 of the line move at right angles to it: away beyond 0.3, or towards it;
    the others stay."""
    generator = seeded(6)
    before = torch.rand(200, 80, 2, generator=generator).double()
    intercept = torch.rand(200, 1, generator=generator).double()
    slope = 3 * torch.rand(200, 1, generator=generator).double()
    slope = torch.where(intercept < 0.5, slope, -slope)
    along = torch.stack((torch.ones_like(slope), slope), -1)
    along = along / along.norm(dim=-1, keepdim=True)
    start = torch.stack((torch.zeros_like(intercept), intercept), -1)

    def foot(coords: Tensor) -> Tensor:
        """Nearest points of the line."""
        return start + ((coords - start) * along).sum(-1, keepdim=True) * along

    after = by_name(name)(200, 80, seeded(6)).double()
    distance = (before - foot(before)).norm(dim=-1)
    inside = distance < 0.3
    assert inside.double().mean() > 0.2
    assert torch.equal(after[~inside], before[~inside])
    # those that were drawn again have another foot
    straight = inside & ((foot(after) - foot(before)).norm(dim=-1) < 1e-6)
    assert straight.sum() > 0.5 * inside.sum()
    new = (after - foot(after)).norm(dim=-1)
    same_side = ((after - foot(after)) * (before - foot(before))).sum(-1) > -1e-7
    assert same_side[straight].all()
    if name == "expansion":
        assert (new[straight] > 0.3 - 1e-6).all()
    else:
        assert (new[straight] <= distance[straight] + 1e-6).all()
        assert (new[straight] < 1e-6).double().mean() == pytest.approx(0.317, abs=0.03)


def test_grid_makes_a_square_lattice() -> None:
    """Of m nodes in the box, floor(sqrt(m))^2 form a lattice that spans it; the rest stay."""
    generator = seeded(7)
    before = torch.rand(100, 150, 2, generator=generator)
    anchor = 0.7 * torch.rand(100, 1, 2, generator=generator)
    after = distributions.grid(100, 150, seeded(7))
    for old, new, corner in zip(before, after, anchor[:, 0], strict=True):
        inside = ((old > corner) & (old <= corner + 0.3)).all(-1)
        rows = math.isqrt(int(inside.sum()))
        moved = (new != old).any(-1)
        assert not moved[~inside].any()
        if rows < 2:
            assert not moved.any()
            continue
        assert int(moved.sum()) == rows * rows
        cells = ((new[moved] - corner) / 0.3 * (rows - 1)).double()
        expected = torch.cartesian_prod(torch.arange(rows), torch.arange(rows))
        assert torch.allclose(cells, cells.round(), atol=1e-4)
        assert torch.equal(cells.round().long().unique(dim=0), expected)


def test_rotation_turns_a_share_rigidly() -> None:
    """The chosen nodes, about 40 %, are multiplied by one complex number and shifted by another;
    those that leave the square are drawn again, the others stay."""
    generator = seeded(8)
    before = torch.rand(200, 60, 2, generator=generator)
    chosen = torch.rand(200, 60, 1, generator=generator)[..., 0] < 0.4
    error = math.sqrt(0.4 * 0.6 / chosen.numel())
    assert chosen.double().mean() == pytest.approx(0.4, abs=5 * error)
    angle = 2 * math.pi * torch.rand(200, 1, generator=generator).double()
    shift = torch.view_as_complex(torch.rand(200, 1, 2, generator=generator).double())
    turned = torch.view_as_complex(before.double()) * torch.exp(1j * angle) + shift
    expected = torch.view_as_real(turned)
    after = distributions.rotation(200, 60, seeded(8))
    assert torch.equal(after[~chosen], before[~chosen])
    kept = chosen & ((expected > 1e-6) & (expected < 1 - 1e-6)).all(-1)
    assert kept.sum() > 500
    assert torch.allclose(after[kept].double(), expected[kept], atol=1e-6)
    gone = chosen & ((expected < -1e-6) | (expected > 1 + 1e-6)).any(-1)
    assert after[gone].mean() == pytest.approx(0.5, abs=5 / math.sqrt(12 * 2 * int(gone.sum())))


def test_atsp_is_the_closure_of_its_draws() -> None:
    """The triangle inequality holds for all triples, and the matrix is scipy's shortest paths of
    the uniform matrix drawn."""
    instance = atsp_instances(5, 30, seeded(9))
    matrix = distance_matrix(instance).double()
    through = matrix.unsqueeze(3) + matrix.unsqueeze(1)  # [B, i, k, j]
    assert (matrix.unsqueeze(2) <= through + 1e-6).all()
    assert not torch.allclose(matrix, matrix.mT, atol=0.01)
    drawn = torch.rand(5, 30, 30, generator=seeded(9))
    for found, raw in zip(matrix, drawn.double().numpy(), strict=True):
        np.fill_diagonal(raw, 0.0)
        assert np.allclose(found, floyd_warshall(raw), atol=1e-6)


def test_cvrp_demands_and_capacity() -> None:
    """Demands are integers 1..9 with equal frequencies; the capacity is Kool's."""
    instance = generate("cvrp", num_customers=50, batch=400, generator=seeded())
    demand = instance.linehaul[:, 1:]
    counts = torch.bincount(demand.flatten().long(), minlength=10)
    assert counts[0] == 0
    assert len(counts) == 10
    assert torch.equal(demand, demand.round())
    share = counts[1:] / demand.numel()
    assert (share - 1 / 9).abs().max() < 5 * math.sqrt(1 / 9 * 8 / 9 / demand.numel())
    assert instance.capacity.unique().tolist() == [40.0]
    one = cvrp_instances(3, 10, seeded(), capacity=7, min_demand=2, max_demand=2)
    assert one.linehaul[:, 1:].unique().tolist() == [2.0]
    assert one.capacity.tolist() == [7.0] * 3


@pytest.mark.parametrize(
    ("size", "capacity"),
    [(1, 20), (10, 20), (20, 30), (25, 30), (26, 33), (50, 40), (100, 50), (101, 50), (9999, 150)],
)
def test_capacity_of_the_nearest_size(size: int, capacity: int) -> None:
    """Listed sizes have their capacity, others that of the nearest, the smaller on a tie."""
    assert cvrp_capacity(size) == capacity


def test_kool_capacities_agree_with_the_extended_table() -> None:
    """The table for all sizes contains the published one."""
    assert {size: cvrp_capacity(size) for size in CAPACITY} == CAPACITY


@pytest.mark.parametrize("seed", [1234, 4321])
def test_kool_sets_repeat_the_published_draws(seed: int) -> None:
    """Whole arrays of 10,000 from numpy's legacy generator, in the published order."""
    random = np.random.RandomState(seed)
    coords = random.random_sample(10_000 * 20 * 2).reshape(10_000, 20, 2).astype(np.float32)
    tsp = kool_instances("tsp", 20, seed=seed)
    assert tsp.coords is not None
    assert np.array_equal(tsp.coords.numpy(), coords)

    random.seed(seed)
    depot = random.random_sample(10_000 * 2).reshape(10_000, 2).astype(np.float32)
    coords = random.random_sample(10_000 * 20 * 2).reshape(10_000, 20, 2).astype(np.float32)
    demand = random.randint(1, 10, (10_000, 20))
    cvrp = kool_instances("cvrp", 20, seed=seed)
    assert cvrp.coords is not None
    assert np.array_equal(cvrp.coords[:, 0].numpy(), depot)
    assert np.array_equal(cvrp.coords[:, 1:].numpy(), coords)
    assert np.array_equal(cvrp.linehaul[:, 1:].numpy(), demand)
    assert (cvrp.capacity == 30).all()
    assert same(kool_instances("cvrp", 20, 13, seed=seed), cvrp[:13])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("vrptw", 20), "problem is 'vrptw'; accepted: tsp, cvrp"),
        (("cvrp", 30), "num_customers is 30; the published CVRP sets have 10, 20, 50, 100"),
        (("tsp", 1), "num_customers is 1"),
        (("tsp", 20, 10_001), "num_instances is 10001; accepted: 1 to 10000"),
        (("tsp", 20, 5, -1), "seed is -1"),
    ],
)
def test_kool_refuses(arguments: tuple, told: str) -> None:
    """What was never published is refused, with what is accepted."""
    with pytest.raises(InputError, match=told):
        kool_instances(*arguments)


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
    ("given", "told"),
    [
        ({"problem": "vrp"}, r"'vrp'; accepted: tsp, atsp, mtvrp-16, .*\[md\]\[o\]vrp\[b\|mb\]"),
        ({"problem": "vrptv"}, "did you mean vrptw"),
        ({"distribution": "normal"}, "distribution is 'normal'; accepted: uniform, gaussian"),
        ({"num_customers": 0}, "num_customers is 0; accepted for cvrp: at least 1"),
        ({"problem": "tsp", "num_customers": 1}, "num_customers is 1; accepted for tsp"),
        ({"batch": 0}, "batch is 0; accepted: at least 1"),
        ({"capacity": 8}, "demands are 1 to 9 with capacity 8"),
        ({"problem": "tsp", "capacity": 8}, "capacity is 8 for tsp"),
        ({"distribution": "x", "capacity": 8}, "capacity is 8 for cvrp, distribution x"),
        ({"problem": "tsp", "distribution": "x"}, "distribution is 'x' for tsp"),
        ({"problem": "atsp", "distribution": "grid"}, "distribution is 'grid' for atsp"),
        ({"problem": "vrptw", "distribution": "x"}, "distribution is 'x' for vrptw"),
        ({"problem": "vrptw", "capacity": 8}, "capacity is 8; accepted: at least the largest"),
        ({"variants": ["vrptw"]}, "variants are vrptw for cvrp; accepted: none, only mtvrp-16"),
        ({"problem": "tsp", "variants": ["tsp"]}, "variants are tsp for tsp"),
        ({"problem": "mtvrp-16", "variants": ["vrpmb"]}, "variants has 'vrpmb' for mtvrp-16"),
        ({"problem": "mtvrp-16", "variants": []}, "at least one, each once"),
        ({"problem": "mtvrp-16", "variants": ["ovrp", "ovrp"]}, "at least one, each once"),
        ({"distribution": "x", "num_customers": 10_001}, "accepted for X-type: 1 to 10000"),
    ],
)
def test_generate_refuses(given: dict, told: str) -> None:
    """A wrong name or size is one message with what is accepted."""
    asked = {"problem": "cvrp", "num_customers": 10, "batch": 2} | given
    with pytest.raises(InputError, match=told):
        generate(generator=seeded(), **asked)


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


def test_every_problem_is_generated() -> None:
    """The requests above leave no problem out."""
    assert {problem for problem, _ in REQUESTS} == set(PROBLEMS)


@pytest.mark.parametrize("problem", ["mtvrp-16", "mtvrp-24", "mtvrp-48"])
def test_mixed_sets_draw_each_of_their_variants(problem: str) -> None:
    """In a large batch all variants of the set come up and no others; the set's environment takes
    it. A restriction leaves only what it names."""
    batch = generate(problem, num_customers=30, batch=1000, generator=seeded())
    assert set(variant_names(batch)) == {variant.name for variant in VARIANT_SETS[problem]}
    environments[problem].require(batch)
    two = generate(
        problem, num_customers=30, batch=50, generator=seeded(), variants=["ovrpl", "vrptw"]
    )
    assert set(variant_names(two)) == {"ovrpl", "vrptw"}


def test_a_variant_is_what_its_name_says() -> None:
    """Instances of each name are told apart by their attributes alone, and have the given
    capacity and customers' distribution."""
    for name in (variant.name for variant in VARIANTS):
        batch = generate(name, num_customers=30, batch=4, generator=seeded(), capacity=77)
        assert variant_names(batch) == [name] * 4
        assert batch.capacity.tolist() == [77.0] * 4
    clustered = generate(
        "vrptw", num_customers=100, batch=50, generator=seeded(), distribution="cluster"
    )
    assert clustered.coords is not None
    uniform = distributions.uniform(50, 100, seeded(1))
    assert nearest(clustered.coords[:, 1:]).mean() < 0.9 * nearest(uniform).mean()
