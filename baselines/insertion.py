"""Cheapest insertion in random or in farthest-first order.

Rosenkrantz, Stearns and Lewis (1977, doi:10.1137/0206041) for the TSP. For the CVRP all routes are
built at once (Potvin and Rousseau 1993, doi:10.1016/0377-2217(93)90221-8): the first customers open
as many routes as the total demand needs at least; each later one goes to its cheapest place in any
route with room, or into a new route.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nco.baselines.construction import Hub, construct_batch
from nco.baselines.solver import Budget
from nco.data.instance import Instance
from nco.data.solution import Solution


@dataclass(frozen=True)
class RandomInsertionSolver:
    """Random insertion for TSP and CVRP, symmetric or not.

    It runs once whatever the budget; the seed gives the order.
    """

    @property
    def name(self) -> str:
        return "random-insertion"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""

        def construct(hub: Hub) -> list[list[int]]:
            order = np.random.default_rng(seed).permutation(np.arange(1, len(hub.demand)))
            return insert(hub, iter(order.tolist()))

        return construct_batch(self.name, instance, construct)


@dataclass(frozen=True)
class FarthestInsertionSolver:
    """Farthest insertion for TSP and CVRP, symmetric or not.

    The next customer is the one whose nearest node among those on routes is farthest away, there
    and back. It runs once whatever the budget; it takes no seed.
    """

    @property
    def name(self) -> str:
        return "farthest-insertion"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`."""
        return construct_batch(
            self.name, instance, lambda hub: insert(hub, farthest_first(hub.distance))
        )


def farthest_first(distance: np.ndarray) -> Iterator[int]:
    """Nodes but node 0, each time the one farthest (there and back) from 0 and those before."""
    round_trip = distance + distance.T
    nearest = round_trip[0].copy()
    nearest[0] = -np.inf
    for _ in range(len(distance) - 1):
        node = int(nearest.argmax())
        yield node
        np.minimum(nearest, round_trip[node], out=nearest)
        nearest[node] = -np.inf


def insert(hub: Hub, order: Iterator[int]) -> list[list[int]]:
    """Routes of customers, without node 0, after inserting them in the given order.

    All routes are one sequence with node 0 between them. It ends with an empty route, so opening
    a route is an insertion like any other.
    """
    distance = hub.distance
    sequence = np.array([0, 0])
    route_of = np.array([0])  # of the arc from sequence[i] to sequence[i + 1]
    loads = [0]
    seeds = 1 if hub.tour else max(1, -(-int(hub.demand.sum()) // hub.capacity))
    for node in order:
        before, after = sequence[:-1], sequence[1:]
        detour = distance[before, node] + distance[node, after] - distance[before, after]
        room = np.array(loads) + hub.demand[node] <= hub.capacity
        if len(loads) <= seeds:
            room[:-1] = False
        place = int(np.where(room[route_of], detour, np.inf).argmin())
        route = int(route_of[place])
        loads[route] += int(hub.demand[node])
        sequence = np.insert(sequence, place + 1, node)
        route_of = np.insert(route_of, place, route)
        if not hub.tour and route == len(loads) - 1:
            sequence = np.append(sequence, 0)
            route_of = np.append(route_of, len(loads))
            loads.append(0)
    routes = np.split(sequence, np.flatnonzero(sequence == 0))
    return [route[1:].tolist() for route in routes if len(route) > 1]
