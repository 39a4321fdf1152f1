"""Search around a policy: one protocol for all, and the loop that keeps the budget.

A `Search` begins with the policy's own greedy solutions and is then asked for one step after
another. Whatever it finds it offers to an `Incumbent`, which notes when each instance got better:
curves of quality over time need no more.

Axes: B instances that are searched together, S trajectories of each, N nodes, T steps.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.baselines.solver import Budget
from nco.data.instance import Instance
from nco.envs.environment import Environment, State
from nco.episode import Actor, plain_episode
from nco.kernels import rollout_kernel
from nco.models.policy import Encoding, Policy
from nco.rollout import pointer_chooser
from nco.strategies import Greedy, Strategy

MOST_STARTS = 128
"""First customers that the greedy solutions at the beginning differ in."""


@final
class Clock:
    """Wall time since the search began, and until it must end."""

    def __init__(self, seconds: float | None) -> None:
        self._began = time.perf_counter()
        self._limit = math.inf if seconds is None else seconds

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._began

    @property
    def left(self) -> float:
        """Seconds until the limit; infinite where there is none."""
        return self._limit - self.spent

    @property
    def share(self) -> float:
        """Of the time that is over, 0 to 1; 0 where there is no limit."""
        return min(1.0, self.spent / self._limit)


@final
@dataclass
class Incumbent:
    """The best solution of each instance so far, and when each came."""

    clock: Clock
    costs: list[float]
    found: list[list[tuple[float, Int[Tensor, " step"]]]]
    """Of each instance, in order: seconds, and the actions on the CPU."""

    @staticmethod
    def none(count: int, clock: Clock) -> Incumbent:
        """Before anything is known of ``count`` instances."""
        return Incumbent(clock, [math.inf] * count, [[] for _ in range(count)])

    def best(self, which: int) -> Int[Tensor, " step"]:
        """The actions of an instance's best solution."""
        return self.found[which][-1][1]

    def offer(
        self,
        actions: Int[Tensor, "batch trajectory step"],
        costs: Float[Tensor, "batch trajectory"],
    ) -> None:
        """Keep the best of these of each instance where it is better than what was known."""
        cost, which = costs.min(1)
        for b, (value, index) in enumerate(zip(cost.tolist(), which.tolist(), strict=True)):
            if value < self.costs[b]:
                self.keep(b, value, actions[b, index].cpu())

    def keep(self, which: int, cost: float, actions: Int[Tensor, " step"]) -> None:
        """A new best solution of one instance."""
        self.costs[which] = cost
        self.found[which].append((self.clock.spent, actions))


@final
@dataclass
class Task:
    """What a search works on."""

    policy: Policy
    """In eval mode."""
    instance: Instance
    """B instances on the policy's device; padding allowed."""
    generator: torch.Generator
    """On the same device."""
    clock: Clock
    iterations: int | None = None
    """After which the search must end; None where only the clock says."""
    _views: dict[int, Encoding] = field(default_factory=dict)

    @property
    def env(self) -> Environment:
        """The rules."""
        return self.policy.env

    def num_views(self, augment: int) -> int:
        """How many views can differ, of as many as are asked for."""
        return self.policy.num_views(self.instance, augment)

    def encoding(self, view: int = 0) -> Encoding:
        """The policy's tables of the instances in one of its views, kept."""
        if view not in self._views:
            with torch.no_grad():
                self._views[view] = self.policy.encode_view(self.instance, view)
        return self._views[view]


@dataclass(frozen=True)
class Built:
    """Complete solutions."""

    actions: Int[Tensor, "batch trajectory step"]
    costs: Float[Tensor, "batch trajectory"]
    """By the environment, in the instance's units."""


@final
class Builder:
    """Completes partial solutions by the policy with one set of tables and one strategy.

    Args:
        task: the instances, and the generator of draws.
        encoding: of the instances.
        strategy: chooses.
        plain: where the tables are not those that kernels read.
    """

    def __init__(
        self, task: Task, encoding: Encoding, strategy: Strategy, plain: bool = False
    ) -> None:
        env, policy, instance = task.env, task.policy, task.instance
        device = instance.valid.device
        kernel = rollout_kernel(
            env, policy, instance.num_nodes, device, strategy, "plain" if plain else "auto"
        )
        chooser = pointer_chooser(policy, encoding, strategy) if kernel == "cpu" else None
        self.task = task
        self.encoding = encoding
        self.actor = Actor(env, policy, strategy, record=False, chooser=chooser)

    def from_starts(self, starts: Int[Tensor, "batch trajectory forced"] | None) -> Built:
        """Solutions that begin with given actions; one a row, or one in all where None."""
        state, taken = started(self.task, starts)
        return self.complete(state, taken)

    def complete(self, state: State, taken: Sequence[Int[Tensor, "batch trajectory"]]) -> Built:
        """Solutions that go on from states, which ``taken`` led to."""
        env, instance = self.task.env, self.task.instance
        # so many actions more complete any solution, whatever waiting at depots is in ``taken``
        most = state.steps + env.max_steps(instance) + 1
        with torch.no_grad(), torch.autocast(instance.valid.device.type, enabled=False):
            episode = plain_episode(
                self.actor, self.encoding, state, self.task.generator, state.steps, most
            )
            actions = torch.stack([*taken, *episode.actions], 2)
            return Built(actions, env.cost(instance, actions))


def started(
    task: Task, starts: Int[Tensor, "batch trajectory forced"] | None
) -> tuple[State, list[Int[Tensor, "batch trajectory"]]]:
    """The states after given actions, and the actions one by one."""
    state = task.env.reset(task.instance, 1 if starts is None else starts.shape[1])
    taken = [] if starts is None else list(starts.unbind(2))
    for action in taken:
        state = task.env.step(state, action)
    return state, taken


def all_starts(task: Task, most: int = MOST_STARTS) -> Int[Tensor, "batch trajectory forced"]:
    """Leading actions for multi-start, so many at most."""
    return task.env.start_actions(task.instance, min(most, task.env.num_starts(task.instance)))


class Progress(ABC):
    """A search under way.

    Args:
        task: what it works on.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.best = Incumbent.none(task.instance.batch_size[0], task.clock)

    def greedy(self, view: int = 0, most: int = MOST_STARTS) -> Built:
        """The policy's greedy solutions from all starts, or so many, offered."""
        builder = Builder(self.task, self.task.encoding(view), Greedy())
        built = builder.from_starts(all_starts(self.task, most))
        self.best.offer(built.actions, built.costs)
        return built

    @abstractmethod
    def step(self) -> bool:
        """One iteration. False where nothing was left to try."""


class Search(ABC):
    """A way to search; frozen settings."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @property
    def ends(self) -> bool:
        """Whether it comes to an end without a limit."""
        return False

    @property
    def first_step(self) -> float:
        """The time of the first step, roughly, in that of the greedy solutions before it; 0 where
        steps look at the clock themselves."""
        return 1.0

    def prepare(self, device: torch.device) -> None:
        """Load and compile now, for instances on a device, what belongs to no solution's time."""
        return

    def require(self, policy: Policy) -> None:
        """Raise `InputError` where the search cannot be done around this policy."""
        return

    @abstractmethod
    def init(self, task: Task) -> Progress:
        """Begin: the progress has a first solution of every instance."""


def run(search: Search, task: Task, budget: Budget) -> Incumbent:
    """Steps until the search ends, or the iterations are used up, or the next step would probably
    overrun the task's clock. The first solutions are always found."""
    progress = search.init(task)
    steps, typical = 0, search.first_step * task.clock.spent
    while budget.iterations is None or steps < budget.iterations:
        before = task.clock.spent
        if task.clock.left <= typical or not progress.step():
            break
        steps += 1
        # the longest of late, slowly forgotten
        typical = max(task.clock.spent - before, 0.8 * typical)
    return progress.best
