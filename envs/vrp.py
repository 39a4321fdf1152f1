"""Vehicle routing over a tuple of resources: one environment, many variants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import (
    OPEN_ROUTES,
    SEVERAL_DEPOTS,
    VARIANT_ATTRIBUTES,
    attribute_bits,
    attributes_by_name,
)
from nco.data.batching import replace as with_fields
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, is_customer, is_depot
from nco.envs.environment import (
    COORDINATES,
    Depots,
    Environment,
    NodeFeatures,
    Problem,
    State,
    Values,
    arc_lengths,
    coordinate_columns,
    path_length,
)
from nco.envs.resources import Move, Resource, depot_column


@final
@dataclass(frozen=True)
class VRP(Environment):
    """Routes from depots that serve every customer once.

    An action is the next node. Going to a depot ends the route, at the depot where it began, and
    places the vehicle at the depot named, where the next route begins. A trajectory begins at
    depot 0; where an instance has several depots, its first action names the one to begin at. A
    vehicle may not stay at a depot, nor go from one to another, while a customer is feasible from
    there. Once all customers are served it goes home and stays there.

    A limited fleet is not known: whether the vehicles that are left can serve the customers that
    are left is a bin packing problem, and a mask that does not solve it leads into dead ends.

    Args:
        resources: what a route carries; an instance's constraint without its resource is refused.
        open_routes: whether instances may have open routes.
        several_depots: whether instances may have several depots.
    """

    resources: tuple[Resource, ...]
    open_routes: bool = False
    several_depots: bool = False

    @property
    def has_depot(self) -> bool:
        return True

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        named = (name for r in self.resources for name in r.node_feature_names)
        return (*COORDINATES, *named, *(("open_route",) if self.open_routes else ()))

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        named = (name for r in self.resources for name in r.depot_feature_names)
        return (*COORDINATES, *named, *(("open_route",) if self.open_routes else ()))

    @property
    def context_feature_names(self) -> tuple[str, ...]:
        named = (name for r in self.resources for name in r.feature_names)
        return (*named, *(("home_x", "home_y") if self.several_depots else ()))

    @property
    def _known(self) -> frozenset[str]:
        """The attributes that instances may have, in the words of `nco.data.attributes`."""
        return frozenset().union(
            *(r.attributes for r in self.resources),
            {OPEN_ROUTES} if self.open_routes else (),
            {SEVERAL_DEPOTS} if self.several_depots else (),
        )

    @property
    def attribute_names(self) -> tuple[str, ...]:
        known = self._known
        return tuple(name for name in VARIANT_ATTRIBUTES if name in known)

    def require(self, instance: Instance) -> None:
        known = self._known
        for what, present in attributes_by_name(instance).items():
            if what not in known and bool(present.any()):
                raise InputError(
                    f"the instance has {what}; this environment knows "
                    f"{', '.join(sorted(known)) or 'no constraints'}"
                )
        problem = self._problem(instance)
        served = self._serves(problem, self._most_depots(instance))[1].any(1)
        lost = problem.customer & ~served
        if bool(lost.any()):
            which, node = lost.nonzero()[0].tolist()
            raise InputError(
                f"customer {node} of instance {which} cannot be served even by a route of its own; "
                "accepted: customers that a vehicle can reach from a depot, and return from, "
                "within windows and limits"
            )

    def reset(self, instance: Instance, num_trajectories: int) -> State:
        b, n = instance.valid.shape
        s = num_trajectories
        problem = self._problem(instance)
        depot = torch.zeros(b, s, dtype=torch.int64, device=instance.valid.device)
        return State(
            problem=problem,
            current=depot,
            first=depot,
            unvisited=problem.customer.unsqueeze(1).expand(b, s, n),
            visits=depot,
            used=self._initial(problem, depot),
            steps=0,
        )

    def _most_depots(self, instance: Instance) -> int:
        return int(instance.num_depots.max()) if self.several_depots else 1

    def _problem(self, instance: Instance) -> Problem:
        most = self._most_depots(instance)
        active = [not r.neutral(instance) for r in self.resources]
        seen = instance
        if any(a and r.needs_arcs for a, r in zip(active, self.resources, strict=True)):
            # computed once for all of them
            seen = with_fields(instance, {"distance": distance_matrix(instance)})
        customer = is_customer(instance)
        problem = Problem(
            instance=instance,
            customer=customer,
            num_customers=customer.sum(1, keepdim=True),
            num_depots=instance.num_depots.unsqueeze(1),
            dtype=instance.dtype,
            tables=tuple(
                r.tables(seen, most) if a else None
                for a, r in zip(active, self.resources, strict=True)
            ),
            homes=self._homes(instance, most),
        )
        customers, serves = self._serves(problem, most)
        all_served = torch.equal(serves, customers)
        if most == 1 and all_served:
            return problem
        index = torch.arange(most, device=instance.valid.device)
        depots = Depots(index=index, serves=None if all_served else serves.float())
        return replace(problem, depots=depots)

    def _homes(self, instance: Instance, num_depots: int) -> Float[Tensor, "batch depot 2"] | None:
        if not self.several_depots:
            return None
        return coordinate_columns(instance)[:, :num_depots].float()

    def _serves(
        self, problem: Problem, num_depots: int
    ) -> tuple[Bool[Tensor, "batch depot node"], Bool[Tensor, "batch depot node"]]:
        """The customers, for each depot that exists, and those that a vehicle fresh from there can
        serve."""
        index = torch.arange(num_depots, device=problem.customer.device)
        depot = index.expand(problem.customer.shape[0], num_depots)
        move = Move(origin=depot, home=depot if num_depots > 1 else None)
        customers = problem.customer.unsqueeze(1)
        if num_depots > 1:
            customers = customers & (index < problem.num_depots).unsqueeze(2)
        return customers, self._within(problem, self._initial(problem, depot), move, customers)

    def _initial(
        self, problem: Problem, depot: Int[Tensor, "batch trajectory"]
    ) -> tuple[Values, ...]:
        return tuple(
            () if tables is None else r.initial(tables, depot)
            for r, tables in zip(self.resources, problem.tables, strict=True)
        )

    def _within(
        self,
        problem: Problem,
        used: tuple[Values, ...],
        move: Move,
        allowed: Bool[Tensor, "batch trajectory node"],
    ) -> Bool[Tensor, "batch trajectory node"]:
        """Those of the allowed nodes where every resource's value keeps its constraint."""
        dtype = problem.dtype
        for r, tables, values in zip(self.resources, problem.tables, used, strict=True):
            if tables is not None and r.forbids:
                # sums are kept in float64, and looking at all nodes needs no more than float32
                here = tuple([v.to(dtype).unsqueeze(2) for v in values])
                allowed = r.within(tables, r.extend(tables, here, move), move).logical_and_(allowed)
        return allowed

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        problem = state.problem
        home = None if problem.depots is None else state.first
        move = Move(origin=state.current, home=home)
        allowed = self._within(problem, state.used, move, state.unvisited)
        if allowed is state.unvisited:
            allowed = allowed.clone()
        if problem.depots is not None:
            return self._with_depots(state, problem.depots, allowed)
        # back to the depot from a customer, or to wait there once nothing is left
        served = state.visits == problem.num_customers
        torch.logical_or(state.current, served, out=allowed.select(2, 0))
        return allowed

    def _with_depots(
        self, state: State, depots: Depots, allowed: Bool[Tensor, "batch trajectory node"]
    ) -> Bool[Tensor, "batch trajectory node"]:
        """Add to the allowed customers the depots: those that can serve a customer that is left,
        or else the vehicle's own."""
        number = state.problem.num_depots
        if depots.serves is None:
            left = state.visits < state.problem.num_customers
            useful = left.unsqueeze(2) & (depots.index < number).unsqueeze(1)
        else:
            unvisited = state.unvisited.view(torch.uint8).to(depots.serves.dtype)
            useful = unvisited @ depots.serves.mT > 0
        # at a depot nothing is feasible that a fresh vehicle cannot serve
        leave = (state.current >= number) | ~useful.gather(2, state.first.unsqueeze(2)).squeeze(2)
        if state.steps == 0:
            several = number > 1
            allowed &= ~several.unsqueeze(2)
            leave |= several
        own = (depots.index == state.first.unsqueeze(2)) & ~useful.any(2, keepdim=True)
        allowed[:, :, : len(depots.index)] |= (useful | own) & leave.unsqueeze(2)
        return allowed

    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        problem = state.problem
        used = self._extended(problem, state.used, Move(origin=state.current, to=action))
        first = state.first
        if problem.depots is not None:
            first = torch.where(action < problem.num_depots, action, first)
        return State(
            problem=problem,
            current=action,
            first=first,
            unvisited=state.unvisited.scatter(2, action.unsqueeze(2), False),
            visits=state.visits + (action >= problem.num_depots),
            used=used,
            steps=state.steps + 1,
        )

    def _extended(
        self, problem: Problem, used: tuple[Values, ...], move: Move
    ) -> tuple[Values, ...]:
        """Every resource's values after a move to one node of each trajectory."""
        after = []
        for r, tables, values in zip(self.resources, problem.tables, used, strict=True):
            if tables is not None:
                values = r.extend(tables, tuple([v.unsqueeze(2) for v in values]), move)
                values = tuple([v.squeeze(2) for v in values])
            after.append(values)
        return tuple(after)

    def drivable(
        self,
        problem: Problem,
        depot: Int[Tensor, "batch route"],
        customers: Int[Tensor, "batch route place"],
    ) -> Bool[Tensor, "batch route"]:
        """Whether a vehicle can drive whole routes, by the rules of `step` and `action_mask`: at
        every customer every resource's value keeps its constraint.

        Args:
            problem: of a state of the instances (`reset`).
            depot: where each route begins.
            customers: of each route in order; depots behind the last one.
        """
        allowed = torch.ones_like(depot, dtype=torch.bool)
        if all(
            t is None or not r.forbids for r, t in zip(self.resources, problem.tables, strict=True)
        ):
            return allowed
        used, current = self._initial(problem, depot), depot
        for to in customers.unbind(2):
            move = Move(origin=current, to=to, home=depot)
            used = self._extended(problem, used, move)
            kept = allowed
            for r, tables, values in zip(self.resources, problem.tables, used, strict=True):
                if tables is not None and r.forbids:
                    # `within` may overwrite what it is given
                    here = tuple([v.clone().unsqueeze(2) for v in values])
                    kept = kept & r.within(tables, here, move).squeeze(2)
            allowed = kept | (allowed & (to < problem.num_depots))
            current = to
        return allowed

    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        problem = state.problem
        served = state.visits == problem.num_customers
        return served.logical_and_(state.current < problem.num_depots)

    def max_steps(self, instance: Instance) -> int:
        # at worst every customer has a route of its own; where an instance may have several
        # depots, the first action names one
        return 2 * (instance.num_nodes - 1) + self.several_depots

    def min_steps(self, instance: Instance) -> int:
        if not self.several_depots:
            # at best one route, with the way home
            return instance.num_nodes
        customers = instance.valid.sum(1) - instance.num_depots
        return int((customers + 1 + (instance.num_depots > 1)).max())

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        ends = torch.zeros_like(actions[:, :, :1])
        path = torch.cat([ends, actions, ends], 2)
        if not (self.open_routes or self.several_depots):
            return path_length(instance, path).sum(2)
        at_depot = path < instance.num_depots.view(-1, 1, 1)
        index = torch.arange(path.shape[2], device=path.device)
        home = path.gather(2, (index * at_depot).cummax(2).values)[:, :, :-1]
        # an arc to a depot goes to the route's own; from there to the next one is no arc
        back = at_depot[:, :, 1:]
        length = arc_lengths(instance, path[:, :, :-1], torch.where(back, home, path[:, :, 1:]))
        return length.masked_fill(back & instance.open_route.view(-1, 1, 1), 0).sum(2)

    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory forced"]:
        """A customer, or where some instance has several depots a depot and a customer that it can
        serve: a pair repeats only when the customer's pairs are used up. There, instances with one
        depot stay at it first, which changes nothing.
        """
        turn = torch.arange(num_trajectories, device=instance.valid.device)
        customers = instance.valid.sum(1, keepdim=True) - instance.num_depots.unsqueeze(1)
        turn, again = turn % customers, turn // customers
        customer = turn + instance.num_depots.unsqueeze(1)
        most = self._most_depots(instance)
        if most == 1:
            return customer.unsqueeze(2)
        serves = self._serves(self._problem(instance), most)[1]
        where = customer.unsqueeze(1).expand(-1, serves.shape[1], -1)
        serves = serves.gather(2, where)
        rank = serves.cumsum(1)
        chosen = (turn + again) % rank[:, -1].clamp(min=1) + 1
        depot = (serves & (rank == chosen.unsqueeze(1))).int().argmax(1)
        return torch.stack((depot, customer), 2)

    def num_starts(self, instance: Instance) -> int:
        if not self.several_depots:
            return instance.num_nodes - 1
        return int((instance.valid.sum(1) - instance.num_depots).max())

    def node_features(self, instance: Instance) -> NodeFeatures:
        columns = [
            coordinate_columns(instance),
            *(r.node_features(instance) for r in self.resources),
        ]
        if self.open_routes:
            columns.append(depot_column(instance, instance.open_route.to(instance.dtype)))
        return NodeFeatures(
            values=torch.cat(columns, 2).float(),
            attributes=attribute_bits(instance, self.attribute_names).float(),
            depot=is_depot(instance),
            valid=instance.valid,
        )

    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        b, s = state.current.shape
        columns = []
        for r, tables, used in zip(self.resources, state.problem.tables, state.used, strict=True):
            if tables is not None:
                columns.append(r.features(tables, used).float())
            else:
                columns += [
                    torch.full((b, s, 1), value, device=state.current.device)
                    for value in r.neutral_features
                ]
        if state.problem.homes is not None:
            index = state.first.unsqueeze(2).expand(b, s, 2)
            columns.append(state.problem.homes.gather(1, index))
        if not columns:
            return torch.zeros(b, s, 0, device=state.current.device)
        return torch.cat(columns, 2) if len(columns) > 1 else columns[0]
