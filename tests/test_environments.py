"""Environments against brute force, the independent checker, and by property."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nco.data.batching import collate, replace, unbatch
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.environment import Environment, State
from nco.envs.loads import Load
from nco.envs.variants import cvrp, tsp, vrp_variants
from nco.envs.vrp import VRP
from tests.small import best_cvrp_cost, best_tour_length, instances, random_rollout

CASES = [("tsp", tsp), ("atsp", tsp), ("cvrp", cvrp)]


def reachable_best(env: Environment, instance: Instance) -> float:
    """The cheapest complete trajectory, by walking the whole tree of allowed actions."""
    best = float("inf")

    def walk(state: State, actions: list[int]) -> None:
        nonlocal best
        if bool(env.done(state).all()):
            cost = env.cost(instance, torch.tensor(actions).view(1, 1, -1))
            best = min(best, float(cost))
            return
        for node in env.action_mask(state)[0, 0].nonzero().flatten().tolist():
            walk(env.step(state, torch.tensor([[node]])), [*actions, node])

    walk(env.reset(instance, 1), [])
    return best


@pytest.mark.parametrize("seed", range(3))
def test_tsp_reaches_the_optimum(seed: int) -> None:
    """The best tour that the environment allows is the best of all permutations."""
    for problem in ("tsp", "atsp"):
        instance = instances(problem, 7 if seed == 0 else 6, 1, seed)
        expected = best_tour_length(distance_matrix(instance)[0].double().tolist())
        assert reachable_best(tsp, instance) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_cvrp_reaches_the_optimum(seed: int) -> None:
    """The best routes that the environment allows are the best of all orders and cuts."""
    instance = replace(instances("cvrp", 5, 1, seed), {"capacity": torch.tensor([12.0])})
    assert reachable_best(cvrp, instance) == pytest.approx(best_cvrp_cost(instance), rel=1e-5)


@pytest.mark.parametrize(("problem", "env"), CASES)
@pytest.mark.parametrize("size", [5, 20, 50])
def test_random_rollouts_are_feasible_and_cost_what_the_checker_says(
    problem: str, env: Environment, size: int
) -> None:
    """Whatever the mask allows, the checker accepts, and both compute the same cost."""
    batch = instances(problem, size, 8, seed=size)
    actions = random_rollout(env, batch, 4, seed=1)
    costs = env.cost(batch, actions)
    for i, one in enumerate(unbatch(batch)):
        for s in range(4):
            routes, depots = routes_from_actions(one, actions[i, s])
            report = check_routes(one, routes, depots if depots != [-1] else None)
            assert report.feasible, report.violations
            assert float(costs[i, s]) == pytest.approx(report.cost, rel=1e-5)


@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_padding_changes_nothing(problem: str) -> None:
    """Instances of mixed sizes in one batch have the masks and costs that each has alone."""
    env = tsp if problem == "tsp" else cvrp
    singles = [instances(problem, size, 1, seed=size) for size in (4, 9, 6)]
    batch = collate(singles)
    actions = random_rollout(env, batch, 3, seed=2)
    costs = env.cost(batch, actions)
    for i, one in enumerate(singles):
        state, padded = env.reset(one, 3), env.reset(batch[i : i + 1], 3)
        for action in actions[i : i + 1].unbind(2):
            if bool(env.done(state).all()):
                break
            n = one.num_nodes
            assert torch.equal(env.action_mask(padded)[:, :, :n], env.action_mask(state))
            assert not bool(env.action_mask(padded)[:, :, n:].any())
            state, padded = env.step(state, action), env.step(padded, action)
        alone = env.cost(one, actions[i : i + 1])
        torch.testing.assert_close(costs[i : i + 1], alone)


@pytest.mark.parametrize(("problem", "env"), CASES)
def test_step_leaves_its_input_unchanged(problem: str, env: Environment) -> None:
    """Environments are pure: the state before a step is as it was."""
    instance = instances(problem, 8, 3)
    state = env.step(env.reset(instance, 2), torch.ones(3, 2, dtype=torch.int64))
    before = (
        state.current.clone(),
        state.unvisited.clone(),
        [v.clone() for values in state.used for v in values],
    )
    env.step(state, torch.full((3, 2), 2))
    env.action_mask(state)
    assert torch.equal(state.current, before[0])
    assert torch.equal(state.unvisited, before[1])
    after = [v for values in state.used for v in values]
    assert all(torch.equal(a, b) for a, b in zip(after, before[2], strict=True))


def test_permuting_customers_permutes_the_mask() -> None:
    """Names of customers do not matter."""
    instance = instances("cvrp", 9, 1, seed=4)
    order = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(9)])
    assert instance.coords is not None
    shuffled = replace(
        instance,
        {"coords": instance.coords[:, order], "linehaul": instance.linehaul[:, order]},
    )
    inverse = order.argsort()
    state, other = cvrp.reset(instance, 1), cvrp.reset(shuffled, 1)
    for node in (3, 7, 1):
        state = cvrp.step(state, torch.tensor([[node]]))
        other = cvrp.step(other, inverse[torch.tensor([[node]])])
        assert torch.equal(cvrp.action_mask(state)[:, :, order], cvrp.action_mask(other))


def test_scaling_coordinates_scales_the_cost_and_not_what_a_policy_sees() -> None:
    """Costs are in the instance's units; features have none once they leave the unit square."""
    instance = instances("cvrp", 9, 2, seed=5)
    assert instance.coords is not None
    big = replace(instance, {"coords": instance.coords * 1000 + 7})
    bigger = replace(instance, {"coords": instance.coords * 5000 + 35})
    actions = random_rollout(cvrp, instance, 2, seed=3)
    torch.testing.assert_close(cvrp.cost(big, actions), 1000 * cvrp.cost(instance, actions))
    torch.testing.assert_close(cvrp.node_features(big).values, cvrp.node_features(bigger).values)
    low = cvrp.node_features(big).values[:, :, :2].amin(1)
    high = cvrp.node_features(big).values[:, :, :2].amax(1)
    torch.testing.assert_close(low, torch.zeros(2, 2))
    torch.testing.assert_close(high.amax(1), torch.ones(2))


def test_capacity_by_hand() -> None:
    """Capacity 10, demands 6, 4, 5: after the 6 the 4 still fits and the 5 does not."""
    instance = Instance.vrp(
        coords=[[0, 0], [1, 0], [0, 1], [1, 1]], demand=[0, 6, 4, 5], capacity=10
    )
    state = cvrp.reset(instance, 1)
    assert cvrp.action_mask(state)[0, 0].tolist() == [False, True, True, True]
    state = cvrp.step(state, torch.tensor([[1]]))
    assert cvrp.action_mask(state)[0, 0].tolist() == [True, False, True, False]
    torch.testing.assert_close(cvrp.context_features(state), torch.tensor([[[0.4]]]))
    state = cvrp.step(state, torch.tensor([[2]]))
    assert cvrp.action_mask(state)[0, 0].tolist() == [True, False, False, False]
    state = cvrp.step(state, torch.tensor([[0]]))
    assert cvrp.action_mask(state)[0, 0].tolist() == [False, False, False, True]
    torch.testing.assert_close(cvrp.context_features(state), torch.tensor([[[1.0]]]))


def test_a_customer_that_no_vehicle_can_serve_is_never_offered() -> None:
    """`require` refuses such an instance; who does not ask gets a vehicle that waits, in it and
    not in others of the batch, and a solution that is never complete."""
    env = vrp_variants["vrpl"]
    coords = [[[0, 0], [3, 0], [1, 0]], [[0, 0], [2, 0], [1, 0]]]
    instance = Instance.vrp(
        coords=coords, demand=[[0, 6, 5]] * 2, capacity=[10.0] * 2, distance_limit=[4.0] * 2
    )
    state = env.reset(instance, 1)
    assert env.action_mask(state)[:, 0].tolist() == [[False, False, True], [False, True, True]]
    for node in (2, 0):
        state = env.step(state, torch.full((2, 1), node))
    assert env.action_mask(state)[:, 0].tolist() == [[True, False, False], [False, True, False]]
    state = env.step(env.step(state, torch.tensor([[0], [1]])), torch.zeros(2, 1).long())
    assert env.action_mask(state)[:, 0].tolist() == [[True, False, False]] * 2
    assert env.done(state).flatten().tolist() == [False, True]


def test_an_exactly_full_vehicle_is_allowed() -> None:
    """Demands of tenths that sum to the capacity fit, though float32 sums them to more than 1."""
    demand = torch.tensor([0.0, 0.1, 0.7, 0.2])
    instance = Instance.vrp(coords=torch.rand(4, 2), demand=demand, capacity=1.0)
    state = cvrp.reset(instance, 1)
    for node in (1, 2):
        state = cvrp.step(state, torch.tensor([[node]]))
    assert bool(cvrp.action_mask(state)[0, 0, 3])


def test_rounded_lengths_are_summed_by_arc() -> None:
    """With CVRPLIB's rounding the cost is the sum of rounded arcs: 1.41 -> 1, three of them."""
    instance = Instance.tsp(coords=[[0, 0], [1, 1], [2, 2]], rounding=Rounding.NEAREST)
    actions = torch.tensor([[[0, 1, 2]]])
    assert float(tsp.cost(instance, actions)) == 1 + 1 + 3


def test_an_attribute_that_the_rules_do_not_know_is_refused_by_name() -> None:
    """An environment never ignores a constraint."""
    coords, demand = torch.rand(4, 2), torch.tensor([0.0, 1, 1, 1])
    for name, value in (
        ("open routes", {"open_route": True}),
        ("distance limit", {"distance_limit": 3.0}),
        ("time windows", {"time_window": torch.tensor([[0.0, 5.0]] * 4)}),
        ("backhauls", {"backhaul": torch.tensor([0.0, 0, 1, 0])}),
        ("limited fleet", {"num_vehicles": 2}),
        ("several depots", {"num_depots": 2, "demand": torch.tensor([0.0, 0, 1, 1])}),
    ):
        arguments: dict[str, Any] = {"coords": coords, "demand": demand, "capacity": 5.0} | value
        with pytest.raises(ValueError, match=name):
            cvrp.require(Instance.vrp(**arguments))
    with pytest.raises(ValueError, match="capacity"):
        VRP(()).require(Instance.vrp(coords=coords, demand=demand, capacity=5.0))
    with pytest.raises(ValueError, match="depot"):
        tsp.require(Instance.vrp(coords=coords))
    VRP((Load(),)).require(Instance.vrp(coords=coords, demand=demand, capacity=5.0))


def test_starts_are_distinct_customers() -> None:
    """Multi-start begins once at every customer, and repeats in turn where an instance is small."""
    batch = collate([instances("cvrp", 4, 1), instances("cvrp", 6, 1)])
    starts = cvrp.start_actions(batch, 6)
    assert starts.squeeze(2).tolist() == [[1, 2, 3, 4, 1, 2], [1, 2, 3, 4, 5, 6]]
    batch = collate([instances("tsp", 4, 1), instances("tsp", 6, 1)])
    starts = tsp.start_actions(batch, 6)
    assert starts.squeeze(2).tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 3, 4, 5]]


def test_selecting_trajectories_selects_their_futures() -> None:
    """A state gathered along S goes on as the chosen trajectories would have."""
    instance = instances("cvrp", 6, 2)
    state = cvrp.step(cvrp.reset(instance, 3), torch.tensor([[1, 2, 3], [4, 5, 6]]))
    index = torch.tensor([[2, 0], [1, 1]])
    chosen = state.select(index)
    expanded = index.unsqueeze(2).expand(-1, -1, 7)
    assert torch.equal(cvrp.action_mask(chosen), cvrp.action_mask(state).gather(1, expanded))
    assert chosen.current.tolist() == [[3, 1], [5, 5]]
