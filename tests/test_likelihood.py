"""The batched scoring pass against step-by-step scoring, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nco.data.batching import collate
from nco.data.instance import Instance
from nco.envs.environment import Environment
from nco.envs.variants import cvrp, tsp
from nco.kernels import Kernel
from nco.likelihood import chunks, log_likelihood, policy_gradient
from nco.models.attention_model import AttentionModel
from nco.models.policy import Policy
from nco.models.pomo import POMO
from nco.rollout import Trajectory, rollout
from nco.strategies import Sampling
from tests.small import instances


def build(kind: str, env: Environment) -> Policy:
    """A small policy in eval mode."""
    torch.manual_seed(0)
    model = (
        AttentionModel(env, dim=32, num_heads=4, num_layers=2, hidden=64)
        if kind == "am"
        else POMO(env, dim=32, num_heads=4, num_layers=2, hidden=64)
    )
    return model.eval()


def step_by_step(
    policy: Policy, env: Environment, instance: Instance, trajectory: Trajectory
) -> Tensor:
    """The plain definition: walk the actions, sum the log-probability of each, with a graph."""
    encoding = policy.encode(instance)
    state = env.reset(instance, trajectory.actions.shape[1])
    total = torch.zeros_like(trajectory.costs)
    for i, action in enumerate(trajectory.actions.unbind(2)):
        if i >= trajectory.num_forced:
            seen = env.observe(state)
            scores = policy.logits(encoding, seen).masked_fill(~seen.mask, -torch.inf)
            chosen = scores.log_softmax(2).gather(2, action.unsqueeze(2)).squeeze(2)
            total = total + chosen
        state = env.step(state, action)
    return total


def gradients(policy: Policy, loss: Tensor) -> list[Tensor]:
    """Of every parameter; zeros where a parameter takes no part."""
    policy.zero_grad()
    loss.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in policy.parameters()]


CASES = [
    (kind, problem, multi)
    for kind in ("am", "pomo")
    for problem in ("tsp", "cvrp")
    for multi in (False, True)
]


@pytest.mark.parametrize("memory", [1.0, None])
@pytest.mark.parametrize(("kind", "problem", "multi"), CASES)
@pytest.mark.parametrize("kernel", ["plain", "cpu"])
def test_all_steps_at_once_equal_step_by_step(
    kind: str, problem: str, multi: bool, memory: float | None, kernel: Kernel
) -> None:
    """Likelihoods and gradients agree to 1e-5, however rollout and scoring are cut into chunks,
    recorded or replayed."""
    env = tsp if problem == "tsp" else cvrp
    policy = build(kind, env)
    # mixed sizes, so that some trajectories end before others
    batch = collate([instances(problem, 9, 3, seed=1), instances(problem, 6, 2, seed=2)])
    count = 5
    trajectory = rollout(
        env,
        policy,
        batch,
        Sampling(),
        num_trajectories=count,
        starts=env.start_actions(batch, count) if multi else None,
        generator=torch.Generator().manual_seed(3),
        record=True,
        memory=memory,
        kernel=kernel,
    )
    # as in training, the weights are those of a mean over the trajectories
    weights = torch.randn(5, count, generator=torch.Generator().manual_seed(4)) / (5 * count)
    expected = step_by_step(policy, env, batch, trajectory)
    expected_grads = gradients(policy, (weights * expected).sum())
    replayed = Trajectory(trajectory.actions, trajectory.costs, trajectory.num_forced, None)
    # the kernel has chunks of its own
    for budget in (1.0, 3000.0, 1e9) if kernel == "plain" else (None,):
        for given in (trajectory, replayed):
            found = log_likelihood(policy, env, batch, given, budget=budget, kernel=kernel)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            grads = gradients(policy, (weights * found).sum())
            loss, scores = policy_gradient(
                policy, env, batch, given, weights, budget=budget, kernel=kernel
            )
            torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(loss, (weights * expected).sum(), rtol=1e-5, atol=1e-5)
            others = gradients(policy, loss)
            for a, b, c in zip(expected_grads, grads, others, strict=True):
                torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(c, a, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["am", "pomo"])
@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_gradient_reaches_every_parameter(kind: str, problem: str) -> None:
    """No parameter is left out of training."""
    env = tsp if problem == "tsp" else cvrp
    policy = build(kind, env).train()
    batch = instances(problem, 8, 4)
    trajectory = rollout(
        env, policy, batch, Sampling(), num_trajectories=4,
        generator=torch.Generator().manual_seed(0), record=True,
        starts=env.start_actions(batch, 4) if kind == "pomo" else None,
    )  # fmt: skip
    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    loss, _ = policy_gradient(policy, env, batch, trajectory, weights)
    policy.zero_grad()
    loss.backward()
    for name, parameter in policy.named_parameters():
        if parameter.numel() and name != "placeholder":
            assert parameter.grad is not None, name
            assert float(parameter.grad.abs().sum()) > 0, name
    if kind == "am" and problem == "tsp":
        # a free first choice of the AM on a TSP goes through the placeholder
        assert isinstance(policy, AttentionModel)
        assert policy.placeholder is not None
        assert policy.placeholder.grad is not None
        assert float(policy.placeholder.grad.abs().sum()) > 0


def test_chunks_cover_every_decision_once() -> None:
    """Whatever the budget, each (instance, step) is in exactly one chunk."""
    policy = build("am", tsp)
    batch = instances("tsp", 7, 5)
    trajectory = rollout(
        tsp, policy, batch, Sampling(), num_trajectories=3, record=True,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert trajectory.decisions is not None
    steps = trajectory.decisions.mask.shape[0]
    for budget in (1.0, 500.0, 2000.0, 1e4, 1e9):
        seen = torch.zeros(5, steps)
        for chunk in chunks(trajectory.decisions, budget):
            seen[chunk.first : chunk.last, chunk.begin : chunk.end] += 1
        assert bool((seen == 1).all())
