"""Generated instances by the problem's name, against theory and against draws repeated here."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import floyd_warshall

from nco.data import distributions
from nco.data.attributes import variant_names
from nco.data.distributions import DistributionName
from nco.data.errors import InputError
from nco.data.generators import (
    DAY_PROBLEMS,
    PROBLEMS,
    atsp_instances,
    cvrp_capacity,
    cvrp_instances,
    generate,
)
from nco.data.instance import distance_matrix, is_customer, validate
from nco.data.kool import CAPACITY, kool_instances
from nco.data.multi_task import VARIANT_SETS, VARIANTS
from nco.data.service_days import DAY_PRESETS
from nco.envs.variants import environments
from tests.draws import nearest, same, seeded

NAMES = get_args(DistributionName)
REQUESTS = [("tsp", name) for name in NAMES] + [("atsp", "uniform")]
REQUESTS += [("cvrp", name) for name in (*NAMES, "x")]
REQUESTS += [(name, preset) for name in DAY_PROBLEMS for preset in DAY_PRESETS]
REQUESTS += [
    (name, "uniform") for name in PROBLEMS if name not in ("tsp", "atsp", "cvrp", *DAY_PROBLEMS)
]
REQUESTS += [("vrptw", "cluster"), ("mtvrp-48", "grid")]


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


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"problem": "vrp"}, r"'vrp'; accepted: tsp, atsp, mtvrp-16, .*\[md\]\[o\]vrp\[b\|mb\]"),
        ({"problem": "vrptv"}, "did you mean vrptw"),
        ({"problem": "mdvrp"}, "did you mean mdcvrp"),
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
