"""Random profiled VRPs that are feasible by construction, and say so (`nco.data.fleet_plan`).

Coordinates, demands and the laws of profiles and zones follow Hua et al. 2025 (CAMP, arXiv
2501.02977): demands U{1..9}, depot and customers in the unit square. Unlike there,

- profiles and zones are drawn for the vehicles that an instance has, never cut from those of a
  larger fleet, and anew for each instance of a batch;
- every customer has a vehicle that may serve it and whose capacity is enough;
- vehicles differ: by default capacities are U{20..40} and speeds U(0.5, 1), as Li et al. 2021
  (arXiv 2110.02629) have them.

Axes: B instances, M vehicles, N nodes (one depot first).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replace_law
from typing import ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from pydantic import ConfigDict
from torch import Tensor

from nco.data.batching import replace
from nco.data.distributions import Coordinates, rand, uniform
from nco.data.errors import InputError
from nco.data.fleet import Fleet, replace_fleet
from nco.data.fleet_plan import out_and_back
from nco.data.instance import Instance
from nco.data.unchecked import unchecked

ProfileLaw = Literal["random", "angular", "clustered", "grid"]
"""How profiles and zones lie:

- random: U(0, 1) for each vehicle and customer; zones: a rate from U(0, 2/3) for each instance, at
  which pairs are forbidden;
- angular: as many equal sectors around the depot as vehicles; profile 1 in a vehicle's own sector,
  0 elsewhere; zones: each vehicle is kept out of 2/3 of the sectors, rounded down;
- clustered: as many customers as vehicles are centres; the profile falls with the distance to the
  vehicle's own, 1 - d / sqrt 2; zones: a vehicle stays within 0.5 of its centre;
- grid: cells in rows and columns, as few as give each vehicle one; profile 1 in a vehicle's own
  cells, 0 elsewhere; zones: each vehicle is kept out of 2/3 of the cells, rounded down.
"""
PROFILE_LAWS: tuple[ProfileLaw, ...] = get_args(ProfileLaw)
FORBIDDEN_SHARE = 2 / 3
ZONE_RADIUS = 0.5
Range = tuple[float, float]


@dataclass(frozen=True)
class FleetLaw:
    """What fleets are drawn from; a range is uniform, and one with equal ends is a fixed value.

    Raises:
        InputError: a range is empty or out of bounds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    """For configurations that have a law in them."""

    num_vehicles: tuple[int, int] = (2, 10)
    """Each instance draws its own number; the rest of the batch's vehicles is padding."""
    profile: ProfileLaw | None = None
    """None: each instance draws one of the four laws."""
    capacity: tuple[int, int] = (20, 40)
    speed: Range = (0.5, 1.0)
    fixed_cost: Range = (0.0, 0.0)
    distance_cost: Range = (0.0, 0.0)
    preference_weight: Range = (0.2, 0.2)
    """At most 1; the weight of the time is 1 less this. Instances with zones have no preferences
    and weight 1 for the time."""
    shift: float | None = None
    """All shifts are so many times the work of the busiest vehicle in a plan of one trip for each
    customer; at least 1. None: no limit."""
    min_max: bool = False

    def __post_init__(self) -> None:
        for name, least in (("num_vehicles", 1), ("capacity", 1), ("fixed_cost", 0),
                            ("distance_cost", 0), ("preference_weight", 0)):  # fmt: skip
            low, high = getattr(self, name)
            most = 1 if name == "preference_weight" else math.inf
            if not (least <= low <= high <= most and math.isfinite(high)):
                raise InputError(
                    f"{name} is {(low, high)}; accepted: [smallest, largest] from {least} to {most}"
                )
        low, high = self.speed
        if not (0 < low <= high < math.inf):
            raise InputError(f"speed is {self.speed}; accepted: [smallest, largest] above 0")
        if self.profile is not None:
            profile_law(self.profile)
        if self.shift is not None and not 1 <= self.shift < math.inf:
            raise InputError(f"shift is {self.shift}; accepted: at least 1, or none")

    def __str__(self) -> str:
        """What differs from the defaults, in words."""
        low, high = self.num_vehicles
        told = [f"{low} vehicles" if low == high else f"{low} to {high} vehicles"]
        told.append("all four laws" if self.profile is None else f"{self.profile} law")
        usual = FleetLaw()
        for name in ("capacity", "speed", "fixed_cost", "distance_cost", "preference_weight"):
            low, high = getattr(self, name)
            if (low, high) != getattr(usual, name):
                value = f"{low:g}" if low == high else f"{low:g} to {high:g}"
                told.append(f"{name.replace('_', ' ')} {value}")
        if self.shift is not None:
            told.append(f"shifts of {self.shift:g} plans")
        if self.min_max:
            told.append("min-max")
        return ", ".join(told)


def profile_law(name: str) -> ProfileLaw:
    """The law of this name.

    Raises:
        InputError: there is none.
    """
    for law in PROFILE_LAWS:
        if law == name:
            return law
    raise InputError(f"profile is {name!r}; accepted: {', '.join(PROFILE_LAWS)}, or none")


def fleet_law(num_vehicles: tuple[int, int] | None, profile: str | None) -> FleetLaw | None:
    """A law of which only these are given; None where nothing is.

    Raises:
        InputError: as `FleetLaw`.
    """
    if num_vehicles is None and profile is None:
        return None
    law = FleetLaw(profile=None if profile is None else profile_law(profile))
    return law if num_vehicles is None else replace_law(law, num_vehicles=num_vehicles)


def fleet_instances(
    num_instances: int,
    num_customers: tuple[int, int],
    generator: torch.Generator,
    law: FleetLaw | None = None,
    coordinates: Coordinates = uniform,
    *,
    zones: bool = False,
    max_demand: int = 9,
) -> Instance:
    """Profiled VRPs in the unit square with one depot, in float32; sizes mixed in one batch.

    Args:
        num_customers: smallest and largest number; each instance draws its own.
        law: of the fleets.
        zones: draw zones in place of profiles, which are neutral then.

    Raises:
        InputError: the largest demand is above the smallest capacity.
    """
    law = law or FleetLaw()
    if law.capacity[0] < max_demand:
        raise InputError(
            f"capacity is {law.capacity} with demands up to {max_demand}; accepted: at least the "
            "largest demand"
        )
    b = num_instances
    sizes = _integers(generator, num_customers, b)
    vehicles = _integers(generator, law.num_vehicles, b)
    n, m = num_customers[1] + 1, law.num_vehicles[1]
    depot = uniform(b, 1, generator)
    node = torch.arange(n, device=generator.device)
    valid = node <= sizes.unsqueeze(1)
    coords = torch.cat((depot, coordinates(b, n - 1, generator)), 1)
    coords = coords.masked_fill(~valid.unsqueeze(2), 0)
    demand = _integers(generator, (1, max_demand), b, n).float()
    demand = demand.masked_fill(~valid | (node == 0), 0)
    real = torch.arange(m, device=generator.device) < vehicles.unsqueeze(1)
    areas = _Areas(coords, vehicles, real, generator, valid)
    which = _laws(law.profile, b, generator)
    neutral = torch.ones(b, m, n, device=generator.device)
    pair = real.unsqueeze(2) & valid.unsqueeze(1)
    profile = neutral if zones else _by_law(which, [f(areas) for f in _PROFILES])
    allowed = _by_law(which, [f(areas) for f in _ZONES]) if zones else neutral.bool()
    weight = _range(generator, law.preference_weight, b)
    fleet = Fleet(
        capacity=_integers(generator, law.capacity, b, m).float().masked_fill(~real, 0),
        speed=_range(generator, law.speed, b, m).masked_fill(~real, 1),
        fixed_cost=_range(generator, law.fixed_cost, b, m).masked_fill(~real, 0),
        distance_cost=_range(generator, law.distance_cost, b, m).masked_fill(~real, 0),
        depot=torch.zeros_like(real, dtype=torch.int64),
        shift=torch.full((b, m), torch.inf, device=generator.device),
        valid=real,
        profile=profile.masked_fill(~pair, 0),
        allowed=allowed & pair,
        time_weight=torch.ones_like(weight) if zones else 1 - weight,
        preference_weight=torch.zeros_like(weight) if zones else weight,
        min_max=torch.full((b,), law.min_max, device=generator.device),
        batch_size=[b],
    )
    instance = replace(
        unchecked(num_depots=1, coords=coords, demand=demand), {"valid": valid, "fleet": fleet}
    )
    return instance if law.shift is None else _with_shifts(instance, fleet, law.shift)


def _with_shifts(instance: Instance, fleet: Fleet, factor: float) -> Instance:
    work = out_and_back(instance, fleet, torch.zeros_like(fleet.shift)).work
    shift = (factor * work.amax(1, keepdim=True)).to(fleet.shift.dtype)
    # rounding to float32 must not take away what the plan needs
    shift = torch.nextafter(shift, torch.full_like(shift, torch.inf))
    changed = shift.expand_as(fleet.shift).masked_fill(~fleet.valid, torch.inf)
    return replace(instance, {"fleet": replace_fleet(fleet, {"shift": changed})})


def _integers(generator: torch.Generator, bounds: tuple[int, int], *shape: int) -> Tensor:
    return torch.randint(
        bounds[0], bounds[1] + 1, shape, generator=generator, device=generator.device
    )


def _range(generator: torch.Generator, bounds: Range, *shape: int) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * rand(generator, *shape)


def _laws(
    profile: ProfileLaw | None, num_instances: int, generator: torch.Generator
) -> Int[Tensor, " batch"]:
    if profile is None:
        return _integers(generator, (0, len(PROFILE_LAWS) - 1), num_instances)
    index = PROFILE_LAWS.index(profile)
    return torch.full((num_instances,), index, device=generator.device)


def _by_law(which: Int[Tensor, " batch"], drawn: list[Tensor]) -> Tensor:
    """Each instance's own of what was drawn for all laws."""
    index = which.view(1, -1, 1, 1).expand(1, *drawn[0].shape)
    return torch.stack(drawn).gather(0, index).squeeze(0)


@dataclass(frozen=True)
class _Areas:
    """What profiles and zones are drawn from."""

    coords: Float[Tensor, "batch node 2"]
    vehicles: Int[Tensor, " batch"]
    real: Bool[Tensor, "batch vehicle"]
    generator: torch.Generator
    valid: Bool[Tensor, "batch node"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, M, N."""
        b, m = self.real.shape
        return b, m, self.coords.shape[1]

    def uniform(self) -> Float[Tensor, "batch vehicle node"]:
        """A number for each vehicle and node."""
        return rand(self.generator, *self.shape)

    def sectors(self) -> Int[Tensor, "batch node"]:
        """Which of as many equal sectors as vehicles a node is in; from a random direction on."""
        way = self.coords - self.coords[:, :1]
        turn = torch.atan2(way[..., 1], way[..., 0]) / (2 * math.pi)
        turn = (turn + rand(self.generator, len(self.vehicles), 1)) % 1
        number = self.vehicles.unsqueeze(1)
        return torch.minimum((turn * number).long(), number - 1)

    def cells(self) -> Int[Tensor, "batch node"]:
        """Which cell of the smallest square grid with a cell for each vehicle a node is in."""
        side = self.side.unsqueeze(1)
        column, row = torch.minimum(
            (self.coords * side.unsqueeze(2)).long(), side.unsqueeze(2) - 1
        ).unbind(2)
        return row * side + column

    @property
    def side(self) -> Int[Tensor, " batch"]:
        """Rows of that grid."""
        return self.vehicles.double().sqrt().ceil().long()

    def centre_distances(self) -> Float[Tensor, "batch vehicle node"]:
        """From each vehicle's centre, a customer of its own, or any where there are too few."""
        b, m, n = self.shape
        chance = rand(self.generator, b, n).masked_fill(~self.valid, -1)
        chance[:, 0] = -1
        order = chance.argsort(1, descending=True)
        turn = torch.arange(m, device=order.device) % self.valid.sum(1, keepdim=True).sub(1)
        chosen = order.gather(1, turn)
        centre = self.coords.gather(1, chosen.unsqueeze(2).expand(b, m, 2))
        return (centre.unsqueeze(2) - self.coords.unsqueeze(1)).norm(dim=3)


def _own(area: Int[Tensor, "batch node"], vehicles: Int[Tensor, " batch"], m: int) -> Tensor:
    """``[B, M, N]``: a vehicle's own areas, which are dealt out in turn."""
    owner = area % vehicles.unsqueeze(1)
    return owner.unsqueeze(1) == torch.arange(m, device=area.device).view(1, -1, 1)


def _random_profile(areas: _Areas) -> Float[Tensor, "batch vehicle node"]:
    return areas.uniform()


def _angular_profile(areas: _Areas) -> Float[Tensor, "batch vehicle node"]:
    return _own(areas.sectors(), areas.vehicles, areas.shape[1]).float()


def _clustered_profile(areas: _Areas) -> Float[Tensor, "batch vehicle node"]:
    return (1 - areas.centre_distances() / math.sqrt(2)).clamp(0, 1)


def _grid_profile(areas: _Areas) -> Float[Tensor, "batch vehicle node"]:
    return _own(areas.cells(), areas.vehicles, areas.shape[1]).float()


def _random_zones(areas: _Areas) -> Bool[Tensor, "batch vehicle node"]:
    rate = FORBIDDEN_SHARE * rand(areas.generator, areas.shape[0], 1, 1)
    return _covering(areas.uniform() >= rate, areas.uniform(), areas.real)


def _angular_zones(areas: _Areas) -> Bool[Tensor, "batch vehicle node"]:
    return _zones_of(areas, areas.sectors(), areas.vehicles)


def _clustered_zones(areas: _Areas) -> Bool[Tensor, "batch vehicle node"]:
    distance = areas.centre_distances()
    return _covering(distance <= ZONE_RADIUS, -distance, areas.real)


def _grid_zones(areas: _Areas) -> Bool[Tensor, "batch vehicle node"]:
    return _zones_of(areas, areas.cells(), areas.side**2)


def _zones_of(
    areas: _Areas, area: Int[Tensor, "batch node"], number: Int[Tensor, " batch"]
) -> Bool[Tensor, "batch vehicle node"]:
    """Each vehicle is kept out of so many areas, drawn at random; each area has a vehicle."""
    b, m, _ = areas.shape
    most = int(number.max())
    exists = torch.arange(most, device=area.device) < number.unsqueeze(1)
    chance = rand(areas.generator, b, m, most).masked_fill(~exists.unsqueeze(1), 2)
    rank = chance.argsort(2).argsort(2)
    kept_out = (number * FORBIDDEN_SHARE).long().view(-1, 1, 1)
    may = _covering(rank >= kept_out, rand(areas.generator, b, m, most), areas.real)
    return may.gather(2, area.unsqueeze(1).expand(-1, m, -1))


def _covering(
    may: Bool[Tensor, "batch vehicle area"],
    liking: Float[Tensor, "batch vehicle area"],
    real: Bool[Tensor, "batch vehicle"],
) -> Bool[Tensor, "batch vehicle area"]:
    """Where no vehicle may, the one with the highest liking may after all."""
    may = may & real.unsqueeze(2)
    best = liking.masked_fill(~real.unsqueeze(2), -torch.inf).argmax(1, keepdim=True)
    lonely = ~may.any(1, keepdim=True)
    return may.scatter(1, best, may.gather(1, best) | lonely)


_PROFILES: tuple[Callable[[_Areas], Tensor], ...] = (
    _random_profile,
    _angular_profile,
    _clustered_profile,
    _grid_profile,
)
_ZONES: tuple[Callable[[_Areas], Tensor], ...] = (
    _random_zones,
    _angular_zones,
    _clustered_zones,
    _grid_zones,
)
