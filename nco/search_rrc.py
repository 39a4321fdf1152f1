"""Random re-construction of parts of a solution (Luo et al. 2023, arXiv:2310.07985)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nco.baselines.local_search import actions_of
from nco.data.errors import InputError
from nco.data.instance import distance_matrix
from nco.envs.checker import routes_from_actions
from nco.search import Builder, Built, Progress, Search, Task
from nco.strategies import Greedy, Sampling

LEAST_GAIN = 1e-6
"""Of a solution's length in float32: less is rounding."""
ROUTES = 4
"""Neighbouring routes that are built again together, at most."""


@final
@dataclass(frozen=True)
class RandomReconstruction(Search):
    """The policy builds random parts of the best solution again, and what gets shorter is kept.

    What is kept of the solution is forced as the beginning of a trajectory, so the policy sees the
    partial solution that it would have built itself, and every constraint holds by the
    environment's own masks. Of a tour, the nodes outside a segment are forced, in a random
    direction where lengths are symmetric, and the segment is built between its fixed ends: a
    policy of tours goes from its current node through all that is left to its first. Of routes, all
    but up to `ROUTES` neighbouring ones are forced, and of the first of these a random beginning.

    One iteration builds ``samples`` parts, alternately by greedy choices and by draws; parts that
    have no node in common are exchanged together. It works on one instance at a time.

    Differs from the paper in: any policy will do (theirs is trained on partial solutions); several
    parts are built at a time; draws, and not only greedy choices.

    Args:
        longest: nodes of a part, at most; None for as many as there are.
    """

    samples: int = 32
    longest: int | None = 50
    temperature: float = 1.0

    @property
    def name(self) -> str:
        return "rrc"

    def init(self, task: Task) -> Progress:
        if task.instance.batch_size[0] > 1:
            raise InputError(
                f"rrc got {task.instance.batch_size[0]} instances at once; accepted: 1"
            )
        return _Tour(task, self) if not task.env.has_depot else _Routes(task, self)


class _Reconstruction(Progress, ABC):
    def __init__(self, task: Task, search: RandomReconstruction) -> None:
        super().__init__(task)
        self.search = search
        self.greedy()
        strategies = (Greedy(), Sampling(search.temperature))
        self.builders = [Builder(task, task.encoding(), s) for s in strategies]
        self.random = np.random.default_rng(task.generator.initial_seed())
        self.turn = 0

    @property
    def cost(self) -> float:
        """Of the best solution."""
        return self.best.costs[0]

    def built(self, begun: list[np.ndarray]) -> Built:
        """Solutions that begin with given actions, as many each."""
        starts = torch.from_numpy(np.stack(begun)).to(self.task.instance.valid.device)
        self.turn += 1
        return self.builders[self.turn % 2].from_starts(starts.unsqueeze(0))

    def keep(self, actions: np.ndarray) -> None:
        """A solution, where it is as good as its parts promise."""
        stacked = torch.from_numpy(actions).to(self.task.instance.valid.device).view(1, 1, -1)
        cost = float(self.task.env.cost(self.task.instance, stacked))
        if cost < self.cost * (1 - LEAST_GAIN):
            self.best.keep(0, cost, stacked.view(-1).cpu())

    def better(self, costs: Float[Tensor, "1 trajectory"]) -> list[int]:
        """Those that cost less than the best solution, the cheapest first."""
        values = costs[0].tolist()
        limit = self.cost * (1 - LEAST_GAIN)
        return [i for i in np.argsort(values, kind="stable").tolist() if values[i] < limit]

    def part_size(self, most: int) -> int:
        """How many nodes to build again."""
        longest = most if self.search.longest is None else min(most, self.search.longest)
        return int(self.random.integers(min(3, longest), longest + 1))

    @abstractmethod
    def step(self) -> bool:
        """As `Progress.step`."""


@final
class _Tour(_Reconstruction):
    def __init__(self, task: Task, search: RandomReconstruction) -> None:
        super().__init__(task, search)
        matrix = distance_matrix(task.instance)
        self.symmetric = torch.equal(matrix, matrix.mT)
        self.size = int(task.instance.valid.sum())

    def step(self) -> bool:
        n = self.size
        if n < 4:
            return False
        size = self.part_size(n - 1)
        # cut into parts without a node in common; what is left over stays
        tour = np.roll(self.best.best(0).numpy()[:n], -int(self.random.integers(n)))
        parts = n // size
        begun, turned = [], []
        for s in range(self.search.samples):
            kept = np.roll(tour, -(s % parts + 1) * size)[: n - size]
            turned.append(self.symmetric and bool(self.random.integers(2)))
            begun.append(kept[::-1] if turned[-1] else kept)
        found = self.built(begun)
        actions, changed = found.actions[0].cpu().numpy(), set()
        tour = tour.copy()
        for s in self.better(found.costs):
            part = s % parts
            if part not in changed:
                changed.add(part)
                segment = actions[s, n - size : n]
                tour[part * size : (part + 1) * size] = segment[::-1] if turned[s] else segment
        if changed:
            self.keep(tour)
        return True


@final
class _Routes(_Reconstruction):
    def __init__(self, task: Task, search: RandomReconstruction) -> None:
        super().__init__(task, search)
        distance = distance_matrix(task.instance)[0].cpu().numpy()
        self.depots = int(task.instance.num_depots)
        self.customers = np.arange(self.depots, int(task.instance.valid.sum()))
        near = np.minimum(distance, distance.T)[:, self.customers]
        self.order = np.argsort(near, axis=1, kind="stable") + self.depots

    def step(self) -> bool:
        routes, depots = routes_from_actions(self.task.instance.cpu(), self.best.best(0))
        where = {node: r for r, route in enumerate(routes) for node in route}
        begun, chosen = [], []
        for _ in range(self.search.samples):
            part = self.part(routes, where)
            chosen.append(part)
            begun.append(self.beginning(routes, depots, part))
        longest = max(len(b) for b in begun)
        # waiting where the vehicle begins changes nothing
        begun = [np.pad(b, (longest - len(b), 0), mode="edge") for b in begun]
        found = self.built(begun)
        changed: set[int] = set()
        new: list[tuple[list[int], int]] = []
        for s in self.better(found.costs):
            if changed.isdisjoint(chosen[s]):
                changed |= set(chosen[s])
                again = routes_from_actions(self.task.instance.cpu(), found.actions[0, s].cpu())
                kept = len(routes) - len(chosen[s])
                new += list(zip(*again, strict=True))[kept:]
        if changed:
            new += [(r, d) for i, (r, d) in enumerate(zip(routes, depots, strict=True))
                    if i not in changed]  # fmt: skip
            actions = actions_of([r for r, _ in new], [d for _, d in new])
            self.keep(np.append(actions, new[-1][1]))
        return True

    def part(self, routes: list[list[int]], where: dict[int, int]) -> list[int]:
        """Neighbouring routes, in a random order."""
        size = self.part_size(len(self.customers))
        seed = int(self.random.choice(self.customers))
        chosen: list[int] = []
        nodes = 0
        for node in self.order[seed].tolist():
            r = where[node]
            if r in chosen:
                continue
            if chosen and (nodes + len(routes[r]) > size or len(chosen) == ROUTES):
                break
            chosen.append(r)
            nodes += len(routes[r])
        self.random.shuffle(chosen)
        return chosen

    def beginning(self, routes: list[list[int]], depots: list[int], part: list[int]) -> np.ndarray:
        """The actions that are kept: the other routes, and some of the part's first."""
        others = [r for r in range(len(routes)) if r not in part]
        first = part[0]
        some = routes[first][: int(self.random.integers(len(routes[first])))]
        return actions_of(
            [*(routes[r] for r in others), some], [*(depots[r] for r in others), depots[first]]
        )
