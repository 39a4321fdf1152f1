"""The one scaling from floating-point numbers to integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nco.baselines.scaling import NO_LIMIT, scale_instance, scale_loads
from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding, distance_matrix


def _unit_square(num_nodes: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_nodes, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("num_nodes", [5, 100, 1000])
def test_unit_square_is_not_truncated(num_nodes: int) -> None:
    """Every length is kept to half a unit, and the longest arc has at least 10,000 units."""
    instance = Instance.tsp(coords=_unit_square(num_nodes, 0))
    scaled = scale_instance(instance)
    true = distance_matrix(instance)[0].numpy()
    assert np.abs(scaled.distance / scaled.distance_scale - true).max() <= (
        0.5 / scaled.distance_scale + 1e-12
    )
    assert scaled.distance.max() >= 10_000
    # what rounding can add to a tour, at most, relative to a bound that no tour can beat
    nearest = np.where(np.eye(num_nodes, dtype=bool), np.inf, true).min(1).sum()
    bound = max(nearest, 2 * true.max())
    assert num_nodes * 0.5 / scaled.distance_scale <= 1e-3 * bound
    assert not scaled.exact


def test_integers_stay_at_scale_one() -> None:
    """Data such as CVRPLIB's (rounded lengths, integer demands) are passed on unchanged."""
    instance = Instance.vrp(
        coords=[[0, 0], [300, 401], [1000, 7]],
        demand=[0, 30, 41],
        capacity=100,
        rounding=Rounding.NEAREST,
    )
    scaled = scale_instance(instance, penalty_ceiling=100_000)
    assert (scaled.distance_scale, scaled.load_scale, scaled.exact) == (1, 1, True)
    np.testing.assert_array_equal(scaled.distance, distance_matrix(instance)[0].numpy())
    assert scaled.linehaul.tolist() == [0, 30, 41]
    assert scaled.capacity == 100
    assert scaled.distance_limit == NO_LIMIT


def test_decimals_are_exact() -> None:
    """Lengths with one decimal (the DIMACS rule) get scale 10 and lose nothing."""
    instance = Instance.vrp(coords=_unit_square(20, 1) * 100, capacity=1, rounding=Rounding.DIMACS)
    scaled = scale_instance(instance)
    assert (scaled.distance_scale, scaled.exact) == (10, True)
    np.testing.assert_allclose(
        scaled.distance / 10, distance_matrix(instance)[0].numpy(), rtol=0, atol=1e-12
    )


def test_times_round_to_the_safe_side() -> None:
    """Durations, services and openings go up, closings down; infinite stays without limit."""
    instance = Instance.vrp(
        coords=_unit_square(4, 2),
        time_window=[[0, 4.000004], [0.123456, 1.98765], [0.1, torch.inf], [0, 3]],
        service_time=[0, 0.05004, 0.2, 0.1],
        capacity=1,
    )
    scaled = scale_instance(instance)
    scale = scaled.time_scale
    true = distance_matrix(instance)[0].numpy()
    up = scaled.duration / scale - true
    assert (up >= -1e-12).all()
    assert (up <= 1 / scale).all()
    assert scaled.service[1] == np.ceil(0.05004 * scale)
    assert scaled.early[1] == np.ceil(0.123456 * scale)
    assert scaled.late[1] == np.floor(1.98765 * scale)
    assert scaled.late[0] == np.floor(4.000004 * scale)
    assert scaled.late[2] == NO_LIMIT


def test_a_route_within_the_scaled_limit_keeps_the_true_one() -> None:
    """With a distance limit no scaled length is below the true one, and the limit is not above."""
    instance = Instance.vrp(coords=_unit_square(30, 3), distance_limit=2.345678, capacity=1)
    scaled = scale_instance(instance, penalty_ceiling=100_000)
    true = distance_matrix(instance)[0].numpy()
    assert (scaled.distance / scaled.distance_scale >= true - 1e-12).all()
    assert scaled.distance_limit / scaled.distance_scale <= 2.345678
    assert 2.345678 - scaled.distance_limit / scaled.distance_scale < 1 / scaled.distance_scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fractions_of_the_capacity_become_the_integers_they_stand_for(dtype: torch.dtype) -> None:
    """Demands 1/30, 7/30, 9/30 of a capacity 1 are 1, 7, 9 of 30, in float32 too."""
    demand = torch.tensor([0, 1, 7, 9], dtype=torch.float64) / 30
    instance = Instance.vrp(
        coords=_unit_square(4, 4).to(dtype), demand=demand.to(dtype), capacity=1
    )
    linehaul, backhaul, capacity = scale_loads(instance)
    assert (linehaul.tolist(), backhaul.tolist(), capacity) == ([0, 1, 7, 9], [0, 0, 0, 0], 30)


def test_other_loads_round_to_the_safe_side() -> None:
    """Demands without a common denominator go up; one that fills the vehicle still fits."""
    demand = torch.tensor([0, 2**0.5, 3**0.5, torch.pi], dtype=torch.float64)
    instance = Instance.vrp(coords=_unit_square(4, 5), demand=demand, capacity=torch.pi)
    linehaul, _, capacity = scale_loads(instance)
    assert (linehaul / capacity >= (demand / torch.pi).numpy() - 1e-12).all()
    assert np.abs(linehaul / capacity - (demand / torch.pi).numpy()).max() < 1e-5
    assert linehaul[3] == capacity


def test_breaking_a_constraint_never_pays() -> None:
    """One true unit of load is charged more than the longest detour, up to PyVRP's ceiling."""
    instance = Instance.vrp(
        distance=[[0, 900_000, 800_000], [900_000, 0, 700_000], [800_000, 700_000, 0]],
        demand=[0, 1, 1],
        capacity=1,
        time_window=[[0, 5_000_000], [0, 2_000_000], [0, 2_000_000]],
    )
    plain, scaled = scale_instance(instance), scale_instance(instance, penalty_ceiling=100_000)
    assert plain.linehaul.tolist() == [0, 1, 1]
    assert scaled.linehaul[1] * 100_000 >= 2 * scaled.distance.max()
    assert scaled.time_scale * 100_000 >= 2 * scaled.distance.max()
    assert scaled.linehaul[1] == scaled.capacity
    np.testing.assert_array_equal(scaled.distance, plain.distance)


def test_largest_integer_of_the_solver_is_kept() -> None:
    """fast-tsp's 16 bits: the longest arc fits, the error stays below one per cent."""
    instance = Instance.tsp(coords=_unit_square(300, 6) * 1e6)
    assert scale_instance(instance, max_length=65_535).distance.max() <= 65_535


def test_too_coarse_a_rounding_is_refused() -> None:
    """50 cities in 100 units to the longest arc: the message tells the error."""
    with pytest.raises(InputError, match=r"rounded to 100 units, an error of up to .* %"):
        scale_instance(Instance.tsp(coords=_unit_square(50, 7)), max_length=100)


def test_a_window_that_rounding_closes_is_refused() -> None:
    """A window narrower than the time unit is named."""
    window = [[0, 9], [0.12345678, 0.12345679]]
    instance = Instance.vrp(coords=_unit_square(2, 8), time_window=window, capacity=1)
    with pytest.raises(InputError, match="time_window of node 1"):
        scale_instance(instance)


def test_overflow_is_refused() -> None:
    """Numbers whose sums would not fit are named, never wrapped round."""
    instance = Instance.vrp(coords=_unit_square(2, 9), demand=[0, 1], capacity=2.0**60)
    with pytest.raises(InputError, match="capacity adds up"):
        scale_instance(instance)
