"""Random days of service: what can be kept, the shares and laws of windows, files."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nco.data.batching import collate, unbatch
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance, Kind
from nco.data.json_format import read_json_instances, write_json_instances
from nco.data.service_days import DAY_PRESETS, ServiceDay, service_days
from nco.data.traffic import CODE, CONSTANTS, PAPER
from tests.day_oracle import Day
from tests.draws import same, seeded


def days(problem: str, preset: str, num_customers: int, batch: int, seed: int = 0) -> Instance:
    """Random instances."""
    return generate(
        problem,
        num_customers=num_customers,
        batch=batch,
        generator=seeded(seed),
        distribution=preset,
    )


@pytest.mark.parametrize("preset", DAY_PRESETS)
@pytest.mark.parametrize("problem", ["svrptw", "mdsvrptw"])
def test_every_customer_can_be_served_alone(problem: str, preset: str) -> None:
    """On time by the margin and back before closing, under mean travel times in plain Python."""
    instance = days(problem, preset, 12, 4)
    depots = 3 if problem == "mdsvrptw" else 1
    assert instance.num_depots.tolist() == [depots] * 4
    day = DAY_PRESETS[preset]
    for b in range(4):
        mean, windows = Day(instance, b), instance.time_window[b].double().tolist()
        for node in range(depots, 12 + depots):
            opens, closes = windows[node]
            assert day.opening[0] <= opens < closes <= day.opening[1] + 1e-3
            kept = []
            for depot in range(depots):
                there = day.opening[0] + mean.time(depot, node, day.opening[0])
                leaves = max(there, opens) + day.service_time
                home = leaves + mean.time(depot, node, leaves)
                kept.append(there + day.margin <= closes + 1e-3 and home <= day.opening[1] + 1e-3)
            assert any(kept)
    assert bool((instance.linehaul[:, depots:] >= 1).all())
    assert bool((instance.linehaul <= day.capacity).all())


def test_windows_follow_their_kind() -> None:
    """60 % of customers are residential; theirs begin around 8 and 19 o'clock, and commercial
    ones around 13, all before what cannot be kept is drawn again."""
    instance = days("svrptw", "svrpbench-paper", 100, 60)
    assert instance.kind is not None
    kind, early = instance.kind[:, 1:], instance.time_window[:, 1:, 0]
    assert instance.kind[:, 0].tolist() == [0] * 60
    residential = kind == Kind.RESIDENTIAL
    assert float(residential.float().mean()) == pytest.approx(0.6, abs=0.03)
    noon = early[kind == Kind.COMMERCIAL]
    assert float(noon.mean()) == pytest.approx(780, abs=5)
    assert float(noon.std()) == pytest.approx(60, abs=4)
    home = early[residential]
    morning = home < 800
    assert float(morning.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(home[morning].mean()) == pytest.approx(480, abs=8)
    assert float(home[morning].std()) == pytest.approx(90, abs=6)
    # late evenings are cut off
    assert 1100 < float(home[~morning].mean()) < 1141
    length = instance.time_window[:, 1:].diff(dim=2)
    assert 60 <= float(length.min()) < 61
    assert 119 < float(length.max()) <= 120.01


def test_rejected_windows_are_counted() -> None:
    """On a map that takes half a day to cross many windows cannot be kept; on a small one hardly
    any; where none can be kept it is said."""
    wide = service_days(20, 20, seeded(), dataclasses.replace(ServiceDay(), map_size=1000.0))
    small = service_days(20, 20, seeded(), ServiceDay())
    assert int(wide.rejected.sum()) > 5 * int(small.rejected.sum())
    with pytest.raises(InputError, match="have no window that can be kept"):
        service_days(2, 5, seeded(), dataclasses.replace(ServiceDay(), opening=(0.0, 10.0)))


def test_cities_and_depots() -> None:
    """Customers lie about the city of their zone; depots of several differ and lie among them."""
    instance = days("mdsvrptw", "correlated", 24, 10)
    assert instance.coords is not None
    assert instance.zone is not None
    assert instance.zone[:, 3:].unique().tolist() == [0, 1, 2, 3]
    coords, zone = instance.coords[:, 3:], instance.zone[:, 3:]
    member = torch.nn.functional.one_hot(zone, 4).float()
    centre = (member.mT @ coords) / member.sum(1).unsqueeze(2)
    own = (coords - centre.gather(1, zone.unsqueeze(2).expand_as(coords))).norm(dim=2).mean()
    whole = (coords - coords.mean(1, keepdim=True)).norm(dim=2).mean()
    assert float(own) < 0.6 * float(whole)
    apart = torch.cdist(instance.coords[:, :3], instance.coords[:, :3])
    assert float(apart[:, ~torch.eye(3, dtype=torch.bool)].min()) > 5


def test_the_same_seed_gives_the_same_days() -> None:
    """To the bit, keys included; another seed gives others."""
    first, again = (days("svrptw", "correlated", 7, 3, seed=5) for _ in range(2))
    other = days("svrptw", "correlated", 7, 3, seed=6)
    assert same(first, again)
    assert first.key is not None
    assert other.key is not None
    assert not bool(torch.isin(first.key, other.key).any())


def test_files_keep_every_constant(tmp_path) -> None:
    """By name, and exactly; unknown names and prices below 0 are refused."""
    path = tmp_path / "days.json"
    instance = collate(
        [days("svrptw", "svrpbench-paper", 4, 1), days("mdsvrptw", "correlated", 5, 1)]
    )
    write_json_instances(instance, path)
    text = path.read_text()
    assert all(f'"{name}"' in text for name in CONSTANTS)
    assert same(read_json_instances(path), instance)
    assert [one.num_nodes for one in unbatch(instance)] == [5, 8]
    path.write_text(text.replace('"density_unit"', '"density"', 1))
    with pytest.raises(InputError, match=r"traffic has not .*density, density_unit"):
        read_json_instances(path)
    path.write_text(text.replace('"lateness": 5.0', '"lateness": -5.0'))
    with pytest.raises(InputError, match="price lateness is -5"):
        read_json_instances(path)


def test_what_is_refused() -> None:
    """Distributions that are not of days, mixed batches, demands above the capacity."""
    with pytest.raises(InputError, match="distribution is 'uniform' for svrptw; accepted: svrp"):
        days("svrptw", "uniform", 5, 1)
    with pytest.raises(InputError, match="distribution is 'correlated'"):
        days("cvrp", "correlated", 5, 1)
    with pytest.raises(InputError, match="have traffic and others do not; accepted: all or none"):
        collate([days("svrptw", "correlated", 4, 1), days("cvrp", "uniform", 4, 1)])
    with pytest.raises(InputError, match="at least the largest demand"):
        ServiceDay(capacity=50)


def test_presets_are_what_they_are_called() -> None:
    """The constants of the instances are the preset's, in float32."""
    for preset, traffic in (("svrpbench-paper", PAPER), ("svrpbench-code", CODE)):
        rows = days("svrptw", preset, 3, 2).traffic
        assert rows is not None
        assert torch.equal(rows, torch.tensor([traffic.row()] * 2))
