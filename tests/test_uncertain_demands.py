"""Demands seen on arrival: laws, both recourse programmes, simulation, checker, decisions on the
way."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import stats

from nco.data.batching import collate, replace, unbatch
from nco.data.demand_laws import demand_cdf, demand_deviation, demand_pmf, realised_demands
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import DemandLaw, Instance, distance_matrix
from nco.data.noise import Scenarios, Split
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.demands_on_arrival import DemandsOnArrival
from nco.envs.recourse import expected_cost, recourse
from nco.envs.uncertain_demands import RecourseSimulation
from nco.envs.variants import cvrp, environments
from tests.draws import seeded
from tests.small import random_rollout

LAWS = (DemandLaw.POISSON, DemandLaw.NORMAL, DemandLaw.UNIFORM)


def draw(
    num_customers: int = 6,
    batch: int = 3,
    *,
    restocking: bool = True,
    capacity: int = 12,
    seed: int = 0,
    correlation: float = 0.0,
) -> Instance:
    """One instance of each law in turn, with a capacity small enough for routes to fail."""
    found = generate(
        "vrpsd" if restocking else "vrpsd-detour",
        num_customers=num_customers, batch=batch, generator=seeded(seed), capacity=capacity,
    )  # fmt: skip
    law = torch.tensor([int(LAWS[i % 3]) for i in range(batch)])
    return replace(
        found,
        {
            "demand_law": law,
            "demand_spread": found.linehaul * 0.5,
            "demand_correlation": torch.full((batch,), correlation),
        },
    )


def orders(num_customers: int) -> torch.Tensor:
    """Every sequence of the customers."""
    return torch.tensor(list(itertools.permutations(range(1, num_customers + 1))))


def test_laws_are_those_of_scipy() -> None:
    """Up to what the capacity cuts off; deviations are those of the cut laws."""
    batch = draw(9, 3, capacity=11)
    pmf = demand_pmf(demand_cdf(batch))
    torch.testing.assert_close(pmf.sum(2), torch.ones(3, 10, dtype=torch.float64))
    assert batch.demand_spread is not None
    k = torch.arange(11)
    for node in range(1, 10):
        mean = batch.linehaul[:, node].tolist()
        spread = batch.demand_spread[:, node].tolist()
        low, high = round(mean[2] - spread[2]), round(mean[2] + spread[2])
        uniform = [float(low <= i <= high) / (high - low + 1) for i in range(11)]
        normal = stats.norm(mean[1], spread[1])
        around = [normal.cdf(i + 0.5) - (normal.cdf(i - 0.5) if i else 0) for i in range(11)]
        for row, expected in enumerate((stats.poisson.pmf(k, mean[0]), around, uniform)):
            found = pmf[row, node, :11].tolist()
            assert found == pytest.approx(list(expected)[: len(found)], abs=1e-11)
    noisy = Scenarios(Split.TEST, 4000)
    demand = realised_demands(batch, noisy).double()
    error = demand_deviation(batch).double() / math.sqrt(4000)
    wide = torch.arange(pmf.shape[2], dtype=torch.float64)
    assert bool(((demand.mean(1) - (pmf * wide).sum(2)).abs() <= 4.5 * error + 1e-9).all())
    torch.testing.assert_close(
        demand.std(1)[:, 1:], demand_deviation(batch)[:, 1:].double(), rtol=0.06, atol=0.01
    )
    tied = realised_demands(draw(9, 3, correlation=0.6), noisy).double()
    for free, bound in ((demand[0, :, 1:], (-0.08, 0.08)), (tied[0, :, 1:], (0.3, 0.75))):
        pairs = torch.corrcoef(free.T)[0, 1:]
        assert bound[0] < float(pairs.min())
        assert float(pairs.max()) < bound[1]


def by_all_demands(instance: Instance, route: list[int]) -> float:
    """The mean over all vectors of demands of following a route one way, without restocking."""
    d = distance_matrix(instance)[0].double().tolist()
    pmf = demand_pmf(demand_cdf(instance))[0].tolist()
    full = int(instance.capacity)
    total = 0.0
    for demands in itertools.product(*(range(len(pmf[node])) for node in route)):
        chance = math.prod(pmf[node][k] for node, k in zip(route, demands, strict=True))
        load, length = full, 0.0
        for i, (node, asked) in enumerate(zip(route, demands, strict=True)):
            length += d[route[i - 1] if i else 0][node]
            load -= asked
            if load < 0:
                length += d[node][0] + d[0][node]
                load += full
        total += chance * (length + d[route[-1]][0])
    return total


def test_detour_is_the_mean_over_all_demands() -> None:
    """By enumeration of the demands, in the better of two directions that differ."""
    batch = draw(3, 3, restocking=False, capacity=9)
    found = expected_cost(batch, torch.tensor([[[1, 2, 3], [2, 1, 3]]]).expand(3, 2, 3))
    differ = 0
    for i, one in enumerate(unbatch(batch)):
        for p, route in enumerate(([1, 2, 3], [2, 1, 3])):
            both = by_all_demands(one, route), by_all_demands(one, route[::-1])
            assert float(found[i, p]) == pytest.approx(min(both), rel=1e-6)
            differ += abs(both[0] - both[1]) > 1e-3
    assert differ > 2


def best_closed_loop(instance: Instance, route: list[int]) -> float:
    """The cheapest way to follow a sequence, by trying both decisions at every load."""
    d = distance_matrix(instance)[0].double().tolist()
    pmf = demand_pmf(demand_cdf(instance))[0].tolist()
    full = int(instance.capacity)

    def after(i: int, load: int) -> float:
        if i == len(route):
            return d[route[-1]][0]
        here, node = (route[i - 1] if i else 0), route[i]

        def arrive(load: int) -> float:
            total = 0.0
            for asked, chance in enumerate(pmf[node]):
                rest, extra = load - asked, 0.0
                if rest < 0:
                    rest, extra = rest + full, d[node][0] + d[0][node]
                if chance:
                    total += chance * (extra + after(i + 1, rest))
            return total

        return min(d[here][node] + arrive(load), d[here][0] + d[0][node] + arrive(full))

    return after(0, full)


def test_restocking_is_the_best_of_all_policies() -> None:
    """Against a recursion of its own, and never above the detours."""
    batch = draw(3, 3, capacity=9, seed=1)
    plans = orders(3).expand(3, 6, 3)
    found = expected_cost(batch, plans)
    plain = expected_cost(replace(batch, {"restocking": torch.zeros(3, dtype=torch.bool)}), plans)
    assert bool((found <= plain + 1e-9).all())
    assert bool((found < plain - 1e-3).any())
    for i, one in enumerate(unbatch(batch)):
        for p in (0, 3):
            route = plans[i, p].tolist()
            both = best_closed_loop(one, route), best_closed_loop(one, route[::-1])
            assert float(found[i, p]) == pytest.approx(min(both), rel=1e-6)


@pytest.mark.parametrize("restocking", [True, False])
@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_simulation_and_checker_agree_with_the_programme(
    restocking: bool, correlation: float
) -> None:
    """Random plans of several routes: the mean over scenarios within its standard error, and the
    checker's own loops to the digits of float32 instances."""
    batch = draw(7, 3, restocking=restocking, correlation=correlation, seed=4)
    env = environments["vrpsd"]
    plans = random_rollout(env, batch, 3, seed=1)
    exact = expected_cost(batch, plans)
    torch.testing.assert_close(env.cost(batch, plans).double(), exact, rtol=1e-6, atol=0)
    outcomes = RecourseSimulation().outcomes(batch, plans, Scenarios(Split.TEST, 3000))
    error = outcomes.cost.std(2) / math.sqrt(3000)
    assert bool(((outcomes.cost.mean(2) - exact).abs() < 4 * error + 1e-6).all())
    # the parts are what they are called
    walked = cvrp.cost(batch, plans).double()
    torch.testing.assert_close(outcomes.parts[:, :, 0, 0], walked, rtol=1e-5, atol=1e-5)
    restockings, failures, _ = outcomes.measures.unbind(3)
    assert bool(((outcomes.parts[..., 1] == 0) | (restockings > 0)).all())
    assert bool(restockings.any()) == restocking
    assert bool(failures.any())
    for i, one in enumerate(unbatch(batch)):
        # the mean over a common factor takes plain loops long
        for p in range(1 if correlation else 3):
            routes, depots = routes_from_actions(one, plans[i, p])
            report = check_routes(one, routes, depots)
            assert report.feasible, report.violations
            assert report.cost == pytest.approx(float(exact[i, p]), rel=1e-5)


@pytest.mark.parametrize("restocking", [True, False])
def test_the_best_sequence_is_the_best_in_simulation(restocking: bool) -> None:
    """Over all 120 sequences of 5 customers the programme's order is the simulation's, up to its
    standard error; a sequence and its reverse cost the same."""
    batch = draw(5, 3, restocking=restocking, capacity=10, seed=8)
    plans = orders(5).expand(3, 120, 5)
    exact = expected_cost(batch, plans)
    torch.testing.assert_close(exact, expected_cost(batch, plans.flip(2)))
    cost = RecourseSimulation().outcomes(batch, plans, Scenarios(Split.TEST, 500)).cost
    best = exact.argmin(1)
    chosen = cost[torch.arange(3), best]
    gaps = chosen.unsqueeze(1) - cost
    error = gaps.std(2) / math.sqrt(500)
    assert bool((gaps.mean(2) <= 4 * error + 1e-9).all())
    torch.testing.assert_close(cost.mean(2), exact, rtol=0.08, atol=0)


def test_a_certain_demand_that_fits_costs_the_route() -> None:
    """Without spread and with room there is no recourse; the directions of research's example
    differ in what they cost where there is none."""
    certain = Instance.vrp(
        coords=[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], demand=[0, 3, 3, 3], capacity=9,
        demand_law=2, demand_spread=[0, 0, 0, 0], demand_correlation=0, restocking=False,
    )  # fmt: skip
    assert float(expected_cost(certain, torch.tensor([[[1, 2, 3, 0]]]))) == pytest.approx(4)
    short = replace(certain, {"capacity": torch.tensor([6.0], dtype=torch.float64)})
    # the third customer is reached empty: there and back
    assert float(expected_cost(short, torch.tensor([[[1, 2, 3, 0]]]))) == pytest.approx(6)
    early = replace(short, {"restocking": torch.tensor([True])})
    # early from customer 2, diagonally, saves the way back to customer 3
    assert recourse(early, torch.tensor([[[1, 2, 3]]])).turn_back[0, 0, 2, 0]
    assert float(expected_cost(early, torch.tensor([[[1, 2, 3]]]))) == pytest.approx(4 + 2**0.5)


def test_batches_change_nothing() -> None:
    """Other sizes, capacities and laws beside an instance, and other plans beside a plan."""
    singles = [draw(n, 1, capacity=c, seed=n) for n, c in ((4, 10), (7, 25), (5, 14))]
    batch, env = collate(singles), environments["vrpsd"]
    plans = random_rollout(env, batch, 2, seed=2)
    together = expected_cost(batch, plans)
    scenarios = Scenarios(Split.TEST, 20)
    simulated = RecourseSimulation().outcomes(batch, plans, scenarios).cost
    for i, one in enumerate(singles):
        for p in range(2):
            own = plans[i : i + 1, p : p + 1]
            alone = expected_cost(one, own)
            torch.testing.assert_close(together[i : i + 1, p : p + 1], alone)
            cost = RecourseSimulation().outcomes(one, own, scenarios).cost
            torch.testing.assert_close(simulated[i : i + 1, p : p + 1], cost)


def followed(instance: Instance, nodes: list[int], demands: list[int]) -> tuple[float, list[bool]]:
    """A day in plain numbers: the length, and for each step whether it was allowed."""
    d = distance_matrix(instance)[0].double().tolist()
    load, here, length = int(instance.capacity), 0, 0.0
    left, allowed = list(demands), []
    missing = set(range(1, len(demands)))
    for node in nodes:
        if node == 0:
            allowed.append(here != 0 or not missing)
            load = int(instance.capacity)
        else:
            allowed.append(load > 0 and node in missing)
            given = min(load, left[node])
            load, left[node] = load - given, left[node] - given
            if left[node] == 0:
                missing.discard(node)
        length += d[here][node]
        here = node
    return length + d[here][0], [*allowed, not missing]


def test_decisions_on_the_way_follow_the_rules() -> None:
    """Random days in every world, against a walk in plain numbers; the mask's complement is what
    the walk forbids; noise is not seen before arrival."""
    batch = draw(6, 3, capacity=9, seed=3)
    worlds = Scenarios(Split.TEST, 3)
    env = DemandsOnArrival(worlds)
    env.require(batch)
    actions = random_rollout(env, batch, 6, seed=1)
    costs, demands = env.cost(batch, actions), realised_demands(batch, worlds)
    splits = 0
    for i, one in enumerate(unbatch(batch)):
        for s in range(6):
            nodes, found = actions[i, s].tolist(), demands[i, s % 3].tolist()
            length, allowed = followed(one, nodes, found)
            assert all(allowed)
            assert float(costs[i, s]) == pytest.approx(length, rel=1e-5)
            splits += len([n for n in nodes if n]) > 6
    assert splits
    state = env.reset(batch, 3)
    done: list[int] = []
    for action in actions[:, :3].unbind(2):
        mask = env.action_mask(state)
        for node in range(7):
            trial = followed(batch[:1], [*done, node], demands[0, 0].tolist())[1]
            # a depot that is waited at only ends a day that is over
            assert bool(mask[0, 0, node]) == trial[len(done)]
        state = env.step(state, action)
        done.append(int(action[0, 0]))
    first, other = DemandsOnArrival(Scenarios(Split.TRAIN, 1)), DemandsOnArrival(worlds)
    a, b = (e.observe(e.reset(batch, 1)) for e in (first, other))
    assert torch.equal(a.features, b.features)
    assert torch.equal(first.node_features(batch).values, other.node_features(batch).values)


def test_what_is_left_is_seen() -> None:
    """Of the customer that was left with a part of its demand: where and how much."""
    instance = Instance.vrp(
        coords=[[0.0, 0.0], [0.2, 0.6], [1.0, 1.0]], demand=[0, 3, 5], capacity=6, key=4,
        demand_law=2, demand_spread=[0, 0, 0], demand_correlation=0, restocking=True,
    )  # fmt: skip
    env = DemandsOnArrival()
    state = env.reset(instance, 2)
    for actions in ([1, 2], [2, 1]):
        state = env.step(state, torch.tensor([actions]))
    seen = env.observe(state)
    expected = [[0, 2 / 6, 1, 1], [0, 2 / 6, 0.2, 0.6]]
    torch.testing.assert_close(seen.features[0], torch.tensor(expected))
    assert seen.mask[0].tolist() == [[True, False, False]] * 2
    chosen = state.select(torch.tensor([[1, 0]]))
    assert torch.equal(env.observe(chosen).features, seen.features.flip(1))
    for actions in ([0, 0], [2, 1], [0, 0]):
        state = env.step(state, torch.tensor([actions]))
    assert bool(env.done(state).all())
    assert env.observe(state).features[0, :, 1:].eq(0).all()


def test_bad_input_is_told() -> None:
    """Laws that are missing, unknown or given for what has none."""
    base = {
        "coords": [[0.0, 0.0], [1.0, 0.0]], "demand": [0, 2], "capacity": 5, "demand_law": 1,
        "demand_spread": [0, 0], "demand_correlation": 0, "restocking": True,
    }  # fmt: skip
    instance = Instance.vrp(**base)
    for change, words in (
        ({"demand_law": 4}, r"demand_law of instance 0 is 4; accepted: 1 .POISSON., 2"),
        ({"demand_correlation": 1}, "demand_correlation of instance 0 is 1.0"),
        ({"capacity": 5.5}, "capacity .with uncertain demands. of instance 0 is 5.5; accepted: a"),
        ({"capacity": None}, "capacity .with uncertain demands. of instance 0 is inf"),
        ({"restocking": None}, "restocking is missing; accepted: all of demand_law"),
        ({"demand_spread": [1, 0]}, "demand_spread .a depot's."),
    ):
        with pytest.raises(InputError, match=words):
            Instance.vrp(**{**base, **change})
    with pytest.raises(InputError, match="uncertain demands"):
        cvrp.require(instance)
    opened = Instance.vrp(**{**base, "open_route": True})
    for refused in (environments["vrpsd"].require, lambda i: check_routes(i, [[1]])):
        with pytest.raises(InputError, match="open routes"):
            refused(opened)
    plain = generate("cvrp", num_customers=3, batch=1, generator=seeded())
    with pytest.raises(InputError, match="capacity is 1001; accepted for vrpsd: at most 1000"):
        generate("vrpsd", num_customers=3, batch=1, generator=seeded(), capacity=1001)
    with pytest.raises(InputError, match="no laws of demands"):
        environments["vrpsd"].require(plain)
    with pytest.raises(InputError, match="no key"):
        environments["vrpsd-adaptive"].require(instance)
