"""The prize-collecting TSP (Balas 1989, doi:10.1002/net.3230190602), with prizes known beforehand
or seen on visiting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import PRIZES, attribute_bits, attributes_by_name
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer, is_depot
from nco.data.noise import require_key
from nco.data.prize_instances import realised_prizes, require_prizes
from nco.envs.adaptive import AdaptiveEnvironment, found, worlds
from nco.envs.environment import (
    COORDINATES,
    Environment,
    NodeFeatures,
    Problem,
    State,
    coordinate_columns,
    path_length,
    unit_length,
)
from nco.envs.resources import SLACK, precise_zeros


class PrizeCollecting(Environment, ABC):
    """One tour from the depot that collects enough prizes; customers left out cost their penalty.

    An action is the next node. Going to the depot ends the tour and is allowed once ``min_prize``
    is collected, or all customers are visited. A finished tour stays at the depot, at no cost.
    The cost is the tour's length and the penalties of all customers that were not visited.
    """

    @abstractmethod
    def _prizes(self, instance: Instance) -> Float[Tensor, "batch world node"]:
        """What is found at the nodes in each world."""

    @property
    def has_depot(self) -> bool:
        return True

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return (*COORDINATES, "prize", "penalty")

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return COORDINATES

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        return ("remaining_prize",)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return ()

    def require(self, instance: Instance) -> None:
        require_prizes(instance)
        for what, present in attributes_by_name(instance).items():
            if what != PRIZES and bool(present.any()):
                raise InputError(f"the instance has {what}; this environment knows {PRIZES}")

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        customer = is_customer(instance)
        b, n = customer.shape
        depot = torch.zeros(b, num_trajectories, dtype=torch.int64, device=customer.device)
        prizes = self._prizes(instance)
        problem = Problem(
            instance=instance,
            customer=customer,
            num_customers=customer.sum(1, keepdim=True),
            num_depots=instance.num_depots.unsqueeze(1),
            dtype=instance.dtype,
            tables=((prizes, _min_prize(instance)),),
        )
        return State(
            problem=problem,
            current=depot,
            first=depot,
            unvisited=customer.unsqueeze(1).expand(b, num_trajectories, n),
            visits=depot,
            used=((precise_zeros(depot), worlds(prizes.shape[1], depot)),),
            steps=0,
        )

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        home = self.done(state)
        mask = state.unvisited & ~home.unsqueeze(2)
        tables = state.problem.tables[0]
        assert tables is not None
        enough = state.used[0][0] >= tables[1] * (1 - SLACK)
        mask[:, :, 0] = home | enough | (state.visits == state.problem.num_customers)
        return mask

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        tables = state.problem.tables[0]
        assert tables is not None
        collected, world = state.used[0]
        return State(
            problem=state.problem,
            current=action,
            first=state.first,
            unvisited=state.unvisited.scatter(2, action.unsqueeze(2), False),
            visits=state.visits + (action > 0),
            used=((collected + found(tables[0], world, action), world),),
            steps=state.steps + 1,
        )

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        if state.steps == 0:
            return torch.zeros_like(state.current, dtype=torch.bool)
        return state.current == 0

    def max_steps(self, instance: Instance) -> int:
        return instance.num_nodes

    def min_steps(self, instance: Instance) -> int:
        return 1

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        assert instance.penalty is not None  # given together with the prizes
        ends = torch.zeros_like(actions[:, :, :1])
        length = path_length(instance, torch.cat([ends, actions, ends], 2)).sum(2)
        b, s, _ = actions.shape
        left = torch.ones(b, s, instance.num_nodes, dtype=length.dtype, device=length.device)
        left.scatter_(2, actions, 0.0)
        return length + (left @ instance.penalty.unsqueeze(2)).squeeze(2)

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory 1"]:
        turn = torch.arange(num_trajectories, device=instance.valid.device)
        return (1 + turn % (instance.valid.sum(1, keepdim=True) - 1)).unsqueeze(2)

    def num_starts(self, instance: Instance) -> int:
        return instance.num_nodes - 1

    def node_features(self, instance: Instance) -> NodeFeatures:
        assert instance.penalty is not None
        prize = require_prizes(instance) / _positive(_min_prize(instance))
        penalty = instance.penalty / unit_length(instance).unsqueeze(1)
        columns = (coordinate_columns(instance), prize.unsqueeze(2), penalty.unsqueeze(2))
        return NodeFeatures(
            values=torch.cat(columns, 2).float(),
            attributes=attribute_bits(instance, self.attribute_names).float(),
            depot=is_depot(instance),
            valid=instance.valid,
        )

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        tables = state.problem.tables[0]
        assert tables is not None
        needed = tables[1]
        missing = (needed - state.used[0][0]).clamp(min=0)
        return (missing / _positive(needed)).unsqueeze(2).float()


def _min_prize(instance: Instance) -> Float[Tensor, "batch 1"]:
    require_prizes(instance)
    assert instance.min_prize is not None
    return instance.min_prize.unsqueeze(1)


def _positive(min_prize: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
    """The unit of prizes: where nothing must be collected any will do."""
    return min_prize.masked_fill(min_prize == 0, 1)


@final
@dataclass(frozen=True)
class PCTSP(PrizeCollecting):
    """Prizes are known."""

    def _prizes(self, instance: Instance) -> Float[Tensor, "batch world node"]:
        return require_prizes(instance).unsqueeze(1)


@final
@dataclass(frozen=True)
class SPCTSP(PrizeCollecting, AdaptiveEnvironment):
    """The prize of a customer is seen on visiting it; expected prizes are known (Kool et al. 2019,
    arXiv 1803.08475, the stochastic PCTSP)."""

    def require(self, instance: Instance) -> None:
        super().require(instance)
        require_key(instance)

    def _prizes(self, instance: Instance) -> Float[Tensor, "batch world node"]:
        return realised_prizes(instance, self.scenarios)
