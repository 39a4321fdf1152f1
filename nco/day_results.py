"""Days of requests dispatched by a strategy, and what they come to by the independent judge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from nco.baselines.dispatching import DayStrategy
from nco.baselines.solver import Budget
from nco.data.instance import Instance
from nco.data.noise import Scenarios, hash_words
from nco.envs.dispatch import Dispatches, days
from nco.envs.dispatch_checker import Epochs, check_days
from nco.scenario_results import ScenarioResult, ScenarioTestConfig

MOST_TOLD = 10
"""Violations in words; their number is told with the days that have some."""


@dataclass(frozen=True)
class Dispatched:
    """What a strategy did on each day of one instance."""

    days: list[Dispatches]
    seconds: float
    """Wall time of one day, the mean."""


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
