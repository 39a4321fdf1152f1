"""The one loop: a policy and a strategy build solutions in an environment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.models.policy import Encoding, Policy
from nco.strategies import Strategy


@dataclass(frozen=True)
class Decisions:
    """The T states of each trajectory in which the policy chose, for scoring them again."""

    current: Int[Tensor, "step batch trajectory"]
    first: Int[Tensor, "step batch trajectory"]
    features: Float[Tensor, "step batch trajectory feature"]
    mask: Bool[Tensor, "step batch trajectory node"]
    action: Int[Tensor, "step batch trajectory"]
    unstarted: bool
    """The first of the states came before any node was chosen."""


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


def rollout(
    env: Environment,
    policy: Policy,
    instance: Instance,
    strategy: Strategy,
    *,
    num_trajectories: int = 1,
    starts: Int[Tensor, "batch trajectory"] | None = None,
    generator: torch.Generator | None = None,
    record: bool = False,
    encoding: Encoding | None = None,
) -> Trajectory:
    """Build ``num_trajectories`` solutions of each instance, without gradients.

    Args:
        env: the rules.
        policy: scores the choices; its mode (train or eval) is left as it is.
        instance: B instances; padding and mixed sizes allowed.
        strategy: makes the choices.
        num_trajectories: S; must match ``starts`` where that is given.
        starts: first actions, as `Environment.start_actions` gives them for multi-start.
        generator: for a strategy that draws; on the instance's device.
        record: keep what `nco.likelihood` needs to score the trajectories.
        encoding: the policy's tables of this instance, where they are computed already.
    """
    if starts is not None and starts.shape[1] != num_trajectories:
        raise InputError(
            f"starts has {starts.shape[1]} trajectories; accepted: {num_trajectories}, as asked for"
        )
    if starts is None and policy.needs_start:
        starts = env.start_actions(instance, num_trajectories)
    with torch.no_grad():
        if encoding is None:
            encoding = policy.encode(instance)
    with torch.no_grad(), torch.autocast(instance.valid.device.type, enabled=False):
        state = env.reset(instance, num_trajectories)
        actions: list[Tensor] = []
        seen: list[Observation] = []
        if starts is not None:
            state = env.step(state, starts)
            actions.append(starts)
        least, most = env.min_steps(instance), env.max_steps(instance)
        # on a GPU a look at `done` waits for the device, so look seldom
        every = 1 if state.current.device.type == "cpu" else 8
        while len(actions) < most:
            taken = len(actions)
            if taken >= least and (taken - least) % every == 0 and bool(env.done(state).all()):
                break
            observation = env.observe(state)
            action = strategy(policy.logits(encoding, observation), observation.mask, generator)
            if record:
                seen.append(observation)
            actions.append(action)
            state = env.step(state, action)
        stacked = torch.stack(actions, 2)
        num_forced = 0 if starts is None else 1
        decisions = _decisions(seen, actions[num_forced:]) if record else None
        return Trajectory(stacked, env.cost(instance, stacked), num_forced, decisions)


def _decisions(seen: list[Observation], actions: list[Tensor]) -> Decisions:
    return Decisions(
        current=torch.stack([o.current for o in seen]),
        first=torch.stack([o.first for o in seen]),
        features=torch.stack([o.features for o in seen]),
        mask=torch.stack([o.mask for o in seen]),
        action=torch.stack(actions),
        unstarted=not seen[0].started,
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
        for i, action in enumerate(steps):
            if i >= num_forced:
                seen.append(env.observe(state))
            state = env.step(state, action)
        return _decisions(seen, steps[num_forced:])
