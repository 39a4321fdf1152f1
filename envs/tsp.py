"""The travelling salesman problem, symmetric or not: visit all nodes once and return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import UNCERTAIN_CUSTOMERS, attribute_bits, attributes_by_name
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.environment import (
    COORDINATES,
    Environment,
    NodeFeatures,
    Problem,
    State,
    coordinate_columns,
    path_length,
)


@final
@dataclass(frozen=True)
class TSP(Environment):
    """A closed tour through all nodes; the first action is the first node.

    A finished tour stays where it ended, at no cost, until the last of its batch is finished.
    """

    @property
    def has_depot(self) -> bool:
        return False

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return COORDINATES

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return ()

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        return ()

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return ()

    def require(self, instance: Instance) -> None:
        if bool((instance.num_depots != 0).any()):
            raise InputError("the instance has a depot; a TSP environment takes instances without")
        if bool(attributes_by_name(instance)[UNCERTAIN_CUSTOMERS].any()):
            raise InputError(f"the instance has {UNCERTAIN_CUSTOMERS}; accepted by ptsp, not tsp")

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        b, n = instance.valid.shape
        number = instance.valid.sum(1, keepdim=True)
        zero = torch.zeros(b, num_trajectories, dtype=torch.int64, device=instance.valid.device)
        problem = Problem(
            instance=instance,
            customer=instance.valid,
            num_customers=number,
            num_depots=instance.num_depots.unsqueeze(1),
            dtype=instance.dtype,
            tables=(),
            padded=bool((number < n).any()),
        )
        unvisited = instance.valid.unsqueeze(1).expand(b, num_trajectories, n)
        return State(
            problem=problem,
            current=zero,
            first=zero,
            unvisited=unvisited,
            visits=zero,
            used=(),
            steps=0,
        )

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        n = state.unvisited.shape[2]
        if state.steps == 0 or (state.steps < n and not state.problem.padded):
            return state.unvisited
        return state.unvisited.scatter(2, state.current.unsqueeze(2), self.done(state).unsqueeze(2))

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        return State(
            problem=state.problem,
            current=action,
            first=action if state.steps == 0 else state.first,
            unvisited=state.unvisited.scatter(2, action.unsqueeze(2), False),
            visits=state.visits + 1,
            used=(),
            steps=state.steps + 1,
        )

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        return state.visits >= state.problem.num_customers

    def max_steps(self, instance: Instance) -> int:
        return instance.num_nodes

    def min_steps(self, instance: Instance) -> int:
        return instance.num_nodes

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        return path_length(instance, torch.cat([actions, actions[:, :, :1]], 2)).sum(2)

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory 1"]:
        turn = torch.arange(num_trajectories, device=instance.valid.device)
        return (turn % instance.valid.sum(1, keepdim=True)).unsqueeze(2)

    def num_starts(self, instance: Instance) -> int:
        return instance.num_nodes

    def node_features(self, instance: Instance) -> NodeFeatures:
        return NodeFeatures(
            values=coordinate_columns(instance).float(),
            attributes=attribute_bits(instance, self.attribute_names).float(),
            depot=torch.zeros_like(instance.valid),
            valid=instance.valid,
        )

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        b, s = state.current.shape
        return torch.zeros(b, s, 0, device=state.current.device)
