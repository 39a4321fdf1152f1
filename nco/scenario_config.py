"""Solvers that choose by scenarios, by name: they need to be told the problem, which their
instances do not say."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, PositiveInt

from nco.baselines.candidate_pool import CandidatePool, EquivalentSolver
from nco.baselines.certain_problems import EQUIVALENTS, MEAN_LEVEL, ROUTE_BY_ROUTE
from nco.baselines.enumeration import Enumeration
from nco.baselines.scenario_search import ScenarioSearch
from nco.baselines.solver import Solver
from nco.data.noise import Scenarios, Split
from nco.envs.objective import Objective
from nco.envs.plans import PlanValue
from nco.envs.variants import environments, scenario_costs
from nco.solver_config import BaseSolverConfig, Seed, SolverConfig, build_solver
from nco.strict import Strict


def _with_equivalents(problem: str) -> str:
    if problem not in EQUIVALENTS:
        raise ValueError(f"{problem} has no certain problems; accepted: {', '.join(EQUIVALENTS)}")
    return problem


def _route_by_route(problem: str) -> str:
    if problem not in ROUTE_BY_ROUTE:
        raise ValueError(
            f"costs of {problem} are no sums over routes; accepted: {', '.join(ROUTE_BY_ROUTE)}"
        )
    return problem


UncertainProblem = Annotated[str, AfterValidator(_with_equivalents)]
RouteByRoute = Annotated[str, AfterValidator(_route_by_route)]
Level = Annotated[float, Field(ge=0, le=1)]


class SelectionConfig(Strict):
    """What plans are chosen by: scenarios of their own, never those of a test."""

    scenarios: PositiveInt = 200
    seed: Seed = 0
    cvar: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The level of CVaR; 0 is the expectation."""

    def value(self, problem: str) -> PlanValue:
        """Of a problem's plans."""
        return PlanValue(
            environments[problem],
            scenario_costs[problem],
            Scenarios(Split.SELECTION, self.scenarios, self.seed),
            Objective(self.cvar),
        )


class EquivalentConfig(BaseSolverConfig):
    """One certain problem; see `nco.baselines.candidate_pool.EquivalentSolver`."""

    problems: ClassVar[tuple[str, ...]] = tuple(EQUIVALENTS)
    note: ClassVar[str] = "another solver on one certain problem"

    solver: Literal["equivalent"]
    problem: UncertainProblem
    level: Level | None = None
    """By default that of the mean-value problem."""
    by: SolverConfig


class _PoolConfig(BaseSolverConfig):
    """The plans of many certain problems."""

    problems: ClassVar[tuple[str, ...]] = tuple(EQUIVALENTS)

    problem: UncertainProblem
    levels: tuple[Level, ...] = Field(default=(0.0, 0.25, 0.5), min_length=1)
    by: tuple[SolverConfig, ...] = Field(min_length=1)
    num_seeds: PositiveInt = 2
    selection: SelectionConfig = SelectionConfig()

    def pool(self) -> CandidatePool:
        """With its solvers."""
        return CandidatePool(
            [EQUIVALENTS[self.problem](level) for level in self.levels],
            [build_solver(solver) for solver in self.by],
            self.num_seeds,
            self.selection.value(self.problem),
        )


class CandidatePoolConfig(_PoolConfig):
    """See `nco.baselines.candidate_pool.CandidatePool`."""

    note: ClassVar[str] = "the best of many certain problems' plans on selection scenarios"

    solver: Literal["candidate-pool"]


class ScenarioSearchConfig(_PoolConfig):
    """See `nco.baselines.scenario_search.ScenarioSearch`."""

    note: ClassVar[str] = "local search by scenarios from a pool's best plan"

    solver: Literal["scenario-search"]
    num_near: PositiveInt = 10


class SetPartitioningConfig(_PoolConfig):
    """See `nco.baselines.set_partitioning.SetPartitioning`."""

    note: ClassVar[str] = "the best combination of a pool's routes"

    problems: ClassVar[tuple[str, ...]] = ROUTE_BY_ROUTE

    solver: Literal["set-partitioning"]
    problem: RouteByRoute


class EnumerationConfig(BaseSolverConfig):
    """See `nco.baselines.enumeration.Enumeration`."""

    problems: ClassVar[tuple[str, ...]] = ROUTE_BY_ROUTE
    note: ClassVar[str] = "every plan of tiny instances"

    solver: Literal["enumeration"]
    problem: RouteByRoute
    selection: SelectionConfig = SelectionConfig()


ScenarioSolverConfig = (
    EquivalentConfig
    | CandidatePoolConfig
    | ScenarioSearchConfig
    | SetPartitioningConfig
    | EnumerationConfig
)


def build_any_solver(config: SolverConfig | ScenarioSolverConfig) -> Solver:
    """The solver that a configuration describes.

    Raises:
        InputError: as `build_scenario_solver`.
    """
    if isinstance(config, ScenarioSolverConfig):
        return build_scenario_solver(config)
    return build_solver(config)


def build_scenario_solver(config: ScenarioSolverConfig) -> Solver:
    """The solver that a configuration of one that chooses by scenarios describes.

    Raises:
        InputError: a package is not installed, or the objective is not one that it can minimise.
    """
    match config:
        case EquivalentConfig():
            level = MEAN_LEVEL[config.problem] if config.level is None else config.level
            return EquivalentSolver(EQUIVALENTS[config.problem](level), build_solver(config.by))
        case CandidatePoolConfig():
            return config.pool()
        case ScenarioSearchConfig():
            value = config.selection.value(config.problem)
            return ScenarioSearch(config.pool(), value, config.num_near)
        case SetPartitioningConfig():
            # OR-Tools takes a second to import
            from nco.baselines.set_partitioning import SetPartitioning

            return SetPartitioning(config.pool())
        case EnumerationConfig():
            return Enumeration(config.selection.value(config.problem))
