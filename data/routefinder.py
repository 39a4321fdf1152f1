"""RouteFinder's published instance sets, drawn again from their seed.

The sets come from numpy's legacy generator, seeded once for each file (Berto et al. 2024,
arXiv 2406.15007, and their published data). They differ from `nco.data.multi_task` in two points:
with several depots, windows are made for depot 0 only, so a customer may be out of reach from
another; and the limit is made for the farthest row from depot 0, other depots included.
"""

from __future__ import annotations

import numpy as np
import torch

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import ROUTEFINDER, Variant, multi_task_capacity

VALIDATION_SEED = 4321
TEST_SEED = 1234
SETS = {VALIDATION_SEED: "validation", TEST_SEED: "test"}
"""What the published sets are for, by their seeds."""
SIZES = (50, 100)
"""Customers for which every variant has published sets."""


def published_size(variant: Variant, seed: int) -> int:
    """Instances of a published set: 1000, but 128 for validation with several depots."""
    return 128 if variant.several_depots and seed == VALIDATION_SEED else 1000


def routefinder_set(
    variant: Variant, num_customers: int, num_instances: int, seed: int
) -> Instance:
    """The first instances of a published set.

    Args:
        seed: 4321 for validation, 1234 for test.

    Raises:
        InputError: another seed or size, or a number of instances that the set does not have.
    """
    if seed not in SETS:
        known = ", ".join(f"{key} ({name})" for key, name in SETS.items())
        raise InputError(f"seed is {seed}; accepted for RouteFinder's sets: {known}")
    if num_customers not in SIZES:
        raise InputError(
            f"num_customers is {num_customers}; accepted for RouteFinder's sets: "
            f"{', '.join(map(str, SIZES))}"
        )
    size = published_size(variant, seed)
    if not 1 <= num_instances <= size:
        raise InputError(
            f"num_instances is {num_instances}; accepted for RouteFinder's {SETS[seed]} set of "
            f"{variant.name}: 1 to {size}"
        )
    return routefinder_instances(variant, num_customers, seed=seed)[:num_instances]


def routefinder_instances(
    variant: Variant,
    num_customers: int,
    *,
    seed: int = VALIDATION_SEED,
    num_instances: int | None = None,
) -> Instance:
    """A published set: float32, integer demands in an unscaled capacity.

    Args:
        num_instances: of the whole set, as every draw is made for all of it at once; by default
            as `published_size` says.

    Raises:
        InputError: a count is below 1.
    """
    b = published_size(variant, seed) if num_instances is None else num_instances
    n = num_customers
    if b < 1 or n < 1:
        raise InputError(f"{b} instances of {n} customers; accepted: at least 1 of each")
    draw = np.random.RandomState(seed)
    depots = ROUTEFINDER.num_depots if variant.several_depots else 1
    shape = (b, n)
    coords = draw.uniform(0.0, 1.0, (b, depots + n, 2))
    low, high = ROUTEFINDER.demand
    linehaul = draw.randint(low, high + 1, shape)
    backhaul = np.zeros_like(linehaul)
    if variant.backhaul:
        pickup = draw.rand(*shape) < ROUTEFINDER.backhaul_share
        backhaul[pickup] = draw.randint(low, high + 1, int(pickup.sum()))
        linehaul[pickup] = 0
    reach = np.linalg.norm(coords[:, 1:] - coords[:, :1], axis=2)
    window = service = limit = None
    if variant.time_window:
        near = reach[:, depots - 1 :]
        service = draw.uniform(*ROUTEFINDER.service_time, shape)
        length = draw.uniform(*ROUTEFINDER.window_length, shape)
        latest = (ROUTEFINDER.horizon - service - length) / near - 1
        early = (1 + (latest - 1) * draw.uniform(0.0, 1.0, shape)) * near
        at_depots = np.broadcast_to([0.0, ROUTEFINDER.horizon], (b, depots, 2))
        window = np.concatenate((at_depots, np.stack((early, early + length), 2)), 1)
        service = np.pad(service, ((0, 0), (depots, 0)))
    if variant.distance_limit:
        farthest = 2 * reach.max(1)
        limit = draw.uniform(
            farthest + 1e-6, np.maximum(ROUTEFINDER.longest_limit, farthest + 2e-6)
        )
    return Instance.vrp(
        # a float32 tensor sets the dtype of all fields
        coords=torch.as_tensor(coords, dtype=torch.float32),
        demand=np.pad(linehaul, ((0, 0), (depots, 0))),
        backhaul=np.pad(backhaul, ((0, 0), (depots, 0))),
        mixed_backhaul=variant.backhaul == "mb",
        capacity=np.full(b, multi_task_capacity(n)),
        time_window=window,
        service_time=service,
        distance_limit=limit,
        open_route=variant.open_route,
        num_depots=depots,
    )
