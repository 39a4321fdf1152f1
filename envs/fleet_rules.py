"""What vehicles that differ may do, and what it costs: the rules that the sequential and the
parallel environment of profiled VRPs share. The problem is stated in `nco.data.fleet`.

Axes: B instances, S trajectories of each, M vehicles, N nodes (depots first), T moves.

Shifts are kept without dead ends by a reservation: a plan that serves every customer by a trip of
its own (`nco.data.fleet_plan`) gives each customer a vehicle, which keeps the time for that trip
free until somebody has served the customer. So whatever is done, the rest of the plan still fits.
The price is that some routes which use a tight shift up are not reached; without shifts nothing is
lost. Waiting costs no time: the order in which moves are made is a matter of the search.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.fleet import Fleet, able, missed_preference
from nco.data.fleet_plan import out_and_back, trip_times
from nco.data.instance import Instance, duration_matrix, is_customer
from nco.envs.environment import arc_lengths
from nco.envs.resources import SLACK


class Tables(NamedTuple):
    """What an episode derives from an instance once."""

    duration: Float[Tensor, "batch from to"]
    demand: Float[Tensor, "batch node"]
    service: Float[Tensor, "batch node"]
    """0 at depots."""
    serves: Bool[Tensor, "batch vehicle node"]
    """The customers that a vehicle may serve and can load."""
    depot: Int[Tensor, "batch vehicle"]
    speed: Float[Tensor, "batch vehicle"]
    capacity: Float[Tensor, "batch vehicle"]
    """With the slack for rounding."""
    valid: Bool[Tensor, "batch vehicle"]


class ShiftTables(NamedTuple):
    """The same of shifts, where there are some."""

    shift: Float[Tensor, "batch vehicle"]
    """With the slack for rounding."""
    reserved: Float[Tensor, "batch vehicle node"]
    """What a vehicle keeps free for a customer of its plan; 0 for the others."""
    home: Float[Tensor, "batch vehicle node"]
    """Time from a node to the vehicle's depot."""


class Values(NamedTuple):
    """The running values of each vehicle."""

    place: Int[Tensor, "batch trajectory vehicle"]
    """The node where it is."""
    load: Float[Tensor, "batch trajectory vehicle"]
    """Delivered since its depot, in float64."""
    clock: Float[Tensor, "batch trajectory vehicle"]
    """Time of its trips so far, in float64."""


def require_fleet(instance: Instance) -> Fleet:
    """The fleet.

    Raises:
        InputError: the instance has none.
    """
    if instance.fleet is None:
        raise InputError(
            "the instance has no fleet; accepted by the rules of pvrp: instances whose vehicles "
            "have speeds, costs and profiles of their own"
        )
    return instance.fleet


def require_plan(instance: Instance) -> None:
    """Raise `InputError` where the reservation does not fit into the shifts."""
    fleet = require_fleet(instance)
    shift = fleet.shift.double()
    if not bool((shift.isfinite() & fleet.valid).any()):
        return
    work = out_and_back(instance, fleet, shift).work
    late = (work > shift * (1 + SLACK)) & fleet.valid
    if bool(late.any()):
        which, vehicle = late.nonzero()[0].tolist()
        raise InputError(
            f"shift of vehicle {vehicle} of instance {which} is {float(shift[which, vehicle]):g}, "
            f"and a plan with a trip for each customer takes {float(work[which, vehicle]):g}; "
            "accepted by policies: shifts that such a plan keeps; solvers may do with less"
        )


def tables_of(instance: Instance) -> tuple[Tables, ShiftTables | None]:
    """What an episode reads."""
    fleet, customer = require_fleet(instance), is_customer(instance)
    tables = Tables(
        duration=duration_matrix(instance),
        demand=instance.linehaul,
        service=instance.service_time.masked_fill(~customer, 0),
        serves=able(fleet, instance.linehaul) & customer.unsqueeze(1),
        depot=fleet.depot,
        speed=fleet.speed,
        capacity=fleet.capacity * (1 + SLACK),
        valid=fleet.valid,
    )
    if not bool((fleet.shift.isfinite() & fleet.valid).any()):
        return tables, None
    guard = out_and_back(instance, fleet, fleet.shift).vehicle
    vehicle = torch.arange(fleet.num_vehicles, device=guard.device).view(1, -1, 1)
    own = guard.unsqueeze(1) == vehicle
    rows = fleet.depot.unsqueeze(2).expand(-1, -1, instance.num_nodes)
    home = tables.duration.mT.gather(1, rows) / fleet.speed.unsqueeze(2)
    return tables, ShiftTables(
        shift=fleet.shift.double() * (1 + SLACK),
        reserved=trip_times(instance, fleet).masked_fill(~own, 0),
        home=home,
    )


def initial(tables: Tables, num_trajectories: int) -> Values:
    """All vehicles at their depots."""
    b, m = tables.depot.shape
    place = tables.depot.unsqueeze(1).expand(b, num_trajectories, m)
    zero = torch.zeros(b, num_trajectories, m, dtype=torch.float64, device=place.device)
    return Values(place, zero, zero)


def travel_times(
    tables: Tables, place: Int[Tensor, "batch trajectory vehicle"]
) -> Float[Tensor, "batch trajectory vehicle node"]:
    """From where each vehicle is to every node."""
    b, s, m = place.shape
    n = tables.duration.shape[2]
    rows = place.reshape(b, s * m, 1).expand(b, s * m, n)
    away = tables.duration.gather(1, rows).view(b, s, m, n)
    return away / tables.speed.view(b, 1, m, 1)


def moves(
    tables: Tables,
    shifts: ShiftTables | None,
    values: Values,
    unvisited: Bool[Tensor, "batch trajectory node"],
) -> Bool[Tensor, "batch trajectory vehicle node"]:
    """Where each vehicle may go: customers that fit, or back to its depot from elsewhere.

    While customers are left some vehicle has a move: one that is away may return, and one at its
    depot may serve what it keeps time for.
    """
    dtype = tables.demand.dtype
    room = (tables.capacity.unsqueeze(1) - values.load).to(dtype).unsqueeze(3)
    allowed = unvisited.unsqueeze(2) & tables.serves.unsqueeze(1)
    allowed &= tables.demand[:, None, None] <= room
    if shifts is not None:
        kept = torch.einsum("bsn,bmn->bsm", unvisited.double(), shifts.reserved)
        busy = values.clock + kept
        back = (travel_times(tables, values.place) + tables.service[:, None, None]).double()
        back = back + (shifts.home - shifts.reserved).unsqueeze(1)
        allowed &= busy.unsqueeze(3) + back <= shifts.shift.view(*shifts.shift.shape[:1], 1, -1, 1)
    depot = tables.depot.unsqueeze(1).expand_as(values.place)
    return allowed.scatter(3, depot.unsqueeze(3), (values.place != depot).unsqueeze(3))


def advance(tables: Tables, values: Values, to: Int[Tensor, "batch trajectory vehicle"]) -> Values:
    """The values after each vehicle went to a node, or stayed where it is."""
    b, s, m = to.shape
    n = tables.duration.shape[2]
    arcs = (values.place * n + to).view(b, s * m)
    travel = tables.duration.reshape(b, n * n).gather(1, arcs).view(b, s, m)
    nodes = to.reshape(b, s * m)
    service = tables.service.gather(1, nodes).view(b, s, m)
    demand = tables.demand.gather(1, nodes).view(b, s, m)
    moved = to != values.place
    spent = (travel / tables.speed.unsqueeze(1) + service).double() * moved
    home = to == tables.depot.unsqueeze(1)
    load = (values.load + demand.double() * moved).masked_fill(home, 0)
    return Values(to, load, values.clock + spent)


class Bill(NamedTuple):
    """What complete paths cost, item by item; see `nco.data.fleet`."""

    time: Float[Tensor, "batch trajectory vehicle"]
    length: Float[Tensor, "batch trajectory vehicle"]
    missed: Float[Tensor, "batch trajectory"]
    used: Bool[Tensor, "batch trajectory vehicle"]


def bill_of(instance: Instance, paths: Int[Tensor, "batch trajectory vehicle visit"]) -> Bill:
    """The items of paths that begin and end at the vehicles' depots; staying at a node is free."""
    fleet = require_fleet(instance)
    b, s, m, t = paths.shape
    origin, to = paths[..., :-1], paths[..., 1:]
    moved = origin != to
    arcs = (origin.reshape(b, s * m, t - 1), to.reshape(b, s * m, t - 1))
    length = arc_lengths(instance, *arcs).view(b, s, m, t - 1)
    travel = length
    if instance.duration is not None:
        flat = (arcs[0] * instance.num_nodes + arcs[1]).reshape(b, -1)
        travel = instance.duration.reshape(b, -1).gather(1, flat).view(b, s, m, t - 1)
    customer = is_customer(instance)
    flat = to.reshape(b, -1)
    service = instance.service_time.masked_fill(~customer, 0).gather(1, flat).view_as(to)
    times = travel.sum(3) / fleet.speed.unsqueeze(1) + (service * moved).sum(3)
    missed = missed_preference(fleet).masked_fill(~customer.unsqueeze(1), 0)
    nodes = to.transpose(1, 2).reshape(b, m, -1)
    lost = missed.gather(2, nodes).view(b, m, s, t - 1).transpose(1, 2) * moved
    return Bill(times, length.sum(3), lost.sum((2, 3)), moved.any(3))


def total(fleet: Fleet, bill: Bill) -> Float[Tensor, "batch trajectory"]:
    """The cost of a bill, by the weights of the instance."""
    span = torch.where(fleet.min_max.unsqueeze(1), bill.time.amax(2), bill.time.sum(2))
    costs = fleet.fixed_cost.unsqueeze(1) * bill.used
    costs = costs + fleet.distance_cost.unsqueeze(1) * bill.length
    weighted = fleet.time_weight.unsqueeze(1) * span
    return weighted + fleet.preference_weight.unsqueeze(1) * bill.missed + costs.sum(2)
