"""Scores given trajectories for all steps at once, with gradients.

Training is a rollout without gradients, then one batched scoring pass: the states visited are
stacked along S·T and given to the policy once, in chunks of instances that stay in cache. Memory
does not grow with the depth of the rollout's graph, and every matrix product is a large one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation, mask_bias
from nco.episode import Decisions, usage_of
from nco.joint_episode import joint_log_likelihood
from nco.kernels import Kernel, scoring_clip
from nco.models.policy import Encoding, Policy, Usage
from nco.rollout import Trajectory, replay
from nco.threads import map_in_order

CPU_CHUNK = 1e6
"""State-node-head products of one scoring chunk on a CPU, 4 MB in float32: smaller ones cost more
in calls than they save in caches, above all with several threads."""
GPU_CHUNK = 2.5e8
"""The same on a GPU: about 1 GB for each table of that size in float32."""
HEADS = 8
"""Of a typical policy; the budget need not be exact."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The decisions of some instances at some steps, which are scored at once."""

    first: int
    last: int
    """Instances ``first`` to ``last``, the latter excluded."""
    begin: int
    end: int
    """Steps, likewise."""


def chunks(decisions: Decisions, budget: float | None = None) -> list[Chunk]:
    """Cut the decisions so that a chunk's attention weights fit a budget (in numbers).

    Whole instances where several fit, else some steps of one instance.
    """
    steps, count, s, n = decisions.mask.shape
    if budget is None:
        budget = CPU_CHUNK if decisions.mask.device.type == "cpu" else GPU_CHUNK
    per_step = HEADS * s * n
    instances = max(1, int(budget / (per_step * steps)))
    length = steps if instances > 1 else min(steps, max(1, int(budget / per_step)))
    # even lengths: a short last chunk costs as much overhead as a long one
    length = math.ceil(steps / math.ceil(steps / length))
    found = []
    for first in range(0, count, instances):
        last = min(count, first + instances)
        marks = list(range(0, steps, length))
        if decisions.unstarted:
            # the choice before any node is chosen is scored by itself
            marks = [0, *range(1, steps, length)]
        found += [
            Chunk(first, last, begin, end)
            for begin, end in zip(marks, [*marks[1:], steps], strict=True)
        ]
    return found


def _stacked(values: Tensor, chunk: Chunk) -> Tensor:
    """[T, B, S, ...] -> [b, t·S, ...] for a chunk."""
    part = values[chunk.begin : chunk.end, chunk.first : chunk.last]
    return part.transpose(0, 1).flatten(1, 2)


def _score(
    policy: Policy, encoding: Encoding, decisions: Decisions, chunk: Chunk
) -> tuple[Float[Tensor, "batch trajectory"], Usage]:
    """A chunk's part of the log-likelihood of its trajectories, and of the usage of experts;
    ``encoding`` is the chunk's."""
    observation = Observation(
        current=_stacked(decisions.current, chunk),
        first=_stacked(decisions.first, chunk),
        features=_stacked(decisions.features, chunk),
        mask=_stacked(decisions.mask, chunk),
        started=not (decisions.unstarted and chunk.begin == 0),
    )
    action = _stacked(decisions.action, chunk)
    with torch.autocast(action.device.type, enabled=False):
        scores = policy.scores(encoding, observation)
        if decisions.allowed is not None:
            allowed = _stacked(decisions.allowed, chunk)
            chosen = joint_log_likelihood(scores.logits, action, allowed)
        else:
            masked = scores.logits + mask_bias(observation.mask, scores.logits.dtype)
            # log_softmax and a look-up: torch's logsumexp is ten times slower on a CPU
            chosen = masked.log_softmax(2).gather(2, action.unsqueeze(2))
        usage = usage_of(scores, observation.mask)
    return chosen.view(chunk.last - chunk.first, chunk.end - chunk.begin, -1).sum(1), usage


def decisions_of(env: Environment, instance: Instance, trajectory: Trajectory) -> Decisions:
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
    budget: float | None = None,
    kernel: Kernel = "auto",
) -> Float[Tensor, "batch trajectory"]:
    """Log-likelihood of each trajectory's chosen actions, differentiable.

    Args:
        policy: is run once for the encoding and once for each chunk.
        env, instance, trajectory: as in the rollout; states that were not recorded are replayed.
        encoding: the policy's tables, where they are computed already (with gradients).
        budget: of a chunk, as `chunks` explains. The activations of a chunk are recomputed in the
            backward pass, so memory does not grow with their number.
        kernel: "auto" and "cpu" take the CPU's kernel where it can be; others, torch.
    """
    decisions = decisions_of(env, instance, trajectory)
    if encoding is None:
        encoding = policy.encode(instance)
    clip = scoring_clip(policy, decisions.mask, kernel)
    if clip is not None:
        # here and below: numba takes half a second to import
        from nco.cpu_pointer import likelihood

        return likelihood(encoding, decisions, clip)
    plan = chunks(decisions, budget)
    total: dict[int, Tensor] = {}
    for chunk in plan:
        part = encoding.part(chunk.first, chunk.last)

        def scored(*leaves: Tensor, part: Encoding = part, chunk: Chunk = chunk) -> Tensor:
            return _score(policy, part.with_leaves(leaves), decisions, chunk)[0]

        if len(plan) == 1:
            return scored(*part.leaves())
        score = checkpoint(scored, *part.leaves(), use_reentrant=False)
        assert isinstance(score, Tensor)
        known = total.get(chunk.first)
        total[chunk.first] = score if known is None else known + score
    return torch.cat(list(total.values()))


def balance_loss(policy: Policy, usage: Usage) -> Float[Tensor, ""]:
    """What the gates of a policy say about how their experts are used."""
    gates = policy.gates
    losses = [gates[name].balance_loss(used) for name, used in usage.items()]
    return torch.stack(losses).sum() if losses else torch.zeros(())


def _balance(policy: Policy, usage: Usage) -> tuple[Usage, Float[Tensor, ""]]:
    """The gradient of `balance_loss` with respect to each gate's usage where there is one, and its
    value."""
    leaves = {name: used.detach().requires_grad_() for name, used in usage.items()}
    with torch.enable_grad():
        loss = balance_loss(policy, leaves)
    if not loss.requires_grad:
        return {}, loss
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves, grads, strict=True)
    return {name: grad for name, grad in pairs if grad is not None}, loss.detach()


def policy_gradient(
    policy: Policy,
    env: Environment,
    instance: Instance,
    trajectory: Trajectory,
    weights: Float[Tensor, "batch trajectory"],
    *,
    encoding: Encoding | None = None,
    budget: float | None = None,
    kernel: Kernel = "auto",
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch trajectory"]]:
    """A loss whose gradient is that of ``(weights * log_likelihood).sum()``, and the likelihoods.

    The weights (advantages) are known before the scores, so each chunk's gradient with respect to
    the per-instance tables is taken at once and its activations are freed; the encoder is passed
    back once, when the caller differentiates the loss. The loss's value is the weighted sum.

    Parameters that `Policy.scores` reads directly get their gradients in the same way, so one
    backward pass of the caller reaches every parameter once (as data-parallel training needs).

    The balance loss of experts is added. For gates that are asked at each step it depends on the
    usage over all chunks; that is known from the rollout, so its gradient with respect to the
    usage is a constant here, and chunks can still go one by one.

    Args:
        policy, env, instance, trajectory, encoding, budget, kernel: as in `log_likelihood`.
        weights: of each trajectory.
    """
    decisions = decisions_of(env, instance, trajectory)
    if encoding is None:
        encoding = policy.encode(instance)
    tables = encoding.leaves()
    num_batched = len(encoding.batched)
    sums = [torch.zeros_like(t) for t in tables]
    direct = [p for p in policy.parameters() if p.requires_grad]
    direct_sums: list[Tensor | None] = [None] * len(direct)
    scores = torch.zeros_like(trajectory.costs)
    usage_grads, balance = _balance(policy, trajectory.usage)

    clip = scoring_clip(policy, decisions.mask, kernel)

    def graded(chunk: Chunk) -> tuple[Tensor, Sequence[Tensor | None]]:
        rows = slice(chunk.first, chunk.last)
        cut = [t[rows] if i < num_batched else t for i, t in enumerate(tables)]
        leaves = [t.detach().requires_grad_() for t in cut]
        with torch.enable_grad():
            score, usage = _score(policy, encoding.with_leaves(leaves), decisions, chunk)
        grads = torch.autograd.grad(
            [score, *(usage[name] for name in usage_grads)],
            [*leaves, *direct],
            grad_outputs=[weights[rows], *usage_grads.values()],
            allow_unused=True,
        )
        return score.detach(), grads

    def graded_by_kernel(chunk: Chunk) -> tuple[Tensor, Sequence[Tensor | None]]:
        from nco.cpu_pointer import graded as by_kernel

        assert clip is not None
        part, rows = encoding.part(chunk.first, chunk.last), slice(chunk.first, chunk.last)
        return by_kernel(part, decisions, rows, clip, weights[rows])

    if clip is None:
        plan, work = chunks(decisions, budget), graded
    else:
        from nco.cpu_pointer import chunks as kernel_chunks

        steps = decisions.action.shape[0]
        plan = [Chunk(c.start, c.stop, 0, steps) for c in kernel_chunks(decisions)]
        work = graded_by_kernel
    # in order, so that sums are the same however many threads there are
    for chunk, (score, grads) in zip(plan, map_in_order(work, plan, weights.device), strict=True):
        rows = slice(chunk.first, chunk.last)
        for i, grad in enumerate(grads[: len(tables)]):
            if grad is not None:
                (sums[i][rows] if i < num_batched else sums[i]).add_(grad)
        for i, grad in enumerate(grads[len(tables) :]):
            if grad is not None:
                known = direct_sums[i]
                direct_sums[i] = grad if known is None else known + grad
        scores[rows] += score
    surrogate = torch.zeros((), device=weights.device)
    for table, total in zip(tables, sums, strict=True):
        if table.requires_grad:
            surrogate = surrogate + (table * total).sum()
    for parameter, total in zip(direct, direct_sums, strict=True):
        if total is not None:
            surrogate = surrogate + (parameter * total).sum()
    value = (weights * scores).sum() + balance.to(weights.device)
    # keep the gradient, show the value of the true loss
    loss = surrogate - surrogate.detach() + value
    if encoding.usage:
        loss = loss + balance_loss(policy, encoding.usage)
    return loss, scores
