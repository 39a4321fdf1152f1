"""Of learned dispatchers: the schema of a training run, and the card of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from nco.data.distributions import DistributionName
from nco.data.dynamic_requests import RequestLaw
from nco.data.errors import InputError
from nco.data.generators import refuse_misfits
from nco.policy_config import AttentionConfig
from nco.solver_config import Seed
from nco.strict import Strict
from nco.train_config import ConstantSchedule, ScheduleConfig


class DispatchDataConfig(Strict):
    """The days that a run draws, anew for every batch."""

    num_customers: PositiveInt
    """What requests are drawn from."""
    distribution: DistributionName = "uniform"
    capacity: PositiveInt | None = None
    """Of a vehicle; by default the published table's for the number of customers."""
    requests: RequestLaw = RequestLaw()


class DispatchPolicyConfig(AttentionConfig):
    """See `nco.models.dispatch_policy.DispatchPolicy`."""

    type: Literal["dispatch"]
    dim: PositiveInt = 64
    num_heads: PositiveInt = 4
    num_layers: PositiveInt = 2
    hidden: PositiveInt = 128


class DispatchOptimizerConfig(Strict):
    """Adam."""

    lr: PositiveFloat = 1e-3
    schedule: ScheduleConfig = ConstantSchedule(type="constant")


class DispatchLoopConfig(Strict):
    """How long and on what a run trains; in one process, on the CPU."""

    epochs: PositiveInt
    batches_per_epoch: PositiveInt
    batch_size: PositiveInt = 64
    """Days."""
    num_times: Annotated[int, Field(ge=2)] = 8
    """How often each day is gone through, with decisions drawn anew: what an advantage compares."""
    temperature: NonNegativeFloat = 0.05
    """What a nat of a decision's entropy is worth, in units of length."""
    gradient_clip: PositiveFloat = 1.0
    """Of the gradient's norm."""


class DispatchValidationConfig(Strict):
    """Fixed instances, each on one day of the selection scenarios, decided without chance."""

    num_instances: PositiveInt = 256
    seed: Seed = 4321


class DispatchTrainConfig(Strict):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    problem: Literal["dvrptw"]
    seed: Seed = 1234
    data: DispatchDataConfig
    policy: DispatchPolicyConfig = DispatchPolicyConfig(type="dispatch")
    optimizer: DispatchOptimizerConfig = DispatchOptimizerConfig()
    training: DispatchLoopConfig
    validation: DispatchValidationConfig = DispatchValidationConfig()
    output: Path = Path("runs")

    @model_validator(mode="after")
    def _fits(self) -> DispatchTrainConfig:
        data = self.data
        try:
            refuse_misfits(
                self.problem, data.num_customers, data.distribution, data.capacity, None,
                requests=data.requests,
            )  # fmt: skip
        except InputError as error:
            raise ValueError(f"data.{error}") from error
        return self


class DispatchCard(Strict):
    """What a learned dispatcher is, what it was trained on, and how it scores."""

    schema_version: Literal[1] = 1
    name: str
    problem: Literal["dvrptw"]
    policy: DispatchPolicyConfig
    trained_on: DispatchDataConfig
    days: int
    """How many the weights have seen."""
    hardware: str
    seconds: float
    """Wall time of the training."""
    metrics: dict[str, float]
    """Mean costs of validation, routes by insertion: of the model, and of sending all requests at
    once or none before it must."""
    versions: dict[str, str]
