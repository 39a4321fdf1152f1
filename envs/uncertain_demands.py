"""Plans whose demands are seen on arrival: their price by the exact mean, and their simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.demand_laws import certain_demands, demand_deviation, realised_demands
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.a_priori import PlanPrice
from nco.envs.recourse import expected_cost, recourse, require_recourse
from nco.envs.scenario_cost import Outcomes, ScenarioCost


def deviation_shares(instance: Instance) -> Float[Tensor, "batch node 1"]:
    """The standard deviations of demands as shares of the capacity."""
    return (demand_deviation(instance) / instance.capacity.unsqueeze(1)).unsqueeze(2)


@final
@dataclass(frozen=True)
class ExpectedRecourse(PlanPrice):
    """The exact mean of all that is driven; a policy sees the demands' standard deviations."""

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("demand_deviation",)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node 1"]:
        return deviation_shares(instance)

    def certain(self, instance: Instance) -> Instance:
        require_recourse(instance)
        return certain_demands(instance)

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        return expected_cost(instance, actions).to(instance.dtype)


@final
@dataclass(frozen=True)
class RecourseSimulation(ScenarioCost):
    """What is driven in scenarios by the best policy of `nco.envs.recourse`: the planned arcs, what
    turning back early adds to them, and the ways to the depot and back to a customer that was not
    served in full."""

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("travel", "restocking", "detours")

    @property
    def measure_names(self) -> tuple[str, ...]:
        return ("restockings", "failures", "routes")

    @property
    def failure_names(self) -> tuple[str, ...]:
        return ("failures",)

    def outcomes(
        self,
        instance: Instance,
        plans: Int[Tensor, "batch plan step"],
        scenarios: Scenarios,
    ) -> Outcomes:
        followed = recourse(instance, plans)
        walk = followed.walk
        demand = realised_demands(instance, scenarios).mT
        full = instance.capacity.long().view(-1, 1, 1)
        b, p, length = walk.nodes.shape
        shape = (b, p, scenarios.count)
        load = full.expand(shape)
        zero = torch.zeros(shape, dtype=torch.float64, device=load.device)
        travel, restocking, detours = zero, zero.clone(), zero.clone()
        restockings, failures, routes = zero.clone(), zero.clone(), zero.clone()
        for t in range(length - 1):
            node = walk.nodes[:, :, t + 1]
            arc, home, out = walk.arc[:, :, t], walk.home[:, :, t : t + 2], walk.out[:, :, t + 1]
            back = followed.turn_back[:, :, t].gather(2, load)
            extra = (home[:, :, 0] + out - arc).unsqueeze(2)
            restocking += extra * back
            restockings += back
            load = torch.where(back, full, load)
            asked = demand.gather(1, node.unsqueeze(2).expand(shape))
            load = load - asked
            failed = load < 0
            detours += (home[:, :, 1] + out).unsqueeze(2) * failed
            failures += failed
            at_depot = (node == 0).unsqueeze(2)
            load = torch.where(at_depot, full, torch.where(failed, load + full, load))
            travel = travel + arc.unsqueeze(2)
            routes += ((walk.nodes[:, :, t] == 0) & (node > 0)).unsqueeze(2)
        return Outcomes(
            torch.stack((travel, restocking, detours), 3),
            torch.stack((restockings, failures, routes), 3),
        )
