"""What an instance keeps of what it is given."""

from __future__ import annotations

import pytest
import torch

from nco.data.batching import collate, unbatch
from nco.data.errors import InputError
from nco.data.instance import FIELDS, Instance
from nco.envs.checker import check_routes


def test_lists_keep_their_digits() -> None:
    """A Python float is a float64; 0.1 must not become float32's 0.1."""
    instance = Instance.vrp(coords=[[0.0, 0.0], [0.1, 0.0]], demand=[0, 0.1], capacity=0.3)
    assert instance.dtype == torch.float64
    assert instance.coords is not None
    assert instance.coords[0, 1, 0].item() == 0.1
    assert instance.linehaul[0, 1].item() == 0.1
    assert instance.capacity.item() == 0.3


def test_collated_sizes_and_precisions_keep_kinds_and_costs() -> None:
    """A float32 and a larger float64 instance in one batch: masks stay masks, counts stay counts,
    and each costs what it costs alone."""
    small = Instance.vrp(coords=torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(0)))
    large = Instance.vrp(coords=[[0.0, 0.0], [0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.9]])
    batch = collate([small, large])
    for name in FIELDS:
        value, alone = getattr(batch, name), getattr(large, name)
        assert (value is None) == (alone is None)
        assert value is None or value.dtype == alone.dtype
    for alone, padded, one, routes in (
        (small, batch[:1], unbatch(batch)[0], [[1, 2], [3]]),
        (large, batch[1:], unbatch(batch)[1], [[1, 2], [4, 3]]),
    ):
        report = check_routes(alone, routes)
        assert report.feasible
        assert check_routes(padded, routes) == report
        assert check_routes(one, routes) == report


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("capacity", [1.0, 2.0]),
        ("distance_limit", [[1.0, 2.0]]),
        ("open_route", [True, False]),
        ("num_vehicles", [1, 2]),
        ("demand", torch.ones(2, 4)),
        ("time_window", torch.ones(4)),
    ],
)
def test_a_value_for_another_number_of_instances_is_refused(name: str, value: object) -> None:
    """Two values for three instances: the message names the field and both shapes."""
    with pytest.raises(InputError, match=rf"^{name} has shape .*; accepted is \(3,"):
        Instance.vrp(coords=torch.rand(3, 4, 2), **{name: value})  # type: ignore[arg-type]


def test_one_value_stands_for_all_instances() -> None:
    """Without a batch axis, or with one of length 1, a value holds for the whole batch."""
    coords, demand = torch.rand(3, 4, 2), torch.tensor([0.0, 1, 2, 3])
    for capacity, given in ((7, demand), ([7], demand.unsqueeze(0)), ([7, 7, 7], [demand] * 3)):
        stacked = given if isinstance(given, torch.Tensor) else torch.stack(given)
        instance = Instance.vrp(coords=coords, demand=stacked, capacity=capacity)
        assert instance.capacity.tolist() == [7, 7, 7]
        assert torch.equal(instance.linehaul, demand.expand(3, 4))
