"""The independent judge of profiled VRPs, in plain Python loops and float64.

It shares no rule and no distance code with the environments; lengths and times are those of
`nco.envs.checker`, which calls it for instances with a fleet. The problem is stated in
`nco.data.fleet`.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from nco.data.errors import InputError
from nco.data.fleet import FLEET_FIELDS, Fleet

Arc = Callable[[int, int], float]


@dataclass
class _Work:
    """What one vehicle did."""

    time: float = 0.0
    length: float = 0.0
    customers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class FleetBill:
    """What routes come to, item by item and before weights; see `nco.data.fleet`."""

    time: float
    """Of all vehicles together."""
    longest: float
    """The time of the vehicle that works longest."""
    missed: float
    """Preference."""
    length: float
    """Of all vehicles together."""
    prices: float
    """Fixed costs of the vehicles used, and what their lengths cost."""
    used: int
    """Vehicles that serve a customer."""


class FleetJudge:
    """The vehicles of one instance (B = 1) in plain numbers.

    Args:
        fleet: of the instance.
        demand, service: of each node.
        distance, duration: of an arc between two nodes that exist.
        exceeds: whether a quantity is above its limit, tolerance allowed for.
    """

    def __init__(
        self,
        fleet: Fleet,
        demand: list[float],
        service: list[float],
        distance: Arc,
        duration: Arc,
        exceeds: Callable[[float, float], bool],
    ) -> None:
        # the field names of a fleet are the keys
        self.facts = {name: getattr(fleet, name)[0].tolist() for name in FLEET_FIELDS}
        self.real = [k for k, there in enumerate(self.facts["valid"]) if there]
        self.demand, self.service = demand, service
        self.distance, self.duration, self.exceeds = distance, duration, exceeds
        self.violations: list[str] = []

    def depots(self, vehicles: list[int]) -> list[int]:
        """Where routes of these vehicles start; -1 for a vehicle that does not exist."""
        return [self.facts["depot"][k] if k in self.real else -1 for k in vehicles]

    def cost(self, routes: list[list[int]], vehicles: list[int]) -> float:
        """The cost of the routes, whose nodes all exist; violations are noted. inf where a vehicle
        does not exist."""
        bill = self.bill(routes, vehicles)
        if bill is None:
            return math.inf
        facts = self.facts
        span = bill.longest if facts["min_max"] else bill.time
        weighted = facts["time_weight"] * span + facts["preference_weight"] * bill.missed
        return weighted + bill.prices

    def bill(self, routes: list[list[int]], vehicles: list[int]) -> FleetBill | None:
        """What the routes come to; violations are noted. None where a vehicle does not exist."""
        work: dict[int, _Work] = defaultdict(_Work)
        unknown = False
        for number, (route, vehicle) in enumerate(zip(routes, vehicles, strict=True), start=1):
            if vehicle not in self.real:
                self.violations.append(
                    f"route {number} is driven by vehicle {vehicle}, which does not exist; "
                    f"vehicles are 0 to {len(self.real) - 1}"
                )
                unknown = True
            elif route:
                self._trip(number, route, vehicle, work[vehicle])
        for vehicle, done in sorted(work.items()):
            limit = self.facts["shift"][vehicle]
            if self.exceeds(done.time, limit):
                self.violations.append(
                    f"vehicle {vehicle} works {done.time:g}, {done.time - limit:g} above its shift "
                    f"of {limit:g}"
                )
        return None if unknown else self._items(work)

    def _trip(self, number: int, route: list[int], vehicle: int, done: _Work) -> None:
        home = self.facts["depot"][vehicle]
        for node in route:
            if not self.facts["allowed"][vehicle][node]:
                self.violations.append(
                    f"route {number} serves customer {node}, where vehicle {vehicle} is not allowed"
                )
        load, limit = (
            math.fsum(self.demand[node] for node in route),
            self.facts["capacity"][vehicle],
        )
        if self.exceeds(load, limit):
            self.violations.append(
                f"route {number} delivers {load:g}, {load - limit:g} above the capacity {limit:g} "
                f"of vehicle {vehicle}"
            )
        speed = self.facts["speed"][vehicle]
        for i, j in itertools.pairwise([home, *route, home]):
            done.length += self.distance(i, j)
            done.time += self.duration(i, j) / speed
        done.time += math.fsum(self.service[node] for node in route)
        done.customers += route

    def _items(self, work: dict[int, _Work]) -> FleetBill:
        facts = self.facts
        times = [done.time for done in work.values()]
        missed = math.fsum(
            max(facts["profile"][other][node] for other in self.real)
            - facts["profile"][vehicle][node]
            for vehicle, done in work.items()
            for node in done.customers
        )
        prices = math.fsum(
            facts["fixed_cost"][vehicle] + facts["distance_cost"][vehicle] * done.length
            for vehicle, done in work.items()
        )
        return FleetBill(
            time=math.fsum(times),
            longest=max(times, default=0.0),
            missed=missed,
            length=math.fsum(done.length for done in work.values()),
            prices=prices,
            used=len(work),
        )


def require_vehicles(routes: list[list[int]], vehicles: list[int] | None) -> list[int]:
    """The vehicle of each route.

    Raises:
        InputError: there is not one for each.
    """
    told = "none" if vehicles is None else str(len(vehicles))
    if vehicles is None or len(vehicles) != len(routes):
        raise InputError(
            f"{told} vehicles for {len(routes)} routes of an instance with a fleet; accepted: one "
            "for each route"
        )
    return vehicles


def routes_of_vehicles(
    actions: list[int], num_nodes: int, num_depots: int
) -> tuple[list[list[int]], list[int]]:
    """Routes, and the vehicle of each, of one trajectory of actions ``vehicle * num_nodes + node``,
    each vehicle's in its order. Staying at a node, and at a depot, makes no stop.

    Args:
        num_nodes: of the batch that the actions come from, padding included.
    """
    trips: dict[int, list[list[int]]] = defaultdict(lambda: [[]])
    for action in actions:
        vehicle, node = divmod(action, num_nodes)
        if node < num_depots:
            trips[vehicle].append([])
        elif trips[vehicle][-1][-1:] != [node]:
            trips[vehicle][-1].append(node)
    pairs = [(route, k) for k in sorted(trips) for route in trips[k] if route]
    return [route for route, _ in pairs], [vehicle for _, vehicle in pairs]
