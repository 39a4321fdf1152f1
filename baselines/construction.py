"""What the construction heuristics share: the problem in arrays, and running over a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from nco.baselines.attributes import Attribute, refuse_unsupported
from nco.baselines.scaling import scale_loads
from nco.data.batching import unbatch
from nco.data.instance import Instance, distance_matrix
from nco.data.solution import Solution
from nco.envs.checker import evaluate

SUPPORTED = frozenset({Attribute.TOUR, Attribute.DEPOT, Attribute.ASYMMETRIC})


@dataclass(frozen=True)
class Hub:
    """One instance as routes around node 0: a VRP's depot, or any city of a TSP.

    Loads are integers, so that fractions of the capacity add up without rounding errors.
    """

    distance: np.ndarray  # [N, N], from row to column, float64
    demand: np.ndarray  # [N], int64
    capacity: int
    tour: bool
    """True for a TSP: one route with all nodes."""


def construct_batch(
    name: str, instance: Instance, construct: Callable[[Hub], list[list[int]]]
) -> list[Solution]:
    """Run a heuristic on each instance; ``construct`` gives the routes without node 0.

    Raises:
        UnsupportedError: an instance has an attribute beyond capacity and asymmetric distances.
    """
    singles = unbatch(instance)
    for single in singles:
        refuse_unsupported(name, single, SUPPORTED)
    solutions = []
    for single in singles:
        start = time.perf_counter()
        hub = _hub(single)
        routes = construct(hub)
        if hub.tour:
            routes = [[0, *(node for route in routes for node in route)]]
        seconds = time.perf_counter() - start
        solutions.append(evaluate(single, routes, solver=name, seconds=seconds))
    return solutions


def _hub(instance: Instance) -> Hub:
    demand, _, capacity = scale_loads(instance)
    return Hub(
        distance=distance_matrix(instance.to(torch.float64))[0].numpy(),
        demand=demand,
        capacity=capacity,
        tour=int(instance.num_depots) == 0,
    )
