"""Our side of the comparison; runs where nco is installed or on the import path.

As on the other side: float32, no Lightning around the training step (its import counts in the
memory of both), POMO with 6 layers and instance normalisation, all starts.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import cycle
from typing import Any

import numpy as np
import torch
from measure import (
    LATENCY_BATCHES,
    WARM_UP_BATCH,
    WARM_UP_SIZE,
    WARM_UP_STEPS,
    Task,
    main,
    own_mib,
    throughput,
    train_for,
)
from torch import Tensor

from nco.algorithm import ValidationSet, learning_rate_factor
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.decode import Decoded, decode
from nco.envs import variants
from nco.envs.environment import Environment
from nco.likelihood import policy_gradient
from nco.policy_config import POMOConfig
from nco.provenance import git_commit
from nco.rollout import rollout
from nco.strategies import Greedy, draw
from nco.train_config import (
    DataConfig,
    LoopConfig,
    SharedBaselineConfig,
    TrainConfig,
    WarmupDecaySchedule,
)
from nco.training import build_algorithm

ENVIRONMENTS: dict[str, Environment] = {"tsp": variants.tsp, "cvrp": variants.cvrp}
LEARNING_RATE = 5e-4
SCHEDULE = WarmupDecaySchedule(type="warmup-decay")
"""Of the learning comparison: what learns fastest on our side."""


def fresh(task: Task, generator: torch.Generator) -> Instance:
    """A batch drawn on the task's device."""
    return generate(task.problem, num_customers=task.size, batch=task.batch, generator=generator)


def random_actions(env: Environment, instance: Instance) -> list[Tensor]:
    """Valid actions ``[B, 1]`` of every step until all are done, drawn uniformly from the mask."""
    state = env.reset(instance, 1)
    actions = []
    while not bool(env.done(state).all()):
        action = draw(env.action_mask(state).float(), None)
        state = env.step(state, action)
        actions.append(action)
    return actions


def measure_environment(task: Task) -> dict[str, Any]:
    """Million steps per second of reset, step, mask and done, the actions drawn beforehand.

    A step of the other side says whether a row is done; so `done` is asked for here too.
    """
    env = ENVIRONMENTS[task.problem]
    instance = fresh(task, torch.Generator(task.device).manual_seed(task.seed))
    actions = random_actions(env, instance)

    def episode() -> int:
        state = env.reset(instance, 1)
        env.action_mask(state)
        for action in actions:
            state = env.step(state, action)
            env.action_mask(state)
            env.done(state)
        return task.batch * len(actions)

    with torch.inference_mode():
        figures = throughput(task, episode)
    return figures | {"steps": len(actions), "million_steps": figures["per_second"] / 1e6}


class Trainer:
    """POMO's training step by our algorithm: generate, roll out, score, backward, Adam."""

    def __init__(self, task: Task, lr: float = 1e-4) -> None:
        config = TrainConfig(
            name="benchmark",
            problem=task.problem,  # type: ignore[arg-type]  # pydantic checks it
            seed=task.seed,
            data=DataConfig(num_customers=task.size),
            policy=POMOConfig(type="pomo"),
            algorithm=SharedBaselineConfig(type="pomo"),
            training=LoopConfig(epochs=1, batches_per_epoch=1, batch_size=task.batch),
        )
        self.generator = torch.Generator(task.device).manual_seed(task.seed)
        no_validation = ValidationSet(fresh(task, self.generator), None)
        self.algorithm = build_algorithm(config, no_validation).to(task.device)
        self.policy, self.env = self.algorithm.policy, self.algorithm.env
        self.optimiser = torch.optim.Adam(self.policy.parameters(), lr=lr, fused=True)
        self.batch = task.batch

    def step(self) -> int:
        """One batch."""
        instance = self.algorithm.draw(self.batch, self.generator)
        trajectory, encoding = self.algorithm.rollout(instance, self.generator)
        weights = -self.algorithm.advantage(instance, trajectory) / trajectory.costs.numel()
        loss, _ = policy_gradient(
            self.policy, self.env, instance, trajectory, weights, encoding=encoding
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return self.batch


def measure_training(task: Task) -> dict[str, Any]:
    """Instances per second of whole training steps."""
    return throughput(task, Trainer(task).step)


def trained(task: Task) -> Trainer:
    """After the short training that the other side has too; the policy in eval mode."""
    trainer = Trainer(replace(task, size=WARM_UP_SIZE, batch=WARM_UP_BATCH))
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    trainer.policy.eval()
    return trainer


def solve(trainer: Trainer, instance: Instance, task: Task) -> Decoded:
    """Greedy from all starts, or from so many of them as the task says."""
    if task.starts is None:
        return decode(trainer.env, trainer.policy, instance, augment=task.augment)
    # one pass with some of the starts: what `decode` takes has all of them
    starts = trainer.env.start_actions(instance, task.starts)
    found = rollout(
        trainer.env, trainer.policy, instance, Greedy(),
        num_trajectories=task.starts, starts=starts,
    )  # fmt: skip
    costs, best = found.costs.min(1)
    return Decoded(found.actions[torch.arange(len(best), device=best.device), best], costs)


def measure_inference(task: Task) -> dict[str, Any]:
    """Instances per second of greedy multi-start."""
    trainer = trained(task)
    instance = fresh(task, trainer.generator)
    steps = 0

    def work() -> int:
        nonlocal steps
        steps = solve(trainer, instance, task).actions.shape[1]
        return task.batch

    with torch.inference_mode():
        memory = own_mib(task, work)
        figures = throughput(task, work, warm_up=1)
    return figures | memory | {"steps": steps}


def measure_latency(task: Task) -> dict[str, Any]:
    """As inference, of fresh batches in turn."""
    trainer = trained(task)
    batches = [fresh(task, trainer.generator) for _ in range(LATENCY_BATCHES)]
    turn, steps = cycle(batches), 0

    def work() -> int:
        nonlocal steps
        actions = solve(trainer, next(turn), task).actions
        steps = max(steps, actions.shape[1])
        return task.batch

    with torch.inference_mode():
        memory = own_mib(task, work)
        figures = throughput(task, work, warm_up=1)
    return figures | memory | {"steps": steps}


def read(task: Task) -> Instance:
    """The instances of the task's file."""
    with np.load(task.instances) as stored:
        fields = {name: torch.as_tensor(stored[name], dtype=torch.float32) for name in stored}
    if task.problem == "tsp":
        return Instance.tsp(coords=fields["locs"]).to(task.device)
    return Instance.vrp(
        coords=fields["locs"], demand=fields["demand"], capacity=fields["capacity"]
    ).to(task.device)


def measure_learning(task: Task) -> dict[str, Any]:
    """Train for the budget, then write the best cost and actions of every stored instance.

    The learning rate follows `SCHEDULE` over the budget.
    """
    trainer = Trainer(task, lr=LEARNING_RATE)

    def step(spent: float) -> int:
        rate = LEARNING_RATE * learning_rate_factor(SCHEDULE, int(spent * 1e6), 0, 10**6)
        for group in trainer.optimiser.param_groups:
            group["lr"] = rate
        return trainer.step()

    figures: dict[str, Any] = train_for(task, step)
    best = decode(trainer.env, trainer.policy.eval(), read(task), augment=8)
    temporary = task.output.with_suffix(".part.npz")
    np.savez(temporary, cost=best.costs.cpu().numpy(), actions=best.actions.cpu().numpy())
    os.replace(temporary, task.output)
    return figures | {"mean_cost": best.costs.double().mean().item()}


if __name__ == "__main__":
    main(
        {
            "env": measure_environment,
            "train": measure_training,
            "infer": measure_inference,
            "latency": measure_latency,
            "learn": measure_learning,
        },
        f"nco, commit {git_commit()}",
    )
