"""The one loop: a policy and a strategy build solutions in an environment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.capture import CUDAGraphReplay
from nco.captured_rollout import CapturedRollouts, captured_rollout
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.envs.fleet_parallel import ParallelFleetVRP
from nco.episode import Actor, Chooser, Decisions, decided, plain_episode, summed
from nco.fused_rollout import fused_actions
from nco.joint_episode import joint_episode, joint_replay
from nco.kernel_scope import pointer_clip
from nco.kernels import Kernel, rollout_kernel
from nco.models.policy import Encoding, Policy, Usage
from nco.strategies import Greedy, Sampling, Strategy
from nco.threads import map_in_order


@dataclass(frozen=True)
class Trajectory:
    """Complete solutions of a batch, S of each instance."""

    actions: Int[Tensor, "batch trajectory step"]
    costs: Float[Tensor, "batch trajectory"]
    """In the instance's units, by the environment."""
    num_forced: int
    """Leading actions that were given, not chosen: they have probability 1."""
    decisions: Decisions | None
    """Recorded only when asked for."""
    usage: Usage = field(default_factory=dict)
    """Of the gates that were asked at each step, over all real choices; with the decisions."""


CPU_MEMORY = 1e6
"""Bytes of one step's attention weights on a CPU: what stays in a core's cache. Eight times more
halves the speed at 100 nodes."""
KERNEL_ROWS = 1024
"""Trajectories that the CPU's kernel advances between two steps of the environment: enough for the
environment's operations not to count, and still several pieces for the threads."""
GPU_MEMORY = 2e9


def trajectories_at_once(instance: Instance, memory: float | None, rows: int | None = None) -> int:
    """How many trajectories to roll out together, of one instance or of several, so that a step's
    attention weights take ``memory`` bytes; None takes ``rows``, or else what is fast on the
    device."""
    if memory is None and rows is not None:
        return rows
    if memory is None:
        memory = CPU_MEMORY if instance.valid.device.type == "cpu" else GPU_MEMORY
    heads, width = 8, 4
    # with a fleet, a step looks at every node for every vehicle
    vehicles = 1 if instance.fleet is None else instance.fleet.num_vehicles
    return max(1, int(min(memory / (instance.num_nodes * vehicles * heads * width), 1e9)))


def pieces(num_instances: int, num_trajectories: int, rows: int) -> list[slice]:
    """Cut a batch into even shares of at most ``rows`` trajectories, whole instances each."""
    size = max(1, rows // num_trajectories)
    count = math.ceil(num_instances / size)
    size = math.ceil(num_instances / count)
    return [slice(i, min(i + size, num_instances)) for i in range(0, num_instances, size)]


def rollout(
    env: Environment,
    policy: Policy,
    instance: Instance,
    strategy: Strategy,
    *,
    num_trajectories: int = 1,
    starts: Int[Tensor, "batch trajectory forced"] | None = None,
    generator: torch.Generator | None = None,
    record: bool = False,
    encoding: Encoding | None = None,
    memory: float | None = None,
    kernel: Kernel | CapturedRollouts = "auto",
) -> Trajectory:
    """Build ``num_trajectories`` solutions of each instance, without gradients.

    Args:
        env: the rules.
        policy: scores the choices; its mode (train or eval) is left as it is.
        instance: B instances; padding and mixed sizes allowed.
        strategy: makes the choices.
        num_trajectories: S; must match ``starts`` where that is given.
        starts: leading actions, as `Environment.start_actions` gives them for multi-start.
        generator: for a strategy that draws; on the instance's device.
        record: keep what `nco.likelihood` needs to score the trajectories.
        encoding: the policy's tables of this instance, where they are computed already.
        memory: as `trajectories_at_once` explains; draws depend on it.
        kernel: how steps are computed (`nco.kernels.Kernel`). What `captured_steps` returns stands
            for "captured" and keeps what it captured for the next call.

    Raises:
        InputError: ``starts`` does not match, or the kernel asked for is not possible.
    """
    if starts is not None and starts.shape[1] != num_trajectories:
        raise InputError(
            f"starts has {starts.shape[1]} trajectories; accepted: {num_trajectories}, as asked for"
        )
    if starts is None and policy.needs_start:
        starts = env.start_actions(instance, num_trajectories)
    device = instance.valid.device
    kernel = captured_steps(kernel, device)
    if not isinstance(kernel, CapturedRollouts):
        kernel = rollout_kernel(env, policy, instance.num_nodes, device, strategy, kernel)
    # draws must not depend on the number of threads, so nor do the pieces. The trajectories of one
    # instance stay together: two loops of so few rows wait for Python's lock more than they compute
    rows = trajectories_at_once(instance, memory, rows=KERNEL_ROWS if kernel == "cpu" else None)
    plan = pieces(instance.batch_size[0], num_trajectories, rows)
    with torch.no_grad():
        tables = policy.encode(instance) if encoding is None else encoding
        generators = [generator] if len(plan) == 1 else split(generator, len(plan))

        def work(index: int) -> Trajectory:
            where = plan[index]
            return _rollout(
                env,
                policy,
                instance[where] if len(plan) > 1 else instance,
                strategy,
                num_trajectories,
                None if starts is None else starts[where],
                generators[index],
                record,
                tables.part(where.start, where.stop),
                kernel,
            )

        done = list(map_in_order(work, range(len(plan)), device))
    return done[0] if len(done) == 1 else _joined(done)


def captured_steps(
    kernel: Kernel | CapturedRollouts, device: torch.device
) -> Kernel | CapturedRollouts:
    """What keeps captured steps from one rollout to the next, where the kernel is "captured"; any
    other as it is.

    Raises:
        InputError: the device has no graphs.
    """
    if kernel != "captured":
        return kernel
    if device.type != "cuda":
        raise InputError(f"kernel is captured, but the device is {device.type}; accepted: cuda")
    return CapturedRollouts(CUDAGraphReplay(device))


def split(generator: torch.Generator | None, count: int) -> list[torch.Generator | None]:
    """Generators of their own for pieces that may run side by side."""
    if generator is None:
        return [None] * count
    seeds = torch.randint(2**62, (count,), generator=generator, device=generator.device)
    return [torch.Generator(generator.device).manual_seed(seed) for seed in seeds.tolist()]


def _rollout(
    env: Environment,
    policy: Policy,
    instance: Instance,
    strategy: Strategy,
    num_trajectories: int,
    starts: Int[Tensor, "batch trajectory forced"] | None,
    generator: torch.Generator | None,
    record: bool,
    encoding: Encoding,
    kernel: Kernel | CapturedRollouts,
) -> Trajectory:
    with torch.autocast(instance.valid.device.type, enabled=False):
        state = env.reset(instance, num_trajectories)
        actions: list[Tensor] = []
        if starts is not None:
            for action in starts.unbind(2):
                state = env.step(state, action)
                actions.append(action)
        num_forced = len(actions)
        if kernel == "triton":
            most = env.max_steps(instance) - num_forced
            chosen = fused_actions(env, policy, encoding, state, strategy, most, generator)
            stacked = torch.cat([*(a.unsqueeze(2) for a in actions), chosen], 2)
            decisions = replay(env, instance, stacked, num_forced) if record else None
            return Trajectory(stacked, env.cost(instance, stacked), num_forced, decisions)
        chooser = pointer_chooser(policy, encoding, strategy) if kernel == "cpu" else None
        actor = Actor(env, policy, strategy, record, chooser)
        least, most = env.min_steps(instance), env.max_steps(instance)
        if isinstance(env, ParallelFleetVRP):
            if isinstance(kernel, CapturedRollouts):
                raise InputError(
                    "kernel is captured, but decisions are joint; accepted: auto, plain"
                )
            most = env.max_joint_steps(instance)
            episode = joint_episode(
                env, policy, strategy, encoding, state, generator, most, record=record
            )
        elif isinstance(kernel, CapturedRollouts):
            episode = captured_rollout(actor, encoding, state, generator, least, most, kernel)
        else:
            episode = plain_episode(actor, encoding, state, generator, least, most)
        stacked = torch.stack([*actions, *episode.actions], 2)
        costs = env.cost(instance, stacked)
        return Trajectory(stacked, costs, num_forced, episode.decisions, episode.usage)


def pointer_chooser(policy: Policy, encoding: Encoding, strategy: Strategy) -> Chooser:
    """The CPU kernel's, for a policy and a strategy that `rollout_kernel` found fit for it."""
    # numba takes half a second to import
    from nco.cpu_pointer import PointerChooser

    clip = pointer_clip(policy)
    assert clip is not None
    assert isinstance(strategy, Greedy | Sampling)
    return PointerChooser(encoding, clip, strategy)


def lengthened(actions: Int[Tensor, "batch *trajectory step"], steps: int) -> Tensor:
    """Repeat the last action: a finished trajectory stays where it is."""
    extra = steps - actions.shape[-1]
    return torch.cat([actions, actions[..., -1:].expand(*actions.shape[:-1], extra)], -1)


def _joined(parts: list[Trajectory]) -> Trajectory:
    """Trajectories of several chunks of instances as one batch."""
    steps = max(p.actions.shape[2] for p in parts)
    decisions = [p.decisions for p in parts if p.decisions is not None]
    return Trajectory(
        actions=torch.cat([lengthened(p.actions, steps) for p in parts]),
        costs=torch.cat([p.costs for p in parts]),
        num_forced=parts[0].num_forced,
        decisions=_joined_decisions(decisions) if decisions else None,
        usage=summed([p.usage for p in parts]),
    )


def _joined_decisions(parts: list[Decisions]) -> Decisions:
    """Shorter ones repeat their last decision with nothing else to choose: it has probability 1
    and no gradient."""
    steps = max(p.action.shape[0] for p in parts)
    parts = [_decisions_lengthened(p, steps) for p in parts]

    allowed = [p.allowed for p in parts if p.allowed is not None]

    def joined(values: list[Tensor]) -> Tensor:
        return torch.cat(values, 1)

    return Decisions(
        current=joined([p.current for p in parts]),
        first=joined([p.first for p in parts]),
        features=joined([p.features for p in parts]),
        mask=joined([p.mask for p in parts]),
        action=joined([p.action for p in parts]),
        unstarted=parts[0].unstarted,
        allowed=joined(allowed) if allowed else None,
    )


def _decisions_lengthened(part: Decisions, steps: int) -> Decisions:
    extra = steps - part.action.shape[0]
    if not extra:
        return part

    def grown(values: Tensor, end: Tensor | None = None) -> Tensor:
        end = values[-1:] if end is None else end
        return torch.cat([values, end.expand(extra, *values.shape[1:])])

    last, mask, allowed = part.action[-1:], part.mask[-1:], part.allowed
    if allowed is None:
        mask = torch.zeros_like(mask).scatter(3, last.unsqueeze(3), True)
    else:
        nodes = last % allowed.shape[4]
        end = torch.zeros_like(allowed[-1:]).scatter(4, nodes.unsqueeze(4), True)
        allowed = grown(allowed, end)
    return Decisions(
        current=grown(part.current),
        first=grown(part.first),
        features=grown(part.features),
        mask=grown(part.mask, mask),
        action=grown(part.action),
        unstarted=part.unstarted,
        allowed=allowed,
    )


def replay(
    env: Environment,
    instance: Instance,
    actions: Int[Tensor, "batch trajectory step"],
    num_forced: int,
) -> Decisions:
    """The states that given actions pass through, e.g. of a demonstration."""
    with torch.no_grad():
        state = env.reset(instance, actions.shape[1])
        seen: list[Observation] = []
        steps = list(actions.unbind(2))
        if isinstance(env, ParallelFleetVRP):
            for action in steps[:num_forced]:
                state = env.step(state, action)
            return joint_replay(env, state, actions[:, :, num_forced:])
        for i, action in enumerate(steps):
            if i >= num_forced:
                seen.append(env.observe(state))
            state = env.step(state, action)
        return decided(seen, steps[num_forced:])
