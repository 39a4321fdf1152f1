"""Strategies for days of requests whose routes PyVRP makes.

To let a solver of prize-collecting routes choose among the requests that can wait is the form of
the competition's winner (Baty et al. 2023, arXiv 2304.00789), here with one prize for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nco.baselines.dispatching import Choice, DayStrategy, Dispatcher
from nco.baselines.pyvrp_solver import Terms, solve_here
from nco.baselines.solver import Budget
from nco.data.errors import InputError
from nco.envs.dispatch import Day, Dispatches, Epoch, Request, Routes, Setting


@final
@dataclass(frozen=True)
class ChooseThenRoute(Dispatcher):
    """A choice, and PyVRP for the routes of those who leave."""

    choice: Choice

    @property
    def name(self) -> str:
        return self.choice.name

    def routes(self, epoch: Epoch, budget: Budget, seed: int) -> Routes:
        chosen = {*epoch.must, *self.choice.leaves(epoch, seed)}
        sent = [request for request in epoch.open if request.number in chosen]
        return routes_now(epoch.setting, sent, epoch.departure, budget, seed)


@final
@dataclass(frozen=True)
class PrizeDispatch(Dispatcher):
    """PyVRP chooses: who must leave is required, everyone else is worth a prize.

    Args:
        prize: in units of length; 0 is lazy, and more than any route of one is greedy.

    Raises:
        InputError: the prize is negative.
    """

    prize: float

    def __post_init__(self) -> None:
        if not self.prize >= 0:
            raise InputError(f"prize is {self.prize}; accepted: at least 0")

    @property
    def name(self) -> str:
        return f"prize {self.prize:g}"

    def routes(self, epoch: Epoch, budget: Budget, seed: int) -> Routes:
        # for nothing, too, PyVRP would take along whoever lies on the way
        possible = [r for r in epoch.open if r.number in epoch.must or self.prize > 0]
        if not possible:
            return []
        prizes = [None if r.number in epoch.must else self.prize for r in possible]
        return solved(epoch.setting, possible, epoch.departure, budget, seed, prizes=prizes)


@final
@dataclass(frozen=True)
class Hindsight(DayStrategy):
    """Routes over all requests of the day, known from its start; each route leaves when the last
    of its requests can. Not always better than a dispatcher's: it is much harder to find. The
    budget is of the whole day."""

    knows_all = True

    @property
    def name(self) -> str:
        return "hindsight"

    def dispatches(self, day: Day, budget: Budget, seed: int) -> Dispatches:
        setting, epochs = day.setting, day.setting.rules.num_epochs
        found: list[list[tuple[int, ...]]] = [[] for _ in range(epochs)]
        if day.requests:
            release = [setting.departure(request.epoch) for request in day.requests]
            first = setting.departure(0)
            for route in solved(setting, day.requests, first, budget, seed, release=release):
                found[max(day.requests[n].epoch for n in route)].append(tuple(route))
        return tuple(map(tuple, found))


def routes_now(
    setting: Setting, sent: Sequence[Request], departure: float, budget: Budget, seed: int
) -> Routes:
    """Routes over requests that all leave.

    Raises:
        SolveFailed: no feasible routes were found.
    """
    if len(sent) < 2:
        return [[request.number] for request in sent]
    return solved(setting, sent, departure, budget, seed)


def solved(
    setting: Setting,
    requests: Sequence[Request],
    departure: float,
    budget: Budget,
    seed: int,
    *,
    prizes: Sequence[float | None] | None = None,
    release: Sequence[float] | None = None,
) -> Routes:
    """PyVRP's routes over some requests, by their numbers.

    Args:
        departure: before which no route leaves.
        prizes: of each request: what it is worth to serve it, None where it must be.
        release: of each request: its route leaves no sooner.

    Raises:
        SolveFailed: no feasible routes were found.
    """
    count = len(requests)
    terms = Terms((None, *(prizes or (None,) * count)), (0.0, *(release or (0.0,) * count)))
    problem = setting.routing_problem(requests, departure)
    found = solve_here(problem, terms, budget, seed)
    return [[requests[node - 1].number for node in route] for route in found]
