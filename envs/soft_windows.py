"""What routes cost where windows are soft and travel times depend on the hour and on chance.

A route leaves its depot in time for its first customer's window if the roads were free, not before
the depot opens. At a customer it waits until the window opens; service that starts after the
window has closed is late by so much; the time that it is home after its depot has closed is
overtime. Minutes of travel, waiting, lateness and overtime, routes and customers left out are each
paid at the instance's prices (`nco.data.prices`). Clocks go on beyond midnight.

Axes: B instances, P plans of each, S scenarios, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer
from nco.data.noise import Scenarios
from nco.data.prices import PRICES
from nco.envs.a_priori import PlanPrice
from nco.envs.scenario_cost import Outcomes, ScenarioCost
from nco.envs.stochastic_travel import (
    Map,
    MeanRoads,
    Roads,
    ScenarioRoads,
    require_traffic,
)

LATE = 1e-6
"""Minutes that a service may start after its window and still count as on time: rounding."""
MEASURES = (
    "late_customers",
    "on_time_share",
    "routes",
    "waiting",
    "lateness",
    "overtime",
    "unserved",
)
"""Minutes, where it is a time; the share is of all customers, those left out are not on time."""


@final
@dataclass(frozen=True)
class SoftWindowCost(ScenarioCost):
    """The simulation of routes with soft windows; see the module. Capacities are kept by plans.

    Args:
        mean_times: every way takes its mean time, in all scenarios: the mean-value problem.
    """

    mean_times: bool = False

    @property
    def part_names(self) -> tuple[str, ...]:
        return PRICES

    @property
    def measure_names(self) -> tuple[str, ...]:
        return MEASURES

    @property
    def failure_names(self) -> tuple[str, ...]:
        return ("late_customers", "unserved")

    @property
    def whole_plan_parts(self) -> tuple[str, ...]:
        return ("unserved",)

    def outcomes(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"], scenarios: Scenarios
    ) -> Outcomes:
        require_single_visits(instance, plans)
        if self.mean_times:
            found = mean_outcomes(instance, plans)
            shape = (-1, -1, scenarios.count, -1)
            return Outcomes(found.parts.expand(shape), found.measures.expand(shape))
        return simulated(ScenarioRoads.of(instance, scenarios), instance, plans.unsqueeze(1))


@final
@dataclass(frozen=True)
class MeanTravelPrice(PlanPrice):
    """What plans cost where every way takes its mean time: an estimate from below, since lateness
    is convex in the times. Windows are seen through the rules' own features."""

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ()

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return instance.time_window[:, :, :0]

    def certain(self, instance: Instance) -> Instance:
        require_traffic(instance)
        return instance

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        found = simulated(MeanRoads(Map.of(instance)), instance, actions.unsqueeze(1))
        return found.cost.squeeze(2).to(instance.dtype)


def mean_outcomes(instance: Instance, plans: Int[Tensor, "batch plan step"]) -> Outcomes:
    """The same in one scenario, where every way takes its mean time at its departure."""
    require_single_visits(instance, plans)
    return simulated(MeanRoads(Map.of(instance)), instance, plans.unsqueeze(1))


def require_single_visits(instance: Instance, plans: Int[Tensor, "batch plan step"]) -> None:
    """Raise `InputError` where a plan visits a customer twice, or a node that does not exist: a
    price for that would mean nothing."""
    nodes = plans.flatten(1)
    if not bool(((nodes >= 0) & (nodes < instance.num_nodes)).all()):
        raise InputError(f"plans name unknown nodes; accepted: 0 to {instance.num_nodes - 1}")
    visits = visit_counts(instance, plans)
    wrong = (visits > 1) & is_customer(instance).unsqueeze(1)
    wrong |= (visits > 0) & ~instance.valid.unsqueeze(1)
    if bool(wrong.any()):
        which, plan, node = wrong.nonzero()[0].tolist()
        raise InputError(
            f"plan {plan} of instance {which} visits node {node} "
            f"{int(visits[which, plan, node])} times; accepted: customers once at most, no padding"
        )


def visit_counts(
    instance: Instance, plans: Int[Tensor, "batch plan step"]
) -> Int[Tensor, "batch plan node"]:
    """How often each plan names each node."""
    b, p, _ = plans.shape
    none = torch.zeros(b, p, instance.num_nodes, dtype=torch.int64, device=plans.device)
    return none.scatter_add_(2, plans, torch.ones_like(plans))


@dataclass(frozen=True)
class _Legs:
    """The ways of plans one by one, [B, 1 or S, P, T + 1]."""

    origin: Tensor
    to: Tensor
    leaves: Tensor  # the origin is a depot
    arrives: Tensor  # the destination is a customer

    @classmethod
    def of(cls, instance: Instance, plans: Int[Tensor, "batch scenario plan step"]) -> _Legs:
        ends = torch.zeros_like(plans[..., :1])
        path = torch.cat([ends, plans, ends], 3)
        at_depot = path < instance.num_depots.view(-1, 1, 1, 1)
        index = torch.arange(path.shape[3], device=path.device)
        home = path.gather(3, (index * at_depot).cummax(3).values)[..., :-1]
        # a way to a depot goes to the route's own; from there to the next one is no way
        back = at_depot[..., 1:]
        return cls(path[..., :-1], torch.where(back, home, path[..., 1:]), at_depot[..., :-1],
                   ~back)  # fmt: skip

    def used(self) -> int:
        """How many steps it takes until all plans only stay where they are."""
        moves = (self.origin != self.to).flatten(0, 2).any(0)
        places = moves.nonzero()
        return int(places[-1]) + 1 if len(places) else 0


def simulated(
    roads: Roads, instance: Instance, plans: Int[Tensor, "batch #scenario plan step"]
) -> Outcomes:
    """Plans followed on the roads of all scenarios, or each scenario's own plans on its own.

    The number of scenarios is that of the roads. A loop over steps only.
    """
    require_traffic(instance)
    assert instance.prices is not None  # an Instance has both or none
    legs = _Legs.of(instance, plans)
    early, late = (column.double() for column in instance.time_window.unbind(2))
    service = instance.service_time.double()

    def at(values: Float[Tensor, "batch node"], node: Tensor) -> Tensor:
        return values.gather(1, node.flatten(1)).view(node.shape)

    shape = (plans.shape[0], roads.num_scenarios, plans.shape[2])
    clock = torch.zeros(shape, dtype=torch.float64, device=plans.device)
    travel = waiting = lateness = overtime = late_customers = clock
    for step in range(legs.used()):
        origin, to, leaves, arrives = (
            x[..., step] for x in (legs.origin, legs.to, legs.leaves, legs.arrives)
        )
        opens, closes = at(early, to), at(late, to)
        ready = torch.where(leaves, at(early, origin), clock)
        leg = roads.drive(origin, to, ready, opens, leaves)
        excess = (leg.arrival - closes).clamp(min=0)
        home = ~arrives & ~leaves
        travel = travel + leg.time
        waiting = waiting + (leg.start - leg.arrival) * arrives
        lateness = lateness + excess * arrives
        # a window that never closes is never missed: inf * 0 is no number
        overtime = overtime + torch.where(home, excess, 0.0)
        late_customers = late_customers + ((excess > LATE) & arrives)
        clock = leg.start + at(service, to)
    routes = (legs.leaves & legs.arrives).sum(3).expand(shape).double()
    served = legs.arrives.sum(3).expand(shape)
    customers = is_customer(instance).sum(1).view(-1, 1, 1)
    unserved = (customers - served).double()
    counted = torch.stack((travel, waiting, lateness, overtime, routes, unserved), 3)
    on_time = (served - late_customers) / customers
    measures = (late_customers, on_time, routes, waiting, lateness, overtime, unserved)
    return Outcomes(
        parts=(counted * instance.prices.double().view(-1, 1, 1, len(PRICES))).transpose(1, 2),
        measures=torch.stack(measures, 3).transpose(1, 2),
    )
