"""Our side of the comparison; runs where nco is installed or on the import path.

As on the other side: float32, no Lightning around the training step, POMO with 6 layers and
instance normalisation, all starts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from measure import (
    WARM_UP_BATCH,
    WARM_UP_SIZE,
    WARM_UP_STEPS,
    Task,
    main,
    throughput,
)
from torch import Tensor

from nco.data.generators import generate
from nco.data.instance import Instance
from nco.envs import variants
from nco.envs.environment import Environment
from nco.likelihood import policy_gradient
from nco.models.pomo import POMO
from nco.rollout import rollout
from nco.strategies import Greedy, Sampling, draw

ENVIRONMENTS: dict[str, Environment] = {"tsp": variants.tsp, "cvrp": variants.cvrp}


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
    """POMO's training step: generate, roll out, score, backward, Adam 1e-4."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.env = ENVIRONMENTS[task.problem]
        self.policy = POMO(self.env).to(task.device)
        self.generator = torch.Generator(task.device).manual_seed(task.seed)
        self.optimiser = torch.optim.Adam(self.policy.parameters(), lr=1e-4)

    def step(self) -> int:
        """One batch."""
        instance = fresh(self.task, self.generator)
        num_starts = self.env.num_starts(instance)
        encoding = self.policy.encode(instance)
        trajectory = rollout(
            self.env,
            self.policy,
            instance,
            Sampling(),
            num_trajectories=num_starts,
            starts=self.env.start_actions(instance, num_starts),
            generator=self.generator,
            record=True,
            encoding=encoding,
        )
        advantage = trajectory.costs - trajectory.costs.mean(1, keepdim=True)
        weights = advantage / advantage.numel()
        loss, _ = policy_gradient(
            self.policy, self.env, instance, trajectory, weights, encoding=encoding
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return self.task.batch


def measure_training(task: Task) -> dict[str, Any]:
    """Instances per second of whole training steps."""
    return throughput(task, Trainer(task).step)


def measure_inference(task: Task) -> dict[str, Any]:
    """Instances per second of greedy multi-start without augmentation, after the short training
    that the other side has too."""
    trainer = Trainer(replace(task, size=WARM_UP_SIZE, batch=WARM_UP_BATCH))
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    env, policy = trainer.env, trainer.policy.eval()
    instance = fresh(task, trainer.generator)
    num_starts = env.num_starts(instance)
    starts = env.start_actions(instance, num_starts)
    steps = 0

    def solve() -> int:
        nonlocal steps
        best = rollout(env, policy, instance, Greedy(), num_trajectories=num_starts, starts=starts)
        best.costs.min(1)
        steps = best.actions.shape[2]
        return task.batch

    with torch.inference_mode():
        figures = throughput(task, solve, warm_up=1)
    return figures | {"steps": steps}


if __name__ == "__main__":
    main({"env": measure_environment, "train": measure_training, "infer": measure_inference})
