"""Days of requests for tests, and what can be known of them by trying everything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from nco.api import generate
from nco.data.dynamic_requests import RequestLaw
from nco.data.instance import Instance
from nco.envs.dispatch import Day, Request


def drawn(batch: int = 1, seed: int = 0, customers: int = 8, **law: object) -> Instance:
    """Instances of dvrptw with few requests: 4 epochs of 3 candidates."""
    numbers = {"num_epochs": 4, "rate": 3} | law
    return generate("dvrptw", customers, batch, seed, requests=RequestLaw(**numbers))  # type: ignore[arg-type]


def partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    """Every way to put items into groups."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for part in partitions(rest):
        yield [[first], *part]
        for i in range(len(part)):
            yield [*part[:i], [first, *part[i]], *part[i + 1 :]]


def shortest(day: Day, route: Sequence[Request], departure: float) -> float:
    """The length of the best order of one route that leaves then; infinite where none is kept."""
    kept = (o for o in itertools.permutations(route) if day.setting.route_is_kept(o, departure))
    return min(map(day.setting.route_length, kept), default=float("inf"))


def best_in_hindsight(day: Day) -> float:
    """The least cost of a whole day for one who knows it: every partition, every order."""
    costs: dict[tuple[int, ...], float] = {}

    def cost(group: list[int]) -> float:
        key = tuple(sorted(group))
        if key not in costs:
            route = [day.requests[n] for n in group]
            leaves = day.setting.departure(max(r.epoch for r in route))
            costs[key] = shortest(day, route, leaves)
        return costs[key]

    numbers = [request.number for request in day.requests]
    return min(sum(map(cost, groups)) for groups in partitions(numbers))
