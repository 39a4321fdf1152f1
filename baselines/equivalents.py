"""Certain problems in place of uncertain ones, for solvers that know no others.

An equivalent has a level, its knob: which quantile of an unknown quantity is taken for certain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch

from nco.baselines.workers import Routes
from nco.data.batching import replace, with_nodes
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer
from nco.envs.plans import stacked
from nco.envs.presence import expected_length, require_presence


class Equivalent(ABC):
    """One certain problem for each uncertain one."""

    @property
    @abstractmethod
    def name(self) -> str:
        """With its level, as it stands in tables."""

    @abstractmethod
    def certain(self, instance: Instance) -> Instance | None:
        """Of one instance (B = 1); None where nothing is left to solve.

        Raises:
            InputError: the instance is not of the problem.
        """

    @abstractmethod
    def plan(self, instance: Instance, found: Routes) -> Routes:
        """A plan of the uncertain instance from routes of the certain one."""


@final
@dataclass(frozen=True)
class LikelyCustomers(Equivalent):
    """Only customers that ask with at least this probability; the mean-value problem has them all.

    The others are put into the plan afterwards, the likeliest first, each where the exact expected
    length grows least (with vehicles, where there is room, or alone).

    Args:
        level: the least probability, from 0 (all customers) to 1.

    Raises:
        InputError: the level is out of range.
    """

    level: float

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 1:
            raise InputError(f"level is {self.level}; accepted: a probability, 0 to 1")

    @property
    def name(self) -> str:
        return f"p >= {self.level:g}" if self.level else "all customers"

    def _kept(self, instance: Instance) -> list[int]:
        likely = (require_presence(instance) >= self.level) | ~is_customer(instance)
        # a TSP has no depot to begin at
        likely[:, 0] = True
        return likely[0].nonzero().flatten().tolist()

    def certain(self, instance: Instance) -> Instance | None:
        kept = self._kept(instance)
        if len(kept) == 1:
            return None
        return replace(with_nodes(instance, torch.tensor(kept)), {"presence": None})

    def plan(self, instance: Instance, found: Routes) -> Routes:
        kept = self._kept(instance)
        routes = [[kept[node] for node in route] for route in found.routes]
        if not routes and int(instance.num_depots) == 0:
            routes = [kept]
        chance = require_presence(instance)[0].tolist()
        missing = set(range(instance.num_nodes)) - set(kept)
        for node in sorted(missing, key=lambda v: (-chance[v], v)):
            routes = _inserted(instance, routes, node)
        return Routes(routes)


def _inserted(instance: Instance, routes: list[list[int]], node: int) -> list[list[int]]:
    """The routes with one customer more, where it costs least."""
    demand, capacity = instance.linehaul[0].tolist(), float(instance.capacity)
    tour = int(instance.num_depots) == 0
    options = []
    for number, route in enumerate(routes):
        if sum(demand[v] for v in route) + demand[node] > capacity * (1 + 1e-9):
            continue
        # around a tour's end is the same as before its beginning
        for place in range(int(tour), len(route) + 1):
            longer = [*route[:place], node, *route[place:]]
            options.append([*routes[:number], longer, *routes[number + 1 :]])
    if not tour:
        options.append([*routes, [node]])
    lengths = expected_length(instance, stacked(instance, [(option, None) for option in options]))
    return options[int(lengths[0].argmin())]


EQUIVALENTS: Mapping[str, Callable[[float], Equivalent]] = {
    "ptsp": LikelyCustomers,
    "pcvrp": LikelyCustomers,
}
"""By the problem's name: from a level to its certain problem."""
MEAN_LEVEL: Mapping[str, float] = {"ptsp": 0.0, "pcvrp": 0.0}
"""The level of the mean-value problem."""
