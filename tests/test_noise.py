"""Noise: against Python's integers, for its distribution, and for what it may not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nco.data.batching import collate, replace, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import (
    Scenarios,
    Split,
    Stream,
    draw_keys,
    hash_words,
    hashed,
    nodes_as_entities,
    normals,
    uniforms,
)
from tests.draws import seeded
from tests.small import instances

KEYS = (0, 7, 2**62 + 12345)


def keyed(num_customers: int = 5) -> Instance:
    """Three instances."""
    return replace(instances("cvrp", num_customers, 3), {"key": torch.tensor(KEYS)})


def test_bits_are_those_of_pythons_integers() -> None:
    """For every instance, scenario and arc; the published first number of splitmix64 as well."""
    # the generator of Steele, Lea and Flood, seeded with 0, begins with this
    assert hash_words(0, 0) == 0xE220A8397B1DCDAF
    scenarios = Scenarios(Split.SELECTION, 4, seed=2**63 - 5, first=3)
    n = torch.arange(6)
    arcs = n.view(1, 1, -1, 1), n.view(1, 1, 1, -1)
    found = hashed(scenarios, keyed(), Stream.TRAVEL_ARC, *arcs)
    assert found.shape == (3, 4, 6, 6)
    for b, key in enumerate(KEYS):
        for s in range(4):
            for i, j in ((0, 0), (0, 5), (5, 0), (3, 2)):
                root = hash_words(scenarios.seed, Split.SELECTION, Stream.TRAVEL_ARC)
                assert int(found[b, s, i, j]) % 2**64 == hash_words(root, key, s + 3, i, j)


def test_no_two_names_share_a_number() -> None:
    """Splits, streams, seeds, instances, scenarios and nodes all tell numbers apart."""
    instance, found = keyed(), []
    for split in Split:
        for stream in (Stream.DEMAND, Stream.PRESENCE):
            for seed in (0, 1):
                scenarios = Scenarios(split, 50, seed)
                found.append(hashed(scenarios, instance, stream, nodes_as_entities(instance)))
    bits = torch.stack(found)
    assert len(bits.unique()) == bits.numel()


def moments(values: Tensor) -> list[float]:
    """Mean and variance, and the correlations of neighbours along each axis."""
    centred = values - values.mean()
    spread = centred.square().mean()
    found = [values.mean().item(), spread.item()]
    for axis in range(values.dim()):
        size = values.shape[axis] - 1
        pair = centred.narrow(axis, 0, size) * centred.narrow(axis, 1, size)
        found.append((pair.mean() / spread).item())
    return found


def test_numbers_are_distributed_as_they_should() -> None:
    """Moments and correlations within five standard errors, shares of ten bins within five too."""
    instance, scenarios = keyed(39), Scenarios(Split.TEST, 1000)
    draws = uniforms(scenarios, instance, Stream.PRIZE, nodes_as_entities(instance))
    count = draws.numel()
    tolerance = 5 / math.sqrt(count)
    mean, spread, *correlations = moments(draws)
    assert abs(mean - 0.5) < tolerance * math.sqrt(1 / 12)
    assert abs(spread - 1 / 12) < tolerance * math.sqrt(1 / 180)
    share = torch.histc(draws, 10, 0, 1) / count
    assert float((share - 0.1).abs().max()) < tolerance * 0.3
    mean, spread, *more = moments(
        normals(scenarios, instance, Stream.PRIZE, nodes_as_entities(instance))
    )
    assert abs(mean) < tolerance
    assert abs(spread - 1) < tolerance * math.sqrt(2)
    # along the three instances there are two thirds of the pairs
    assert max(map(abs, correlations + more)) < tolerance * math.sqrt(1.5)
    assert draws.min() > 0
    assert draws.max() < 1


def test_numbers_depend_on_the_name_alone() -> None:
    """Not on the batch, the padding, the coordinates or how many scenarios are asked for."""
    instance, scenarios = keyed(), Scenarios(Split.TRAIN, 8)
    whole = uniforms(scenarios, instance, Stream.DEMAND, nodes_as_entities(instance))
    for i, one in enumerate(unbatch(instance)):
        turned = replace(one, {"coords": None if one.coords is None else 1 - one.coords})
        larger = collate([replace(instances("cvrp", 9, 1), {"key": torch.tensor([1])}), turned])
        part = uniforms(scenarios.part(3, 5), larger, Stream.DEMAND, nodes_as_entities(larger))
        assert torch.equal(part[1, :, :6], whole[i, 3:5])


def test_what_is_refused() -> None:
    """Instances without a key, and scenarios that are none."""
    with pytest.raises(InputError, match="has no key"):
        uniforms(Scenarios(Split.TEST, 2), instances("cvrp", 5, 1), Stream.DEMAND)
    with pytest.raises(InputError, match="accepted: at least 1"):
        Scenarios(Split.TEST, 0)
    with pytest.raises(InputError, match="seed is -1"):
        Scenarios(Split.TEST, 1, seed=-1)


def test_keys_are_drawn_by_the_generator() -> None:
    """The same seed gives the same keys, another one others, and none twice."""
    first, again, other = (draw_keys(1000, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert len(torch.cat((first, other)).unique()) == 2000
