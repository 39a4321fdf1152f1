"""Routes over a few requests in microseconds: cheapest insertion, then moves and exchanged tails.

For the many days of a training, whose routes need not be the best, only fair to every choice; what
is dispatched in earnest has PyVRP's routes. Compiled by numba, which reads the functions
themselves, so their types are not checked at run time.

Shapes: R requests of a day, node 0 the depot and node i + 1 request i.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

LEAST_GAIN = 1e-9


class Work(NamedTuple):
    """One day's numbers, float64; all routes leave at ``departure``."""

    distance: np.ndarray
    duration: np.ndarray
    """[R + 1, R + 1]"""
    demand: np.ndarray
    service: np.ndarray
    early: np.ndarray
    late: np.ndarray
    """[R + 1]; the depot's are not looked at."""
    capacity: float
    closes: float
    departure: float


@njit(cache=True, nogil=True)
@no_type_check
def _kept(work, route, size):
    """Whether a route keeps the capacity, all windows and the closing time."""
    clock, here, load = work.departure, 0, 0.0
    for i in range(size):
        node = route[i]
        load += work.demand[node]
        clock += work.duration[here, node]
        if clock > work.late[node] or load > work.capacity * (1 + 1e-9):
            return False
        clock = max(clock, work.early[node]) + work.service[node]
        here = node
    return clock + work.duration[here, 0] <= work.closes


@njit(cache=True, nogil=True)
@no_type_check
def _with_node(route, size, place, node, draft):
    """Write the route with a node before ``place`` into a draft."""
    draft[:place] = route[:place]
    draft[place] = node
    draft[place + 1 : size + 1] = route[place:size]


@njit(cache=True, nogil=True)
@no_type_check
def _cheapest(work, routes, sizes, used, node, draft, below):
    """(route, place) where a node costs least to insert, -1 where nothing is below the limit;
    route ``used`` is a new one."""
    best, where, place = below, -1, -1
    for r in range(used + 1):
        size = sizes[r]
        for p in range(size + 1):
            before = routes[r, p - 1] if p > 0 else 0
            after = routes[r, p] if p < size else 0
            cost = work.distance[before, node] + work.distance[node, after]
            cost -= work.distance[before, after]
            if cost < best - LEAST_GAIN:
                _with_node(routes[r], size, p, node, draft)
                if _kept(work, draft, size + 1):
                    best, where, place = cost, r, p
    return where, place


@njit(cache=True, nogil=True)
@no_type_check
def _insert(routes, sizes, used, where, place, node):
    for i in range(sizes[where], place, -1):
        routes[where, i] = routes[where, i - 1]
    routes[where, place] = node
    sizes[where] += 1
    return max(used, where + 1)


@njit(cache=True, nogil=True)
@no_type_check
def _relocate(work, routes, sizes, used, draft):
    """Move each node to where it costs least; whether one moved, and the routes in use."""
    moved = False
    for r in range(used):
        p = 0
        while p < sizes[r]:
            node = routes[r, p]
            before = routes[r, p - 1] if p > 0 else 0
            after = routes[r, p + 1] if p + 1 < sizes[r] else 0
            gain = work.distance[before, node] + work.distance[node, after]
            gain -= work.distance[before, after]
            for i in range(p, sizes[r] - 1):
                routes[r, i] = routes[r, i + 1]
            sizes[r] -= 1
            where, place = -1, -1
            # without the triangle inequality a route may be late for want of a stop
            if _kept(work, routes[r], sizes[r]):
                where, place = _cheapest(work, routes, sizes, used, node, draft, gain)
            if where < 0:
                _insert(routes, sizes, used, r, p, node)
                p += 1
            else:
                used = _insert(routes, sizes, used, where, place, node)
                moved = True
    return moved, used


@njit(cache=True, nogil=True)
@no_type_check
def _exchange_tails(work, routes, sizes, used, first, second):
    """Give a route the rest of another and that one its own, where both get shorter together."""
    for a in range(used):
        for b in range(a):
            for i in range(sizes[a] + 1):
                for j in range(sizes[b] + 1):
                    x = routes[a, i - 1] if i > 0 else 0
                    y = routes[b, j - 1] if j > 0 else 0
                    u = routes[a, i] if i < sizes[a] else 0
                    v = routes[b, j] if j < sizes[b] else 0
                    gain = work.distance[x, u] + work.distance[y, v]
                    gain -= work.distance[x, v] + work.distance[y, u]
                    if gain <= LEAST_GAIN:
                        continue
                    m, n = i + sizes[b] - j, j + sizes[a] - i
                    first[:i] = routes[a, :i]
                    first[i:m] = routes[b, j : sizes[b]]
                    second[:j] = routes[b, :j]
                    second[j:n] = routes[a, i : sizes[a]]
                    if _kept(work, first, m) and _kept(work, second, n):
                        routes[a, :m] = first[:m]
                        routes[b, :n] = second[:n]
                        sizes[a], sizes[b] = m, n
                        return True
    return False


@njit(cache=True, nogil=True)
@no_type_check
def insertion_routes(work, chosen):
    """Routes over the requests chosen, [m] by their nodes, each of which a route of its own can
    serve: (routes, sizes), the first rows in use."""
    count = len(chosen)
    routes = np.zeros((count + 1, count + 1), np.int64)
    sizes = np.zeros(count + 1, np.int64)
    draft, other = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    used = 0
    for node in chosen[np.argsort(work.late[chosen])]:
        where, place = _cheapest(work, routes, sizes, used, node, draft, np.inf)
        if where < 0:
            where, place = used, 0
        used = _insert(routes, sizes, used, where, place, node)
    going = True
    while going:
        going, used = _relocate(work, routes, sizes, used, draft)
        while _exchange_tails(work, routes, sizes, used, draft, other):
            going = True
    return routes, sizes


@njit(cache=True, nogil=True)
@no_type_check
def insertion_length(work, chosen):
    """The length of `insertion_routes`."""
    routes, sizes = insertion_routes(work, chosen)
    total = 0.0
    for r in range(len(sizes)):
        here = 0
        for i in range(sizes[r]):
            total += work.distance[here, routes[r, i]]
            here = routes[r, i]
        total += work.distance[here, 0]
    return total


@njit(cache=True, nogil=True)
@no_type_check
def insertion_lengths(
    distance, duration, demand, service, early, late, capacity, closes, departure, chosen
):
    """`insertion_length` of a batch: [B, K] for what is chosen of each day, [B, K, R] bool.

    The other arguments have the shapes of `Work` behind an axis of days.
    """
    days, times = chosen.shape[:2]
    lengths = np.zeros((days, times))
    for b in range(days):
        work = Work(distance[b], duration[b], demand[b], service[b], early[b], late[b],
                    capacity[b], closes[b], departure[b])  # fmt: skip
        for k in range(times):
            lengths[b, k] = insertion_length(work, np.nonzero(chosen[b, k])[0] + 1)
    return lengths


@njit(cache=True, nogil=True)
@no_type_check
def insertion_margins(
    distance, duration, demand, service, early, late, capacity, closes, departure, is_open, must
):
    """What each open request that can wait adds to the routes of those that must leave, and what
    the routes of all that are open would be shorter without it: [B, K, R, 2], 0 for the others.

    Args:
        is_open: [B, K, R] bool.
        must: likewise; open requests that cannot wait.
    """
    days, times, count = is_open.shape
    margins = np.zeros((days, times, count, 2))
    for b in range(days):
        work = Work(distance[b], duration[b], demand[b], service[b], early[b], late[b],
                    capacity[b], closes[b], departure[b])  # fmt: skip
        for k in range(times):
            forced, everyone = must[b, k].copy(), is_open[b, k].copy()
            least = insertion_length(work, np.nonzero(forced)[0] + 1)
            most = insertion_length(work, np.nonzero(everyone)[0] + 1)
            for i in range(count):
                if everyone[i] and not forced[i]:
                    forced[i], everyone[i] = True, False
                    more = insertion_length(work, np.nonzero(forced)[0] + 1)
                    less = insertion_length(work, np.nonzero(everyone)[0] + 1)
                    margins[b, k, i, 0], margins[b, k, i, 1] = more - least, most - less
                    forced[i], everyone[i] = False, True
    return margins
