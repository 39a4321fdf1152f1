"""Days of requests dispatched by a strategy, and what they come to by the independent judge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nco.baselines.dispatching import DayStrategy
from nco.baselines.solver import Budget, SolveFailed
from nco.data.errors import InputError, shortened
from nco.data.instance import Instance
from nco.data.noise import Scenarios, hash_words
from nco.envs.dispatch import Dispatches, days
from nco.envs.dispatch_checker import Epochs, check_days
from nco.scenario_results import ScenarioResult, ScenarioTestConfig

if TYPE_CHECKING:
    import matplotlib.figure

MOST_TOLD = 10
"""Violations in words; their number is told with the days that have some."""


@dataclass(frozen=True)
class Dispatched:
    """What a strategy did on each day of one instance."""

    days: list[Dispatches]
    seconds: float
    """Wall time of one day, the mean."""


@dataclass(frozen=True)
class DispatchedDays:
    """The same, judged."""

    instance: Instance
    """B = 1."""
    strategy: str
    test: ScenarioTestConfig
    """Names the days."""
    days: list[Dispatches]
    """Of each day the routes of each epoch, over requests by their numbers."""
    result: ScenarioResult
    """What the days come to by the independent judge: mean, CVaR95, requests, routes, ..."""
    seconds: float
    """Wall time of one day, the mean."""

    @property
    def cost(self) -> float:
        """The mean over the days."""
        return self.result.mean

    def plot(self, day: int = 0) -> matplotlib.figure.Figure:
        """A drawing of one day: a panel for each epoch, a colour for each route.

        Raises:
            InputError: the instance has no coordinates, or there is no such day.
        """
        from nco.day_plots import day_figure

        if not 0 <= day < len(self.days):
            raise InputError(f"day is {day}; accepted: 0 to {len(self.days) - 1}")
        return day_figure(self.instance, self.test.scenarios, day, self.days[day], self.strategy)


def judged_days(
    strategy: DayStrategy, one: Instance, test: ScenarioTestConfig, budget: Budget, seed: int
) -> DispatchedDays:
    """Dispatch the days of an instance (B = 1), and judge what was done.

    Raises:
        InputError: as `dispatch_days`.
        SolveFailed: no feasible routes were found, or a rule was broken.
    """
    done = dispatch_days(strategy, one, test.scenarios, budget, seed)
    found, broken = days_result(test, one, done.days)
    if broken:
        raise SolveFailed(f"{strategy.name} broke a rule: {shortened(broken)}")
    return DispatchedDays(one, strategy.name, test, done.days, found, done.seconds)


def dispatch_days(
    strategy: DayStrategy, one: Instance, scenarios: Scenarios, budget: Budget, seed: int
) -> Dispatched:
    """Let a strategy go through the days of an instance (B = 1).

    Raises:
        InputError: the instance is not of dvrptw, or the budget has no limit.
        SolveFailed: on some day no feasible routes were found.
    """
    drawn = days(one, scenarios)
    start = time.perf_counter()
    found = [
        strategy.dispatches(day, budget, hash_words(seed, number) % 2**31)
        for number, day in enumerate(drawn)
    ]
    return Dispatched(found, (time.perf_counter() - start) / len(drawn))


def days_result(
    test: ScenarioTestConfig, one: Instance, dispatched: Sequence[Epochs]
) -> tuple[ScenarioResult, list[str]]:
    """What the days come to, and the rules that they break, in words.

    Raises:
        InputError: there are more or fewer days than scenarios, or the instance is not of dvrptw.
    """
    reports = check_days(one, test.scenarios, dispatched)
    costs = torch.tensor([report.cost for report in reports], dtype=torch.float64)
    told = told_violations([report.violations for report in reports])
    result = ScenarioResult(
        mean=float(costs.mean()),
        cvar=float(test.objective.of(costs)),
        parts={"distance": float(costs.mean())},
        measures={
            "routes": _mean([report.routes for report in reports]),
            "requests": _mean([report.requests for report in reports]),
            "unserved": _mean([report.unserved for report in reports]),
            "late": _mean([report.late for report in reports]),
        },
        kept=sum(not report.violations for report in reports),
        count=len(reports),
    )
    return result, told


def told_violations(broken: Sequence[Sequence[str]]) -> list[str]:
    """The rules broken in each scenario in words, the first of them; none where none is."""
    told = [f"scenario {number}, {text}" for number, found in enumerate(broken) for text in found]
    if len(told) > MOST_TOLD:
        return [*told[:MOST_TOLD], f"{len(told) - MOST_TOLD} more violations"]
    return told


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
