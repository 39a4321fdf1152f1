"""HGS-CVRP: hybrid genetic search (Vidal 2022, doi:10.1016/j.cor.2021.105643), by hybgensea."""

from __future__ import annotations

import time
from dataclasses import dataclass

import hybgensea
import numpy as np
import torch

from nco.baselines.attributes import CVRP, Attribute, attributes, fleet, refuse_unsupported
from nco.baselines.scaling import NO_LIMIT, scale_loads
from nco.baselines.solver import Budget, require_limit
from nco.baselines.workers import Routes, Search, solve_in_workers
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix
from nco.data.solution import Solution

SUPPORTED = CVRP | {Attribute.DISTANCE_LIMIT, Attribute.FLEET_LIMIT}

GRACE = 60.0
"""Seconds beyond the time limit after which HGS-CVRP is killed, and its solution lost: more than
others get, since a machine that becomes busier in the course of a run makes it longer."""

PROBE_SECONDS, PROBE_SHARE = 0.3, 0.05
"""The time in which the share of a core is measured: at most the seconds, and that share of the
time left."""

MAX_SEED = 2**31


@dataclass(frozen=True)
class Problem:
    """One instance as HGS-CVRP takes it; lengths and loads as floating-point numbers."""

    coords: np.ndarray | None  # [N, 2]
    distance: np.ndarray  # [N, N]
    demand: np.ndarray  # [N]
    capacity: float
    distance_limit: float | None
    num_vehicles: int
    """-1 leaves it to HGS-CVRP: 1.3 times the fewest that can carry all, and 3."""


@dataclass(frozen=True)
class HGSSolver:
    """HGS-CVRP with its published parameters.

    HGS-CVRP counts its time limit in CPU seconds and cannot be stopped. So the share of a core that
    the machine has to give is measured first, and HGS-CVRP gets that share of the wall time left.
    Where it changes during the run, the wall time misses the limit in proportion.

    An iteration limit counts iterations without improvement, and repeats exactly.

    Args:
        num_workers: processes that work on instances of a batch at the same time.
    """

    num_workers: int = 1

    @property
    def name(self) -> str:
        return "hgs"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; there is no trace."""
        require_limit(self.name, budget)
        if budget.time_limit is not None and budget.iterations is not None:
            # with a time limit HGS-CVRP starts afresh when the iterations are used up
            raise InputError(
                "hgs got a time limit and an iteration limit; accepted: one of the two"
            )
        for single in unbatch(instance):
            refuse_unsupported(self.name, single, SUPPORTED)
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


def _prepare(instance: Instance) -> Problem:
    demand, _, capacity = scale_loads(instance)
    limit = float(instance.distance_limit)
    limited = Attribute.FLEET_LIMIT in attributes(instance)
    unlimited_load = capacity == NO_LIMIT
    return Problem(
        coords=None if instance.coords is None else instance.coords[0].double().numpy(),
        distance=distance_matrix(instance.to(torch.float64))[0].numpy(),
        demand=demand.astype(float),
        capacity=float(max(demand.sum(), 1) if unlimited_load else capacity),
        distance_limit=limit if np.isfinite(limit) else None,
        num_vehicles=fleet(instance) if limited or unlimited_load else -1,
    )


def _core_share(seconds: float) -> float:
    """CPU over wall time of this process while it is busy for so many wall seconds; at most 1."""
    wall, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - wall < seconds:
        pass
    passed = time.monotonic() - wall
    return min(1.0, (time.process_time() - cpu) / passed) if passed > 0 else 1.0


def _search(problem: Problem, search: Search) -> Search:
    """Runs in a worker process."""
    if len(problem.demand) == 2:
        # HGS-CVRP needs two customers
        search.improved(Routes([[1]]))
        return search
    seconds, iterations = 0.0, search.iterations
    if search.deadline is not None:
        share = _core_share(min(PROBE_SECONDS, PROBE_SHARE * search.seconds_left()))
        seconds = max(share * search.seconds_left(), 1e-3)
    if iterations is None:
        iterations = hybgensea.DEFAULT_ALGO_PARAMS["nbIter"]
    if 0 < problem.num_vehicles * problem.capacity < problem.demand.sum():
        # HGS-CVRP raises for this; it is our "no feasible solution"
        return search
    found = hybgensea.solve_cvrp_dist_mtx(
        problem.distance,
        problem.demand,
        problem.capacity,
        x_coords=None if problem.coords is None else problem.coords[:, 0],
        y_coords=None if problem.coords is None else problem.coords[:, 1],
        duration_limit=problem.distance_limit,
        num_vehicles=problem.num_vehicles,
        extract_all_feasible=False,
        verbose=False,
        seed=search.seed % MAX_SEED,
        timeLimit=seconds,
        nbIter=iterations,
    )
    routes = [list(map(int, route)) for route in found.routes if route]
    if routes:
        search.best = Routes(routes)
    return search
