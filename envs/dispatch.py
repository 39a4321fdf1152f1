"""Dispatching over the epochs of a day: which open requests leave now, and on which routes.

The state is immutable; a request that waits too long must leave. An unlimited fleet drives from
one depot; the cost is the length of all routes. Routes are judged by `nco.envs.checker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, duration_matrix
from nco.data.request_stream import DispatchRules, Requests, in_time
from nco.envs.checker import check_routes


@final
@dataclass(frozen=True)
class Request:
    """One of a day."""

    number: int
    """Its place in the day."""
    epoch: int
    """In which it came in."""
    place: int
    """The node of the static instance."""
    demand: float
    service: float
    window: tuple[float, float]


@final
@dataclass(frozen=True)
class Day:
    """One instance (B = 1) in one scenario: all that will be asked."""

    instance: Instance
    rules: DispatchRules
    requests: tuple[Request, ...]

    @classmethod
    def of(
        cls, instance: Instance, rules: DispatchRules, drawn: Requests, which: int, scenario: int
    ) -> Day:
        """The day of one instance of a batch in one of its scenarios."""
        requests = []
        for epoch, candidate in drawn.real[which, scenario].nonzero().tolist():
            at = which, scenario, epoch, candidate
            early, late = drawn.window[at].tolist()
            requests.append(
                Request(
                    number=len(requests),
                    epoch=epoch,
                    place=int(drawn.place[at]),
                    demand=float(drawn.demand[at]),
                    service=float(drawn.service[at]),
                    window=(early, late),
                )
            )
        return cls(instance[which : which + 1], rules, tuple(requests))

    def departure(self, epoch: int) -> float:
        """When routes leave that the epoch dispatches."""
        return self.rules.departure(float(self.instance.time_window[0, 0, 0]), epoch)

    def start(self) -> DispatchState:
        """The first epoch."""
        return DispatchState(0, tuple(r.number for r in self.requests if r.epoch == 0), 0.0, ())

    def must_leave(self, state: DispatchState) -> tuple[int, ...]:
        """The open requests that cannot be served if they wait for the next epoch; all of them in
        the last."""
        if state.epoch == self.rules.num_epochs - 1:
            return state.open
        later = torch.tensor(self.departure(state.epoch + 1), dtype=torch.float64)
        return tuple(n for n in state.open if not self._can_be_served(self.requests[n], later))

    def _can_be_served(self, request: Request, leaves: torch.Tensor) -> bool:
        time = duration_matrix(self.instance)[0].double()
        numbers = (*request.window, request.service, float(self.instance.time_window[0, 0, 1]))
        early, late, service, closes = torch.tensor(numbers, dtype=torch.float64)
        out, back = time[0, request.place], time[request.place, 0]
        return bool(in_time(leaves, out, back, early, late, service, closes))

    def routing_problem(self, chosen: Sequence[int], departure: float) -> Instance:
        """Node i + 1 is the i-th request chosen; routes leave the depot at ``departure`` or
        later."""
        asked = [self.requests[number] for number in chosen]
        nodes = [0, *(r.place for r in asked)]
        one = self.instance
        closes = float(one.time_window[0, 0, 1])
        return Instance.vrp(
            distance=distance_matrix(one)[0][nodes][:, nodes].double(),
            duration=duration_matrix(one)[0][nodes][:, nodes].double(),
            demand=[0.0, *(r.demand for r in asked)],
            service_time=[0.0, *(r.service for r in asked)],
            time_window=[(departure, closes), *(r.window for r in asked)],
            capacity=float(one.capacity),
        )

    def dispatch(self, state: DispatchState, routes: Sequence[Sequence[int]]) -> DispatchState:
        """The next epoch, after routes over open requests have left.

        Raises:
            InputError: a request is not open or named twice, one that must leave is left behind,
                or a route breaks a rule.
        """
        sent = [number for route in routes for number in route]
        if len(set(sent)) < len(sent) or not set(sent) <= set(state.open):
            raise InputError(f"routes name requests {sent}; accepted: open ones, each once")
        forgotten = sorted(set(self.must_leave(state)) - set(sent))
        if forgotten:
            raise InputError(f"requests {forgotten} must leave in epoch {state.epoch}")
        cost = self.route_cost(routes, self.departure(state.epoch))
        epoch = state.epoch + 1
        waiting = [n for n in state.open if n not in set(sent)]
        waiting += [r.number for r in self.requests if r.epoch == epoch]
        return DispatchState(epoch, tuple(waiting), state.cost + cost, (*state.sent, len(sent)))

    def route_cost(self, routes: Sequence[Sequence[int]], departure: float) -> float:
        """The length of routes that leave at ``departure`` or later.

        Raises:
            InputError: one breaks a rule.
        """
        sent = [number for route in routes for number in route]
        if not sent:
            return 0.0
        place = {number: i + 1 for i, number in enumerate(sent)}
        problem = self.routing_problem(sent, departure)
        report = check_routes(problem, [[place[n] for n in route] for route in routes])
        if not report.feasible:
            raise InputError(f"dispatched routes break a rule: {report.violations[0]}")
        return report.cost


@final
@dataclass(frozen=True)
class DispatchState:
    """What is known at the start of an epoch, and what was paid before."""

    epoch: int
    open: tuple[int, ...]
    cost: float
    sent: tuple[int, ...]
    """Requests dispatched in each epoch."""
