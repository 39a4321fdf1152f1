"""Which attributes instances have: by the generator's variants and by what environments refuse."""

from __future__ import annotations

import pytest
import torch

from nco.data.attributes import (
    VARIANT_ATTRIBUTES,
    attribute_bits,
    variant_bits,
    variant_index,
    variant_names,
)
from nco.data.batching import collate
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import VARIANTS
from nco.envs.variants import cvrp, multi_task, tsp, vrp_variants
from tests.multi_task import small
from tests.small import instances


def all_variants() -> Instance:
    """One instance of each of the 48 variants, in their order; the seed draws pickups for all that
    may have them."""
    return collate([small(variant, 5, 1, seed=2) for variant in VARIANTS])


def test_a_mixed_batch_names_the_variant_of_each_instance() -> None:
    """The bits say what the generator was asked for, and the 48 numbers are distinct."""
    batch = all_variants()
    assert variant_names(batch) == [variant.name for variant in VARIANTS]
    expected = torch.tensor(
        [
            [v.backhaul == "b", v.backhaul == "mb", v.open_route, v.time_window, v.distance_limit,
             v.several_depots]
            for v in VARIANTS
        ]
    )  # fmt: skip
    assert torch.equal(variant_bits(batch), expected)
    index = variant_index(batch)
    assert len(set(index.tolist())) == 48
    # the last, mdovrpmbltw, has all but classical backhauls
    assert (index[0], index[-1]) == (0, 62)
    assert torch.equal(multi_task.node_features(batch).attributes, expected.float())


def test_environments_take_exactly_the_attributes_that_they_name() -> None:
    """Every variant's environment takes the instances whose bits it has columns for; it refuses
    every other one by name, and shows those columns in its own order."""
    batch = all_variants()
    bits = variant_bits(batch)
    for env in vrp_variants.values():
        names = env.attribute_names
        other = [i for i, name in enumerate(VARIANT_ATTRIBUTES) if name not in names]
        taken = ~bits[:, other].any(1)
        env.require(batch[taken])
        for i in (~taken).nonzero().flatten().tolist():
            with pytest.raises(InputError, match="the instance has"):
                env.require(batch[i : i + 1])
        seen = env.node_features(batch[taken]).attributes
        assert torch.equal(seen, attribute_bits(batch[taken], names).float())
    assert vrp_variants["mdovrptw"].attribute_names == (
        "open routes", "time windows", "several depots",
    )  # fmt: skip


def test_neutral_values_are_no_attribute() -> None:
    """Service without windows, mixed without pickups, and as many vehicles as customers."""
    coords = torch.rand(4, 2)
    plain = Instance.vrp(
        coords=coords, service_time=[0, 1, 1, 1], mixed_backhaul=True, num_vehicles=3
    )
    assert variant_names(plain) == ["cvrp"]
    assert variant_index(plain).tolist() == [0]
    assert variant_names(instances("tsp", 4, 2)) == ["tsp", "tsp"]


def test_rules_without_variants_have_no_attribute_columns() -> None:
    """A TSP and a plain CVRP differ in nothing from their like."""
    assert tsp.attribute_names == cvrp.attribute_names == ()
    assert tsp.node_features(instances("tsp", 4, 2)).attributes.shape == (2, 0)
    assert cvrp.node_features(instances("cvrp", 4, 2)).attributes.shape == (2, 0)
