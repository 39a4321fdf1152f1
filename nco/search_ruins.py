"""Ruin and recreate from the policy's solutions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import torch

from nco.baselines.ruin_recreate import RuinRecreate, anneal
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.search import Progress, Search, Task
from nco.search_sampling import compile_local_search, tell_of_compiling

RUINS = 200
"""Of an iteration: some milliseconds at 100 nodes."""


@final
@dataclass(frozen=True)
class RuinRecreateSearch(Search):
    """Simulated annealing by `nco.baselines.ruin_recreate`, from the policy's best greedy solution.

    It is to be compared with the same from a policy without a network
    (`nco.local_search_solver.RuinRecreateSolver`), as it is hot enough to forget where it began.

    One iteration is `RUINS` ruins of each instance. The temperature falls from ``hot`` to ``cold``
    over the time limit, or over the iterations where there is none, in units of the mean length
    that the best solution has for each node. It runs on the CPU.

    Args:
        starts: of the greedy solutions at the beginning, at most.
    """

    starts: int = 8
    hot: float = 1.0
    cold: float = 0.01
    num_neighbours: int = 10

    @property
    def name(self) -> str:
        return "ruin-recreate"

    @property
    def first_step(self) -> float:
        return 0.0

    def prepare(self, device: torch.device) -> None:
        compile_ruins()

    def init(self, task: Task) -> Progress:
        return _Annealing(task, self)


@final
class _Annealing(Progress):
    def __init__(self, task: Task, search: RuinRecreateSearch) -> None:
        super().__init__(task)
        self.search = search
        self.greedy(most=search.starts)
        self.steps = 0
        seed = task.generator.initial_seed()
        self.chains = []
        for b, one in enumerate(unbatch(task.instance.cpu())):
            chain = RuinRecreate(one, seed, search.num_neighbours)
            chain.begin(self.best.best(b).numpy(), in_time=lambda: task.clock.left > 0)
            self.chains.append(chain)
            self.keep(b)

    def step(self) -> bool:
        hot, cold = self.search.hot, self.search.cold
        heat = hot * (cold / hot) ** self.share
        for b, chain in enumerate(self.chains):
            if self.task.clock.left <= 0:
                break
            if chain.anneal(RUINS, heat * chain.scale):
                self.keep(b)
        self.steps += 1
        return True

    @property
    def share(self) -> float:
        """Of the budget that is spent."""
        by_count = 0.0 if self.task.iterations is None else self.steps / self.task.iterations
        return max(self.task.clock.share, by_count)

    def keep(self, which: int) -> None:
        chain = self.chains[which]
        if chain.cost < self.best.costs[which]:
            self.best.keep(which, chain.cost, torch.from_numpy(chain.best_actions()))


@lru_cache(maxsize=1)
def compile_ruins() -> None:
    """Compile what anneals, or read what was compiled before."""
    compile_local_search()
    tell_of_compiling(anneal, "ruin and recreate")
    square = [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.5, 0.5]]
    tiny = Instance.vrp(coords=square, demand=[0.0, 1.0, 1.0, 1.0, 1.0], capacity=2.0)
    chain = RuinRecreate(tiny, 0)
    chain.begin(np.array([0, 1, 2, 0, 3, 4]))
    chain.anneal(1, 1.0)
