"""LKH (Helsgaun 2000, doi:10.1016/S0377-2217(99)00284-2) by the package elkai.

LKH's licence allows academic and non-commercial use only.
"""

from __future__ import annotations

from dataclasses import dataclass

import elkai
import numpy as np

from nco.baselines.attributes import TSP, Attribute, refuse_unsupported
from nco.baselines.scaling import scale_instance
from nco.baselines.solver import Budget
from nco.baselines.workers import Routes, Search, solve_in_workers
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.solution import Solution

MAX_LENGTH = 1_000_000
"""LKH multiplies lengths by 100 and keeps them in 32 bits, with room for its penalties."""

RUNS = 10

GRACE = 1.0


@dataclass(frozen=True)
class ElkaiSolver:
    """LKH with its default parameters, for the TSP, symmetric or not.

    An iteration limit is the number of runs (10 without one), and repeats exactly; it takes no
    seed. LKH cannot be stopped early: a run that passes the time limit by a second is killed and
    reported as failed.

    Args:
        num_workers: processes that work on instances of a batch at the same time.
    """

    num_workers: int = 1

    @property
    def name(self) -> str:
        return "elkai"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; there is no trace."""
        for single in unbatch(instance):
            refuse_unsupported(self.name, single, TSP | {Attribute.ASYMMETRIC})
        return solve_in_workers(
            self.name,
            instance,
            budget,
            seed,
            prepare=_prepare,
            search=_search,
            num_workers=self.num_workers,
            grace=GRACE,
        )


def _prepare(instance: Instance) -> np.ndarray:
    """Arc lengths [N, N] as integers."""
    return scale_instance(instance, max_length=MAX_LENGTH).distance


def _search(distance: np.ndarray, search: Search) -> Search:
    """Runs in a worker process."""
    n = len(distance)
    if n < 3:
        # LKH needs three nodes
        search.best = Routes([list(range(n))])
        return search
    tour = elkai.DistanceMatrix(distance.tolist()).solve_tsp(search.iterations or RUNS)
    search.best = Routes([tour[:-1]])
    return search
