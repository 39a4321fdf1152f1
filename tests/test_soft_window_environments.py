"""Rules with a clock: against the simulation, for what they show, and how scenarios are dealt."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nco.data.batching import collate, replace
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.prices import PRICES
from nco.envs.adaptive_windows import AdaptiveSoftWindows, soft_window_rules
from nco.envs.environment import Environment
from nco.envs.resources import Move
from nco.envs.soft_time import SoftTime
from nco.envs.soft_windows import SoftWindowCost, mean_outcomes
from nco.envs.variants import environments, scenario_costs
from nco.likelihood import log_likelihood
from nco.rollout import rollout
from nco.strategies import Sampling
from tests.day_oracle import Day, routes_of
from tests.draws import seeded
from tests.policies import small_policy
from tests.small import random_rollout
from tests.test_service_days import days

WORLDS = Scenarios(Split.SELECTION, 3, seed=2, first=4)


def batch(problem: str, preset: str = "correlated") -> Instance:
    """Two instances, one of them padded."""
    return collate([days(problem, preset, 7, 1), days(problem, preset, 5, 1, seed=3)])


def clocks(instance: Instance, which: int, day: Day, plan: list[int]) -> list[float]:
    """The starts of service along a plan, by plain Python."""
    windows = instance.time_window[which].double().tolist()
    service = instance.service_time[which].double().tolist()
    depots, here, fresh = int(instance.num_depots[which]), 0, True
    clock, found = windows[0][0], []
    for node in plan:
        if node < depots:
            clock, fresh = windows[node][0], True
        else:
            if fresh:
                clock = max(clock, windows[node][0] - day.free(here, node))
            clock = max(clock + day.time(here, node, clock), windows[node][0])
            fresh = False
        found.append(clock)
        clock += service[node] * (node >= depots)
        here = node
    return found


@pytest.mark.parametrize("problem", ["svrptw", "mdsvrptw"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_the_clock_seen_is_that_of_the_simulation(problem: str, adaptive: bool) -> None:
    """Along random trajectories, in each trajectory's own scenario or on average; the cost is the
    simulation's, and plans keep capacities."""
    instance, s = batch(problem), 6
    env: Environment = environments[problem]
    several = problem == "mdsvrptw"
    if adaptive:
        env = AdaptiveSoftWindows(WORLDS, several_depots=several)
    env.require(instance)
    actions = random_rollout(env, instance, s, seed=1)
    state = env.reset(instance, s)
    column = env.context_feature_names.index("service_start")
    seen = []
    for action in actions.unbind(2):
        state = env.step(state, action)
        seen.append(env.context_features(state)[:, :, column])
    horizon = instance.time_window[:, :, 1].amax(1)
    costs = env.cost(instance, actions)
    for b in range(2):
        for i in range(s):
            day = Day(instance, b, WORLDS, i % 3) if adaptive else Day(instance, b)
            plan = actions[b, i].tolist()
            shown = [float(clock[b, i] * horizon[b]) for clock in seen]
            assert shown == pytest.approx(clocks(instance, b, day, plan), abs=1e-2)
            assert float(costs[b, i]) == pytest.approx(sum(day.priced(plan)[0].values()), rel=1e-5)
            for _, route in routes_of(plan, int(instance.num_depots[b])):
                load = float(instance.linehaul[b, route].sum())
                assert load <= float(instance.capacity[b]) * (1 + 1e-6)


def test_costs_are_those_of_the_registered_simulation() -> None:
    """Under mean travel times, and an adaptive trajectory's in its own scenario."""
    instance = batch("svrptw")
    actions = random_rollout(environments["svrptw"], instance, 4, seed=5)
    mean = mean_outcomes(instance, actions).cost[:, :, 0]
    assert torch.allclose(environments["svrptw"].cost(instance, actions), mean.float())
    simulation = scenario_costs["svrptw"]
    assert isinstance(simulation, SoftWindowCost)
    assert simulation.part_names == PRICES
    each = simulation.outcomes(instance, actions, dataclasses.replace(WORLDS, count=4)).cost
    one = AdaptiveSoftWindows(dataclasses.replace(WORLDS, count=4)).cost(instance, actions)
    assert torch.allclose(one, each.diagonal(dim1=1, dim2=2).float())


def test_hidden_noise_is_not_shown() -> None:
    """Before a way is gone, what is observed is the same in all scenarios: the mask, the node
    features, and the context at the start."""
    instance = batch("svrptw")
    views = []
    for seed in (1, 2):
        env = AdaptiveSoftWindows(Scenarios(Split.TEST, 6, seed=seed))
        state = env.reset(instance, 6)
        seen = env.observe(state)
        assert torch.equal(seen.features, seen.features[:, :1].expand_as(seen.features))
        views.append((seen.features, seen.mask, env.node_features(instance).values))
        customer = torch.full((2, 6), 2)
        later = env.observe(env.step(state, customer))
        # a realised clock, another in each scenario
        assert len(later.features[0, :, -1].unique()) == 6
        assert torch.equal(later.mask, later.mask[:, :1].expand_as(later.mask))
    for first, second in zip(*views, strict=True):
        assert torch.equal(first, second)


def test_trajectories_keep_their_scenario_when_they_are_selected() -> None:
    """A search that drops and doubles trajectories goes on in the worlds that they began in."""
    instance = batch("svrptw")
    env = AdaptiveSoftWindows(WORLDS)
    state = env.reset(instance, 3)
    order = torch.tensor([[2, 0, 2], [1, 1, 0]])
    customer = torch.tensor([[1, 2, 3], [4, 5, 1]])
    moved = env.step(state.select(order), customer.gather(1, order))
    expected = env.step(state, customer).select(order)
    for values, others in zip(moved.used, expected.used, strict=True):
        for value, other in zip(values, others, strict=True):
            assert torch.equal(value, other)


def test_one_step_is_the_look_at_all_nodes() -> None:
    """The extension to all nodes has the values of the extension to each."""
    instance = batch("mdsvrptw")
    for clock in (SoftTime(), SoftTime(WORLDS)):
        env = soft_window_rules(clock, several_depots=True)
        state = env.reset(instance, 3)
        for action in ([0, 1, 2], [4, 5, 6]):
            state = env.step(state, torch.tensor([action] * 2))
        tables = state.problem.tables[1]
        assert tables is not None
        used = tuple(v.unsqueeze(2) for v in state.used[1])
        whole = clock.extend(tables, used, Move(state.current))[0]
        for node in range(instance.num_nodes):
            to = torch.full_like(state.current, node)
            one = clock.extend(tables, used, Move(state.current, to))[0]
            assert torch.equal(one.squeeze(2), whole[:, :, node])


@pytest.mark.parametrize("problem", ["svrptw-adaptive", "mdsvrptw-adaptive", "svrptw"])
def test_policies_score_what_they_did(problem: str) -> None:
    """A replay meets the same world, so the likelihood step by step is that all at once."""
    env, instance = environments[problem], batch(problem)
    policy = small_policy("pomo", env)
    starts = env.start_actions(instance, 5)
    trajectories = [
        rollout(
            env, policy, instance, Sampling(), num_trajectories=5, starts=starts,
            generator=seeded(3), record=record,
        )
        for record in (True, False)
    ]  # fmt: skip
    kept, replayed = (log_likelihood(policy, env, instance, t) for t in trajectories)
    assert torch.allclose(kept, replayed, atol=1e-5)
    assert len(trajectories[0].costs[0].unique()) > 1


def test_what_is_refused() -> None:
    """Days for rules with hard windows, and other problems for rules with soft ones."""
    instance = batch("svrptw")
    with pytest.raises(InputError, match="has soft time windows and traffic"):
        environments["vrptw"].require(instance)
    with pytest.raises(InputError, match="several depots"):
        environments["svrptw"].require(batch("mdsvrptw"))
    for name in ("svrptw-adaptive", "svrptw"):
        with pytest.raises(InputError, match="has no traffic"):
            environments[name].require(replace(instance, {"traffic": None, "prices": None}))
    with pytest.raises(InputError, match="has no key"):
        environments["svrptw-adaptive"].require(replace(instance, {"key": None}))
