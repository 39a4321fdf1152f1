"""Solutions as plain lists, and all that one move of a local search leads to, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from nco.data.batching import replace
from nco.data.instance import Instance
from nco.envs.checker import check_routes, routes_from_actions

Plan = list[tuple[int, list[int]]]
"""Routes, each with its depot; of a tour one, from node 0."""


def as_plan(instance: Instance, actions: np.ndarray) -> Plan:
    """A solution's routes in a form that is the same for tours."""
    routes, depots = routes_from_actions(instance, actions.tolist())
    if depots == [-1]:
        at = routes[0].index(0)
        return [(0, routes[0][at + 1 :] + routes[0][:at])]
    return list(zip(depots, routes, strict=True))


def cost_of(instance: Instance, plan: Plan) -> float:
    """By the checker; inf where it is infeasible."""
    if int(instance.num_depots) == 0:
        report = check_routes(instance, [[0, *plan[0][1]]])
    else:
        report = check_routes(instance, [r for _, r in plan], [d for d, _ in plan])
    return report.cost if report.feasible else float("inf")


def neighbours(plan: Plan, num_depots: int) -> Iterator[Plan]:
    """All solutions that one move leads to, by trying every place."""
    empty: Plan = [(d, []) for d in range(num_depots)]
    routes = plan + empty
    for a, (depot, route) in enumerate(plan):
        for d in range(max(num_depots, 1)):
            yield [*plan[:a], (d, route), *plan[a + 1 :]]
            yield [*plan[:a], (d, route[::-1]), *plan[a + 1 :]]
        for i, j in itertools.combinations(range(len(route) + 1), 2):
            turned = route[:i] + route[i:j][::-1] + route[j:]
            yield [*plan[:a], (depot, turned), *plan[a + 1 :]]
            if j - i > 3:
                continue
            piece, rest = route[i:j], route[:i] + route[j:]
            without = [*routes[:a], (depot, rest), *routes[a + 1 :]]
            for b, (other, nodes) in enumerate(without):
                for at in range(len(nodes) + 1):
                    for moved in (piece, piece[::-1]) if nodes else (piece,):
                        new = (other, nodes[:at] + moved + nodes[at:])
                        yield [*without[:b], new, *without[b + 1 :]]
    for (a, (home, one)), (b, (away, two)) in itertools.permutations(enumerate(routes), 2):
        if not one or b < a < len(plan):
            continue
        rest = [r for k, r in enumerate(routes) if k not in (a, b)]
        for i, j in itertools.product(range(1, len(one) + 1), range(len(two) + 1)):
            yield [*rest, (home, one[:i] + two[j:]), (away, two[:j] + one[i:])]
            for k, m in itertools.product((1, 2), (1, 2)):
                if i - 1 + k <= len(one) and j + m <= len(two):
                    first = one[: i - 1] + two[j : j + m] + one[i - 1 + k :]
                    second = two[:j] + one[i - 1 : i - 1 + k] + two[j + m :]
                    yield [*rest, (home, first), (away, second)]
    for a, (depot, route) in enumerate(plan):
        for i, k, j, m in itertools.product(range(len(route)), (1, 2), range(len(route)), (1, 2)):
            if i + k <= j and j + m <= len(route):
                new = route[:i] + route[j : j + m] + route[i + k : j] + route[i : i + k]
                yield [*plan[:a], (depot, new + route[j + m :]), *plan[a + 1 :]]


def asymmetric(instance: Instance, seed: int) -> Instance:
    """The same with a matrix in which the way back is another."""
    n = instance.num_nodes
    matrix = torch.rand(1, n, n, generator=torch.Generator().manual_seed(seed)) + 0.2
    return replace(instance, {"distance": matrix * (1 - torch.eye(n))})
