"""What a route of a day with soft windows comes to: plain Python, for the checkers, apart from
`nco.envs.soft_windows` and its tensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nco.data.prices import PRICES, Prices
from nco.data.traffic import Traffic

Lengths = Callable[[int, int], float]
Times = Callable[[int, int, float], float]
"""Of a way from one node to another, by the departure."""
LATE = 1e-6
"""Minutes that a service may start after its window and still be on time: rounding."""


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

    def _number(self, name: str) -> float:
        return float(getattr(self.constants, name))

    def _rush(self, clock: float) -> float:
        c = self._number
        morning = self._bell(clock, c("morning"), c("rush_sd"))
        return morning + self._bell(clock, c("evening"), c("rush_sd"))

    def _usual_delay(self, origin: int, to: int, rush: float) -> float:
        c = self._number
        delay = c("delay") * (c("base") + c("rush") * rush)
        return delay * (1 - math.exp(-self.distance(origin, to) / c("reach")))

    def accident_rate(self, clock: float) -> float:
        """The mean number of accidents on a way begun at ``clock``."""
        c = self._number
        return c("accidents") * self._bell(clock, c("accident_peak"), c("accident_sd"))

    def mean_time(self, origin: int, to: int, clock: float) -> float:
        """The mean of free time, log-normal delay and accidents for a departure at ``clock``."""
        c, rush = self._number, self._rush(clock)
        delay = self._usual_delay(origin, to, rush)
        sigma = c("log_sd") + c("log_sd_rush") * rush
        delay *= math.exp(c("log_mean") + c("log_mean_rush") * rush + sigma**2 / 2)
        lasting = (c("shortest_accident") + c("longest_accident")) / 2
        return self.duration(origin, to) + delay + self.accident_rate(clock) * lasting

    def delayed_time(self, origin: int, to: int, clock: float, normal: float) -> float:
        """Free time and the delay of which this is the standard normal number; no accidents."""
        c, rush = self._number, self._rush(clock)
        log = c("log_mean") + c("log_mean_rush") * rush
        log += (c("log_sd") + c("log_sd_rush") * rush) * normal
        return self.duration(origin, to) + self._usual_delay(origin, to, rush) * math.exp(log)

    def route_cost(self, depot: int, route: Sequence[int]) -> float:
        """Of one route with customers under mean travel times."""
        counted, _ = self.route_counts(depot, route, self.mean_time)
        return sum(getattr(self.prices, name) * counted[name] for name in PRICES)

    def route_counts(
        self, depot: int, route: Sequence[int], time: Times
    ) -> tuple[dict[str, float], int]:
        """What is paid for, not yet priced, and the customers who are late. A route leaves in time
        for its first window on free roads."""
        opening = self.windows[depot][0]
        clock = max(opening, self.windows[route[0]][0] - self.duration(depot, route[0]))
        counted = dict.fromkeys(PRICES, 0.0) | {"route": 1.0}
        late = 0
        for here, there in itertools.pairwise([depot, *route, depot]):
            minutes = time(here, there, clock)
            counted["travel"] += minutes
            clock += minutes
            opens, closes = self.windows[there]
            after = max(0.0, clock - closes)
            if there == depot:
                counted["overtime"] += after
                continue
            counted["lateness"] += after
            counted["waiting"] += max(0.0, opens - clock)
            late += after > LATE
            clock = max(clock, opens) + self.service[there]
        return counted, late
