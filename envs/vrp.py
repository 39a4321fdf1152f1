"""Vehicle routing over a tuple of resources: one environment, many variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import UNLIMITED, Instance, is_customer, is_depot
from nco.envs.environment import (
    Environment,
    NodeFeatures,
    Problem,
    State,
    path_length,
    unit_coordinates,
)
from nco.envs.resources import Load, Move, Resource


@final
@dataclass(frozen=True)
class VRP(Environment):
    """Routes from one depot that serve every customer once.

    An action is the next node; going to the depot ends a route and starts the next. A trajectory
    begins at the depot, may not stay there while a customer is feasible, and stays there once all
    are served.
    """

    resources: tuple[Resource, ...]

    @property
    def has_depot(self) -> bool:
        return True

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("x", "y", *(name for r in self.resources for name in r.node_feature_names))

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return ("x", "y")

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        return tuple(name for r in self.resources for name in r.feature_names)

    def require(self, instance: Instance) -> None:
        known_load = any(isinstance(r, Load) for r in self.resources)
        early, late = instance.time_window.unbind(2)
        windows = late.isfinite() | (early > 0)
        unknown = {
            "no depot (a TSP)": instance.num_depots == 0,
            "several depots": instance.num_depots > 1,
            "backhauls": (instance.backhaul > 0).any(1),
            "open routes": instance.open_route,
            "time windows": (windows & instance.valid).any(1),
            "a distance limit": instance.distance_limit.isfinite(),
            "a fleet limit": instance.num_vehicles < UNLIMITED,
            "a capacity": instance.capacity.isfinite() & (not known_load),
        }
        for what, present in unknown.items():
            if bool(present.any()):
                raise InputError(
                    f"the instance has {what}; this environment knows "
                    f"{', '.join(type(r).__name__.lower() for r in self.resources)}"
                )

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        b, n = instance.valid.shape
        s = num_trajectories
        problem = Problem(
            instance=instance,
            customer=is_customer(instance),
            padded=not bool(instance.valid.all()),
            tables=tuple(r.tables(instance) for r in self.resources),
        )
        depot = torch.zeros(b, s, dtype=torch.int64, device=instance.valid.device)
        used = tuple(
            r.initial(table).unsqueeze(1).expand(b, s)
            for r, table in zip(self.resources, problem.tables, strict=True)
        )
        unvisited = problem.customer.unsqueeze(1).expand(b, s, n)
        return State(
            problem=problem, current=depot, first=depot, unvisited=unvisited, used=used, steps=0
        )

    def _extended(
        self, state: State, move: Move
    ) -> tuple[Float[Tensor, "batch trajectory to"], ...]:
        return tuple(
            r.extend(table, used.unsqueeze(2), move)
            for r, table, used in zip(self.resources, state.problem.tables, state.used, strict=True)
        )

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        move = Move(origin=state.current)
        allowed = state.unvisited
        values = self._extended(state, move)
        for r, table, value in zip(self.resources, state.problem.tables, values, strict=True):
            allowed = allowed & r.within(table, value, move)
        if not self.resources:
            allowed = allowed.clone()
        # back to the depot from a customer, or to wait there once nothing is left
        nothing = allowed.sum(2) == 0
        torch.logical_or(state.current, nothing, out=allowed.select(2, 0))
        return allowed

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        values = self._extended(state, Move(origin=state.current, to=action))
        return State(
            problem=state.problem,
            current=action,
            first=state.first,
            unvisited=state.unvisited.scatter(2, action.unsqueeze(2), False),
            used=tuple(value.squeeze(2) for value in values),
            steps=state.steps + 1,
        )

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        # at the depot, node 0, with no customer left
        return (state.unvisited.sum(2) + state.current) == 0

    def max_steps(self, instance: Instance) -> int:
        # at worst every customer has a route of its own
        return 2 * (instance.num_nodes - 1)

    def min_steps(self, instance: Instance) -> int:
        # at best one route, with the way home
        return instance.num_nodes

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        ends = torch.zeros_like(actions[:, :, :1])
        return path_length(instance, torch.cat([ends, actions, ends], 2)).sum(2)

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory"]:
        turn = torch.arange(num_trajectories, device=instance.valid.device)
        customers = instance.valid.sum(1, keepdim=True) - instance.num_depots.unsqueeze(1)
        return turn % customers + instance.num_depots.unsqueeze(1)

    def num_starts(self, instance: Instance) -> int:
        return instance.num_nodes - 1

    def node_features(self, instance: Instance) -> NodeFeatures:
        columns = [unit_coordinates(instance), *(r.node_features(instance) for r in self.resources)]
        return NodeFeatures(
            values=torch.cat(columns, 2).float(), depot=is_depot(instance), valid=instance.valid
        )

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        columns = [
            r.features(table, used)
            for r, table, used in zip(self.resources, state.problem.tables, state.used, strict=True)
        ]
        if not columns:
            b, s = state.current.shape
            return torch.zeros(b, s, 0, device=state.current.device)
        return torch.cat(columns, 2).float() if len(columns) > 1 else columns[0].float()
