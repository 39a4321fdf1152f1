"""Episodes as replays of one captured step: fixed shapes, no wait for the device within it.

For every environment, policy and strategy whose step is made of tensor operations alone; the
launches of a step become one. `nco.fused_rollout` is faster still where it applies. Choices and
draws are those of the plain loop on the same device.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import final

import torch
from torch import Tensor

from nco.buffers import fill, mapped, shape_of
from nco.capture import Capture
from nco.envs.environment import Observation, State
from nco.episode import (
    LOOK_EVERY,
    Actor,
    Decisions,
    Episode,
    all_done,
    decided,
    summed,
    usage_of,
)
from nco.models.policy import Encoding, Usage

MOST_KEPT = 2
"""Captured steps: each holds memory for a batch. Two are those of training and of validation."""

OBSERVED = ("current", "first", "features", "mask")
"""What of an observation is recorded."""


@final
class CapturedStep:
    """One step over fixed buffers, for all episodes with the same shapes.

    The state must not be the very first: environments and policies branch on that one. No value of
    a state that `Environment.step` returns may be another value of the state it was given.

    Args:
        actor: what the step does.
        encoding, state: for their shapes.
        room: the most steps from such a state on.
        draws: whether the strategy is given a generator; the step has one of its own, as a graph
            is bound to the generator that it was captured with.
        capture: how the step is repeated.
    """

    def __init__(
        self,
        actor: Actor,
        encoding: Encoding,
        state: State,
        room: int,
        generator: torch.Generator | None,
        capture: Capture,
    ) -> None:
        device = state.current.device
        self.actor = actor
        self.encoding = mapped(encoding, torch.empty_like)
        self.state = mapped(state, torch.empty_like)
        self.generator = None if generator is None else torch.Generator(generator.device)
        self.capture = capture
        self.index = torch.zeros(1, dtype=torch.int64, device=device)
        self.repeat: Callable[[], None] | None = None
        self.written = {
            "action": torch.empty((room, *state.current.shape), dtype=torch.int64, device=device)
        }
        self.usage: Usage = {}
        if actor.record:
            seen = actor.env.observe(state)
            for name in OBSERVED:
                value: Tensor = getattr(seen, name)
                self.written[name] = value.new_empty((room, *value.shape))
            self.usage = usage_of(actor.policy.scores(encoding, seen), seen.mask)

    def begin(self, encoding: Encoding, state: State, generator: torch.Generator | None) -> None:
        """Start an episode from a state."""
        fill(self.encoding, encoding)
        fill(self.state, state)
        fill(self.usage, {name: torch.zeros_like(used) for name, used in self.usage.items()})
        self.index.zero_()
        if self.generator is not None and generator is not None:
            self.generator.set_state(generator.get_state())

    def advance(self) -> None:
        """One step; the first one captures."""
        if self.repeat is None:
            self.repeat = self.capture.repeatable(self.work, self.generator)
        else:
            self.repeat()

    def work(self) -> None:
        """What is captured."""
        step = self.actor.step(self.encoding, self.state, self.generator)
        for name, buffer in self.written.items():
            value = step.action if name == "action" else getattr(step.observation, name)
            buffer.index_copy_(0, self.index, value.unsqueeze(0))
        for name, used in step.usage.items():
            self.usage[name].add_(used)
        # what was observed is written by now, so the state that it shares may change
        fill(_running(self.state), _running(step.state))
        self.index.add_(1)

    def end(self, taken: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Copies of what ``taken`` steps wrote; draws go on in the caller's generator."""
        if self.generator is not None and generator is not None:
            generator.set_state(self.generator.get_state())
        return {name: buffer[:taken].clone() for name, buffer in self.written.items()}


def _running(state: State) -> tuple[object, ...]:
    """What a step changes."""
    return state.current, state.first, state.unvisited, state.visits, state.used


@final
class CapturedRollouts:
    """Captured steps, kept for further episodes of the same shapes; training has many.

    A step that an episode uses is taken out for that time, so episodes may run side by side.

    Args:
        capture: how steps are repeated.
        most_kept: the step that was used longest ago goes first.
    """

    def __init__(self, capture: Capture, most_kept: int = MOST_KEPT) -> None:
        self.capture = capture
        self._most_kept = most_kept
        self._kept: OrderedDict[Hashable, CapturedStep] = OrderedDict()
        self._lock = Lock()

    def take(self, key: Hashable) -> CapturedStep | None:
        """The step that was kept under a key, no longer kept."""
        with self._lock:
            return self._kept.pop(key, None)

    def keep(self, key: Hashable, step: CapturedStep) -> None:
        """For the next episode."""
        with self._lock:
            self._kept[key] = step
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)


def captured_rollout(
    actor: Actor,
    encoding: Encoding,
    state: State,
    generator: torch.Generator | None,
    least: int,
    most: int,
    captured: CapturedRollouts,
) -> Episode:
    """What `nco.episode.plain_episode` does, by repeating a captured step.

    The very first step of an episode, where none is forced, is taken as it is. Whether all are
    done is looked at every few steps, so finished trajectories wait there for a few steps more
    than needed (as in the plain loop on a GPU), and draws go on meanwhile.

    Args:
        captured: keeps what was captured; its ``capture`` must fit the device.
    """
    seen: list[Observation] = []
    actions: list[Tensor] = []
    usage: list[Usage] = []
    if state.steps == 0 and most > 0:
        first = actor.step(encoding, state, generator)
        seen, actions, usage = [first.observation], [first.action], [first.usage]
        state = first.state
    room = most - state.steps
    key = (actor, _addresses(actor), generator is None, room, shape_of((encoding, state)))
    step = captured.take(key) or CapturedStep(
        actor, encoding, state, room, generator, captured.capture
    )
    step.begin(encoding, state, generator)
    taken = 0
    while taken < room and not all_done(
        actor.env, step.state, state.steps + taken, least, LOOK_EVERY
    ):
        step.advance()
        taken += 1
    written = step.end(taken, generator)
    usage.append({name: used.clone() for name, used in step.usage.items()})
    captured.keep(key, step)
    actions += written["action"].unbind(0)
    decisions = _joined(seen, actions[:1], written) if actor.record else None
    return Episode(actions, decisions, summed(usage))


def _addresses(actor: Actor) -> tuple[object, ...]:
    """Where the parameters lie that a captured step reads, and what else of the policy counts."""
    policy = actor.policy
    return policy.training, *(leaf.data_ptr() for leaf in (*policy.parameters(), *policy.buffers()))


def _joined(
    seen: list[Observation], actions: list[Tensor], written: dict[str, Tensor]
) -> Decisions:
    """The decisions of a first step, if one was taken, and of captured ones."""
    if not seen:
        return Decisions(**written, unstarted=False)
    first = decided(seen, actions)
    both = {n: torch.cat((getattr(first, n), written[n])) for n in written}
    return Decisions(**both, unstarted=first.unstarted)
