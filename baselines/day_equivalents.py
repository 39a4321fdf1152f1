"""Days with traffic and soft windows as certain problems with hard windows, for solvers of those.

Arcs cost their mean travel time at its price, and half of a route's price where they touch a depot.
Their duration is the mean or a quantile of the travel time. Windows are kept, or closed earlier by
a buffer; where that or the times would leave a customer that no route of its own can serve, the
window and the depots close as late as it takes. A solver that can price time sees what waiting
costs (all time on duty is at its price then, and the way itself at what it costs more); others
do not.

Quantiles of arcs add up to more than the quantile of a route, so how high a level does best is a
matter of trying (on selection scenarios).
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nco.baselines.equivalents import Equivalent
from nco.baselines.solver import Budget, PricesTime, SolveFailed, Solver
from nco.baselines.workers import Routes
from nco.data.batching import replace, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer, is_depot
from nco.data.prices import PRICES
from nco.data.solution import Solution
from nco.envs.adaptive_windows import soft_window_rules
from nco.envs.checker import evaluate
from nco.envs.soft_time import SoftTime
from nco.envs.stochastic_travel import (
    day_clocks,
    matrices,
    mean_matrix,
    quantile_matrix,
    require_traffic,
)

DEPARTURES = 16
"""Of the day, over which times are averaged where departures are not known."""
MEAN = 0.0
"""The level of mean travel times."""

Matrix = Float[Tensor, "batch from to"]


@final
@dataclass(frozen=True)
class HardWindows(Equivalent):
    """The certain problem of a level.

    Args:
        level: a quantile of travel times above 0 and below 1, or `MEAN`.
        buffer: minutes by which windows close earlier.

    Raises:
        InputError: a value is out of range.
    """

    level: float = MEAN
    buffer: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.level < 1:
            raise InputError(f"level is {self.level}; accepted: 0 (the mean) or a quantile below 1")
        if not self.buffer >= 0:
            raise InputError(f"buffer is {self.buffer}; accepted: minutes, at least 0")

    @property
    def name(self) -> str:
        """With its level, as it stands in tables."""
        level = f"quantile {self.level:g}" if self.level else "mean times"
        return level + (f", {self.buffer:g} min earlier" if self.buffer else "")

    def certain(
        self, instance: Instance, clock: Matrix | None = None, time_price: float = 0.0
    ) -> Instance:
        """The problem, in the dtype of the instance.

        Args:
            clock: when each arc is begun; by default times are averaged over the day.
            time_price: what the solver counts for a minute on duty, so that arcs cost less.

        Raises:
            InputError: the instance has no traffic.
        """
        require_traffic(instance)
        clocks = day_clocks(instance, DEPARTURES) if clock is None else [clock]
        mean = torch.stack([mean_matrix(instance, c) for c in clocks]).mean(0)
        duration = mean
        if self.level:
            duration = torch.stack([quantile_matrix(instance, c, self.level) for c in clocks])
            duration = duration.mean(0)
        window = _within_reach(instance, duration, self.buffer)
        return replace(
            instance,
            {
                "distance": _priced(instance, mean, time_price).to(instance.dtype),
                "duration": duration.to(instance.dtype),
                "time_window": window.to(instance.dtype),
                "rounding": torch.zeros_like(instance.rounding),
                "traffic": None,
                "prices": None,
                "zone": None,
                "kind": None,
            },
        )

    def plan(self, instance: Instance, found: Routes) -> Routes:
        """The same routes."""
        return found


def _priced(instance: Instance, mean: Matrix, time_price: float) -> Matrix:
    """What arcs cost: a closed route touches its depot twice."""
    assert instance.prices is not None  # given together with the traffic
    price = dict(zip(PRICES, instance.prices.double().T.view(len(PRICES), -1, 1, 1), strict=True))
    depot = is_depot(instance)
    touches = depot.unsqueeze(1) ^ depot.unsqueeze(2)
    return (price["travel"] - time_price).clamp(min=0) * mean + 0.5 * price["route"] * touches


def _waiting_price(one: Instance) -> float:
    """As far as a way costs more: what all time on duty can be counted at."""
    require_traffic(one)
    assert one.prices is not None  # given together with the traffic
    price = dict(zip(PRICES, one.prices[0].tolist(), strict=True))
    return min(price["waiting"], price["travel"])


def _within_reach(
    instance: Instance, duration: Matrix, buffer: float
) -> Float[Tensor, "batch node 2"]:
    """Windows that every customer's own route from its quickest depot keeps."""
    early, late = instance.time_window.double().unbind(2)
    depot, customer = is_depot(instance), is_customer(instance)
    # what a solver adds up in its own order, and in this dtype, may be later by rounding
    slack = 1 + 1e-5
    from_depot = (early.unsqueeze(2) + duration).masked_fill(~depot.unsqueeze(2), torch.inf)
    arrival, home = from_depot.min(1)
    closes = torch.maximum(torch.maximum(late - buffer, early), arrival * slack)
    leaves = torch.maximum(arrival, early) + instance.service_time.double()
    way_back = duration.gather(2, home.unsqueeze(2)).squeeze(2)
    back = ((leaves + way_back) * slack).masked_fill(~customer, 0).amax(1, keepdim=True)
    return torch.stack((early, torch.where(depot, torch.maximum(late, back), closes)), 2)


@final
@dataclass(frozen=True)
class DaySolver:
    """A solver of hard windows on a certain problem, and again on one whose travel times are those
    at the departures of the routes found before. The best by the checker's cost is kept.

    Args:
        solver: of certain problems.
        equivalent: which problem.
        passes: how often it is solved; a time limit is shared out among them, an iteration limit
            holds for each.

    Raises:
        InputError: there is no pass.
    """

    solver: Solver
    equivalent: HardWindows = HardWindows()
    passes: int = 1

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise InputError(f"passes is {self.passes}; accepted: at least 1")

    @property
    def name(self) -> str:
        """As it stands in tables."""
        again = f", {self.passes} passes" if self.passes > 1 else ""
        return f"{self.solver.name}, {self.equivalent.name}{again}"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`.

        Raises:
            SolveFailed: a pass found no feasible routes.
        """
        return [min(self.plans(one, budget, seed), key=_cost) for one in unbatch(instance)]

    def plans(self, one: Instance, budget: Budget, seed: int) -> list[Solution]:
        """What each pass found for one instance; the seconds are of all passes up to it."""
        limit = budget.time_limit
        each = Budget(None if limit is None else limit / self.passes, budget.iterations)
        solver, price = self.solver, 0.0
        if isinstance(solver, PricesTime):
            price = _waiting_price(one)
            solver = solver.pricing_time(price)
        clock, seconds, found = None, 0.0, []
        for _ in range(self.passes):
            began = time.perf_counter()
            certain = self.equivalent.certain(one, clock, price)
            seconds += time.perf_counter() - began
            solution = solver.solve(certain, each, seed)[0]
            seconds += solution.seconds
            if not solution.feasible:
                raise SolveFailed(f"{self.name} failed: {solution.violations[0]}")
            plan = evaluate(
                one, solution.routes, solver=self.name, seconds=seconds, depots=solution.depots
            )
            if not plan.feasible:
                raise SolveFailed(f"{self.name} made an infeasible plan: {plan.violations[0]}")
            found.append(plan)
            clock = departures(one, plan)
        return found


def _cost(solution: Solution) -> float:
    return solution.cost


def departures(one: Instance, solution: Solution) -> Matrix:
    """When arcs from each node would be begun, by the plan's clock under mean travel times; those
    from a depot in time for the window at their end."""
    early = one.time_window[:, :, 0].double()
    free = matrices(one)[1]
    opens = early.unsqueeze(2)
    clock = torch.maximum(opens, early.unsqueeze(1) - free)
    rules = soft_window_rules(SoftTime(), several_depots=True)
    state = rules.reset(one, 1)
    routes = zip(solution.depots, solution.routes, strict=True)
    for node in itertools.chain.from_iterable((depot, *route) for depot, route in routes):
        state = rules.step(state, torch.tensor([[node]]))
        if node >= int(one.num_depots):
            start = state.used[1][0][0, 0]
            clock[0, node] = start + float(one.service_time[0, node])
    return clock
