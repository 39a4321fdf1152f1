"""Instances from city maps: points of one city each, with the ways on its streets between them.

Metres and seconds throughout; coordinates are metres around the city's middle. No point is twice
in an instance. The demands and capacities are those of the instances in the unit square.

What the constraints of `Tightness` are for the square's unit they are here for the longest way
between any two nodes of the instance: its duration for times, its length for the distance limit
(for times so in RRNCO, Son et al. 2025, arXiv 2503.16159).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from nco.data.city_collection import CityCollection
from nco.data.distributions import rand
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import (
    ROUTEFINDER,
    Layout,
    Reach,
    Tightness,
    Variant,
    choose,
    constrained,
    most_depots,
)
from nco.data.unchecked import unchecked

RoadDistribution = Literal["uniform", "cluster", "mixed"]
"""Of a city's points: any; those that are soonest reached from one of them; half and half."""


def road_tsp_instances(
    num_instances: int,
    num_nodes: int,
    generator: torch.Generator,
    cities: CityCollection,
    distribution: str = "uniform",
) -> Instance:
    """Asymmetric TSPs, each in a city of its own.

    Raises:
        InputError: a city has too few points, or the generator is on another device.
    """
    city = _draw_cities(num_instances, num_nodes, generator, cities)
    nodes = draw_points(city, 0, num_nodes, generator, cities, distribution)
    distance, duration = cities.ways_between(city, nodes, nodes)
    return unchecked(
        num_depots=0,
        coords=cities.coords_of(city, nodes),
        distance=distance,
        duration=duration,
    )


def road_vrp_instances(
    num_instances: int,
    num_customers: int,
    generator: torch.Generator,
    cities: CityCollection,
    variants: Sequence[Variant],
    distribution: str = "uniform",
    tightness: Tightness = ROUTEFINDER,
) -> Instance:
    """VRPs, each in a city and of a variant of its own.

    Depots are any points of the city, whatever the customers' distribution. Each customer alone can
    be served from each depot in its window, and by a depot within the limit; see
    `nco.data.multi_task.constrained`.

    Raises:
        InputError: no variant or instance is asked for, a city has too few points, or the
            generator is on another device.
    """
    chosen = choose(variants, num_instances, generator)
    most = most_depots(variants, tightness)
    layout = Layout.of(chosen, most, num_customers)
    city = _draw_cities(num_instances, most + num_customers, generator, cities)
    drawn = draw_points(city, most, num_customers, generator, cities, distribution)
    depots, customers = drawn[:, :most], drawn[:, most:]
    nodes = layout.nodes(depots, customers)
    distance, duration = cities.ways_between(city, nodes, nodes)
    if most > 1:
        padding = ~(layout.valid.unsqueeze(2) & layout.valid.unsqueeze(1))
        distance, duration = (m.masked_fill(padding, 0) for m in (distance, duration))
    there, out = cities.ways_between(city, depots, customers)
    home, back = cities.ways_between(city, customers, depots)
    reach = Reach(
        out=out,
        back=back.mT,
        length=there + home.mT,
        time_unit=duration.amax((1, 2)),
        length_unit=distance.amax((1, 2)),
    )
    coords = cities.coords_of(city, nodes).masked_fill(~layout.valid.unsqueeze(2), 0)
    bare = unchecked(num_depots=1, coords=coords, distance=distance, duration=duration)
    return constrained(bare, chosen, layout, reach, tightness, generator)


def draw_points(
    city: Int[Tensor, " batch"],
    num_depots: int,
    num_customers: int,
    generator: torch.Generator,
    cities: CityCollection,
    distribution: str = "uniform",
) -> Int[Tensor, "batch node"]:
    """Different points of each instance's city: depots, uniformly, then customers.

    The customers of "cluster" are those that are soonest reached from a uniform point (itself one
    of them, where it is no depot), in any order; "mixed" has half of the customers, rounded down,
    from such a cluster, the others uniformly from the rest.

    Raises:
        InputError: the distribution is unknown.
    """
    require_road_distribution(distribution)
    most = max(cities.num_points)
    absent = torch.arange(most, device=city.device) >= cities.sizes[city].unsqueeze(1)
    key = rand(generator, len(city), most).masked_fill(absent, torch.inf)
    if distribution == "uniform":
        return key.topk(num_depots + num_customers, largest=False).indices
    depots = key.topk(num_depots, largest=False).indices
    base = rand(generator, len(city), most).masked_fill(absent, torch.inf).argmin(1, keepdim=True)
    everyone = torch.arange(most, device=city.device).expand(len(city), -1)
    # what is beyond a smaller city must not be asked for
    seconds = cities.ways_between(city, base, everyone.masked_fill(absent, 0))[1].squeeze(1)
    seconds = seconds.masked_fill(absent, torch.inf).scatter(1, depots, torch.inf)
    near = num_customers if distribution == "cluster" else num_customers // 2
    # the nearest come first, whatever the other keys
    key = key.scatter(1, depots, torch.inf).scatter(
        1, seconds.topk(near, largest=False).indices, -1.0
    )
    customers = key.topk(num_customers, largest=False).indices
    order = rand(generator, len(city), num_customers).argsort(1)
    return torch.cat((depots, customers.gather(1, order)), 1)


def require_road_distribution(distribution: str) -> None:
    """Raise `InputError` where it is not one of `RoadDistribution`."""
    if distribution not in get_args(RoadDistribution):
        raise InputError(
            f"distribution is {distribution!r} on city maps; accepted: "
            f"{', '.join(get_args(RoadDistribution))}"
        )


def _draw_cities(
    num_instances: int, num_nodes: int, generator: torch.Generator, cities: CityCollection
) -> Int[Tensor, " batch"]:
    """A city for each instance, uniformly."""
    if generator.device != cities.device:
        raise InputError(
            f"the generator is on {generator.device} and the cities are on {cities.device}; "
            "accepted: one device"
        )
    require_points(num_nodes, cities.num_points)
    shape = (num_instances,)
    return torch.randint(len(cities.names), shape, generator=generator, device=cities.device)


def require_points(num_nodes: int, num_points: Sequence[int]) -> None:
    """Raise `InputError` where a city has fewer points than an instance has nodes."""
    if num_nodes > min(num_points):
        raise InputError(
            f"an instance has {num_nodes} nodes, depots included, and the smallest of the cities "
            f"has {min(num_points)} points; accepted: at most so many nodes"
        )
