"""The published test sets of Kool et al. 2019 (arXiv 1803.08475), draw by draw."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.prize_instances import TOUR_LENGTH, largest_penalty

KoolProblem = Literal["tsp", "cvrp", "pctsp", "spctsp"]
SET_SIZE = 10_000
"""Instances of each published set; a shorter prefix still draws them all."""
CAPACITY = {10: 20, 20: 30, 50: 40, 100: 50}
"""Vehicle capacity by number of customers."""


def kool_instances(
    problem: str, num_customers: int, num_instances: int = SET_SIZE, seed: int = 1234
) -> Instance:
    """The first instances of a published set: seed 1234 for test, 4321 for validation.

    Coordinates are U[0, 1)^2, demands are integers 1..9, prizes and penalties by the law of
    `nco.data.prize_instances`; the stochastic PCTSP has the realised prizes beside them, and keys
    of ours. The draws come from numpy's legacy generator in the published order, in float64, and
    are rounded to float32, as the published code reads them.

    Args:
        problem: one of `KoolProblem`.
        num_customers: for a TSP the number of nodes.

    Raises:
        InputError: an unknown problem, a size that has no published capacity or penalties, or a
            number of instances that the set does not have.
    """
    if problem not in get_args(KoolProblem):
        raise InputError(f"problem is {problem!r}; accepted: {', '.join(get_args(KoolProblem))}")
    if not 1 <= num_instances <= SET_SIZE:
        raise InputError(f"num_instances is {num_instances}; accepted: 1 to {SET_SIZE}")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; accepted: 0 to {2**32 - 1}")
    random = np.random.RandomState(seed)
    if problem == "tsp":
        if num_customers < 2:
            raise InputError(f"num_customers is {num_customers}; accepted: at least 2")
        coords = random.uniform(size=(SET_SIZE, num_customers, 2))
        return Instance.tsp(coords=torch.from_numpy(coords[:num_instances]).float())
    if problem in ("pctsp", "spctsp"):
        certain, realised = _pctsp(random, num_customers)
        if problem == "spctsp":
            key = torch.arange(SET_SIZE) + SET_SIZE * seed
            certain = replace(certain, {"realised_prize": realised, "key": key})
        return certain[:num_instances]
    if num_customers not in CAPACITY:
        sizes = ", ".join(str(n) for n in CAPACITY)
        raise InputError(f"num_customers is {num_customers}; the published CVRP sets have {sizes}")
    depot = random.uniform(size=(SET_SIZE, 1, 2))
    customers = random.uniform(size=(SET_SIZE, num_customers, 2))
    # the same stream on every platform only with the width given
    demand = random.randint(1, 10, size=(SET_SIZE, num_customers), dtype=np.int64)
    coords = np.concatenate((depot, customers), axis=1)[:num_instances]
    return Instance.vrp(
        coords=torch.from_numpy(coords).float(),
        demand=np.pad(demand[:num_instances], ((0, 0), (1, 0))),
        capacity=CAPACITY[num_customers],
    )


def _pctsp(
    random: np.random.RandomState, num_customers: int
) -> tuple[Instance, Float[Tensor, "batch node"]]:
    """A whole set, and its realised prizes."""
    if num_customers not in TOUR_LENGTH:
        sizes = ", ".join(str(n) for n in TOUR_LENGTH)
        raise InputError(f"num_customers is {num_customers}; the published PCTSP sets have {sizes}")
    n = num_customers
    depot = random.uniform(size=(SET_SIZE, 1, 2))
    customers = random.uniform(size=(SET_SIZE, n, 2))
    penalty = random.uniform(size=(SET_SIZE, n)) * largest_penalty(n)
    prize = random.uniform(size=(SET_SIZE, n)) * 4 / n
    realised = random.uniform(size=(SET_SIZE, n)) * prize * 2

    def at_customers(values: np.ndarray) -> Float[Tensor, "batch node"]:
        return torch.from_numpy(np.pad(values, ((0, 0), (1, 0)))).float()

    instance = Instance.vrp(
        coords=torch.from_numpy(np.concatenate((depot, customers), axis=1)).float(),
        penalty=at_customers(penalty),
        prize=at_customers(prize),
        min_prize=1.0,
    )
    return instance, at_customers(realised)
