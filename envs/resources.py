"""What a partial route carries: one class a constraint, one extension function each.

A resource's value after going to a node is written once, in `extend`, so that ``to`` may be one
node of each trajectory or all nodes at once; stepping and masking call the same line and cannot
disagree (resource extension functions: Irnich and Desaulniers 2005,
doi:10.1007/0-387-25486-2_2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.instance import Instance

LOAD_SLACK = 5e-7
"""Of the capacity: what rounding in float32 may add to a sum of demands. Half of the checker's
tolerance, so that whatever the mask allows the checker accepts."""


@dataclass(frozen=True, slots=True)
class Move:
    """Going from each trajectory's node to one node (``to`` [B, S]) or to all (``to`` None)."""

    origin: Int[Tensor, "batch trajectory"]
    to: Int[Tensor, "batch trajectory"] | None = None

    def node(self, values: Float[Tensor, "batch node"]) -> Float[Tensor, "batch #trajectory to"]:
        """A per-node value at the destinations: [B, S, 1] for one, [B, 1, N] for all."""
        if self.to is None:
            return values.unsqueeze(1)
        return values.gather(1, self.to).unsqueeze(2)


class Resource(ABC):
    """One constraint, or one accumulated quantity, of a vehicle's route."""

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns that `features` returns."""

    @property
    @abstractmethod
    def node_feature_names(self) -> tuple[str, ...]:
        """Names of the columns that `node_features` returns."""

    @abstractmethod
    def tables(self, instance: Instance) -> tuple[Tensor, ...]:
        """What `extend` and `within` read, computed once an episode, each [B] or [B, N]."""

    @abstractmethod
    def initial(self, tables: tuple[Tensor, ...]) -> Float[Tensor, "batch"]:
        """The value on leaving the depot."""

    @abstractmethod
    def extend(
        self,
        tables: tuple[Tensor, ...],
        used: Float[Tensor, "batch trajectory 1"],
        move: Move,
    ) -> Float[Tensor, "batch trajectory to"]:
        """The value after the move; at a depot the initial one."""

    @abstractmethod
    def within(
        self, tables: tuple[Tensor, ...], value: Float[Tensor, "batch trajectory to"], move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        """Whether a value reached by the move keeps the constraint."""

    @abstractmethod
    def features(
        self, tables: tuple[Tensor, ...], used: Float[Tensor, "batch trajectory"]
    ) -> Float[Tensor, "batch trajectory feature"]:
        """What a policy may see of the value, without units."""

    @abstractmethod
    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        """What a policy may see of the nodes' attributes, without units."""


@dataclass(frozen=True)
class Load(Resource):
    """Goods delivered since the depot; at most the capacity.

    Args:
        slack: of the capacity, for the rounding of sums. With 0 and demands given as fractions in
            float32 the rule is that of Kool et al.'s published code, which forbids some loads
            that are exactly full.
    """

    slack: float = LOAD_SLACK

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("remaining_capacity",)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("linehaul",)

    def tables(self, instance: Instance) -> tuple[Tensor, ...]:
        # -inf at depots: adding it and clamping at 0 empties the vehicle without a branch
        index = torch.arange(instance.num_nodes, device=instance.valid.device)
        at_depot = index < instance.num_depots.unsqueeze(1)
        demand = instance.linehaul.masked_fill(at_depot, -torch.inf)
        return demand, instance.capacity * (1 + self.slack), instance.capacity

    def initial(self, tables: tuple[Tensor, ...]) -> Float[Tensor, "batch"]:
        return torch.zeros_like(tables[1])

    def extend(
        self,
        tables: tuple[Tensor, ...],
        used: Float[Tensor, "batch trajectory 1"],
        move: Move,
    ) -> Float[Tensor, "batch trajectory to"]:
        return (used + move.node(tables[0])).clamp_(min=0)

    def within(
        self, tables: tuple[Tensor, ...], value: Float[Tensor, "batch trajectory to"], move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        return value <= tables[1].view(-1, 1, 1)

    def features(
        self, tables: tuple[Tensor, ...], used: Float[Tensor, "batch trajectory"]
    ) -> Float[Tensor, "batch trajectory feature"]:
        capacity = tables[2].unsqueeze(1)
        # an unlimited vehicle is always empty: 1 - used / inf
        return (1 - used / capacity).unsqueeze(2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return (instance.linehaul / instance.capacity.unsqueeze(1)).unsqueeze(2)
