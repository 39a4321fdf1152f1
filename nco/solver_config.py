"""The solvers by name: the only place where a solver's name chooses code.

Each solver has one configuration class, told apart by ``solver``. To add a solver: write its
class, name it in `SolverConfig`, and build it in `build_solver`. A solver's module is imported
only when the solver is built.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter

from nco.baselines.solver import SEEDS, MissingExtraError, Solver
from nco.data.errors import InputError

Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class BaseSolverConfig(BaseModel):
    """What `nco solvers` tells of a solver, without importing it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: ClassVar[str | None] = None
    """The package that it needs; None for our own code."""
    extra: ClassVar[str | None] = None
    """The extra of nco-routing that installs the package; None where it comes with nco-routing."""
    problems: ClassVar[tuple[str, ...]]
    """By their names in the literature."""
    note: ClassVar[str]


BASIC = ("tsp", "atsp", "cvrp", "acvrp")
RICH = (*BASIC, "ovrp", "vrpl", "vrptw", "vrpb", "vrpmb", "mdcvrp")


class PyVRPConfig(BaseSolverConfig):
    """See `nco.baselines.pyvrp_solver.PyVRPSolver`."""

    package: ClassVar[str | None] = "pyvrp"
    problems: ClassVar[tuple[str, ...]] = (*RICH, "pvrp", "pvrp-zones")
    note: ClassVar[str] = "iterated local search; problems also combined; MIT"

    solver: Literal["pyvrp"]
    num_workers: PositiveInt = 1
    start: Literal["savings"] | None = None
    """Begin with this heuristic's solution (problems: tsp, atsp, cvrp, acvrp)."""


class ORToolsConfig(BaseSolverConfig):
    """See `nco.baselines.ortools_solver.ORToolsSolver`."""

    package: ClassVar[str | None] = "ortools"
    problems: ClassVar[tuple[str, ...]] = (*RICH, "pvrp", "pvrp-zones")
    note: ClassVar[str] = (
        "guided local search, no seed; problems also combined, pvrp also min-max; Apache-2.0"
    )

    solver: Literal["ortools"]
    first_solution_strategy: (
        Literal["automatic", "path_cheapest_arc", "savings", "parallel_cheapest_insertion"] | None
    ) = None
    metaheuristic: Literal[
        "guided_local_search", "simulated_annealing", "tabu_search", "greedy_descent"
    ] = "guided_local_search"
    num_workers: PositiveInt = 1


class NearestNeighbourConfig(BaseSolverConfig):
    """See `nco.baselines.nearest_neighbour.NearestNeighbourSolver`."""

    problems: ClassVar[tuple[str, ...]] = BASIC
    note: ClassVar[str] = "nearest neighbour; runs once"

    solver: Literal["nearest"]


class RandomInsertionConfig(BaseSolverConfig):
    """See `nco.baselines.insertion.RandomInsertionSolver`."""

    problems: ClassVar[tuple[str, ...]] = BASIC
    note: ClassVar[str] = "cheapest insertion in random order; runs once"

    solver: Literal["random-insertion"]


class FarthestInsertionConfig(BaseSolverConfig):
    """See `nco.baselines.insertion.FarthestInsertionSolver`."""

    problems: ClassVar[tuple[str, ...]] = BASIC
    note: ClassVar[str] = "cheapest insertion, farthest first; runs once"

    solver: Literal["farthest-insertion"]


class SavingsConfig(BaseSolverConfig):
    """See `nco.baselines.savings.SavingsSolver`."""

    problems: ClassVar[tuple[str, ...]] = BASIC
    note: ClassVar[str] = "Clarke-Wright savings, parallel version; runs once"

    solver: Literal["savings"]


class HGSConfig(BaseSolverConfig):
    """See `nco.baselines.hgs_solver.HGSSolver`."""

    package: ClassVar[str | None] = "hybgensea"
    extra: ClassVar[str | None] = "hgs"
    problems: ClassVar[tuple[str, ...]] = ("cvrp", "vrpl")
    note: ClassVar[str] = "HGS-CVRP; keeps a time limit only roughly where the machine is busy; MIT"

    solver: Literal["hgs"]
    num_workers: PositiveInt = 1


class FastTSPConfig(BaseSolverConfig):
    """See `nco.baselines.fast_tsp_solver.FastTSPSolver`."""

    package: ClassVar[str | None] = "fast_tsp"
    extra: ClassVar[str | None] = "fast-tsp"
    problems: ClassVar[tuple[str, ...]] = ("tsp",)
    note: ClassVar[str] = "local search; needs a time limit and uses all of it; MIT"

    solver: Literal["fast-tsp"]
    num_workers: PositiveInt = 1


class ElkaiConfig(BaseSolverConfig):
    """See `nco.baselines.elkai_solver.ElkaiSolver`."""

    package: ClassVar[str | None] = "elkai"
    extra: ClassVar[str | None] = "elkai"
    problems: ClassVar[tuple[str, ...]] = ("tsp", "atsp")
    note: ClassVar[str] = "LKH; for non-commercial use only; stops by itself, not at a time limit"

    solver: Literal["elkai"]
    num_workers: PositiveInt = 1


class LocalSearchConfig(BaseSolverConfig):
    """See `nco.local_search_solver.LocalSearchSolver`."""

    problems: ClassVar[tuple[str, ...]] = RICH
    note: ClassVar[str] = "local search from many starts, no network; problems also combined"

    solver: Literal["local-search"]
    start: Literal["nearest", "random", "savings"] = "nearest"
    samples: PositiveInt = 16
    num_neighbours: PositiveInt = 20
    moves: Literal["auto", "batched", "compiled"] = "auto"
    device: str | None = None
    """Where it runs; by default where the instance is."""


class RuinRecreateConfig(BaseSolverConfig):
    """See `nco.local_search_solver.RuinRecreateSolver`."""

    problems: ClassVar[tuple[str, ...]] = RICH
    note: ClassVar[str] = "ruin and recreate with annealing, no network; problems also combined"

    solver: Literal["ruin-recreate"]
    num_neighbours: PositiveInt = 10


SolverConfig: TypeAlias = Annotated[
    PyVRPConfig
    | ORToolsConfig
    | NearestNeighbourConfig
    | RandomInsertionConfig
    | FarthestInsertionConfig
    | SavingsConfig
    | LocalSearchConfig
    | RuinRecreateConfig
    | HGSConfig
    | FastTSPConfig
    | ElkaiConfig,
    Field(discriminator="solver"),
]
"""Any solver's configuration, as it stands in a configuration file."""


def named(members: Iterable[type[BaseSolverConfig]]) -> dict[str, type[BaseSolverConfig]]:
    """Solvers' configurations by the solver's name."""
    return {get_args(member.model_fields["solver"].annotation)[0]: member for member in members}


_CLASSES = named(get_args(get_args(SolverConfig)[0]))

SOLVER_NAMES = tuple(_CLASSES)
"""The names that `solver_from_name` accepts."""


@dataclass(frozen=True)
class SolverInfo:
    """One line of `nco solvers`."""

    name: str
    installed: bool
    extra: str | None
    """What to install where it is missing: ``pip install nco-routing[extra]``."""
    problems: tuple[str, ...]
    note: str


def available_solvers() -> list[SolverInfo]:
    """Every solver, installed or not."""
    return solver_rows(_CLASSES)


def solver_rows(classes: Mapping[str, type[BaseSolverConfig]]) -> list[SolverInfo]:
    """What there is to tell of solvers."""
    return [
        SolverInfo(name, _installed(config), config.extra, config.problems, config.note)
        for name, config in classes.items()
    ]


def solver_from_name(name: str) -> Solver:
    """The solver of this name with its default options.

    Raises:
        InputError: there is no such solver, or its package is not installed.
    """
    if name not in SOLVER_NAMES:
        raise InputError(f"solver {name!r} is unknown; accepted: {', '.join(SOLVER_NAMES)}")
    return build_solver(TypeAdapter[SolverConfig](SolverConfig).validate_python({"solver": name}))


def build_solver(config: SolverConfig) -> Solver:
    """The solver that a configuration describes.

    Raises:
        MissingExtraError: its package is not installed.
    """
    if not _installed(type(config)):
        package = "nco-routing" + (f"[{config.extra}]" if config.extra else "")
        raise MissingExtraError(
            f"solver {config.solver} needs the package {config.package}, which is not installed; "
            f"pip install {package}"
        )
    match config:
        case PyVRPConfig():
            from nco.baselines.pyvrp_solver import PyVRPSolver

            if config.start == "savings":
                from nco.baselines.savings import SavingsSolver

                return PyVRPSolver(config.num_workers, SavingsSolver())
            return PyVRPSolver(config.num_workers)
        case ORToolsConfig():
            from nco.baselines.ortools_solver import ORToolsSolver

            return ORToolsSolver(
                config.first_solution_strategy, config.metaheuristic, config.num_workers
            )
        case NearestNeighbourConfig():
            from nco.baselines.nearest_neighbour import NearestNeighbourSolver

            return NearestNeighbourSolver()
        case RandomInsertionConfig():
            from nco.baselines.insertion import RandomInsertionSolver

            return RandomInsertionSolver()
        case FarthestInsertionConfig():
            from nco.baselines.insertion import FarthestInsertionSolver

            return FarthestInsertionSolver()
        case SavingsConfig():
            from nco.baselines.savings import SavingsSolver

            return SavingsSolver()
        case LocalSearchConfig():
            from nco.local_search_solver import LocalSearchSolver

            return LocalSearchSolver(
                config.start, config.samples, config.num_neighbours, config.moves, config.device
            )
        case RuinRecreateConfig():
            from nco.local_search_solver import RuinRecreateSolver

            return RuinRecreateSolver(config.num_neighbours)
        case HGSConfig():
            from nco.baselines.hgs_solver import HGSSolver

            return HGSSolver(config.num_workers)
        case FastTSPConfig():
            from nco.baselines.fast_tsp_solver import FastTSPSolver

            return FastTSPSolver(config.num_workers)
        case ElkaiConfig():
            from nco.baselines.elkai_solver import ElkaiSolver

            return ElkaiSolver(config.num_workers)


def _installed(config: type[BaseSolverConfig]) -> bool:
    return config.package is None or importlib.util.find_spec(config.package) is not None
