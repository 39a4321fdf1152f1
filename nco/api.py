"""The calls that Python users make: fresh instances, solving with any solver, and dispatching."""

from __future__ import annotations

import dataclasses
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


def solver_by_name(
    name: str | Path,
    *,
    samples: int | None = None,
    augment: int | None = None,
    search: str | Mapping[str, Any] | None = None,
    search_options: Sequence[str] = (),
    problem: str | None = None,
) -> Solver:
    """The solver of this name: a classical one, a shipped model, or the folder of a model.

    Args:
        samples: trajectories that a model draws for each instance; None is greedy.
        augment: 8 lets a model see each instance in its eight symmetric positions.
        search: search around a model: the search's name, or its values with ``type``, as
            `nco.search_config` has them.
        search_options: of the search, each "name=value".
        problem: for solvers that choose by scenarios: which one says what is uncertain.

    Raises:
        InputError: there is no such solver, model or search; a classical solver is given options of
            models, or a search samples or augment; what the solver needs is not installed.
    """
    from nco.scenario_config import SCENARIO_SOLVERS, scenario_solver_from_name
    from nco.solver_config import SOLVER_NAMES, solver_from_name

    text = str(name)
    if problem is not None and text not in SCENARIO_SOLVERS:
        raise InputError(
            f"problem {problem} is given with solver {text!r}; accepted with: "
            f"{', '.join(SCENARIO_SOLVERS)}"
        )
    if text in (*SOLVER_NAMES, *SCENARIO_SOLVERS):
        for option, value in (("samples", samples), ("augment", augment), ("search", search)):
            if value is not None:
                raise InputError(
                    f"{option} is {value}, but {text} is no model; accepted: no {option}"
                )
        if text in SCENARIO_SOLVERS:
            return scenario_solver_from_name(text, problem)
        return solver_from_name(text)
    from nco.model_files import shipped_folders
    from nco.neural_solver import load
    from nco.search_config import search_config

    shipped = list(shipped_folders())
    if text not in shipped and not Path(text).is_dir():
        raise InputError(
            f"solver {text!r} is unknown; accepted: {', '.join(SOLVER_NAMES)}, with a problem "
            f"{', '.join(SCENARIO_SOLVERS)}, a shipped model "
            f"({', '.join(shipped) or 'there is none'}), or the folder of a model"
        )
    if samples is not None and samples < 1:
        raise InputError(f"samples is {samples}; accepted: at least 1")
    if search is None and search_options:
        raise InputError(f"search options {', '.join(search_options)} are given without a search")
    model = load(text, samples=samples)
    if search is not None:
        if samples is not None or augment is not None:
            raise InputError(
                "samples and augment are given with a search; accepted: options of the search"
            )
        return model.searching(search_config(search, search_options))
    return model if augment is None else dataclasses.replace(model, augment=augment)


def solve(
    instance: Instance,
    *,
    solver: str | Path | Solver,
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
        solver: a name, the folder of a model, or any `Solver`.
        time_limit: wall seconds for each instance, set-up included.
        iterations: of the solver's own kind, instead of or beside the time limit.
        seed: the same seed gives the same answer, where no time limit ends the search.
        samples, augment, search: of a model named by ``solver``, see `solver_by_name`.
        progress: show what is going on, on standard error.

    Raises:
        InputError: an argument is out of range, the solver is unknown, or it cannot express an
            attribute of the instance.
        SolveFailed: the solver found no feasible solution, or its process died.
    """
    budget = Budget(time_limit=time_limit, iterations=iterations)
    seed = require_seed(seed)
    if isinstance(solver, str | Path):
        found = solver_by_name(solver, samples=samples, augment=augment, search=search)
    elif samples is not None or augment is not None or search is not None:
        raise InputError(
            "samples, augment and search belong to a solver given by name; this is an object"
        )
    else:
        found = solver
    if not progress:
        return found.solve(instance, budget, seed)
    return _solve_visibly(found, instance, budget, seed)


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


def _solve_visibly(solver: Solver, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
    """As ``solver.solve``, in one call as well: a split batch might draw other samples."""
    from rich.console import Console

    count = instance.batch_size[0]
    told = f"{solver.name}: {count} instance" + ("" if count == 1 else "s")
    with Console(stderr=True).status(told):
        return solver.solve(instance, budget, seed)
