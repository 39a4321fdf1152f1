"""Sampling, and a local search on what is sampled."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from nco.baselines.batched_search import BatchedLocalSearch
from nco.baselines.local_moves import descend
from nco.baselines.local_search import LocalSearch
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.search import Builder, Built, Clock, Incumbent, Progress, Search, Task
from nco.strategies import Sampling

Moves: TypeAlias = Literal["auto", "batched", "compiled"]
"""What improves solutions: all at once on the device (`nco.baselines.batched_search`), one after
another on the CPU (`nco.baselines.local_search`), or "batched" where the device is no CPU."""


@final
class Sampler:
    """Solutions of a policy without end: greedy ones of each view of the square's symmetries, then
    draws, the views in turn.

    Args:
        samples: draws of each instance at a time.
        temperature: of the draws.
        augment: 1, or 8 for the symmetries of the square.
    """

    def __init__(self, task: Task, samples: int, temperature: float, augment: int) -> None:
        self.task = task
        self.strategy = Sampling(temperature)
        self.views = task.num_views(augment)
        self.starts = task.env.start_actions(task.instance, samples)
        self.drawn = 0
        self.builders: dict[int, Builder] = {}

    def draw(self) -> Built:
        """The next solutions."""
        view = self.drawn % self.views
        self.drawn += 1
        if view not in self.builders:
            self.builders[view] = Builder(self.task, self.task.encoding(view), self.strategy)
        return self.builders[view].from_starts(self.starts)


@final
@dataclass(frozen=True)
class SamplingSearch(Search):
    """Greedy solutions from all starts, in each symmetric position; then draws.

    One iteration is the greedy solutions of one more position, or ``samples`` draws of each
    instance.
    """

    samples: int = 64
    temperature: float = 1.0
    augment: int = 8

    @property
    def name(self) -> str:
        return "sampling"

    def init(self, task: Task) -> Progress:
        return _Sampling(task, self)


@final
class _Sampling(Progress):
    def __init__(self, task: Task, search: SamplingSearch) -> None:
        super().__init__(task)
        self.greedy()
        self.view = 1
        self.sampler = Sampler(task, search.samples, search.temperature, search.augment)

    def step(self) -> bool:
        if self.view < self.sampler.views:
            self.greedy(self.view)
            self.view += 1
            return True
        built = self.sampler.draw()
        self.best.offer(built.actions, built.costs)
        return True


@final
@dataclass(frozen=True)
class LocalSearchOnSamples(Search):
    """The policy's solutions, each improved to a local optimum: the greedy ones first, then draws.

    It is to be compared with the same around a policy without a network
    (`nco.models.distance_rule`), as local search does most of the work.

    One iteration is the greedy solutions of one position, or ``samples`` draws of each instance,
    all improved, the cheapest first.

    Args:
        moves: what improves them. Both have the same moves, but for one of two routes that only the
            batched one has, and end where none is left; they meet different optima, as one takes
            the first improvement and the other the best.
    """

    samples: int = 16
    temperature: float = 1.0
    augment: int = 8
    num_neighbours: int = 20
    moves: Moves = "auto"

    @property
    def name(self) -> str:
        return "local-search"

    @property
    def first_step(self) -> float:
        return 0.0

    def prepare(self, device: torch.device) -> None:
        if not self.batched(device):
            compile_local_search()

    def batched(self, device: torch.device) -> bool:
        """Whether solutions on a device are improved there, all at once."""
        return self.moves == "batched" or (self.moves == "auto" and device.type != "cpu")

    def improver(self, instance: Instance, clock: Clock) -> Improver:
        """What improves solutions of instances, where they are."""
        build = _Batched if self.batched(instance.valid.device) else _Compiled
        return build(instance, clock, self.num_neighbours)

    def init(self, task: Task) -> Progress:
        return _LocalSearch(task, self)


@final
class _LocalSearch(Progress):
    def __init__(self, task: Task, search: LocalSearchOnSamples) -> None:
        super().__init__(task)
        self.sampler = Sampler(task, search.samples, search.temperature, search.augment)
        self.view = 1
        self.waiting: Built | None = self.greedy()
        self.improver = search.improver(task.instance, task.clock)

    def step(self) -> bool:
        if self.waiting is not None:
            built, self.waiting = self.waiting, None
        elif self.view < self.sampler.views:
            built = self.greedy(self.view)
            self.view += 1
        else:
            built = self.sampler.draw()
            self.best.offer(built.actions, built.costs)
        order = built.costs.argsort(1)
        steps = order.unsqueeze(2).expand_as(built.actions)
        self.improver.improve(built.actions.gather(1, steps), self.best)
        return True


class Improver(ABC):
    """A local search on solutions of all instances of a batch."""

    @abstractmethod
    def improve(self, actions: Int[Tensor, "batch trajectory step"], best: Incumbent) -> None:
        """Improve solutions in their order, while there is time, and offer what comes of them."""


@final
class _Compiled(Improver):
    def __init__(self, instance: Instance, clock: Clock, num_neighbours: int) -> None:
        self.clock = clock
        self.searches = [LocalSearch(one, num_neighbours) for one in unbatch(instance.cpu())]

    def improve(self, actions: Int[Tensor, "batch trajectory step"], best: Incumbent) -> None:
        for b, (search, solutions) in enumerate(
            zip(self.searches, actions.cpu().numpy(), strict=True)
        ):
            for solution in solutions:
                if self.clock.left <= 0:
                    return
                improved = search.improve(solution, in_time=lambda: self.clock.left > 0)
                if improved.cost < best.costs[b]:
                    best.keep(b, improved.cost, torch.from_numpy(improved.actions))


@final
class _Batched(Improver):
    def __init__(self, instance: Instance, clock: Clock, num_neighbours: int) -> None:
        self.clock = clock
        self.search = BatchedLocalSearch(instance, num_neighbours)

    def improve(self, actions: Int[Tensor, "batch trajectory step"], best: Incumbent) -> None:
        for part in actions.split(self.search.at_once, 1):
            if self.clock.left <= 0:
                return
            found = self.search.improve(part, in_time=lambda: self.clock.left > 0)
            best.offer(found.actions, found.costs)


@lru_cache(maxsize=1)
def compile_local_search() -> None:
    """Compile the moves, or read what was compiled before."""
    tell_of_compiling(descend, "the local search")
    tiny = Instance.vrp(coords=[[0.0, 0.0], [0.0, 1.0]], demand=[0.0, 1.0], capacity=1.0)
    LocalSearch(tiny).improve(np.array([0, 1]))


def tell_of_compiling(function: Any, name: str) -> None:
    """Say that a function will be compiled now, as that takes long, unless numba has it stored."""
    folder = Path(function.stats.cache_path)
    if not any(folder.glob(f"*.{function.__name__}-*.nbi")):
        logging.getLogger("nco").warning(
            "compiling %s, once for this installation: about half a minute", name
        )


def require_samples(samples: int, temperature: float) -> None:
    """Raise `InputError` where draws could not be made so."""
    if samples < 1:
        raise InputError(f"samples is {samples}; accepted: 1 or more")
    Sampling(temperature)
