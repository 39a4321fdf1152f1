"""What decides on the way, world by world, where noise is seen as it comes: plans that are
followed, and planning again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from nco.baselines.reoptimisation import Reoptimisation
from nco.baselines.solver import Budget, SolveFailed, Solver
from nco.data.batching import collate
from nco.data.demand_laws import realised_demands
from nco.data.errors import shortened
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.data.prize_instances import realised_prizes
from nco.envs.plans import stacked
from nco.envs.recourse import Recourse, recourse

Walks = list[list[int]]
"""In each world, the nodes in the order driven to, trips parted by their depots."""


class Follower(ABC):
    """Goes through worlds of one instance, and knows of each what it has seen on its way."""

    preparation: float = 0.0
    """Wall seconds of what was done before any world."""
    plan_scenarios: int = 0
    """Prices in selection scenarios that were asked for before."""

    @abstractmethod
    def walks(self, worlds: Scenarios) -> Walks:
        """What is driven in each world.

        Raises:
            SolveFailed: no way to go on was found.
        """


class Walker(ABC):
    """Decides on the way."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @abstractmethod
    def prepared(self, one: Instance, budget: Budget, seed: int) -> Follower:
        """What goes through the worlds of an instance (B = 1); it is told of none of them here.

        Raises:
            SolveFailed: no plan was found.
        """


@final
class PlannedRoutes(Follower):
    """A plan whose routes are driven as they are, whatever comes."""

    def __init__(self, walk: list[int]) -> None:
        self._walk = walk

    def walks(self, worlds: Scenarios) -> Walks:
        return [self._walk] * worlds.count


@final
class RecourseRoutes(Follower):
    """A plan that is followed by the policy of `nco.envs.recourse`, demands being seen on arrival:
    turning back early where that is best, and where the load was not enough, coming back with
    more."""

    def __init__(self, one: Instance, policy: Recourse) -> None:
        self._one, self._capacity = one, int(one.capacity[0])
        self._nodes: list[int] = policy.walk.nodes[0, 0].tolist()
        self._turn_back: list[list[bool]] = policy.turn_back[0, 0].tolist()

    def walks(self, worlds: Scenarios) -> Walks:
        return [self._followed(d) for d in realised_demands(self._one, worlds)[0].tolist()]

    def _followed(self, demand: list[int]) -> list[int]:
        load, walk = self._capacity, []
        for node, turn_back in zip(self._nodes[1:], self._turn_back, strict=True):
            if turn_back[load]:
                walk.append(0)
                load = self._capacity
            walk.append(node)
            if node == 0:
                load = self._capacity
                continue
            load -= demand[node]
            if load < 0:
                walk += [0, node]
                load += self._capacity
        return walk


@final
@dataclass(frozen=True)
class PlanWalker(Walker):
    """Plans before, and follows the plan with the recourse that is best for it."""

    solver: Solver

    @property
    def name(self) -> str:
        return self.solver.name

    def prepared(self, one: Instance, budget: Budget, seed: int) -> Follower:
        (solution,) = self.solver.solve(one, budget, seed)
        if not solution.feasible:
            raise SolveFailed(
                f"{self.name}: the plan breaks rules: {shortened(solution.violations)}"
            )
        plan = stacked(one, [(solution.routes, solution.depots)])
        follower: Follower
        if one.demand_law is None:
            follower = PlannedRoutes(plan[0, 0].tolist())
        else:
            follower = RecourseRoutes(one, recourse(one, plan))
        follower.preparation = solution.seconds
        follower.plan_scenarios = solution.plan_scenarios
        return follower


@final
@dataclass(frozen=True)
class Replanning(Follower):
    """Plans with expected prizes, again and again."""

    method: Reoptimisation
    one: Instance
    budget: Budget
    seed: int

    def walks(self, worlds: Scenarios) -> Walks:
        prizes = realised_prizes(self.one, worlds)[0].double()
        copies = collate([self.one] * worlds.count)
        return [walk.tour for walk in self.method.run(copies, prizes, self.budget, self.seed)]


@final
@dataclass(frozen=True)
class ReplanningWalker(Walker):
    """See `nco.baselines.reoptimisation`; the budget is of a plan."""

    method: Reoptimisation

    @property
    def name(self) -> str:
        return self.method.name

    def prepared(self, one: Instance, budget: Budget, seed: int) -> Follower:
        return Replanning(self.method, one, budget, seed)
