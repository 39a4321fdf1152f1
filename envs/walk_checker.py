"""The independent judge of what was driven where a vehicle decides on the way: plain Python loops
in float64, world by world.

It shares no rule, distance or rounding code with the environments; worlds are drawn anew from the
instance and the scenario's name, so that they need not be stored.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from nco.data.demand_laws import realised_demands
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Stream, Worlds, require_key, uniform_number
from nco.data.prices import PRICES, Prices
from nco.data.prize_instances import realised_prizes
from nco.data.traffic import Traffic
from nco.envs.checked_lengths import Lengths, numbers
from nco.envs.day_checker import DayRules
from nco.envs.prize_checker import PrizeRules

Walk = Sequence[int]
"""Nodes in the order driven to; a depot ends a trip, and the next one begins there. Where the last
trip ends at its depot need not be told."""
_NUMBERS = 2**19
"""That are drawn together for a block of scenarios."""
_ARC = 2**31
"""An arc's name is origin * 2^31 + destination."""


@dataclass(frozen=True)
class WalkReport:
    """What one world came to."""

    parts: dict[str, float]
    """The cost is their sum."""
    measures: dict[str, float]
    failed: bool
    """Whether something went wrong that the rules allow: a customer late, a vehicle found empty."""
    violations: list[str]
    """Each broken rule in words."""

    @property
    def cost(self) -> float:
        """In the instance's units."""
        return sum(self.parts.values())


class WalkJudge(ABC):
    """One instance (B = 1) in some worlds, in plain numbers."""

    def __init__(self, instance: Instance, tolerance: float) -> None:
        self.num_depots = int(instance.num_depots[0])
        self.num_nodes = int(instance.valid[0].sum())
        self.tolerance = tolerance
        lengths, nodes = Lengths.of(instance), range(self.num_nodes)
        self.length = [[lengths.distance(i, j) for j in nodes] for i in nodes]
        self.duration = [[lengths.duration(i, j) for j in nodes] for i in nodes]

    def report(self, place: int, walk: Walk) -> WalkReport:
        """Of what was driven in the world with this place among them."""
        unknown = [node for node in walk if not 0 <= node < self.num_nodes]
        if unknown:
            broken = f"node {unknown[0]} does not exist; nodes are 0 to {self.num_nodes - 1}"
            return WalkReport({}, {}, True, [broken])
        return self._report(place, walk)

    @abstractmethod
    def _report(self, place: int, walk: Walk) -> WalkReport: ...

    def _trips(self, walk: Walk) -> list[tuple[int, list[int]]]:
        """The depot and the customers of each trip."""
        trips: list[tuple[int, list[int]]] = []
        home, on_the_way = 0, False
        for node in walk:
            if node < self.num_depots:
                home, on_the_way = node, False
            elif on_the_way:
                trips[-1][1].append(node)
            else:
                trips.append((home, [node]))
                on_the_way = True
        return trips

    def _travel(self, trips: Sequence[tuple[int, list[int]]]) -> float:
        stops = ([home, *trip, home] for home, trip in trips)
        arcs = (arc for trip in stops for arc in itertools.pairwise(trip))
        return math.fsum(self.length[i][j] for i, j in arcs)

    def _unvisited(self, walk: Walk) -> list[int]:
        seen = set(walk)
        return [i for i in range(self.num_depots, self.num_nodes) if i not in seen]

    def _repeated(self, walk: Walk) -> list[str]:
        counts = Counter(node for node in walk if node >= self.num_depots)
        return [f"customer {i} is visited {n} times, not once" for i, n in counts.items() if n > 1]


@final
class DemandWalks(WalkJudge):
    """Demands are seen on arrival. A vehicle delivers what it has; the rest is delivered by later
    visits, and all of it must be. It loads up at the depot."""

    def __init__(self, instance: Instance, worlds: Scenarios, tolerance: float) -> None:
        super().__init__(instance, tolerance)
        self.demands: list[list[int]] = realised_demands(instance, worlds)[0].tolist()
        self.capacity = int(instance.capacity[0])

    def _report(self, place: int, walk: Walk) -> WalkReport:
        rest, load = list(self.demands[place]), self.capacity
        broken = [f"customer {i} is not visited" for i in self._unvisited(walk)]
        served: set[int] = set()
        failures = 0
        for node in walk:
            if node == 0:
                load = self.capacity
                continue
            if node in served:
                broken.append(f"customer {node} is visited again and wants nothing")
            given = min(load, rest[node])
            load, rest[node] = load - given, rest[node] - given
            if rest[node] > 0:
                failures += 1
            else:
                served.add(node)
        broken += [
            f"customer {i} is left without {left} of its demand"
            for i, left in enumerate(rest)
            if left > 0 and i in walk
        ]
        trips = self._trips(walk)
        measures = {"trips": float(len(trips)), "failures": float(failures)}
        return WalkReport({"travel": self._travel(trips)}, measures, failures > 0, broken)


@final
class PrizeWalks(WalkJudge):
    """Prizes are seen on visiting. One tour, which collects enough of them or visits all; customers
    left out cost their penalty."""

    def __init__(self, instance: Instance, worlds: Scenarios, tolerance: float) -> None:
        super().__init__(instance, tolerance)
        self.prizes: list[list[float]] = realised_prizes(instance, worlds)[0].double().tolist()
        assert instance.penalty is not None  # given together with the prizes
        assert instance.min_prize is not None
        self.penalty: list[float] = numbers(instance.penalty).tolist()
        self.min_prize = float(instance.min_prize[0])

    def _report(self, place: int, walk: Walk) -> WalkReport:
        prizes, trips = self.prizes[place], self._trips(walk)
        customers = range(self.num_depots, self.num_nodes)
        rules = PrizeRules(prizes, self.penalty, self.min_prize)
        penalties, broken = rules.judge([trip for _, trip in trips], customers, self.tolerance)
        visited = [node for _, trip in trips for node in trip]
        measures = {
            "collected": math.fsum(prizes[node] for node in visited),
            "left_out": float(len(self._unvisited(walk))),
        }
        parts = {"travel": self._travel(trips), "penalties": penalties}
        return WalkReport(parts, measures, False, [*self._repeated(walk), *broken])


@final
class DayWalks(WalkJudge):
    """Travel times are seen as they come. Windows are soft; vehicles keep their capacity, and
    every customer is visited."""

    def __init__(self, instance: Instance, worlds: Scenarios, tolerance: float) -> None:
        super().__init__(instance, tolerance)
        assert instance.traffic is not None
        assert instance.prices is not None
        self.constants = Traffic(*numbers(instance.traffic).tolist())
        self.prices = Prices(*numbers(instance.prices).tolist())
        self.rules = DayRules(
            constants=self.constants,
            prices=self.prices,
            distance=lambda i, j: self.length[i][j],
            duration=lambda i, j: self.duration[i][j],
            windows=numbers(instance.time_window).tolist(),
            service=numbers(instance.service_time).tolist(),
        )
        self.demand: list[float] = numbers(instance.linehaul).tolist()
        self.capacity = float(instance.capacity[0])
        self.worlds = worlds
        self.key = int(require_key(instance)[0])
        self._draw(instance)

    def _draw(self, instance: Instance) -> None:
        """The numbers behind delays and accidents, by world, origin and destination."""
        drawn, n = Worlds.of(self.worlds, instance), self.num_nodes
        node = instance.num_depots.new_tensor(range(n))
        arc = (node.view(n, 1) * _ARC + node).view(1, 1, n, n)
        zone = node * 0 if instance.zone is None else instance.zone[0, :n]
        day_share, zone_share = float(self.constants.day_share), float(self.constants.zone_share)
        own = drawn.normals(Stream.TRAVEL_ARC, arc)[0]
        into = drawn.normals(Stream.TRAVEL_ZONE, zone.view(1, 1, 1, n))[0]
        day = drawn.normals(Stream.TRAVEL_DAY)[0].view(-1, 1, 1)
        rest = max(0.0, 1 - day_share - zone_share)
        mixed = math.sqrt(day_share) * day + math.sqrt(zone_share) * into + math.sqrt(rest) * own
        self.normals: list[list[list[float]]] = mixed.tolist()
        chances = drawn.uniforms(Stream.ACCIDENT_COUNT, arc)[0]
        self.chances: list[list[list[float]]] = chances.tolist()

    def _time(self, place: int, origin: int, to: int, clock: float) -> float:
        if origin == to:
            return 0.0
        time = self.rules.delayed_time(origin, to, clock, self.normals[place][origin][to])
        rate, chance = self.rules.accident_rate(clock), self.chances[place][origin][to]
        count, share = 0, math.exp(-rate)
        below = share
        while chance > below and share > 0:
            time += self._accident(place, origin * _ARC + to, count)
            count += 1
            share *= rate / count
            below += share
        return time

    def _accident(self, place: int, arc: int, count: int) -> float:
        c = self.constants
        number = self.worlds.first + place
        share = uniform_number(self.worlds, Stream.ACCIDENT_LENGTH, self.key, number, arc, count)
        shortest = float(c.shortest_accident)
        return shortest + (float(c.longest_accident) - shortest) * share

    def _report(self, place: int, walk: Walk) -> WalkReport:
        trips, unvisited = self._trips(walk), self._unvisited(walk)
        broken = [f"customer {i} is not visited" for i in unvisited]
        broken += self._repeated(walk)
        total, late = dict.fromkeys(PRICES, 0.0), 0
        for home, trip in trips:
            load = math.fsum(self.demand[node] for node in trip)
            if load - self.capacity > self.tolerance * max(load, self.capacity):
                broken.append(f"a trip delivers {load:g}, the capacity is {self.capacity:g}")
            counted, tardy = self.rules.route_counts(
                home, trip, lambda i, j, clock: self._time(place, i, j, clock)
            )
            late += tardy
            total = {name: total[name] + counted[name] for name in PRICES}
        total["unserved"] = float(len(unvisited))
        customers = self.num_nodes - self.num_depots
        measures = {
            "late_customers": float(late),
            "on_time_share": (customers - len(unvisited) - late) / customers,
            "routes": total["route"],
            **{name: total[name] for name in ("waiting", "lateness", "overtime", "unserved")},
        }
        parts = {name: getattr(self.prices, name) * total[name] for name in PRICES}
        return WalkReport(parts, measures, late > 0 or bool(unvisited), broken)


def walk_judge(instance: Instance, worlds: Scenarios, tolerance: float = 1e-6) -> WalkJudge:
    """The judge of an instance (B = 1) whose noise is seen on the way.

    Raises:
        InputError: there is none, or the instance has no key.
    """
    require_key(instance)
    if instance.prize is not None:
        return PrizeWalks(instance, worlds, tolerance)
    if instance.demand_law is not None:
        return DemandWalks(instance, worlds, tolerance)
    if instance.traffic is not None:
        return DayWalks(instance, worlds, tolerance)
    raise InputError(
        "the instance has no noise that is seen on the way; accepted: instances with prizes, laws "
        "of demands, or traffic"
    )


def check_walks(
    instance: Instance, worlds: Scenarios, walks: Sequence[Walk]
) -> Iterator[WalkReport]:
    """What was driven in each world of an instance (B = 1) comes to.

    Raises:
        InputError: there are more or fewer walks than worlds, or as `walk_judge`.
    """
    worlds.require_each(len(walks), "walks")
    told = iter(walks)
    for part in worlds.parts(max(1, _NUMBERS // instance.num_nodes**2)):
        judge = walk_judge(instance, part)
        yield from (judge.report(i, next(told)) for i in range(part.count))
