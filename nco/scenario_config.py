"""Solvers that choose by scenarios, by name: they need to be told the problem, which their
instances do not say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field, PositiveInt, TypeAdapter, model_validator

from nco.baselines.candidate_pool import CandidatePool, EquivalentSolver
from nco.baselines.certain_problems import (
    EQUIVALENTS,
    MEAN_LEVEL,
    POOL_LEVELS,
    QUANTILES,
    ROUTE_BY_ROUTE,
)
from nco.baselines.enumeration import Enumeration
from nco.baselines.equivalents import Equivalent
from nco.baselines.scenario_search import ScenarioSearch
from nco.baselines.solver import Solver
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.envs.objective import Objective
from nco.envs.plans import PlanValue
from nco.envs.variants import environments, scenario_costs
from nco.solver_config import (
    BaseSolverConfig,
    Seed,
    SolverConfig,
    SolverInfo,
    build_solver,
    named,
    solver_rows,
)
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
Level = Annotated[float, Field(ge=0)]
"""What it means, and how high it may be, is the problem's: see `nco.baselines.certain_problems`."""


class SelectionConfig(Strict):
    """What plans are chosen by: scenarios of their own, never those of a test."""

    scenarios: PositiveInt = 200
    seed: Seed = 0
    plans: PositiveInt | None = None
    """Different plans of an instance that may be priced, each in all scenarios; by default as many
    as there are."""
    cvar: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The level of CVaR; 0 is the expectation."""

    def value(self, problem: str) -> PlanValue:
        """Of a problem's plans.

        Raises:
            InputError: they cannot be priced in scenarios.
        """
        if problem not in scenario_costs:
            raise InputError(
                f"selection is given for {problem}, whose plans have no scenarios; accepted for: "
                f"{', '.join(scenario_costs)}"
            )
        return PlanValue(
            environments[problem],
            scenario_costs[problem],
            Scenarios(Split.SELECTION, self.scenarios, self.seed),
            Objective(self.cvar),
            self.plans,
        )

    @property
    def means(self) -> str:
        """What there is to choose by, in words."""
        plans = "any number of" if self.plans is None else f"{self.plans:,}"
        return f"{plans} plans in {self.scenarios:,} scenarios of seed {self.seed}"

    def same_means(self, other: SelectionConfig) -> bool:
        """Whether both choose among as many plans by the same scenarios; objectives may differ."""
        return self.model_copy(update={"cvar": other.cvar}) == other


class EquivalentConfig(BaseSolverConfig):
    """One certain problem; see `nco.baselines.candidate_pool.EquivalentSolver`."""

    problems: ClassVar[tuple[str, ...]] = tuple(EQUIVALENTS)
    note: ClassVar[str] = "another solver on one certain problem; needs --problem"

    solver: Literal["equivalent"]
    problem: UncertainProblem
    level: Level | None = None
    """By default that of the mean-value problem."""
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Demands or travel times at this quantile, in the place of a level."""
    by: SolverConfig

    @model_validator(mode="after")
    def _one_of_them(self) -> EquivalentConfig:
        if self.quantile is not None and self.level is not None:
            raise ValueError("both level and quantile are given; accepted: one of them")
        if self.quantile is not None and self.problem not in QUANTILES:
            raise ValueError(
                f"quantile is given for {self.problem}; accepted for: {', '.join(QUANTILES)}"
            )
        _refuse_levels(self.problem, () if self.level is None else (self.level,))
        return self

    def equivalent(self) -> Equivalent:
        """The certain problem."""
        if self.quantile is not None:
            return QUANTILES[self.problem](self.quantile)
        level = MEAN_LEVEL[self.problem] if self.level is None else self.level
        return EQUIVALENTS[self.problem](level)


def _refuse_levels(problem: str, levels: Sequence[float]) -> None:
    """Raise `ValueError` where a problem has no such level."""
    for level in levels:
        try:
            EQUIVALENTS[problem](level)
        except InputError as error:
            raise ValueError(f"of problem {problem}: {error}") from error


class PoolConfig(BaseSolverConfig):
    """The plans of many certain problems."""

    problems: ClassVar[tuple[str, ...]] = tuple(EQUIVALENTS)

    problem: UncertainProblem
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] | None = None
    """By default those of `nco.baselines.certain_problems.POOL_LEVELS`."""
    by: tuple[SolverConfig, ...] = Field(min_length=1)
    num_seeds: PositiveInt = 2
    selection: SelectionConfig | None = None
    """By default that of the suite, or else that of `SelectionConfig`."""

    @model_validator(mode="after")
    def _levels_fit(self) -> PoolConfig:
        _refuse_levels(self.problem, self.levels or ())
        return self

    @property
    def value(self) -> PlanValue:
        """What plans are chosen by."""
        return (self.selection or SelectionConfig()).value(self.problem)

    def pool(self) -> CandidatePool:
        """With its solvers."""
        return CandidatePool(
            [
                EQUIVALENTS[self.problem](level)
                for level in self.levels or POOL_LEVELS[self.problem]
            ],
            [build_solver(solver) for solver in self.by],
            self.num_seeds,
            self.value,
        )


class CandidatePoolConfig(PoolConfig):
    """See `nco.baselines.candidate_pool.CandidatePool`."""

    note: ClassVar[str] = (
        "the best of many certain problems' plans on selection scenarios; needs --problem"
    )

    solver: Literal["candidate-pool"]


class ScenarioSearchConfig(PoolConfig):
    """See `nco.baselines.scenario_search.ScenarioSearch`."""

    note: ClassVar[str] = "local search by scenarios from a pool's best plan; needs --problem"

    solver: Literal["scenario-search"]
    num_near: PositiveInt = 10


class SetPartitioningConfig(PoolConfig):
    """See `nco.baselines.set_partitioning.SetPartitioning`."""

    note: ClassVar[str] = "the best combination of a pool's routes; needs --problem"

    # a tour is one route
    problems: ClassVar[tuple[str, ...]] = tuple(p for p in ROUTE_BY_ROUTE if p != "ptsp")

    solver: Literal["set-partitioning"]
    problem: RouteByRoute


class EnumerationConfig(BaseSolverConfig):
    """See `nco.baselines.enumeration.Enumeration`."""

    problems: ClassVar[tuple[str, ...]] = ROUTE_BY_ROUTE
    note: ClassVar[str] = "every plan of tiny instances; needs --problem"

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


_CLASSES = named(get_args(ScenarioSolverConfig))
SCENARIO_SOLVERS = tuple(_CLASSES)
"""The names that `scenario_solver_from_name` accepts."""


def available_scenario_solvers() -> list[SolverInfo]:
    """Every solver that chooses by scenarios."""
    return solver_rows(_CLASSES)


def scenario_solver_from_name(name: str, problem: str | None) -> Solver:
    """The solver of this name with its default options, with plans by PyVRP.

    Raises:
        InputError: no problem is given, or one that the solver does not solve; PyVRP is not
            installed.
    """
    if problem not in _CLASSES[name].problems:
        raise InputError(
            f"solver {name} is asked for with problem {problem or 'none'}; accepted: "
            f"{', '.join(_CLASSES[name].problems)}"
        )
    values: dict[str, object] = {"solver": name, "problem": problem}
    pyvrp = {"solver": "pyvrp"}
    if "by" in _CLASSES[name].model_fields:
        values["by"] = pyvrp if name == "equivalent" else [pyvrp]
    read = TypeAdapter[ScenarioSolverConfig](ScenarioSolverConfig).validate_python
    return build_scenario_solver(read(values))


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
            return EquivalentSolver(config.equivalent(), build_solver(config.by))
        case CandidatePoolConfig():
            return config.pool()
        case ScenarioSearchConfig():
            return ScenarioSearch(config.pool(), config.value, config.num_near)
        case SetPartitioningConfig():
            # OR-Tools takes a second to import
            from nco.baselines.set_partitioning import SetPartitioning

            return SetPartitioning(config.pool())
        case EnumerationConfig():
            return Enumeration(config.selection.value(config.problem))
