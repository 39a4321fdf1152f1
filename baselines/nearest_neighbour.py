"""Nearest neighbour: always go to the nearest customer that still fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nco.baselines.construction import Hub, construct_batch
from nco.baselines.solver import Budget
from nco.data.instance import Instance
from nco.data.solution import Solution


@dataclass(frozen=True)
class NearestNeighbourSolver:
    """Nearest neighbour for TSP and CVRP, symmetric or not.

    A tour starts at node 0; a vehicle returns when no customer fits any more. Ties go to the
    lowest index. It runs once, in milliseconds, whatever the budget; it takes no seed.
    """

    @property
    def name(self) -> str:
        return "nearest"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""
        return construct_batch(self.name, instance, nearest_neighbour)


def nearest_neighbour(hub: Hub) -> list[list[int]]:
    """Routes of customers, without node 0."""
    waiting = np.ones(len(hub.demand), dtype=bool)
    waiting[0] = False
    routes: list[list[int]] = []
    node, room = 0, hub.capacity
    while waiting.any():
        allowed = waiting & (hub.demand <= room)
        if not allowed.any():
            node, room = 0, hub.capacity
            continue
        if node == 0:
            routes.append([])
        node = int(np.where(allowed, hub.distance[node], np.inf).argmin())
        routes[-1].append(node)
        room -= int(hub.demand[node])
        waiting[node] = False
    return routes
