"""Generated profiled VRPs: feasible for certain, and drawn as their laws say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import nco
from nco.data.errors import InputError
from nco.data.fleet_generators import PROFILE_LAWS, FleetLaw, ProfileLaw
from nco.data.fleet_plan import out_and_back
from nco.data.instance import Instance, is_customer, validate
from nco.envs.checker import check_routes
from nco.train_config import DataConfig
from tests.fleets import RICH, fleet_of, fleets


def customers_of(instance: Instance) -> torch.Tensor:
    """[B, M, N]: pairs of a vehicle that exists and a customer that exists."""
    fleet = fleet_of(instance)
    return fleet.valid.unsqueeze(2) & is_customer(instance).unsqueeze(1)


@pytest.mark.parametrize("law", PROFILE_LAWS)
@pytest.mark.parametrize("zones", [False, True])
def test_every_customer_has_a_vehicle(law: ProfileLaw, zones: bool) -> None:
    """Sizes mixed over the whole range in one batch; the certificate passes the checker."""
    shape = FleetLaw(profile=law, shift=1.0, capacity=(9, 40))
    instance = fleets((20, 100), 40, 3, shape, zones=zones)
    validate(instance)
    fleet = fleet_of(instance)
    sizes, vehicles = is_customer(instance).sum(1), fleet.valid.sum(1)
    assert sizes.min() < 30
    assert sizes.max() > 90
    assert set(vehicles.tolist()) == set(range(2, 11))
    plan = out_and_back(instance, fleet, fleet.shift)
    for i in range(0, 40, 10):
        served = is_customer(instance)[i].nonzero().flatten().tolist()
        drivers = plan.vehicle[i][served].tolist()
        report = check_routes(instance[i : i + 1], [[c] for c in served], vehicles=drivers)
        assert report.feasible, report.violations
    if zones:
        assert bool(fleet.allowed.masked_fill(~customers_of(instance), True).logical_not().any())


def test_padded_vehicles_and_nodes_have_nothing() -> None:
    fleet = fleet_of(fleets((5, 9), 20, 1, RICH))
    for name in ("capacity", "fixed_cost", "distance_cost"):
        assert not bool(getattr(fleet, name)[~fleet.valid].any())
    assert not bool(fleet.profile[~fleet.valid].any())
    assert not bool(fleet.allowed[~fleet.valid].any())


def test_angular_profiles_are_equal_sectors() -> None:
    """Every customer prefers one vehicle; a vehicle's customers lie within 1/m of the circle."""
    instance = fleets((100, 100), 30, 2, FleetLaw(profile="angular"))
    fleet = fleet_of(instance)
    pairs = customers_of(instance)
    assert bool((fleet.profile.masked_fill(~pairs, 0).sum(1)[:, 1:] == 1).all())
    assert instance.coords is not None
    way = (instance.coords - instance.coords[:, :1]).double()
    angle = torch.atan2(way[..., 1], way[..., 0])
    for i in range(30):
        number = int(fleet.valid[i].sum())
        for k in range(number):
            own = angle[i][(fleet.profile[i, k] == 1) & is_customer(instance)[i]].sort().values
            if len(own) < 2:
                continue
            gaps = torch.cat((own.diff(), own[:1] + 2 * torch.pi - own[-1:]))
            assert 2 * torch.pi - float(gaps.max()) <= 2 * torch.pi / number + 1e-6


def test_grid_profiles_are_squares_of_one_vehicle() -> None:
    instance = fleets((100, 100), 10, 2, FleetLaw(profile="grid", num_vehicles=(4, 4)))
    assert instance.coords is not None
    half = (instance.coords[:, 1:] * 2).long().clamp(max=1)
    cell = half[..., 1] * 2 + half[..., 0]
    profile = fleet_of(instance).profile[:, :, 1:]
    assert bool((profile.argmax(1) == cell).all())
    assert bool((profile.sum(1) == 1).all())


def test_clustered_profiles_fall_with_the_distance_to_a_customer() -> None:
    instance = fleets((50, 50), 10, 2, FleetLaw(profile="clustered", num_vehicles=(3, 3)))
    fleet = fleet_of(instance)
    assert instance.coords is not None
    for i in range(10):
        centres = fleet.profile[i, :, 1:].argmax(1) + 1
        assert len(set(centres.tolist())) == 3
        for k in range(3):
            away = (instance.coords[i] - instance.coords[i, centres[k]]).norm(dim=1)
            assert torch.allclose(fleet.profile[i, k, 1:], 1 - away[1:] / 2**0.5, atol=1e-5)


def test_random_profiles_and_rates() -> None:
    instance = fleets((80, 80), 200, 4, FleetLaw(profile="random", num_vehicles=(5, 5)))
    profile = fleet_of(instance).profile[:, :, 1:]
    assert float(profile.mean()) == pytest.approx(0.5, abs=0.01)
    zoned = fleets((80, 80), 200, 4, FleetLaw(profile="random", num_vehicles=(8, 8)), zones=True)
    rate = 1 - fleet_of(zoned).allowed[:, :, 1:].float().mean((1, 2))
    # each instance has a rate of its own, from U(0, 2/3); the certificate gives a little back
    assert float(rate.mean()) == pytest.approx(1 / 3, abs=0.04)
    assert float(rate.max()) > 0.6
    assert float(rate.min()) < 0.05


def test_vehicles_differ_and_weights_follow_the_law() -> None:
    law = replace(RICH, num_vehicles=(10, 10), shift=2.0)
    fleet = fleet_of(fleets((10, 10), 100, 1, law))
    for name, (low, high) in (("capacity", (9, 20)), ("speed", (0.5, 1.0)),
                              ("fixed_cost", (0, 0.5)), ("distance_cost", (0, 0.5))):  # fmt: skip
        value = getattr(fleet, name)
        assert low <= float(value.min()) < low + 0.1 * (high - low)
        assert high >= float(value.max()) > high - 0.1 * (high - low)
    assert torch.allclose(fleet.time_weight + fleet.preference_weight, torch.ones(100))
    tight = fleet_of(fleets((10, 10), 100, 1, replace(law, shift=1.0)))
    assert torch.allclose(fleet.shift, 2 * tight.shift)


def test_names_and_options() -> None:
    one = nco.generate("pvrp", (5, 8), 3, seed=1, fleet=FleetLaw(num_vehicles=(2, 2)))
    assert one.num_nodes == 9
    assert bool(fleet_of(nco.generate("pvrp", 5)).allowed[:, :, 1:].any(1).all())
    for wrong, told in (
        (lambda: nco.generate("cvrp", 5, fleet=FleetLaw()), "fleet is given for cvrp"),
        (lambda: nco.generate("cvrp", (5, 8)), "a range is only for pvrp, pvrp-zones"),
        (lambda: nco.generate("pvrp", (8, 5)), "smallest, largest"),
        (lambda: nco.generate("pvrp", 5, capacity=30), "fleets have their own range"),
        (lambda: nco.generate("pvrp", 5, fleet=FleetLaw(capacity=(5, 9))), "largest demand"),
        (lambda: FleetLaw(shift=0.5), "shift is 0.5; accepted: at least 1, or none"),
        (lambda: FleetLaw(speed=(0.0, 1.0)), "above 0"),
        (lambda: FleetLaw(preference_weight=(0.5, 1.5)), "from 0 to 1"),
        (lambda: nco.generate("pvrp", 5, distribution="x"), "'x' for pvrp"),
    ):
        with pytest.raises(InputError) as caught:
            wrong()
        assert told in str(caught.value)


def test_a_law_in_a_configuration() -> None:
    given = {"num_customers": 20, "fleet": {"num_vehicles": [3, 5], "profile": "grid"}}
    data = DataConfig.model_validate(given)
    assert data.fleet == FleetLaw(num_vehicles=(3, 5), profile="grid")
    for wrong, told in (({"speeds": [1, 1]}, "speeds"), ({"shift": 0.2}, "at least 1")):
        with pytest.raises(ValueError, match=told):
            DataConfig.model_validate({"num_customers": 20, "fleet": wrong})


def test_a_law_is_told_in_words() -> None:
    assert str(FleetLaw(num_vehicles=(3, 3))) == "3 vehicles, all four laws"
    given = FleetLaw(profile="grid", preference_weight=(0.0, 0.5), shift=1.5, min_max=True)
    assert str(given) == (
        "2 to 10 vehicles, grid law, preference weight 0 to 0.5, shifts of 1.5 plans, min-max"
    )
