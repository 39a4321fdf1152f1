"""Random prize-collecting TSPs, and the prizes that are found on visiting.

The law is that of Kool et al. 2019 (arXiv 1803.08475), appendix C.4: customers and depot uniform in
the square, penalties U(0, 3 L / n), expected prizes U(0, 4 / n), realised ones U(0, 2) times the
expected one, and a prize of 1 to collect. L is about the length of a tour: 2, 3, 4 for n = 20, 50,
100.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.distributions import Coordinates, rand, uniform
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split, Stream, draw_keys, nodes_as_entities, uniforms
from nco.data.unchecked import unchecked

TOUR_LENGTH = {20: 2.0, 50: 3.0, 100: 4.0}
"""L by the number of customers."""
PRIZE_PROBLEMS = ("pctsp", "spctsp")
"""With prizes known, and with prizes seen on visiting."""


def largest_penalty(num_customers: int) -> float:
    """3 L / n; a size that is not listed has the L of the nearest one, the smaller of two as
    near."""
    nearest = min(TOUR_LENGTH, key=lambda size: (abs(size - num_customers), size))
    return 3 * TOUR_LENGTH[nearest] / num_customers


def pctsp_instances(
    num_instances: int,
    num_customers: int,
    generator: torch.Generator,
    coordinates: Coordinates = uniform,
    *,
    stochastic: bool,
) -> Instance:
    """Prize-collecting TSPs in float32; the depot is uniform, whatever the customers'
    distribution.

    Args:
        stochastic: give keys, which name the realised prizes; all else is as without.
    """
    depot = uniform(num_instances, 1, generator)
    coords = torch.cat((depot, coordinates(num_instances, num_customers, generator)), 1)

    def at_customers(most: float) -> Float[Tensor, "batch node"]:
        drawn = rand(generator, num_instances, num_customers) * most
        return torch.nn.functional.pad(drawn, (1, 0))

    return unchecked(
        num_depots=1,
        coords=coords,
        penalty=at_customers(largest_penalty(num_customers)),
        prize=at_customers(4 / num_customers),
        min_prize=coords.new_ones(num_instances),
        key=draw_keys(num_instances, generator) if stochastic else None,
    )


def require_prizes(instance: Instance) -> Float[Tensor, "batch node"]:
    """The (expected) prizes.

    Raises:
        InputError: the instance has none.
    """
    if instance.prize is None:
        raise InputError(
            "the instance has no prizes; accepted: one with prize, penalty and min_prize"
        )
    return instance.prize


def realised_prizes(
    instance: Instance, scenarios: Scenarios
) -> Float[Tensor, "batch scenario node"]:
    """What is found at each node in each scenario, in the instance's dtype: U(0, 2) times the
    expected prize. In test scenarios it is what the instance says, where it was published so.

    Raises:
        InputError: the instance has no prizes or no key.
    """
    expected = require_prizes(instance)
    if scenarios.split == Split.TEST and instance.realised_prize is not None:
        return instance.realised_prize.unsqueeze(1).expand(-1, scenarios.count, -1)
    share = uniforms(scenarios, instance, Stream.PRIZE, nodes_as_entities(instance))
    return (2 * share).to(expected.dtype) * expected.unsqueeze(1)
