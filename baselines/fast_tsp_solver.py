"""The package fast-tsp: Or-opt local search for the symmetric TSP (exact up to 20 nodes)."""

from __future__ import annotations

from dataclasses import dataclass

import fast_tsp
import numpy as np

from nco.baselines.attributes import TSP, refuse_unsupported
from nco.baselines.scaling import scale_instance
from nco.baselines.solver import Budget
from nco.baselines.workers import Routes, Search, solve_in_workers
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution

MAX_LENGTH = 2**16 - 1
"""fast-tsp keeps lengths in 16 bits."""


@dataclass(frozen=True)
class FastTSPSolver:
    """fast-tsp with its default options.

    It needs a time limit, and uses all of it beyond 20 nodes. It takes no seed.

    Args:
        num_workers: processes that work on instances of a batch at the same time.
    """

    num_workers: int = 1

    @property
    def name(self) -> str:
        return "fast-tsp"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; there is no trace."""
        if budget.time_limit is None or budget.iterations is not None:
            raise InputError(
                "fast-tsp counts no iterations; accepted: a time limit and no iteration limit"
            )
        for single in unbatch(instance):
            refuse_unsupported(self.name, single, TSP)
        return solve_in_workers(
            self.name,
            instance,
            budget,
            seed,
            prepare=_prepare,
            search=_search,
            num_workers=self.num_workers,
        )


def _prepare(instance: Instance) -> np.ndarray:
    """Arc lengths [N, N] as integers."""
    return scale_instance(instance, max_length=MAX_LENGTH).distance


def _search(distance: np.ndarray, search: Search) -> Search:
    """Runs in a worker process."""
    if len(distance) == 1:
        search.best = Routes([[0]])
        return search
    search.best = Routes([fast_tsp.find_tour(distance, max(search.seconds_left(), 0.0))])
    return search
