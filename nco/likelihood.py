"""Scores given trajectories for all steps at once, with gradients.

Training is a rollout without gradients, then one batched scoring pass: the states visited are
stacked along S·T and given to the policy once, in chunks of instances that stay in cache. Memory
does not grow with the depth of the rollout's graph, and every matrix product is a large one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.models.policy import Encoding, Policy
from nco.rollout import Decisions, Trajectory, replay

CPU_CHUNK = 1.5e6
"""Query-node-head products of one scoring chunk on a CPU: what stays in its caches."""
GPU_CHUNK = 2.5e8
"""The same on a GPU: about 1 GB for each table of that size in float32."""


def chunk_size(decisions: Decisions) -> int:
    """Instances to score at once."""
    steps, _, s, n = decisions.mask.shape
    budget = CPU_CHUNK if decisions.mask.device.type == "cpu" else GPU_CHUNK
    return max(1, int(budget / (8 * steps * s * n)))


def _stacked(values: Tensor, start: int, stop: int) -> Tensor:
    """[T, B, S, ...] -> [b, T·S, ...] for the instances of a chunk."""
    return values[:, start:stop].transpose(0, 1).flatten(1, 2)


def _log_probability(
    policy: Policy, encoding: Encoding, observation: Observation, action: Tensor
) -> Float[Tensor, "batch state"]:
    logits = policy.logits(encoding, observation)
    scores = logits.float().masked_fill(~observation.mask, -torch.inf)
    return scores.gather(2, action.unsqueeze(2)).squeeze(2) - scores.logsumexp(2)


def _score(
    policy: Policy, encoding: Encoding, decisions: Decisions, start: int, stop: int
) -> Float[Tensor, "batch trajectory"]:
    """Log-likelihood of the trajectories of the instances ``start`` to ``stop``."""
    steps = decisions.mask.shape[0]
    pieces = [(0, 1, False), (1, steps, True)] if decisions.unstarted else [(0, steps, True)]
    total = None
    for begin, end, started in pieces:
        if begin == end:
            continue
        observation = Observation(
            current=_stacked(decisions.current[begin:end], start, stop),
            first=_stacked(decisions.first[begin:end], start, stop),
            features=_stacked(decisions.features[begin:end], start, stop),
            mask=_stacked(decisions.mask[begin:end], start, stop),
            started=started,
        )
        action = _stacked(decisions.action[begin:end], start, stop)
        chosen = _log_probability(policy, encoding, observation, action)
        part = chosen.view(stop - start, end - begin, -1).sum(1)
        total = part if total is None else total + part
    assert total is not None  # a trajectory has at least one decision
    return total


def _chunks(count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, size):
        yield start, min(count, start + size)


def decisions_of(
    env: Environment, instance: Instance, trajectory: Trajectory
) -> Decisions:
    """What the rollout recorded, or else a replay of the actions."""
    if trajectory.decisions is not None:
        return trajectory.decisions
    return replay(env, instance, trajectory.actions, trajectory.num_forced)


def log_likelihood(
    policy: Policy,
    env: Environment,
    instance: Instance,
    trajectory: Trajectory,
    *,
    encoding: Encoding | None = None,
    chunk: int | None = None,
) -> Float[Tensor, "batch trajectory"]:
    """Log-likelihood of each trajectory's chosen actions, differentiable.

    Args:
        policy: is run once for the encoding and once for each chunk.
        env, instance, trajectory: as in the rollout; states that were not recorded are replayed.
        encoding: the policy's tables, where they are computed already (with gradients).
        chunk: instances to score at once; by default what a memory budget allows. Activations of
            a chunk are recomputed in the backward pass, so memory does not grow with their number.
    """
    decisions = decisions_of(env, instance, trajectory)
    if encoding is None:
        encoding = policy.encode(instance)
    size = chunk or chunk_size(decisions)
    count = trajectory.actions.shape[0]
    if size >= count:
        return _score(policy, encoding, decisions, 0, count)
    parts = []
    for start, stop in _chunks(count, size):
        part = encoding.part(start, stop)

        def scored(*leaves: Tensor, part: Encoding = part, at: tuple[int, int] = (start, stop)):
            return _score(policy, part.with_leaves(leaves), decisions, *at)

        parts.append(checkpoint(scored, *part.leaves(), use_reentrant=False))
    return torch.cat(parts)


def policy_gradient(
    policy: Policy,
    env: Environment,
    instance: Instance,
    trajectory: Trajectory,
    weights: Float[Tensor, "batch trajectory"],
    *,
    encoding: Encoding | None = None,
    chunk: int | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch trajectory"]]:
    """A loss whose gradient is that of ``(weights * log_likelihood).sum()``, and the likelihoods.

    The weights (advantages) are known before the scores, so each chunk's gradient with respect to
    the per-instance tables is taken at once and its activations are freed; the encoder is passed
    back once, when the caller differentiates the loss. The loss's value is the weighted sum.

    Parameters that `Policy.logits` reads directly get their gradients in the same way, so one
    backward pass of the caller reaches every parameter once (as data-parallel training needs).
    """
    decisions = decisions_of(env, instance, trajectory)
    if encoding is None:
        encoding = policy.encode(instance)
    count = trajectory.actions.shape[0]
    size = chunk or chunk_size(decisions)
    tables = encoding.leaves()
    num_batched = len(encoding.batched)
    sums = [torch.zeros_like(t) for t in tables]
    direct = [p for p in policy.parameters() if p.requires_grad]
    direct_sums: list[Tensor | None] = [None] * len(direct)
    scores, value = [], torch.zeros((), device=weights.device)
    for start, stop in _chunks(count, size):
        cut = [t[start:stop] if i < num_batched else t for i, t in enumerate(tables)]
        leaves = [t.detach().requires_grad_() for t in cut]
        with torch.enable_grad():
            score = _score(policy, encoding.with_leaves(leaves), decisions, start, stop)
            loss = (weights[start:stop] * score).sum()
        grads = torch.autograd.grad(loss, [*leaves, *direct], allow_unused=True)
        for i, grad in enumerate(grads[: len(leaves)]):
            if grad is None:
                continue
            if i < num_batched:
                sums[i][start:stop] = grad
            else:
                sums[i] += grad
        for i, grad in enumerate(grads[len(leaves) :]):
            if grad is not None:
                known = direct_sums[i]
                direct_sums[i] = grad if known is None else known + grad
        scores.append(score.detach())
        value = value + loss.detach()
    surrogate = torch.zeros((), device=weights.device)
    for table, total in zip(tables, sums, strict=True):
        if table.requires_grad:
            surrogate = surrogate + (table * total).sum()
    for parameter, total in zip(direct, direct_sums, strict=True):
        if total is not None:
            surrogate = surrogate + (parameter * total).sum()
    # keep the gradient, show the value of the true loss
    return surrogate - surrogate.detach() + value, torch.cat(scores)
