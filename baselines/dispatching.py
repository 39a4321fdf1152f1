"""Who leaves now: what dispatches requests over the epochs of a day, and the simplest choices.

Greedy, lazy and random are the baselines of the EURO meets NeurIPS 2022 competition. Strategies
that need routes to choose, and the routes of all, are in `nco.baselines.dispatch_routes`; what
sampled futures agree on is in `nco.baselines.consensus`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import final

from nco.baselines.solver import Budget
from nco.data.errors import InputError
from nco.data.noise import hash_words
from nco.envs.dispatch import Day, Dispatches, DispatchState, Epoch, Routes


class DayStrategy(ABC):
    """Dispatches the requests of whole days."""

    knows_all = False
    """Whether it is told what will be asked: then it is no strategy that could be used, and a
    figure to compare with."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @abstractmethod
    def dispatches(self, day: Day, budget: Budget, seed: int) -> Dispatches:
        """The routes of every epoch.

        Raises:
            SolveFailed: no feasible routes were found.
        """


class Dispatcher(DayStrategy):
    """Routes over open requests, epoch by epoch; it sees no request before it came in.

    The budget is of each epoch.
    """

    @abstractmethod
    def routes(self, epoch: Epoch, budget: Budget, seed: int) -> Routes:
        """What leaves now, all that must among it.

        Raises:
            SolveFailed: no feasible routes were found.
        """

    @final
    def dispatches(self, day: Day, budget: Budget, seed: int) -> Dispatches:
        return serve(day, self, budget, seed).dispatched


def serve(day: Day, dispatcher: Dispatcher, budget: Budget, seed: int) -> DispatchState:
    """The whole day; the budget is of each epoch."""
    state = day.start()
    for epoch in range(day.setting.rules.num_epochs):
        own_seed = hash_words(seed, epoch) % 2**31
        state = day.dispatch(state, dispatcher.routes(day.known(state), budget, own_seed))
    return state


class Choice(ABC):
    """Which of the requests that can wait leave all the same."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As it stands in tables."""

    @abstractmethod
    def leaves(self, epoch: Epoch, seed: int) -> Collection[int]:
        """The numbers of those that leave now, among ``epoch.free``."""


@final
@dataclass(frozen=True)
class Everyone(Choice):
    """All leave at once."""

    @property
    def name(self) -> str:
        return "greedy"

    def leaves(self, epoch: Epoch, seed: int) -> Collection[int]:
        return [request.number for request in epoch.free]


@final
@dataclass(frozen=True)
class Nobody(Choice):
    """All wait as long as they can."""

    @property
    def name(self) -> str:
        return "lazy"

    def leaves(self, epoch: Epoch, seed: int) -> Collection[int]:
        return ()


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

    def leaves(self, epoch: Epoch, seed: int) -> Collection[int]:
        most = self.share * 2**64
        numbers = [request.number for request in epoch.free]
        return [n for n in numbers if hash_words(seed, n, epoch.number) < most]
