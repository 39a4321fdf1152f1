"""Small multi-task instances, brute force over all route sets, and replays, for tests."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nco.data.instance import Instance
from nco.data.multi_task import Tightness, Variant, multi_task_instances
from nco.envs.checker import check_routes

TIGHT = Tightness(capacity=20, backhaul_share=0.4, longest_limit=1.7, num_depots=2)
"""So that five customers need several routes, some of them pickups, and limits bind."""


def small(variant: Variant, num_customers: int, batch: int, seed: int) -> Instance:
    """Instances of one variant whose constraints bind, in float32."""
    generator = torch.Generator().manual_seed(seed)
    return multi_task_instances(batch, num_customers, generator, [variant], tightness=TIGHT)


def best_route_sets_cost(instance: Instance) -> float:
    """The cheapest feasible routes of one instance (B = 1) by the checker alone.

    The best order and depot of every subset of customers is found by trying all; then subsets are
    joined to partitions.
    """
    depots = int(instance.num_depots)
    customers = list(range(depots, int(instance.valid.sum())))

    def route_cost(route: tuple[int, ...], depot: int) -> float:
        report = check_routes(instance, [list(route)], [depot])
        broken = [v for v in report.violations if "is not visited" not in v]
        return float("inf") if broken else report.cost

    best = {
        subset: min(
            route_cost(order, depot)
            for order in itertools.permutations(subset)
            for depot in range(depots)
        )
        for size in range(1, len(customers) + 1)
        for subset in itertools.combinations(customers, size)
    }

    @functools.cache
    def cheapest(left: tuple[int, ...]) -> float:
        if not left:
            return 0.0
        first, rest = left[0], left[1:]
        costs = []
        for size in range(len(rest) + 1):
            for others in itertools.combinations(rest, size):
                remaining = tuple(c for c in rest if c not in others)
                costs.append(best[(first, *others)] + cheapest(remaining))
        return min(costs)

    return cheapest(tuple(customers))


def reference(folder: Path, variant: Variant, num_customers: int) -> tuple[Instance, Any]:
    """The 64 stored instances of a variant, and the arrays of the file."""
    stored = np.load(folder / "references" / "mtvrp" / f"{variant.name}_{num_customers}.npz")
    given = {
        "demand": "linehaul",
        "backhaul": "backhaul",
        "time_window": "time_window",
        "service_time": "service_time",
        "distance_limit": "distance_limit",
    }
    instance = Instance.vrp(
        coords=torch.from_numpy(stored["coords"]),
        capacity=np.full(len(stored["coords"]), int(stored["capacity"])),
        mixed_backhaul=bool(stored["mixed_backhaul"]) if "mixed_backhaul" in stored else False,
        open_route=bool(stored["open_route"]),
        num_depots=int(stored["num_depots"]),
        **{name: stored[key] for name, key in given.items() if key in stored},
    )
    return instance, stored
