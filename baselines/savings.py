"""The savings method, parallel version (Clarke and Wright 1964, doi:10.1287/opre.12.4.568)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nco.baselines.construction import Hub, construct_batch
from nco.baselines.solver import Budget
from nco.data.instance import Instance
from nco.data.solution import Solution


@dataclass(frozen=True)
class SavingsSolver:
    """Clarke-Wright savings for CVRP and TSP, symmetric or not.

    A TSP is solved with node 0 as the hub. It runs once whatever the budget; it takes no seed.
    """

    @property
    def name(self) -> str:
        return "savings"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""
        return construct_batch(self.name, instance, savings)


def savings(hub: Hub) -> list[list[int]]:
    """Routes of customers, without node 0.

    Starts with one route a customer; joins a route that ends at i to one that begins at j, in
    the order of the saving d(i, 0) + d(0, j) - d(i, j). Symmetric routes may be turned round.
    """
    symmetric = bool((hub.distance == hub.distance.T).all())
    routes: dict[int, list[int]] = {i: [i] for i in range(1, len(hub.demand))}
    route_of = list(range(len(hub.demand)))
    loads = hub.demand.tolist()
    for i, j in _pairs_by_saving(hub, symmetric):
        a, b = route_of[i], route_of[j]
        if a == b or loads[a] + loads[b] > hub.capacity:
            continue
        first, second = routes[a], routes[b]
        if symmetric:
            # the pair stands for both directions
            if first[-1] != i:
                first.reverse()
            if second[0] != j:
                second.reverse()
        if first[-1] != i or second[0] != j:
            continue
        first += second
        loads[a] += loads[b]
        for node in second:
            route_of[node] = a
        del routes[b]
    return list(routes.values())


def _pairs_by_saving(hub: Hub, symmetric: bool) -> list[tuple[int, int]]:
    """Pairs of customers that save, best first; for a TSP all pairs, since one route must do."""
    distance = hub.distance
    saving = distance[:, :1] + distance[:1, :] - distance
    wanted = np.ones_like(saving, dtype=bool) if hub.tour else saving > 0
    wanted[0, :] = wanted[:, 0] = False
    np.fill_diagonal(wanted, val=False)
    if symmetric:
        wanted = np.triu(wanted)
    i, j = np.nonzero(wanted)
    order = np.argsort(-saving[i, j], kind="stable")
    return list(zip(i[order].tolist(), j[order].tolist(), strict=True))
