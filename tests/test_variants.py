"""The 48 VRP variants: by brute force, by the checker, by stored solutions, by hand."""

from __future__ import annotations

import dataclasses
import functools
import os

import pytest
import torch

from nco.data.batching import collate, pad, replace, unbatch, with_dtype
from nco.data.errors import InputError
from nco.data.generators import shortest_paths
from nco.data.instance import Instance, is_customer
from nco.data.multi_task import VARIANTS, Variant, multi_task_instances, variant_by_name
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.environment import Environment
from nco.envs.loads import BackhaulLoad, Load, Precedence
from nco.envs.travel import Distance, Time
from nco.envs.variants import cvrp, multi_task, vrp_variants
from nco.envs.vrp import VRP
from tests.multi_task import TIGHT, best_route_sets_cost, small
from tests.small import random_rollout

THOROUGH = "NCO_THOROUGH" in os.environ
"""Ten times as many rollouts of each variant, 1,000, and brute force with six customers: minutes.
NCO_THOROUGH=1 pytest tests/test_variants.py"""

BY_NAME = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)


def assert_checker_agrees(env: Environment, batch: Instance, actions: torch.Tensor) -> None:
    """Every trajectory is feasible for the checker, and costs what it says."""
    costs = env.cost(batch, actions).double()
    for one, taken, found in zip(unbatch(batch), actions, costs, strict=True):
        reports = [check_routes(one, *routes_from_actions(one, path)) for path in taken]
        assert [v for report in reports for v in report.violations] == []
        expected = torch.tensor([report.cost for report in reports], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def reachable_best(env: Environment, instance: Instance) -> float:
    """The cheapest complete trajectory: the whole tree of allowed actions, a level at a time."""
    state = env.reset(instance, 1)
    actions = torch.zeros(1, 1, 0, dtype=torch.int64)
    while not bool(env.done(state).all()):
        index, node = env.action_mask(state)[0].nonzero().T.unsqueeze(1)
        actions = torch.cat((actions[:, index[0]], node.unsqueeze(2)), 2)
        state = env.step(state.select(index), node)
    return float(env.cost(instance, actions).min())


def matrices(batch: Instance, seed: int) -> Instance:
    """The same instances with asymmetric distances and other, asymmetric durations."""
    generator = torch.Generator().manual_seed(seed)
    b, n = batch.valid.shape
    travel = shortest_paths(0.1 + torch.rand(2 * b, n, n, generator=generator))
    travel.diagonal(dim1=1, dim2=2).zero_()
    distance, duration = travel.chunk(2)
    return replace(batch, {"coords": None, "distance": distance, "duration": duration})


def test_every_combination_has_one_name() -> None:
    """48 names; the familiar ones mean what they say, and an unknown one is refused."""
    assert len(vrp_variants) == 48
    assert vrp_variants["cvrp"] == cvrp == VRP((Load(),))
    assert vrp_variants["vrptw"] == VRP((Load(), Time()))
    assert vrp_variants["ovrpbl"] == VRP(
        (BackhaulLoad(mixed=False), Precedence(), Distance()), open_routes=True
    )
    assert vrp_variants["vrpmb"] == VRP((BackhaulLoad(),))
    assert vrp_variants["mdcvrp"] == VRP((Load(),), several_depots=True)
    assert variant_by_name("mdovrpmbltw") == Variant("mb", True, True, True, True)
    with pytest.raises(InputError, match="vrpx"):
        variant_by_name("vrpx")


@BY_NAME
def test_random_rollouts_are_feasible(variant: Variant) -> None:
    """Whatever the variant's mask allows, the checker accepts; no trajectory gets stuck. In small,
    tight instances and in some of the published distribution."""
    env = vrp_variants[variant.name]
    batch = multi_task_instances(4, 20, torch.Generator().manual_seed(1), [variant])
    tight = small(variant, 7, 20 if THOROUGH else 5, seed=2)
    for instance, trajectories in ((batch, 3), (tight, 50 if THOROUGH else 20)):
        env.require(instance)
        actions = random_rollout(env, instance, trajectories, seed=3)
        assert_checker_agrees(env, instance, actions)


def test_random_rollouts_of_mixed_batches_are_feasible() -> None:
    """The same for the full environment, with a variant per instance, in both precisions."""
    batch = multi_task_instances(96, 20, torch.Generator().manual_seed(4), tightness=TIGHT)
    for instance in (batch, with_dtype(batch, torch.float64)):
        multi_task.require(instance)
        assert_checker_agrees(multi_task, instance, random_rollout(multi_task, instance, 3, seed=5))


def mixed_matrices() -> Instance:
    """48 instances of all variants with asymmetric matrices. Limits just suffice for the farthest
    customer from its best depot, so that other depots cannot serve it."""
    batch = multi_task_instances(48, 12, torch.Generator().manual_seed(6), tightness=TIGHT)
    batch = matrices(batch, seed=7)
    assert batch.distance is not None
    back = batch.distance.mT.masked_fill(batch.open_route.view(-1, 1, 1), 0)
    absent = (torch.arange(2) >= batch.num_depots.unsqueeze(1)).unsqueeze(2)
    reach = (batch.distance + back)[:, :2].masked_fill(absent, torch.inf).amin(1)
    limit = reach.masked_fill(~is_customer(batch), 0).amax(1) + 1e-3
    limit = limit.where(batch.distance_limit.isfinite(), torch.inf)
    window = batch.time_window.clone()
    window[:, :, 1] = (window[:, :, 1] + 0.4).masked_fill(window[:, :, 1] > 4.5, torch.inf)
    window[:, :, 0] = 0
    batch = replace(batch, {"time_window": window, "distance_limit": limit})
    multi_task.require(batch)
    return batch


def test_random_rollouts_on_matrices_are_feasible() -> None:
    """Asymmetric distances and durations, each used where it belongs."""
    batch = mixed_matrices()
    assert_checker_agrees(multi_task, batch, random_rollout(multi_task, batch, 3, seed=8))


def test_rollouts_from_starts_are_feasible() -> None:
    """Starts are what the masks allow, but for the stay at a single depot. They take customers in
    turn, and all depots that serve a customer, by the checker, before a pair comes again."""
    batch = mixed_matrices()
    starts = multi_task.start_actions(batch, 30)
    state = multi_task.reset(batch, 30)
    for step, action in enumerate(starts.unbind(2)):
        allowed = multi_task.action_mask(state).gather(2, action.unsqueeze(2)).squeeze(2)
        assert torch.equal(allowed.all(1), torch.tensor([step > 0]) | (batch.num_depots > 1))
        state = multi_task.step(state, action)
    served_by_one = 0
    for one, pairs in zip(unbatch(batch), starts.tolist(), strict=True):
        depots = range(int(one.num_depots))
        customers = range(len(depots), one.num_nodes)
        assert [c for _, c in pairs] == [customers[s % len(customers)] for s in range(30)]
        for customer in customers:
            serving = {d for d in depots if serves(one, d, customer)}
            taken = [d for d, c in pairs if c == customer]
            assert set(taken) <= serving
            assert len(set(taken)) == min(len(taken), len(serving))
            served_by_one += len(serving) < len(depots)
    assert served_by_one > 0
    actions = random_rollout(multi_task, batch, 30, seed=9, starts=starts)
    assert torch.equal(actions[:, :, :2], starts)
    assert_checker_agrees(multi_task, batch, actions[:, ::3])


def serves(one: Instance, depot: int, customer: int) -> bool:
    """Whether the checker accepts the customer's own route from the depot."""
    violations = check_routes(one, [[customer]], [depot]).violations
    return all("is not visited" in violation for violation in violations)


@functools.cache
def optimum(variant: Variant) -> tuple[Instance, float]:
    """A small instance of the variant, and the best of its own environment's trajectories."""
    one = small(variant, 6 if THOROUGH else 5, 1, seed=11)
    return one, reachable_best(vrp_variants[variant.name], one)


@BY_NAME
def test_the_optimum_is_reachable(variant: Variant) -> None:
    """The best of all allowed trajectories is the best of all route sets that the checker
    accepts, in the variant's own environment and in the full one."""
    one, found = optimum(variant)
    expected = best_route_sets_cost(one)
    assert found == pytest.approx(expected, rel=1e-5)
    assert reachable_best(multi_task, one) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["vrptw", "vrpmb"])
def test_the_optimum_is_reachable_with_six_customers(name: str) -> None:
    """The same, with more to choose from."""
    one = small(variant_by_name(name), 6, 1, seed=12)
    expected = best_route_sets_cost(one)
    assert reachable_best(vrp_variants[name], one) == pytest.approx(expected, rel=1e-5)


def test_every_attribute_changes_an_optimum() -> None:
    """The instances of the brute force are tight: another attribute, on the same numbers drawn,
    gives another optimum, so none of these tests would pass with a constraint forgotten."""
    best = {variant: optimum(variant)[1] for variant in VARIANTS}
    for change in (
        {"backhaul": "b"},
        {"backhaul": "mb"},
        {"distance_limit": True},
        {"time_window": True},
        {"open_route": True},
    ):
        changed = [
            abs(best[dataclasses.replace(variant, **change)] - best[variant]) > 1e-4
            for variant in VARIANTS
            if variant.backhaul != change.get("backhaul")
        ]
        assert any(changed), change


def test_the_optimum_is_reachable_on_matrices() -> None:
    """The same with asymmetric distances and durations, windows, a limit and two depots."""
    batch = matrices(small(variant_by_name("mdvrpltw"), 4, 3, seed=13), seed=14)
    late = torch.tensor([[9.0, 9.0, 0.6, 1.2, 0.9, 1.5]]).expand(3, -1)
    window = torch.stack((torch.zeros_like(late), late), 2)
    for one in unbatch(replace(batch, {"time_window": window})):
        multi_task.require(one)
        expected = best_route_sets_cost(one)
        assert reachable_best(multi_task, one) == pytest.approx(expected, rel=1e-5)


@BY_NAME
def test_the_full_environment_allows_what_the_variants_own_does(variant: Variant) -> None:
    """An absent attribute changes neither a mask nor a cost, alone or in a mixed batch, and a
    policy sees of an instance the same whatever its batch holds."""
    env = vrp_variants[variant.name]
    others = multi_task_instances(6, 8, torch.Generator().manual_seed(15), tightness=TIGHT)
    one = small(variant, 8, 1, seed=16)
    batch = collate([one, others])
    one = pad(one, batch.num_nodes)
    actions = random_rollout(env, one, 2, seed=17)
    states = env.reset(one, 2), multi_task.reset(one, 2), multi_task.reset(batch, 2)
    spread = actions.expand(7, -1, -1)
    for action in actions.unbind(2):
        own, full, mixed = states
        mask = env.action_mask(own)
        assert torch.equal(multi_task.action_mask(full), mask)
        assert torch.equal(multi_task.action_mask(mixed)[:1], mask)
        seen = multi_task.context_features(full)
        torch.testing.assert_close(multi_task.context_features(mixed)[:1], seen)
        assert bool(seen.isfinite().all())
        states = (
            env.step(own, action),
            multi_task.step(full, action),
            multi_task.step(mixed, action.expand(7, -1)),
        )
    torch.testing.assert_close(multi_task.cost(batch, spread)[:1], env.cost(one, actions))
    mine, all_features = multi_task.node_features(one), multi_task.node_features(batch)
    torch.testing.assert_close(all_features.values[:1], mine.values)
    assert bool(mine.values.isfinite().all())


@BY_NAME
def test_neutral_resources_do_nothing(variant: Variant) -> None:
    """A batch without windows, limits, backhauls or several depots keeps no value for them."""
    state = multi_task.reset(small(variant, 6, 3, seed=0), 2)
    classical, pickups = variant.backhaul == "b", bool(variant.backhaul)
    expected = [1 + pickups, int(classical), int(variant.time_window), int(variant.distance_limit)]
    assert [len(values) for values in state.used] == expected
    assert [tables is not None for tables in state.problem.tables] == [n > 0 for n in expected]
    assert (state.problem.depots is not None) == variant.several_depots


@pytest.mark.parametrize("name", ["vrpbltw", "mdovrpmbltw"])
def test_padding_changes_nothing(name: str) -> None:
    """Instances of mixed sizes in one batch have the masks and costs that each has alone."""
    singles = [small(variant_by_name(name), size, 1, seed=size) for size in (4, 9, 6)]
    batch = collate(singles)
    actions = random_rollout(multi_task, batch, 3, seed=20)
    costs = multi_task.cost(batch, actions)
    for i, one in enumerate(singles):
        alone, padded = multi_task.reset(one, 3), multi_task.reset(batch[i : i + 1], 3)
        for action in actions[i : i + 1].unbind(2):
            mask = multi_task.action_mask(padded)
            assert torch.equal(mask[:, :, : one.num_nodes], multi_task.action_mask(alone))
            assert not bool(mask[:, :, one.num_nodes :].any())
            alone, padded = multi_task.step(alone, action), multi_task.step(padded, action)
        torch.testing.assert_close(costs[i : i + 1], multi_task.cost(one, actions[i : i + 1]))


def test_permuting_customers_and_depots_permutes_the_mask() -> None:
    """Names of nodes do not matter."""
    instance = small(variant_by_name("mdvrpbltw"), 8, 1, seed=21)
    order = torch.cat((torch.tensor([1, 0]), 2 + torch.randperm(8)))
    fields = ("coords", "linehaul", "backhaul", "time_window", "service_time")
    shuffled = replace(instance, {name: getattr(instance, name)[:, order] for name in fields})
    inverse = order.argsort()
    state, other = multi_task.reset(instance, 1), multi_task.reset(shuffled, 1)
    for action in random_rollout(multi_task, instance, 1, seed=22).unbind(2):
        mask = multi_task.action_mask(state)
        assert torch.equal(mask[:, :, order], multi_task.action_mask(other))
        state, other = multi_task.step(state, action), multi_task.step(other, inverse[action])


def test_scaling_lengths_and_times_scales_costs_and_no_mask() -> None:
    """Everything that has a unit of length or time, a thousandfold: the same choices, and nearly
    the same features once coordinates leave the unit square."""
    batch = small(variant_by_name("mdvrpmbltw"), 8, 3, seed=23)

    def scaled(factor: float) -> Instance:
        names = ("coords", "time_window", "service_time", "distance_limit")
        return replace(batch, {name: getattr(batch, name) * factor for name in names})

    actions = random_rollout(multi_task, batch, 2, seed=24)
    big, bigger = scaled(1024.0), scaled(4096.0)
    torch.testing.assert_close(
        multi_task.cost(big, actions), 1024 * multi_task.cost(batch, actions)
    )
    torch.testing.assert_close(
        multi_task.node_features(big).values, multi_task.node_features(bigger).values
    )
    state, other = multi_task.reset(batch, 2), multi_task.reset(big, 2)
    for action in actions.unbind(2):
        assert torch.equal(multi_task.action_mask(state), multi_task.action_mask(other))
        state, other = multi_task.step(state, action), multi_task.step(other, action)


def test_step_and_mask_leave_their_input_unchanged() -> None:
    """Environments are pure: the state before a step is as it was."""
    batch = multi_task_instances(12, 8, torch.Generator().manual_seed(25))
    state = multi_task.reset(batch, 2)
    for _ in range(3):
        choice = multi_task.action_mask(state).float().argmax(2)
        state = multi_task.step(state, choice)
    parts = [state.current, state.first, state.unvisited, *(v for u in state.used for v in u)]
    before = [part.clone() for part in parts]
    multi_task.step(state, multi_task.action_mask(state).float().argmax(2))
    multi_task.context_features(state)
    assert all(torch.equal(a, b) for a, b in zip(parts, before, strict=True))
