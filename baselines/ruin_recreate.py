"""Ruin and recreate on the rows of a local search, compiled by numba: strings of neighbouring
customers are taken out of routes and put back one by one (Slack Induction by String Removals,
Christiaens and Vanden Berghe 2020, doi:10.1287/trsc.2019.0914); of a tour, neighbouring pieces are
exchanged and what they disturbed is improved by the moves of `nco.baselines.local_moves`.

`nco.envs.route_rules.route_length` alone decides whether a route is allowed, so this holds for
tours and for every variant. Differs from the paper in: a customer may open a route wherever that is
cheapest, not only where it fits into none; no phase reduces the fleet.

Types are not checked at run time: numba reads the functions themselves.

Shapes: N nodes, R rows, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final, no_type_check

import numpy as np
from numba import njit

from nco.baselines.local_moves import descend, inserting
from nco.baselines.local_rows import LEAST_GAIN, append, commit, copied, fresh_row
from nco.baselines.local_search import LocalSearch, nearest, rows_as_actions
from nco.data.instance import Instance
from nco.envs.route_rules import compiled, route_length

TAKEN = 10
"""Customers taken out of routes at a time, on average (the paper's c)."""
LONGEST_STRING = 10
"""Customers of a string (the paper's L)."""
SPLIT = 0.5
"""The share of strings that keep some of their middle (the paper's alpha)."""
KEPT = 0.01
"""The probability that one more customer of the middle is not kept (the paper's beta)."""
BLINK = 0.01
"""The probability that a place is overlooked."""
WINDOW = 50
"""Nodes of a tour among which two pieces are exchanged."""
NEAR = 100
"""Neighbours of a customer among whose routes strings are taken."""
LEAST_NODES = 5
"""Of a tour with pieces to exchange; a smaller instance stays at its local optimum."""
MOST_MOVES = 10**9


class Ruins(NamedTuple):
    """What was taken out, and how to go back; all arrays, written in place."""

    absent: np.ndarray
    """[N] customers that are in no row."""
    out: np.ndarray
    """[N] the customers taken out, in the order in which they are put back."""
    key: np.ndarray
    """[N] what that order is by."""
    counts: np.ndarray
    """[2] of customers in ``out``; of rows in ``changed``."""
    touched: np.ndarray
    """[R]"""
    changed: np.ndarray
    """[R] the rows touched."""
    row: np.ndarray
    """[R, N + 2] rows as they were before they were touched."""
    size: np.ndarray
    """[R]"""
    length: np.ndarray
    """[R]"""
    random: np.ndarray
    """[1] uint64, the state of the generator."""


def new_ruins(nodes: int, rows: int, seed: int) -> Ruins:
    """With nothing taken out."""
    return Ruins(
        np.zeros(nodes, np.bool_),
        np.zeros(nodes, np.int64),
        np.zeros(nodes),
        np.zeros(2, np.int64),
        np.zeros(rows, np.bool_),
        np.zeros(rows, np.int64),
        np.zeros((rows, nodes + 2), np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows),
        np.array([seed], np.uint64),
    )


@compiled
@no_type_check
def uniform(ruins):
    """A number in [0, 1) by splitmix64 (Steele et al. 2014)."""
    ruins.random[0] += np.uint64(0x9E3779B97F4A7C15)
    z = ruins.random[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
@no_type_check
def below(ruins, n):
    """A whole number from 0 to n - 1."""
    return int(uniform(ruins) * n)


@compiled
@no_type_check
def touch(rows, ruins, r):
    """Remember a row as it is before it changes for the first time."""
    if ruins.touched[r]:
        return
    ruins.touched[r] = True
    ruins.changed[ruins.counts[1]] = r
    ruins.counts[1] += 1
    ruins.size[r], ruins.length[r] = rows.size[r], rows.length[r]
    for i in range(rows.size[r] + 2):
        ruins.row[r, i] = rows.row[r, i]


@compiled
@no_type_check
def growth(rows, ruins):
    """What the rows touched are longer by than they were."""
    total = 0.0
    for c in range(ruins.counts[1]):
        r = ruins.changed[c]
        total += rows.length[r] - ruins.length[r]
    return total


@compiled
@no_type_check
def keep(ruins):
    """The rows are right as they are."""
    for c in range(ruins.counts[1]):
        ruins.touched[ruins.changed[c]] = False
    for c in range(ruins.counts[0]):
        ruins.absent[ruins.out[c]] = False
    ruins.counts[0] = ruins.counts[1] = 0


@compiled
@no_type_check
def undo(rules, rows, ruins):
    """Every row as it was."""
    for c in range(ruins.counts[1]):
        r = ruins.changed[c]
        for i in range(ruins.size[r] + 2):
            rows.draft[0, i] = ruins.row[r, i]
        commit(rules, rows, r, 0, ruins.size[r])
    # rows were filled and emptied in another order than the free ones are kept in
    free = 0
    for r in range(len(rows.size)):
        if rows.size[r] == 0:
            rows.free[free] = r
            free += 1
    rows.used[0] = len(rows.size) - free
    keep(ruins)


@compiled
@no_type_check
def take_string(rules, rows, ruins, r, at, longest):
    """Take a string of customers, with that at place ``at`` or around it, out of a row."""
    size, row, draft = rows.size[r], rows.row[r], rows.draft[0]
    touch(rows, ruins, r)
    taken = 1 + below(ruins, min(size, longest))
    middle = 0
    if taken > 1 and taken < size and uniform(ruins) < SPLIT:
        middle = 1
        while taken + middle < size and uniform(ruins) > KEPT:
            middle += 1
    span = taken + middle
    first = max(1, at - span + 1)
    begin = first + below(ruins, min(at, size - span + 1) - first + 1)
    kept = begin + 1 + below(ruins, taken - 1) if middle > 0 else begin + span
    end = copied(draft, 0, row, 0, begin - 1)
    for i in range(begin, begin + span):
        if kept <= i < kept + middle:
            draft[end] = row[i]
            end += 1
        else:
            ruins.absent[row[i]] = True
            ruins.out[ruins.counts[0]] = row[i]
            ruins.counts[0] += 1
    copied(draft, end, row, begin + span, size + 1)
    commit(rules, rows, r, 0, size - taken)


@compiled
@no_type_check
def ruin(rules, rows, near, ruins):
    """Take strings out of routes near a customer."""
    first = rules.num_depots
    customers = len(near) - first
    seed = first + below(ruins, customers)
    longest = max(1, min(LONGEST_STRING, customers // max(1, rows.used[0])))
    most = 4.0 * TAKEN / (1.0 + longest) - 1.0
    strings = int(uniform(ruins) * most + 1.0)
    take_string(rules, rows, ruins, rows.where[seed], rows.place[seed], longest)
    for n in range(near.shape[1]):
        if ruins.counts[1] >= strings:
            break
        u = near[seed, n]
        if not ruins.absent[u] and not ruins.touched[rows.where[u]]:
            take_string(rules, rows, ruins, rows.where[u], rows.place[u], longest)


@compiled
@no_type_check
def sort_out(rules, ruins):
    """Order what was taken out: at random, large first, far first or near first, 4:4:2:1."""
    kind = below(ruins, 11)
    count = ruins.counts[0]
    for c in range(count):
        u = ruins.out[c]
        if kind < 4:
            key = uniform(ruins)
        elif kind < 8:
            key = -(rules.delivery[u] + rules.pickup[u])
        else:
            key = rules.distance[0, u]
            for depot in range(1, rules.num_depots):
                key = min(key, rules.distance[depot, u])
            if kind < 10:
                key = -key
        at = c
        while at > 0 and ruins.key[at - 1] > key:
            ruins.key[at], ruins.out[at] = ruins.key[at - 1], ruins.out[at - 1]
            at -= 1
        ruins.key[at], ruins.out[at] = key, u


@compiled
@no_type_check
def with_inserted(draft, row, size, u, g):
    """Write a row with ``u`` behind place ``g`` into a draft."""
    at = copied(draft, 0, row, 0, g)
    draft[at] = u
    copied(draft, at + 1, row, g + 1, size + 1)


@compiled
@no_type_check
def insert(rules, rows, ruins, u, simple):
    """Put a customer where it makes routes longest by least, with blinks; whether it fits.

    Args:
        simple: routes are allowed that keep the capacity.
    """
    d = rules.distance
    best, where, place = np.inf, -1, 0
    for r in range(len(rows.size)):
        size = rows.size[r]
        if size == 0:
            continue
        row = rows.row[r]
        end = row[size]
        if rows.delivered[end] + rules.delivery[u] > rules.capacity:
            continue
        if rows.picked[end] + rules.pickup[u] > rules.capacity:
            continue
        for g in range(size + 1):
            more = inserting(d, row[g], u, u, row[g + 1])
            if more >= best or uniform(ruins) < BLINK:
                continue
            if not simple:
                with_inserted(rows.draft[0], row, size, u, g)
                if route_length(rules, rows.draft[0], size + 1) == np.inf:
                    continue
            best, where, place = more, r, g
    home = -1
    for depot in range(rules.num_depots):
        r = fresh_row(rules, rows, depot)
        if r < 0:
            break
        more = d[depot, u] + d[u, depot]
        if more < best:
            rows.draft[0, 0] = rows.draft[0, 2] = depot
            rows.draft[0, 1] = u
            if route_length(rules, rows.draft[0], 1) < np.inf:
                best, where, place, home = more, r, 0, depot
    if where < 0:
        return False
    touch(rows, ruins, where)
    if home >= 0:
        rows.row[where, 0] = rows.row[where, 1] = home
    with_inserted(rows.draft[0], rows.row[where], rows.size[where], u, place)
    commit(rules, rows, where, 0, rows.size[where] + 1)
    ruins.absent[u] = False
    return True


@compiled
@no_type_check
def recreate(rules, rows, ruins):
    """Put back what was taken out; whether all of it fits."""
    simple = not (rules.timed or rules.ordered or rules.mixed or rules.limit < np.inf)
    sort_out(rules, ruins)
    # numba compiles no generator in all()
    for c in range(ruins.counts[0]):  # noqa: SIM110
        if not insert(rules, rows, ruins, ruins.out[c], simple):
            return False
    return True


@compiled
@no_type_check
def kick(rules, rows, near, ruins):
    """Exchange two neighbouring pieces of a tour and improve what that disturbed."""
    size, row, draft = rows.size[0], rows.row[0], rows.draft[0]
    touch(rows, ruins, 0)
    window = min(WINDOW, size)
    begin = 1 + below(ruins, size - window + 1)
    # three cuts, at different places, among the places of the window and behind it
    a, b, c = below(ruins, window + 1), below(ruins, window), below(ruins, window - 1)
    if b >= a:
        b += 1
    if c >= min(a, b):
        c += 1
    if c >= max(a, b):
        c += 1
    low, high = min(a, min(b, c)), max(a, max(b, c))
    mid = a + b + c - low - high
    end = copied(draft, 0, row, 0, begin + low - 1)
    end = append(draft, end, row, begin + mid, begin + high - 1)
    end = append(draft, end, row, begin + low, begin + mid - 1)
    copied(draft, end, row, begin + high, size + 1)
    commit(rules, rows, 0, 0, size)
    descend(rules, rows, near, MOST_MOVES, False)


@njit(cache=True, nogil=True)
@no_type_check
def anneal(rules, rows, near, ruins, best, found, heat, steps):
    """Ruin and recreate so many times, accepting what is longer with the probability of simulated
    annealing.

    Args:
        best: [R, N + 2] rows of the best solution, with ``found`` [R] their customers; kept.
        heat: the temperature, a length.

    Returns:
        The length of the best solution, and whether it is a new one.
    """
    now, shortest, new = rows.length.sum(), 0.0, False
    for r in range(len(found)):
        for i in range(found[r] + 1 if found[r] > 0 else 0):
            shortest += rules.distance[best[r, i], best[r, i + 1]]
    for _ in range(steps):
        allowed = True
        if rules.num_depots == 0:
            kick(rules, rows, near, ruins)
        else:
            ruin(rules, rows, near, ruins)
            allowed = recreate(rules, rows, ruins)
        more = growth(rows, ruins)
        if allowed and more < -heat * np.log(1.0 - uniform(ruins)):
            now += more
            keep(ruins)
            if now < shortest - LEAST_GAIN * shortest:
                shortest, new = now, True
                for r in range(len(found)):
                    found[r] = rows.size[r]
                    for i in range(found[r] + 2 if found[r] > 0 else 0):
                        best[r, i] = rows.row[r, i]
        else:
            undo(rules, rows, ruins)
    return shortest, new


@final
class RuinRecreate:
    """Simulated annealing on the solutions of one instance (B = 1, without padding).

    Args:
        seed: of its draws; at least 0.
        num_neighbours: of the local search's moves.
    """

    def __init__(self, instance: Instance, seed: int, num_neighbours: int = 10) -> None:
        self.local = LocalSearch(instance, num_neighbours)
        rules = self.local.rules
        self.near = (
            nearest(rules.distance, rules.num_depots, NEAR) if rules.num_depots else self.local.near
        )
        nodes, rows = len(rules.service), len(self.local.rows.size)
        self.ruins = new_ruins(nodes, rows, seed)
        self.best = np.zeros((rows, nodes + 2), np.int64)
        self.found = np.zeros(rows, np.int64)

    @property
    def scale(self) -> float:
        """The mean length of what the best solution has for each node, the unit of temperatures."""
        return self.cost / len(self.local.rules.service)

    def begin(self, actions: np.ndarray, *, in_time: Callable[[], bool] = lambda: True) -> None:
        """Go on from a solution, which `LocalSearch.improve` makes better first."""
        self.cost = self.local.improve(actions, in_time=in_time).cost
        self.best[:] = self.local.rows.row
        self.found[:] = self.local.rows.size

    def anneal(self, steps: int, heat: float) -> bool:
        """So many steps at a temperature, in the unit of lengths; whether there is a new best
        solution."""
        rules, rows = self.local.rules, self.local.rows
        if len(rules.service) < LEAST_NODES:
            return False
        cost, new = anneal(rules, rows, self.near, self.ruins, self.best, self.found, heat, steps)
        if new:
            self.cost = cost
        return new

    def best_actions(self) -> np.ndarray:
        """[T] int64, the best solution."""
        return rows_as_actions(self.best, self.found, self.local.rules.num_depots)
