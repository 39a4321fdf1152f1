"""Train the policies of some configurations for the same CPU time each, one after another.

    python tests/benchmarks/train_for_time.py CONFIG ... --cpu-seconds 600 --output models

Every step is the configuration's own, but the rate follows its schedule over the seconds instead of
its epochs, and one thread is used: process time then is what a training costs, whatever else the
machine does. Writes a model folder for each configuration; those that are there are kept.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.utils import clip_grad_norm_

from nco.algorithm import Algorithm, ValidationSet, learning_rate_factor
from nco.config_files import load_yaml, parse
from nco.data.city_collection import CityCollection
from nco.likelihood import policy_gradient
from nco.model_files import ModelCard, StartedFrom, TrainedOn, save_model
from nco.provenance import hardware, versions
from nco.train_config import TrainConfig
from nco.training import build_algorithm, starting_policy, validation_instances

RESOLUTION = 10**6
"""Steps that a schedule sees in the whole budget."""


@dataclass
class Spent:
    """What a training took."""

    instances: int = 0
    cpu_seconds: float = 0
    wall_seconds: float = 0


def train(algorithm: Algorithm, budget: float) -> Spent:
    """Policy-gradient steps until the CPU seconds are spent."""
    config = algorithm.config
    schedule, batch = config.optimizer.schedule, config.training.batch_size
    optimiser = torch.optim.Adam(
        algorithm.policy.parameters(),
        lr=config.optimizer.lr,
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )
    spent, index, told = Spent(), 0, 0.0
    start, wall = time.process_time(), time.perf_counter()
    while spent.cpu_seconds < budget:
        step = int(spent.cpu_seconds / budget * RESOLUTION)
        for group in optimiser.param_groups:
            group["lr"] = config.optimizer.lr * learning_rate_factor(schedule, step, 0, RESOLUTION)
        instance = algorithm.draw(batch, algorithm.generator("instances", index))
        instance = algorithm.priced(instance, spent.cpu_seconds / budget)
        actions = algorithm.generator("actions", index)
        trajectory, encoding = algorithm.rollout(instance, actions)
        weights = -algorithm.advantage(instance, trajectory) / trajectory.costs.numel()
        loss, _ = policy_gradient(
            algorithm.policy, algorithm.env, instance, trajectory, weights, encoding=encoding
        )
        optimiser.zero_grad()
        loss.backward()
        if config.training.gradient_clip is not None:
            clip_grad_norm_(algorithm.policy.parameters(), config.training.gradient_clip)
        optimiser.step()
        index += 1
        spent = Spent(index * batch, time.process_time() - start, time.perf_counter() - wall)
        if spent.cpu_seconds - told > 60:
            told = spent.cpu_seconds
            mean = trajectory.costs.mean().item()
            print(f"{config.name}: {told:.0f} s, {spent.instances} instances, cost {mean:.1f}",
                  flush=True)  # fmt: skip
    return spent


def card_of(config: TrainConfig, spent: Spent, started_from: StartedFrom | None) -> ModelCard:
    """As a training run writes it."""
    data = config.data
    cities = None if data.cities is None else CityCollection.load(data.cities, "train").names
    return ModelCard(
        name=config.name,
        problem=config.problem,
        policy=config.policy,
        trained_on=TrainedOn(
            num_customers=data.num_customers,
            distribution=data.distribution,
            variants=data.variants,
            cities=cities,
            capacity=data.capacity,
            instances=spent.instances,
            hardware=f"{hardware()['processor']}, one thread, {spent.cpu_seconds:.0f} CPU seconds",
            seconds=spent.wall_seconds,
        ),
        started_from=started_from,
        metrics={},
        versions=versions(),
    )


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--cpu-seconds", type=float, default=600.0)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.configs:
        config = parse(TrainConfig, load_yaml(name), name)
        folder = given.output / config.name
        if (folder / "card.json").exists():
            print(f"{folder} is there", flush=True)
            continue
        policy, started_from = starting_policy(config)
        validation = ValidationSet(validation_instances(config), None)
        algorithm = build_algorithm(config, validation, policy)
        spent = train(algorithm, given.cpu_seconds)
        save_model(folder, algorithm.policy, card_of(config, spent, started_from))
        print(f"{folder}: {spent}", flush=True)


if __name__ == "__main__":
    main()
