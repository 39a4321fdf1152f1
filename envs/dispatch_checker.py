"""The independent judge of dispatched days: plain Python loops in float64.

It shares no rule, distance or rounding code with the simulator (`nco.envs.dispatch`); requests are
drawn anew from the instance and the scenario's name, so that they need not be stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nco.data.dispatch_rules import DispatchRules
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.data.request_stream import draw_requests, rules_of
from nco.envs.checked_lengths import Lengths

Epochs = Sequence[Sequence[Sequence[int]]]
"""The routes of each epoch, over requests by their numbers."""


@dataclass(frozen=True)
class DayReport:
    """What the judge found."""

    cost: float
    """The length of all routes."""
    routes: int
    requests: int
    """Of the day."""
    unserved: int
    """Requests that no route serves."""
    late: int
    """Requests whose service begins too late, or whose route is back after the depot closes."""
    violations: list[str]
    """Each broken rule in words, these two among them."""


@dataclass(frozen=True)
class Asked:
    """A request as the judge sees it."""

    epoch: int
    place: int
    demand: float
    service: float
    early: float
    late: float


def asked(instance: Instance, scenarios: Scenarios) -> list[list[Asked]]:
    """The requests of each scenario of one instance (B = 1), numbered as they come in.

    Raises:
        InputError: the instance is not of dvrptw, or has no key.
    """
    drawn = draw_requests(instance, rules_of(instance), scenarios)
    found = []
    for scenario in range(scenarios.count):
        requests = []
        for epoch, candidate in drawn.real[0, scenario].nonzero().tolist():
            at = 0, scenario, epoch, candidate
            early, late = drawn.window[at].tolist()
            requests.append(
                Asked(epoch, int(drawn.place[at]), float(drawn.demand[at]),
                      float(drawn.service[at]), early, late)
            )  # fmt: skip
        found.append(requests)
    return found


class DayJudge:
    """One instance (B = 1) of dvrptw in plain numbers."""

    def __init__(self, instance: Instance, tolerance: float = 1e-6) -> None:
        """As the class says.

        Args:
            tolerance: relative; a quantity breaks its limit when it is above it by more than
                ``tolerance * max(quantity, limit)``.

        Raises:
            InputError: the instance is not of dvrptw.
        """
        self.rules: DispatchRules = rules_of(instance)
        self.lengths: Lengths = Lengths.of(instance)
        self.opens, self.closes = instance.time_window[0, 0].tolist()
        self.capacity = float(instance.capacity[0])
        self.tolerance = tolerance

    def report(self, requests: Sequence[Asked], epochs: Epochs) -> DayReport:
        """Cost and every violation of one day.

        The rules: each request is served once, by a route that leaves in its epoch or later; a
        route leaves a margin after its epoch began, carries no more than the capacity, waits where
        it is early, is nowhere late, and is back before the depot closes.
        """
        broken: list[str] = []
        if len(epochs) != self.rules.num_epochs:
            broken.append(f"{len(epochs)} epochs are told; a day has {self.rules.num_epochs}")
        served = Counter(n for routes in epochs for route in routes for n in route)
        unserved = 0
        for number in range(len(requests)):
            if served[number] == 0:
                unserved += 1
                broken.append(f"request {number} is not served")
            elif served[number] > 1:
                broken.append(f"request {number} is served {served[number]} times, not once")
        cost, count, late = 0.0, 0, 0
        for epoch, routes in enumerate(epochs):
            for route in routes:
                unknown = [n for n in route if not 0 <= n < len(requests)]
                broken += [f"epoch {epoch}: request {n} does not exist" for n in unknown]
                if route and not unknown:
                    length, tardy = self._route(
                        epoch, [(n, requests[n]) for n in route], broken.append
                    )
                    cost, count, late = cost + length, count + 1, late + tardy
        return DayReport(cost, count, len(requests), unserved, late, broken)

    def _route(
        self, epoch: int, route: list[tuple[int, Asked]], tell: Callable[[str], None]
    ) -> tuple[float, int]:
        """The length, and how many requests are late; violations are told."""
        load = sum(request.demand for _, request in route)
        if self._exceeds(load, self.capacity):
            tell(f"epoch {epoch}: a route carries {load:g}, the capacity is {self.capacity:g}")
        clock = self.opens + epoch * self.rules.epoch + self.rules.wait
        length, late, here = 0.0, 0, 0
        for number, request in route:
            if request.epoch > epoch:
                tell(f"epoch {epoch}: request {number} comes in epoch {request.epoch} only")
            length += self.lengths.distance(here, request.place)
            clock += self.lengths.duration(here, request.place)
            if self._exceeds(clock, request.late):
                late += 1
                tell(f"epoch {epoch}: request {number} is reached at {clock:g}, late after "
                     f"{request.late:g}")  # fmt: skip
            clock = max(clock, request.early) + request.service
            here = request.place
        length += self.lengths.distance(here, 0)
        clock += self.lengths.duration(here, 0)
        if self._exceeds(clock, self.closes):
            late += 1
            tell(f"epoch {epoch}: a route is back at {clock:g}, the depot closes at "
                 f"{self.closes:g}")  # fmt: skip
        return length, late

    def _exceeds(self, quantity: float, limit: float) -> bool:
        return quantity - limit > self.tolerance * max(abs(quantity), abs(limit))


def check_days(
    instance: Instance, scenarios: Scenarios, dispatched: Sequence[Epochs]
) -> list[DayReport]:
    """What the dispatches of each scenario of one instance (B = 1) come to.

    Raises:
        InputError: there are more or fewer days than scenarios, or as `asked`.
    """
    scenarios.require_each(len(dispatched), "days")
    judge = DayJudge(instance)
    pairs = zip(asked(instance, scenarios), dispatched, strict=True)
    return [judge.report(requests, epochs) for requests, epochs in pairs]
