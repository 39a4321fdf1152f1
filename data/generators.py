"""Random instances: whole batches, on the generator's device, from an explicit generator.

The same generator state gives the same instances on the same device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.city_collection import CityCollection
from nco.data.demand_laws import DEMAND_PROBLEMS, with_uncertain_demands
from nco.data.distributions import Coordinates, DistributionName, by_name, rand, uniform
from nco.data.dynamic_requests import DYNAMIC_PROBLEMS, RequestLaw, dynamic_instances
from nco.data.errors import InputError
from nco.data.fleet_generators import FleetLaw, fleet_instances
from nco.data.instance import MOST_LOAD, Instance
from nco.data.multi_task import (
    ROAD_PROBLEMS,
    VARIANT_SETS,
    VARIANTS,
    Tightness,
    accepted_names,
    most_depots,
    multi_task_instances,
    variants_of,
)
from nco.data.prize_instances import PRIZE_PROBLEMS, pctsp_instances
from nco.data.probabilistic import with_presence
from nco.data.road_instances import (
    require_road_distribution,
    road_tsp_instances,
    road_vrp_instances,
)
from nco.data.service_days import DAY_PRESETS, DayPreset, service_days
from nco.data.unchecked import unchecked
from nco.data.x_generator import x_instances

STOCHASTIC = ("ptsp", "pcvrp")
"""Customers that may not ask."""
FLEET_PROBLEMS = ("pvrp", "pvrp-zones")
"""Profiled VRPs: with preferences, with zones."""
ADAPTIVE = "-adaptive"
"""Ends the name of a problem whose plan is made on the way, as noise is seen."""
DAY_PROBLEMS = ("svrptw", "mdsvrptw", f"svrptw{ADAPTIVE}", f"mdsvrptw{ADAPTIVE}")
"""Soft windows and traffic by the time of day, with one depot and with several."""
PROBLEMS = (
    "tsp",
    "atsp",
    *(variant.name for variant in VARIANTS),
    *VARIANT_SETS,
    *FLEET_PROBLEMS,
    *STOCHASTIC,
    *PRIZE_PROBLEMS,
    *DAY_PROBLEMS,
    *DEMAND_PROBLEMS,
    *DYNAMIC_PROBLEMS,
)
"""The problems that `generate` knows without city maps; on them there are those of
`ROAD_PROBLEMS`."""
InstanceDistribution = DistributionName | Literal["x"] | DayPreset
"""Coordinate distributions; "x": whole CVRP instances like CVRPLIB's X set; and those of
`DAY_PROBLEMS`, which have no other."""

_CAPACITY = {
    10: 20,
    15: 25,
    20: 30,
    30: 33,
    40: 37,
    50: 40,
    60: 43,
    75: 45,
    100: 50,
    125: 55,
    150: 60,
    200: 70,
    500: 100,
    1000: 150,
}


def generate(
    problem: str,
    *,
    num_customers: int | tuple[int, int],
    batch: int,
    generator: torch.Generator,
    distribution: str = "uniform",
    capacity: int | None = None,
    variants: Sequence[str] | None = None,
    cities: CityCollection | None = None,
    fleet: FleetLaw | None = None,
    requests: RequestLaw | None = None,
) -> Instance:
    """Random instances of a problem, by name; `Instance` in float32.

    Args:
        problem: one of `PROBLEMS`, or with cities one of `ROAD_PROBLEMS`. Those of a mixed set
            draw a variant each.
        num_customers: nodes besides depots; for a TSP, probabilistic or not, all nodes. For
            `FLEET_PROBLEMS` also a range, from which each instance of the batch draws its own
            number.
        batch: how many instances.
        distribution: one of `InstanceDistribution`, of the coordinates (an ATSP has none), or of
            whole days for `DAY_PROBLEMS`; "x" is for the CVRP and draws demands and capacity as
            well. With cities, one of `RoadDistribution`.
        capacity: of the vehicles; by default as `cvrp_capacity` says for the CVRP alone, and
            `multi_task_capacity` for the other variants and in mixed sets.
        variants: of a mixed set, draw only these, called as in the plain set.
        cities: the maps that nodes and matrices come from.
        fleet: what the fleets of `FLEET_PROBLEMS` are drawn from.
        requests: how the days of `DYNAMIC_PROBLEMS` are cut.

    Raises:
        InputError: an unknown name, a size out of range, or an option that the problem or the
            distribution does not have.
    """
    if batch < 1:
        raise InputError(f"batch is {batch}; accepted: at least 1")
    on_roads = cities is not None
    least, most = num_customers if isinstance(num_customers, tuple) else (num_customers,) * 2
    refuse_misfits(
        problem, least, distribution, capacity, variants,
        on_roads=on_roads, fleet=fleet, requests=requests,
    )  # fmt: skip
    if problem in FLEET_PROBLEMS:
        if most < least:
            raise InputError(f"num_customers is {num_customers}; accepted: [smallest, largest]")
        return fleet_instances(
            batch, (least, most), generator, fleet, by_name(distribution),
            zones=problem == "pvrp-zones",
        )  # fmt: skip
    if isinstance(num_customers, tuple):
        raise InputError(
            f"num_customers is {num_customers} for {problem}; accepted: one number; a range is "
            f"only for {', '.join(FLEET_PROBLEMS)}"
        )
    if cities is not None:
        return _on_roads(
            problem, num_customers, batch, generator, distribution, capacity, variants, cities
        )
    if problem == "atsp":
        return atsp_instances(batch, num_customers, generator)
    if distribution == "x":
        return x_instances(batch, num_customers, generator)
    if problem in DAY_PROBLEMS:
        day = DAY_PRESETS[distribution]
        if capacity is not None:
            day = dataclasses.replace(day, capacity=capacity)
        several = problem.startswith("md")
        return service_days(batch, num_customers, generator, day, several_depots=several).instance
    coordinates = by_name(distribution)
    if problem == "tsp":
        return tsp_instances(batch, num_customers, generator, coordinates)
    if problem == "ptsp":
        return with_presence(tsp_instances(batch, num_customers, generator, coordinates), generator)
    if problem in ("cvrp", "pcvrp", *DEMAND_PROBLEMS):
        routed = cvrp_instances(batch, num_customers, generator, coordinates, capacity=capacity)
        if problem in DEMAND_PROBLEMS:
            early = problem != "vrpsd-detour"
            return with_uncertain_demands(routed, generator, restocking=early)
        return routed if problem == "cvrp" else with_presence(routed, generator)
    if problem in DYNAMIC_PROBLEMS:
        return dynamic_instances(
            batch, num_customers, generator, coordinates, capacity=capacity, law=requests
        )
    if problem in PRIZE_PROBLEMS:
        stochastic = problem == "spctsp"
        return pctsp_instances(batch, num_customers, generator, coordinates, stochastic=stochastic)
    return multi_task_instances(
        batch,
        num_customers,
        generator,
        variants_of(problem, variants),
        coordinates,
        Tightness(capacity=capacity),
    )


def _on_roads(
    problem: str,
    num_customers: int,
    batch: int,
    generator: torch.Generator,
    distribution: str,
    capacity: int | None,
    variants: Sequence[str] | None,
    cities: CityCollection,
) -> Instance:
    if problem == "atsp":
        return road_tsp_instances(batch, num_customers, generator, cities, distribution)
    if problem == "acvrp" and capacity is None:
        capacity = cvrp_capacity(num_customers)
    return road_vrp_instances(
        batch,
        num_customers,
        generator,
        cities,
        variants_of(ROAD_PROBLEMS[problem], variants),
        distribution,
        Tightness(capacity=capacity),
    )


def road_nodes(problem: str, num_customers: int, variants: Sequence[str] | None) -> int:
    """How many points of a city an instance of a problem on roads takes, at most."""
    if problem == "atsp":
        return num_customers
    return num_customers + most_depots(variants_of(ROAD_PROBLEMS[problem], variants), Tightness())


def refuse_misfits(
    problem: str,
    num_customers: int,
    distribution: str,
    capacity: int | None,
    variants: Sequence[str] | None,
    *,
    on_roads: bool = False,
    fleet: FleetLaw | None = None,
    requests: RequestLaw | None = None,
) -> None:
    """Raise `InputError` where `generate` does not know the problem, or an option is not the
    problem's; the message begins with the option's name. With city maps, ``on_roads``."""
    if problem in ROAD_PROBLEMS and problem not in PROBLEMS and not on_roads:
        raise InputError(f"cities are missing; accepted for {problem}: a folder of city maps")
    if on_roads and problem not in ROAD_PROBLEMS and problem in PROBLEMS:
        roads = [road for road, plain in ROAD_PROBLEMS.items() if plain == problem]
        told = f"{roads[0]}, on their streets" if roads else ", ".join(ROAD_PROBLEMS)
        raise InputError(f"cities are given for {problem}; accepted for: {told}")
    if problem not in PROBLEMS and problem not in ROAD_PROBLEMS:
        known = (*PROBLEMS, *ROAD_PROBLEMS)
        raise InputError(f"problem is {problem!r}; {accepted_names(problem, known)}")
    if fleet is not None and problem not in FLEET_PROBLEMS:
        raise InputError(f"fleet is given for {problem}; accepted for: {', '.join(FLEET_PROBLEMS)}")
    if requests is not None and problem not in DYNAMIC_PROBLEMS:
        raise InputError(
            f"requests are given for {problem}; accepted for: {', '.join(DYNAMIC_PROBLEMS)}"
        )
    tours = ("tsp", "atsp", "ptsp")
    vehicles = problem not in (*tours, *PRIZE_PROBLEMS)
    least = 2 if problem in tours else 1
    if num_customers < least:
        raise InputError(
            f"num_customers is {num_customers}; accepted for {problem}: at least {least}"
        )
    if capacity is not None and problem in FLEET_PROBLEMS:
        raise InputError(
            f"capacity is {capacity} for {problem}; accepted: none, fleets have their own range"
        )
    if capacity is not None and (not vehicles or distribution == "x"):
        raise InputError(
            f"capacity is {capacity} for {problem}, distribution {distribution}; accepted: only "
            "for problems with vehicles, and not for x, which has its own"
        )
    if capacity is not None and problem in DEMAND_PROBLEMS and capacity > MOST_LOAD:
        raise InputError(f"capacity is {capacity}; accepted for {problem}: at most {MOST_LOAD}")
    if on_roads:
        require_road_distribution(distribution)
        if variants is not None:
            variants_of(ROAD_PROBLEMS[problem], variants)
        return
    day = problem in DAY_PROBLEMS
    known = tuple(DAY_PRESETS) if day else (*get_args(DistributionName), "x")
    if distribution not in known:
        told = f" for {problem}" if day else ""
        raise InputError(f"distribution is {distribution!r}{told}; accepted: {', '.join(known)}")
    if distribution == "x" and problem != "cvrp":
        raise InputError(f"distribution is 'x' for {problem}; accepted for: cvrp")
    if distribution != "uniform" and problem == "atsp":
        raise InputError(
            f"distribution is {distribution!r} for atsp, which has no coordinates; "
            "accepted: uniform (of the matrix)"
        )
    if variants is not None:
        variants_of(problem, variants)


def tsp_instances(
    num_instances: int,
    num_nodes: int,
    generator: torch.Generator,
    coordinates: Coordinates = uniform,
) -> Instance:
    """Symmetric TSPs in the unit square."""
    return unchecked(num_depots=0, coords=coordinates(num_instances, num_nodes, generator))


def atsp_instances(num_instances: int, num_nodes: int, generator: torch.Generator) -> Instance:
    """TSPs with a random asymmetric matrix, U[0, 1) before it is closed under the triangle
    inequality. Source: the "tmat" class of Cirasella et al. 2001, as in Kwon et al. 2021 (MatNet,
    arXiv 2106.11113)."""
    matrix = rand(generator, num_instances, num_nodes, num_nodes)
    matrix.diagonal(dim1=1, dim2=2).zero_()
    return unchecked(num_depots=0, distance=shortest_paths(matrix))


def shortest_paths(
    matrix: Float[Tensor, "batch node node"],
) -> Float[Tensor, "batch node node"]:
    """Shortest path lengths between all pairs (Floyd-Warshall): d_ij <= d_ik + d_kj holds."""
    for k in range(matrix.shape[-1]):
        matrix = torch.minimum(matrix, matrix[:, :, k : k + 1] + matrix[:, k : k + 1, :])
    return matrix


def cvrp_capacity(num_customers: int) -> int:
    """Vehicle capacity by size: the values of Kool et al. 2019 (arXiv 1803.08475) for 10, 20, 50
    and 100 customers and the field's for others; a size between takes that of the nearest size
    listed, the smaller of two as near."""
    return _CAPACITY[min(_CAPACITY, key=lambda size: (abs(size - num_customers), size))]


def cvrp_instances(
    num_instances: int,
    num_customers: int,
    generator: torch.Generator,
    coordinates: Coordinates = uniform,
    *,
    capacity: int | None = None,
    min_demand: int = 1,
    max_demand: int = 9,
) -> Instance:
    """CVRPs in the unit square with uniform integer demands, in physical units.

    The depot is uniform in the square, whatever the customers' distribution.

    Args:
        capacity: by default as `cvrp_capacity` says.

    Raises:
        InputError: the demands are not 0 < min <= max <= capacity.
    """
    if capacity is None:
        capacity = cvrp_capacity(num_customers)
    if not 0 < min_demand <= max_demand <= capacity:
        raise InputError(
            f"demands are {min_demand} to {max_demand} with capacity {capacity}; "
            "accepted: 0 < min <= max <= capacity"
        )
    depot = uniform(num_instances, 1, generator)
    coords = torch.cat((depot, coordinates(num_instances, num_customers, generator)), 1)
    demand = torch.randint(
        min_demand,
        max_demand + 1,
        (num_instances, num_customers),
        generator=generator,
        device=generator.device,
    )
    return unchecked(
        num_depots=1,
        coords=coords,
        demand=torch.nn.functional.pad(demand, (1, 0)).to(coords.dtype),
        capacity=coords.new_full((num_instances,), capacity),
    )
