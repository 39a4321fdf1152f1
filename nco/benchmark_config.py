"""What a benchmark is: suites of instances, solvers with budgets, references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from nco.baselines.solver import Budget
from nco.kernels import Kernel
from nco.problem_names import ON_THE_WAY, PLANNED
from nco.scenario_config import (
    EnumerationConfig,
    PoolConfig,
    ScenarioSolverConfig,
    SelectionConfig,
)
from nco.search_config import SearchConfig
from nco.solver_config import Seed, SolverConfig
from nco.strategy_config import StrategyConfig
from nco.strict import Strict
from nco.suite_config import (
    DisplayName,
    Name,
    SingleSuite,
    SolverReference,
    SuiteConfig,
    SuiteFamily,
)
from nco.walker_config import ReoptimisationConfig


class BudgetConfig(Strict):
    """What a solver may spend on one instance; see `nco.baselines.solver.Budget`."""

    time_limit: PositiveFloat | None = None
    """Wall seconds, set-up included."""
    iterations: PositiveInt | None = None

    def build(self) -> Budget:
        """The budget as solvers take it."""
        return Budget(time_limit=self.time_limit, iterations=self.iterations)

    def __str__(self) -> str:
        """As it stands in tables."""
        parts = [] if self.time_limit is None else [f"{self.time_limit:g} s"]
        parts += [] if self.iterations is None else [f"{self.iterations} iterations"]
        return ", ".join(parts) or "no limit"


class ModelConfig(Strict):
    """A trained model; see `nco.neural_solver.load` for the options."""

    solver: Literal["model"]
    path: str = ""
    """A model folder, the folder of a training run, or the name of a shipped model; by default the
    benchmark's ``model``."""
    samples: PositiveInt | None = None
    augment: Literal[1, 8] = 8
    multi_start: bool = True
    kernel: Kernel = "auto"
    device: str = "cpu"
    search: SearchConfig | None = None
    """Search around the model; what it decodes by are then options of the search."""
    selection: SelectionConfig | None = None
    """Choose among the plans that are decoded by scenarios; by default those of the suite, or else
    by the environment's own price."""

    @model_validator(mode="after")
    def _search_has_its_own(self) -> ModelConfig:
        # by value: what was stored and is read back has every field given
        fields = type(self).model_fields
        names = ("augment", "kernel", "multi_start", "samples", "selection")
        given = [name for name in names if getattr(self, name) != fields[name].default]
        if self.search is not None and given:
            raise ValueError(
                f"{', '.join(given)} given with a search; accepted: options of the search"
            )
        return self


BenchmarkSolver = Annotated[
    SolverConfig | ScenarioSolverConfig | StrategyConfig | ReoptimisationConfig | ModelConfig,
    Field(discriminator="solver"),
]
"""Whatever can be compared."""
WalkingConfig = ScenarioSolverConfig | ReoptimisationConfig | ModelConfig
"""What can go through worlds that are seen on the way: plans are followed."""


class SolverEntry(Strict):
    """One row of the tables."""

    name: DisplayName
    solver: BenchmarkSolver
    budget: BudgetConfig = BudgetConfig()
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    suites: tuple[Name, ...] | None = None
    """Run on these suites only, where one of variants or of a trade-off stands for all that it
    makes; None is all."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Solve each suite in batches of this many as well, to measure throughput; None is not."""
    timeout: PositiveFloat | None = None
    """Wall seconds of one call after which the run counts as failed by timeout; for a batch, times
    its size."""
    where_installed: bool = False
    """Leave the solver out where its package is not installed."""

    @model_validator(mode="after")
    def _days_alone(self) -> SolverEntry:
        if self.batch_size is not None and isinstance(self.solver, StrategyConfig):
            raise ValueError(
                f"batch_size is {self.batch_size} for {self.solver.solver}, which goes through one "
                "day after the other; accepted: none"
            )
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> SolverEntry:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat; accepted: each seed once")
        return self


class BenchmarkConfig(Strict):
    """A benchmark: every solver on every instance with each of its seeds."""

    name: Name
    output: Path | None = None
    """The result store; None is ``results/<name>``."""
    suites: tuple[SuiteConfig, ...] = Field(min_length=1)
    solvers: tuple[SolverEntry, ...] = Field(min_length=1)
    model: str | None = None
    """The model of the solvers that name none: its folder, its run's, or a shipped one's name."""
    num_customers: PositiveInt | None = None
    """Of the suites that are drawn and name none."""
    num_instances: PositiveInt | None = None
    """Likewise."""
    times: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.1, 1.0, 10.0)
    """Wall seconds at which gaps are told, rising. The primal integral goes up to the last one."""
    num_workers: PositiveInt = 1
    """Processes, each with one thread. 1 runs everything in this process."""
    seed: Seed = 0
    """Of the bootstrap."""

    @model_validator(mode="before")
    @classmethod
    def _shared(cls, values: Any) -> Any:
        """What the benchmark has for all of its suites and models is written into them."""
        if not isinstance(values, dict):
            return values
        drawn = {k: values[k] for k in ("num_customers", "num_instances") if values.get(k)}
        model = {"path": values["model"]} if values.get("model") else {}
        suites = _with_defaults(values.get("suites"), drawn, ("generated", "variants"))
        solvers = _with_defaults(values.get("solvers"), model, ("model",), "solver")
        return values | {"suites": suites, "solvers": solvers}

    @property
    def store_folder(self) -> Path:
        """Where the results go."""
        return Path("results") / self.name if self.output is None else self.output

    def entry(self, name: str) -> SolverEntry:
        """The solver of this display name."""
        return next(e for e in self.solvers if e.name == name)

    def single_suites(self) -> list[SingleSuite]:
        """What runs: the suites, with their own in the place of those that stand for several."""
        return [one for suite in self.suites for one in _singles(suite)]

    def suite(self, name: str) -> SingleSuite:
        """The one of `single_suites` of this name."""
        return next(s for s in self.single_suites() if s.name == name)

    def entries(self, suite: str) -> list[SolverEntry]:
        """The solvers that run on one of `single_suites`, in the order given."""
        names = {suite}
        names |= {s.name for s in self.suites for one in _singles(s) if one.name == suite}
        return [e for e in self.solvers if e.suites is None or names & set(e.suites)]

    @model_validator(mode="after")
    def _names_fit(self) -> BenchmarkConfig:
        # what stands for several suites and those that it makes have different names
        suites = [s.name for s in self.suites if isinstance(s, SuiteFamily)]
        suites += [s.name for s in self.single_suites()]
        solvers = [s.name for s in self.solvers]
        for kind, names in (("suites", suites), ("solvers", solvers)):
            count = Counter(n.lower() for n in names)
            repeated = [n for n in names if count[n.lower()] > 1]
            if repeated:
                raise ValueError(
                    f"names of {kind} repeat: {', '.join(repeated)}; accepted: each once"
                )
        for entry in self.solvers:
            for suite in entry.suites or ():
                if suite not in suites:
                    raise ValueError(
                        f"solver {entry.name!r} names suite {suite!r}; accepted: "
                        f"{', '.join(s.name for s in self.suites)}, and {{name}}-{{variant}} "
                        "where it is one of variants, {name}-{weight} of a trade-off"
                    )
        for suite in self.single_suites():
            self._check_reference(suite)
            for entry in self.entries(suite.name):
                _check_problem(suite, entry)
                _check_selection(suite, entry)
        for entry in self.solvers:
            if isinstance(entry.solver, ModelConfig) and not entry.solver.path:
                raise ValueError(
                    f"solver {entry.name!r} names no model, and there is no model of the "
                    "benchmark; accepted: a path, or model=FOLDER"
                )
        if list(self.times) != sorted(set(self.times)):
            raise ValueError(f"times are {list(self.times)}; accepted: rising, each once")
        return self

    def _check_reference(self, suite: SingleSuite) -> None:
        if not isinstance(suite.reference, SolverReference):
            return
        accepted = [e.name for e in self.entries(suite.name)]
        if suite.reference.solver not in accepted:
            raise ValueError(
                f"reference of suite {suite.name!r} is solver {suite.reference.solver!r}; "
                f"accepted: a solver that runs on it, {', '.join(accepted)}"
            )
        if self.entry(suite.reference.solver).where_installed:
            raise ValueError(
                f"reference of suite {suite.name!r} is {suite.reference.solver!r}, which may be "
                "left out (where_installed); accepted: a solver that always runs"
            )


def solver_on(suite: SingleSuite, entry: SolverEntry) -> BenchmarkSolver:
    """What an entry is on a suite: where the suite says what plans are chosen by, that."""
    solver = entry.solver
    if suite.selection is None or not isinstance(solver, PoolConfig | ModelConfig):
        return solver
    if solver.selection is not None:
        return solver
    return solver.model_copy(update={"selection": suite.selection})


def decided_on_the_way(suite: SingleSuite) -> str | None:
    """The problem of a suite whose noise is seen on the way; None of any other."""
    return suite.problem if suite.problem in ON_THE_WAY else None


def _check_problem(suite: SingleSuite, entry: SolverEntry) -> None:
    """The scenarios of another problem would say nothing."""
    on_the_way = decided_on_the_way(suite)
    if on_the_way is not None:
        _check_walker(suite, entry, on_the_way)
        return
    problem = getattr(entry.solver, "problem", None)
    if suite.scenarios is not None and problem not in (None, suite.problem):
        raise ValueError(
            f"solver {entry.name!r} is for {problem} and runs on suite {suite.name!r}; accepted "
            f"there: {suite.problem}"
        )
    if isinstance(entry.solver, ReoptimisationConfig):
        raise ValueError(
            f"solver {entry.name!r} plans again on the way and runs on suite {suite.name!r} of "
            f"{suite.problem or 'files'}; accepted: suites of "
            f"{', '.join(ReoptimisationConfig.problems)}"
        )


def _check_walker(suite: SingleSuite, entry: SolverEntry, problem: str) -> None:
    """Only what can decide on the way, or has plans that can be followed."""
    solver, plans = entry.solver, PLANNED.get(problem)
    where = f"solver {entry.name!r} runs on suite {suite.name!r} of {problem}, decided on the way"
    accepted = ["model"]
    accepted += [] if plans is None else [f"solvers by scenarios with problem {plans}"]
    accepted += ["reoptimisation"] if problem in ReoptimisationConfig.problems else []
    fits = (
        isinstance(solver, ModelConfig)
        or (isinstance(solver, ScenarioSolverConfig) and solver.problem == plans)
        or (isinstance(solver, ReoptimisationConfig) and problem in solver.problems)
    )
    if not fits:
        told = getattr(solver, "problem", None)
        what = solver.solver if told is None else f"{solver.solver} with problem {told}"
        raise ValueError(f"{where}, and is {what}; accepted: {', '.join(accepted)}")
    if isinstance(solver, ModelConfig) and solver.search is not None:
        raise ValueError(f"{where}, and has a search, which makes plans; accepted: none")
    if entry.batch_size is not None:
        raise ValueError(f"{where}, with batch_size {entry.batch_size}; accepted: none")


def _check_selection(suite: SingleSuite, entry: SolverEntry) -> None:
    """Every solver that chooses among plans keeps to the suite's means."""
    asked, solver = suite.selection, entry.solver
    if asked is None:
        return
    where = f"solver {entry.name!r} on suite {suite.name!r}, which has a selection"
    if isinstance(solver, EnumerationConfig):
        raise ValueError(f"{where}: enumeration prices every plan; accepted: other solvers")
    if isinstance(solver, ModelConfig) and solver.search is not None:
        raise ValueError(f"{where}: a search chooses by its own price; accepted: no search")
    own = solver.selection if isinstance(solver, PoolConfig | ModelConfig) else None
    if own is not None and not own.same_means(asked):
        raise ValueError(
            f"{where}, chooses by {own.means}; accepted: {asked.means}, or none, which means that"
        )


def _with_defaults(
    entries: Any, defaults: dict[str, Any], kinds: tuple[str, ...], section: str | None = None
) -> Any:
    """Entries of the file of these kinds, with what they do not have themselves.

    Args:
        section: where an entry has its kind and takes the defaults; None is the entry itself.
    """
    if not isinstance(entries, list | tuple):
        return entries
    found = []
    for entry in entries:
        inner = entry if section is None or not isinstance(entry, dict) else entry.get(section)
        kind = inner.get("type", inner.get("solver")) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and kind in kinds:
            inner = defaults | inner
            found.append(inner if section is None else {**entry, section: inner})
        else:
            found.append(entry)
    return found


def _singles(suite: SingleSuite | SuiteFamily) -> Sequence[SingleSuite]:
    """What a suite of the file stands for."""
    return suite.suites() if isinstance(suite, SuiteFamily) else [suite]
