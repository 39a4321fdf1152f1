"""What a route of a day with soft windows costs under mean travel times: plain Python, for the
checker, apart from `nco.envs.soft_windows` and its tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nco.data.prices import Prices
from nco.data.traffic import Traffic

Lengths = Callable[[int, int], float]


@dataclass(frozen=True)
class DayRules:
    """One instance's day in plain numbers."""

    constants: Traffic
    prices: Prices
    distance: Lengths
    duration: Lengths
    windows: Sequence[Sequence[float]]
    service: Sequence[float]

    def _bell(self, clock: float, mean: float, sd: float) -> float:
        height = math.exp(-(((clock % 1440 - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
        return float(self.constants.density_unit) * height

    def mean_time(self, origin: int, to: int, clock: float) -> float:
        """The mean of free time, log-normal delay and accidents for a departure at ``clock``."""
        c = {name: float(value) for name, value in vars(self.constants).items()}
        rush = self._bell(clock, c["morning"], c["rush_sd"])
        rush += self._bell(clock, c["evening"], c["rush_sd"])
        delay = c["delay"] * (c["base"] + c["rush"] * rush)
        delay *= 1 - math.exp(-self.distance(origin, to) / c["reach"])
        sigma = c["log_sd"] + c["log_sd_rush"] * rush
        delay *= math.exp(c["log_mean"] + c["log_mean_rush"] * rush + sigma**2 / 2)
        rate = c["accidents"] * self._bell(clock, c["accident_peak"], c["accident_sd"])
        lasting = (c["shortest_accident"] + c["longest_accident"]) / 2
        return self.duration(origin, to) + delay + rate * lasting

    def route_cost(self, depot: int, route: Sequence[int]) -> float:
        """Of one route with customers; it leaves in time for its first window on free roads."""
        prices, opening = self.prices, self.windows[depot][0]
        clock = max(opening, self.windows[route[0]][0] - self.duration(depot, route[0]))
        cost = prices.route
        for here, there in itertools.pairwise([depot, *route, depot]):
            minutes = self.mean_time(here, there, clock)
            cost += prices.travel * minutes
            clock += minutes
            opens, closes = self.windows[there]
            after = max(0.0, clock - closes)
            if there == depot:
                cost += prices.overtime * after
            else:
                cost += prices.lateness * after + prices.waiting * max(0.0, opens - clock)
                clock = max(clock, opens) + self.service[there]
        return cost
