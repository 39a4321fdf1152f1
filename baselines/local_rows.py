"""A solution as rows of nodes, for the moves of a local search: what they share, compiled by numba.

A row is the depot, the customers, the depot again. A TSP's tour is one row that leaves node 0.

Types are not checked at run time: numba reads the functions themselves.

Shapes: N nodes, R rows.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from nco.envs.route_rules import compiled, route_length

LEAST_GAIN = 1e-9
"""Of the lengths compared: less is rounding."""


class Rows(NamedTuple):
    """A solution, its sums, and drafts of moves; all arrays, written in place."""

    row: np.ndarray
    """[R, N + 2]"""
    size: np.ndarray
    """[R] customers."""
    length: np.ndarray
    """[R]"""
    where: np.ndarray
    """[N] the row of a customer."""
    place: np.ndarray
    """[N] its index within the row."""
    delivered: np.ndarray
    picked: np.ndarray
    """[N] sums of loads from the depot up to a customer."""
    forth: np.ndarray
    back: np.ndarray
    """[N] the length from the depot to a customer, and of the same arcs the other way round."""
    awake: np.ndarray
    """[N] customers whose moves may have changed."""
    free: np.ndarray
    """[R] empty rows; as many as ``used[0]`` leaves."""
    used: np.ndarray
    """[1] rows that are not empty."""
    draft: np.ndarray
    """[2, N + 2]"""


@njit(cache=True, nogil=True)
@no_type_check
def new_rows(nodes, rows):
    """An empty solution."""
    return Rows(
        np.zeros((rows, nodes + 2), np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows),
        np.zeros(nodes, np.int64),
        np.zeros(nodes, np.int64),
        np.zeros(nodes),
        np.zeros(nodes),
        np.zeros(nodes),
        np.zeros(nodes),
        np.ones(nodes, np.bool_),
        np.arange(rows),
        np.zeros(1, np.int64),
        np.zeros((2, nodes + 2), np.int64),
    )


@compiled
@no_type_check
def commit(rules, rows, r, which, count):
    """Make a draft of ``count`` customers the row ``r``."""
    row, draft = rows.row[r], rows.draft[which]
    if rows.size[r] == 0 and count > 0:
        rows.used[0] += 1
    if rows.size[r] > 0 and count == 0:
        rows.used[0] -= 1
        rows.free[len(rows.free) - 1 - rows.used[0]] = r
    tour = rules.num_depots == 0
    delivered = picked = forth = back = 0.0
    for i in range(1, count + 1):
        node, before = draft[i], draft[i - 1]
        delivered += rules.delivery[node]
        picked += rules.pickup[node]
        forth += rules.distance[before, node]
        back += rules.distance[node, before]
        if tour:
            # a move of a tour depends on the arcs at its ends alone
            p, q = rows.place[node], rows.row[r]
            same = q[p - 1] == before and q[p + 1] == draft[i + 1]
            turned = q[p - 1] == draft[i + 1] and q[p + 1] == before
            rows.awake[node] = rows.awake[node] or not (same or turned)
        else:
            rows.awake[node] = True
        rows.delivered[node], rows.picked[node] = delivered, picked
        rows.forth[node], rows.back[node] = forth, back
    for i in range(1, count + 1):
        rows.where[draft[i]], rows.place[draft[i]] = r, i
    for i in range(count + 2):
        row[i] = draft[i]
    rows.size[r] = count
    rows.length[r] = forth + rules.distance[row[count], row[count + 1]] if count > 0 else 0.0


@compiled
@no_type_check
def settle(rules, rows, a, count_a, b, count_b):
    """Keep the drafts of the rows a and b (-1: a alone) where they are allowed and shorter."""
    old = rows.length[a] + (rows.length[b] if b >= 0 else 0.0)
    new = route_length(rules, rows.draft[0], count_a)
    if b >= 0 and new < old:
        new += route_length(rules, rows.draft[1], count_b)
    if not new < old - LEAST_GAIN * old:
        return False
    # first the row that may have been free: `commit` takes the last of the free rows
    if b >= 0:
        commit(rules, rows, b, 1, count_b)
    commit(rules, rows, a, 0, count_a)
    return True


@compiled
@no_type_check
def append(draft, end, row, first, last):
    """Copy ``row[first..last]``, backwards where last < first; gives the draft's new end."""
    if first <= last:
        for i in range(first, last + 1):
            draft[end] = row[i]
            end += 1
    else:
        for i in range(first, last - 1, -1):
            draft[end] = row[i]
            end += 1
    return end


@compiled
@no_type_check
def copied(draft, end, row, first, last):
    """`append` of a piece that may be empty (last < first), never backwards."""
    return append(draft, end, row, first, last) if first <= last else end


@compiled
@no_type_check
def sum_of(sums, row, first, last):
    """Of the loads of ``row[first..last]``, from sums since the depot."""
    if last < first:
        return 0.0
    return sums[row[last]] - (sums[row[first - 1]] if first > 1 else 0.0)


@compiled
@no_type_check
def turning(rules, rows, row, first, last):
    """What ``row[first..last]`` grows by when it is driven the other way round."""
    a, z = row[first], row[last]
    return (rows.back[z] - rows.back[a]) - (rows.forth[z] - rows.forth[a])


@compiled
@no_type_check
def fits(rules, rows, a, out_first, out_last, b, in_first, in_last):
    """Whether the sums of loads of row ``a`` without one piece and with a piece of row ``b`` stay
    within the capacity: needed in every variant, but not always enough."""
    row, other, last = rows.row[a], rows.row[b], rows.size[a]
    for sums in (rows.delivered, rows.picked):
        load = sum_of(sums, row, 1, last) - sum_of(sums, row, out_first, out_last)
        if load + sum_of(sums, other, in_first, in_last) > rules.capacity:
            return False
    return True


@compiled
@no_type_check
def fresh_row(rules, rows, depot):
    """An empty row that leaves this depot; -1 where no vehicle is left."""
    if rows.used[0] >= rules.most_routes:
        return -1
    r = rows.free[len(rows.free) - 1 - rows.used[0]]
    rows.row[r, 0] = rows.row[r, 1] = depot
    return r
