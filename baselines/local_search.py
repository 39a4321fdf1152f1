"""A local search on the routes of one instance, for tours and for every variant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final, no_type_check

import numpy as np
import torch
from numba import njit

from nco.baselines.local_moves import descend
from nco.baselines.local_rows import commit, fresh_row, new_rows
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.route_rules import route_length, route_rules

MOVES_AT_ONCE = 2000
"""Moves between two looks at the clock: some milliseconds at 1,000 nodes."""


@dataclass(frozen=True)
class Improved:
    """What a local search made of one solution."""

    actions: np.ndarray
    """[T] int64, as `nco.envs.checker.routes_from_actions` reads them: each route's depot, then its
    customers; a TSP's nodes in order."""
    cost: float
    """In float64, by the rules of `nco.envs.route_rules`."""
    moves: int


@final
class LocalSearch:
    """First improvement over the moves of `nco.baselines.local_moves`, to a local optimum.

    Args:
        instance: one (B = 1, without padding), of any variant.
        num_neighbours: each customer's moves are towards so many nearest others, the way there or
            back whichever is shorter; as many as there are make the neighbourhood complete.
    """

    def __init__(self, instance: Instance, num_neighbours: int = 20) -> None:
        self.rules = route_rules(instance)
        self.near = nearest(self.rules.distance, self.rules.num_depots, num_neighbours)
        self.rows = new_rows(len(self.rules.service), max(1, self.rules.most_routes))

    def improve(
        self, actions: np.ndarray, *, in_time: Callable[[], bool] = lambda: True
    ) -> Improved:
        """A solution made better until no move improves it, or while there is time.

        Args:
            actions: [T] int64, nodes in order, with depots between routes.

        Raises:
            InputError: the solution is not feasible, or has more routes than vehicles.
        """
        if not fill(self.rules, self.rows, actions):
            raise InputError("a local search starts from feasible routes; these are not")
        moves = 0
        while True:
            found = descend(self.rules, self.rows, self.near, MOVES_AT_ONCE, True)
            moves += found
            if found < MOVES_AT_ONCE or not in_time():
                break
        found = rows_as_actions(self.rows.row, self.rows.size, self.rules.num_depots)
        return Improved(found, float(self.rows.length.sum()), moves)


def nearest(distance: np.ndarray, num_depots: int, count: int) -> np.ndarray:
    """For each customer the others nearest to it, in order; rows of depots mean nothing. Node 0 of
    a TSP, which its row leaves, counts as a depot.

    Returns:
        [N, K] int64.
    """
    first = max(num_depots, 1)
    either = np.minimum(distance, distance.T)[first:, first:].copy()
    np.fill_diagonal(either, np.inf)
    count = max(0, min(count, len(either) - 1))
    order = np.argsort(either, axis=1, kind="stable")[:, :count] + first
    return np.concatenate([np.zeros((first, count), np.int64), order])


@njit(cache=True, nogil=True)
@no_type_check
def fill(rules, rows, actions):
    """Take a solution over; False where it is not feasible. Every customer must be there once."""
    rows.size[:] = 0
    rows.length[:] = 0.0
    rows.used[0] = 0
    rows.awake[:] = True
    rows.free[:] = np.arange(len(rows.free))
    nodes, draft = len(rules.service), rows.draft[0]
    if rules.num_depots == 0:
        at = 0
        while actions[at] != 0:
            at += 1
        for i in range(nodes):
            draft[i] = actions[(at + i) % nodes]
        draft[nodes] = 0
        commit(rules, rows, 0, 0, nodes - 1)
        return True
    depot = count = 0
    for i in range(len(actions) + 1):
        node = actions[i] if i < len(actions) else 0
        if node >= rules.num_depots:
            count += 1
            draft[count] = node
            continue
        if count > 0:
            draft[0] = draft[count + 1] = depot
            r = fresh_row(rules, rows, depot)
            if r < 0 or route_length(rules, draft, count) == np.inf:
                return False
            commit(rules, rows, r, 0, count)
            count = 0
        depot = node
    return True


def rows_as_actions(row: np.ndarray, size: np.ndarray, num_depots: int) -> np.ndarray:
    """[T] int64 of rows [R, N + 2] with so many customers [R]; of a TSP the one there is."""
    used = range(len(size)) if num_depots == 0 else np.flatnonzero(size)
    return np.concatenate([row[r, : size[r] + 1] for r in used])


def actions_of(routes: list[list[int]], depots: list[int]) -> np.ndarray:
    """Routes as actions: what `nco.envs.checker.routes_from_actions` takes apart."""
    nodes: list[int] = []
    for depot, route in zip(depots, routes, strict=True):
        nodes += route if depot < 0 else [depot, *route]
    return np.array(nodes, np.int64)


def as_array(actions: torch.Tensor) -> np.ndarray:
    """Actions [T] on the CPU, as the search reads them."""
    return actions.cpu().contiguous().numpy()
