"""Profiled VRPs: both environments against brute force, the checker and each other."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nco.data.batching import collate, pad, replace, unbatch
from nco.data.errors import InputError
from nco.data.fleet import make_fleet, replace_fleet
from nco.data.fleet_generators import FleetLaw
from nco.data.instance import Instance
from nco.envs.checker import check_routes
from nco.envs.environment import State, mask_bias
from nco.envs.fleet import FleetVRP, paths_of, values_in
from nco.envs.fleet_checker import routes_of_vehicles
from nco.envs.fleet_parallel import ParallelFleetVRP, Priority
from nco.envs.variants import cvrp, environments, pvrp
from nco.joint_episode import joint_decision, joint_log_likelihood
from nco.likelihood import log_likelihood, policy_gradient
from nco.rollout import replay, rollout
from nco.strategies import Greedy, Sampling
from tests.fleets import RICH, brute_force, fleet_of, fleets, small_fleet_policy, tiny
from tests.small import best_cvrp_cost, instances, random_rollout

PRIORITIES: tuple[Priority, ...] = (
    "highest-probability", "first", "random", "closest", "shortest-path",
)  # fmt: skip
LAWS = {
    "rich": RICH,
    "tight shifts": FleetLaw(num_vehicles=(2, 5), shift=1.0, speed=(0.5, 2.0)),
    "min-max": FleetLaw(num_vehicles=(2, 3), min_max=True, fixed_cost=(0.1, 0.2)),
}
TRIPS = FleetVRP(trip_by_trip=True)
ENVS = {"sequential": pvrp, "trips": TRIPS, **{p: ParallelFleetVRP(p) for p in PRIORITIES}}


def judged(instance: Instance, actions: Tensor) -> Tensor:
    """The checker's costs [B, S] of actions of a batch; fails on a violation."""
    costs = torch.zeros(actions.shape[:2], dtype=torch.float64)
    for i, one in enumerate(unbatch(instance)):
        for j, row in enumerate(actions[i].tolist()):
            found = routes_of_vehicles(row, instance.num_nodes, int(one.num_depots))
            report = check_routes(one, found[0], vehicles=found[1])
            assert report.feasible, report.violations
            costs[i, j] = report.cost
    return costs


@pytest.mark.parametrize("zones", [False, True])
@pytest.mark.parametrize(
    ("env", "law"),
    [(env, law) for env in ("sequential", "trips", "highest-probability") for law in LAWS]
    + [(env, "tight shifts") for env in ("first", "random", "closest", "shortest-path")],
)
def test_rollouts_are_feasible_and_cost_what_the_checker_says(
    env: str, zones: bool, law: str
) -> None:
    instance = fleets((3, 9), 6, 5, LAWS[law], zones=zones)
    rules = ENVS[env]
    rules.require(instance)
    generator = torch.Generator().manual_seed(2)
    policy = small_fleet_policy(rules)
    starts = rules.start_actions(instance, 4)
    found = rollout(
        rules, policy, instance, Sampling(temperature=3.0), num_trajectories=4, starts=starts,
        generator=generator,
    )  # fmt: skip
    assert torch.allclose(judged(instance, found.actions), found.costs.double(), rtol=1e-5)


def sequences(env: FleetVRP, instance: Instance) -> Tensor:
    """All complete trajectories of one instance in a sequential environment, [1, S, T]."""
    state, width = env.reset(instance, 1), 0
    actions, complete = torch.zeros(1, 1, 0, dtype=torch.int64), []
    for _ in range(env.max_steps(instance)):
        mask = env.action_mask(state)[0]
        which, action = mask.nonzero().unbind(1)
        state = env.step(state.select(which.unsqueeze(0)), action.unsqueeze(0))
        actions = torch.cat((actions[:, which], action.view(1, -1, 1)), 2)
        done = env.done(state)[0]
        complete.append(actions[:, done])
        state = state.select((~done).nonzero().view(1, -1))
        actions = actions[:, ~done]
        width = actions.shape[2]
        if not actions.shape[1]:
            break
    assert not actions.shape[1], "episodes are longer than max_steps"
    # the last action may be repeated: it changes nothing
    grown = [torch.cat((a, a[:, :, -1:].expand(-1, -1, width - a.shape[2])), 2) for a in complete]
    return torch.cat(grown, 1)


@pytest.mark.parametrize("seed", range(6))
def test_one_choice_at_a_time_reaches_the_optimum(seed: int) -> None:
    """Trip by trip, too, and in fewer ways."""
    fields: dict[str, Any] = ({}, {"min_max": True}, {"allowed": zone(seed)})[seed % 3]
    instance = tiny(seed, customers=4 if seed < 3 else 3, **fields)
    any_time, trips = sequences(pvrp, instance), sequences(TRIPS, instance)
    assert trips.shape[1] < any_time.shape[1]
    best = pytest.approx(brute_force(instance), rel=1e-9)
    assert float(pvrp.cost(instance, any_time).min()) == best
    assert float(TRIPS.cost(instance, trips).min()) == best
    home = fleet_of(instance).depot.view(1, 1, -1, 1)
    away = (paths_of(instance, trips) != home).sum(2)
    assert int(away.max()) == 1


def zone(seed: int) -> Tensor:
    """Zones for two vehicles and up to four customers: one each may serve what the other may not,
    the rest is free."""
    allowed = torch.ones(2, 4 if seed > 2 else 5, dtype=torch.bool)
    allowed[0, 1] = allowed[1, 2] = False
    return allowed


def outcomes(env: ParallelFleetVRP, state: State, order: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All joint decisions from one state (B = S = 1) in an order: which are possible, the actions,
    and what each vehicle could choose from."""
    m, n = order.shape[2], state.unvisited.shape[2]
    nodes = torch.tensor(list(itertools.product(range(n), repeat=m))).unsqueeze(0)
    count = nodes.shape[1]
    copies = state.select(torch.zeros(1, count, dtype=torch.int64))
    mask = env.action_mask(copies).unflatten(2, (m, n))
    joint = env.decide(
        copies, mask, order.expand(1, count, m), lambda turn, vehicle, allowed: nodes[:, :, turn]
    )
    possible = joint.allowed.gather(3, nodes.unsqueeze(3)).all(2).flatten()
    return possible, joint.actions, joint.allowed


@pytest.mark.parametrize("seed", range(2))
def test_the_parallel_environment_reaches_the_optimum(seed: int) -> None:
    env = ParallelFleetVRP("first")
    instance = tiny(seed, customers=3, min_max=seed == 1)
    order = torch.arange(2).view(1, 1, 2)
    best = math.inf
    frontier = [(env.reset(instance, 1), torch.zeros(1, 1, 0, dtype=torch.int64))]
    for _ in range(env.max_joint_steps(instance)):
        following = []
        for state, before in frontier:
            possible, actions, _ = outcomes(env, state, order)
            for i in possible.nonzero().flatten().tolist():
                after = env.join(state, actions[:, i : i + 1])
                taken = torch.cat((before, actions[:, i : i + 1]), 2)
                if bool(env.done(after)):
                    best = min(best, float(env.cost(instance, taken)))
                elif len(taken.flatten()) < 8:
                    following.append((after, taken))
        frontier = following
    assert best == pytest.approx(brute_force(instance), rel=1e-9)


def midway(env: ParallelFleetVRP, instance: Instance, steps: int, seed: int) -> State:
    """A state after some joint decisions that a random policy made."""
    generator = torch.Generator().manual_seed(seed)
    state = env.reset(instance, 1)
    for _ in range(steps):
        seen = env.observe(state)
        logits = torch.randn(seen.mask.shape, generator=generator)
        joint = joint_decision(env, state, seen, logits, Sampling(), generator)
        if bool(env.done(env.join(state, joint.actions))):
            break
        state = env.join(state, joint.actions)
    return state


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("priority", PRIORITIES)
def test_the_likelihood_of_what_is_executed_sums_to_one(priority: Priority, steps: int) -> None:
    env = ParallelFleetVRP(priority)
    for seed in range(2):
        instance = tiny(seed, customers=4, vehicles=3)
        state = midway(env, instance, steps, seed)
        generator = torch.Generator().manual_seed(seed)
        seen = env.observe(state)
        logits = torch.randn(seen.mask.shape, generator=generator, dtype=torch.float64)
        rows = (1, 1, 3, 5)
        order = env.order(state, logits.view(rows), seen.mask.view(rows), generator)
        possible, actions, allowed = outcomes(env, state, order)
        scores = joint_log_likelihood(logits.expand(1, len(possible), -1), actions, allowed)
        assert float(scores[0, possible].exp().sum()) == pytest.approx(1, abs=1e-12)
        assert bool((scores[0, ~possible] < -1e6).all())
        # nothing is served twice, and somebody moves
        served = actions[0, possible] % 5
        place = values_in(state).place.gather(2, order).view(1, 3)
        moves = served != place
        assert bool(moves.any(1).all())
        for row, moved in zip(served.tolist(), moves.tolist(), strict=True):
            gone = [node for node, m in zip(row, moved, strict=True) if m and node > 0]
            assert len(set(gone)) == len(gone)


@pytest.mark.parametrize("priority", PRIORITIES)
def test_joint_decisions_come_as_often_as_their_likelihood_says(priority: Priority) -> None:
    env = ParallelFleetVRP(priority)
    draws = 20_000
    instance = tiny(3, customers=3, vehicles=2)
    state = env.reset(instance, draws)
    generator = torch.Generator().manual_seed(1)
    seen = env.observe(state)
    # vehicles want the same customers
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0, 0.5, 2.5, 0.0, -1.0]).expand(1, draws, 8)
    joint = joint_decision(env, state, seen, logits, Sampling(), generator)
    likelihood = joint_log_likelihood(logits, joint.actions, joint.allowed).exp()
    if priority == "random":
        likelihood = likelihood / math.factorial(2)
    kinds, which, counts = joint.actions[0].unique(dim=0, return_inverse=True, return_counts=True)
    assert len(kinds) > 5
    for kind, count in enumerate(counts.tolist()):
        p = float(likelihood[0, which == kind][0])
        assert abs(count - draws * p) < 5 * math.sqrt(draws * p * (1 - p)) + 1


@pytest.mark.parametrize("env", ENVS)
def test_padding_changes_nothing(env: str) -> None:
    rules = ENVS[env]
    policy = small_fleet_policy(rules)
    alone = [fleets((n, n), 1, n, FleetLaw(num_vehicles=(m, m))) for n, m in ((3, 4), (7, 2))]
    batch = pad(collate(alone), 11, 6)
    together = rollout(rules, policy, batch, Greedy(), num_trajectories=1)
    for i, one in enumerate(alone):
        found = rollout(rules, policy, one, Greedy(), num_trajectories=1)
        if env == "random":
            continue  # the draws of the order differ with the number of vehicles
        assert float(found.costs) == pytest.approx(float(together.costs[i]), rel=1e-5)
        shown = [batch.num_nodes, one.num_nodes]
        routes = [
            routes_of_vehicles(t.tolist(), n, 1)
            for t, n in zip((together.actions[i, 0], found.actions[0, 0]), shown, strict=True)
        ]
        assert routes[0] == routes[1]


@pytest.mark.parametrize("env", ENVS)
def test_all_steps_at_once_score_as_one_by_one(env: str) -> None:
    rules = ENVS[env]
    policy = small_fleet_policy(rules)
    instance = fleets((4, 8), 3, 11, FleetLaw(num_vehicles=(2, 3)))
    generator = torch.Generator().manual_seed(0)
    found = rollout(
        rules, policy, instance, Sampling(), num_trajectories=5, generator=generator, record=True,
        starts=rules.start_actions(instance, 5), memory=1.0,
    )  # fmt: skip
    scores = log_likelihood(policy, rules, instance, found)
    decisions = replay(rules, instance, found.actions, found.num_forced)
    encoding = policy.encode(instance)
    expected = torch.zeros_like(scores)
    seen = [
        decisions.current, decisions.first, decisions.features, decisions.mask, decisions.action,
    ]  # fmt: skip
    for t, step in enumerate(zip(*seen, strict=True)):
        current, first, features, mask, action = step
        observation = type(rules.observe(rules.reset(instance, 5)))(
            current, first, features, mask, True
        )
        logits = policy.scores(encoding, observation).logits
        if decisions.allowed is not None:
            expected = expected + joint_log_likelihood(logits, action, decisions.allowed[t])
        else:
            masked = (logits + mask_bias(mask, logits.dtype)).log_softmax(2)
            expected = expected + masked.gather(2, action.unsqueeze(2)).squeeze(2)
    # the record of each piece of the batch ends before the replay, where nothing is left to choose
    assert torch.allclose(scores, expected, atol=1e-4)
    assert bool((scores < -0.1).all())
    weights = torch.randn(scores.shape, generator=generator)
    loss, _ = policy_gradient(policy, rules, instance, found, weights)
    direct = torch.autograd.grad((weights * scores).sum(), list(policy.parameters()))
    split = torch.autograd.grad(loss, list(policy.parameters()))
    for one, other in zip(direct, split, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
        assert bool(other.any())


def as_fleet(instance: Instance, vehicles: int, **fields: object) -> Instance:
    """A CVRP with vehicles of one kind in place of its capacity."""
    n = instance.num_nodes
    capacity = instance.capacity.unsqueeze(1).expand(-1, vehicles)
    fleet = make_fleet(num_nodes=n, capacity=capacity, dtype=instance.dtype, **fields)  # type: ignore[arg-type]
    return replace(
        instance, {"fleet": fleet, "capacity": torch.full_like(instance.capacity, torch.inf)}
    )


def test_one_kind_of_vehicle_is_the_cvrp() -> None:
    plain = instances("cvrp", 12, 6, seed=3)
    fleet = as_fleet(plain, 1)
    generator = torch.Generator().manual_seed(4)
    state, other = cvrp.reset(plain, 5), pvrp.reset(fleet, 5)
    actions = []
    for _ in range(cvrp.max_steps(plain)):
        mask = cvrp.action_mask(state)
        finished = pvrp.done(other)
        away = state.current > 0
        same = mask[:, :, 1:] == pvrp.action_mask(other)[:, :, 1:]
        assert bool((same | finished.unsqueeze(2)).all())
        assert bool((pvrp.action_mask(other)[:, :, 0] == (away | finished))[~finished].all())
        flat = torch.multinomial(mask.flatten(0, 1).float(), 1, generator=generator)
        action = flat.view(mask.shape[:2])
        actions.append(action)
        state, other = cvrp.step(state, action), pvrp.step(other, action)
    taken = torch.stack(actions, 2)
    assert bool(pvrp.done(other).all())
    assert torch.allclose(pvrp.cost(fleet, taken), cvrp.cost(plain, taken))
    assert torch.allclose(judged(fleet, taken), cvrp.cost(plain, taken).double())


@pytest.mark.parametrize("vehicles", [1, 2])
def test_the_optimum_of_one_kind_of_vehicle_is_the_cvrps(vehicles: int) -> None:
    plain = instances("cvrp", 5, 1, seed=vehicles)
    assert brute_force(as_fleet(plain, vehicles)) == pytest.approx(best_cvrp_cost(plain), rel=1e-6)


@pytest.mark.parametrize("min_max", [False, True])
def test_speeds_and_capacities_are_the_hcvrp(min_max: bool) -> None:
    instance = fleets((6, 6), 4, 1, FleetLaw(num_vehicles=(3, 3), preference_weight=(0.0, 0.0)))
    fleet = fleet_of(instance)
    objective = torch.full_like(fleet.min_max, min_max)
    instance = replace(instance, {"fleet": replace_fleet(fleet, {"min_max": objective})})
    actions = random_rollout(pvrp, instance, 3, seed=0)
    costs = pvrp.cost(instance, actions)
    assert instance.coords is not None
    for i, where in enumerate(instance.coords.double().tolist()):
        for j in range(3):
            place, times = [0] * 3, [0.0] * 3
            for action in [*actions[i, j].tolist(), 0, 7, 14]:
                k, node = divmod(action, 7)
                length = math.dist(where[place[k]], where[node])
                times[k] += length / float(fleet.speed[i, k])
                place[k] = node
            expected = max(times) if min_max else sum(times)
            assert float(costs[i, j]) == pytest.approx(expected, rel=1e-5)


def test_matrices_give_lengths_and_times() -> None:
    distance = torch.tensor([[0.0, 1, 5], [2, 0, 1], [1, 4, 0]], dtype=torch.float64)
    fleet = make_fleet(
        num_nodes=3, capacity=[3.0, 9.0], speed=[2.0, 1.0], distance_cost=[0.0, 10.0],
        fixed_cost=[100.0, 1000.0], time_weight=2.0, preference_weight=7.0,
        profile=[[0, 0.5, 1.0], [0, 1.0, 0.25]],
    )  # fmt: skip
    instance = Instance.vrp(
        distance=distance, duration=3 * distance, demand=[0.0, 2, 2], service_time=[0.0, 4, 8],
        fleet=fleet,
    )  # fmt: skip
    apart = check_routes(instance, [[1], [2]], vehicles=[0, 1])
    # vehicle 0: 3 long, 9 / 2 + 4; vehicle 1: 6 long, 18 + 8; missed 0.5 and 0.75
    assert apart.cost == pytest.approx(2 * (8.5 + 26) + 7 * 1.25 + 1100 + 60)
    assert apart.feasible
    alone = check_routes(instance, [[1, 2]], vehicles=[1])
    assert alone.cost == pytest.approx(2 * (9 + 12) + 7 * 0.75 + 1000 + 30)
    codes = torch.tensor([[[1, 3 + 2], [3 + 1, 3 + 2]]])
    assert pvrp.cost(instance, codes).tolist()[0] == pytest.approx([apart.cost, alone.cost])


def test_start_actions_are_allowed_and_differ() -> None:
    instance = fleets((4, 6), 10, 3, zones=True)
    starts = pvrp.start_actions(instance, 12)
    mask = pvrp.action_mask(pvrp.reset(instance, 12))
    assert bool(mask.gather(2, starts).all())
    assert bool((starts[:, :4, 0].sort(1).values.diff(dim=1) > 0).all())


def test_tight_shifts_bind_and_are_kept() -> None:
    tight = tiny(1, customers=3, shift=3.2, speed=1.0, capacity=[20.0, 20.0])
    report = check_routes(tight, [[1], [2], [3]], vehicles=[0, 0, 0])
    assert any("above its shift" in line for line in report.violations)
    pvrp.require(tight)
    assert judged(tight, sequences(pvrp, tight)).numel() > 0


@pytest.mark.parametrize("problem", [name for name in environments if not name.startswith("pvrp")])
def test_other_rules_refuse_fleets(problem: str) -> None:
    with pytest.raises(InputError, match=r"depot|profiles|prizes|presence|traffic|laws"):
        environments[problem].require(tiny(0))


def test_what_the_rules_refuse() -> None:
    with pytest.raises(InputError, match="has no fleet"):
        pvrp.require(instances("cvrp", 5, 1))
    with pytest.raises(InputError, match=r"shift of vehicle 0 of instance 0 is 0\.5"):
        pvrp.require(tiny(0, shift=0.5))
    with pytest.raises(InputError, match="none vehicles for 1 routes"):
        check_routes(tiny(0), [[1]])
    with pytest.raises(InputError, match="accepted: a multiple of 2"):
        replay(ParallelFleetVRP(), tiny(0), torch.ones(1, 1, 3, dtype=torch.int64), 0)
    with pytest.raises(InputError, match="accepted: those of an episode"):
        replay(ParallelFleetVRP(), tiny(0), torch.tensor([[[1, 6]]]), 0)


def test_the_checker_names_every_fault() -> None:
    instance = tiny(0, customers=3, capacity=[5.0, 20.0], shift=[9.0, 1.0], allowed=[
        [True, True, False, True], [True] * 4])  # fmt: skip
    report = check_routes(instance, [[1, 2], [3, 3]], vehicles=[0, 1])
    told = "; ".join(report.violations)
    assert "customer 3 is visited 2 times" in told
    assert "route 1 serves customer 2, where vehicle 0 is not allowed" in told
    assert "of vehicle 0" in told
    assert "vehicle 1 works" in told
    missing = check_routes(instance, [[1]], vehicles=[5])
    assert missing.cost == math.inf
    assert "vehicle 5, which does not exist; vehicles are 0 to 1" in "; ".join(missing.violations)
