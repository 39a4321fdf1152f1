"""Dispatching over the epochs of a day: which open requests leave now, and on which routes.

The simulator is `Day`, which alone knows what will be asked; who decides is given an `Epoch`, which
holds what is known at its start and nothing else. States are immutable. A request that waits too
long must leave. An unlimited fleet drives from one depot; the cost is the length of all routes.
Independent judge: `nco.envs.dispatch_checker`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch

from nco.data.dispatch_rules import DispatchRules
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, duration_matrix
from nco.data.noise import Scenarios
from nco.data.request_stream import Requests, draw_requests, in_time, rules_of

Routes = list[list[int]]
"""Of requests by their numbers."""
Dispatches = tuple[tuple[tuple[int, ...], ...], ...]
"""The routes of each epoch."""
SLACK = 1e-9
"""Relative, of loads: sums of float32 demands."""


@final
@dataclass(frozen=True)
class Request:
    """One of a day."""

    number: int
    """Its place in the day, in the order in which requests come in."""
    epoch: int
    """In which it came in."""
    place: int
    """The node of the static instance."""
    demand: float
    service: float
    window: tuple[float, float]


@final
@dataclass(frozen=True)
class Setting:
    """What is known before the day: the static instance (B = 1) and how the day is cut."""

    instance: Instance
    rules: DispatchRules

    @classmethod
    def of(cls, one: Instance) -> Setting:
        """Of an instance that says itself how its day is cut.

        Raises:
            InputError: it does not.
        """
        return cls(one, rules_of(one))

    @cached_property
    def distance(self) -> np.ndarray:
        """[N, N], float64."""
        return distance_matrix(self.instance)[0].double().numpy()

    @cached_property
    def duration(self) -> np.ndarray:
        """[N, N], float64."""
        return duration_matrix(self.instance)[0].double().numpy()

    @cached_property
    def hours(self) -> tuple[float, float]:
        """When the depot opens and closes."""
        opens, closes = self.instance.time_window[0, 0].tolist()
        return opens, closes

    @cached_property
    def capacity(self) -> float:
        """Of every vehicle."""
        return float(self.instance.capacity[0])

    def departure(self, epoch: int) -> float:
        """When routes leave that the epoch dispatches."""
        return self.rules.departure(self.hours[0], epoch)

    def can_wait(self, request: Request, epoch: int) -> bool:
        """Whether a route of its own can serve the request, if it leaves an epoch later."""
        if epoch == self.rules.num_epochs - 1:
            return False
        there = self.duration[0, request.place], self.duration[request.place, 0]
        numbers = (self.departure(epoch + 1), *there, *request.window, request.service)
        values = (torch.tensor(x, dtype=torch.float64) for x in (*numbers, self.hours[1]))
        return bool(in_time(*values))

    def route_is_kept(self, route: Sequence[Request], departure: float) -> bool:
        """Whether a route that leaves then keeps the capacity, all windows and the closing time."""
        if sum(r.demand for r in route) > self.capacity * (1 + SLACK):
            return False
        clock, here = departure, 0
        for request in route:
            early, late = request.window
            clock += self.duration[here, request.place]
            if clock > late:
                return False
            clock, here = max(clock, early) + request.service, request.place
        return bool(clock + self.duration[here, 0] <= self.hours[1])

    def route_length(self, route: Sequence[Request]) -> float:
        """There and back."""
        stops = [0, *(r.place for r in route), 0]
        return float(self.distance[stops[:-1], stops[1:]].sum()) if route else 0.0

    def routing_problem(self, chosen: Sequence[Request], departure: float) -> Instance:
        """Node i + 1 is the i-th request chosen; routes leave the depot at ``departure`` or
        later."""
        nodes = [0, *(r.place for r in chosen)]
        return Instance.vrp(
            distance=self.distance[np.ix_(nodes, nodes)],
            duration=self.duration[np.ix_(nodes, nodes)],
            demand=[0.0, *(r.demand for r in chosen)],
            service_time=[0.0, *(r.service for r in chosen)],
            time_window=[(departure, self.hours[1]), *(r.window for r in chosen)],
            capacity=self.capacity,
        )


@final
@dataclass(frozen=True)
class Epoch:
    """What is known at the start of an epoch, and all that a dispatcher is given."""

    setting: Setting
    number: int
    open: tuple[Request, ...]
    """In the order in which they came in."""
    must: frozenset[int]
    """The open requests, by number, that cannot be served if they wait; all of them in the last
    epoch."""

    @property
    def departure(self) -> float:
        """When routes leave that are dispatched now."""
        return self.setting.departure(self.number)

    @property
    def free(self) -> list[Request]:
        """Those that can wait."""
        return [r for r in self.open if r.number not in self.must]


@final
@dataclass(frozen=True)
class DispatchState:
    """How far a day is, and what was done before."""

    epoch: int
    open: tuple[int, ...]
    cost: float
    dispatched: Dispatches

    @property
    def sent(self) -> tuple[int, ...]:
        """Requests dispatched in each epoch."""
        return tuple(sum(map(len, routes)) for routes in self.dispatched)


@final
@dataclass(frozen=True)
class Day:
    """One instance in one scenario: all that will be asked."""

    setting: Setting
    requests: tuple[Request, ...]

    def start(self) -> DispatchState:
        """The first epoch."""
        return DispatchState(0, self._new(0), 0.0, ())

    def _new(self, epoch: int) -> tuple[int, ...]:
        return tuple(r.number for r in self.requests if r.epoch == epoch)

    def known(self, state: DispatchState) -> Epoch:
        """What may be told of the day in this state."""
        requests = tuple(self.requests[number] for number in state.open)
        waits = self.setting.can_wait
        must = frozenset(r.number for r in requests if not waits(r, state.epoch))
        return Epoch(self.setting, state.epoch, requests, must)

    def dispatch(self, state: DispatchState, routes: Sequence[Sequence[int]]) -> DispatchState:
        """The next epoch, after routes over open requests have left.

        Raises:
            InputError: a request is not open or named twice, one that must leave is left behind,
                or a route breaks a rule.
        """
        sent = [number for route in routes for number in route]
        if len(set(sent)) < len(sent) or not set(sent) <= set(state.open):
            raise InputError(f"routes name requests {sent}; accepted: open ones, each once")
        forgotten = sorted(self.known(state).must - set(sent))
        if forgotten:
            raise InputError(f"requests {forgotten} must leave in epoch {state.epoch}")
        cost, departure = 0.0, self.setting.departure(state.epoch)
        for route in routes:
            visits = [self.requests[number] for number in route]
            if not self.setting.route_is_kept(visits, departure):
                raise InputError(
                    f"route {list(route)} of epoch {state.epoch} is beyond the capacity, late or "
                    "back after the depot closes; accepted: routes that keep all three"
                )
            cost += self.setting.route_length(visits)
        epoch = state.epoch + 1
        left = tuple(n for n in state.open if n not in set(sent)) + self._new(epoch)
        done = tuple(tuple(route) for route in routes if route)
        return DispatchState(epoch, left, state.cost + cost, (*state.dispatched, done))


def days(one: Instance, scenarios: Scenarios) -> list[Day]:
    """The days of an instance (B = 1), one in each scenario.

    Raises:
        InputError: it is not of dvrptw, or has no key.
    """
    setting = Setting.of(one)
    drawn = draw_requests(one, setting.rules, scenarios)
    return [Day(setting, tuple(requests)) for requests in requests_by_scenario(drawn)]


def requests_by_scenario(drawn: Requests) -> Iterable[list[Request]]:
    """The requests of each scenario of one instance (B = 1), in the order in which they come in."""
    columns = drawn.place, drawn.demand, drawn.service, drawn.window, drawn.real
    for place, demand, service, window, real in zip(*(c[0] for c in columns), strict=True):
        values = (x[real].tolist() for x in (place, demand, service, window))
        epochs = real.nonzero()[:, 0].tolist()
        yield [
            Request(number, epoch, where, load, work, (early, late))
            for number, (epoch, where, load, work, (early, late)) in enumerate(
                zip(epochs, *values, strict=True)
            )
        ]
