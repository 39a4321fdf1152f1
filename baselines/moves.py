"""The neighbours of a plan: relocate, swap, 2-opt, and with vehicles 2-opt*.

Moves bring two customers together that are near each other (granular neighbourhoods, Toth and Vigo
2003, doi:10.1287/ijoc.15.4.333.24890), so that there are O(n k) of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nco.data.instance import Instance, distance_matrix, is_customer

RouteLists = list[list[int]]


def nearest(instance: Instance, count: int) -> list[list[int]]:
    """The ``count`` customers nearest to each node of one instance (B = 1); all nodes of a TSP are
    customers."""
    distance = distance_matrix(instance)[0].clone()
    distance.fill_diagonal_(torch.inf)
    distance[:, ~is_customer(instance)[0]] = torch.inf
    index = distance.argsort(dim=1, stable=True)[:, :count]
    found = zip(index.tolist(), distance.gather(1, index).tolist(), strict=True)
    return [
        [node for node, length in zip(nodes, lengths, strict=True) if length < torch.inf]
        for nodes, lengths in found
    ]


def neighbours(routes: RouteLists, near: list[list[int]]) -> Iterator[RouteLists]:
    """Plans that differ by one move; a route that a move empties is left out.

    Args:
        near: the customers that each node may be brought to.
    """
    place = {node: (r, i) for r, route in enumerate(routes) for i, node in enumerate(route)}
    for node in place:
        for other in near[node]:
            yield from _relocated(routes, place, node, other)
            if node < other:
                yield _swapped(routes, place, node, other)
            if place[node][0] == place[other][0]:
                yield _reversed(routes, place, node, other)
            else:
                yield from _tails_exchanged(routes, place, node, other)


def alone(routes: RouteLists) -> Iterator[RouteLists]:
    """With vehicles: each customer of a longer route in a route of its own."""
    for r, route in enumerate(routes):
        for i, node in enumerate(route):
            if len(route) > 1:
                yield [*_changed(routes, {r: route[:i] + route[i + 1 :]}), [node]]


def _changed(routes: RouteLists, new: dict[int, list[int]]) -> RouteLists:
    plan = [new.get(r, route) for r, route in enumerate(routes)]
    return [route for route in plan if route]


def _relocated(
    routes: RouteLists, place: dict[int, tuple[int, int]], node: int, other: int
) -> Iterator[RouteLists]:
    """The node straight before and straight behind the other."""
    r, i = place[node]
    without = routes[r][:i] + routes[r][i + 1 :]
    for behind in (0, 1):
        q, j = place[other]
        target = without if q == r else routes[q]
        j += behind - (q == r and j > i)
        yield _changed(routes, {r: without, q: [*target[:j], node, *target[j:]]})


def _swapped(
    routes: RouteLists, place: dict[int, tuple[int, int]], node: int, other: int
) -> RouteLists:
    (r, i), (q, j) = place[node], place[other]
    new = {r: list(routes[r])}
    new.setdefault(q, list(routes[q]))
    new[r][i], new[q][j] = other, node
    return _changed(routes, new)


def _reversed(
    routes: RouteLists, place: dict[int, tuple[int, int]], node: int, other: int
) -> RouteLists:
    """2-opt: the part behind the earlier of the two up to the later one, backwards."""
    r, i = place[node]
    first, last = sorted((i, place[other][1]))
    route = routes[r]
    part = route[first + 1 : last + 1][::-1]
    return _changed(routes, {r: [*route[: first + 1], *part, *route[last + 1 :]]})


def _tails_exchanged(
    routes: RouteLists, place: dict[int, tuple[int, int]], node: int, other: int
) -> Iterator[RouteLists]:
    """2-opt*: the other follows the node and the tails change places, as they are or backwards."""
    (r, i), (q, j) = place[node], place[other]
    head, tail = routes[r][: i + 1], routes[r][i + 1 :]
    yield _changed(routes, {r: head + routes[q][j:], q: routes[q][:j] + tail})
    backwards = routes[q][: j + 1][::-1]
    yield _changed(routes, {r: head + backwards, q: tail[::-1] + routes[q][j + 1 :]})
