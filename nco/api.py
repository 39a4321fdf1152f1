"""The calls that Python users make: fresh instances, solving with any solver, and dispatching."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nco.baselines.solver import Budget, Solver, require_limit, require_seed
from nco.data.batching import unbatch
from nco.data.city_collection import CityCollection
from nco.data.city_map import Part
from nco.data.dynamic_requests import RequestLaw
from nco.data.errors import InputError
from nco.data.fleet_generators import FleetLaw
from nco.data.generators import generate as generate_with
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.named_solvers import solver_by_name

if TYPE_CHECKING:
    from nco.baselines.dispatching import DayStrategy
    from nco.day_results import DispatchedDays


def generate(
    problem: str,
    num_customers: int | tuple[int, int],
    batch: int = 1,
    seed: int = 0,
    distribution: str = "uniform",
    capacity: int | None = None,
    variants: Sequence[str] | None = None,
    cities: str | Path | None = None,
    part: Part | None = "test",
    fleet: FleetLaw | None = None,
    requests: RequestLaw | None = None,
) -> Instance:
    """A batch of fresh instances; the same arguments give the same instances.

    Args:
        problem: its name in the literature, in lower case: ``tsp``, ``cvrp``, ``mdovrpbltw``, ...,
            or a mixed set of variants, ``mtvrp-16``, ``mtvrp-24``, ``mtvrp-48``. On city maps
            ``atsp``, ``acvrp``, ``acvrptw``, ..., ``amtvrp-48``. With vehicles that differ
            ``pvrp`` and ``pvrp-zones``. With requests that come over the day ``dvrptw``.
        num_customers: without depots; for a TSP, all nodes. For the last two also a range.
        batch: how many instances.
        seed: of the generator.
        distribution: of the customers' places, see `nco.data.generators.generate`.
        capacity: of the vehicles, see `nco.data.generators.generate`.
        variants: of a mixed set, draw only these.
        cities: the folder of a city map, or of a collection.
        part: of a collection, the cities to draw from; None for all.
        fleet: what vehicles are drawn from, for ``pvrp`` and ``pvrp-zones``.
        requests: how days are cut, for ``dvrptw``.

    Raises:
        InputError: a name is unknown, a number out of range, or an option not the problem's; the
            folder is not what it should be.
    """
    return generate_with(
        problem,
        num_customers=num_customers,
        batch=batch,
        generator=torch.Generator().manual_seed(require_seed(seed)),
        distribution=distribution,
        capacity=capacity,
        variants=variants,
        cities=None if cities is None else CityCollection.load(Path(cities), part),
        fleet=fleet,
        requests=requests,
    )


def solve(
    instance: Instance,
    *,
    solver: str | Path | Solver | None = None,
    time_limit: float | None = None,
    iterations: int | None = None,
    seed: int = 0,
    samples: int | None = None,
    augment: int | None = None,
    search: str | Mapping[str, Any] | None = None,
    progress: bool = True,
) -> list[Solution]:
    """One solution for each instance of the batch, costed and judged by our own checker.

    Args:
        solver: a name, the folder of a model, or any `Solver`. None takes for each instance the
            shipped model that fits it, with a search around it for 2 s where no limit is given, or
            where none fits the search without a model, as `nco solve` does (`nco.shipped.Solvers`).
        time_limit: wall seconds for each instance, set-up included.
        iterations: of the solver's own kind, instead of or beside the time limit.
        seed: the same seed gives the same answer, where no time limit ends the search.
        samples, augment, search: of a model, named or not, see
            `nco.named_solvers.solver_by_name`.
        progress: show what is going on, on standard error.

    Raises:
        InputError: an argument is out of range, the solver is unknown, or it cannot express an
            attribute of the instance.
        SolveFailed: the solver found no feasible solution, or its process died.
    """
    budget = Budget(time_limit=time_limit, iterations=iterations)
    seed = require_seed(seed)
    if solver is None:
        return _solve_by_shipped(instance, budget, seed, samples, augment, search, progress)
    if isinstance(solver, str | Path):
        found = solver_by_name(solver, samples=samples, augment=augment, search=search)
    elif samples is not None or augment is not None or search is not None:
        raise InputError(
            "samples, augment and search belong to a solver given by name; this is an object"
        )
    else:
        found = solver
    return _solved(found, instance, budget, seed, progress)


def dispatch(
    instance: Instance,
    *,
    strategy: str | Path | DayStrategy,
    scenarios: int = 20,
    time_limit: float | None = None,
    iterations: int | None = None,
    seed: int = 0,
) -> list[DispatchedDays]:
    """Let a strategy go through days of requests of each instance of the batch, and judge them.

    Args:
        instance: of dvrptw.
        strategy: a name of `nco.strategy_config.STRATEGIES`, the folder of a trained dispatcher, or
            any `DayStrategy`.
        scenarios: test days of each instance; the same for all strategies.
        time_limit: wall seconds of each epoch.
        iterations: of the routes of each epoch, instead of or beside the time limit.
        seed: of the strategy.

    Raises:
        InputError: an argument is out of range, the strategy is unknown, or an instance is not of
            dvrptw.
        SolveFailed: a strategy found no feasible routes, or broke a rule.
    """
    from nco.day_results import judged_days
    from nco.scenario_results import ScenarioTestConfig
    from nco.strategy_config import strategy_by_name

    budget = Budget(time_limit=time_limit, iterations=iterations)
    named = isinstance(strategy, str | Path)
    found = strategy_by_name(str(strategy)) if named else strategy
    require_limit(found.name, budget)
    if scenarios < 1:
        raise InputError(f"scenarios is {scenarios}; accepted: at least 1")
    test, seed = ScenarioTestConfig(count=scenarios), require_seed(seed)
    return [judged_days(found, one, test, budget, seed) for one in unbatch(instance)]


def _solved(
    solver: Solver, instance: Instance, budget: Budget, seed: int, progress: bool
) -> list[Solution]:
    """As ``solver.solve``, in one call as well: a split batch might draw other samples."""
    if not progress:
        return solver.solve(instance, budget, seed)
    from rich.console import Console

    count = instance.batch_size[0]
    told = f"{solver.name}: {count} instance" + ("" if count == 1 else "s")
    with Console(stderr=True).status(told):
        return solver.solve(instance, budget, seed)


def _solve_by_shipped(
    instance: Instance,
    budget: Budget,
    seed: int,
    samples: int | None,
    augment: int | None,
    search: str | Mapping[str, Any] | None,
    progress: bool,
) -> list[Solution]:
    """Each instance by what `nco.shipped.Solvers` chooses for it; those with one solver at once."""
    from nco.shipped import Solvers

    told: list[str] = []
    solvers = Solvers(
        None, budget, samples=samples, augment=augment, search=search, tell=told.append
    )
    groups: dict[int, tuple[Solver, list[int]]] = {}
    for i, one in enumerate(unbatch(instance)):
        found = solvers.solver_for(f"instance {i}", one)
        if progress and id(found) not in groups:
            print(told[-1], file=sys.stderr)
        groups.setdefault(id(found), (found, []))[1].append(i)
    solutions: dict[int, Solution] = {}
    for found, which in groups.values():
        part = instance[torch.tensor(which, device=instance.valid.device)]
        solved = _solved(found, part, solvers.budget, seed, progress)
        solutions.update(zip(which, solved, strict=True))
    return [solutions[i] for i in range(len(solutions))]
