"""Local search whose moves are priced by scenarios, from the best plan of a pool."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from nco.baselines.candidate_pool import Chosen, solved_singly
from nco.baselines.moves import RouteLists, alone, nearest, neighbours
from nco.baselines.solver import Budget, Solver
from nco.baselines.workers import Routes
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.plans import PlanValue, stacked

STARTING = 0.5
"""The share of a time limit that the solver of the start gets."""
SLACK = 1e-9
"""A relative gain below this is none: sums are rounded."""


@dataclass
class _Spent:
    """What a search has used of what it may use."""

    plans: int
    deadline: float | None

    def too_late(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.perf_counter() >= self.deadline


@dataclass(frozen=True)
class ScenarioSearch:
    """Best improvement among some neighbours at a time, on selection scenarios, until no move of
    all helps, or the time is up.

    Neighbours are tried in a random order that the seed gives. An iteration limit is that of the
    solver of the start; the search then ends in a local optimum, or where no more plans may be
    priced. Closed routes from one depot, and tours, are known.

    Args:
        start: finds the plan to begin with.
        value: what plans are judged by.
        num_near: customers that each may be brought to.
        chunk: neighbours that are priced together.
    """

    start: Solver
    value: PlanValue
    num_near: int = 10
    chunk: int = 128

    @property
    def name(self) -> str:
        return f"scenario-search ({self.start.name})"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""
        if bool((instance.num_depots > 1).any()):
            raise InputError(
                f"{self.name} got an instance with several depots; accepted: one, or a TSP"
            )
        limit = budget.time_limit
        first = Budget(None if limit is None else STARTING * limit, iterations=budget.iterations)

        def searched(one: Instance) -> Chosen:
            began = self.start.solve(one, first, seed)[0]
            left = None if limit is None else max(0.0, limit - began.seconds)
            clock = time.perf_counter()
            count = self.value.scenarios.count
            routes, priced = self.improve(
                one, began.routes, left, seed, priced=began.plan_scenarios // count
            )
            seconds = began.seconds + time.perf_counter() - clock
            return Chosen(Routes(routes), seconds, priced * count)

        return solved_singly(self.name, instance, searched)

    def improve(
        self,
        one: Instance,
        routes: RouteLists,
        seconds: float | None,
        seed: int,
        *,
        priced: int = 0,
    ) -> tuple[RouteLists, int]:
        """A plan that no move betters, of one instance (B = 1), or the best when time is up or no
        more plans may be priced; and how many have been.

        Args:
            priced: plans that were priced before.
        """
        deadline = None if seconds is None else time.perf_counter() + seconds
        generator = torch.Generator().manual_seed(seed)
        near = nearest(one, self.num_near)
        best = float(self.value.of(one, stacked(one, [(routes, None)])))
        spent = _Spent(max(priced, 1), deadline)
        while True:
            better = self._better(one, routes, best, near, spent, generator)
            if better is None:
                return routes, spent.plans
            routes, best = better

    def _better(
        self,
        one: Instance,
        routes: RouteLists,
        best: float,
        near: list[list[int]],
        spent: _Spent,
        generator: torch.Generator,
    ) -> tuple[RouteLists, float] | None:
        """The best plan of the first chunk of neighbours that has a better one."""
        found = neighbours(routes, near)
        if int(one.num_depots) > 0:
            found = itertools.chain(found, alone(routes))
        plans = _shuffled(found, generator)
        for first in range(0, len(plans), self.chunk):
            if spent.too_late() or not self.value.may_price(spent.plans):
                return None
            part = plans[first : first + self.chunk]
            actions = stacked(one, [(plan, None) for plan in part])
            fine = self.value.allowed(one, actions)[0].nonzero().flatten()
            if self.value.most is not None:
                fine = fine[: self.value.most - spent.plans]
            if not len(fine):
                continue
            spent.plans += len(fine)
            values = self.value.of(one, actions[:, fine])[0]
            least = int(values.argmin())
            value = float(values[least])
            if value < best - SLACK * abs(best):
                return part[int(fine[least])], value
        return None


def _shuffled(plans: Iterator[RouteLists], generator: torch.Generator) -> list[RouteLists]:
    listed = list(plans)
    order: Int[Tensor, " plan"] = torch.randperm(len(listed), generator=generator)
    return [listed[i] for i in order.tolist()]
