"""A policy that sees noise on the way, in any worlds; and which of several policies is best on
selection scenarios."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.baselines.solver import Budget, UnsupportedError
from nco.baselines.walkers import Follower, Walker, Walks
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.objective import Objective
from nco.kernels import Kernel
from nco.models.policy import Encoding, Policy
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy

AT_ONCE = 4096
"""Trajectories of an instance that are walked through together."""


@dataclass(frozen=True)
class Choices:
    """Policies that a network stands for, in one position of the instance: one for each customer
    that they are made to begin with, or the one that begins as it likes."""

    encoding: Encoding
    starts: Int[Tensor, "1 start forced"] | None

    @property
    def count(self) -> int:
        """How many policies."""
        return 1 if self.starts is None else self.starts.shape[1]

    def part(self, first: int, last: int) -> Choices:
        """Some of them."""
        if self.starts is None:
            return self
        return Choices(self.encoding, self.starts[:, first:last])


@final
@dataclass(frozen=True)
class Selection:
    """What policies are chosen by.

    Args:
        scenarios: the same for all policies of an instance.
        objective: over the scenarios.
        most: policies of an instance that may be tried; None is no limit.
    """

    scenarios: Scenarios
    objective: Objective
    most: int | None


@final
class PolicyFollower(Follower):
    """One greedy trajectory in each world."""

    def __init__(
        self, walker: PolicyWalker, one: Instance, choice: Choices, seconds: float, priced: int
    ) -> None:
        self._walker, self._one, self._choice = walker, one, choice
        self.preparation, self.plan_scenarios = seconds, priced

    def walks(self, worlds: Scenarios) -> Walks:
        found: Walks = []
        for part in worlds.parts(AT_ONCE):
            found += self._walker.trajectories(self._one, self._choice, part).actions[0].tolist()
        return found


@final
@dataclass(frozen=True)
class PolicyWalker(Walker):
    """A trained policy of a problem that is decided on the way.

    To keep the cheapest of several trajectories of one world would be hindsight. What may be chosen
    before is the policy: the same network sees the instance in eight positions, and may be made to
    begin with any customer; which of these policies is best on the mean is found in selection
    scenarios, and that one goes through the worlds.

    Args:
        label: what the policy is, for tables and messages.
        env: the rules; its own scenarios are not looked at.
        policy: in eval mode.
        augment: 1, or 8 for the symmetries of the square.
        multi_start: also policies that begin with a prescribed customer.
        selection: not looked at where there is nothing to choose among.
    """

    label: str
    env: AdaptiveEnvironment
    policy: Policy
    augment: int
    multi_start: bool
    selection: Selection
    kernel: Kernel = "auto"

    def __post_init__(self) -> None:
        if self.augment not in (1, 8):
            raise InputError(f"augment is {self.augment}; accepted: 1 or 8")

    @property
    def name(self) -> str:
        return self.label

    def prepared(self, one: Instance, budget: Budget, seed: int) -> Follower:
        if budget.iterations is not None:
            raise UnsupportedError(f"model {self.name} has no iterations; accepted: none")
        self.env.require(one)
        begun = time.perf_counter()
        one = one.to(next(self.policy.parameters()).device)
        if self.augment == 1 and not self.multi_start:
            (choice,) = self._choices(one)
            return PolicyFollower(self, one, choice, time.perf_counter() - begun, 0)
        best: tuple[float, Choices] | None = None
        tried = 0
        for choices in self._choices(one):
            left = choices.count
            if self.selection.most is not None:
                left = min(left, self.selection.most - tried)
            spent = time.perf_counter() - begun
            late = budget.time_limit is not None and tried > 0 and (
                spent * (tried + left) / tried > budget.time_limit
            )  # fmt: skip
            if late or left == 0:
                break
            values = self.values(one, choices.part(0, left))
            tried += left
            value, which = values.min(0)
            if best is None or float(value) < best[0]:
                best = float(value), choices.part(int(which), int(which) + 1)
        assert best is not None  # there is a first one
        priced = tried * self.selection.scenarios.count
        return PolicyFollower(self, one, best[1], time.perf_counter() - begun, priced)

    def _choices(self, one: Instance) -> Iterator[Choices]:
        """Each position with the policy that begins as it likes, and then with all others."""
        views = range(self.policy.num_views(one, self.augment))
        with torch.no_grad():
            encodings = [self.policy.encode_view(one, view) for view in views]
        yield from (Choices(encoding, None) for encoding in encodings)
        if self.multi_start:
            starts = self.env.start_actions(one, self.env.num_starts(one))
            yield from (Choices(encoding, starts) for encoding in encodings)

    def values(self, one: Instance, choices: Choices) -> Float[Tensor, " start"]:
        """What policies are chosen by."""
        worlds = self.selection.scenarios
        size = max(1, AT_ONCE // worlds.count)
        found = []
        for first in range(0, choices.count, size):
            some = choices.part(first, first + size)
            costs = self.trajectories(one, some, worlds).costs.double()
            found.append(self.selection.objective.of(costs.view(-1, worlds.count)))
        return torch.cat(found)

    def trajectories(self, one: Instance, choices: Choices, worlds: Scenarios) -> Trajectory:
        """One greedy trajectory of each policy in each world, policy by policy."""
        starts = choices.starts
        # an adaptive environment deals out its worlds in turn
        dealt = None if starts is None else starts.repeat_interleave(worlds.count, 1)
        return rollout(
            self.env.in_scenarios(worlds),
            self.policy,
            one,
            Greedy(),
            num_trajectories=choices.count * worlds.count,
            starts=dealt,
            encoding=choices.encoding,
            kernel=self.kernel,
        )
