"""Appointments along a route: the times that customers are told, before the day is known.

A vehicle that comes before an appointment waits, at a price; a customer waits after it, at another.
Each appointment is set where the mean of both is least, given those before it (Samuel, Areyan
Viqueira and Kadioglu 2021, arXiv 2106.16176: a Monte Carlo scheduler behind a routing solver). That
is a quantile of the arrival: with the customer's price c and the vehicle's v a minute, c / (c + v)
(the newsvendor's). Cancellations and the choice of teams are not modelled here.

What an appointment does to those after it is not weighed: a vehicle that waits is later afterwards.


"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.stochastic_travel import ScenarioRoads


@dataclass(frozen=True)
class Schedule:
    """Appointments of one route, and what they come to."""

    appointments: Float[Tensor, " customer"]
    """Minutes since midnight."""
    cost: Float[Tensor, " scenario"]
    """What vehicle and customers wait, at their prices."""
    home: Float[Tensor, " scenario"]
    """When the vehicle is back."""


def best_quantile(customer_waits: float, vehicle_waits: float) -> float:
    """Of the arrival, where the appointment costs least.

    Raises:
        InputError: a price is negative or not finite, or both are 0.
    """
    total = customer_waits + vehicle_waits
    if not (customer_waits >= 0 and vehicle_waits >= 0 and 0 < total < math.inf):
        raise InputError(
            f"a minute costs {customer_waits} where a customer waits and {vehicle_waits} where a "
            "vehicle does; accepted: at least 0, finite, not both 0"
        )
    return customer_waits / total


def appointments(
    one: Instance,
    route: Sequence[int],
    scenarios: Scenarios,
    *,
    customer_waits: float,
    vehicle_waits: float,
    depot: int = 0,
) -> Schedule:
    """Appointments for the customers of a route that leaves when its depot opens, stop by stop.

    Windows are not read: an appointment takes their place.

    Args:
        one: an instance (B = 1) with traffic.
        route: customers in order.
        scenarios: by which quantiles are estimated.
        customer_waits: the price of a minute that a customer waits.
        vehicle_waits: and that a vehicle does.
        depot: where the route begins and ends.

    Raises:
        InputError: a price is out of range, or the instance has no key or no traffic.
    """
    level = best_quantile(customer_waits, vehicle_waits)
    clock = torch.full((scenarios.count,), float(one.time_window[0, depot, 0]), dtype=torch.float64)
    cost, told = torch.zeros_like(clock), []
    drive = _Drive(ScenarioRoads.of(one, scenarios))
    here = depot
    for node in route:
        arrival = drive(here, node, clock)
        told.append(_empirical(arrival, level))
        early, late = (told[-1] - arrival).clamp(min=0), (arrival - told[-1]).clamp(min=0)
        cost = cost + vehicle_waits * early + customer_waits * late
        clock = torch.maximum(arrival, told[-1]) + float(one.service_time[0, node])
        here = node
    return Schedule(torch.stack(told) if told else clock[:0], cost, drive(here, depot, clock))


@dataclass(frozen=True)
class _Drive:
    """The arrival of one way in every scenario."""

    roads: ScenarioRoads

    def __call__(
        self, origin: int, to: int, clock: Float[Tensor, " scenario"]
    ) -> Float[Tensor, " scenario"]:
        arc = torch.tensor([[[origin]]]), torch.tensor([[[to]]])
        return clock + self.roads.times(*arc, clock.view(1, -1, 1)).flatten()


def _empirical(values: Float[Tensor, " scenario"], level: float) -> Float[Tensor, ""]:
    """The smallest value that at least this share does not exceed: it minimises the mean cost over
    these very scenarios."""
    place = max(0, math.ceil(level * len(values)) - 1)
    return values.sort().values[place]
