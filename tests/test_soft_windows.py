"""Routes with soft windows: against a plain simulation, by hand, and independent of who asks."""

from __future__ import annotations

import pytest
import torch

from nco.data.batching import collate, replace
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.prices import PRICES, Prices
from nco.data.traffic import Traffic
from nco.envs.scenario_cost import outcomes_in_parts
from nco.envs.soft_windows import MEASURES, SoftWindowCost, mean_outcomes
from tests.day_oracle import Day
from tests.draws import seeded
from tests.test_service_days import days

COST = SoftWindowCost()
TEST = Scenarios(Split.TEST, 5, seed=3, first=7)


def random_plans(instance: Instance, count: int, seed: int = 0, share: float = 1.0) -> torch.Tensor:
    """Customers in random order with random depots between, some left out, padded."""
    generator, plans = seeded(seed), []
    length = 2 * instance.num_nodes
    for b in range(instance.batch_size[0]):
        depots, nodes = int(instance.num_depots[b]), int(instance.valid[b].sum())
        for _ in range(count):
            plan: list[int] = []
            for node in (torch.randperm(nodes - depots, generator=generator) + depots).tolist():
                if float(torch.rand((), generator=generator)) > share:
                    continue
                if float(torch.rand((), generator=generator)) < 0.4:
                    plan.append(int(torch.randint(depots, (), generator=generator)))
                plan.append(node)
            plans.append(plan + [0] * (length - len(plan)))
    return torch.tensor(plans).view(-1, count, length)


@pytest.mark.parametrize("problem", ["svrptw", "mdsvrptw"])
@pytest.mark.parametrize("preset", ["svrpbench-paper", "svrpbench-code", "correlated"])
def test_outcomes_are_those_of_a_plain_simulation(problem: str, preset: str) -> None:
    """Every part and measure of whole and of partial plans, in scenarios and on average, in a
    batch with padding."""
    instance = collate([days(problem, preset, 9, 1), days(problem, preset, 6, 1, seed=4)])
    plans = random_plans(instance, 3, share=0.9)
    found, mean = COST.outcomes(instance, plans, TEST), mean_outcomes(instance, plans)
    for b in range(2):
        for p in range(3):
            for s in range(-1, TEST.count):
                day = Day(instance, b, TEST if s >= 0 else None, s)
                parts, measures = day.priced(plans[b, p].tolist())
                got = mean if s < 0 else found
                expected = [parts[name] for name in PRICES]
                assert got.parts[b, p, max(s, 0)].tolist() == pytest.approx(expected, abs=1e-6)
                expected = [measures[name] for name in MEASURES]
                assert got.measures[b, p, max(s, 0)].tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(found.cost, found.parts.sum(3))


CALM = Traffic(delay=0.0, accidents=0.0)
BY_HAND = Prices(travel=1.0, waiting=0.5, lateness=3.0, overtime=4.0, route=10.0, unserved=100.0)


def by_hand() -> Instance:
    """On a line, without delays: customers at 10, 20 and 5 in the other direction."""
    return Instance.vrp(
        coords=[[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [-5.0, 0.0]],
        time_window=[[0.0, 100.0], [30.0, 40.0], [35.0, 38.0], [1500.0, 1510.0]],
        service_time=[0.0, 4.0, 0.0, 1.0],
        traffic=CALM.row(),
        prices=BY_HAND.row(),
        key=1,
    )


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        # leaves at 20, serves 1 from 30 to 34, is at 2 at 44, 6 late, home at 64
        ([1, 2], (40.0, 0.0, 18.0, 0.0, 10.0, 100.0)),
        # leaves at 15, is at 2 at 35 and at 1 at 45, 5 late, home at 59
        ([2, 1], (40.0, 0.0, 15.0, 0.0, 10.0, 100.0)),
        # two routes: both on time
        ([1, 0, 2], (60.0, 0.0, 0.0, 0.0, 20.0, 100.0)),
        # leaves at 20, waits at 3 from 49 to 1500 although a day has 1440 minutes, home at 1506
        ([1, 3], (30.0, 725.5, 0.0, 5624.0, 10.0, 100.0)),
        # leaves at 1495: 1470 late at 1, which would be on time on the next day
        ([3, 1], (30.0, 0.0, 4428.0, 5720.0, 10.0, 100.0)),
        ([], (0.0, 0.0, 0.0, 0.0, 0.0, 300.0)),
    ],
)
def test_prices_by_hand(plan: list[int], expected: tuple[float, ...]) -> None:
    """The clock is absolute: what is late stays late after midnight."""
    padded = torch.tensor([[plan + [0] * (6 - len(plan))]])
    parts = COST.outcomes(by_hand(), padded, Scenarios(Split.TEST, 1)).parts[0, 0, 0]
    assert parts.tolist() == pytest.approx(list(expected))


def test_noise_does_not_depend_on_who_asks() -> None:
    """To the bit: a plan among others or alone, an instance in a batch or alone, scenarios in one
    part or in several, turned coordinates, and the order of a plan's routes."""
    instance = days("svrptw", "correlated", 8, 3)
    plans = random_plans(instance, 4)
    whole = COST.outcomes(instance, plans, TEST).parts
    assert torch.equal(COST.outcomes(instance[1:2], plans[1:2, 2:3], TEST).parts, whole[1:2, 2:3])
    parts = outcomes_in_parts(COST, instance, plans, TEST, most=plans.numel() * 2)
    assert torch.equal(parts.parts, whole)
    assert instance.coords is not None
    turned = replace(instance, {"coords": instance.coords.flip(2)})
    assert torch.allclose(COST.outcomes(turned, plans, TEST).parts, whole, atol=1e-3)
    routes = torch.tensor([[[1, 2, 0, 3, 4, 5, 0, 6, 7, 8], [3, 4, 5, 0, 6, 7, 8, 0, 1, 2]]] * 3)
    cost = COST.outcomes(instance, routes, TEST).cost
    assert torch.allclose(cost[:, 0], cost[:, 1], rtol=1e-12)


def test_splits_are_different_worlds() -> None:
    """And all of them have the same mean, within errors."""
    instance = days("svrptw", "correlated", 8, 1)
    plans = random_plans(instance, 1)
    costs = [COST.outcomes(instance, plans, Scenarios(s, 4000)).cost.flatten() for s in Split]
    assert len(torch.cat(costs).unique()) > 11_000
    for cost in costs[1:]:
        error = float((costs[0].var() + cost.var()).sqrt()) / 4000**0.5
        assert abs(float(cost.mean() - costs[0].mean())) < 5 * error


def test_without_chance_scenarios_are_the_mean() -> None:
    """A log-normal without spread and no accidents: every scenario is the mean one."""
    instance = days("svrptw", "svrpbench-paper", 8, 2)
    row = Traffic(log_sd=0.0, log_sd_rush=0.0, accidents=0.0).row()
    sure = replace(instance, {"traffic": torch.tensor([row] * 2)})
    plans = random_plans(sure, 2)
    found = COST.outcomes(sure, plans, TEST).parts
    assert torch.allclose(found, mean_outcomes(sure, plans).parts.expand_as(found), rtol=1e-12)


def test_what_is_refused() -> None:
    """Customers visited twice, unknown nodes, padding, instances without traffic."""
    one = by_hand()
    for plan, words in (([1, 2, 1], "visits node 1 2 times"), ([1, 9, 0], "unknown nodes")):
        with pytest.raises(InputError, match=words):
            COST.outcomes(one, torch.tensor([[plan]]), TEST)
    padded = collate([days("svrptw", "correlated", 3, 1), days("svrptw", "correlated", 5, 1)])
    with pytest.raises(InputError, match="of instance 0 visits node 5"):
        COST.outcomes(padded, torch.tensor([[[5]], [[5]]]), TEST)
    bare = Instance.vrp(coords=[[0.0, 0.0], [1.0, 1.0]], key=1)
    with pytest.raises(InputError, match="has no traffic"):
        COST.outcomes(bare, torch.tensor([[[1]]]), TEST)
    with pytest.raises(InputError, match="has no key"):
        COST.outcomes(replace(one, {"key": None}), torch.tensor([[[1]]]), TEST)
