"""The one scaling from floating-point numbers to integers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nco.baselines.scaling import LIMIT_SLACK, NO_LIMIT, scale_instance, scale_loads
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
    """Durations, services and openings go up; closings go down, but for a part of the checker's
    tolerance; infinite stays without limit."""
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
    for units, value in ((scaled.service[1], 0.05004), (scaled.early[1], 0.123456)):
        assert -1e-12 <= units / scale - value <= 1 / scale + 1e-12
    for units, value in ((scaled.late[1], 1.98765), (scaled.late[0], 4.000004)):
        assert value <= units / scale <= value * (1 + LIMIT_SLACK) + 1e-12
    assert scaled.late[2] == NO_LIMIT


def test_a_route_within_the_scaled_limit_keeps_the_true_one() -> None:
    """With a distance limit no scaled length is below the true one, and the limit is above its own
    by a part of the checker's tolerance only."""
    instance = Instance.vrp(coords=_unit_square(30, 3), distance_limit=2.345678, capacity=1)
    scaled = scale_instance(instance, penalty_ceiling=100_000)
    true = distance_matrix(instance)[0].numpy()
    assert (scaled.distance / scaled.distance_scale >= true - 1e-12).all()
    limit = scaled.distance_limit / scaled.distance_scale
    assert 2.345678 <= limit <= 2.345678 * (1 + LIMIT_SLACK)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_route_that_meets_limit_and_window_exactly_stays_feasible(dtype: torch.dtype) -> None:
    """A tour of 30 whose length is the limit and the depot's closing keeps both in integers."""
    coords = _unit_square(31, 10).to(dtype)
    stops = [*range(31), 0]
    lengths = distance_matrix(Instance.tsp(coords=coords).to(torch.float64))[0]
    length = float(lengths[stops[:-1], stops[1:]].sum())
    window = torch.tensor([[0, length]] * 31, dtype=torch.float64)
    instance = Instance.vrp(coords=coords, distance_limit=length, time_window=window, capacity=1)
    for ceiling in (None, 100_000):
        scaled = scale_instance(instance, penalty_ceiling=ceiling)
        assert scaled.distance[stops[:-1], stops[1:]].sum() <= scaled.distance_limit
        assert scaled.duration[stops[:-1], stops[1:]].sum() <= scaled.late[0]


def test_sums_and_penalties_of_large_instances_fit() -> None:
    """2,000 customers over long distances: all lengths, all times, and PyVRP's largest charge for
    all of them together stay within 64 bits."""
    coords = _unit_square(2001, 11) * 1e6
    window = torch.tensor([[0, 1e7]] * 2001, dtype=torch.float64)
    instance = Instance.vrp(
        coords=coords, distance_limit=4e6 / 3, time_window=window, demand=[0] + [0.7] * 2000,
        capacity=torch.pi,
    )  # fmt: skip
    scaled = scale_instance(instance, penalty_ceiling=100_000)
    for units in (scaled.distance.max(), scaled.duration.max(), scaled.late.max()):
        assert 2001 * int(units) * 100_000 < 2**63
    assert int(scaled.linehaul.sum()) * 100_000 < 2**63


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
    window = [[0, 9], [1e-11, 1e-11]]
    instance = Instance.vrp(coords=_unit_square(2, 8), time_window=window, capacity=1)
    with pytest.raises(InputError, match="time_window of node 1"):
        scale_instance(instance)


def test_overflow_is_refused() -> None:
    """Numbers whose sums would not fit are named, never wrapped round."""
    instance = Instance.vrp(coords=_unit_square(2, 9), demand=[0, 1], capacity=2.0**60)
    with pytest.raises(InputError, match="capacity adds up"):
        scale_instance(instance)
