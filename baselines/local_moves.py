"""The moves of a local search on routes, compiled by numba: each rule once, for tours and for every
variant.

A solution is a table of rows (`nco.baselines.local_rows`). A move is written into drafts of the one
or two rows that it changes; a filter in O(1) by lengths and sums of loads tells whether that is
worth while, and `nco.envs.route_rules.route_length` alone decides whether it is allowed and
shorter.

Moves, for customers u and v near u: relocate a segment of up to three customers that begins at u to
either side of v, turned round or not (Or 1976), or to a route of its own; exchange segments of up
to two customers that begin at u and v (Osman 1993); reverse a segment that ends beside u and v
(2-opt, Croes 1958); exchange the tails of two routes after u and before v, or cut one off (2-opt*,
Potvin and Rousseau 1995). For whole routes: take another depot, or drive the other way round.

Types are not checked at run time: numba reads the functions themselves.

Shapes: N nodes, K neighbours.
"""

from __future__ import annotations

from typing import no_type_check

from nco.baselines.local_rows import append, copied, fits, fresh_row, settle, turning
from nco.envs.route_rules import compiled

LONGEST = 3
"""Customers of a segment that is relocated."""
EXCHANGED = 2
"""Customers of a segment that is exchanged, at most."""


@compiled
@no_type_check
def inserting(d, s, first, last, t):
    """What a segment costs between two neighbours, without its own arcs."""
    return d[s, first] + d[last, t] - d[s, t]


@compiled
@no_type_check
def exchanging(d, row, i, k, other, j, m):
    """What `exchange` changes the length by."""
    p, x, xx, q = row[i - 1], row[i], row[i + k - 1], row[i + k]
    s, y, yy, t = other[j - 1], other[j], other[j + m - 1], other[j + m]
    change = d[p, y] + d[yy, q] - d[p, x] - d[xx, q]
    return change + d[s, x] + d[xx, t] - d[s, y] - d[yy, t]


@compiled
@no_type_check
def reversing(d, p, x, y, q):
    """What `reverse` of x to y, between p and q, changes the length of the two outer arcs by."""
    return d[p, y] + d[x, q] - d[p, x] - d[y, q]


@compiled
@no_type_check
def exchanging_tails(d, row, count, i, other, more, j):
    """What `exchange_tails` changes the length by."""
    home, away, head, before = row[0], other[0], row[i], other[j - 1]
    change = -d[head, row[i + 1]] - d[before, other[j]]
    if j <= more:
        change += d[head, other[j]] + d[other[more], home] - d[other[more], away]
    elif i > 0:
        change += d[head, home]
    if i < count:
        change += d[before, row[i + 1]] + d[row[count], away] - d[row[count], home]
    elif j > 1:
        change += d[before, away]
    return change


@compiled
@no_type_check
def relocate(rules, rows, a, i, k, b, g, turned):
    """Move ``k`` customers from ``i`` on in row ``a`` to behind place ``g`` of row ``b``."""
    row, other, draft, count = rows.row[a], rows.row[b], rows.draft, rows.size[a]
    begin, end = (i + k - 1, i) if turned else (i, i + k - 1)
    if a != b:
        at = copied(draft[0], 0, row, 0, i - 1)
        copied(draft[0], at, row, i + k, count + 1)
        at = copied(draft[1], 0, other, 0, g)
        at = append(draft[1], at, row, begin, end)
        copied(draft[1], at, other, g + 1, rows.size[b] + 1)
        return settle(rules, rows, a, count - k, b, rows.size[b] + k)
    if g < i:
        at = copied(draft[0], 0, row, 0, g)
        at = append(draft[0], at, row, begin, end)
        at = copied(draft[0], at, row, g + 1, i - 1)
        copied(draft[0], at, row, i + k, count + 1)
    else:
        at = copied(draft[0], 0, row, 0, i - 1)
        at = copied(draft[0], at, row, i + k, g)
        at = append(draft[0], at, row, begin, end)
        copied(draft[0], at, row, g + 1, count + 1)
    return settle(rules, rows, a, count, -1, 0)


@compiled
@no_type_check
def exchange(rules, rows, a, i, k, b, j, m):
    """Exchange ``k`` customers from ``i`` on in row ``a`` with ``m`` from ``j`` on in row ``b``; in
    one row, ``i`` comes first and the segments do not touch."""
    row, other, draft, count = rows.row[a], rows.row[b], rows.draft, rows.size[a]
    at = copied(draft[0], 0, row, 0, i - 1)
    at = append(draft[0], at, other, j, j + m - 1)
    if a == b:
        at = copied(draft[0], at, row, i + k, j - 1)
        at = append(draft[0], at, row, i, i + k - 1)
        copied(draft[0], at, row, j + m, count + 1)
        return settle(rules, rows, a, count, -1, 0)
    if not fits(rules, rows, a, i, i + k - 1, b, j, j + m - 1):
        return False
    if not fits(rules, rows, b, j, j + m - 1, a, i, i + k - 1):
        return False
    copied(draft[0], at, row, i + k, count + 1)
    at = copied(draft[1], 0, other, 0, j - 1)
    at = append(draft[1], at, row, i, i + k - 1)
    copied(draft[1], at, other, j + m, rows.size[b] + 1)
    return settle(rules, rows, a, count - k + m, b, rows.size[b] - m + k)


@compiled
@no_type_check
def reverse(rules, rows, a, i, j):
    """Drive ``row[i..j]`` the other way round."""
    row, draft, count = rows.row[a], rows.draft[0], rows.size[a]
    at = copied(draft, 0, row, 0, i - 1)
    at = append(draft, at, row, j, i)
    copied(draft, at, row, j + 1, count + 1)
    return settle(rules, rows, a, count, -1, 0)


@compiled
@no_type_check
def exchange_tails(rules, rows, a, i, b, j):
    """Row ``a`` goes on after place ``i`` with row ``b`` from ``j`` on, and row ``b`` with what
    followed in ``a``; each route keeps its depot."""
    row, other, draft = rows.row[a], rows.row[b], rows.draft
    count, more = rows.size[a], rows.size[b]
    if not fits(rules, rows, a, i + 1, count, b, j, more):
        return False
    if not fits(rules, rows, b, j, more, a, i + 1, count):
        return False
    at = copied(draft[0], 0, row, 0, i)
    at = copied(draft[0], at, other, j, more)
    draft[0, at] = row[0]
    at = copied(draft[1], 0, other, 0, j - 1)
    at = copied(draft[1], at, row, i + 1, count)
    draft[1, at] = other[0]
    return settle(rules, rows, a, i + more - j + 1, b, j - 1 + count - i)


@compiled
@no_type_check
def reverse_to(rules, rows, a, i, j):
    """`reverse` between two places of a row, where that may be shorter: the customers at ``i`` and
    ``j``, or those before and after them, become neighbours."""
    row, d = rows.row[a], rules.distance
    for first, last in ((i + 1, j), (i, j - 1)):
        if first < last:
            change = reversing(d, row[first - 1], row[first], row[last], row[last + 1])
            if not rules.symmetric:
                change += turning(rules, rows, row, first, last)
            if change < 0 and reverse(rules, rows, a, first, last):
                return True
    return False


@compiled
@no_type_check
def improve_near(rules, rows, near, u):
    """The first improving move between a customer and one near it; whether there was one."""
    a, i = rows.where[u], rows.place[u]
    row, d = rows.row[a], rules.distance
    longest = min(LONGEST, rows.size[a] - i + 1)
    for n in range(near.shape[1]):
        v = near[u, n]
        b, j = rows.where[v], rows.place[v]
        other = rows.row[b]
        if a == b:
            if reverse_to(rules, rows, a, min(i, j), max(i, j)):
                return True
        else:
            count, more = rows.size[a], rows.size[b]
            change = exchanging_tails(d, row, count, i, other, more, j)
            if change < 0 and exchange_tails(rules, rows, a, i, b, j):
                return True
            change = exchanging_tails(d, other, more, j, row, count, i)
            if change < 0 and exchange_tails(rules, rows, b, j, a, i):
                return True
        if relocate_near(rules, rows, a, i, longest, b, j):
            return True
        for k in range(1, min(EXCHANGED, longest) + 1):
            for m in range(1, min(EXCHANGED, rows.size[b] - j + 1) + 1):
                if a == b and -m <= j - i <= k:
                    continue
                if not exchanging(d, row, i, k, other, j, m) < 0:
                    continue
                if a == b and j < i:
                    if exchange(rules, rows, a, j, m, b, i, k):
                        return True
                elif exchange(rules, rows, a, i, k, b, j, m):
                    return True
    return False


@compiled
@no_type_check
def relocate_near(rules, rows, a, i, longest, b, j):
    """`relocate` of segments that begin at place ``i`` to either side of place ``j``, where that
    may be shorter."""
    row, other, d = rows.row[a], rows.row[b], rules.distance
    before, u = row[i - 1], row[i]
    for k in range(1, longest + 1):
        last, after = row[i + k - 1], row[i + k]
        saved = d[before, u] + d[last, after] - d[before, after]
        if a != b and not fits(rules, rows, b, 1, 0, a, i, i + k - 1):
            return False
        for g in range(j - 1, j + 1):
            if a == b and i - 1 <= g <= i + k - 1:
                continue
            s, t = other[g], other[g + 1]
            if inserting(d, s, u, last, t) < saved and relocate(rules, rows, a, i, k, b, g, False):
                return True
            if k == 1:
                continue
            cost = inserting(d, s, last, u, t)
            if not rules.symmetric:
                cost += turning(rules, rows, row, i, i + k - 1)
            if cost < saved and relocate(rules, rows, a, i, k, b, g, True):
                return True
    return False


@compiled
@no_type_check
def improve_alone(rules, rows, u):
    """The first improving move of a customer that opens a route, or of its whole route."""
    a, i = rows.where[u], rows.place[u]
    row, d, count = rows.row[a], rules.distance, rows.size[a]
    for depot in range(rules.num_depots):
        b = fresh_row(rules, rows, depot)
        if b < 0:
            break
        change = exchanging_tails(d, row, count, i, rows.row[b], 0, 1)
        if change < 0 and exchange_tails(rules, rows, a, i, b, 1):
            return True
        for k in range(1, min(LONGEST, count - i + 1) + 1):
            before, last, after = row[i - 1], row[i + k - 1], row[i + k]
            saved = d[before, u] + d[last, after] - d[before, after]
            cost = inserting(d, depot, u, last, depot)
            if cost < saved and relocate(rules, rows, a, i, k, b, 0, False):
                return True
    if i > 1 or (rules.symmetric and rules.num_depots < 2 and rules.closed):
        return False
    for depot in range(max(rules.num_depots, 1)):
        for turned in range(2):
            draft = rows.draft[0]
            draft[0] = draft[count + 1] = depot
            first, last = (count, 1) if turned == 1 else (1, count)
            append(draft, 1, row, first, last)
            if settle(rules, rows, a, count, -1, 0):
                return True
    return False


@compiled
@no_type_check
def descend(rules, rows, near, most_moves, thorough):
    """Take improving moves until there is none, or as many as are allowed; how many there were.

    Args:
        thorough: what sleeps is looked at again before the end, so that no move is overlooked.
    """
    first, moves = max(rules.num_depots, 1), 0
    while True:
        complete, found = True, False
        for u in range(first, len(near)):
            complete = complete and rows.awake[u]
        for u in range(first, len(near)):
            while rows.awake[u]:
                rows.awake[u] = False
                if improve_near(rules, rows, near, u) or improve_alone(rules, rows, u):
                    rows.awake[u] = True
                    found = True
                    moves += 1
                    if moves == most_moves:
                        return moves
        if not found and (complete or not thorough):
            return moves
        if not found:
            for u in range(first, len(near)):
                rows.awake[u] = True
