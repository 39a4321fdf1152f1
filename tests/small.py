"""Small instances and brute force for tests."""

from __future__ import annotations

import itertools

import torch

from nco.data.generators import generate
from nco.data.instance import Instance, distance_matrix
from nco.envs.environment import Environment

__all__ = ["best_cvrp_cost", "best_tour_length", "instances", "random_rollout"]


def instances(problem: str, num_customers: int, batch: int, seed: int = 0) -> Instance:
    """Random instances in float32."""
    generator = torch.Generator().manual_seed(seed)
    assert problem in ("tsp", "atsp", "cvrp")
    return generate(
        problem,  # type: ignore[arg-type]
        num_customers=num_customers,
        batch=batch,
        generator=generator,
    )


def best_tour_length(distance: list[list[float]]) -> float:
    """The shortest closed tour by trying every order."""
    rest = range(1, len(distance))
    return min(
        sum(distance[a][b] for a, b in itertools.pairwise((0, *order, 0)))
        for order in itertools.permutations(rest)
    )


def best_cvrp_cost(instance: Instance) -> float:
    """The cheapest routes of one instance: every order, cut optimally by dynamic programming."""
    d = distance_matrix(instance)[0].double().tolist()
    demand = instance.linehaul[0].double().tolist()
    capacity = float(instance.capacity[0])
    n = len(demand)
    best = float("inf")
    for order in itertools.permutations(range(1, n)):
        cost = [0.0] + [float("inf")] * (n - 1)
        for i in range(n - 1):
            load, length = 0.0, 0.0
            for j in range(i, n - 1):
                load += demand[order[j]]
                if load > capacity:
                    break
                length += d[0 if j == i else order[j - 1]][order[j]]
                cost[j + 1] = min(cost[j + 1], cost[i] + length + d[order[j]][0])
        best = min(best, cost[-1])
    return best


def random_rollout(
    env: Environment,
    instance: Instance,
    num_trajectories: int,
    seed: int,
    starts: torch.Tensor | None = None,
) -> torch.Tensor:
    """Random allowed actions until all are done, after those of ``starts``; fails on an empty
    mask."""
    generator = torch.Generator().manual_seed(seed)
    state = env.reset(instance, num_trajectories)
    actions = [] if starts is None else list(starts.unbind(2))
    for action in actions:
        state = env.step(state, action)
    for _ in range(len(actions), env.max_steps(instance)):
        if bool(env.done(state).all()):
            break
        mask = env.action_mask(state)
        assert bool(mask.any(2).all()), "a mask is empty"
        flat = torch.multinomial(mask.flatten(0, 1).float(), 1, generator=generator)
        action = flat.view(mask.shape[:2])
        actions.append(action)
        state = env.step(state, action)
    assert bool(env.done(state).all()), "not done within max_steps"
    return torch.stack(actions, 2)
