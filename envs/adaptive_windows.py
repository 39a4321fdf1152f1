"""Routes that are decided on the way, where travel times are seen as they come.

Axes: B instances, S trajectories of each, N nodes, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

from jaxtyping import Float, Int
from torch import Tensor

from nco.data.instance import Instance
from nco.data.noise import Worlds, require_key
from nco.envs.adaptive import AdaptiveEnvironment, worlds
from nco.envs.delegate import Delegate
from nco.envs.environment import NodeFeatures
from nco.envs.loads import Load
from nco.envs.soft_time import SoftTime
from nco.envs.soft_windows import simulated
from nco.envs.stochastic_travel import Map, ScenarioRoads, require_traffic, shares_noise
from nco.envs.vrp import VRP


def soft_window_rules(resource: SoftTime, *, several_depots: bool) -> VRP:
    """Capacities, and a clock that forbids nothing."""
    return VRP((Load(), resource), several_depots=several_depots)


@final
@dataclass(frozen=True)
class AdaptiveSoftWindows(AdaptiveEnvironment, Delegate):
    """The vehicle decides where to go next by the clock where it stands, one route after the other.

    The cost is what the routes come to in the trajectory's own scenario, at the instance's prices.

    Args:
        several_depots: whether instances may have several depots.
    """

    several_depots: bool = False

    @cached_property
    def _rules(self) -> VRP:
        clock = SoftTime(self.scenarios)
        return soft_window_rules(clock, several_depots=self.several_depots)

    @property
    def followed(self) -> VRP:
        return self._rules

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return self.followed.node_feature_names

    def node_features(self, instance: Instance) -> NodeFeatures:
        return self.followed.node_features(instance)

    def require(self, instance: Instance) -> None:
        require_traffic(instance)
        require_key(instance)
        self.followed.require(instance)

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        number = worlds(self.scenarios.count, actions[:, :, 0]) + self.scenarios.first
        worlds_of_all = Worlds(self.scenarios, require_key(instance), number)
        roads = ScenarioRoads(
            Map.of(instance), worlds_of_all, instance.zone, shares_noise(instance)
        )
        found = simulated(roads, instance, actions.unsqueeze(2))
        return found.cost.squeeze(1).to(instance.dtype)
