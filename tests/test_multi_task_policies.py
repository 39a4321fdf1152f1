"""Policies of the multi-task VRP: every gate, encoder and decoder, on batches of mixed variants."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nco.data.batching import collate, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import VARIANTS, multi_task_instances
from nco.envs.environment import Environment
from nco.envs.variants import cvrp, multi_task
from nco.episode import summed, usage_of
from nco.likelihood import balance_loss, log_likelihood, policy_gradient
from nco.models.policy import Policy, Usage
from nco.policy_config import RouteFinderConfig
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling
from tests.policies import GATES, POLICIES, small_policy

EACH = pytest.mark.parametrize("name", POLICIES)
STARTS = 4


def mixed(batch: int, size: int, seed: int) -> Instance:
    return multi_task_instances(batch, size, torch.Generator().manual_seed(seed))


def sampled(env: Environment, policy: Policy, batch: Instance, seed: int) -> tuple[Trajectory, int]:
    """Recorded draws; the seed of the gates' noise."""
    encoding = policy.encode(batch, torch.Generator().manual_seed(seed))
    trajectory = rollout(
        env, policy, batch, Sampling(), num_trajectories=STARTS,
        starts=env.start_actions(batch, STARTS), record=True, encoding=encoding,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    return trajectory, seed


@EACH
def test_an_instance_is_scored_as_it_is_alone(name: str) -> None:
    """Other sizes and variants in the batch change nothing."""
    policy = small_policy(name, multi_task)
    batch = collate([mixed(5, 9, seed=1), mixed(4, 6, seed=2)])
    together = rollout(
        multi_task, policy, batch, Greedy(), num_trajectories=STARTS,
        starts=multi_task.start_actions(batch, STARTS),
    )  # fmt: skip
    logits = policy.logits(policy.encode(batch), multi_task.observe(multi_task.reset(batch, 1)))
    for i, one in enumerate(unbatch(batch)):
        alone = policy.logits(policy.encode(one), multi_task.observe(multi_task.reset(one, 1)))
        torch.testing.assert_close(logits[i, :, : one.num_nodes], alone[0], rtol=1e-4, atol=1e-4)
        run = rollout(
            multi_task, policy, one, Greedy(), num_trajectories=STARTS,
            starts=multi_task.start_actions(batch, STARTS)[i : i + 1],
        )  # fmt: skip
        torch.testing.assert_close(together.costs[i : i + 1], run.costs)


def plain_loss(
    policy: Policy,
    env: Environment,
    batch: Instance,
    given: Trajectory,
    weights: Tensor,
    noise: int,
) -> tuple[Tensor, Tensor]:
    """The definition: walk the actions with a graph, sum log-probabilities and usage."""
    encoding = policy.encode(batch, torch.Generator().manual_seed(noise))
    state = env.reset(batch, given.actions.shape[1])
    total = torch.zeros_like(given.costs)
    usage: list[Usage] = []
    for i, action in enumerate(given.actions.unbind(2)):
        if i >= given.num_forced:
            seen = env.observe(state)
            scores = policy.scores(encoding, seen)
            chances = scores.logits.masked_fill(~seen.mask, -torch.inf).log_softmax(2)
            total = total + chances.gather(2, action.unsqueeze(2)).squeeze(2)
            usage.append(usage_of(scores, seen.mask))
        state = env.step(state, action)
    loss = (weights * total).sum()
    return loss + balance_loss(policy, {**encoding.usage, **summed(usage)}), total


def gradients(policy: Policy, loss: Tensor) -> dict[str, Tensor]:
    policy.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in policy.named_parameters()
    }


@EACH
def test_scoring_at_once_equals_the_definition(name: str) -> None:
    """Likelihoods, balance losses and all gradients to 1e-5, however scoring is cut into chunks,
    with the noise of gates; and every parameter has a gradient."""
    policy = small_policy(name, multi_task).train()
    batch = mixed(6, 7, seed=3)
    given, noise = sampled(multi_task, policy, batch, seed=5)
    weights = torch.randn(6, STARTS, generator=torch.Generator().manual_seed(4)) / (6 * STARTS)
    expected, likelihood = plain_loss(policy, multi_task, batch, given, weights, noise)
    wanted = gradients(policy, expected)
    for budget in (3000.0, 1e9):
        encoding = policy.encode(batch, torch.Generator().manual_seed(noise))
        found = log_likelihood(policy, multi_task, batch, given, encoding=encoding, budget=budget)
        torch.testing.assert_close(found, likelihood, rtol=1e-5, atol=1e-5)
        loss, scores = policy_gradient(
            policy, multi_task, batch, given, weights, encoding=encoding, budget=budget
        )
        torch.testing.assert_close(scores, likelihood, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        for parameter, grad in gradients(policy, loss).items():
            torch.testing.assert_close(grad, wanted[parameter], rtol=1e-5, atol=1e-5)
    for parameter, grad in wanted.items():
        assert float(grad.abs().sum()) > 0, parameter


@pytest.mark.parametrize("gate", ["noisy-top-k", "hierarchical", "shared-sigmoid"])
def test_usage_counts_every_real_choice(gate: str) -> None:
    """The decoder's gate values add up to the choices that were made (times the shared experts and
    the first gate's probabilities); chunks of the rollout do not change the sum."""
    policy = small_policy(f"pomo {gate}", multi_task)
    batch = mixed(6, 7, seed=3)
    starts = multi_task.start_actions(batch, STARTS)
    encoding = policy.encode(batch)
    runs = [
        rollout(
            multi_task, policy, batch, Greedy(), num_trajectories=STARTS, starts=starts,
            record=True, encoding=encoding, memory=memory,
        )
        for memory in (1.0, None)
    ]  # fmt: skip
    assert runs[0].decisions is not None
    torch.testing.assert_close(runs[0].usage, runs[1].usage)
    choices = float((runs[0].decisions.mask.sum(3) > 1).sum())
    weights, load = runs[0].usage["decoder"]
    if gate == "noisy-top-k":
        assert float(weights.sum()) == pytest.approx(choices, rel=1e-5)
        assert float(load.sum()) == pytest.approx(2 * choices)
    elif gate == "shared-sigmoid":
        assert float(weights[0]) == float(load[0]) == choices
        assert float(weights[1:].sum()) == pytest.approx(choices, rel=1e-5)
        assert float(load[1:].sum()) == pytest.approx(2 * choices)
    else:
        dense = float(load[0])
        assert dense + float(load[1:].sum()) / 2 == pytest.approx(choices)


@EACH
def test_noise_comes_from_the_generator_alone(name: str) -> None:
    """Without one, encoding twice is the same to the bit; with one, the seed decides; torch's
    global numbers are left alone."""
    policy = small_policy(name, multi_task).train()
    batch = mixed(3, 6, seed=6)

    def tables(seed: int | None) -> list[Tensor]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return policy.encode(batch, generator).leaves()

    before = torch.random.get_rng_state()
    for seed in (None, 1):
        for a, b in zip(tables(seed), tables(seed), strict=True):
            assert torch.equal(a, b)
    assert torch.equal(before, torch.random.get_rng_state())
    noisy = any(kind in name for kind in ("noisy", "hierarchical", "rrnco", "matnet"))
    same = all(torch.equal(a, b) for a, b in zip(tables(1), tables(2), strict=True))
    assert same != noisy


@EACH
def test_mixed_precision_encodes(name: str) -> None:
    """Under bfloat16 the tables stay float32 and near those of full precision."""
    policy = small_policy(name, multi_task)
    batch = mixed(4, 6, seed=7)
    seen = multi_task.observe(multi_task.reset(batch, 1))
    full = policy.logits(policy.encode(batch), seen)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoding = policy.encode(batch)
    assert all(leaf.dtype == torch.float32 for leaf in encoding.leaves())
    # a gate may choose another expert, so only the typical difference is bounded
    assert float((policy.logits(encoding, seen) - full).detach().abs().median()) < 0.2


def test_an_open_route_is_seen_by_the_nodes() -> None:
    """What stands at the depot reaches customers by attention: the flag changes their scores."""
    policy = small_policy("routefinder", multi_task)
    batch = multi_task_instances(2, 6, torch.Generator().manual_seed(0), VARIANTS[:1])
    opened = batch.clone()
    opened.open_route = torch.ones_like(batch.open_route)
    tables = [policy.encode(one).batched["pointer"] for one in (batch, opened)]
    assert bool(((tables[0] - tables[1]).abs().amax(1) > 1e-6).all())


def test_policies_say_what_does_not_fit() -> None:
    """An attribute gate or FiLM on a problem with one variant; experts behind ReLD."""
    for name in ("routefinder attribute", "routefinder film"):
        with pytest.raises(InputError, match="one variant only"):
            small_policy(name, cvrp)
    config = POLICIES["routefinder"]
    assert isinstance(config, RouteFinderConfig)
    with pytest.raises(ValueError, match="decoder_experts"):
        RouteFinderConfig.model_validate(
            {**config.model_dump(), "decoder": "reld", "decoder_experts": GATES["attribute"]}
        )


def test_a_part_of_an_encoding_keeps_its_usage() -> None:
    """Cutting tables into chunks of instances leaves the encoder's usage of the whole batch."""
    policy = small_policy("pomo noisy-top-k", multi_task)
    encoding = policy.encode(mixed(4, 6, seed=7))
    assert encoding.part(1, 2).usage is encoding.usage
    assert replace(encoding, usage={}).usage == {}
