"""PyVRP on profiled VRPs: a vehicle type with a profile of its own for each vehicle.

For the interface of PyVRP 0.14. A profile's distances are what arcs cost the vehicle, its durations
what its shift is spent on. A vehicle returns to its depot to refill (``reload_depots``), so its
fixed cost is paid once. A min-max objective is not in PyVRP.

Zones are arcs so dear that no solution without one costs as much (`barrier`). Written as loads that
only some vehicles have room for, they cost more: after 3 s at 40 customers, five instances, the
costs were 1.0 % higher in the mean, and higher in four.
"""

from __future__ import annotations

import numpy as np
import pyvrp

from nco.baselines.fleet_scaling import ScaledFleet
from nco.baselines.scaling import NO_LIMIT
from nco.baselines.workers import Routes


def barrier(scaled: ScaledFleet) -> int:
    """More than the distances of any solution without a forbidden arc: it has at most two arcs for
    each customer."""
    return 2 * scaled.allowed.shape[1] * int(scaled.arc_cost.max()) + 1


def fleet_problem_data(scaled: ScaledFleet, coords: np.ndarray) -> pyvrp.ProblemData:
    """The instance as PyVRP wants it; ``coords`` [N, 2] only guide the search."""
    vehicles, nodes = scaled.allowed.shape
    depots = scaled.num_depots
    loaded = bool((scaled.capacity != NO_LIMIT).any())
    arcs = scaled.arc_cost.copy()
    for k in range(vehicles):
        arcs[k][:, depots:][:, ~scaled.allowed[k, depots:]] = barrier(scaled)
        np.fill_diagonal(arcs[k], 0)
    clients = [
        pyvrp.Client(
            node,
            delivery=[int(scaled.demand[node])] if loaded else [],
            service_duration=int(scaled.service[node]),
        )
        for node in range(depots, nodes)
    ]
    types = [
        pyvrp.VehicleType(
            num_available=1,
            capacity=[int(scaled.capacity[k])] if loaded else [],
            start_depot=int(scaled.depot[k]),
            end_depot=int(scaled.depot[k]),
            reload_depots=[int(scaled.depot[k])],
            fixed_cost=int(scaled.fixed_cost[k]),
            shift_duration=int(scaled.shift[k]),
            profile=k,
        )
        for k in range(vehicles)
    ]
    return pyvrp.ProblemData(
        [pyvrp.Location(float(x), float(y)) for x, y in coords],
        clients,
        [pyvrp.Depot(i) for i in range(depots)],
        types,
        list(arcs),
        list(scaled.duration),
    )


def fleet_routes(solution: pyvrp.Solution, num_depots: int) -> Routes:
    """The trips of each vehicle."""
    trips: list[list[int]] = []
    vehicles: list[int] = []
    for route in solution.routes():
        by_trip: dict[int, list[int]] = {}
        for visit in route:
            if visit.is_client():
                by_trip.setdefault(visit.trip, []).append(num_depots + visit.idx)
        trips += by_trip.values()
        vehicles += [route.vehicle_type()] * len(by_trip)
    return Routes(trips, vehicles=vehicles)
