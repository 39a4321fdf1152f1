"""The independent judge of solutions: plain Python loops in float64, apart from any environment.

It shares no rule, rounding or distance code with the environments or with `nco.data.instance`, so
that an error there cannot hide here.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.fleet_checker import FleetBill, require_vehicles
from nco.envs.judge import Judge, Report, Visit, refuse_batch


def timetable(instance: Instance, solution: Solution) -> list[list[Visit]]:
    """The stops of each route by the rules of `check_routes`: the depot, the customers, and the
    depot again unless routes are open. Only of a VRP whose routes name nodes that exist.

    A vehicle leaves when its depot opens, even where it then waits for its first customer.

    Raises:
        InputError: there is more than one instance, or it has no depot, or a fleet.
    """
    judge = Judge(instance, 0.0)
    if judge.num_depots == 0:
        raise InputError("a TSP has no timetable; accepted: an instance with a depot")
    if instance.fleet is not None:
        raise InputError("timetables know no speeds; accepted: an instance without a fleet")
    pairs = zip(solution.depots, solution.routes, strict=True)
    return [judge.visits(depot, route) for depot, route in pairs]


def check_routes(
    instance: Instance,
    routes: list[list[int]],
    depots: list[int] | None = None,
    tolerance: float = 1e-6,
    *,
    vehicles: list[int] | None = None,
    realised_prizes: Sequence[float] | None = None,
) -> Report:
    """Cost and every violation of the routes of one instance (B = 1).

    The rules:

    - every customer is visited exactly once; no unknown node, no padding, no depot in a route;
    - at most ``num_vehicles`` routes that are not empty, over all depots together;
    - load, classical backhauls: a route's deliveries fit into the capacity, so do its pickups, and
      no delivery comes after a pickup. Mixed: the vehicle leaves with all of the route's
      deliveries, and the load after each stop fits. Where a node has both, delivery comes first;
    - time: a vehicle leaves its depot when that opens, waits where it is early, starts service no
      later than ``late``, and is back at its depot before that closes. A depot has no service;
    - a route's length is at most ``distance_limit``;
    - a route ends at the depot it began at. An open route has no way back at all: no cost, no
      length, no time;
    - a TSP (``num_depots`` 0) has exactly one route, with all nodes, and it is closed;
    - with a fleet, cost and rules are those that `nco.data.fleet` states: each route is a trip of
      its vehicle, from the vehicle's depot.
    - where customers may not ask (``presence``), routes keep all rules as if all did, and the cost
      is the expected length of routes that skip those who do not;
    - with prizes a customer is visited at most once, there is at most one route, and it collects
      ``min_prize`` or visits all;
    - with traffic, windows are soft: the cost is what the routes come to under mean travel times at
      the instance's prices, and lateness and overtime break no rule;
    - with uncertain demands a route may carry more than the capacity on the mean, and the cost is
      the mean of what is driven, with the ways to the depot that `nco.envs.recourse` tells of.

    Args:
        routes: customers in order of service, without depots. Empty routes are ignored.
        depots: where each route starts; by default depot 0. Not looked at for a TSP.
        tolerance: relative. A quantity breaks its limit when it is above it by more than
            ``tolerance * max(quantity, limit)``.
        vehicles: with a fleet, the vehicle of each route, which says its depot as well; else not
            looked at.
        realised_prizes: by node, what was found where the instance's are expected ones only.

    Raises:
        InputError: there is more than one instance, not one depot for each route, with a fleet not
            one vehicle for each, or a TSP carries attributes (demand, windows, ...) that mean
            nothing without a depot.
    """
    judge = Judge(instance, tolerance, realised_prizes)
    if instance.fleet is not None:
        return judge.fleet_report(instance.fleet, routes, require_vehicles(routes, vehicles))
    return judge.report(routes, depots)


def check(instance: Instance, solution: Solution, tolerance: float = 1e-6) -> Report:
    """`check_routes` of a solution's routes; its own cost and violations are not read."""
    return check_routes(
        instance, solution.routes, solution.depots, tolerance, vehicles=solution.vehicles
    )


def fleet_bill(instance: Instance, routes: list[list[int]], vehicles: list[int]) -> FleetBill:
    """What the routes of one instance (B = 1) with a fleet come to, item by item.

    Raises:
        InputError: there is more than one instance, or it has no fleet, or there is not one vehicle
            of it for each route, or a route names a node that does not exist.
    """
    if instance.fleet is None:
        raise InputError("the instance has no fleet; accepted: one whose vehicles have profiles")
    judge = Judge(instance, 0.0)
    if not all(judge.names(f"route {i}", route) for i, route in enumerate(routes, start=1)):
        raise InputError(f"{judge.violations[0]}; accepted: nodes of the instance")
    fleet = judge.fleet_judge(instance.fleet)
    bill = fleet.bill(routes, require_vehicles(routes, vehicles))
    if bill is None:
        raise InputError(f"{fleet.violations[0]}; accepted: vehicles of the instance")
    return bill


def evaluate(
    instance: Instance,
    routes: list[list[int]],
    *,
    solver: str,
    seconds: float,
    depots: list[int] | None = None,
    trace: Sequence[tuple[float, float]] = (),
    vehicles: list[int] | None = None,
) -> Solution:
    """A `Solution` with cost, feasibility and violations by `check_routes`; empty routes go.

    Args:
        solver: its name, as it stands in tables.
        seconds: wall time that it took.
        trace: (seconds, cost) of each improvement.
        vehicles: of the routes, with a fleet; then the depots are theirs.

    Raises:
        InputError: as `check_routes`.
    """
    report = check_routes(instance, routes, depots, vehicles=vehicles)
    if instance.fleet is not None:
        vehicles = require_vehicles(routes, vehicles)
        depots = Judge(instance, 0.0).fleet_judge(instance.fleet).depots(vehicles)
    elif depots is None or int(instance.num_depots[0]) == 0:
        depots = [_default_depot(instance)] * len(routes)
    kept = [i for i, route in enumerate(routes) if route]
    return Solution(
        instance=instance,
        routes=[list(routes[i]) for i in kept],
        depots=[depots[i] for i in kept],
        cost=report.cost,
        feasible=report.feasible,
        violations=report.violations,
        seconds=seconds,
        solver=solver,
        trace=list(trace),
        vehicles=[vehicles[i] for i in kept] if vehicles and instance.fleet is not None else [],
    )


def routes_from_actions(
    instance: Instance, actions: Int[Tensor, " step"] | Sequence[int]
) -> tuple[list[list[int]], list[int]]:
    """Routes, and the depot of each, of one trajectory of node indices (B = 1).

    A VRP's trajectory is split at its depot visits; a route starts from the depot visited last
    before it, from depot 0 where there was none. Repeated and trailing visits make no routes. A
    TSP's trajectory is one route (depot -1): its first steps, one for each node; what follows is
    the padding of a batch of mixed sizes.

    Raises:
        InputError: there is more than one instance, or it has a fleet.
    """
    refuse_batch(instance)
    if instance.fleet is not None:
        raise InputError(
            "the instance has a fleet, whose actions name vehicles too; accepted: nodes only"
        )
    nodes = [int(a) for a in actions]
    num_depots = int(instance.num_depots[0])
    if num_depots == 0:
        return [nodes[: int(instance.valid.sum())]], [-1]
    routes: list[list[int]] = []
    depots: list[int] = []
    depot, at_depot = 0, True
    for node in nodes:
        if 0 <= node < num_depots:
            depot, at_depot = node, True
            continue
        if at_depot:
            routes.append([])
            depots.append(depot)
            at_depot = False
        routes[-1].append(node)
    return routes, depots


def _default_depot(instance: Instance) -> int:
    return -1 if int(instance.num_depots[0]) == 0 else 0
