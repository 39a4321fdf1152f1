"""What a training run is made of: the strict schema of its YAML file.

The names that choose code are here and in `nco.build`; nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from nco.adapters import NewColumns
from nco.data.errors import InputError
from nco.data.fleet_generators import FleetLaw
from nco.data.generators import DAY_PROBLEMS, InstanceDistribution, refuse_misfits
from nco.envs.adaptive import AdaptiveEnvironment, refuse_hindsight
from nco.envs.variants import environments
from nco.kernels import Kernel
from nco.policy_config import PolicyConfig
from nco.problem_names import SIMULATED, Problem
from nco.scenario_config import ScenarioSolverConfig
from nco.solver_config import Seed, SolverConfig
from nco.strict import Strict


class LatenessRampConfig(Strict):
    """Lateness and overtime are cheap at first and reach their prices in time.

    At full price most routes of a policy that knows nothing cost ten times what a route for each
    customer costs; that is learnt within some batches, and no longer left."""

    start: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The share of the prices that is asked at first; it grows by equal factors."""
    until: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The share of the run after which all of it is."""

    def share(self, done: float) -> float:
        """Of the prices, after this share of the run."""
        return self.start ** max(0.0, 1 - done / self.until)


class DataConfig(Strict):
    """The instances that a run draws, anew for every batch."""

    num_customers: PositiveInt | tuple[PositiveInt, PositiveInt]
    """Nodes besides the depot (a TSP: all nodes), or the range from which each batch draws."""
    distribution: InstanceDistribution = "uniform"
    capacity: PositiveInt | None = None
    """Of a vehicle; by default the published table's for the number of customers."""
    variants: tuple[str, ...] | None = None
    """Of a mixed problem, mtvrp-16 and so on: draw only these; by default all of it."""
    cities: Path | None = None
    """A collection of city maps, for acvrp, acvrptw and so on, and for an atsp on streets: its
    training cities to train on, its validation cities to validate on. Relative to the working
    folder."""

    fleet: FleetLaw | None = None
    """Of pvrp and pvrp-zones: what vehicles are drawn from; by default as `FleetLaw` says."""
    lateness: LatenessRampConfig | None = None
    """Of svrptw and mdsvrptw: cheap at first; by default at its price from the beginning."""

    @model_validator(mode="after")
    def _ordered(self) -> DataConfig:
        if isinstance(self.num_customers, tuple) and self.num_customers[0] > self.num_customers[1]:
            raise ValueError(f"num_customers {self.num_customers} must be [smallest, largest]")
        return self


class RewardNormConfig(Strict):
    """Each variant's advantages are divided by an exponential moving average of its mean cost."""

    type: Literal["ema"]
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.25
    """The weight of the newest batch."""


class SharedBaselineConfig(Strict):
    """POMO's: the mean over an instance's own trajectories."""

    type: Literal["pomo"]
    num_starts: PositiveInt | None = None
    """Trajectories of each instance; by default one from every start."""
    forced_starts: bool = True
    """They begin at different customers; false leaves the first choice to the policy too (Kool et
    al. 2019, "Buy 4 REINFORCE samples"), as a policy that is decoded once needs it."""
    reward_norm: RewardNormConfig | None = None
    """For mixed problems, whose variants differ in what they cost."""
    advantage: Literal["difference", "standard", "rank"] = "difference"
    """What a trajectory is worth beside the others of its instance: how much cheaper than their
    mean it is; the same in standard deviations (Shao et al. 2024, arXiv 2402.03300); or its place
    in their order, from -1 for the dearest to 1 for the cheapest, so that no price, however high,
    weighs more than the next. The last two are
    for costs with rare, huge values: soft windows, CVaR."""

    @model_validator(mode="after")
    def _several(self) -> SharedBaselineConfig:
        if self.num_starts == 1:
            raise ValueError("num_starts 1 leaves no other trajectory to compare with; at least 2")
        if self.reward_norm is not None and self.advantage != "difference":
            raise ValueError(
                f"reward_norm is given with advantage {self.advantage}, which has no unit; "
                "accepted: one of them"
            )
        return self


class RolloutBaselineConfig(Strict):
    """Kool et al.'s: a frozen copy that decodes greedily, renewed after a paired t-test."""

    type: Literal["reinforce-rollout"]
    eval_instances: PositiveInt = 10_000
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    warmup_epochs: NonNegativeInt = 1
    """Epochs that use the exponential baseline before."""
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.8


class ExponentialBaselineConfig(Strict):
    """An exponential moving average of the batch's mean cost."""

    type: Literal["reinforce-exponential"]
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.8


class CriticBaselineConfig(Strict):
    """A learned estimate of the cost."""

    type: Literal["reinforce-critic"]
    num_layers: PositiveInt = 3
    hidden: PositiveInt = 128


AlgorithmConfig = Annotated[
    SharedBaselineConfig | RolloutBaselineConfig | ExponentialBaselineConfig | CriticBaselineConfig,
    Field(discriminator="type"),
]


class ScenarioObjectiveConfig(Strict):
    """Plans are priced by simulation, each start's on the same scenarios of its instance."""

    scenarios: PositiveInt = 32
    """Of each instance, fresh ones for every instance drawn."""
    cvar: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Minimise the mean over the worst share of 1 - cvar; 0 is the expectation."""
    validation_scenarios: PositiveInt = 256
    """By which validation chooses among the starts, and which it reports."""


class ConstantSchedule(Strict):
    type: Literal["constant"]


class MultiStepSchedule(Strict):
    """The rate is multiplied by ``factor`` at each of these epochs."""

    type: Literal["multistep"]
    epochs: list[PositiveInt]
    factor: PositiveFloat = 0.1


class WarmupDecaySchedule(Strict):
    """Linear warm-up, constant, then linear decay to zero, as parts of the whole run."""

    type: Literal["warmup-decay"]
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.02
    decay: Annotated[float, Field(gt=0, le=1)] = 0.5


ScheduleConfig = Annotated[
    ConstantSchedule | MultiStepSchedule | WarmupDecaySchedule, Field(discriminator="type")
]


class OptimizerConfig(Strict):
    """Adam; weight decay is the L2 term of the published settings."""

    lr: PositiveFloat = 1e-4
    weight_decay: NonNegativeFloat = 0.0
    schedule: ScheduleConfig = ConstantSchedule(type="constant")


class LoopConfig(Strict):
    """How long and on what a run trains."""

    epochs: PositiveInt
    batches_per_epoch: PositiveInt
    """Batches of one process; with several, an epoch has so many times more instances."""
    batch_size: PositiveInt = 64
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accumulate: PositiveInt = 1
    """Batches whose gradients are averaged for one step of the optimiser."""
    gradient_clip: PositiveFloat | None = None
    """Of the gradient's norm."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    kernel: Kernel = "auto"
    """How rollouts and their scores are computed; a kernel that is named and cannot do it is
    refused. What is for GPUs has run on none yet, so auto does not take it."""
    log_every: PositiveInt = 50
    """Batches between two rows of the log."""


class ReferenceConfig(Strict):
    """The solver that validation measures against; solved once and stored."""

    solver: Annotated[SolverConfig | ScenarioSolverConfig, Field(discriminator="solver")]
    time_limit: PositiveFloat | None = None
    """Wall seconds for each instance."""
    iterations: PositiveInt | None = None

    @model_validator(mode="after")
    def _bounded(self) -> ReferenceConfig:
        if self.time_limit is None and self.iterations is None:
            raise ValueError("a reference needs time_limit or iterations")
        return self


class ValidationConfig(Strict):
    """A fixed set of fresh instances, decoded greedily from every start after every epoch."""

    num_instances: PositiveInt = 256
    seed: Seed = 4321
    num_customers: PositiveInt | None = None
    """By default that of the training data, or the middle of its range."""
    multi_start: bool = True
    """Keep the best over all starts; false decodes each instance once, as Kool et al. report."""
    augment: Literal[1, 8] = 1
    reference: ReferenceConfig | None = None
    """Without one, no gap is shown."""


class StartConfig(Strict):
    """A trained model to go on from, perhaps on a problem with more attributes; all of it is
    trained further."""

    model: Path
    """A model folder, a training run's folder or the name of a shipped model, whose policy is built
    as this run's."""
    new_columns: NewColumns = "zero"
    """Weights of inputs that the model does not know: zero (efficient adapter layers), or random
    with the whole layer (adapter layers)."""


class TrainConfig(Strict):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    problem: Problem
    seed: Seed = 1234
    data: DataConfig
    policy: PolicyConfig
    start: StartConfig | None = None
    """By default weights are fresh."""
    algorithm: AlgorithmConfig
    objective: ScenarioObjectiveConfig | None = None
    """For problems of which part is not known beforehand. By default the environment's own price,
    which is exact where there is a closed form."""
    optimizer: OptimizerConfig = OptimizerConfig()
    training: LoopConfig
    validation: ValidationConfig = ValidationConfig()
    output: Path = Path("runs")

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        data = self.data
        sizes = data.num_customers
        smallest = sizes[0] if isinstance(sizes, tuple) else sizes
        try:
            refuse_misfits(
                self.problem,
                smallest,
                data.distribution,
                data.capacity,
                data.variants,
                on_roads=data.cities is not None,
                fleet=data.fleet,
            )
        except InputError as error:
            raise ValueError(f"data.{error}") from error
        if data.lateness is not None and self.problem not in DAY_PROBLEMS:
            raise ValueError(
                f"data.lateness is given for {self.problem}, which has no soft windows; accepted "
                f"for: {', '.join(DAY_PROBLEMS)}"
            )
        chosen = self.validation
        try:
            refuse_hindsight(
                environments[self.problem],
                multi_start=chosen.multi_start,
                samples=1,
                augment=chosen.augment,
            )
        except InputError as error:
            raise ValueError(f"validation of {self.problem}: {error}") from error
        if isinstance(environments[self.problem], AdaptiveEnvironment) and chosen.reference:
            raise ValueError(
                f"validation.reference: solvers give plans, and {self.problem} is decided on the "
                "way; accepted: none"
            )
        return self

    @model_validator(mode="after")
    def _simulated(self) -> TrainConfig:
        if self.objective is None:
            return self
        if self.problem not in SIMULATED:
            raise ValueError(
                f"objective is for problems of which part is not known beforehand, "
                f"{', '.join(SIMULATED)}; problem is {self.problem}"
            )
        if self.validation.reference is not None:
            raise ValueError(
                "validation.reference is given beside objective; accepted: none, since a "
                "reference's cost is not that in the scenarios of validation"
            )
        return self
