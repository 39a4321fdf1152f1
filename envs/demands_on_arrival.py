"""Vehicle routing with stochastic demands, decided on the way: after every demand seen, the vehicle
chooses where to go (Secomandi 2001, doi:10.1287/opre.49.5.796.10608, reoptimisation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import CAPACITY, UNCERTAIN_DEMANDS, attribute_bits, attributes_by_name
from nco.data.demand_laws import realised_demands, require_laws
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer, is_depot
from nco.data.noise import require_key
from nco.envs.adaptive import AdaptiveEnvironment, worlds
from nco.envs.environment import (
    COORDINATES,
    NodeFeatures,
    Problem,
    State,
    coordinate_columns,
    path_length,
)
from nco.envs.uncertain_demands import deviation_shares


@final
@dataclass(frozen=True)
class DemandsOnArrival(AdaptiveEnvironment):
    """One vehicle that serves all customers in as many trips as it takes.

    An action is the next node. A customer's demand is seen on arrival; the vehicle delivers what it
    has, and where that is not all the customer stays to be served, with what is left known. An
    empty vehicle must go to the depot, where it loads up; it may also go there before. Once all are
    served it goes home and stays there. The cost is the length of all that is driven.

    A policy sees the laws, the load, and of the customer that was last left with a part of its
    demand where it is and how much; 0 where there is none. Whether the instance allows plans to
    restock is not looked at: here the policy decides.
    """

    @property
    def has_depot(self) -> bool:
        return True

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return (*COORDINATES, "linehaul", "demand_deviation")

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return COORDINATES

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        return ("remaining_capacity", "unfinished_demand", "unfinished_x", "unfinished_y")

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return ()

    def require(self, instance: Instance) -> None:
        require_laws(instance)
        require_key(instance)
        for what, present in attributes_by_name(instance).items():
            if what not in (CAPACITY, UNCERTAIN_DEMANDS) and bool(present.any()):
                raise InputError(
                    f"the instance has {what}; this environment knows {CAPACITY}, "
                    f"{UNCERTAIN_DEMANDS}"
                )

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        customer = is_customer(instance)
        b, n = customer.shape
        depot = torch.zeros(b, num_trajectories, dtype=torch.int64, device=customer.device)
        demands = realised_demands(instance, self.scenarios)
        world = worlds(demands.shape[1], depot).unsqueeze(2).expand(-1, -1, n)
        capacity = instance.capacity.long().unsqueeze(1)
        problem = Problem(
            instance=instance,
            customer=customer,
            num_customers=customer.sum(1, keepdim=True),
            num_depots=instance.num_depots.unsqueeze(1),
            dtype=instance.dtype,
            tables=((coordinate_columns(instance), capacity),),
        )
        return State(
            problem=problem,
            current=depot,
            first=depot,
            unvisited=customer.unsqueeze(1).expand(b, num_trajectories, n),
            visits=depot,
            used=((capacity.expand_as(depot), demands.gather(1, world), depot),),
            steps=0,
        )

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        mask = state.unvisited & (state.used[0][0] > 0).unsqueeze(2)
        served = state.visits == state.problem.num_customers
        mask[:, :, 0] = (state.current > 0) | served
        return mask

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        load, left, unfinished = state.used[0]
        node = action.unsqueeze(2)
        asked = left.gather(2, node).squeeze(2)
        delivered = torch.minimum(load, asked)
        rest = asked - delivered
        at_depot = action == 0
        finished = (rest == 0) & ~at_depot
        # one that is finished may be the one that was left before
        kept = torch.where(finished & (unfinished == action), 0, unfinished)
        still = state.unvisited.gather(2, node).squeeze(2) & ~finished
        used = (
            torch.where(at_depot, _capacity(state), load - delivered),
            left.scatter(2, node, rest.unsqueeze(2)),
            torch.where(rest > 0, action, kept),
        )
        return State(
            problem=state.problem,
            current=action,
            first=state.first,
            unvisited=state.unvisited.scatter(2, node, still.unsqueeze(2)),
            visits=state.visits + finished,
            used=(used,),
            steps=state.steps + 1,
        )

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        return (state.visits == state.problem.num_customers) & (state.current == 0)

    def max_steps(self, instance: Instance) -> int:
        # a visit that leaves a part ends a trip that delivered a full load, and no demand is more
        # than one: at most n such visits, n that finish, and the depot after each
        return 4 * (instance.num_nodes - 1)

    def min_steps(self, instance: Instance) -> int:
        return instance.num_nodes

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        ends = torch.zeros_like(actions[:, :, :1])
        return path_length(instance, torch.cat([ends, actions, ends], 2)).sum(2)

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory 1"]:
        turn = torch.arange(num_trajectories, device=instance.valid.device)
        return (1 + turn % (instance.valid.sum(1, keepdim=True) - 1)).unsqueeze(2)

    def num_starts(self, instance: Instance) -> int:
        return instance.num_nodes - 1

    def node_features(self, instance: Instance) -> NodeFeatures:
        mean = (instance.linehaul / instance.capacity.unsqueeze(1)).unsqueeze(2)
        columns = (coordinate_columns(instance), mean, deviation_shares(instance))
        return NodeFeatures(
            values=torch.cat(columns, 2).float(),
            attributes=attribute_bits(instance, self.attribute_names).float(),
            depot=is_depot(instance),
            valid=instance.valid,
        )

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        load, left, unfinished = state.used[0]
        tables = state.problem.tables[0]
        assert tables is not None
        coords, full = tables[0], _capacity(state)
        some = (unfinished > 0).unsqueeze(2)
        rest = left.gather(2, unfinished.unsqueeze(2)) * some / full.unsqueeze(2)
        place = coords.gather(1, unfinished.unsqueeze(2).expand(-1, -1, 2)) * some
        share = (load / full).unsqueeze(2)
        return torch.cat((share.float(), rest.float(), place.float()), 2)


def _capacity(state: State) -> Int[Tensor, "batch 1"]:
    tables = state.problem.tables[0]
    assert tables is not None
    return tables[1]
