"""What stored plans come to in test scenarios: part of a record, and recomputed by `nco verify`."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor

from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.envs.objective import Objective
from nco.envs.plans import stacked
from nco.envs.scenario_cost import ScenarioCost, outcomes_in_parts
from nco.solver_config import Seed


class ScenarioTestConfig(BaseModel):
    """The scenarios that a suite's plans are judged by; no solver sees them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: PositiveInt = 1000
    """Of each instance."""
    seed: Seed = 0
    cvar: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The level of the CVaR that is reported."""

    @property
    def scenarios(self) -> Scenarios:
        """As the noise names them."""
        return Scenarios(Split.TEST, self.count, self.seed)

    @property
    def objective(self) -> Objective:
        """The one beside the mean."""
        return Objective(self.cvar)


class ScenarioResult(BaseModel):
    """What one plan came to, over the test scenarios of its instance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float
    cvar: float
    parts: dict[str, float]
    """Means; they add up to that of the cost."""
    measures: dict[str, float]
    """Means."""
    kept: int
    """Scenarios without a failure."""
    count: int
    """All scenarios."""

    def differences(self, true: ScenarioResult, tolerance: float) -> list[str]:
        """The figures that are not those of ``true``, in words."""
        ours, theirs = self.model_dump(), true.model_dump()
        pairs = [(name, ours[name], theirs[name]) for name in ("mean", "cvar", "kept", "count")]
        for name in ("parts", "measures"):
            names = sorted(ours[name].keys() | theirs[name].keys())
            pairs += [(n, ours[name].get(n), theirs[name].get(n)) for n in names]
        return [
            f"scenarios: {name} is {a}, recomputed {b}"
            for name, a, b in pairs
            if a is None or b is None or not math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12)
        ]


def scenario_result(
    simulation: ScenarioCost,
    test: ScenarioTestConfig,
    instance: Instance,
    routes: list[list[int]],
    depots: list[int] | None,
) -> ScenarioResult:
    """Simulate one plan of one instance (B = 1) on the test scenarios.

    Raises:
        InputError: the instance lacks what the simulation needs, or there is no route.
    """
    plans = stacked(instance, [(routes, depots)])
    found = outcomes_in_parts(simulation, instance, plans, test.scenarios)
    costs, parts, measures = found.cost[0, 0], found.parts[0, 0], found.measures[0, 0]
    failed = torch.zeros(test.count, dtype=torch.bool)
    for name in simulation.failure_names:
        failed |= measures[:, simulation.measure_names.index(name)] > 0
    return ScenarioResult(
        mean=float(costs.mean()),
        cvar=float(test.objective.of(costs)),
        parts=_means(simulation.part_names, parts),
        measures=_means(simulation.measure_names, measures),
        kept=int((~failed).sum()),
        count=test.count,
    )


def _means(names: tuple[str, ...], columns: Tensor) -> dict[str, float]:
    return dict(zip(names, columns.mean(0).tolist(), strict=True))
