"""Shifted instances differ in the one thing, and stay solvable."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from nco.api import generate
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import FIELDS, Instance, distance_matrix
from nco.data.shifts import MEAN_DEMAND, Shift
from nco.data.x_generator import DemandLaw
from nco.envs.checker import check_routes


def shifted(
    problem: str, count: int = 64, size: int = 40, **changes: Any
) -> tuple[Instance, Instance]:
    plain = generate(problem, size, count, seed=11)
    return plain, Shift(**changes).apply(plain, torch.Generator().manual_seed(2))


def differing(a: Instance, b: Instance) -> set[str]:
    found = set()
    for name in FIELDS:
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None) or (x is not None and not torch.equal(x, y)):
            found.add(name)
    return found


def alone_feasible(instance: Instance) -> bool:
    return all(
        check_routes(one, [[c] for c in range(1, one.num_nodes)]).feasible
        for one in unbatch(instance[:4])
    )


@pytest.mark.parametrize("law", get_args(DemandLaw))
def test_demands_change_and_customers_of_a_route_do_not(law: DemandLaw) -> None:
    """Capacity over mean demand is what it was, up to rounding up and the largest demand."""
    plain, other = shifted("cvrp", demands=law)
    assert differing(plain, other) == {"linehaul", "capacity"}
    demand = other.linehaul[:, 1:]
    assert bool((demand >= 1).all())
    assert bool((other.linehaul[:, 0] == 0).all())
    per_route = plain.capacity / MEAN_DEMAND
    wanted = torch.maximum((per_route * demand.mean(1)).ceil(), demand.amax(1))
    assert torch.allclose(other.capacity, wanted, atol=1)
    assert alone_feasible(other)
    if law == "unitary":
        assert bool((demand == 1).all())
    if law == "quadrant":
        assert plain.coords is not None
        places = plain.coords[:, 1:]
        side, clear = places < 0.5, ((places - 0.5).abs() > 0.001).all(-1)
        large = side[..., 0] == side[..., 1]
        assert bool((demand[large & clear] > 50).all())
        assert bool((demand[~large & clear] <= 50).all())


def test_capacity_is_a_part_of_what_it_was() -> None:
    """40 customers have 37: half is 18 (rounded to even), a tenth is the largest demand, 9."""
    plain, half = shifted("cvrp", capacity=0.5)
    assert differing(plain, half) == {"capacity"}
    assert bool((half.capacity == 18).all())
    _, tiny = shifted("cvrp", capacity=0.1)
    assert torch.equal(tiny.capacity, tiny.linehaul.amax(1))


def test_windows_keep_their_beginning_and_stay_in_reach() -> None:
    """Half as long; the depot's hours stay."""
    plain, tight = shifted("vrptw", windows=0.5)
    assert differing(plain, tight) == {"time_window"}
    was, now = (x.time_window[..., 1] - x.time_window[..., 0] for x in (plain, tight))
    assert torch.allclose(now[:, 1:], was[:, 1:] / 2, atol=1e-6)
    assert torch.equal(plain.time_window[:, 0], tight.time_window[:, 0])
    assert alone_feasible(tight)


def test_asymmetric_ways_are_shorter_and_closed() -> None:
    """By at most the part asked for and what detours save; no detour is shorter than an arc."""
    plain, other = shifted("vrptw", count=4, size=12, asymmetry=0.4)
    assert differing(plain, other) == {"distance"}
    straight, found = distance_matrix(plain), distance_matrix(other)
    assert bool((found <= straight + 1e-6).all())
    assert bool((found >= 0.6 * straight - 1e-5).all())
    detour = (found.unsqueeze(3) + found.unsqueeze(1)).amin(2)
    assert bool((found <= detour + 1e-5).all())
    assert float((found - found.mT).abs().mean()) > 0.02
    assert alone_feasible(other)
    _, none = shifted("cvrp", count=2, size=6, asymmetry=0.0)
    assert torch.allclose(distance_matrix(none), distance_matrix(none).mT, atol=1e-6)


@pytest.mark.parametrize(
    ("problem", "changes", "told"),
    [
        ("tsp", {"demands": "unitary"}, "demands are unitary"),
        ("vrpb", {"demands": "unitary"}, "with pickups"),
        ("tsp", {"capacity": 2.0}, "there is none"),
        ("cvrp", {"windows": 0.5}, "there are none"),
        ("atsp", {"asymmetry": 0.5}, "a matrix already"),
        ("cvrp", {}, "shift has nothing"),
        ("cvrp", {"capacity": 1.0, "windows": 1.0}, "exactly one"),
        ("cvrp", {"capacity": 0.0}, "above 0"),
        ("vrptw", {"windows": 1.5}, "at most 1"),
        ("cvrp", {"asymmetry": 1.0}, "below 1"),
    ],
)
def test_what_does_not_fit_is_refused(problem: str, changes: dict[str, Any], told: str) -> None:
    """Each with what is accepted."""
    with pytest.raises(InputError, match=told):
        shifted(problem, count=1, size=6, **changes)
