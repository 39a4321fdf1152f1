"""An environment that goes by the rules of another: the same states, masks and steps.

Axes: B instances, S trajectories of each, N nodes, T steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.instance import Instance
from nco.envs.environment import Environment, State


class Delegate(Environment, ABC):
    """What differs from the other's rules is left to say: cost, node features, what is refused."""

    @property
    @abstractmethod
    def followed(self) -> Environment:
        """The other."""

    @property
    def has_depot(self) -> bool:
        return self.followed.has_depot

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return self.followed.depot_feature_names

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        return self.followed.context_feature_names

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return self.followed.attribute_names

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        return self.followed.reset(instance, num_trajectories)

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        return self.followed.action_mask(state)

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        return self.followed.step(state, action)

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        return self.followed.done(state)

    def max_steps(self, instance: Instance) -> int:
        return self.followed.max_steps(instance)

    def min_steps(self, instance: Instance) -> int:
        return self.followed.min_steps(instance)

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory forced"]:
        return self.followed.start_actions(instance, num_trajectories)

    def num_starts(self, instance: Instance) -> int:
        return self.followed.num_starts(instance)

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        return self.followed.context_features(state)
