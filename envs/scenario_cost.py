"""What plans cost where some of the world is not known beforehand: the contract of a simulation.

Axes: B instances, P plans of each, S scenarios, T steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.environment import Environment


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What plans came to in scenarios, float64."""

    parts: Float[Tensor, "batch plan scenario part"]
    """Priced: the cost is their sum. The columns of `ScenarioCost.part_names`."""
    measures: Float[Tensor, "batch plan scenario measure"]
    """Not priced, in their own units. The columns of `ScenarioCost.measure_names`."""

    @property
    def cost(self) -> Float[Tensor, "batch plan scenario"]:
        """In the instance's units."""
        return self.parts.sum(3)


class ScenarioCost(ABC):
    """The price of plans, each of which is followed in every scenario by a stated rule."""

    @property
    @abstractmethod
    def part_names(self) -> tuple[str, ...]:
        """Of what is priced: travel, waiting, lateness, ..."""

    @property
    @abstractmethod
    def measure_names(self) -> tuple[str, ...]:
        """Of what is counted beside: late customers, routes, ..."""

    @property
    def failure_names(self) -> tuple[str, ...]:
        """The measures of which any above 0 makes a scenario a failure: a customer late or
        unserved, ...; none where plans always work out."""
        return ()

    @property
    def whole_plan_parts(self) -> tuple[str, ...]:
        """The parts that are asked of a whole plan and not of its routes, customers left out; all
        others are sums over routes."""
        return ()

    @abstractmethod
    def outcomes(
        self,
        instance: Instance,
        plans: Int[Tensor, "batch plan step"],
        scenarios: Scenarios,
    ) -> Outcomes:
        """Every plan in every scenario of its instance, all at once.

        Args:
            plans: actions as the problem's `Environment` takes them, routes parted by depots and
                padded by staying at the depot.

        Raises:
            InputError: the instance has no key, or lacks what the problem needs.
        """


def outcomes_in_parts(
    simulation: ScenarioCost,
    instance: Instance,
    plans: Int[Tensor, "batch plan step"],
    scenarios: Scenarios,
    most: int = 2**22,
) -> Outcomes:
    """The same, a part of the scenarios at a time, so that B · P · S · T numbers of each part are
    about ``most`` at the most."""
    each = max(1, plans.numel())
    parts = scenarios.parts(max(1, most // each))
    found = [simulation.outcomes(instance, plans, part) for part in parts]
    return Outcomes(
        torch.cat([part.parts for part in found], 2),
        torch.cat([part.measures for part in found], 2),
    )


@final
@dataclass(frozen=True)
class CertainCost(ScenarioCost):
    """The price of plans where all is known: in every scenario the environment's own cost."""

    env: Environment

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("cost",)

    @property
    def measure_names(self) -> tuple[str, ...]:
        return ()

    def outcomes(
        self,
        instance: Instance,
        plans: Int[Tensor, "batch plan step"],
        scenarios: Scenarios,
    ) -> Outcomes:
        cost = self.env.cost(instance, plans).double()
        parts = cost[:, :, None, None].expand(-1, -1, scenarios.count, 1)
        return Outcomes(parts, parts[..., :0])
