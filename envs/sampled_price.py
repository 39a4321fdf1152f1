"""The price of plans by simulation, for training and selection without a closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.a_priori import PlanPrice
from nco.envs.objective import Objective
from nco.envs.scenario_cost import ScenarioCost, outcomes_in_parts


@final
@dataclass(frozen=True)
class SampledPrice(PlanPrice):
    """The objective over scenarios that all plans of an instance share (common random numbers).

    A policy sees no more than under the problem's own price: its laws, and no scenario. Compared
    with the mean over an instance's plans this price gives the advantage within each scenario,
    averaged over scenarios, since the mean over plans and that over scenarios may change places.

    Args:
        price: the problem's own.
        simulation: of plans.
        scenarios: named by the instances' keys, so fresh instances meet fresh ones.
        objective: over the scenarios.
    """

    price: PlanPrice
    simulation: ScenarioCost
    scenarios: Scenarios
    objective: Objective

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return self.price.node_feature_names

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return self.price.node_features(instance)

    def certain(self, instance: Instance) -> Instance:
        return self.price.certain(instance)

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        found = outcomes_in_parts(self.simulation, instance, actions, self.scenarios)
        return self.objective.of(found.cost).to(instance.dtype)
