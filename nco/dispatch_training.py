"""Trains a policy that says which open requests leave now: REINFORCE over whole days.

Each day is gone through several times with decisions drawn anew (common random numbers: the same
requests come), and the cost of each pass is compared with the mean of the others of the same day.
Routes are built by insertion meanwhile, in microseconds. Randomness is a function of (seed, batch),
so a run that is resumed goes on as if it had not stopped.
"""

from __future__ import annotations

import contextlib
import csv
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from nco.algorithm import learning_rate_factor, seeded_weights, stream_seed
from nco.config_files import load_yaml, parse
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.text_file import write_text
from nco.dispatch_config import DispatchCard, DispatchTrainConfig
from nco.dispatch_model import build_dispatch_policy
from nco.dispatch_routes import insertion_price, margins
from nco.envs.dispatch_batch import Days, DaysState, drawn_days, first_epoch
from nco.model_files import save_model
from nco.models.dispatch_policy import DispatchPolicy
from nco.provenance import hardware, versions

CHECKPOINT = Path("checkpoints") / "last.pt"
COLUMNS: tuple[str, ...] = (
    "epoch",
    "step",
    "seconds",
    "cpu_seconds",
    "train/days",
    "train/cost",
    "val/cost",
    "val/greedy",
    "val/lazy",
)


@dataclass(frozen=True)
class Passes:
    """K passes through each of B days."""

    cost: Float[Tensor, "batch time"]
    log_likelihood: Float[Tensor, "batch time"]
    """Of the decisions on requests that could wait; 0 where none was drawn."""
    entropy: Float[Tensor, "batch time"]
    """Of the same decisions, their sum."""


def passes(
    policy: DispatchPolicy, days: Days, num_times: int, generator: torch.Generator | None
) -> Passes:
    """Go through the days; decisions are drawn, or without a generator the more likely ones."""
    state = first_epoch(days, num_times)
    likelihood = entropy = torch.zeros(state.cost.shape)
    for number in range(days.rules.num_epochs):
        free = state.open & ~state.must
        leaving = torch.zeros_like(free)
        if bool(free.any()):
            scores = policy(*days.features(number), margins(state), state.open)
            if generator is None:
                leaving = free & (scores > 0)
            else:
                leaving = free & (torch.rand(scores.shape, generator=generator) < scores.sigmoid())
                # the probability to leave is sigma(x), to wait 1 - sigma(x) = sigma(-x)
                leave, wait = (torch.nn.functional.logsigmoid(x) for x in (scores, -scores))
                drawn = torch.where(leaving, leave, wait)
                spread = -(leave.exp() * leave + wait.exp() * wait)
                likelihood = likelihood + drawn.masked_fill(~free, 0).sum(2)
                entropy = entropy + spread.masked_fill(~free, 0).sum(2)
        state = state.after(leaving, insertion_price)
    return Passes(state.cost, likelihood, entropy)


def loss(found: Passes, unit: Float[Tensor, " batch"], temperature: float) -> Float[Tensor, ""]:
    """Of REINFORCE, with costs in units of length and a price on certainty: without it the policy
    soon sends every request at once, and draws nothing else any more to learn from."""
    times = found.cost.shape[1]
    cost = found.cost / unit.view(-1, 1)
    advantage = (cost - cost.mean(1, keepdim=True)) * times / (times - 1)
    return (advantage.float() * found.log_likelihood - temperature * found.entropy).mean()


def simple_cost(days: Days, *, everyone: bool) -> float:
    """The mean cost where all leave at once, or all wait as long as they can."""
    state: DaysState = first_epoch(days, 1)
    for _ in range(days.rules.num_epochs):
        state = state.after(torch.full_like(state.open, everyone), insertion_price)
    return float(state.cost.mean())


class _Run:
    """What a run has beside its configuration."""

    def __init__(self, config: DispatchTrainConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        with seeded_weights(config.seed, 0):
            self.policy = build_dispatch_policy(config.policy)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=config.optimizer.lr)
        self.epoch = 0
        self.seconds = self.cpu_seconds = 0.0
        drawn = self._instances(config.validation.num_instances, config.validation.seed)
        self.validation = drawn_days(drawn, Scenarios(Split.SELECTION, 1))
        self.greedy = simple_cost(self.validation, everyone=True)
        self.lazy = simple_cost(self.validation, everyone=False)

    def _instances(self, count: int, seed: int) -> Instance:
        data = self.config.data
        return generate(
            self.config.problem,
            num_customers=data.num_customers,
            batch=count,
            generator=torch.Generator().manual_seed(seed),
            distribution=data.distribution,
            capacity=data.capacity,
            requests=data.requests,
        )

    def batch(self, number: int, total: int) -> float:
        """One step of the optimiser; the mean cost."""
        config = self.config
        loop, rate = config.training, config.optimizer
        instance = self._instances(
            loop.batch_size, stream_seed(config.seed, "instances", 0, number)
        )
        actions = torch.Generator().manual_seed(stream_seed(config.seed, "actions", 0, number))
        days = drawn_days(instance, Scenarios(Split.TRAIN, 1))
        found = passes(self.policy, days, loop.num_times, actions)
        epoch = number // loop.batches_per_epoch
        for group in self.optimizer.param_groups:
            group["lr"] = rate.lr * learning_rate_factor(rate.schedule, number, epoch, total)
        self.optimizer.zero_grad()
        loss(found, days.length_unit, loop.temperature).backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), loop.gradient_clip)
        self.optimizer.step()
        return float(found.cost.mean())

    def validated(self) -> float:
        with torch.no_grad():
            return float(passes(self.policy, self.validation, 1, None).cost.mean())

    def save(self, row: dict[str, Any]) -> None:
        """The model, the row of metrics, and what resuming needs; in this order."""
        config = self.config
        costs = {name: row[name] for name in ("val/cost", "val/greedy", "val/lazy")}
        hard = hardware()
        card = DispatchCard(
            name=config.name,
            problem=config.problem,
            policy=config.policy,
            trained_on=config.data,
            days=row["train/days"],
            hardware=", ".join(f"{name} {value}" for name, value in hard.items()),
            seconds=row["seconds"],
            metrics=costs,
            versions=versions(),
        )
        save_model(self.folder / "model", self.policy, card)
        path = self.folder / "metrics.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        state = {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }
        partial = self.folder / CHECKPOINT.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.folder / CHECKPOINT)

    def restore(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, weights_only=True)
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]


def train_dispatcher(
    config: DispatchTrainConfig, *, resume: Path | None = None, progress: bool = True
) -> Path:
    """Train a policy and write its run folder: the resolved ``config.yaml``, ``metrics.csv``,
    ``checkpoints/last.pt`` and, after every epoch, ``model/`` with the current weights.

    Args:
        config: the whole run.
        resume: the folder of a run to go on with, from its last finished epoch.
        progress: show what is going on, on standard error.

    Returns:
        The run's folder.

    Raises:
        InputError: the output cannot be written, or ``resume`` is not this configuration's run.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    folder = _new_folder(config) if resume is None else resume
    run = _Run(config, folder)
    if resume is not None:
        _require_same(config, resume)
        run.restore()
    shown = Console(stderr=True).status(config.name) if progress else contextlib.nullcontext()
    try:
        with shown as status:
            for epoch in range(run.epoch, config.training.epochs):
                told = _epoch(run, epoch)
                if status is not None:
                    status.update(told)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"go on with: nco train {folder / 'config.yaml'} --resume {folder}"
            if run.epoch
            else f"no epoch of {folder} was finished, start anew"
        ) from None
    return folder


def _epoch(run: _Run, epoch: int) -> str:
    """Train and save; a line for the screen."""
    loop = run.config.training
    total = loop.epochs * loop.batches_per_epoch
    start, cpu = time.perf_counter(), time.process_time()
    first = epoch * loop.batches_per_epoch
    costs = [run.batch(first + i, total) for i in range(loop.batches_per_epoch)]
    cost = run.validated()
    run.seconds += time.perf_counter() - start
    run.cpu_seconds += time.process_time() - cpu
    run.epoch = epoch + 1
    steps = first + loop.batches_per_epoch
    row = {
        "epoch": epoch, "step": steps, "seconds": round(run.seconds, 2),
        "cpu_seconds": round(run.cpu_seconds, 2), "train/days": steps * loop.batch_size,
        "train/cost": sum(costs) / len(costs), "val/cost": cost, "val/greedy": run.greedy,
        "val/lazy": run.lazy,
    }  # fmt: skip
    run.save(row)
    return (
        f"{run.config.name}, epoch {epoch} of {loop.epochs}: train {row['train/cost']:.3f}, "
        f"validation {cost:.3f} (greedy {run.greedy:.3f}, lazy {run.lazy:.3f})"
    )


def _new_folder(config: DispatchTrainConfig) -> Path:
    folder = config.output / config.name / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    try:
        (folder / CHECKPOINT.parent).mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"output {config.output}: cannot be written ({error.strerror}); give a folder that can"
        ) from error
    values = config.model_dump(mode="json")
    write_text(folder / "config.yaml", yaml.safe_dump(values, sort_keys=False))
    return folder


def _require_same(config: DispatchTrainConfig, run: Path) -> None:
    path = run / "config.yaml"
    if not path.is_file() or not (run / CHECKPOINT).is_file():
        raise InputError(
            f"{run}: no run of a dispatcher with a checkpoint ({CHECKPOINT}); accepted: "
            "runs/<name>/<time>"
        )
    stored = parse(DispatchTrainConfig, load_yaml(path), str(path)).model_dump(mode="json")
    ours = config.model_dump(mode="json")
    different = [key for key in ours if key != "output" and ours[key] != stored[key]]
    if different:
        raise InputError(
            f"--resume {run}: the configuration is not that of the run: {', '.join(different)} "
            "differ; accepted: the same"
        )
