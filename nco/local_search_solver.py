"""The searches of `nco.search_sampling` and `nco.search_ruins` without a network: what those around
a model are to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from nco.baselines.local_search import LocalSearch, actions_of
from nco.baselines.savings import SavingsSolver
from nco.baselines.solver import Budget, require_seed
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.checker import evaluate, routes_from_actions
from nco.envs.variants import multi_task, tsp
from nco.models.distance_rule import DistanceRule
from nco.search import Clock
from nco.search_ruins import RuinRecreateSearch
from nco.search_sampling import LocalSearchOnSamples, compile_local_search
from nco.search_solver import SearchSolver

SHARPNESS = 20.0
"""Of draws of the nearest neighbour: a node farther by a tenth of the instance's extent is e² times
less probable."""


def rule_for(instance: Instance, sharpness: float) -> DistanceRule:
    """The policy without a network that fits an instance."""
    env = tsp if bool((instance.num_depots == 0).all()) else multi_task
    return DistanceRule(env, sharpness)


@final
@dataclass(frozen=True)
class RuinRecreateSolver:
    """`nco.search_ruins.RuinRecreateSearch` from nearest neighbour's solution.

    Args:
        num_neighbours: as `nco.baselines.local_search.LocalSearch` explains.
    """

    num_neighbours: int = 10

    @property
    def name(self) -> str:
        return "ruin-recreate"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; a variant of any kind but with a limited fleet."""
        search = RuinRecreateSearch(num_neighbours=self.num_neighbours)
        rule = rule_for(instance, SHARPNESS)
        return SearchSolver(rule, self.name, self.name, search).solve(instance, budget, seed)


@final
@dataclass(frozen=True)
class LocalSearchSolver:
    """First improvement to local optima, from one start after another.

    Args:
        start: "nearest" begins with nearest neighbour from all starts and goes on with its random
            relatives; "random" draws uniformly among the nodes allowed; "savings" runs once, from
            the savings solution, and takes what `nco.baselines.savings` takes.
        samples: starts of an iteration.
        num_neighbours: as `nco.baselines.local_search.LocalSearch` explains.
    """

    start: Literal["nearest", "random", "savings"] = "nearest"
    samples: int = 16
    num_neighbours: int = 20

    @property
    def name(self) -> str:
        """With the start's, where that is not the usual one."""
        return "local-search" if self.start == "nearest" else f"local-search from {self.start}"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; a variant of any kind but with a limited fleet."""
        if self.start == "savings":
            return self._from_savings(instance, budget, seed)
        rule = rule_for(instance, SHARPNESS if self.start == "nearest" else 0.0)
        search = LocalSearchOnSamples(self.samples, augment=1, num_neighbours=self.num_neighbours)
        return SearchSolver(rule, self.name, self.name, search).solve(instance, budget, seed)

    def _from_savings(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        require_seed(seed)
        compile_local_search()
        return [self._one_from_savings(one, budget, seed) for one in unbatch(instance.cpu())]

    def _one_from_savings(self, one: Instance, budget: Budget, seed: int) -> Solution:
        clock = Clock(budget.time_limit)
        (first,) = SavingsSolver().solve(one, Budget(), seed)
        trace = [(clock.spent, first.cost)]
        improved = LocalSearch(one, self.num_neighbours).improve(
            actions_of(first.routes, first.depots), in_time=lambda: clock.left > 0
        )
        seconds = clock.spent
        routes, depots = routes_from_actions(one, improved.actions.tolist())
        if improved.moves:
            trace.append((seconds, improved.cost))
        return evaluate(one, routes, solver=self.name, seconds=seconds, depots=depots, trace=trace)
