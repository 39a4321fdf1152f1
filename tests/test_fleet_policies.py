"""Policies for vehicles that differ: what they see, and that they train."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nco.build import build_env, build_policy
from nco.data.batching import collate, pad, replace
from nco.data.errors import InputError
from nco.data.fleet import PER_PAIR, PER_VEHICLE, make_fleet, replace_fleet
from nco.data.fleet_generators import FleetLaw
from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation, mask_bias
from nco.envs.fleet import FleetVRP
from nco.envs.fleet_parallel import ParallelFleetVRP
from nco.envs.variants import pvrp
from nco.joint_episode import joint_log_likelihood
from nco.likelihood import log_likelihood, policy_gradient
from nco.models.camp import AttentionAmongVehicles, CommunicationLayer, MeanOfVehicles
from nco.models.fleet_policy import PriceOfMoves
from nco.models.policy import Policy
from nco.policy_config import CAMPConfig, HeterogeneousAttentionConfig, PolicyConfig, POMOConfig
from nco.rollout import replay, rollout
from nco.strategies import Sampling
from tests.fleets import fleet_of, fleets


def _camp(**options: object) -> CAMPConfig:
    sizes = {"type": "camp", "dim": 16, "num_heads": 2, "num_layers": 2, "hidden": 24,
             "decisions": "sequential"}  # fmt: skip
    return CAMPConfig.model_validate({**sizes, **options})


CONFIGS: dict[str, PolicyConfig] = {
    "camp": _camp(),
    "camp trip by trip": _camp(decisions="trips", communication="none"),
    "camp parallel": _camp(decisions="parallel"),
    "camp by the mean": _camp(communication="mean"),
    "camp without communication": _camp(communication="none", decisions="parallel"),
    "camp without bipartite step": _camp(bipartite=False),
    "camp with neither": _camp(communication="none", bipartite=False, decisions="parallel"),
    "heterogeneous attention": HeterogeneousAttentionConfig(
        type="heterogeneous_attention",
        dim=16,
        num_heads=2,
        num_layers=2,
        hidden=24,
        decisions="sequential",
    ),
}


def fresh(kind: str) -> Policy:
    """A policy with fresh weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_policy(CONFIGS[kind], build_env("pvrp")).eval()


def seen(env: Environment, instance: Instance) -> Observation:
    """A state of each instance with one customer served."""
    state = env.reset(instance, 2)
    for action in env.start_actions(instance, 2).unbind(2):
        state = env.step(state, action)
    return env.observe(state)


def masked_scores(policy: Policy, instance: Instance) -> tuple[Tensor, Tensor]:
    """Scores [B, 2, M, N] of a state of each instance, 0 where not allowed, and the mask."""
    env = policy.env
    observation = seen(env, instance)
    m = fleet_of(instance).num_vehicles
    logits = policy.logits(policy.encode(instance), observation)
    masked = logits.masked_fill(~observation.mask, 0)
    return masked.unflatten(2, (m, -1)), observation.mask.unflatten(2, (m, -1))


@pytest.mark.parametrize("kind", CONFIGS)
def test_padding_changes_no_score(kind: str) -> None:
    policy = fresh(kind)
    alone = [fleets((n, n), 1, n, FleetLaw(num_vehicles=(m, m))) for n, m in ((3, 4), (7, 2))]
    together, _ = masked_scores(policy, pad(collate(alone), 11, 6))
    for i, one in enumerate(alone):
        scores, mask = masked_scores(policy, one)
        m, n = scores.shape[2:]
        real = fleet_of(one).valid[0]
        assert bool(real.all())
        torch.testing.assert_close(together[i, :, :m, :n], scores[0], rtol=1e-4, atol=1e-5)
        assert float(scores[mask].detach().std()) > 1e-3


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_order_of_vehicles_and_customers_does_not_matter(kind: str) -> None:
    policy = fresh(kind)
    instance = fleets((6, 6), 2, 3, FleetLaw(num_vehicles=(4, 4)), zones=False)
    nodes, vehicles = torch.tensor([0, 4, 2, 6, 1, 5, 3]), torch.tensor([2, 0, 3, 1])
    fleet = fleet_of(instance)
    changes = {name: getattr(fleet, name)[:, vehicles] for name in PER_VEHICLE}
    changes |= {name: getattr(fleet, name)[:, vehicles][:, :, nodes] for name in PER_PAIR}
    assert instance.coords is not None
    moved = {
        "coords": instance.coords[:, nodes],
        "linehaul": instance.linehaul[:, nodes],
        "fleet": replace_fleet(fleet, changes),
    }
    other = replace(instance, moved)
    env = policy.env
    b, m, n = 2, 4, 7
    # vehicle 2 has served customer 4: in the other order it is vehicle 0 and customer 1
    found = []
    for one, action in ((instance, 2 * n + 4), (other, 0 * n + 1)):
        state = env.step(env.reset(one, 1), torch.full((b, 1), action))
        observation = env.observe(state)
        logits = policy.logits(policy.encode(one), observation)
        found.append(logits.masked_fill(~observation.mask, 0).view(b, m, n))
    expected = found[0][:, vehicles][:, :, nodes]
    torch.testing.assert_close(found[1], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], expected, atol=1e-3)


@pytest.mark.parametrize("kind", CONFIGS)
def test_all_steps_at_once_score_as_one_by_one(kind: str) -> None:
    """Likelihoods and gradients; and a gradient reaches every parameter."""
    policy = fresh(kind)
    env = policy.env
    law = FleetLaw(num_vehicles=(2, 3), shift=1.5, preference_weight=(0.1, 0.9))
    instance = fleets((4, 7), 4, 11, law)
    generator = torch.Generator().manual_seed(0)
    found = rollout(
        env, policy, instance, Sampling(), num_trajectories=5, generator=generator, record=True,
        starts=env.start_actions(instance, 5), memory=1.0,
    )  # fmt: skip
    decisions = replay(env, instance, found.actions, found.num_forced)
    encoding = policy.encode(instance)
    expected = torch.zeros_like(found.costs)
    columns = (
        decisions.current, decisions.first, decisions.features, decisions.mask, decisions.action,
    )  # fmt: skip
    for t, (current, first, features, mask, action) in enumerate(zip(*columns, strict=True)):
        logits = policy.logits(encoding, Observation(current, first, features, mask, True))
        if decisions.allowed is not None:
            expected = expected + joint_log_likelihood(logits, action, decisions.allowed[t])
        else:
            rows = (logits + mask_bias(mask, logits.dtype)).log_softmax(2)
            expected = expected + rows.gather(2, action.unsqueeze(2)).squeeze(2)
    names, parameters = zip(*policy.named_parameters(), strict=True)
    weights = torch.randn(expected.shape, generator=generator)
    direct = torch.autograd.grad((weights * expected).sum(), parameters)
    for budget in (1.0, 1e9):
        scores = log_likelihood(policy, env, instance, found, budget=budget)
        torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-4)
        loss, _ = policy_gradient(policy, env, instance, found, weights, budget=budget)
        split = torch.autograd.grad(loss, parameters)
        for name, one, other in zip(names, direct, split, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
            # an instance norm takes away what is added to all nodes
            lost = kind == "heterogeneous attention" and name.endswith(("down.bias", "out.bias"))
            assert lost or float(one.abs().max()) > 1e-7, name


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("column", ["preference_weight", "min_max"])
def test_the_weights_matter(kind: str, column: str) -> None:
    """One policy for all trade-offs: with other weights other scores."""
    policy = fresh(kind)
    instance = fleets((5, 5), 2, 7, FleetLaw(num_vehicles=(3, 3)))
    fleet = fleet_of(instance)
    value = torch.ones_like(fleet.min_max) if column == "min_max" else fleet.time_weight * 2
    other = replace(instance, {"fleet": replace_fleet(fleet, {column: value})})
    first, second = masked_scores(policy, instance)[0], masked_scores(policy, other)[0]
    assert float((first - second).detach().abs().max()) > 1e-3


def scores_before_and_after_news(kind: str) -> tuple[Tensor, Tensor]:
    """Scores of vehicle 0 before and after vehicle 1 left its depot, of what it may still do."""
    policy = fresh(kind)
    instance = fleets((6, 6), 1, 3, FleetLaw(num_vehicles=(2, 2)))
    env = policy.env
    encoding = policy.encode(instance)
    before = env.reset(instance, 1)
    after = env.step(before, torch.tensor([[1 * 7 + 2]]))
    # what is left is told to all vehicles alike, so it is not the news
    looks = [env.observe(state) for state in (before, after)]
    features = looks[1].features.clone().unflatten(2, (2, -1))
    features[..., -1] = looks[0].features.unflatten(2, (2, -1))[..., -1]
    mask = looks[0].mask & looks[1].mask
    found = []
    for look, seen_features in ((looks[0], looks[0].features), (looks[1], features.flatten(2))):
        given = Observation(look.current, look.first, seen_features, mask, True)
        found.append(policy.logits(encoding, given).unflatten(2, (2, 7))[0, 0, 0])
    return found[0], found[1]


def test_vehicles_hear_of_each_other_only_by_communication() -> None:
    for kind in ("camp", "camp by the mean"):
        before, after = scores_before_and_after_news(kind)
        assert float((before - after).detach().abs().max()) > 1e-3
    before, after = scores_before_and_after_news("camp without communication")
    torch.testing.assert_close(before, after, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [AttentionAmongVehicles(16, 2), MeanOfVehicles(16)])
def test_a_mask_of_real_vehicles_only_changes_nothing(layer: CommunicationLayer) -> None:
    query = torch.randn(3, 4, 5, 16, generator=torch.Generator().manual_seed(0))
    masked = layer(query, torch.ones(3, 5, dtype=torch.bool))
    torch.testing.assert_close(layer(query, None), masked, rtol=1e-5, atol=1e-6)
    assert float((masked - query).detach().abs().max()) > 1e-3


def test_scores_begin_with_what_moves_cost() -> None:
    """A way, a missed preference and the way home, by hand; in the unit of the instance's own."""
    fleet = make_fleet(
        num_nodes=3, capacity=[1.0, 1.0], speed=[1.0, 0.5], profile=[[0, 0.25, 1], [0, 1, 0]],
        time_weight=0.5, preference_weight=0.5, distance_cost=[0.0, 0.1],
    )  # fmt: skip
    instance = Instance.vrp(coords=[[0.0, 0], [1, 0], [0, 1]], demand=[0.0, 1, 1], fleet=fleet)
    found = PriceOfMoves()(pvrp.fleet_features(instance))[0].detach()
    # vehicle 0 from the depot to customer 1; vehicle 1 from customer 1 to customer 2, with prices
    first = -3 * 0.5 * 1 - 3 * 0.5 * 0.75 + 1.5 * 0.5 * 1
    second = (-3 * (0.5 / 0.5 + 0.1)) * 2**0.5 - 3 * 0.5 * 1 + 1.5 * (0.5 / 0.5 + 0.1)
    torch.testing.assert_close(
        torch.stack((found[0, 0, 1], found[1, 1, 2])), torch.tensor([first, second])
    )


def test_the_vehicle_is_chosen_before_the_node() -> None:
    """The softmax over all pairs factors: a vehicle's share does not depend on its own nodes'
    scores, but on who has a move."""
    policy = fresh("heterogeneous attention")
    instance = fleets((6, 6), 2, 3, FleetLaw(num_vehicles=(3, 3)))
    observation = seen(policy.env, instance)
    logits = policy.logits(policy.encode(instance), observation).detach()
    chances = (logits + mask_bias(observation.mask, logits.dtype)).exp().unflatten(2, (3, -1))
    torch.testing.assert_close(chances.sum((2, 3)), torch.ones(2, 2), rtol=0, atol=1e-5)
    # nothing is lost where a vehicle loses a node, until it has lost all
    mask = observation.mask.clone().unflatten(2, (3, -1))
    first = mask[0, 0, 0].nonzero()[0]
    mask[0, 0, 0, first] = False
    fewer = policy.logits(policy.encode(instance), replace_mask(observation, mask.flatten(2)))
    after = fewer.detach().unflatten(2, (3, -1)).masked_fill(~mask, -torch.inf).exp()
    torch.testing.assert_close(after.sum(3), chances.sum(3), rtol=1e-5, atol=1e-6)
    mask[0, 0, 0] = False
    fewer = policy.logits(policy.encode(instance), replace_mask(observation, mask.flatten(2)))
    after = fewer.detach().unflatten(2, (3, -1)).masked_fill(~mask, -torch.inf).exp()
    rest = chances[0, 0, 1:].sum(1)
    torch.testing.assert_close(after[0, 0, 1:].sum(1), rest / rest.sum(), rtol=1e-5, atol=1e-6)
    assert float(chances[0, 0, 0].sum()) > 0.01


def replace_mask(observation: Observation, mask: Tensor) -> Observation:
    """The same with another mask."""
    return Observation(observation.current, observation.first, observation.features, mask, True)


def test_decisions_choose_the_environment() -> None:
    assert isinstance(fresh("camp parallel").env, ParallelFleetVRP)
    assert fresh("camp").env == FleetVRP()
    assert fresh("heterogeneous attention").env == FleetVRP()
    assert fresh("camp trip by trip").env == FleetVRP(trip_by_trip=True)


def test_policies_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"policy.type is pomo .*vehicles differ; accepted.* camp"):
        build_policy(POMOConfig(type="pomo"), build_env("pvrp"))
    with pytest.raises(InputError, match=r"policy.type is camp .*alike; accepted.*pvrp"):
        build_policy(CONFIGS["camp"], build_env("cvrp"))
    with pytest.raises(ValueError, match="dim 16 must be a multiple of num_heads 3"):
        _camp(num_heads=3)
