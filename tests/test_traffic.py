"""Traffic: against plain Python, the published figures, its moments, and the order of arrivals."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.prices import Prices
from nco.data.traffic import CODE, CORRELATED, PAPER, Traffic
from nco.envs.stochastic_travel import (
    Map,
    MeanRoads,
    Roads,
    ScenarioRoads,
    day_clocks,
    mean_matrix,
    quantile_matrix,
)
from tests.day_oracle import Day
from tests.draws import seeded

PRESETS = {"paper": PAPER, "code": CODE, "correlated": CORRELATED}
BUSY = dataclasses.replace(CORRELATED, accidents=8.0)
"""With several accidents on many ways."""


def instance(traffic: Traffic, num_nodes: int = 6, batch: int = 2) -> Instance:
    """Places on a map of 100 by 100 in three zones."""
    generator = seeded(1)
    return Instance.vrp(
        coords=100 * torch.rand(batch, num_nodes, 2, generator=generator, dtype=torch.float64),
        traffic=traffic.row(),
        prices=Prices().row(),
        zone=torch.randint(3, (batch, num_nodes), generator=generator),
        key=torch.arange(batch) + 5,
    )


def along(roads: Roads, a: int, b: int, clocks: Tensor) -> Tensor:
    """Travel times of one arc at several clocks, of the first instance."""
    shape = (1, 1, len(clocks))
    arcs = torch.full(shape, a), torch.full(shape, b)
    clock = clocks.view(1, 1, -1)
    if isinstance(roads, ScenarioRoads):
        clock = clock.expand(1, roads.worlds.number.shape[1], -1)
    return roads.times(*arcs, clock)[0]


@pytest.mark.parametrize("traffic", [*PRESETS.values(), BUSY])
def test_times_are_those_of_plain_python(traffic: Traffic) -> None:
    """Of every arc, in scenarios and on average, at clocks by day, by night and of the next day."""
    one, scenarios = instance(traffic), Scenarios(Split.TEST, 4, seed=9, first=2)
    n = one.num_nodes
    arcs = torch.cartesian_prod(torch.arange(n), torch.arange(n))
    origin, to = (column.expand(2, 1, -1) for column in arcs.unbind(1))
    draws = torch.rand(2, 4, n * n, generator=seeded(2), dtype=torch.float64)
    clock = 3000 * draws
    found = ScenarioRoads.of(one, scenarios).times(origin, to, clock)
    mean = MeanRoads(Map.of(one)).times(origin, to, clock[:, :1])
    for b in range(2):
        for p, (i, j) in enumerate(arcs.tolist()):
            expected = Day(one, b).time(i, j, float(clock[b, 0, p]))
            assert float(mean[b, 0, p]) == pytest.approx(expected, abs=1e-9)
            for s in range(4):
                day = Day(one, b, scenarios, s)
                expected = day.time(i, j, float(clock[b, s, p]))
                assert float(found[b, s, p]) == pytest.approx(expected, abs=1e-9)


def test_the_table_of_paper_and_code() -> None:
    """What the constants come to in hours and in minutes: the code's effects are 60 times too
    small and its delays vanish."""
    night, peak = torch.tensor(180.0).double(), torch.tensor(480.0).double()
    late = torch.tensor(1260.0).double()
    day = torch.linspace(0, 1440, 14401, dtype=torch.float64)

    def factor(traffic: Traffic, clock: Tensor) -> float:
        return float(traffic.base + traffic.rush * traffic.rush_hour(clock))

    def sigma(traffic: Traffic, clock: Tensor) -> float:
        return float(traffic.log_sd + traffic.log_sd_rush * traffic.rush_hour(clock))

    def long_leg(traffic: Traffic, clock: Tensor) -> float:
        return float(traffic.mean_delay(torch.tensor(1e9).double(), clock))

    assert float(CODE.rush_hour(peak)) == pytest.approx(0.0044, abs=5e-5)
    assert float(PAPER.rush_hour(peak)) == pytest.approx(0.266, abs=5e-4)
    for traffic, factors, sigmas, rates, delays in (
        (CODE, (0.500, 0.509), (0.300, 0.301), (1.7e-4, 3.2e-5), (0.131, 0.133)),
        (PAPER, (0.50, 1.03), (0.30, 0.353), (1.0e-2, 1.9e-3), (7.9, 16.9)),
    ):
        # by night there is a little of the morning's density left
        assert factor(traffic, night) == pytest.approx(factors[0], abs=3e-3)
        assert factor(traffic, peak) == pytest.approx(factors[1], abs=3e-3)
        assert sigma(traffic, night) == pytest.approx(sigmas[0], abs=6e-4)
        assert sigma(traffic, peak) == pytest.approx(sigmas[1], abs=6e-4)
        assert float(traffic.accident_rate(late)) == pytest.approx(rates[0], rel=0.03)
        assert float(traffic.accident_rate(day).mean()) == pytest.approx(rates[1], rel=0.03)
        assert long_leg(traffic, night) == pytest.approx(delays[0], rel=0.02)
        assert long_leg(traffic, peak) == pytest.approx(delays[1], rel=0.02)


def variation(traffic: Traffic, distance: float, clock: float) -> float:
    """The coefficient of variation of a way's time, in per cent, in closed form."""
    d, t = torch.tensor(distance).double(), torch.tensor(clock).double()
    sd = traffic.log_sd + traffic.log_sd_rush * float(traffic.rush_hour(t))
    mean = float(traffic.mean_delay(d, t))
    low, high = float(traffic.shortest_accident), float(traffic.longest_accident)
    second = (low * low + low * high + high * high) / 3
    variance = mean**2 * math.expm1(sd**2) + float(traffic.accident_rate(t)) * second
    return 100 * math.sqrt(variance) / (distance + mean + float(traffic.mean_accidents(t)))


def test_variation_of_times() -> None:
    """The published table's, in closed form and drawn."""
    # without accidents, where the table's figures are by day
    calm = {name: dataclasses.replace(PRESETS[name], accidents=0.0) for name in ("code", "paper")}
    assert variation(calm["code"], 300, 180) == pytest.approx(0.013, abs=6e-4)
    assert variation(calm["code"], 300, 480) == pytest.approx(0.014, abs=6e-4)
    assert variation(calm["paper"], 300, 180) == pytest.approx(0.8, abs=0.06)
    assert variation(calm["paper"], 300, 480) == pytest.approx(1.9, abs=0.06)
    assert variation(calm["paper"], 30, 180) == pytest.approx(3.2, abs=0.15)
    assert variation(calm["paper"], 30, 480) == pytest.approx(7.4, abs=0.15)
    assert variation(PAPER, 30, 1260) == pytest.approx(23, abs=1)
    for clock in (180.0, 480.0, 1260.0):
        line = Instance.vrp(
            coords=[[0.0, 0.0], [30.0, 0.0]], traffic=PAPER.row(), prices=Prices().row(), key=3
        )
        roads = ScenarioRoads.of(line, Scenarios(Split.TEST, 100_000))
        times = along(roads, 0, 1, torch.tensor([clock]).double())
        mean = along(MeanRoads(Map.of(line)), 0, 1, torch.tensor([clock]).double())
        error = 5 * float(times.std()) / math.sqrt(times.numel())
        assert float(times.mean()) == pytest.approx(float(mean), abs=error)
        drawn = 100 * float(times.std() / times.mean())
        assert drawn == pytest.approx(variation(PAPER, 30, clock), rel=0.05)


@pytest.mark.parametrize("name", PRESETS)
def test_who_leaves_later_arrives_later(name: str) -> None:
    """All day without accidents, and with them as long as they grow more frequent: the clock of an
    accident that is over is the only one that overtakes."""
    calm = dataclasses.replace(PRESETS[name], accidents=0.0)
    scenarios = Scenarios(Split.TEST, 200)
    day = torch.arange(0, 1440, 0.5, dtype=torch.float64)
    for traffic, clocks in ((calm, day), (PRESETS[name], day[day <= 1260])):
        one = instance(traffic)[:1]
        for a, b in ((0, 1), (2, 5), (4, 3)):
            arrival = clocks + along(ScenarioRoads.of(one, scenarios), a, b, clocks)
            assert float(arrival.diff(dim=1).min()) > 0


def test_the_steepest_fall_of_a_long_delay() -> None:
    """An hour each hour: 0.054 by the paper's factor alone, 0.062 of the mean, whose mu and sigma
    fall as well. Far from 1, where who leaves later would be there first."""
    clock = torch.arange(0, 1440, 0.25, dtype=torch.float64)
    far = torch.tensor(1e9).double()
    usual = PAPER.usual_delay(far, PAPER.rush_hour(clock))
    assert float((usual.diff() / 0.25).min()) == pytest.approx(-0.054, abs=5e-4)
    mean = PAPER.mean_delay(far, clock)
    assert float((mean.diff() / 0.25).min()) == pytest.approx(-0.062, abs=5e-4)


def test_days_and_zones_share_noise() -> None:
    """Correlations of the normal numbers behind two arcs: within a zone, across zones, and none
    in the paper's traffic."""
    clock = torch.zeros(1, dtype=torch.float64)
    scenarios = Scenarios(Split.TEST, 20_000)
    for traffic, within, across in ((CORRELATED, 0.6, 0.3), (PAPER, 0.0, 0.0)):
        calm = dataclasses.replace(traffic, accidents=0.0)
        line = Instance.vrp(
            coords=[[0.0, 0.0], [30.0, 0.0], [0.0, 30.0], [30.0, 30.0]],
            traffic=calm.row(),
            prices=Prices().row(),
            zone=[0, 1, 1, 2],
            key=3,
        )
        roads = ScenarioRoads.of(line, scenarios)
        free = {1: 30.0, 2: 30.0, 3: 30.0 * math.sqrt(2)}
        logs = [(along(roads, 0, j, clock)[:, 0] - free[j]).log() for j in (1, 2, 3)]
        found = torch.corrcoef(torch.stack(logs))
        assert float(found[0, 1]) == pytest.approx(within, abs=0.03)
        assert float(found[0, 2]) == pytest.approx(across, abs=0.03)
        # the marginal law is the same whatever is shared
        sd = float(traffic.log_sd) + float(traffic.log_sd_rush) * float(calm.rush_hour(clock))
        assert float(logs[0].std()) == pytest.approx(sd, rel=0.03)


def test_matrices_for_solvers() -> None:
    """The mean matrix is the mean of scenarios; a quantile is exceeded as often as it says, up to
    accidents; both are 0 on the diagonal."""
    calm = dataclasses.replace(PAPER, accidents=0.0)
    one = instance(calm)[:1]
    clock = torch.full((1, 1, 1), 500.0).double()
    mean, high = mean_matrix(one, clock), quantile_matrix(one, clock, 0.8)
    assert float(mean.diagonal(dim1=1, dim2=2).abs().sum()) == 0
    assert float(high.diagonal(dim1=1, dim2=2).abs().sum()) == 0
    roads = ScenarioRoads.of(one, Scenarios(Split.TEST, 20_000))
    times = along(roads, 2, 4, clock.flatten())
    assert float((times <= high[0, 2, 4]).double().mean()) == pytest.approx(0.8, abs=0.015)
    assert float(times.mean()) == pytest.approx(float(mean[0, 2, 4]), rel=0.003)
    assert day_clocks(one, 4).flatten().tolist() == [180, 540, 900, 1260]
    with pytest.raises(InputError, match="between 0 and 1"):
        quantile_matrix(one, clock, 1.0)


def test_what_is_refused() -> None:
    """Constants out of range, instances with half of what traffic needs."""
    with pytest.raises(InputError, match="rush_sd is 0"):
        Traffic(rush_sd=0.0)
    with pytest.raises(InputError, match="at most 1 together"):
        Traffic(day_share=0.7, zone_share=0.4)
    with pytest.raises(InputError, match="shortest <= longest"):
        Traffic(shortest_accident=200.0)
    with pytest.raises(InputError, match="the price lateness is -1"):
        Prices(lateness=-1.0)
    with pytest.raises(InputError, match="not both given"):
        Instance.vrp(coords=[[0.0, 0.0], [1.0, 1.0]], traffic=PAPER.row())
    flat = list((dataclasses.asdict(PAPER) | {"reach": 0.0}).values())
    with pytest.raises(InputError, match="reach is 0"):
        Instance.vrp(coords=[[0.0, 0.0], [1.0, 1.0]], traffic=flat, prices=Prices().row())
    with pytest.raises(InputError, match="has no traffic"):
        Map.of(Instance.vrp(coords=[[0.0, 0.0], [1.0, 1.0]]))
