"""RL4CO's side of the comparison; runs in a virtual environment that has rl4co and torch.

Shown at its best: solution and NaN checks off, no Lightning around the training step, float32.
The policy is RL4CO's own POMO: 6 layers, instance normalisation, all starts.
"""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
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
from rl4co.envs import CVRPEnv, TSPEnv
from rl4co.envs.common.base import RL4COEnvBase
from rl4co.models import POMO
from rl4co.utils.ops import unbatchify
from tensordict import TensorDict
from torch import Tensor

ENVIRONMENTS = {"tsp": TSPEnv, "cvrp": CVRPEnv}


def environment(task: Task) -> RL4COEnvBase:
    """RL4CO's environment of the task, without its check of every solution."""
    kind = ENVIRONMENTS[task.problem]
    return kind(generator_params={"num_loc": task.size}, check_solution=False, seed=task.seed)


def pomo(task: Task, env: RL4COEnvBase) -> POMO:
    """RL4CO's POMO with its default policy (6 layers) on the task's device."""
    return POMO(env, policy_kwargs={"check_nan": False}).to(task.device)


def generate(task: Task, env: RL4COEnvBase) -> TensorDict:
    """A fresh batch on the task's device."""
    return env.generator([task.batch]).to(task.device)


def reset(env: RL4COEnvBase, batch: TensorDict) -> TensorDict:
    """The first state; a shallow copy is given because reset writes into what it is given."""
    return env.reset(batch.clone(recurse=False))


def random_actions(env: RL4COEnvBase, batch: TensorDict) -> list[Tensor]:
    """Valid actions ``[B]`` of every step until all are done, drawn uniformly from the mask."""
    td = reset(env, batch)
    actions = []
    while not td["done"].all():
        action = td["action_mask"].float().multinomial(1).squeeze(1)
        td.set("action", action)
        td = env.step(td)["next"]
        actions.append(action)
    return actions


def measure_environment(task: Task) -> dict[str, Any]:
    """Million steps per second of reset, step and mask, the actions drawn beforehand."""
    env = environment(task)
    batch = generate(task, env)
    actions = random_actions(env, batch)

    def episode() -> int:
        td = reset(env, batch)
        for action in actions:
            td.set("action", action)
            td = env.step(td)["next"]
        return task.batch * len(actions)

    with torch.inference_mode():
        figures = throughput(task, episode)
    return figures | {"steps": len(actions), "million_steps": figures["per_second"] / 1e6}


class Trainer:
    """POMO's training step by hand: generate, roll out, loss, backward, Adam 1e-4."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.env = environment(task)
        self.model = pomo(task, self.env)
        self.optimiser = torch.optim.Adam(self.model.policy.parameters(), lr=1e-4)

    def step(self, spent: float = 0.0) -> int:
        """One batch; the learning rate does not depend on the share of the budget spent."""
        batch = generate(self.task, self.env)
        td = self.env.reset(batch)
        starts = self.env.get_num_starts(td)
        out = self.model.policy(td, self.env, phase="train", num_starts=starts)
        reward = unbatchify(out["reward"], starts)
        log_likelihood = unbatchify(out["log_likelihood"], starts)
        self.model.calculate_loss(td, batch, out, reward, log_likelihood)
        self.optimiser.zero_grad()
        out["loss"].backward()
        self.optimiser.step()
        return self.task.batch


def measure_training(task: Task) -> dict[str, Any]:
    """Instances per second of whole training steps."""
    return throughput(task, Trainer(task).step)


def best_of_starts(
    model: POMO, env: RL4COEnvBase, batch: TensorDict, augment: bool, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Greedy from all starts or ``limit`` of them (and 8 copies): the best cost ``[B]`` and its
    actions ``[B, T]``."""
    td = reset(env, batch)
    copies = model.num_augment if augment else 1
    td = model.augment(td) if augment else td
    starts = limit or env.get_num_starts(td)
    out = model.policy(td, env, phase="test", num_starts=starts)
    rows = unbatchify(out["reward"], (copies, starts)).flatten(1)
    reward, index = rows.max(1)
    actions = unbatchify(out["actions"], (copies, starts)).flatten(1, 2)
    return -reward, actions[torch.arange(len(index), device=index.device), index]


def trained(task: Task) -> POMO:
    """A model after a short training, in eval mode.

    Greedy choices of random weights visit the depot far too often; some batches of training on
    small instances bring the number of steps, which is reported, to what a trained policy takes.
    """
    trainer = Trainer(replace(task, size=WARM_UP_SIZE, batch=WARM_UP_BATCH))
    for _ in range(WARM_UP_STEPS):
        trainer.step()
    return trainer.model.eval()


def measure_inference(task: Task) -> dict[str, Any]:
    """Instances per second of greedy multi-start."""
    model, env = trained(task), environment(task)
    batch = generate(task, env)
    steps = 0

    def work() -> int:
        nonlocal steps
        _, actions = best_of_starts(model, env, batch, task.augment == 8, task.starts)
        steps = actions.shape[1]
        return task.batch

    with torch.inference_mode():
        memory = own_mib(task, work)
        figures = throughput(task, work, warm_up=1)
    return figures | memory | {"steps": steps}


def measure_latency(task: Task) -> dict[str, Any]:
    """As inference, of fresh batches in turn."""
    model, env = trained(task), environment(task)
    batches = [generate(task, env) for _ in range(LATENCY_BATCHES)]
    turn, steps = cycle(batches), 0

    def work() -> int:
        nonlocal steps
        _, actions = best_of_starts(model, env, next(turn), task.augment == 8, task.starts)
        steps = max(steps, actions.shape[1])
        return task.batch

    with torch.inference_mode():
        memory = own_mib(task, work)
        figures = throughput(task, work, warm_up=1)
    return figures | memory | {"steps": steps}


def read(task: Task) -> TensorDict:
    """The instances of the task's file in the form that RL4CO's environments reset from."""
    with np.load(task.instances) as stored:
        locs = torch.as_tensor(stored["locs"], dtype=torch.float32)
        fields = {"locs": locs}
        if task.problem == "cvrp":
            capacity = torch.as_tensor(stored["capacity"], dtype=torch.float32).view(-1, 1)
            demand = torch.as_tensor(stored["demand"], dtype=torch.float32)[:, 1:]
            fields = {"locs": locs[:, 1:], "depot": locs[:, 0], "demand": demand / capacity}
            fields["capacity"] = capacity
    return TensorDict(fields, batch_size=[len(locs)]).to(task.device)


def measure_learning(task: Task) -> dict[str, Any]:
    """Train for the budget, then write the best cost and actions of every stored instance."""
    trainer = Trainer(task)
    figures: dict[str, Any] = train_for(task, trainer.step)
    trainer.model.eval()
    costs, actions = [], []
    with torch.inference_mode():
        for part in read(task).split(task.batch):
            cost, chosen = best_of_starts(trainer.model, trainer.env, part, augment=True)
            costs.append(cost)
            actions.append(chosen)
    width = max(chosen.shape[1] for chosen in actions)
    # an ended CVRP trajectory stays at the depot; TSP tours have one length
    padded = [torch.nn.functional.pad(chosen, (0, width - chosen.shape[1])) for chosen in actions]
    cost = torch.cat(costs).cpu().numpy()
    temporary = task.output.with_suffix(".part.npz")
    np.savez(temporary, cost=cost, actions=torch.cat(padded).cpu().numpy())
    os.replace(temporary, task.output)
    return figures | {"mean_cost": float(cost.astype(np.float64).mean())}


if __name__ == "__main__":
    main(
        {
            "env": measure_environment,
            "train": measure_training,
            "infer": measure_inference,
            "latency": measure_latency,
            "learn": measure_learning,
        },
        f"RL4CO {version('rl4co')}",
    )
