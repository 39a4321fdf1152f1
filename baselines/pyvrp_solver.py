"""PyVRP: iterated local search (Wouda, Lan and Kool 2024, doi:10.1287/ijoc.2023.0055).

For the interface of PyVRP 0.14, in which coordinates live in locations and visits are activities.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyvrp

from nco.baselines.attributes import UNCERTAIN, Attribute, fleet, refuse_unsupported
from nco.baselines.fleet_scaling import ScaledFleet, scale_fleet
from nco.baselines.pyvrp_fleet import barrier, fleet_problem_data, fleet_routes
from nco.baselines.scaling import NO_LIMIT, Scaled, scale_instance
from nco.baselines.solver import Budget, SolveFailed, Solver, require_limit
from nco.baselines.workers import Routes, Search, solve_in_workers
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution

SUPPORTED = (
    frozenset(Attribute)
    - UNCERTAIN
    - {Attribute.SHARED_FLEET, Attribute.NO_LOAD, Attribute.MIN_MAX, Attribute.PRIZES}
)
"""Deliveries are kept before pickups by forbidden arcs, which a stop without a load would evade."""

FORBIDDEN = 2**44
"""Length of an arc that must not be used: PyVRP's own largest value."""

PENALTY_CEILING = 100_000
"""PyVRP's largest charge for one unit of violation (its PenaltyParams.max_penalty)."""

MOST_UNITS = 1000
"""Of cost for a unit of length, where time costs a fraction of it."""

MAX_SEED = 2**32


@dataclass(frozen=True)
class Problem:
    """One instance in integers, with what `Scaled` leaves out."""

    scaled: Scaled
    coords: np.ndarray  # [N, 2]; zeros where there are none
    num_depots: int
    num_vehicles: int
    open_route: bool
    linehaul_first: bool
    start: Routes | None = None
    """Where the search begins; None leaves that to PyVRP."""
    length_cost: int = 1
    """Of one unit of length."""
    time_cost: int = 0
    """Of one unit of time on duty."""
    prize: np.ndarray | None = None
    """Of visits that may be left out, in units of length times ``length_cost``; -1 for the
    others."""
    release: np.ndarray | None = None
    """Before which no vehicle may leave with what goes to a node, in units of time."""


@dataclass(frozen=True)
class Terms:
    """What an instance does not say: which visits are optional, and what is not there yet."""

    prize: tuple[float | None, ...]
    """Of each node, in units of length: what it is worth to visit it; None where it must be."""
    release: tuple[float, ...]
    """Of each node: its route leaves no sooner."""


@dataclass(frozen=True)
class FleetProblem:
    """One instance with a fleet in integers."""

    scaled: ScaledFleet
    coords: np.ndarray  # [N, 2]; zeros where there are none


@dataclass(frozen=True)
class PyVRPSolver:
    """PyVRP with its default parameters.

    An iteration limit counts its local search iterations, and repeats exactly. A pickup-only
    route is allowed with classical backhauls. The checker's rules hold otherwise.

    Args:
        num_workers: processes that work on instances of a batch at the same time.
        start: finds the solution that the search begins with, within the same time limit and
            without any other; None begins as PyVRP does, with a local search from random routes.
            Not for fleets.
        time_price: what a unit of time on duty costs in units of length, from the departure that
            is best to the return. Costs reported are lengths all the same.

    Raises:
        InputError: the price is negative or not finite.
    """

    num_workers: int = 1
    start: Solver | None = None
    time_price: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.time_price < math.inf:
            raise InputError(f"time_price is {self.time_price}; accepted: at least 0, finite")

    def pricing_time(self, price: float) -> PyVRPSolver:
        """See `nco.baselines.solver.PricesTime`."""
        return dataclasses.replace(self, time_price=price)

    @property
    def name(self) -> str:
        return "pyvrp" if self.start is None else f"pyvrp from {self.start.name}"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; the trace holds each new best solution."""
        require_limit(self.name, budget)
        for single in unbatch(instance):
            known = supported(single)
            if self.start is not None or self.time_price:
                known -= {Attribute.FLEET}
            refuse_unsupported(self.name, single, known)
        return solve_in_workers(
            self.name,
            instance,
            budget,
            seed,
            prepare=lambda single: self._prepare(single, budget, seed),
            search=search,
            num_workers=self.num_workers,
        )

    def _prepare(self, single: Instance, budget: Budget, seed: int) -> Problem | FleetProblem:
        if single.fleet is not None:
            scaled = scale_fleet(single, penalty_ceiling=PENALTY_CEILING)
            return FleetProblem(scaled, _coords(single))
        problem = problem_of(single, self.time_price)
        if self.start is None:
            return problem
        (first,) = self.start.solve(single, Budget(time_limit=budget.time_limit), seed)
        return dataclasses.replace(problem, start=Routes(first.routes, first.depots))


def solve_here(one: Instance, terms: Terms, budget: Budget, seed: int) -> list[list[int]]:
    """Routes of one instance (B = 1), perhaps without its optional visits, in this process: for
    many small problems, which starting others would outlast. The caller judges them.

    A search that ends without feasible routes is begun again, once, with a route for each customer.

    Raises:
        InputError: the budget has no limit.
        SolveFailed: no feasible routes were found, and those are not feasible either.
    """
    require_limit("pyvrp", budget)
    limit = None if budget.time_limit is None else time.monotonic() + budget.time_limit
    problem = problem_of(one, terms=terms)
    found = search(problem, Search(limit, budget.iterations, seed))
    if found.best is None:
        alone = [[node] for node in range(1, one.num_nodes)]
        problem = dataclasses.replace(problem, start=Routes(alone, [0] * len(alone)))
        found = search(problem, Search(limit, budget.iterations, seed))
    if found.best is None:
        raise SolveFailed(
            f"pyvrp found no feasible routes for {one.num_nodes - 1} customers; accepted: a larger "
            "time limit or more iterations"
        )
    return found.best.routes


def supported(instance: Instance) -> frozenset[Attribute]:
    """What can be expressed: a classical backhaul that also has a delivery cannot."""
    if bool(instance.mixed_backhaul):
        return SUPPORTED
    return SUPPORTED - {Attribute.BOTH_LOADS}


def problem_of(instance: Instance, time_price: float = 0.0, terms: Terms | None = None) -> Problem:
    """What `search` takes of one instance (B = 1); `PyVRPSolver` explains the price."""
    scaled = scale_instance(instance, penalty_ceiling=PENALTY_CEILING)
    units = Fraction(time_price * scaled.distance_scale / scaled.time_scale)
    ratio = units.limit_denominator(MOST_UNITS)
    return Problem(
        scaled=scaled,
        coords=_coords(instance),
        num_depots=int(instance.num_depots),
        num_vehicles=fleet(instance),
        open_route=bool(instance.open_route),
        linehaul_first=not bool(instance.mixed_backhaul),
        length_cost=ratio.denominator,
        time_cost=ratio.numerator,
        prize=None if terms is None else _prizes(terms, scaled, ratio.denominator),
        release=None if terms is None else _releases(terms, scaled),
    )


def _prizes(terms: Terms, scaled: Scaled, length_cost: int) -> np.ndarray:
    unit = scaled.distance_scale * length_cost
    return np.array([-1 if prize is None else round(prize * unit) for prize in terms.prize])


def _releases(terms: Terms, scaled: Scaled) -> np.ndarray:
    return np.ceil(np.array(terms.release) * scaled.time_scale).astype(np.int64)


def _coords(instance: Instance) -> np.ndarray:
    n = instance.num_nodes
    return np.zeros((n, 2)) if instance.coords is None else instance.coords[0].numpy()


class _Stop:
    """Stops at the deadline, set-up included, or after a number of iterations; used once."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.iterations = 0

    def __call__(self, best_cost: int | float) -> bool:
        limit = self.search.iterations
        if self.search.seconds_left() <= 0 or (limit is not None and self.iterations >= limit):
            return True
        self.iterations += 1
        return False


class _Trace(pyvrp.IteratedLocalSearchCallbacks):
    """Notes each new best feasible solution."""

    def __init__(
        self,
        search: Search,
        routes: Callable[[pyvrp.Solution], Routes],
        allowed: Callable[[pyvrp.Solution], bool],
    ) -> None:
        self.search = search
        self.routes = routes
        self.allowed = allowed

    def on_start(self, ils: pyvrp.IteratedLocalSearch) -> None:
        self.on_best(ils.initial_solution)

    def on_best(self, best: pyvrp.Solution) -> None:
        # a forbidden arc is no violation to PyVRP, only dear
        if best.is_feasible() and self.allowed(best):
            self.search.improved(self.routes(best))


def _routes(best: pyvrp.Solution, num_depots: int) -> Routes:
    first = max(num_depots, 1)
    visits = [
        [first + visit.idx for visit in route if visit.is_client()] for route in best.routes()
    ]
    if not num_depots:
        return Routes([[0, *(node for route in visits for node in route)]])
    return Routes(visits, [route.start_depot() for route in best.routes()])


def search(problem: Problem | FleetProblem, task: Search) -> Search:
    """PyVRP in this process until the task's deadline or iterations are over; returns the task."""
    # importing pyvrp makes it print to stdout
    logger = logging.getLogger("pyvrp")
    logger.handlers.clear()
    logger.addHandler(logging.NullHandler())
    start = None
    if isinstance(problem, FleetProblem):
        depots = problem.scaled.num_depots
        data = fleet_problem_data(problem.scaled, problem.coords)
        most = barrier(problem.scaled)
        callbacks = _Trace(
            task,
            lambda best: fleet_routes(best, depots),
            lambda best: best.distance_cost() < most,
        )
    elif problem.num_depots == 0 and len(problem.coords) == 1:
        task.improved(Routes([[0]]))
        return task
    else:
        depots = problem.num_depots
        data = _problem_data(problem)
        callbacks = _Trace(
            task, lambda best: _routes(best, depots), lambda best: best.distance() < FORBIDDEN
        )
        start = _initial(problem, data)
    pyvrp.solve(
        data,
        _Stop(task),
        seed=task.seed % MAX_SEED,
        collect_stats=False,
        display=False,
        params=pyvrp.SolveParams(
            ils=pyvrp.IteratedLocalSearchParams(callbacks=callbacks),
        ),
        initial_solution=start,
    )
    return task


def _initial(problem: Problem, data: pyvrp.ProblemData) -> pyvrp.Solution | None:
    """The start in PyVRP's terms; what `_routes` turns back."""
    if problem.start is None:
        return None
    if problem.num_depots == 0:
        (tour,) = problem.start.routes
        at = tour.index(0)
        visits, depots = [[*tour[at + 1 :], *tour[:at]]], [0]
    else:
        visits, depots = problem.start.routes, problem.start.depots or []
    first = max(problem.num_depots, 1)
    routes = [
        # a vehicle type is called after its depot
        pyvrp.Route(data, [node - first for node in route], vehicle_type=depot)
        for route, depot in zip(visits, depots, strict=True)
    ]
    return pyvrp.Solution(data, routes)


def _choice(problem: Problem, node: int) -> dict[str, Any]:
    """Whether a client must be visited, and else what it is worth."""
    if problem.prize is None or problem.prize[node] < 0:
        return {"required": True}
    return {"required": False, "prize": int(problem.prize[node])}


def _problem_data(problem: Problem) -> pyvrp.ProblemData:
    scaled, n = problem.scaled, len(problem.coords)
    tour = problem.num_depots == 0
    depots = max(problem.num_depots, 1)
    distance, duration = scaled.distance, scaled.duration
    if problem.linehaul_first:
        distance = distance.copy()
        distance[np.ix_(scaled.backhaul > 0, scaled.linehaul > 0)] = FORBIDDEN
    locations = [pyvrp.Location(float(x), float(y)) for x, y in problem.coords]
    starts = [
        pyvrp.Depot(i, tw_early=int(scaled.early[i]), tw_late=int(scaled.late[i]))
        for i in range(depots)
    ]
    ends = list(range(depots))
    if problem.open_route:
        # every route ends at a place without distance, time or closing hour
        distance, duration = (np.pad(matrix, (0, 1)) for matrix in (distance, duration))
        locations.append(pyvrp.Location(0, 0))
        starts.append(pyvrp.Depot(n))
        ends = [depots] * depots
    loaded = scaled.capacity != NO_LIMIT
    clients = [
        pyvrp.Client(
            i,
            delivery=[int(scaled.linehaul[i])] if loaded else [],
            pickup=[int(scaled.backhaul[i])] if loaded else [],
            service_duration=int(scaled.service[i]),
            tw_early=int(scaled.early[i]),
            tw_late=int(scaled.late[i]),
            release_time=0 if problem.release is None else int(problem.release[i]),
            **_choice(problem, i),
        )
        for i in range(depots, n)
    ]
    vehicles = [
        pyvrp.VehicleType(
            num_available=1 if tour else problem.num_vehicles,
            capacity=[scaled.capacity] if loaded else [],
            start_depot=start,
            end_depot=end,
            max_distance=scaled.distance_limit,
            unit_distance_cost=problem.length_cost,
            unit_duration_cost=problem.time_cost,
        )
        for start, end in zip(range(depots), ends, strict=True)
    ]
    # pyvrp's stub spells the array's type wrongly
    matrices: Any = ([distance], [duration])
    return pyvrp.ProblemData(locations, clients, starts, vehicles, *matrices)
