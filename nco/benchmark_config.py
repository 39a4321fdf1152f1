"""What a benchmark is: suites of instances, solvers with budgets, references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from nco.baselines.solver import Budget
from nco.data.fleet_generators import FleetLaw
from nco.data.multi_task import variants_of
from nco.envs.variants import scenario_costs
from nco.kernels import Kernel
from nco.problem_names import GeneratedProblem
from nco.scenario_config import ScenarioSolverConfig
from nco.scenario_results import ScenarioTestConfig
from nco.search_config import SearchConfig
from nco.solver_config import Seed, SolverConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
"""Names a file or folder as well."""
DisplayName = Annotated[str, Field(pattern=r"^[^\s|/][^\n|/]*$", max_length=40)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BestKnownReference(_Strict):
    """The ``.sol`` file beside each instance file, costed anew by our checker."""

    type: Literal["best-known"]


class OptimalReference(_Strict):
    """A JSON file from instance name to cost."""

    type: Literal["optimal"]
    file: Path


class SolverReference(_Strict):
    """The best feasible cost that one solver of this benchmark found over its seeds."""

    type: Literal["solver"]
    solver: DisplayName


FileReference = Annotated[
    BestKnownReference | OptimalReference | SolverReference, Field(discriminator="type")
]


class _Drawn(_Strict):
    """Instances that are drawn from a seed."""

    num_customers: PositiveInt
    num_instances: PositiveInt
    distribution: str = "uniform"
    capacity: PositiveInt | None = None
    """Of a vehicle; by default the published one of the number of customers."""
    cities: Path | None = None
    """A collection of city maps, whose test cities instances are in, or one map; for acvrp, acvrptw
    and so on. Relative to the working folder."""
    fleet: FleetLaw | None = None
    """Of pvrp and pvrp-zones: what vehicles are drawn from."""
    protocol: Literal["default", "kool", "routefinder"] = "default"
    """The first instances of published sets: ``kool``, those of Kool et al. 2019 (seed 1234);
    ``routefinder``, those of Berto et al. 2024 (seed 1234 for test, 4321 for validation)."""
    seed: Seed = 1234
    reference: SolverReference | None = None


class GeneratedSuite(_Drawn):
    """Fresh instances of one problem."""

    type: Literal["generated"]
    name: Name
    problem: GeneratedProblem
    scenarios: ScenarioTestConfig | None = None
    """For problems of which part is not known beforehand: plans are judged by test scenarios too.
    """

    @model_validator(mode="after")
    def _simulated(self) -> GeneratedSuite:
        if self.scenarios is not None and self.problem not in scenario_costs:
            raise ValueError(
                f"scenarios are given for {self.problem}; accepted for: {', '.join(scenario_costs)}"
            )
        return self


class VariantsSuite(_Drawn):
    """A suite for each variant of a mixed set, called after this one and the variant."""

    type: Literal["variants"]
    name: Annotated[Name, Field(max_length=45)]
    problem: GeneratedProblem
    variants: tuple[str, ...] | None = None
    """Only these of the set; by default all of it."""

    @model_validator(mode="after")
    def _in_the_set(self) -> VariantsSuite:
        variants_of(self.problem, self.variants)
        return self

    def suites(self) -> list[GeneratedSuite]:
        """One for each variant."""
        shared = {name: getattr(self, name) for name in _Drawn.model_fields}
        return [
            GeneratedSuite(
                type="generated", name=f"{self.name}-{one.name}", problem=one.name, **shared
            )
            for one in variants_of(self.problem, self.variants)
        ]


class FileSuite(_Strict):
    """Instances from files."""

    type: Literal["files"]
    name: Name
    paths: tuple[str, ...]
    """Files and glob patterns, relative to the working folder. Empty: the suite is left out."""
    rounding: Literal["none", "nearest", "ceil", "trunc", "dimacs", "exact"] | None = None
    """Of Euclidean lengths, where the file does not state it."""
    reference: FileReference | None = None

    @property
    def scenarios(self) -> None:
        """Files do not tell the problem that would say what is uncertain in them."""


SingleSuite = GeneratedSuite | FileSuite
SuiteConfig = Annotated[GeneratedSuite | VariantsSuite | FileSuite, Field(discriminator="type")]


class BudgetConfig(_Strict):
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


class ModelConfig(_Strict):
    """A trained model; see `nco.neural_solver.load` for the options."""

    solver: Literal["model"]
    path: str
    """A model folder, the folder of a training run, or the name of a shipped model."""
    samples: PositiveInt | None = None
    augment: Literal[1, 8] = 8
    multi_start: bool = True
    kernel: Kernel = "auto"
    device: str = "cpu"
    search: SearchConfig | None = None
    """Search around the model; what it decodes by are then options of the search."""

    @model_validator(mode="after")
    def _search_has_its_own(self) -> ModelConfig:
        given = sorted({"samples", "augment", "multi_start", "kernel"} & self.model_fields_set)
        if self.search is not None and given:
            raise ValueError(
                f"{', '.join(given)} given with a search; accepted: options of the search"
            )
        return self


BenchmarkSolver = Annotated[
    SolverConfig | ScenarioSolverConfig | ModelConfig, Field(discriminator="solver")
]
"""Whatever can be compared."""


class SolverEntry(_Strict):
    """One row of the tables."""

    name: DisplayName
    solver: BenchmarkSolver
    budget: BudgetConfig = BudgetConfig()
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    suites: tuple[Name, ...] | None = None
    """Run on these suites only, where one of variants stands for all that it makes; None is all."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Solve each suite in batches of this many as well, to measure throughput; None is not."""
    timeout: PositiveFloat | None = None
    """Wall seconds of one call after which the run counts as failed by timeout; for a batch, times
    its size."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> SolverEntry:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat; accepted: each seed once")
        return self


class BenchmarkConfig(_Strict):
    """A benchmark: every solver on every instance with each of its seeds."""

    name: Name
    output: Path | None = None
    """The result store; None is ``results/<name>``."""
    suites: tuple[SuiteConfig, ...] = Field(min_length=1)
    solvers: tuple[SolverEntry, ...] = Field(min_length=1)
    num_workers: PositiveInt = 1
    """Processes, each with one thread. 1 runs everything in this process."""
    seed: Seed = 0
    """Of the bootstrap."""

    @property
    def store_folder(self) -> Path:
        """Where the results go."""
        return Path("results") / self.name if self.output is None else self.output

    def entry(self, name: str) -> SolverEntry:
        """The solver of this display name."""
        return next(e for e in self.solvers if e.name == name)

    def single_suites(self) -> list[SingleSuite]:
        """What runs: the suites, with one for each variant in the place of those of variants."""
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
        # a suite of variants and those that it makes have different names
        suites = [s.name for s in self.suites if isinstance(s, VariantsSuite)]
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
                        "where it is one of variants"
                    )
        for suite in self.single_suites():
            self._check_reference(suite)
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


def _singles(suite: SingleSuite | VariantsSuite) -> Sequence[SingleSuite]:
    """What a suite of the file stands for."""
    return suite.suites() if isinstance(suite, VariantsSuite) else [suite]
