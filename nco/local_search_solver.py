"""The searches of `nco.search_sampling` and `nco.search_ruins` without a network: what those around
a model are to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch

from nco.baselines.local_search import actions_of
from nco.baselines.savings import SavingsSolver
from nco.baselines.solver import Budget, require_device, require_seed
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.variants import multi_task, tsp
from nco.models.distance_rule import DistanceRule
from nco.search import Clock, Incumbent
from nco.search_ruins import RuinRecreateSearch
from nco.search_sampling import LocalSearchOnSamples, Moves
from nco.search_solver import SearchSolver, found_by

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
    """Local optima, from one start after another.

    Args:
        start: "nearest" begins with nearest neighbour from all starts and goes on with its random
            relatives; "random" draws uniformly among the nodes allowed; "savings" runs once, from
            the savings solution, and takes what `nco.baselines.savings` takes.
        samples: starts of an iteration.
        num_neighbours: as `nco.baselines.local_search.LocalSearch` explains.
        moves: what improves solutions, see `nco.search_sampling.LocalSearchOnSamples`.
        device: where it runs, e.g. ``cuda``; None is where the instance is.
    """

    start: Literal["nearest", "random", "savings"] = "nearest"
    samples: int = 16
    num_neighbours: int = 20
    moves: Moves = "auto"
    device: str | None = None

    @property
    def name(self) -> str:
        """With the start's, where that is not the usual one."""
        return "local-search" if self.start == "nearest" else f"local-search from {self.start}"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; a variant of any kind but with a limited fleet."""
        device = instance.valid.device if self.device is None else require_device(self.device)
        search = LocalSearchOnSamples(
            self.samples, augment=1, num_neighbours=self.num_neighbours, moves=self.moves
        )
        if self.start == "savings":
            require_seed(seed)
            search.prepare(device)
            singles = unbatch(instance.cpu())
            return [self._from_savings(one, search, device, budget, seed) for one in singles]
        rule = rule_for(instance, SHARPNESS if self.start == "nearest" else 0.0).to(device)
        return SearchSolver(rule, self.name, self.name, search).solve(instance, budget, seed)

    def _from_savings(
        self,
        one: Instance,
        search: LocalSearchOnSamples,
        device: torch.device,
        budget: Budget,
        seed: int,
    ) -> Solution:
        clock = Clock(budget.time_limit)
        (first,) = SavingsSolver().solve(one, Budget(), seed)
        actions = torch.from_numpy(actions_of(first.routes, first.depots))
        best = Incumbent.none(1, clock)
        best.keep(0, first.cost, actions)
        improver = search.improver(one.to(device), clock)
        improver.improve(actions.to(device).view(1, 1, -1), best)
        return found_by(self.name, one, best, 0, clock.spent)
