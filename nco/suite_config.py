"""What suites of instances a benchmark can have, and what their gaps are relative to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from nco.data.dynamic_requests import DYNAMIC_PROBLEMS, RequestLaw
from nco.data.fleet_generators import FleetLaw
from nco.data.multi_task import variants_of
from nco.data.shifts import Shift
from nco.envs.variants import scenario_costs
from nco.problem_names import ON_THE_WAY, GeneratedProblem
from nco.scenario_config import SelectionConfig
from nco.scenario_results import ScenarioTestConfig
from nco.solver_config import Seed
from nco.strict import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60)]
"""Names a file or folder as well."""
DisplayName = Annotated[str, Field(pattern=r"^[^\s|/][^\n|/]*$", max_length=40)]


Axis = Literal[
    "base",
    "size",
    "distribution",
    "demands",
    "tightness",
    "variant",
    "asymmetry",
    "roads",
    "library",
]
"""What a suite shifts; base is what the others are shifted from, library public instances."""


class BestKnownReference(Strict):
    """The ``.sol`` file beside each instance file, costed anew by our checker."""

    type: Literal["best-known"]


class OptimalReference(Strict):
    """A JSON file from instance name to cost."""

    type: Literal["optimal"]
    file: Path


class SolverReference(Strict):
    """The best feasible cost that one solver of this benchmark found over its seeds."""

    type: Literal["solver"]
    solver: DisplayName


class BestFoundReference(Strict):
    """The best feasible cost that any solver of this benchmark found: no gap is below 0."""

    type: Literal["best-found"]


DrawnReference = Annotated[SolverReference | BestFoundReference, Field(discriminator="type")]
FileReference = Annotated[
    BestKnownReference | OptimalReference | SolverReference | BestFoundReference,
    Field(discriminator="type"),
]


class _Drawn(Strict):
    """Instances that are drawn from a seed."""

    num_customers: PositiveInt
    num_instances: PositiveInt
    distribution: str = "uniform"
    capacity: PositiveInt | None = None
    """Of a vehicle; by default the published one of the number of customers."""
    cities: Path | None = None
    """A collection of city maps, whose test cities instances are in, or one map; for acvrp, acvrptw
    and so on. Relative to the working folder. One that begins with a variable, ``$NAME/...``, is
    left out with its suite where the environment does not have it."""
    fleet: FleetLaw | None = None
    """Of pvrp and pvrp-zones: what vehicles are drawn from."""
    requests: RequestLaw | None = None
    """Of dvrptw: how days are cut."""
    shift: Shift | None = None
    """One way in which the instances drawn differ from the published ones."""
    axis: Axis | None = None
    """Of a benchmark of generalisation: in what the suite differs from the others."""
    protocol: Literal["default", "kool", "routefinder"] = "default"
    """The first instances of published sets: ``kool``, those of Kool et al. 2019 (seed 1234);
    ``routefinder``, those of Berto et al. 2024 (seed 1234 for test, 4321 for validation)."""
    seed: Seed = 1234
    reference: DrawnReference | None = None


class _Simulated(Strict):
    """Instances of which part may not be known beforehand."""

    scenarios: ScenarioTestConfig | None = None
    """For problems of which part is not known beforehand: plans are judged by test scenarios too,
    and strategies for days of requests, and whatever decides on the way, by them alone."""
    selection: SelectionConfig | None = None
    """Equal means to choose by, for all solvers of this suite that choose among plans, or among
    policies that decide on the way: as many at the most, and the same scenarios, which are none of
    the test's. Without it each has its own."""

    def require_scenarios(self, problem: str | None) -> None:
        """Raise `ValueError` where scenarios are asked for that the problem does not have."""
        chosen = (*scenario_costs, *ON_THE_WAY)
        known = {"scenarios": (*chosen, *DYNAMIC_PROBLEMS), "selection": chosen}
        for name, accepted in known.items():
            if getattr(self, name) is not None and problem not in accepted:
                raise ValueError(
                    f"{name} {'are' if name == 'scenarios' else 'is'} given for "
                    f"{problem or 'no problem'}; accepted for: {', '.join(accepted)}"
                )
        if problem in (*DYNAMIC_PROBLEMS, *ON_THE_WAY) and self.scenarios is None:
            what = "days to dispatch" if problem in DYNAMIC_PROBLEMS else "worlds to go through"
            raise ValueError(
                f"scenarios are missing for {problem}; accepted: the {what}, such as {{count: 100}}"
            )
        if self.selection is not None and self.scenarios is None:
            raise ValueError("selection is given without scenarios to judge by; accepted: both")


class GeneratedSuite(_Drawn, _Simulated):
    """Fresh instances of one problem."""

    type: Literal["generated"]
    name: Name
    problem: GeneratedProblem

    @model_validator(mode="after")
    def _simulated(self) -> GeneratedSuite:
        self.require_scenarios(self.problem)
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


class TradeOffSuite(_Drawn):
    """A suite for each weight of the preference, of the same instances but for it; called after
    this one and the weight. The report shows time against preference."""

    type: Literal["trade-off"]
    name: Annotated[Name, Field(max_length=45)]
    problem: Literal["pvrp"]
    preference_weights: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2)
    ]
    """The time's weight is 1 less each."""

    @model_validator(mode="after")
    def _weights_differ(self) -> TradeOffSuite:
        if len(set(self.preference_weights)) < len(self.preference_weights):
            told = list(self.preference_weights)
            raise ValueError(f"preference_weights {told} repeat; accepted: each once")
        return self

    def suites(self) -> list[GeneratedSuite]:
        """One for each weight, in their order."""
        shared = {name: getattr(self, name) for name in _Drawn.model_fields if name != "fleet"}
        law = self.fleet or FleetLaw()
        return [
            GeneratedSuite(
                type="generated",
                name=f"{self.name}-{weight:g}",
                problem=self.problem,
                fleet=replace(law, preference_weight=(weight, weight)),
                **shared,
            )
            for weight in self.preference_weights
        ]


class FileSuite(_Simulated):
    """Instances from files."""

    type: Literal["files"]
    name: Name
    problem: GeneratedProblem | None = None
    """For scenarios: which problem says what is uncertain in the files, which do not."""
    paths: tuple[str, ...]
    """Files and glob patterns, relative to the working folder. Empty: the suite is left out; those
    that begin with a variable, ``$NAME/...``, are left out where the environment does not have it.
    """
    axis: Axis | None = None
    rounding: Literal["none", "nearest", "ceil", "trunc", "dimacs", "exact"] | None = None
    """Of Euclidean lengths, where the file does not state it."""
    reference: FileReference | None = None

    @model_validator(mode="after")
    def _simulated(self) -> FileSuite:
        self.require_scenarios(self.problem)
        return self


SingleSuite = GeneratedSuite | FileSuite
SuiteFamily = VariantsSuite | TradeOffSuite
"""What stands for several suites."""
SuiteConfig = Annotated[
    GeneratedSuite | VariantsSuite | TradeOffSuite | FileSuite, Field(discriminator="type")
]
