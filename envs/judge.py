"""One instance in plain numbers, and what is wrong with routes of it.

Of the independent judge, `nco.envs.checker`: plain Python loops in float64, which share no rule,
rounding or distance code with the environments or with `nco.data.instance`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nco.data.errors import InputError
from nco.data.fleet import Fleet
from nco.data.instance import DemandLaw, Instance
from nco.data.prices import Prices
from nco.data.traffic import Traffic
from nco.envs.checked_lengths import Lengths, numbers
from nco.envs.day_checker import DayRules
from nco.envs.demand_checker import DemandRules
from nco.envs.fleet_checker import FleetJudge
from nco.envs.prize_checker import PrizeRules


@dataclass(frozen=True)
class Report:
    """What the checker found."""

    cost: float
    """The length of all arcs driven, in the instance's units, feasible or not; its mean where
    customers may not ask, and with the penalties of customers left out where there are prizes;
    what routes come to under mean travel times where windows are soft; inf where a route names a
    node or a depot that does not exist, since such an arc has no length."""
    feasible: bool
    """True when there is no violation."""
    violations: list[str]
    """Each broken constraint in words. Routes count from 1, in the order given."""


@dataclass(frozen=True)
class Visit:
    """One stop of a route's timetable, in the units of the instance."""

    node: int
    arrival: float
    start: float
    """Of service; what lies between is waiting."""
    departure: float
    load: float
    """On leaving."""


def refuse_batch(instance: Instance) -> None:
    if tuple(instance.batch_size) != (1,):
        raise InputError(
            f"the checker got a batch of {tuple(instance.batch_size)} instances; accepted: (1,)"
        )


def _prize_rules(instance: Instance, realised: Sequence[float] | None) -> PrizeRules | None:
    if instance.prize is None or instance.penalty is None or instance.min_prize is None:
        return None
    prize = numbers(instance.prize).tolist() if realised is None else realised
    return PrizeRules(prize, numbers(instance.penalty).tolist(), float(instance.min_prize[0]))


@final
class Judge:
    """One instance in plain numbers, and the violations found so far."""

    def __init__(
        self,
        instance: Instance,
        tolerance: float,
        realised_prizes: Sequence[float] | None = None,
    ) -> None:
        refuse_batch(instance)
        if instance.dispatch is not None:
            raise InputError(
                "the instance's customers are what requests of a day are drawn from, and no routes "
                "over them solve it; accepted: dispatches of days (nco.envs.dispatch_checker)"
            )
        self.tolerance = tolerance
        self.num_depots = int(instance.num_depots[0])
        self.num_vehicles = int(instance.num_vehicles[0])
        self.valid: list[bool] = instance.valid[0].tolist()
        lengths = Lengths.of(instance)
        self.distance, self.duration = lengths.distance, lengths.duration
        self.linehaul: list[float] = numbers(instance.linehaul).tolist()
        self.backhaul: list[float] = numbers(instance.backhaul).tolist()
        self.windows: list[list[float]] = numbers(instance.time_window).tolist()
        self.service: list[float] = numbers(instance.service_time).tolist()
        self.mixed = bool(instance.mixed_backhaul[0])
        self.open = bool(instance.open_route[0])
        self.presence = None if instance.presence is None else numbers(instance.presence).tolist()
        self.capacity = float(instance.capacity[0])
        self.distance_limit = float(instance.distance_limit[0])
        self.prizes = _prize_rules(instance, realised_prizes)
        self.demands = self._demand_rules(instance)
        self.violations: list[str] = []
        self.day = self._day(instance)
        if self.num_depots == 0:
            self._refuse_attributes_without_depot()

    def report(self, routes: list[list[int]], depots: list[int] | None) -> Report:
        if depots is None or self.num_depots == 0:
            depots = [0] * len(routes)
        if len(depots) != len(routes):
            raise InputError(
                f"{len(depots)} depots for {len(routes)} routes; accepted: one for each route"
            )
        self._visits(routes)
        self._fleet(routes)
        cost = 0.0
        for number, (route, depot) in enumerate(zip(routes, depots, strict=True), start=1):
            if route:
                cost += self._route(number, route, depot)
        if self.prizes is not None:
            customers = [i for i in range(self.num_depots, len(self.valid)) if self.valid[i]]
            penalties, broken = self.prizes.judge(routes, customers, self.tolerance)
            cost += penalties
            self.violations += broken
        return Report(cost, not self.violations, self.violations)

    def fleet_judge(self, fleet: Fleet) -> FleetJudge:
        return FleetJudge(
            fleet, self.linehaul, self.service, self.distance, self.duration, self._exceeds
        )

    def fleet_report(self, fleet: Fleet, routes: list[list[int]], vehicles: list[int]) -> Report:
        self._visits(routes)
        named = enumerate(routes, start=1)
        known = [self.names(f"route {number}", route) for number, route in named]
        if not all(known):
            return Report(math.inf, False, self.violations)
        judge = self.fleet_judge(fleet)
        cost = judge.cost(routes, vehicles)
        violations = self.violations + judge.violations
        return Report(cost, not violations, violations)

    def _demand_rules(self, instance: Instance) -> DemandRules | None:
        if instance.demand_law is None or instance.demand_spread is None:
            return None
        if instance.demand_correlation is None or instance.restocking is None:
            return None
        if self.num_depots != 1 or self.open:
            raise InputError(
                "the instance has uncertain demands with open routes or not one depot; accepted: "
                "closed routes from one depot"
            )
        return DemandRules(
            law=DemandLaw(int(instance.demand_law[0])),
            mean=self.linehaul,
            spread=numbers(instance.demand_spread).tolist(),
            correlation=float(instance.demand_correlation[0]),
            restocking=bool(instance.restocking[0]),
            capacity=int(self.capacity),
            distance=self.distance,
        )

    def _exceeds(self, quantity: float, limit: float) -> bool:
        if math.isinf(limit):
            return False
        return quantity - limit > self.tolerance * max(abs(quantity), abs(limit))

    def _refuse_attributes_without_depot(self) -> None:
        real = [node for node, valid in enumerate(self.valid) if valid]
        given = {
            "capacity": math.isfinite(self.capacity),
            "distance_limit": math.isfinite(self.distance_limit),
            "open_route": self.open,
            "demand": any(self.linehaul[node] != 0 for node in real),
            "backhaul": any(self.backhaul[node] != 0 for node in real),
            "time_window": any(self.windows[node] != [0.0, math.inf] for node in real),
        }
        named = [name for name, present in given.items() if present]
        if named:
            raise InputError(
                f"an instance with num_depots 0 (a TSP) has {', '.join(named)}; accepted: "
                "distances only, or at least one depot"
            )

    def _exists(self, node: int) -> bool:
        return 0 <= node < len(self.valid) and self.valid[node]

    def _visits(self, routes: list[list[int]]) -> None:
        visits = Counter(node for route in routes for node in route)
        for node, real in enumerate(self.valid):
            if not real or node < self.num_depots:
                continue
            if visits[node] == 0 and self.prizes is None:
                self.violations.append(f"customer {node} is not visited")
            elif visits[node] > 1:
                self.violations.append(f"customer {node} is visited {visits[node]} times, not once")

    def _fleet(self, routes: list[list[int]]) -> None:
        used = sum(1 for route in routes if route)
        if self.num_depots == 0 and used != 1:
            self.violations.append(f"a TSP has exactly one route; {used} are given")
        if used > self.num_vehicles:
            self.violations.append(
                f"{used} routes for {self.num_vehicles} vehicles, "
                f"{used - self.num_vehicles} too many"
            )

    def _route(self, number: int, route: list[int], depot: int) -> float:
        """The length of one route; its violations are noted. inf if it names an unknown node."""
        name = f"route {number}"
        known = self.names(name, route)
        if self.num_depots == 0:
            return self._price([*route, route[0]]) if known else math.inf
        if not 0 <= depot < self.num_depots:
            self.violations.append(
                f"{name} starts at depot {depot}, which does not exist; "
                f"depots are 0 to {self.num_depots - 1}"
            )
            known = False
        if not known:
            return math.inf
        stops = [depot, *route] if self.open else [depot, *route, depot]
        length = self._length(stops)
        if self._exceeds(length, self.distance_limit):
            self.violations.append(
                f"{name} is {length:g} long, {length - self.distance_limit:g} above the distance "
                f"limit {self.distance_limit:g}"
            )
        if self.day is not None:
            self._load(name, route)
            return self.day.route_cost(depot, route)
        self._time(name, depot, route)
        if self.demands is not None:
            return self.demands.mean_cost(route)
        self._load(name, route)
        return self._price(stops)

    def _day(self, instance: Instance) -> DayRules | None:
        if instance.traffic is None or instance.prices is None:
            return None
        return DayRules(
            constants=Traffic(*numbers(instance.traffic).tolist()),
            prices=Prices(*numbers(instance.prices).tolist()),
            distance=self.distance,
            duration=self.duration,
            windows=self.windows,
            service=self.service,
        )

    def _price(self, stops: list[int]) -> float:
        """The length of the walk past the stops, or its mean where customers may not ask."""
        if self.presence is None:
            return self._length(stops)
        if self.num_depots == 0:
            # a tour goes on behind its end, up to where it left
            tour = stops[:-1]
            rests = [tour[i:] + tour[:i] for i in range(len(tour))]
        else:
            rests = [stops[i:] for i in range(len(stops))]
        return math.fsum(self._mean_next_arc(rest, self.presence) for rest in rests)

    def _mean_next_arc(self, rest: list[int], presence: list[float]) -> float:
        """The mean length of the arc from the first of these stops to the next one that asks."""
        total, nobody = 0.0, presence[rest[0]]
        for node in rest[1:]:
            total += nobody * presence[node] * self.distance(rest[0], node)
            nobody *= 1 - presence[node]
        return total

    def names(self, name: str, route: list[int]) -> bool:
        """Whether all nodes of a route exist; those that do not, and depots, are noted."""
        for node in route:
            if not 0 <= node < len(self.valid):
                self.violations.append(
                    f"{name} visits node {node}, which does not exist; "
                    f"nodes are 0 to {sum(self.valid) - 1}"
                )
            elif not self.valid[node]:
                self.violations.append(f"{name} visits node {node}, which is padding")
            elif node < self.num_depots:
                self.violations.append(f"{name} visits depot {node} as a customer")
        return all(self._exists(node) for node in route)

    def _length(self, stops: list[int]) -> float:
        return sum(self.distance(i, j) for i, j in itertools.pairwise(stops))

    def _overload(self, name: str, what: str, load: float) -> None:
        if self._exceeds(load, self.capacity):
            self.violations.append(
                f"{name} {what} {load:g}, {load - self.capacity:g} above the capacity "
                f"{self.capacity:g}"
            )

    def _load(self, name: str, route: list[int]) -> None:
        delivered = math.fsum(self.linehaul[node] for node in route)
        if self.mixed:
            self._overload(name, "leaves the depot with a load of", delivered)
            load = delivered
            for node in route:
                load += self.backhaul[node] - self.linehaul[node]
                if self.backhaul[node] > 0:
                    self._overload(name, f"leaves node {node} with a load of", load)
            return
        self._overload(name, "delivers", delivered)
        self._overload(name, "picks up", math.fsum(self.backhaul[node] for node in route))
        pickup: int | None = None
        for node in route:
            if self.linehaul[node] > 0 and pickup is not None:
                self.violations.append(
                    f"{name} delivers {self.linehaul[node]:g} to node {node} after the pickup at "
                    f"node {pickup}"
                )
            if self.backhaul[node] > 0 and pickup is None:
                pickup = node

    def _time(self, name: str, depot: int, route: list[int]) -> None:
        visits = self.visits(depot, route)
        for visit in visits[1 : len(route) + 1]:
            node, clock = visit.node, visit.start
            late = self.windows[node][1]
            if self._exceeds(clock, late):
                self.violations.append(
                    f"{name} starts service at node {node} at {clock:g}, {clock - late:g} after "
                    f"its window closes at {late:g}"
                )
        if self.open:
            return
        clock = visits[-1].arrival
        closes = self.windows[depot][1]
        if self._exceeds(clock, closes):
            self.violations.append(
                f"{name} is back at depot {depot} at {clock:g}, {clock - closes:g} after it "
                f"closes at {closes:g}"
            )

    def visits(self, depot: int, route: list[int]) -> list[Visit]:
        opens = self.windows[depot][0]
        load = math.fsum(self.linehaul[node] for node in route)
        visits = [Visit(depot, opens, opens, opens, load)]
        for node in route:
            arrival = visits[-1].departure + self.duration(visits[-1].node, node)
            start = max(arrival, self.windows[node][0])
            load += self.backhaul[node] - self.linehaul[node]
            visits.append(Visit(node, arrival, start, start + self.service[node], load))
        if not self.open:
            arrival = visits[-1].departure + self.duration(visits[-1].node, depot)
            visits.append(Visit(depot, arrival, arrival, arrival, load))
        return visits
