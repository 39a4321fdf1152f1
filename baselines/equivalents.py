"""Certain problems in place of uncertain ones, for solvers that know no others.

An equivalent has a level, its knob: which quantile of an unknown quantity is taken for certain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch

from nco.baselines.workers import Routes
from nco.data.batching import replace, with_nodes
from nco.data.demand_laws import certain_demands, demand_cdf
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


@final
@dataclass(frozen=True)
class LoadedTo(Equivalent):
    """Every demand as its mean, and vehicles that hold a part of the capacity.

    Args:
        level: the part: below 1 leaves room for demands above their means, above 1 counts on the
            ways back to the depot. 1 is the mean-value problem.

    Raises:
        InputError: the level is not above 0.
    """

    level: float

    def __post_init__(self) -> None:
        if not self.level > 0:
            raise InputError(f"level is {self.level}; accepted: a part of the capacity, above 0")

    @property
    def name(self) -> str:
        return "mean demands" if self.level == 1 else f"mean demands, {self.level:g} of the room"

    def certain(self, instance: Instance) -> Instance:
        certain = certain_demands(instance)
        # the largest mean must fit
        room = torch.maximum(certain.capacity * self.level, certain.linehaul.amax(1))
        return replace(certain, {"capacity": room})

    def plan(self, instance: Instance, found: Routes) -> Routes:
        return found


@final
@dataclass(frozen=True)
class DemandQuantiles(Equivalent):
    """Every demand as a quantile of its law.

    Args:
        level: the probability that a demand is at most its quantile.

    Raises:
        InputError: the level is out of range.
    """

    level: float

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"level is {self.level}; accepted: a probability between 0 and 1")

    @property
    def name(self) -> str:
        return f"demands' {self.level:g}-quantiles"

    def certain(self, instance: Instance) -> Instance:
        quantile = (demand_cdf(instance) < self.level).sum(2).to(instance.dtype)
        return replace(certain_demands(instance), {"linehaul": quantile})

    def plan(self, instance: Instance, found: Routes) -> Routes:
        return found
