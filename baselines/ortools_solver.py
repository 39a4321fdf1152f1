"""OR-Tools' routing library: constraint programming with local search (guided by default).

For the Python interface of OR-Tools 9.15, which has no seed and holds the interpreter's lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from nco.baselines.attributes import UNCERTAIN, Attribute, attributes, fleet, refuse_unsupported
from nco.baselines.fleet_scaling import ScaledFleet, scale_fleet
from nco.baselines.ortools_fleet import FleetModel
from nco.baselines.scaling import NO_LIMIT, Scaled, ScaledPrizes, scale_instance, scale_prizes
from nco.baselines.solver import Budget, require_limit
from nco.baselines.workers import Routes, Search, solve_in_workers
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution

SUPPORTED = frozenset(Attribute) - UNCERTAIN
FLEET_STARTS = (
    "sequential_cheapest_insertion",
    "parallel_cheapest_insertion",
    "savings",
    "first_unbound_min_value",
)
"""First solutions of fleets. Insertion and savings succeed or give up at once, and with tight zones
each gives up now and then; the last is a tree search, which may take what is left of the budget
(docs/decisions.md)."""

_ENUMS = {
    "first_solution_strategy": routing_enums_pb2.FirstSolutionStrategy,
    "metaheuristic": routing_enums_pb2.LocalSearchMetaheuristic,
}


@dataclass(frozen=True)
class Problem:
    """One instance in integers, with what `Scaled` leaves out."""

    scaled: Scaled
    num_depots: int
    num_vehicles: int
    """For each depot."""
    fleet: int
    """Over all depots."""
    open_route: bool
    mixed: bool
    prizes: ScaledPrizes | None
    first_solution_strategy: str
    metaheuristic: str


@dataclass(frozen=True)
class FleetProblem:
    """One instance with a fleet in integers."""

    scaled: ScaledFleet
    first_solution_strategies: tuple[str, ...]
    """Each is tried where those before it found nothing."""
    metaheuristic: str


@dataclass(frozen=True)
class ORToolsSolver:
    """OR-Tools routing.

    An iteration limit is its solution limit, and repeats exactly. OR-Tools takes no seed.

    By default it starts from savings: in 2 s at 1,000 customers that gave 111.3 where its automatic
    choice gave 118.7, and on 192 combinations of attributes with 12 customers it missed the best
    cost once, the automatic choice four times. With several depots it starts from parallel cheapest
    insertion: after 1.3 s of a core at 50 customers and 3 depots that was 0.1 to 2.5 % above the
    reference in four variants, from savings 3 to 7.5 %. With a fleet it tries `FLEET_STARTS` in
    turn until one finds a solution, all within the one budget.

    Args:
        first_solution_strategy, metaheuristic: OR-Tools' names, in lower case; None is the default.
        num_workers: processes that work on instances of a batch at the same time.

    Raises:
        InputError: an unknown strategy or metaheuristic.
    """

    first_solution_strategy: str | None = None
    metaheuristic: str = "guided_local_search"
    num_workers: int = 1

    def __post_init__(self) -> None:
        for name, enum in _ENUMS.items():
            value = getattr(self, name)
            if value is None and name == "first_solution_strategy":
                continue
            accepted = [known.lower() for known in enum.Value.DESCRIPTOR.values_by_name]
            if value not in accepted:
                raise InputError(f"{name} is {value!r}; accepted: {', '.join(accepted)}")

    @property
    def name(self) -> str:
        return "ortools"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; the trace holds each new best solution."""
        require_limit(self.name, budget)
        for single in unbatch(instance):
            refuse_unsupported(self.name, single, supported(single))
        return solve_in_workers(
            self.name,
            instance,
            budget,
            seed,
            prepare=self._prepare if instance.fleet is None else self._prepare_fleet,
            search=_search,
            num_workers=self.num_workers,
        )

    def _prepare(self, instance: Instance) -> Problem:
        scaled = scale_instance(instance)
        depots = int(instance.num_depots)
        return Problem(
            scaled=scaled,
            num_depots=depots,
            num_vehicles=_vehicles(instance, scaled) if depots and instance.prize is None else 1,
            fleet=fleet(instance),
            open_route=bool(instance.open_route),
            mixed=bool(instance.mixed_backhaul),
            prizes=scale_prizes(instance, scaled.distance_scale),
            first_solution_strategy=self.first_solution_strategy or _start(depots),
            metaheuristic="greedy_descent" if _one_choice(instance) else self.metaheuristic,
        )

    def _prepare_fleet(self, instance: Instance) -> FleetProblem:
        asked = self.first_solution_strategy
        return FleetProblem(
            scaled=scale_fleet(instance),
            first_solution_strategies=(asked,) if asked else FLEET_STARTS,
            metaheuristic=self.metaheuristic,
        )


def supported(instance: Instance) -> frozenset[Attribute]:
    """What can be expressed: a classical backhaul that also has a delivery cannot."""
    return SUPPORTED if bool(instance.mixed_backhaul) else SUPPORTED - {Attribute.BOTH_LOADS}


def _one_choice(instance: Instance) -> bool:
    """Whether all there is to choose is to visit the only customer or not: metaheuristics look
    for a third solution for ever."""
    return instance.prize is not None and instance.num_nodes == 2


def _start(num_depots: int) -> str:
    return "parallel_cheapest_insertion" if num_depots > 1 else "savings"


def _vehicles(instance: Instance, scaled: Scaled) -> int:
    """Vehicles for each depot: enough for an optimal solution, few enough for a small model.

    In a Euclidean CVRP two routes that fit into one vehicle can be joined without loss. So in
    some optimal solution any two loads exceed the capacity together, and k routes carry more than
    k / 2 capacities.
    """
    total, limit = int(scaled.linehaul.sum()), fleet(instance)
    joinable = {Attribute.DEPOT, Attribute.FLEET_LIMIT}
    euclidean = instance.distance is None
    held = attributes(instance)
    if euclidean and held <= joinable and 0 < scaled.capacity < NO_LIMIT:
        return min(limit, max(1, 2 * total // scaled.capacity + 1))
    return limit


class _Model:
    """One routing model: nodes, vehicles, and a dimension for each constraint."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.scaled = problem.scaled
        self.num_nodes = len(problem.scaled.distance)
        self.tour = problem.num_depots == 0
        depots = [d for d in range(max(problem.num_depots, 1)) for _ in range(problem.num_vehicles)]
        self.starts = depots
        self.manager = pywrapcp.RoutingIndexManager(self.num_nodes, len(depots), depots, depots)
        self.routing = pywrapcp.RoutingModel(self.manager)
        self.arcs = self._transit(self.scaled.distance)
        self.routing.SetArcCostEvaluatorOfAllVehicles(self.arcs)
        if self.tour:
            return
        self._add_loads()
        self._add_time()
        self._add_prizes()
        if self.scaled.distance_limit != NO_LIMIT:
            self.routing.AddDimension(self.arcs, 0, self.scaled.distance_limit, True, "distance")
        if problem.fleet < len(depots):
            self.routing.SetMaximumNumberOfActiveVehicles(problem.fleet)

    def _transit(self, matrix: np.ndarray) -> int:
        """A registered matrix; an open route has no way back at all."""
        if self.problem.open_route:
            matrix = matrix.copy()
            matrix[:, : self.problem.num_depots] = 0
        # numpy arrays are not taken
        return self.routing.RegisterTransitMatrix(matrix.tolist())

    def _unary(self, values: np.ndarray) -> int:
        return self.routing.RegisterUnaryTransitVector(values.tolist())

    def _add_loads(self) -> None:
        scaled, routing = self.scaled, self.routing
        picked = bool(scaled.backhaul.any())
        if picked and not self.problem.mixed:
            self._forbid_delivery_after_pickup()
        if scaled.capacity == NO_LIMIT:
            return
        deliveries = self._unary(scaled.linehaul)
        routing.AddDimension(deliveries, 0, scaled.capacity, True, "delivered")
        if not picked:
            return
        if not self.problem.mixed:
            pickups = self._unary(scaled.backhaul)
            routing.AddDimension(pickups, 0, scaled.capacity, True, "picked up")
            return
        # the load on board: the vehicle leaves with exactly what it will deliver
        change = self._unary(scaled.backhaul - scaled.linehaul)
        routing.AddDimension(change, 0, scaled.capacity, False, "load")
        load = routing.GetDimensionOrDie("load")
        delivered = routing.GetDimensionOrDie("delivered")
        for vehicle in range(routing.vehicles()):
            routing.solver().Add(
                load.CumulVar(routing.Start(vehicle)) == delivered.CumulVar(routing.End(vehicle))
            )

    def _forbid_delivery_after_pickup(self) -> None:
        # counted along the route: forbidden arcs would overlook a stop without a load in between
        picked = self.scaled.backhaul > 0
        self.routing.AddDimension(
            self._unary(picked.astype(np.int64)), 0, int(picked.sum()), True, "pickups made"
        )
        made = self.routing.GetDimensionOrDie("pickups made")
        for node in np.flatnonzero(self.scaled.linehaul):
            made.CumulVar(self.manager.NodeToIndex(int(node))).SetMax(0)

    def _add_time(self) -> None:
        scaled, routing = self.scaled, self.routing
        late = scaled.late
        closing = late[late != NO_LIMIT]
        if not len(closing) and not scaled.early.any():
            return
        travel = scaled.duration + scaled.service[:, None]
        # no route can need more: every node is left once, after the last window has opened
        horizon = int(max(scaled.early.max(), closing.max(initial=0)) + travel.max(1).sum())
        routing.AddDimension(self._transit(travel), horizon, horizon, False, "time")
        time = routing.GetDimensionOrDie("time")
        closes = np.minimum(late, horizon).tolist()
        opens = scaled.early.tolist()
        for node in range(self.problem.num_depots, self.num_nodes):
            time.CumulVar(self.manager.NodeToIndex(node)).SetRange(opens[node], closes[node])
        for vehicle, depot in enumerate(self.starts):
            time.CumulVar(routing.Start(vehicle)).SetMin(opens[depot])
            if not self.problem.open_route:
                time.CumulVar(routing.End(vehicle)).SetMax(closes[depot])

    def _add_prizes(self) -> None:
        prizes, routing = self.problem.prizes, self.routing
        if prizes is None or prizes.all_needed:
            return
        for node in range(self.problem.num_depots, self.num_nodes):
            routing.AddDisjunction([self.manager.NodeToIndex(node)], int(prizes.penalty[node]))
        total = int(prizes.prize.sum())
        routing.AddDimension(self._unary(prizes.prize), 0, total, True, "prize")
        routing.GetDimensionOrDie("prize").CumulVar(routing.End(0)).SetMin(prizes.needed)

    def solve(self, parameters: Any) -> None:
        """Search; with prizes from a tour of all customers, since no first solution's strategy
        looks at what must be collected."""
        if self.problem.prizes is None:
            self.routing.SolveWithParameters(parameters)
            return
        tour = list(range(self.problem.num_depots, self.num_nodes))
        start = self.routing.ReadAssignmentFromRoutes([tour], True)
        self.routing.SolveFromAssignmentWithParameters(start, parameters)

    def routes(self) -> Routes:
        """The routes that the solver stands at while it calls back."""
        routing = self.routing
        routes, depots = [], []
        for vehicle, depot in enumerate(self.starts):
            route: list[int] = []
            index = routing.NextVar(routing.Start(vehicle)).Value()
            while not routing.IsEnd(index):
                route.append(self.manager.IndexToNode(index))
                index = routing.NextVar(index).Value()
            if route:
                routes.append(route)
                depots.append(depot)
        if self.tour:
            return Routes([[0, *(node for route in routes for node in route)]])
        return Routes(routes, depots)


class _Watch:
    """Called back at each solution; notes the better ones.

    It must let go of the model in the end: OR-Tools holds the callback, so they would keep each
    other alive for ever.
    """

    def __init__(self, model: _Model | FleetModel, search: Search) -> None:
        self.model: _Model | FleetModel | None = model
        self.search = search
        self.best = NO_LIMIT

    def __call__(self) -> None:
        assert self.model is not None
        cost = self.model.routing.CostVar().Max()
        if cost < self.best:
            self.best = cost
            self.search.improved(self.model.routes())


def _search(problem: Problem | FleetProblem, search: Search) -> Search:
    """Runs in a worker process."""
    fleet = isinstance(problem, FleetProblem)
    model = FleetModel(problem.scaled) if fleet else _Model(problem)
    routing = model.routing
    starts = (
        problem.first_solution_strategies
        if isinstance(problem, FleetProblem)
        else (problem.first_solution_strategy,)
    )
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.local_search_metaheuristic = _ENUMS["metaheuristic"].Value.Value(
        problem.metaheuristic.upper()
    )
    if search.iterations is not None:
        parameters.solution_limit = search.iterations
    watch = _Watch(model, search)
    routing.AddAtSolutionCallback(watch)
    # closing the model takes time too, so the limit is set again after it
    steps = [(starts[0], routing.CloseModelWithParameters), *((s, model.solve) for s in starts)]
    for start, spend in steps:
        if search.deadline is not None:
            milliseconds = int(1000 * search.seconds_left())
            if milliseconds <= 0:
                break
            parameters.time_limit.FromMilliseconds(milliseconds)
        parameters.first_solution_strategy = _ENUMS["first_solution_strategy"].Value.Value(
            start.upper()
        )
        spend(parameters)
        if watch.best < NO_LIMIT:
            break
    watch.model = None
    return search
