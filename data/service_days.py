"""Random days of service: customers in cities, soft windows, and traffic by the time of day.

Distribution: SVRPBench's (Heakl et al. 2025, arXiv 2505.21887). Where it differs, so that every
instance can be solved and says what it is:

- the kind of each customer is drawn with the paper's shares and stored;
- city centres are the k-means of a sample of the map, not of all its points; places are not
  rounded to a grid;
- demands begin at 1, and no demand is above the capacity;
- a customer whom no depot can serve alone, on time by a margin and back before closing, under mean
  travel times, gets another window; `Drawn.rejected` counts them. Windows keep to opening hours;
- all depots have the opening hours of the first.

Times are minutes, and a minute of free travel is one unit of length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.batching import replace
from nco.data.distributions import rand
from nco.data.errors import InputError
from nco.data.instance import Instance, Kind, distance_matrix
from nco.data.noise import draw_keys
from nco.data.prices import DEFAULT_PRICES, Prices
from nco.data.traffic import CODE, CORRELATED, DAY, PAPER, Traffic
from nco.data.unchecked import unchecked

DayPreset = Literal["svrpbench-paper", "svrpbench-code", "correlated"]
"""Distributions of svrptw and mdsvrptw."""
_ROUNDS = 200
"""Of drawing windows anew."""


@final
@dataclass(frozen=True)
class ServiceDay:
    """A distribution; the defaults are SVRPBench's for its paper, and ours where it has none.

    Raises:
        InputError: a range is empty, or the capacity is below the largest demand.
    """

    traffic: Traffic = PAPER
    prices: Prices = DEFAULT_PRICES
    map_size: float = 100.0
    customers_per_city: int = 50
    num_depots: int = 3
    """Where there are several."""
    residential: float = 0.6
    """The share of residential customers; the others are commercial."""
    window_length: tuple[float, float] = (60.0, 120.0)
    demand: tuple[int, int] = (1, 100)
    capacity: int = 500
    """Ours: about ten customers; the published ones are below some demand, or never bind."""
    service_time: float = 0.0
    opening: tuple[float, float] = (0.0, DAY)
    margin: float = 15.0
    """Minutes to spare before a window closes on the way there alone."""

    def __post_init__(self) -> None:
        for name in ("window_length", "demand", "opening"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise InputError(f"{name} is {(low, high)}; accepted: 0 <= lowest <= highest")
        if self.capacity < self.demand[1]:
            raise InputError(
                f"capacity is {self.capacity}; accepted: at least the largest demand, "
                f"{self.demand[1]}"
            )


DAY_PRESETS: dict[str, ServiceDay] = {
    "svrpbench-paper": ServiceDay(),
    "svrpbench-code": ServiceDay(traffic=CODE, map_size=1000.0, margin=0.0),
    "correlated": ServiceDay(
        traffic=CORRELATED,
        customers_per_city=6,
        window_length=(30.0, 60.0),
        opening=(360.0, 1320.0),
        service_time=5.0,
    ),
}
"""By name; see `nco.data.traffic` for what they are for.

What they test, by `nco information svrptw --distribution NAME` (8 instances of 6 customers, 200
scenarios; per cent of the best plan's mean cost): the value of planning with scenarios in the place
of means (VSS) is 0.00 for svrpbench-code, 0.07 for svrpbench-paper, about zero both, and 0.23 for
correlated; to know the day beforehand (EVPI) is worth 0.00, 0.31 and 10.05. So the two published
ones tell nothing of how a solver deals with uncertainty.
"""


@dataclass(frozen=True)
class Drawn:
    """Instances, and how many windows it took."""

    instance: Instance
    rejected: Int[Tensor, " batch"]
    """Windows that were drawn and could not be kept."""


def service_days(
    batch: int,
    num_customers: int,
    generator: torch.Generator,
    day: ServiceDay,
    *,
    several_depots: bool = False,
) -> Drawn:
    """Random instances in float32, with keys, zones (the city) and kinds.

    Raises:
        InputError: windows that can be kept are too rare for some customer.
    """
    places, zone = _places(batch, num_customers, generator, day)
    depots = _depots(places, day.num_depots if several_depots else 1)
    d = depots.shape[1]
    nobody = torch.zeros(batch, d, device=generator.device)
    demand = torch.randint(
        day.demand[0], day.demand[1] + 1, zone.shape, generator=generator, device=zone.device
    )
    commercial = rand(generator, *zone.shape) >= day.residential
    kind = torch.where(commercial, int(Kind.COMMERCIAL), int(Kind.RESIDENTIAL))
    bare = unchecked(
        num_depots=d,
        coords=torch.cat((depots, places), 1),
        demand=torch.cat((nobody, demand.float()), 1),
        capacity=nobody.new_full((batch,), day.capacity),
    )
    window, rejected = _windows(bare, commercial, generator, day)
    rows = nobody.new_tensor(day.traffic.row()), nobody.new_tensor(day.prices.row())
    no_city = nobody.long()
    instance = replace(
        bare,
        {
            "time_window": torch.cat(
                (nobody.new_tensor(day.opening).expand(batch, d, 2), window), 1
            ),
            "service_time": torch.cat(
                (nobody, torch.full_like(demand.float(), day.service_time)), 1
            ),
            "traffic": rows[0].expand(batch, -1).contiguous(),
            "prices": rows[1].expand(batch, -1).contiguous(),
            "zone": torch.cat((_zones_of(depots, places, zone), zone), 1),
            "kind": torch.cat((no_city, kind), 1),
            "key": draw_keys(batch, generator),
        },
    )
    return Drawn(instance, rejected)


def _places(
    batch: int, num_customers: int, generator: torch.Generator, day: ServiceDay
) -> tuple[Float[Tensor, "batch customer 2"], Int[Tensor, "batch customer"]]:
    """Customers around the cities' centres, and the city of each."""
    cities = max(1, num_customers // day.customers_per_city)
    sample = day.map_size * rand(generator, batch, max(64, 16 * cities), 2)
    centres = _k_means(sample, sample[:, :cities])
    scale = day.map_size / math.sqrt(math.pi * cities)
    spread = scale * (0.3 + 0.1 * rand(generator, batch, cities))
    # as even as possible
    city = torch.arange(num_customers, device=generator.device) % cities
    noise = torch.randn(batch, num_customers, 2, generator=generator, device=generator.device)
    places = centres[:, city] + spread[:, city].unsqueeze(2) * noise
    return places.clamp(0, day.map_size), city.expand(batch, -1).contiguous()


def _depots(
    places: Float[Tensor, "batch customer 2"], count: int
) -> Float[Tensor, "batch depot 2"]:
    """The middle of the customers, or their k-means."""
    first = torch.arange(count, device=places.device) % places.shape[1]
    return _k_means(places, places[:, first])


def _k_means(
    points: Float[Tensor, "batch point 2"], centres: Float[Tensor, "batch centre 2"]
) -> Float[Tensor, "batch centre 2"]:
    """Ten rounds of Lloyd's algorithm; a centre without points stays."""
    for _ in range(10):
        nearest = torch.cdist(points, centres).argmin(2)
        member = torch.nn.functional.one_hot(nearest, centres.shape[1]).to(points.dtype)
        size = member.sum(1).unsqueeze(2)
        centres = torch.where(size > 0, (member.mT @ points) / size.clamp(min=1), centres)
    return centres


def _zones_of(
    depots: Float[Tensor, "batch depot 2"],
    places: Float[Tensor, "batch customer 2"],
    zone: Int[Tensor, "batch customer"],
) -> Int[Tensor, "batch depot"]:
    """A depot's zone is that of the nearest customer."""
    return zone.gather(1, torch.cdist(depots, places).argmin(2))


def _windows(
    bare: Instance,
    commercial: Bool[Tensor, "batch customer"],
    generator: torch.Generator,
    day: ServiceDay,
) -> tuple[Float[Tensor, "batch customer 2"], Int[Tensor, " batch"]]:
    """Windows that can be kept, and how many could not."""
    window = _drawn_windows(commercial, generator, day)
    wrong = ~_can_be_kept(bare, window, day)
    rejected = wrong.sum(1)
    for _ in range(_ROUNDS):
        if not bool(wrong.any()):
            return window, rejected
        window = torch.where(wrong.unsqueeze(2), _drawn_windows(commercial, generator, day), window)
        wrong = ~_can_be_kept(bare, window, day)
        rejected += wrong.sum(1)
    raise InputError(
        f"after {_ROUNDS} draws {int(wrong.sum())} customers have no window that can be kept; "
        f"accepted: opening hours (here {day.opening}) and a margin (here {day.margin}) that leave "
        "more of them"
    )


def _drawn_windows(
    commercial: Bool[Tensor, "batch customer"], generator: torch.Generator, day: ServiceDay
) -> Float[Tensor, "batch customer 2"]:
    """Residential ones begin in the morning or in the evening, commercial ones at noon."""
    shape = commercial.shape
    normal = torch.randn(shape, generator=generator, device=generator.device)
    morning = rand(generator, *shape) < 0.5
    home = torch.where(morning, 480 + 90 * normal, 1140 + 120 * normal)
    start = torch.where(commercial, 780 + 60 * normal, home)
    low, high = day.window_length
    length = low + (high - low) * rand(generator, *shape)
    opens, closes = day.opening
    early = torch.minimum(start.clamp(min=opens), closes - length).clamp(min=opens)
    return torch.stack((early, early + length), 2)


def _can_be_kept(
    bare: Instance, window: Float[Tensor, "batch customer 2"], day: ServiceDay
) -> Bool[Tensor, "batch customer"]:
    """Whether some depot can serve each customer alone, by mean travel times."""
    opens, closes = day.opening
    depots = int(bare.num_depots[0])
    way = distance_matrix(bare)[:, :depots, depots:].double()
    early, late = (column.double().unsqueeze(1) for column in window.unbind(2))

    def arrival(clock: Tensor) -> Tensor:
        return clock + way + day.traffic.mean_loss(way, clock)

    there = arrival(torch.full_like(way, opens))
    leaves = torch.maximum(there, early) + day.service_time
    kept = (there + day.margin <= late) & (arrival(leaves) <= closes)
    return kept.any(1)
