"""A plan that proves a profiled VRP feasible: every customer by a trip of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.fleet import Fleet, able
from nco.data.instance import Instance, duration_matrix, is_customer


class OutAndBack(NamedTuple):
    """Who serves each customer by a trip of its own."""

    vehicle: Int[Tensor, "batch node"]
    """-1 at depots, at padding, and where no vehicle can."""
    work: Float[Tensor, "batch vehicle"]
    """Time of all trips of a vehicle, in float64."""


def trip_times(instance: Instance, fleet: Fleet) -> Float[Tensor, "batch vehicle node"]:
    """The time of a trip from a vehicle's depot to one node and back, with service; float64."""
    duration = duration_matrix(instance).double()
    away = duration.gather(1, _rows(fleet, instance.num_nodes))
    back = duration.mT.gather(1, _rows(fleet, instance.num_nodes))
    travel = (away + back) / fleet.speed.double().unsqueeze(2)
    return travel + instance.service_time.double().unsqueeze(1)


def _rows(fleet: Fleet, num_nodes: int) -> Int[Tensor, "batch vehicle node"]:
    return fleet.depot.unsqueeze(2).expand(-1, -1, num_nodes)


def out_and_back(
    instance: Instance, fleet: Fleet, shift: Float[Tensor, "batch vehicle"]
) -> OutAndBack:
    """A greedy plan: the customers that the fewest vehicles can serve first, of those the longest
    trips first, each by the vehicle that has most of its shift left then (after Graham 1969).

    With shifts of 0 this balances the work. The plan keeps the shifts where ``work`` says so; where
    it does not, there may be another.
    """
    can = able(fleet, instance.linehaul) & is_customer(instance).unsqueeze(1)
    trips = trip_times(instance, fleet)
    order = _order(can, trips)
    left = shift.double().masked_fill(~fleet.valid, -torch.inf)
    # with endless shifts, too, work is spread
    work = torch.zeros_like(left)
    vehicle = torch.full_like(order, -1)
    for node in order.unbind(1):
        at = node.view(-1, 1, 1).expand(-1, can.shape[1], 1)
        trip, may = trips.gather(2, at).squeeze(2), can.gather(2, at).squeeze(2)
        rest = (left - work - trip).nan_to_num(posinf=0) - left.isinf() * (work + trip)
        chosen = rest.masked_fill(~may, -torch.inf).argmax(1, keepdim=True)
        served = may.any(1, keepdim=True)
        vehicle.scatter_(1, node.unsqueeze(1), torch.where(served, chosen, -1))
        work.scatter_add_(1, chosen, trip.gather(1, chosen) * served)
    return OutAndBack(vehicle, work)


def _order(
    can: Bool[Tensor, "batch vehicle node"], trips: Float[Tensor, "batch vehicle node"]
) -> Int[Tensor, "batch node"]:
    longest = trips.masked_fill(~can, 0).amax(1)
    by_length = longest.argsort(dim=1, descending=True, stable=True)
    choices = can.sum(1).gather(1, by_length)
    return by_length.gather(1, choices.argsort(dim=1, stable=True))
