"""Customers that may not ask: the exact expected length of a plan, and its simulation.

A plan serves all customers; on the day, those that do not ask are skipped and the others are
served in the plan's order (Jaillet 1988, doi:10.1287/opre.36.6.929). With vehicles, every route
must fit the capacity with all of its customers present: no route ever fails, so there is no other
recourse, and a plan costs the sum of its routes.

Axes: B instances, S trajectories (plans) of each, V positions of the closed walk, C scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.batching import replace, with_dtype
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix
from nco.data.noise import Scenarios, Stream, nodes_as_entities, uniforms
from nco.envs.a_priori import PlanPrice
from nco.envs.environment import arc_lengths
from nco.envs.scenario_cost import Outcomes, ScenarioCost


@dataclass(frozen=True, slots=True)
class Walk:
    """Plans as closed walks: behind the last position comes the first one."""

    nodes: Int[Tensor, "batch trajectory position"]
    presence: Float[Tensor, "batch trajectory position"]
    """Of the node at each position; 0 where a finished tour only stays where it is."""


def require_presence(instance: Instance) -> Float[Tensor, "batch node"]:
    """The probabilities of the nodes.

    Raises:
        InputError: there are none, or routes do not all start and end at the one depot.
    """
    if instance.presence is None:
        raise InputError(
            "the instance has no presence, the probability that each customer asks; accepted: "
            "instances of ptsp or pcvrp, or with presence given"
        )
    if bool((instance.num_depots > 1).any() | instance.open_route.any()):
        raise InputError(
            "the instance has several depots or open routes; accepted where customers may not "
            "ask: closed routes from one depot, or a TSP"
        )
    return instance.presence


def closed_walk(instance: Instance, plans: Int[Tensor, "batch trajectory step"]) -> Walk:
    """The plans with their presences, and with the depot at both ends.

    Raises:
        InputError: as `require_presence`.
    """
    presence = require_presence(instance)
    b, s, t = plans.shape
    tour = (instance.num_depots == 0).view(-1, 1, 1)
    # a tour's padding repeats its last node; a depot repeats at no cost
    size = instance.valid.sum(1).view(-1, 1, 1)
    stays = tour & (torch.arange(t, device=plans.device) >= size)
    there = presence.gather(1, plans.flatten(1)).view(b, s, t).masked_fill(stays, 0)
    if bool(tour.all()):
        return Walk(plans, there)
    ends = plans.new_zeros(b, s, 1)
    at_depot = (~tour).to(there.dtype).expand(b, s, 1)
    return Walk(torch.cat([ends, plans, ends], 2), torch.cat([at_depot, there, at_depot], 2))


def expected_length(
    instance: Instance, plans: Int[Tensor, "batch trajectory step"]
) -> Float[Tensor, "batch trajectory"]:
    """The mean over all sets of customers of the walk that skips the absent ones.

    The arc from position i to j is driven when both are present and none between them is: Jaillet
    1988, the expected length of an a-priori tour; O(V²). Depots are certain, so routes add up.

    Raises:
        InputError: as `require_presence`.
    """
    walk = closed_walk(instance, plans)
    size = walk.nodes.shape[2]
    absent = 1 - walk.presence
    skipped = torch.ones_like(absent)
    total = torch.zeros_like(absent)
    for gap in range(1, size):
        to = walk.presence.roll(-gap, 2)
        length = arc_lengths(instance, walk.nodes, walk.nodes.roll(-gap, 2))
        total += length * to * skipped
        skipped = skipped * absent.roll(-gap, 2)
        # few positions away a certain node ends every route; asking costs a wait for the device
        if gap % 8 == 0 and not bool(skipped.any()):
            break
    return (total * walk.presence).sum(2)


@final
@dataclass(frozen=True)
class ExpectedLength(PlanPrice):
    """The exact expected length; a policy sees the probabilities."""

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("presence",)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node 1"]:
        return require_presence(instance).unsqueeze(2)

    def certain(self, instance: Instance) -> Instance:
        require_presence(instance)
        return replace(instance, {"presence": None})

    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        return expected_length(instance, actions)


@final
@dataclass(frozen=True)
class PresenceSimulation(ScenarioCost):
    """The length of the walk past the customers that ask; their number is a measure."""

    @property
    def part_names(self) -> tuple[str, ...]:
        return ("travel",)

    @property
    def measure_names(self) -> tuple[str, ...]:
        return ("customers", "routes")

    def outcomes(
        self,
        instance: Instance,
        plans: Int[Tensor, "batch plan step"],
        scenarios: Scenarios,
    ) -> Outcomes:
        walk = closed_walk(instance, plans)
        draws = uniforms(scenarios, instance, Stream.PRESENCE, nodes_as_entities(instance))
        asks = (draws < require_presence(instance).double().unsqueeze(1)).mT
        customer = (walk.nodes >= instance.num_depots.view(-1, 1, 1)) & (walk.presence > 0)
        visits = torch.zeros(*plans.shape[:2], instance.num_nodes, dtype=torch.float64)
        visits = visits.to(asks.device).scatter_add(2, walk.nodes, customer.double())
        served = visits @ asks.double()
        travel, routes = _walked(instance, walk, asks, customer)
        # a tour is one route where any of it is driven
        tour = (instance.num_depots == 0).view(-1, 1, 1)
        routes = torch.where(tour, (served > 0).double(), routes)
        return Outcomes(travel.unsqueeze(3), torch.stack((served, routes), 3))


def _walked(
    instance: Instance,
    walk: Walk,
    asks: Bool[Tensor, "batch node scenario"],
    customer: Bool[Tensor, "batch trajectory position"],
) -> tuple[Float[Tensor, "batch trajectory scenario"], Float[Tensor, "batch trajectory scenario"]]:
    """The length of each walk past those who ask, and how often it goes from the depot to a
    customer.

    Position by position, so that what is worked on stays in a cache: at 100 nodes many times faster
    than all positions at once.
    """
    b, n, c = asks.shape
    distance = distance_matrix(with_dtype(instance, torch.float64))
    # a walk begins nowhere, from where all is near
    flat = torch.nn.functional.pad(distance, (0, 1, 0, 1)).flatten()
    size = n + 1
    base = torch.arange(0, b * size * size, size * size, device=asks.device).view(-1, 1, 1)
    travel = torch.zeros(b, walk.nodes.shape[1], c, dtype=torch.float64, device=asks.device)
    routes = torch.zeros_like(travel)
    nowhere = base + n * size
    here = nowhere.expand_as(travel)
    first = here
    depot = instance.num_depots.view(-1, 1, 1) > 0
    vehicles = bool(depot.any())
    for place in range(walk.nodes.shape[2]):
        node = walk.nodes[:, :, place : place + 1]
        there = asks.gather(1, node.expand(-1, -1, c)) & (walk.presence[:, :, place, None] > 0)
        travel += flat.take(here + node) * there
        if vehicles:
            routes += there & customer[:, :, place, None] & (here == base) & depot
        here = torch.where(there, base + node * size, here)
        first = torch.where(first == nowhere, here, first)
    home = torch.div(first - base, size, rounding_mode="floor")
    return travel + flat.take(here + home), routes
