"""Profiled vehicle routing: what its environments share, and the one with a choice at a time."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import FLEET, MIN_MAX, SEVERAL_DEPOTS, ZONES, attributes_by_name
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer, is_depot
from nco.envs.environment import Environment, NodeFeatures, Problem, State
from nco.envs.fleet_features import (
    NODE_FEATURES,
    STATE_FEATURES,
    FleetFeatures,
    fleet_features,
    node_columns,
    state_columns,
)
from nco.envs.fleet_rules import (
    ShiftTables,
    Tables,
    Values,
    advance,
    bill_of,
    initial,
    moves,
    require_fleet,
    require_plan,
    tables_of,
    total,
)

KNOWN = frozenset({FLEET, ZONES, MIN_MAX, SEVERAL_DEPOTS})


class FleetEnvironment(Environment, ABC):
    """Vehicles with capacities, speeds, costs, shifts and profiles of their own, many trips each.

    An action is a vehicle and a node in one number, ``vehicle * N + node``; masks and logits have
    M·N columns likewise. A trajectory is complete when all customers are served: the ways home that
    are left are no choices, and its cost has them. An action that names the node where its vehicle
    is changes nothing, so joint decisions can be written as actions in a row.

    The rules, and how dead ends are avoided: `nco.envs.fleet_rules`. What a policy gets to see:
    `nco.envs.fleet_features`, by `fleet_features` of an instance and `view_of` an observation.
    """

    @property
    def has_depot(self) -> bool:
        return True

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return NODE_FEATURES

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return NODE_FEATURES[:2]

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        """Of one vehicle; `context_features` has these columns for each vehicle in turn."""
        return STATE_FEATURES

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return ()

    def require(self, instance: Instance) -> None:
        require_fleet(instance)
        for what, present in attributes_by_name(instance).items():
            if what not in KNOWN and bool(present.any()):
                raise InputError(
                    f"the instance has {what}; this environment knows {', '.join(sorted(KNOWN))}"
                )
        require_plan(instance)

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        b, n = instance.valid.shape
        tables, shifts = tables_of(instance)
        customer = is_customer(instance)
        problem = Problem(
            instance=instance,
            customer=customer,
            num_customers=customer.sum(1, keepdim=True),
            num_depots=instance.num_depots.unsqueeze(1),
            dtype=instance.dtype,
            tables=(tables, shifts),
        )
        zero = torch.zeros(b, num_trajectories, dtype=torch.int64, device=instance.valid.device)
        return State(
            problem=problem,
            current=zero,
            first=zero,
            unvisited=customer.unsqueeze(1).expand(b, num_trajectories, n),
            visits=zero,
            used=(initial(tables, num_trajectories),),
            steps=0,
        )

    def moves(self, state: State) -> Bool[Tensor, "batch trajectory vehicle node"]:
        """Where each vehicle may go: to customers, or to its depot from elsewhere."""
        tables, shifts = tables_in(state.problem)
        return moves(tables, shifts, values_in(state), state.unvisited)

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        n = state.unvisited.shape[2]
        place = values_in(state).place
        vehicle, node = action // n, action % n
        to = place.scatter(2, vehicle.unsqueeze(2), node.unsqueeze(2))
        return self.go(state, to, last=vehicle)

    def go(
        self,
        state: State,
        to: Int[Tensor, "batch trajectory vehicle"],
        last: Int[Tensor, "batch trajectory"],
    ) -> State:
        """The state after all vehicles went where ``to`` says, or stayed where they are.

        Args:
            last: the vehicle that decided last; becomes the state's ``first``, and its node
                ``current``.
        """
        tables, _ = tables_in(state.problem)
        unvisited = state.unvisited
        for node in to.unbind(2):
            unvisited = unvisited.scatter(2, node.unsqueeze(2), False)
        return State(
            problem=state.problem,
            current=to.gather(2, last.unsqueeze(2)).squeeze(2),
            first=last,
            unvisited=unvisited,
            visits=state.problem.num_customers - unvisited.sum(2),
            used=(advance(tables, values_in(state), to),),
            steps=state.steps + 1,
        )

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        return state.visits == state.problem.num_customers

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        """The objective that `nco.data.fleet` states, with the ways home."""
        fleet = require_fleet(instance)
        paths = paths_of(instance, actions)
        return total(fleet, bill_of(instance, paths))

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory 1"]:
        """A customer and a vehicle that can serve it: a pair repeats only when the customer's
        vehicles are used up; trajectory t takes customer t and begins with the t-th of them."""
        device = instance.valid.device
        turn = torch.arange(num_trajectories, device=device)
        number = is_customer(instance).sum(1, keepdim=True)
        customer = turn % number + instance.num_depots.unsqueeze(1)
        can = self.moves(self.reset(instance, 1)).squeeze(1)
        can = can.gather(2, customer.unsqueeze(1).expand(-1, can.shape[1], -1))
        rank = can.cumsum(1)
        # without the second term a customer would get the same vehicle again and again
        chosen = (turn + turn // number) % rank[:, -1].clamp(min=1) + 1
        vehicle = (can & (rank == chosen.unsqueeze(1))).int().argmax(1)
        return (vehicle * instance.num_nodes + customer).unsqueeze(2)

    def num_starts(self, instance: Instance) -> int:
        return int(is_customer(instance).sum(1).max())

    def node_features(self, instance: Instance) -> NodeFeatures:
        return NodeFeatures(
            values=node_columns(instance),
            attributes=instance.linehaul.new_zeros(instance.batch_size[0], 0).float(),
            depot=is_depot(instance),
            valid=instance.valid,
        )

    def fleet_features(self, instance: Instance) -> FleetFeatures:
        """What a policy may see of the instance."""
        serves = tables_of(instance)[0].serves
        return fleet_features(instance, self.node_features(instance), serves)

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        tables, _ = tables_in(state.problem)
        left = 1 - state.visits / state.problem.num_customers
        columns = state_columns(state.problem.instance, tables, values_in(state), left)
        return columns.flatten(2)


@final
@dataclass(frozen=True)
class FleetVRP(FleetEnvironment):
    """Profiled vehicle routing in sequence: a choice is made among all vehicles and nodes.

    A vehicle at a node other than its depot may return, and never stays. Once all customers are
    served the only action is the last one again, which changes nothing.

    Args:
        trip_by_trip: whether a vehicle that has left its depot returns before another one leaves.
            Trips are the same in any order, so all solutions are still reached, each in fewer ways.
    """

    trip_by_trip: bool = False

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        allowed = self.moves(state)
        b, s, m, n = allowed.shape
        done = self.done(state)
        allowed = allowed & ~done.view(b, s, 1, 1)
        if self.trip_by_trip:
            depot = tables_in(state.problem)[0].depot
            away = values_in(state).place != depot.unsqueeze(1)
            allowed = allowed & (away | ~away.any(2, keepdim=True)).unsqueeze(3)
        wait = state.first * n + state.current
        allowed = allowed.view(b, s, m * n)
        kept = allowed.gather(2, wait.unsqueeze(2)) | done.unsqueeze(2)
        return allowed.scatter(2, wait.unsqueeze(2), kept)

    def max_steps(self, instance: Instance) -> int:
        # a vehicle returns only after it has served a customer, and the last move serves one
        return 2 * self.num_starts(instance) - 1

    def min_steps(self, instance: Instance) -> int:
        return self.num_starts(instance)


def tables_in(problem: Problem) -> tuple[Tables, ShiftTables | None]:
    """The tables of an episode, by name."""
    rules, shifts = problem.tables
    assert rules is not None
    return Tables(*rules), None if shifts is None else ShiftTables(*shifts)


def values_in(state: State) -> Values:
    """The running values of the vehicles, by name."""
    return Values(*state.used[0])


def paths_of(
    instance: Instance, actions: Int[Tensor, "batch trajectory step"]
) -> Int[Tensor, "batch trajectory vehicle visit"]:
    """Where each vehicle is before, between and after the actions, its depot at both ends."""
    fleet, n = require_fleet(instance), instance.num_nodes
    b, s, t = actions.shape
    m = fleet.num_vehicles
    vehicle, node = actions // n, actions % n
    step = torch.arange(1, t + 1, device=actions.device)
    acts = vehicle.unsqueeze(2) == torch.arange(m, device=actions.device).view(1, 1, m, 1)
    # the last action so far of each vehicle, counted from 1; 0 where it has not acted
    latest = (acts * step).cummax(3).values
    home = fleet.depot.view(b, 1, m, 1).expand(b, s, m, 1)
    gone = node.unsqueeze(2).expand(b, s, m, t).gather(3, (latest - 1).clamp(min=0))
    between = torch.where(latest > 0, gone, home)
    return torch.cat((home, between, home), 3)
