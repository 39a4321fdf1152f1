"""The best of many trajectories: multi-start, sampling, augmentation, in chunks that fit memory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.baselines.workers import Routes
from nco.captured_rollout import CapturedRollouts
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.adaptive import refuse_hindsight
from nco.envs.checker import routes_from_actions
from nco.envs.environment import Environment
from nco.envs.plans import plan_key
from nco.kernels import Kernel
from nco.models.policy import Encoding, Policy
from nco.rollout import (
    Trajectory,
    captured_steps,
    lengthened,
    rollout,
    trajectories_at_once,
)
from nco.strategies import Greedy, Strategy


@dataclass(frozen=True)
class Decoded:
    """The best trajectory found for each instance."""

    actions: Int[Tensor, "batch step"]
    costs: Float[Tensor, "batch"]


CPU_ROWS = 16384
"""Trajectories that are decoded together on a CPU, cut into pieces for its threads and caches by
`nco.rollout.rollout`."""
ENCODED_NODES = 8192
"""Nodes that are encoded together, with 4 kB each in the widest layer; one instance at least."""


def decode(
    env: Environment,
    policy: Policy,
    instance: Instance,
    *,
    strategy: Strategy | None = None,
    multi_start: bool = True,
    samples: int = 1,
    augment: int = 1,
    generator: torch.Generator | None = None,
    memory: float | None = None,
    time_limit: float | None = None,
    kernel: Kernel | CapturedRollouts = "auto",
) -> Decoded:
    """Decode every instance many times and keep the cheapest solution of each.

    Args:
        strategy: `Greedy` by default.
        multi_start: one trajectory from every customer, else from the policy's own start.
        samples: trajectories from each start (and each augmentation); more than 1 makes sense
            only with a strategy that draws, or with several depots, which take turns.
        augment: 1, or 8 for the symmetries of the square; instances without coordinates are
            decoded once, as a matrix has none.
        generator: for a strategy that draws.
        memory: bytes that one step's attention weights may take; by default what is fast.
        time_limit: wall seconds for each instance. The first pass is always completed; further
            copies under ``augment`` are begun only while, by the time of those before, they will
            end in time.
        kernel: as `nco.rollout.rollout` explains.

    Raises:
        InputError: ``augment`` or ``samples`` is not accepted, or the policy cannot see the
            instance; or the environment is adaptive and asked for the cheapest of several.
    """
    if augment not in (1, 8):
        raise InputError(f"augment is {augment}; accepted: 1 or 8")
    if samples < 1:
        raise InputError(f"samples is {samples}; accepted: 1 or more")
    refuse_hindsight(env, multi_start=multi_start, samples=samples, augment=augment)
    strategy = strategy or Greedy()
    kernel = captured_steps(kernel, instance.valid.device)
    per_start = env.num_starts(instance) if multi_start else 1
    on_cpu = instance.valid.device.type == "cpu"
    rows = trajectories_at_once(instance, memory, rows=CPU_ROWS if on_cpu else None)
    size = max(1, min(rows // (per_start * samples), ENCODED_NODES // instance.num_nodes))
    chosen, costs = [], []
    for begin in range(0, instance.batch_size[0], size):
        part = instance[begin : begin + size]
        best = _decode_chunk(
            env, policy, part, strategy, per_start if multi_start else None, samples, augment,
            generator, memory, rows,
            None if time_limit is None else time_limit * part.batch_size[0],
            kernel,
        )  # fmt: skip
        chosen.append(best.actions)
        costs.append(best.costs)
    steps = max(a.shape[1] for a in chosen)
    return Decoded(torch.cat([lengthened(a, steps) for a in chosen]), torch.cat(costs))


def decoded_plans(
    policy: Policy,
    one: Instance,
    strategy: Strategy,
    *,
    multi_start: bool,
    samples: int,
    augment: int,
    most: int | None,
    generator: torch.Generator,
    kernel: Kernel | CapturedRollouts,
    seconds: float | None,
) -> list[Routes]:
    """The different plans of one instance (B = 1), as `decode` finds them, in their order.

    Args:
        most: how many at the most; then it stops.
        seconds: wall seconds; as in `decode` further copies are begun only while they will end in
            time.
    """
    env = policy.env
    refuse_hindsight(env, multi_start=multi_start, samples=samples, augment=augment)
    count = (env.num_starts(one) if multi_start else 1) * samples
    forced = multi_start or policy.needs_start
    starts = env.start_actions(one, count) if forced else None
    kernel = captured_steps(kernel, one.valid.device)
    home = one.cpu()
    plans: dict[object, Routes] = {}
    for encoding in _views_in_time(policy, one, augment, seconds):
        found = rollout(
            env, policy, one, strategy, num_trajectories=count, starts=starts, generator=generator,
            encoding=encoding, kernel=kernel,
        )  # fmt: skip
        for actions in found.actions[0].cpu():
            routes, depots = routes_from_actions(home, actions)
            plans.setdefault(plan_key(home, routes, depots), Routes(routes, depots))
            if len(plans) == most:
                return list(plans.values())
    return list(plans.values())


def _views_in_time(
    policy: Policy, instance: Instance, augment: int, seconds: float | None
) -> Iterator[Encoding]:
    """The tables of one view after another, while the next will probably be done in time; the first
    in any case."""
    begun = time.perf_counter()
    for index in range(policy.num_views(instance, augment)):
        spent = time.perf_counter() - begun
        if seconds is not None and index > 0 and spent * (index + 1) / index > seconds:
            return
        with torch.no_grad():
            encoding = policy.encode_view(instance, index)
        yield encoding


def _decode_chunk(
    env: Environment,
    policy: Policy,
    part: Instance,
    strategy: Strategy,
    num_starts: int | None,
    samples: int,
    augment: int,
    generator: torch.Generator | None,
    memory: float | None,
    rows: int,
    seconds: float | None,
    kernel: Kernel | CapturedRollouts,
) -> Decoded:
    count = (num_starts or 1) * samples
    forced = num_starts is not None or policy.needs_start
    starts = env.start_actions(part, count) if forced else None
    # where not even one instance fits, some of its trajectories at a time, in even shares
    passes = math.ceil(count * part.batch_size[0] / rows)
    width = math.ceil(count / passes)
    best: Decoded | None = None
    for encoding in _views_in_time(policy, part, augment, seconds):
        for first in range(0, count, width):
            last = min(count, first + width)
            found = rollout(
                env,
                policy,
                part,
                strategy,
                num_trajectories=last - first,
                starts=None if starts is None else starts[:, first:last],
                generator=generator,
                encoding=encoding,
                memory=memory,
                kernel=kernel,
            )
            best = _better(best, found)
    assert best is not None  # augment is at least 1
    return best


def _better(best: Decoded | None, found: Trajectory) -> Decoded:
    """The cheapest of what was known and what was found now, instance by instance."""
    cost, which = found.costs.min(1)
    steps = found.actions.shape[2]
    actions = found.actions.gather(1, which.view(-1, 1, 1).expand(-1, 1, steps)).squeeze(1)
    if best is None:
        return Decoded(actions, cost)
    longest = max(steps, best.actions.shape[1])
    better = cost < best.costs
    return Decoded(
        torch.where(
            better.unsqueeze(1), lengthened(actions, longest), lengthened(best.actions, longest)
        ),
        torch.where(better, cost, best.costs),
    )
