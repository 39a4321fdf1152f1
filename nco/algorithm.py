"""What every training algorithm shares: data, optimiser, validation, one loss from two passes.

An algorithm is one final class in a file of its own; it says which trajectories to build and what
each is compared with (its advantage). Randomness is a function of (seed, rank, batch), so a run
that is resumed goes on as if it had not stopped.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightning as pl
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from nco.build import build_sampled_env
from nco.captured_rollout import CapturedRollouts
from nco.data.attributes import variant_names
from nco.data.batching import replace
from nco.data.city_collection import CityCollection
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split, hash_words
from nco.data.prices import PRICES
from nco.decode import decode
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.environment import Environment
from nco.envs.objective import Objective
from nco.kernels import Kernel
from nco.likelihood import policy_gradient
from nco.models.policy import Encoding, Policy, Usage
from nco.rollout import Trajectory, captured_steps
from nco.train_config import (
    ConstantSchedule,
    MultiStepSchedule,
    ScheduleConfig,
    TrainConfig,
    WarmupDecaySchedule,
)

STREAMS = {"instances": 0, "actions": 1, "evaluation": 2, "weights": 3}
"""What randomness is drawn for; each has numbers of its own."""
LATENESS_PRICES = ("lateness", "overtime")
"""What `nco.train_config.LatenessRampConfig` is about."""
GAP = "val/gap_percent"
"""The mean over instances of cost over reference cost, less one; with a variant's name behind a
slash, over its instances only."""


@dataclass(frozen=True)
class ValidationSet:
    """Fixed instances with the costs of a reference solver, where there is one."""

    instance: Instance
    reference: Float[Tensor, "instance"] | None

    @cached_property
    def by_variant(self) -> dict[str, list[int]]:
        """Which instances are of each variant; nothing where there is no gap to tell, or only one
        variant."""
        names = variant_names(self.instance)
        if self.reference is None or len(set(names)) == 1:
            return {}
        return {
            name: [i for i, n in enumerate(names) if n == name] for name in dict.fromkeys(names)
        }


def stream_seed(seed: int, stream: str, rank: int, index: int) -> int:
    """A seed for one purpose of one batch of one process; distinct for all of them."""
    return hash_words(seed, STREAMS[stream], rank, index) % 2**63


@contextmanager
def seeded_weights(seed: int, part: int) -> Iterator[None]:
    """Layers made inside start from a run's own numbers; torch's global generator is left as it
    was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "weights", 0, part) % 2**32)
        yield


def learning_rate_factor(schedule: ScheduleConfig, step: int, epoch: int, total: int) -> float:
    """What the base rate is multiplied by at an optimiser step of ``total``."""
    match schedule:
        case ConstantSchedule():
            return 1.0
        case MultiStepSchedule():
            return schedule.factor ** sum(epoch >= e for e in schedule.epochs)
        case WarmupDecaySchedule():
            done = step / total
            if done < schedule.warmup:
                return (step + 1) / math.ceil(schedule.warmup * total)
            return min(1.0, (1 - done) / schedule.decay)


class Algorithm(pl.LightningModule, ABC):
    """Policy-gradient training: a rollout without gradients, then one scoring pass."""

    def __init__(self, config: TrainConfig, validation: ValidationSet, policy: Policy) -> None:
        super().__init__()
        self.config = config
        self.policy = policy
        self.env = self._env(policy, Split.TRAIN)
        self.validation_env = self._env(policy, Split.SELECTION)
        self.validation = validation
        self.instances_seen = 0
        self._clock = time.perf_counter()

    def _env(self, policy: Policy, split: Split) -> Environment:
        """The policy's environment, priced by scenarios where the run asks for it; where noise is
        seen on the way, in one scenario of the split."""
        asked = self.config.objective
        if asked is None and isinstance(policy.env, AdaptiveEnvironment):
            return policy.env.in_scenarios(Scenarios(split, 1, self.config.seed))
        if asked is None:
            if split == Split.SELECTION and isinstance(policy.env, AdaptiveEnvironment):
                # noise that is seen on the way is that of one scenario
                return policy.env.in_scenarios(Scenarios(split, 1))
            return policy.env
        count = asked.scenarios if split == Split.TRAIN else asked.validation_scenarios
        scenarios = Scenarios(split, count, self.config.seed)
        return build_sampled_env(self.config.problem, scenarios, Objective(asked.cvar))

    @abstractmethod
    def rollout(
        self, instance: Instance, generator: torch.Generator
    ) -> tuple[Trajectory, Encoding]:
        """Trajectories of a batch, with the encoding (with gradients) that they came from."""

    @abstractmethod
    def advantage(
        self, instance: Instance, trajectory: Trajectory
    ) -> Float[Tensor, "batch trajectory"]:
        """How much cheaper than expected each trajectory is; positive is better."""

    @abstractmethod
    def extra_loss(self, instance: Instance, trajectory: Trajectory) -> Tensor | None:
        """A loss besides the policy gradient, e.g. a critic's."""

    @cached_property
    def kernel(self) -> Kernel | CapturedRollouts:
        """How rollouts are computed; asked for when the module is on its device."""
        return captured_steps(self.config.training.kernel, self.device)

    def generator(self, stream: str, index: int) -> torch.Generator:
        """The numbers of one purpose and one batch of this process."""
        seed = stream_seed(self.config.seed, stream, self.global_rank, index)
        return torch.Generator(device=self.device).manual_seed(seed)

    @cached_property
    def cities(self) -> CityCollection | None:
        """The training cities of this run, if any, on this module's device."""
        folder = self.config.data.cities
        return None if folder is None else CityCollection.load(folder, "train").to(self.device)

    def draw(self, batch: int, generator: torch.Generator) -> Instance:
        """Fresh training instances, on this module's device."""
        data = self.config.data
        size = data.num_customers
        if isinstance(size, tuple):
            # from the host: shapes must be known there
            low, high = size
            seed = generator.initial_seed() % 2**63
            size = low + seed % (high - low + 1)
        return generate(
            self.config.problem,
            num_customers=size,
            batch=batch,
            generator=generator,
            distribution=data.distribution,
            capacity=data.capacity,
            variants=data.variants,
            cities=self.cities,
            fleet=data.fleet,
        )

    def priced(self, instance: Instance, done: float) -> Instance:
        """The instances at the prices of this share of the run."""
        ramp = self.config.data.lateness
        if ramp is None or instance.prices is None:
            return instance
        shares = [ramp.share(done) if name in LATENESS_PRICES else 1.0 for name in PRICES]
        return replace(instance, {"prices": instance.prices * instance.prices.new_tensor(shares)})

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loop = self.config.training
        index = self.current_epoch * loop.batches_per_epoch + batch_idx
        instance = self.draw(loop.batch_size, self.generator("instances", index))
        instance = self.priced(instance, index / (loop.epochs * loop.batches_per_epoch))
        trajectory, encoding = self.rollout(instance, self.generator("actions", index))
        advantage = self.advantage(instance, trajectory)
        # costs are minimised: a positive advantage raises the likelihood
        weights = -advantage / advantage.numel()
        loss, _ = policy_gradient(
            self.policy, self.env, instance, trajectory, weights, encoding=encoding,
            kernel=self.config.training.kernel,
        )  # fmt: skip
        extra = self.extra_loss(instance, trajectory)
        self._experts({**encoding.usage, **trajectory.usage})
        self._count(loop.batch_size, trajectory)
        return loss if extra is None else loss + extra

    def _count(self, batch: int, trajectory: Trajectory) -> None:
        """Log what the bar and the tables show; nothing is read from the device in between."""
        self.instances_seen += batch * self.trainer.world_size
        now = time.perf_counter()
        rate = batch * self.trainer.world_size / max(now - self._clock, 1e-9)
        self._show("train/cost", trajectory.costs.mean())
        self._show("train/instances_per_second", rate)
        self.log("train/instances", float(self.instances_seen), batch_size=1)
        self._clock = now

    def _experts(self, usage: Usage) -> None:
        """Let gates balance themselves by the load of all processes, and log how it is spread."""
        for name, used in usage.items():
            load = used[1].detach().clone()
            if self.trainer.world_size > 1:
                torch.distributed.all_reduce(load)
            self.policy.gates[name].rebalance(load)
            share = load / load.sum()
            self.log(f"experts/{name}_largest_share", share.max(), batch_size=1)
            self.log(f"experts/{name}_smallest_share", share.min(), batch_size=1)

    def _show(self, name: str, value: Tensor | float, *, everywhere: bool = False) -> None:
        """Log a figure and show it in the progress bar; the mean of the processes, or one's own."""
        self.log(name, value, prog_bar=True, batch_size=1, sync_dist=everywhere)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        instance, settings = self.validation.instance.to(self.device), self.config.validation
        costs = decode(
            self.validation_env,
            self.policy,
            instance,
            multi_start=settings.multi_start,
            augment=settings.augment,
            kernel=self.kernel,
        ).costs.double()
        self._show("val/cost", costs.mean(), everywhere=True)
        reference = self.validation.reference
        if reference is not None:
            gaps = 100 * (costs / reference.to(costs.device) - 1)
            self._show(GAP, gaps.mean(), everywhere=True)
            for name, index in self.validation.by_variant.items():
                self.log(f"{GAP}/{name}", gaps[index].mean(), batch_size=1, sync_dist=True)
        self._clock = time.perf_counter()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        config = self.config.optimizer
        loop = self.config.training
        trained = [p for p in self.parameters() if p.requires_grad]
        # Lightning refuses to clip what a fused optimiser is given under mixed precision
        fused = loop.precision == "32-true" or loop.gradient_clip is None
        optimizer = torch.optim.Adam(
            trained, lr=config.lr, weight_decay=config.weight_decay, fused=fused
        )
        per_epoch = math.ceil(loop.batches_per_epoch / loop.accumulate)
        total = loop.epochs * per_epoch
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: learning_rate_factor(config.schedule, step, step // per_epoch, total),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": LRSchedulerConfigType(scheduler=scheduler, interval="step"),
        }

    def train_dataloader(self) -> DataLoader[int]:
        """Batch numbers; the instances are drawn on the device, in `training_step`."""
        return DataLoader(range(self.config.training.batches_per_epoch), batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[int]:
        return DataLoader(range(1), batch_size=None)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        self._clock = time.perf_counter()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["instances_seen"] = self.instances_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.instances_seen = checkpoint["instances_seen"]
