"""What was driven where a vehicle decides on the way, by the independent judge."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from nco.baselines.solver import Budget
from nco.baselines.walkers import Walker, Walks
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.day_results import told_violations
from nco.envs.walk_checker import check_walks
from nco.scenario_results import ScenarioResult, ScenarioTestConfig


@dataclass(frozen=True)
class Walked:
    """What a walker did in the worlds of one instance."""

    walks: Walks
    """As short as they can be told: without staying where they are, and the last way home."""
    seconds: float
    """Wall time of what was prepared, and of one world, the mean."""
    plan_scenarios: int


def walk_through(
    walker: Walker, one: Instance, worlds: Scenarios, budget: Budget, seed: int
) -> Walked:
    """Prepare for an instance (B = 1), and go through its worlds.

    Raises:
        InputError: the instance is not of the walker's problem.
        SolveFailed: no plan was found.
    """
    follower = walker.prepared(one, budget, seed)
    begun = time.perf_counter()
    walks = follower.walks(worlds)
    each = (time.perf_counter() - begun) / worlds.count
    depots = int(one.num_depots[0])
    shortest = [_without_staying(walk, depots) for walk in walks]
    return Walked(shortest, follower.preparation + each, follower.plan_scenarios)


def _without_staying(walk: list[int], depots: int) -> list[int]:
    end = len(walk)
    while end and walk[end - 1] < depots:
        end -= 1
    moves = enumerate(walk[:end])
    return [node for i, node in moves if node >= depots or i == 0 or node != walk[i - 1]]


def walks_result(
    test: ScenarioTestConfig, one: Instance, walks: Walks
) -> tuple[ScenarioResult | None, list[str]]:
    """What the walks come to, None where rules are broken; and those, in words.

    Raises:
        InputError: there are more or fewer walks than scenarios, or the instance has no noise that
            is seen on the way.
    """
    reports = list(check_walks(one, test.scenarios, walks))
    told = told_violations([report.violations for report in reports])
    if told:
        return None, told
    costs = torch.tensor([report.cost for report in reports], dtype=torch.float64)
    result = ScenarioResult(
        mean=float(costs.mean()),
        cvar=float(test.objective.of(costs)),
        parts=_means([report.parts for report in reports]),
        measures=_means([report.measures for report in reports]),
        kept=sum(not report.failed for report in reports),
        count=len(reports),
    )
    return result, []


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
