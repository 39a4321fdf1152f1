"""OR-Tools' routing library on profiled VRPs.

For the Python interface of OR-Tools 9.15. Every vehicle has arc costs of its own. Refills are
optional visits to copies of its depot, which take the load off; so a vehicle has one route, one
fixed cost and one shift, whatever its trips. Zones say which vehicles may visit a node. Without a
min-max objective the time is in the arc costs; with one the largest time is a span.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ortools.constraint_solver import pywrapcp

from nco.baselines.fleet_scaling import ScaledFleet
from nco.baselines.scaling import MAX_TOTAL, NO_LIMIT
from nco.baselines.workers import Routes


class FleetModel:
    """One routing model: nodes, then copies of depots for refills; and the vehicles."""

    def __init__(self, scaled: ScaledFleet) -> None:
        self.scaled = scaled
        self.num_vehicles, self.num_nodes = scaled.allowed.shape
        depots = scaled.depot.tolist()
        used = sorted(set(depots))
        refills = _refills(scaled)
        self.place = [*range(self.num_nodes), *(d for d in used for _ in range(refills))]
        self.manager = pywrapcp.RoutingIndexManager(
            len(self.place), self.num_vehicles, depots, depots
        )
        self.routing = pywrapcp.RoutingModel(self.manager)
        self._add_costs()
        self._add_refills_and_zones()
        self._add_loads()
        self._add_shifts()

    def _transit(self, matrix: np.ndarray) -> int:
        """A registered matrix, with rows and columns for the copies."""
        return self.routing.RegisterTransitMatrix(matrix[np.ix_(self.place, self.place)].tolist())

    def _add_costs(self) -> None:
        routing, scaled = self.routing, self.scaled
        for k in range(self.num_vehicles):
            routing.SetArcCostEvaluatorOfVehicle(self._transit(scaled.arc_cost[k]), k)
            routing.SetFixedCostOfVehicle(int(scaled.fixed_cost[k]), k)
        if scaled.min_max:
            times = [self._transit(matrix) for matrix in scaled.time_cost]
            routing.AddDimensionWithVehicleTransits(times, 0, MAX_TOTAL, True, "span")
            routing.GetDimensionOrDie("span").SetGlobalSpanCostCoefficient(1)

    def _add_refills_and_zones(self) -> None:
        for node, place in enumerate(self.place):
            if node < self.scaled.num_depots:
                # a vehicle's own depot is its start and end; others are no stop for anybody
                if place not in self.scaled.depot:
                    self.routing.AddDisjunction([self.manager.NodeToIndex(node)], 0)
                    self._restrict(node, [])
                continue
            if node < self.num_nodes:
                self._restrict(node, np.flatnonzero(self.scaled.allowed[:, node]).tolist())
                continue
            self.routing.AddDisjunction([self.manager.NodeToIndex(node)], 0)
            self._restrict(node, np.flatnonzero(self.scaled.depot == place).tolist())

    def _restrict(self, node: int, vehicles: list[int]) -> None:
        # in Python SetAllowedVehiclesForIndex takes no list; -1 stands for not being visited
        self.routing.VehicleVar(self.manager.NodeToIndex(node)).SetValues([-1, *vehicles])

    def _add_loads(self) -> None:
        scaled, routing = self.scaled, self.routing
        if (scaled.capacity == NO_LIMIT).all():
            return
        total = int(scaled.demand.sum())
        most = [min(int(capacity), total) for capacity in scaled.capacity]
        full = max(most)
        refilled = [-full] * (len(self.place) - self.num_nodes)
        loads = routing.RegisterUnaryTransitVector([*scaled.demand.tolist(), *refilled])
        routing.AddDimensionWithVehicleCapacity(loads, full, most, True, "load")
        dimension = routing.GetDimensionOrDie("load")
        for node in range(len(self.place)):
            index = self.manager.NodeToIndex(node)
            # only a refill may leave less than all off: what is not on board cannot go
            if scaled.num_depots <= node < self.num_nodes:
                dimension.SlackVar(index).SetValue(0)
        for vehicle in range(self.num_vehicles):
            dimension.SlackVar(routing.Start(vehicle)).SetValue(0)

    def _add_shifts(self) -> None:
        scaled = self.scaled
        if (scaled.shift == NO_LIMIT).all():
            return
        work = scaled.duration + scaled.service[:, None]
        times = [self._transit(matrix) for matrix in work]
        limits = [min(int(shift), MAX_TOTAL) for shift in scaled.shift]
        self.routing.AddDimensionWithVehicleTransitAndCapacity(times, 0, limits, True, "time")

    def solve(self, parameters: Any) -> None:
        """Search from OR-Tools' own first solution."""
        self.routing.SolveWithParameters(parameters)

    def routes(self) -> Routes:
        """The trips that the solver stands at while it calls back."""
        routing = self.routing
        trips: list[list[int]] = []
        vehicles: list[int] = []
        for vehicle in range(self.num_vehicles):
            trip: list[int] = []
            index = routing.NextVar(routing.Start(vehicle)).Value()
            while True:
                node = -1 if routing.IsEnd(index) else self.manager.IndexToNode(index)
                if self.scaled.num_depots <= node < self.num_nodes:
                    trip.append(node)
                elif trip:
                    trips.append(trip)
                    vehicles.append(vehicle)
                    trip = []
                if node < 0:
                    break
                index = routing.NextVar(index).Value()
        return Routes(trips, vehicles=vehicles)


def _refills(scaled: ScaledFleet) -> int:
    """Copies of each depot: enough for an optimal solution, few enough for a small model.

    Where distances are Euclidean two trips of a vehicle that fit into one can be joined without
    loss. So in some optimal solution any two of its trips carry more than its capacity together,
    and k trips more than k / 2 capacities.
    """
    customers = scaled.allowed.shape[1] - scaled.num_depots
    least, total = int(scaled.capacity.min()), int(scaled.demand.sum())
    if scaled.metric and least < NO_LIMIT:
        return min(customers - 1, 2 * total // least)
    return customers - 1
