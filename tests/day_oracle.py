"""Days with traffic and soft windows once more, in plain Python, apart from the library's code."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from statistics import NormalDist

from nco.data.instance import Instance
from nco.data.noise import Scenarios, Stream, hash_words
from nco.data.prices import PRICES
from nco.data.traffic import CONSTANTS


def uniform(scenarios: Scenarios, stream: Stream, *words: int) -> float:
    """The number with this name: instance, scenario, entity."""
    root = hash_words(scenarios.seed, scenarios.split, stream)
    return (hash_words(root, *words) >> 12) * 2.0**-52 + 2.0**-53


def density(x: float, mean: float, sd: float) -> float:
    """Of the normal distribution."""
    return NormalDist(mean, sd).pdf(x)


@dataclass
class Day:
    """One instance of a batch in one scenario, or on average where there is none."""

    instance: Instance
    which: int
    scenarios: Scenarios | None = None
    number: int = 0
    constants: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        assert self.instance.traffic is not None
        row = self.instance.traffic[self.which].tolist()
        self.constants = dict(zip(CONSTANTS, row, strict=True))

    def length(self, a: int, b: int) -> float:
        """The distance."""
        if self.instance.distance is not None:
            return float(self.instance.distance[self.which, a, b])
        assert self.instance.coords is not None
        (x, y), (u, v) = self.instance.coords[self.which, [a, b]].double().tolist()
        return math.hypot(x - u, y - v)

    def free(self, a: int, b: int) -> float:
        """Minutes without delay."""
        if self.instance.duration is not None:
            return float(self.instance.duration[self.which, a, b])
        return self.length(a, b)

    def uniform(self, stream: Stream, *entity: int) -> float:
        """A number of this scenario."""
        assert self.scenarios is not None
        assert self.instance.key is not None
        key = int(self.instance.key[self.which])
        return uniform(self.scenarios, stream, key, self.scenarios.first + self.number, *entity)

    def normal(self, stream: Stream, *entity: int) -> float:
        """The same, standard normal."""
        return NormalDist().inv_cdf(self.uniform(stream, *entity))

    def rush(self, clock: float) -> float:
        """G."""
        c, minute = self.constants, clock % 1440
        peaks = (density(minute, c[name], c["rush_sd"]) for name in ("morning", "evening"))
        return c["density_unit"] * sum(peaks)

    def accident_rate(self, clock: float) -> float:
        """lambda(t)."""
        c = self.constants
        height = density(clock % 1440, c["accident_peak"], c["accident_sd"])
        return c["accidents"] * c["density_unit"] * height

    def time(self, a: int, b: int, clock: float) -> float:
        """Of a way begun at ``clock``."""
        if a == b:
            return 0.0
        c, rush = self.constants, self.rush(clock)
        usual = c["delay"] * (c["base"] + c["rush"] * rush)
        usual *= 1 - math.exp(-self.length(a, b) / c["reach"])
        mean = c["log_mean"] + c["log_mean_rush"] * rush
        sd = c["log_sd"] + c["log_sd_rush"] * rush
        if self.scenarios is None:
            lasting = (c["shortest_accident"] + c["longest_accident"]) / 2
            accidents = self.accident_rate(clock) * lasting
            return self.free(a, b) + usual * math.exp(mean + sd**2 / 2) + accidents
        delay = usual * math.exp(mean + sd * self.arc_normal(a, b))
        return self.free(a, b) + delay + self.accidents(a, b, clock)

    def arc_normal(self, a: int, b: int) -> float:
        """The number behind an arc's delay."""
        c = self.constants
        zone = 0 if self.instance.zone is None else int(self.instance.zone[self.which, b])
        own = 1 - c["day_share"] - c["zone_share"]
        return (
            math.sqrt(c["day_share"]) * self.normal(Stream.TRAVEL_DAY)
            + math.sqrt(c["zone_share"]) * self.normal(Stream.TRAVEL_ZONE, zone)
            + math.sqrt(own) * self.normal(Stream.TRAVEL_ARC, a * 2**31 + b)
        )

    def accidents(self, a: int, b: int, clock: float) -> float:
        """Their time: the count is where the uniform number lies in the Poisson distribution."""
        c, rate, arc = self.constants, self.accident_rate(clock), a * 2**31 + b
        chance = self.uniform(Stream.ACCIDENT_COUNT, arc)
        count, share = 0, math.exp(-rate)
        total = share
        while chance > total:
            count += 1
            share *= rate / count
            total += share
        return sum(
            c["shortest_accident"]
            + (c["longest_accident"] - c["shortest_accident"])
            * self.uniform(Stream.ACCIDENT_LENGTH, arc, k)
            for k in range(count)
        )

    def priced(self, plan: list[int]) -> tuple[dict[str, float], dict[str, float]]:
        """The parts of what a plan costs and its measures, route by route."""
        one, which = self.instance, self.which
        windows = one.time_window[which].double().tolist()
        service = one.service_time[which].double().tolist()
        depots = int(one.num_depots[which])
        found = dict.fromkeys(PRICES, 0.0)
        late_customers = visited = 0
        for home, route in routes_of(plan, depots):
            found["route"] += 1
            visited += len(route)
            clock = max(windows[home][0], windows[route[0]][0] - self.free(home, route[0]))
            for a, b in itertools.pairwise([home, *route, home]):
                minutes = self.time(a, b, clock)
                found["travel"] += minutes
                clock += minutes
                opens, closes = windows[b]
                if b == home:
                    found["overtime"] += max(0.0, clock - closes)
                    continue
                found["waiting"] += max(0.0, opens - clock)
                found["lateness"] += max(0.0, clock - closes)
                late_customers += clock - closes > 1e-6
                clock = max(clock, opens) + service[b]
        customers = int(one.valid[which].sum()) - depots
        found["unserved"] = float(customers - visited)
        measures = {
            "late_customers": float(late_customers),
            "on_time_share": (visited - late_customers) / customers,
            "routes": found["route"],
            **{name: found[name] for name in ("waiting", "lateness", "overtime", "unserved")},
        }
        assert one.prices is not None
        prices = dict(zip(PRICES, one.prices[which].tolist(), strict=True))
        return {name: prices[name] * found[name] for name in PRICES}, measures


def routes_of(plan: list[int], depots: int) -> list[tuple[int, list[int]]]:
    """The depot and the customers of each route of a plan."""
    routes: list[tuple[int, list[int]]] = []
    home, fresh = 0, True
    for node in plan:
        if node < depots:
            home, fresh = node, True
        elif fresh:
            routes.append((home, [node]))
            fresh = False
        else:
            routes[-1][1].append(node)
    return routes
