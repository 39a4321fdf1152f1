"""One step of an episode, written once, and the plain loop over it.

Axes: B instances, S trajectories of each, N nodes, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.envs.environment import Environment, Observation, State
from nco.models.policy import Encoding, Policy, Scores, Usage
from nco.strategies import Strategy

LOOK_EVERY = 8
"""Steps between two looks at whether all are done, where a look waits for the device."""


@dataclass(frozen=True)
class Decisions:
    """The T states of each trajectory in which the policy chose, for scoring them again."""

    current: Int[Tensor, "step batch trajectory"]
    first: Int[Tensor, "step batch trajectory"]
    features: Float[Tensor, "step batch trajectory feature"]
    mask: Bool[Tensor, "step batch trajectory node"]
    action: Int[Tensor, "step batch trajectory *vehicle"]
    unstarted: bool
    """The first of the states came before any node was chosen."""
    allowed: Bool[Tensor, "step batch trajectory vehicle place"] | None = None
    """Of joint decisions (`nco.envs.fleet_parallel.Joint`): what each vehicle could choose from in
    its turn, in the order of the actions. None where one choice is made at a time, from the
    mask."""


class Step(NamedTuple):
    """What one step sees, chooses and leads to."""

    observation: Observation
    action: Int[Tensor, "batch trajectory"]
    usage: Usage
    """Of the gates that were asked; nothing where it is not recorded."""
    state: State


class Episode(NamedTuple):
    """What was chosen from a state on, until all trajectories were done."""

    actions: Sequence[Int[Tensor, "batch trajectory"]]
    """Of each step."""
    decisions: Decisions | None
    usage: Usage
    """Over all real choices; with the decisions."""


Chooser = Callable[[Observation, torch.Generator | None], Int[Tensor, "batch trajectory"]]
"""Makes choices from observations alone; it has the tables of their instances."""


@final
@dataclass(frozen=True)
class Actor:
    """All that decides what a step does, besides the state and the tables of the instances."""

    env: Environment
    policy: Policy
    strategy: Strategy
    record: bool
    """Keep what `nco.likelihood` needs to score the episode."""
    chooser: Chooser | None = None
    """Chooses what policy and strategy would choose, once a first node is known."""

    def step(self, encoding: Encoding, state: State, generator: torch.Generator | None) -> Step:
        """Look, choose and go."""
        observation = self.env.observe(state)
        if self.chooser is not None and observation.started:
            action = self.chooser(observation, generator)
            return Step(observation, action, {}, self.env.step(state, action))
        scores = self.policy.scores(encoding, observation)
        action = self.strategy(scores.logits, observation.mask, generator)
        usage = usage_of(scores, observation.mask) if self.record else {}
        return Step(observation, action, usage, self.env.step(state, action))


def all_done(env: Environment, state: State, taken: int, least: int, every: int) -> bool:
    """Whether no trajectory goes on after ``taken`` actions; before ``least`` none is done, and
    then only every so many steps is looked."""
    return taken >= least and (taken - least) % every == 0 and bool(env.done(state).all())


def plain_episode(
    actor: Actor,
    encoding: Encoding,
    state: State,
    generator: torch.Generator | None,
    least: int,
    most: int,
) -> Episode:
    """Step by step from a state to the end.

    Args:
        least, most: actions of an episode, those that led to the state included, as
            `Environment.min_steps` and `max_steps` bound them.
    """
    actions: list[Tensor] = []
    seen: list[Observation] = []
    usage: list[Usage] = []
    every = 1 if state.current.device.type == "cpu" else LOOK_EVERY
    while state.steps < most and not all_done(actor.env, state, state.steps, least, every):
        taken = actor.step(encoding, state, generator)
        if actor.record:
            seen.append(taken.observation)
            usage.append(taken.usage)
        actions.append(taken.action)
        state = taken.state
    return Episode(actions, decided(seen, actions) if actor.record else None, summed(usage))


def decided(seen: Sequence[Observation], actions: Sequence[Tensor]) -> Decisions:
    """What was seen and done at each step, as one."""
    return Decisions(
        current=torch.stack([o.current for o in seen]),
        first=torch.stack([o.first for o in seen]),
        features=torch.stack([o.features for o in seen]),
        mask=torch.stack([o.mask for o in seen]),
        action=torch.stack(list(actions)),
        unstarted=not seen[0].started,
    )


def usage_of(scores: Scores, mask: Bool[Tensor, "batch state node"]) -> Usage:
    """The sum over the states that leave a choice: waiting at the end counts for nothing."""
    if not scores.usage:
        return {}
    real = (mask.sum(2) > 1).unsqueeze(2)
    return {name: (used * real).sum((1, 2)) for name, used in scores.usage.items()}


def summed(parts: Sequence[Usage]) -> Usage:
    """The usage of several steps or chunks, together."""
    total: Usage = {}
    for part in parts:
        for name, used in part.items():
            total[name] = total[name] + used if name in total else used
    return total
