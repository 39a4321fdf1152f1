"""CVRP instances drawn like CVRPLIB's X set.

Source: Uchoa, Pecin, Pessoa, Poggi, Vidal and Subramanian, "New benchmark instances for the
Capacitated Vehicle Routing Problem" (EJOR 257, 2017, 10.1016/j.ejor.2016.08.012), section 3; the
six classes of route length are those of Queiroga et al., "10,000 optimal CVRP solutions for testing
machine learning based heuristics" (2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.distributions import rand
from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding
from nco.data.unchecked import unchecked

GRID = 1000
"""Coordinates are integers from 0 to this."""
DECAY = 40.0
"""A seed's attraction falls by e over this many grid units."""
MIN_SEEDS, MAX_SEEDS = 3, 8
MAX_CUSTOMERS = 10_000

DepotPosition = Literal["centre", "corner", "random"]
"""At (500, 500), at (0, 0), or anywhere on the grid: C, E and R of the paper."""
CustomerPosition = Literal["random", "clustered", "random_clustered"]
"""Anywhere; around seeds; half of each: R, C and RC of the paper."""
DemandLaw = Literal[
    "unitary",
    "small_large_variance",
    "small_small_variance",
    "large_large_variance",
    "large_small_variance",
    "quadrant",
    "many_small_few_large",
]
"""1; U{1..10}; U{5..10}; U{1..100}; U{50..100}; by quadrant: U{51..100} where x and y are both
below or both not below the middle, else U{1..50}; 70 to 95 % of the customers U{1..10} and the
others U{50..100}."""
RouteLength = Literal[
    "triangular", "very_short", "short", "medium", "long", "very_long", "ultra_long"
]
"""How r, the customers that a route can serve on average, is drawn: triangular on [3, 25] with mode
6 as for the X set; or uniform on [3, 5], [5, 8], [8, 12], [12, 16], [16, 25], [25, 50]."""

_UNIFORM_R = {
    "very_short": (3.0, 5.0),
    "short": (5.0, 8.0),
    "medium": (8.0, 12.0),
    "long": (12.0, 16.0),
    "very_long": (16.0, 25.0),
    "ultra_long": (25.0, 50.0),
}
_SIMPLE_DEMAND = {
    "unitary": (1, 1),
    "small_large_variance": (1, 10),
    "small_small_variance": (5, 10),
    "large_large_variance": (1, 100),
    "large_small_variance": (50, 100),
}


def x_instances(
    num_instances: int,
    num_customers: int,
    generator: torch.Generator,
    *,
    depot_position: str | None = None,
    customer_position: str | None = None,
    demand_law: str | None = None,
    route_length: str = "triangular",
) -> Instance:
    """X-type CVRP instances: integer grid, distances rounded to the nearest integer.

    What is None is drawn for each instance with equal probabilities. No two nodes share a place.
    The capacity is Q = ceil(r sum(d) / n), and at least the largest demand.

    Args:
        depot_position: one of `DepotPosition`.
        customer_position: one of `CustomerPosition`.
        demand_law: one of `DemandLaw`.
        route_length: one of `RouteLength`.

    Differs from the paper in: clustered customers come from the continuous density
    sum_s exp(-d(p, s) / 40), rounded to the grid, where the paper takes that density at the grid
    points; the share of small demands is U(0.7, 0.95).

    Raises:
        InputError: an unknown name, or a size out of range.
    """
    _refuse_unknown("depot_position", depot_position, get_args(DepotPosition))
    _refuse_unknown("customer_position", customer_position, get_args(CustomerPosition))
    _refuse_unknown("demand_law", demand_law, get_args(DemandLaw))
    _refuse_unknown("route_length", route_length, get_args(RouteLength))
    if not 1 <= num_customers <= MAX_CUSTOMERS:
        raise InputError(
            f"num_customers is {num_customers}; accepted for X-type: 1 to {MAX_CUSTOMERS}"
        )
    b, n = num_instances, num_customers
    depot = _depots(_choices(depot_position, get_args(DepotPosition), b, generator), generator)
    position = _choices(customer_position, get_args(CustomerPosition), b, generator)
    customers = _customers(position, depot, n, generator)
    law = _choices(demand_law, get_args(DemandLaw), b, generator)
    demand = _demands(law, customers, generator)
    r = _route_lengths(route_length, b, generator)
    capacity = torch.maximum(
        (r * demand.double().sum(1) / n).ceil(), demand.double().amax(1)
    ).float()
    return unchecked(
        num_depots=1,
        coords=torch.cat((depot, customers), 1).float(),
        demand=torch.nn.functional.pad(demand, (1, 0)).float(),
        capacity=capacity,
        rounding=Rounding.NEAREST,
    )


def demands_by_law(
    law: DemandLaw, customers: Float[Tensor, "batch customer 2"], generator: torch.Generator
) -> Int[Tensor, "batch customer"]:
    """Demands of customers that lie in the unit square, by one of the laws.

    The customers' order must say nothing of their places: that of "many_small_few_large" is by it.
    """
    index = _choices(law, get_args(DemandLaw), len(customers), generator)
    return _demands(index, (customers * GRID).round().long(), generator)


def _refuse_unknown(field: str, name: str | None, accepted: Sequence[str]) -> None:
    if name is not None and name not in accepted:
        raise InputError(f"{field} is {name!r}; accepted: {', '.join(accepted)}")


def _integers(generator: torch.Generator, low: int, high: int, *shape: int) -> Tensor:
    """Uniform integers from ``low`` to ``high``, both included."""
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device)


def _choices(
    name: str | None, names: Sequence[str], num_instances: int, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """For each instance the index of its name: the one given, or any."""
    if name is None:
        return _integers(generator, 0, len(names) - 1, num_instances)
    return torch.full((num_instances,), names.index(name), device=generator.device)


def _depots(
    position: Int[Tensor, " batch"], generator: torch.Generator
) -> Int[Tensor, "batch 1 2"]:
    centre, corner, _ = (position.view(-1, 1, 1) == i for i in range(3))
    anywhere = _integers(generator, 0, GRID, len(position), 1, 2)
    return anywhere.masked_fill(centre, GRID // 2).masked_fill(corner, 0)


def _customers(
    position: Int[Tensor, " batch"],
    depot: Int[Tensor, "batch 1 2"],
    num_customers: int,
    generator: torch.Generator,
) -> Int[Tensor, "batch customer 2"]:
    """Distinct places on the grid: first the seeds, then what they attract, then the others; the
    order is shuffled at the end. Seeds are customers themselves."""
    b, n = len(position), num_customers
    _, clustered, half = (position.unsqueeze(1) == i for i in range(3))
    attracted = torch.where(clustered, n, torch.where(half, n - n // 2, 0))
    num_seeds = _integers(generator, MIN_SEEDS, MAX_SEEDS, b, 1).minimum(attracted)
    width = min(MAX_SEEDS, n)

    def anywhere() -> Tensor:
        return _integers(generator, 0, GRID, b, n, 2)

    first = _distinct(depot, lambda: anywhere()[:, :width])
    index = torch.arange(n, device=generator.device)
    is_seed, is_attracted = index < num_seeds, index < attracted

    def draw() -> Tensor:
        near = _attracted(first[:, 1:], num_seeds.clamp(min=1), n, generator)
        places = torch.where((is_attracted & ~is_seed).unsqueeze(-1), near, anywhere())
        places[:, :width] = torch.where(
            is_seed[:, :width].unsqueeze(-1), first[:, 1:], places[:, :width]
        )
        return places

    places = _distinct(depot, draw)[:, 1:]
    order = rand(generator, b, n).argsort(1)
    return places.gather(1, order.unsqueeze(-1).expand(-1, -1, 2))


def _distinct(fixed: Tensor, draw: Callable[[], Tensor]) -> Tensor:
    """``fixed`` followed by drawn places, the later of two equal ones drawn again until none is;
    so are places outside of the grid."""
    places = torch.cat((fixed, draw()), 1)
    while True:
        outside = ((places < 0) | (places > GRID)).any(-1)
        key = (places[..., 0] * (GRID + 1) + places[..., 1]).masked_fill(outside, -1)
        ordered, index = key.sort(stable=True, dim=1)
        repeated = torch.zeros_like(outside)
        repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
        again = outside | torch.zeros_like(outside).scatter(1, index, repeated)
        if not bool(again.any()):
            return places
        drawn = torch.cat((fixed, draw()), 1)
        places = torch.where(again.unsqueeze(-1), drawn, places)


def _attracted(
    seeds: Int[Tensor, "batch seed 2"],
    num_seeds: Int[Tensor, "batch 1"],
    num_customers: int,
    generator: torch.Generator,
) -> Int[Tensor, "batch customer 2"]:
    """Places with density sum_s exp(-d(p, s) / DECAY) in the plane.

    That is a mixture over the seeds with equal weights. Around a seed the angle is uniform, and the
    distance has density proportional to d exp(-d / DECAY): the sum of two exponentials. Where
    places outside of the grid are drawn again, seed and all, the density on the grid stays right.
    """
    b, n = len(seeds), num_customers
    seed = (rand(generator, b, n) * num_seeds).long().minimum(num_seeds - 1)
    centre = seeds.gather(1, seed.unsqueeze(-1).expand(-1, -1, 2))
    pair = torch.empty(b, n, 2, device=generator.device).exponential_(generator=generator)
    distance = DECAY * pair.sum(-1)
    angle = 2 * torch.pi * rand(generator, b, n)
    offset = torch.stack((distance * angle.cos(), distance * angle.sin()), -1)
    return (centre + offset).round().long()


def _demands(
    law: Int[Tensor, " batch"],
    customers: Int[Tensor, "batch customer 2"],
    generator: torch.Generator,
) -> Int[Tensor, "batch customer"]:
    b, n = customers.shape[:2]
    laws = get_args(DemandLaw)
    simple = torch.tensor(
        [_SIMPLE_DEMAND.get(name, (1, 1)) for name in laws], device=generator.device
    )
    low, high = simple[law].unsqueeze(1).unbind(-1)
    low, high = low.expand(b, n), high.expand(b, n)
    side = customers * 2 < GRID
    large = side[..., 0] == side[..., 1]
    quadrant = (law == laws.index("quadrant")).unsqueeze(1)
    low = torch.where(quadrant, torch.where(large, 51, 1), low)
    high = torch.where(quadrant, torch.where(large, 100, 50), high)
    share = 0.7 + 0.25 * rand(generator, b, 1)
    # customers are in random order, so the first ones are a random subset
    few = torch.arange(n, device=generator.device) >= (share * n).round()
    skewed = (law == laws.index("many_small_few_large")).unsqueeze(1)
    low = torch.where(skewed, torch.where(few, 50, 1), low)
    high = torch.where(skewed, torch.where(few, 100, 10), high)
    span = high - low + 1
    return low + (rand(generator, b, n) * span).long().minimum(span - 1)


def _route_lengths(
    name: str, num_instances: int, generator: torch.Generator
) -> Float[Tensor, " batch"]:
    u = rand(generator, num_instances).double()
    if name != "triangular":
        low, high = _UNIFORM_R[name]
        return low + (high - low) * u
    low, mode, high = 3.0, 6.0, 25.0
    rising = low + (u * (high - low) * (mode - low)).sqrt()
    falling = high - ((1 - u) * (high - low) * (high - mode)).sqrt()
    return torch.where(u < (mode - low) / (high - low), rising, falling)
