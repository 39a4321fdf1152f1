"""Plans from certain problems, chosen by scenarios.

Many certain problems are solved, each with its own level, solver and seed; of the plans found, the
one of lowest objective on selection scenarios is taken. That is as much choice among candidates as
a sampling policy has (sample average approximation over a pool).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nco.baselines.equivalents import Equivalent
from nco.baselines.solver import Budget, SolveFailed, Solver
from nco.baselines.workers import Routes
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.noise import hash_words
from nco.data.solution import Solution
from nco.envs.checker import evaluate
from nco.envs.plans import PlanValue, plan_key, stacked

SOLVING = 0.8
"""The share of a time limit that solvers get; the rest is for pricing what they find."""


@dataclass(frozen=True)
class Found:
    """Plans of one instance, all different, and what it took to find them."""

    plans: list[Routes]
    seconds: float


@dataclass(frozen=True)
class Chosen:
    """A plan of one instance, and what it took to find it."""

    routes: Routes
    seconds: float
    priced: int = 0
    """As `nco.data.solution.Solution.plan_scenarios`."""


@dataclass(frozen=True)
class EquivalentSolver:
    """One certain problem, solved once: the plan for the uncertain one.

    Args:
        equivalent: the certain problem.
        solver: of certain problems.
    """

    equivalent: Equivalent
    solver: Solver

    @property
    def name(self) -> str:
        return f"{self.solver.name}, {self.equivalent.name}"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; the budget goes to the solver."""
        return solved_singly(self.name, instance, lambda one: Chosen(*self.plan(one, budget, seed)))

    def plan(self, one: Instance, budget: Budget, seed: int) -> tuple[Routes, float]:
        """Of one instance (B = 1), and the seconds that it took.

        Raises:
            SolveFailed: the solver found no feasible routes.
        """
        began = time.perf_counter()
        certain = self.equivalent.certain(one)
        spent = time.perf_counter() - began
        if certain is None:
            routes = Routes([])
        else:
            solution = self.solver.solve(certain, budget, seed)[0]
            if not solution.feasible:
                raise SolveFailed(f"{self.name} failed: {solution.violations[0]}")
            spent += solution.seconds
            routes = Routes(solution.routes, solution.depots)
        began = time.perf_counter()
        return self.equivalent.plan(one, routes), spent + time.perf_counter() - began


@dataclass(frozen=True)
class CandidatePool:
    """The best of many plans on selection scenarios.

    A time limit is shared out evenly among the runs; an iteration limit holds for each of them.
    Whatever run fails, all fail. Each problem is solved once before any is solved with another
    seed, until all runs are done or there are as many plans as may be priced.

    Args:
        equivalents: certain problems, each solved by every solver with every seed.
        solvers: of certain problems.
        num_seeds: runs of each solver on each problem.
        value: what plans are chosen by.
    """

    equivalents: Sequence[Equivalent]
    solvers: Sequence[Solver]
    num_seeds: int
    value: PlanValue

    @property
    def name(self) -> str:
        return "candidate-pool"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""

        def best(one: Instance) -> Chosen:
            found = self.candidates(one, budget, seed)
            began = time.perf_counter()
            chosen = best_plan(self.value, one, found.plans)
            seconds = found.seconds + time.perf_counter() - began
            return Chosen(chosen, seconds, len(found.plans) * self.value.scenarios.count)

        return solved_singly(self.name, instance, best)

    def candidates(self, one: Instance, budget: Budget, seed: int) -> Found:
        """All different plans of one instance (B = 1).

        Raises:
            SolveFailed: a run found no feasible routes.
        """
        runs = list(itertools.product(range(self.num_seeds), self.equivalents, self.solvers))
        limit = budget.time_limit
        each = Budget(
            None if limit is None else SOLVING * limit / len(runs), iterations=budget.iterations
        )
        plans: dict[object, Routes] = {}
        seconds = 0.0
        for number, equivalent, solver in runs:
            if not self.value.may_price(len(plans)):
                break
            own_seed = hash_words(seed, number) % 2**31
            plan, spent = EquivalentSolver(equivalent, solver).plan(one, each, own_seed)
            plans.setdefault(plan_key(one, plan.routes, plan.depots or None), plan)
            seconds += spent
        return Found(list(plans.values()), seconds)


def best_plan(value: PlanValue, one: Instance, plans: Sequence[Routes]) -> Routes:
    """The plan of lowest value; the first of equal ones."""
    values = value.of(one, stacked(one, [(plan.routes, plan.depots) for plan in plans]))
    return plans[int(values[0].argmin())]


def solved_singly(
    name: str, instance: Instance, plan: Callable[[Instance], Chosen]
) -> list[Solution]:
    """One solution for each instance, from a function of one instance.

    Raises:
        SolveFailed: a plan breaks a rule.
    """
    solutions = []
    for one in unbatch(instance):
        chosen = plan(one)
        routes = chosen.routes
        solution = evaluate(
            one, routes.routes, solver=name, seconds=chosen.seconds, depots=routes.depots
        )
        if not solution.feasible:
            raise SolveFailed(f"{name} made an infeasible plan: {solution.violations[0]}")
        solutions.append(replace(solution, plan_scenarios=chosen.priced))
    return solutions
