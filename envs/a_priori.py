"""Plans that are fixed before the uncertain part of the world is known.

What a plan may be is as in a problem where all is certain, and so are state, mask and step: only
its price differs, and what a policy may see.

Axes: B instances, S trajectories (plans) of each, N nodes, T steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.instance import Instance
from nco.envs.delegate import Delegate
from nco.envs.environment import Environment, NodeFeatures


class PlanPrice(ABC):
    """What plans cost as seen beforehand, and what tells why."""

    @property
    @abstractmethod
    def node_feature_names(self) -> tuple[str, ...]:
        """Columns of `node_features`; they mean nothing at a depot."""

    @abstractmethod
    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        """What a policy may see of the laws behind the nodes, without units."""

    @abstractmethod
    def certain(self, instance: Instance) -> Instance:
        """The instances without what this price knows: those whose rules plans keep.

        Raises:
            InputError: an instance lacks what the price needs.
        """

    @abstractmethod
    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        """The objective of complete plans, in the instance's units."""


@final
@dataclass(frozen=True)
class APriori(Delegate):
    """The rules of a certain problem with another price.

    Args:
        rules: of the certain problem.
        price: of its plans.
    """

    rules: Environment
    price: PlanPrice

    @property
    def followed(self) -> Environment:
        return self.rules

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return (*self.rules.node_feature_names, *self.price.node_feature_names)

    def require(self, instance: Instance) -> None:
        self.rules.require(self.price.certain(instance))

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        return self.price.cost(instance, actions)

    def node_features(self, instance: Instance) -> NodeFeatures:
        seen = self.rules.node_features(instance)
        more = self.price.node_features(instance).float()
        return NodeFeatures(
            values=torch.cat([seen.values, more], 2),
            attributes=seen.attributes,
            depot=seen.depot,
            valid=seen.valid,
        )
