"""Who leaves now: rules for dispatching requests over the epochs of a day, and hindsight.

Greedy, lazy and random are the baselines of the EURO meets NeurIPS 2022 competition; to let a
solver of prize-collecting routes choose among those that can wait is the form of its winner (Baty
et al. 2023, arXiv 2304.00789), here with one prize for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nco.baselines.pyvrp_solver import PyVRPSolver, Terms
from nco.baselines.solver import Budget, SolveFailed, Solver
from nco.data.errors import InputError
from nco.data.noise import hash_words
from nco.envs.dispatch import Day, DispatchState, Request

Routes = list[list[int]]


class Dispatcher(ABC):
    """Routes over open requests, epoch by epoch; it sees no request before it came in."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @abstractmethod
    def routes(self, day: Day, state: DispatchState, budget: Budget, seed: int) -> Routes:
        """What leaves now, all that must among it.

        Raises:
            SolveFailed: no feasible routes were found.
        """


def serve(day: Day, dispatcher: Dispatcher, budget: Budget, seed: int) -> DispatchState:
    """The whole day; the budget is of each epoch."""
    state = day.start()
    for epoch in range(day.rules.num_epochs):
        own_seed = hash_words(seed, epoch) % 2**31
        state = day.dispatch(state, dispatcher.routes(day, state, budget, own_seed))
    return state


class Choice(ABC):
    """Which of the requests that can wait leave all the same."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @abstractmethod
    def takes(self, request: Request, epoch: int, seed: int) -> bool:
        """Whether it leaves in this epoch."""


@final
@dataclass(frozen=True)
class Everyone(Choice):
    """All leave at once."""

    @property
    def name(self) -> str:
        return "greedy"

    def takes(self, request: Request, epoch: int, seed: int) -> bool:
        return True


@final
@dataclass(frozen=True)
class Nobody(Choice):
    """All wait as long as they can."""

    @property
    def name(self) -> str:
        return "lazy"

    def takes(self, request: Request, epoch: int, seed: int) -> bool:
        return False


@final
@dataclass(frozen=True)
class Chance(Choice):
    """Each leaves with this probability, every epoch anew.

    Raises:
        InputError: it is none.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}; accepted: a probability, 0 to 1")

    @property
    def name(self) -> str:
        return f"random {self.share:g}"

    def takes(self, request: Request, epoch: int, seed: int) -> bool:
        return hash_words(seed, request.number, epoch) < self.share * 2**64


@final
@dataclass(frozen=True)
class ChooseThenRoute(Dispatcher):
    """A choice, and a solver for the routes of those who leave."""

    choice: Choice
    solver: Solver

    @property
    def name(self) -> str:
        return f"{self.choice.name}, {self.solver.name}"

    def routes(self, day: Day, state: DispatchState, budget: Budget, seed: int) -> Routes:
        must = set(day.must_leave(state))
        sent = [
            number
            for number in state.open
            if number in must or self.choice.takes(day.requests[number], state.epoch, seed)
        ]
        if not sent:
            return []
        problem = day.routing_problem(sent, day.departure(state.epoch))
        solution = self.solver.solve(problem, budget, seed)[0]
        if not solution.feasible:
            raise SolveFailed(f"{self.name} failed: {solution.violations[0]}")
        return _numbered(sent, solution.routes)


@final
@dataclass(frozen=True)
class PrizeDispatch(Dispatcher):
    """PyVRP chooses: who must leave is required, everyone else is worth a prize.

    Args:
        prize: in units of length; 0 is lazy, and more than any route of one is greedy.
        solver: PyVRP.

    Raises:
        InputError: the prize is negative.
    """

    prize: float
    solver: PyVRPSolver

    def __post_init__(self) -> None:
        if not self.prize >= 0:
            raise InputError(f"prize is {self.prize}; accepted: at least 0")

    @property
    def name(self) -> str:
        return f"prize {self.prize:g}, {self.solver.name}"

    def routes(self, day: Day, state: DispatchState, budget: Budget, seed: int) -> Routes:
        if not state.open:
            return []
        must = set(day.must_leave(state))
        # for nothing, too, PyVRP would take along whoever lies on the way
        possible = [n for n in state.open if n in must or self.prize > 0]
        if not possible:
            return []
        departure = day.departure(state.epoch)
        problem = day.routing_problem(possible, departure)
        prizes = (None, *(None if n in must else self.prize for n in possible))
        terms = Terms(prizes, (0.0,) * len(prizes))
        return _numbered(possible, self.solver.solve_on_terms(problem, terms, budget, seed))


def hindsight(day: Day, budget: Budget, seed: int, solver: PyVRPSolver | None = None) -> Routes:
    """Routes over all requests of the day, known from its start; each route leaves when the last
    of its requests can. Not always better than a dispatcher's: it is much harder to find.

    Raises:
        SolveFailed: no feasible routes were found.
    """
    everyone = [request.number for request in day.requests]
    if not everyone:
        return []
    problem = day.routing_problem(everyone, day.departure(0))
    release = (0.0, *(day.departure(request.epoch) for request in day.requests))
    terms = Terms((None,) * len(release), release)
    found = (solver or PyVRPSolver()).solve_on_terms(problem, terms, budget, seed)
    return _numbered(everyone, found)


def hindsight_cost(day: Day, routes: Sequence[Sequence[int]]) -> float:
    """The length of routes over all requests, each leaving when the last of its requests can.

    Raises:
        InputError: a request is missing or named twice, or a route breaks a rule.
    """
    sent = sorted(number for route in routes for number in route)
    if sent != [request.number for request in day.requests]:
        raise InputError("the routes do not serve every request of the day once")
    return sum(
        day.route_cost([route], day.departure(max(day.requests[n].epoch for n in route)))
        for route in routes
    )


def _numbered(chosen: Sequence[int], routes: Sequence[Sequence[int]]) -> Routes:
    return [[chosen[node - 1] for node in route] for route in routes]
