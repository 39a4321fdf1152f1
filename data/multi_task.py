"""Random instances of the multi-task VRP: every combination of attributes, mixed in one batch.

The distribution is that of RouteFinder (Berto et al. 2024, arXiv 2406.15007).
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nco.data.batching import replace
from nco.data.distributions import Coordinates, rand, uniform
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.unchecked import unchecked

Backhauls = Literal["", "b", "mb"]
"""None, classical (deliveries first), mixed."""


@dataclass(frozen=True)
class Variant:
    """A combination of attributes of a VRP with capacities; neutral by default."""

    backhaul: Backhauls = ""
    distance_limit: bool = False
    time_window: bool = False
    open_route: bool = False
    several_depots: bool = False

    @property
    def name(self) -> str:
        """The literature's name in lower case: cvrp, ovrp, vrpb, vrptw, ... mdovrpmbltw."""
        tail = self.backhaul + "l" * self.distance_limit + "tw" * self.time_window
        head = "o" if self.open_route else ("" if tail else "c")
        return "md" * self.several_depots + head + "vrp" + tail


VARIANTS = tuple(
    Variant(backhaul, limit, window, open_route, depots)
    for depots, backhaul, open_route, limit, window in itertools.product(
        (False, True), ("", "b", "mb"), (False, True), (False, True), (False, True)
    )
)
"""All 48; the first 16 are those of one depot without mixed backhauls."""


VARIANT_SETS = {f"mtvrp-{size}": VARIANTS[:size] for size in (16, 24, 48)}
"""Mixed problems, whose instances draw a variant each: those of one depot without mixed backhauls,
all of one depot, and all."""


def variant_by_name(name: str) -> Variant:
    """The variant with this name.

    Raises:
        InputError: there is none.
    """
    for variant in VARIANTS:
        if variant.name == name:
            return variant
    names = [variant.name for variant in VARIANTS]
    raise InputError(f"variant is {name!r}; {accepted_names(name, names)}")


def variants_of(problem: str, names: Sequence[str] | None = None) -> tuple[Variant, ...]:
    """The variants that instances of a problem draw from: those of a set, or the one named.

    Args:
        problem: a variant, or one of `VARIANT_SETS`.
        names: only these of the set; by default all of it.

    Raises:
        InputError: the problem is unknown; names are given where it is no set, or are none, repeat
            or are not in the set.
    """
    if names is None:
        return VARIANT_SETS.get(problem) or (variant_by_name(problem),)
    if problem not in VARIANT_SETS:
        raise InputError(
            f"variants are {', '.join(names)} for {problem}; accepted: none, only "
            f"{', '.join(VARIANT_SETS)} have several"
        )
    known = {variant.name: variant for variant in VARIANT_SETS[problem]}
    for name in names:
        if name not in known:
            raise InputError(f"variants has {name!r} for {problem}; {accepted_names(name, known)}")
    if not names or len(set(names)) < len(names):
        raise InputError(f"variants are {list(names)}; accepted: at least one, each once")
    return tuple(known[name] for name in names)


def accepted_names(wrong: str, known: Collection[str]) -> str:
    """The end of a message on a wrong name: what is accepted, and the likely one.

    The names of variants are given by how they are made up, not one by one.
    """
    variants = [variant for variant in VARIANTS if variant.name in known]
    names = [name for name in known if name not in {v.name for v in VARIANTS}]
    if variants:
        depots = "[md]" if any(v.several_depots for v in variants) else ""
        mixed = "b|mb" if any(v.backhaul == "mb" for v in variants) else "b"
        names.append(f"{depots}cvrp")
        told = f"{', '.join(names)} or a variant of it, {depots}[o]vrp[{mixed}][l][tw]"
    else:
        told = ", ".join(names)
    # the plain problems are often called vrp and mdvrp
    plain = wrong.replace("vrp", "cvrp")
    close = [plain] if plain in known else difflib.get_close_matches(wrong, known, n=1)
    return f"accepted: {told}" + (f" (did you mean {close[0]}?)" if close else "")


@dataclass(frozen=True)
class Tightness:
    """How tight the constraints are drawn; the defaults are RouteFinder's. Speed is 1.

    Raises:
        InputError: a range is empty, or the horizon is too short for the farthest customer of the
            unit square.
    """

    capacity: int | None = None
    """By default as `multi_task_capacity` says."""
    demand: tuple[int, int] = (1, 9)
    """Smallest and largest, of deliveries and of pickups."""
    backhaul_share: float = 0.2
    """The probability that a customer is a pickup, where there are backhauls."""
    horizon: float = 4.6
    service_time: tuple[float, float] = (0.15, 0.18)
    window_length: tuple[float, float] = (0.18, 0.2)
    longest_limit: float = 2.8
    """The largest distance limit, where no customer needs more."""
    num_depots: int = 3
    """Where there are several."""

    def __post_init__(self) -> None:
        for name in ("demand", "service_time", "window_length"):
            low, high = getattr(self, name)
            least = 1 if name == "demand" else 0
            if not least <= low <= high:
                raise InputError(f"{name} is {(low, high)}; accepted: {least} <= lowest <= highest")
        if self.capacity is not None and self.capacity < self.demand[1]:
            raise InputError(
                f"capacity is {self.capacity}; accepted: at least the largest demand, "
                f"{self.demand[1]}"
            )
        if not 0 <= self.backhaul_share <= 1:
            raise InputError(f"backhaul_share is {self.backhaul_share}; accepted: 0 to 1")
        if self.num_depots < 2:
            raise InputError(f"num_depots is {self.num_depots}; accepted: at least 2")
        needed = 2 * math.sqrt(2) + self.service_time[1] + self.window_length[1]
        if self.horizon < needed:
            raise InputError(
                f"horizon is {self.horizon}; accepted: at least {needed:g}, twice the diagonal of "
                "the square, a service and a window"
            )


def multi_task_capacity(num_customers: int) -> int:
    """RouteFinder's vehicle capacity: 30 up to 20 customers, 40 for 50, 50 for 100, ..."""
    if num_customers <= 20:
        return 30
    if num_customers <= 1000:
        return 30 + num_customers // 5
    return 230 + int((num_customers - 1000) / 33.3)


ROUTEFINDER = Tightness()
"""The published distribution."""


def multi_task_instances(
    num_instances: int,
    num_customers: int,
    generator: torch.Generator,
    variants: Sequence[Variant] = VARIANTS,
    coordinates: Coordinates = uniform,
    tightness: Tightness = ROUTEFINDER,
) -> Instance:
    """A batch whose instances each draw one of the variants, uniformly; float32, integer demands.

    Instances with one depot are padded where others of the batch may have several. Depots are
    uniform in the square, whatever the customers' distribution. With several depots, windows can
    be kept from each of them, and the limit suffices from the best of them.

    Raises:
        InputError: no variant, no instance or no customer is asked for, or the default capacity is
            below the largest demand.
    """
    if not variants or num_instances < 1 or num_customers < 1:
        raise InputError(
            f"{len(variants)} variants, {num_instances} instances, {num_customers} customers; "
            "accepted: at least 1 of each"
        )
    capacity = tightness.capacity or multi_task_capacity(num_customers)
    if capacity < tightness.demand[1]:
        raise InputError(
            f"the largest demand is {tightness.demand[1]}; accepted: at most the capacity of "
            f"{num_customers} customers, {capacity}"
        )
    device = generator.device
    drawn = torch.randint(len(variants), (num_instances,), generator=generator, device=device)

    def flags(values: Sequence[bool]) -> Bool[Tensor, " batch"]:
        return torch.tensor(values, device=device)[drawn]

    several = flags([v.several_depots for v in variants])
    most = tightness.num_depots if any(v.several_depots for v in variants) else 1
    num_depots = torch.where(several, most, 1)
    depots = uniform(num_instances, most, generator)
    customers = coordinates(num_instances, num_customers, generator)
    reach = (depots.unsqueeze(2) - customers.unsqueeze(1)).norm(dim=3)
    absent = torch.arange(most, device=device) >= num_depots.unsqueeze(1)
    linehaul, backhaul = _goods(generator, num_customers, tightness,
                                flags([bool(v.backhaul) for v in variants]))  # fmt: skip
    window, service = _times(generator, reach.masked_fill(absent.unsqueeze(2), 0).amax(1),
                             tightness, flags([v.time_window for v in variants]))  # fmt: skip
    limit = _limit(generator, reach.amax(2).masked_fill(absent, torch.inf).amin(1), tightness,
                   flags([v.distance_limit for v in variants]))  # fmt: skip

    # where one depot is used, customers close up to it and padding comes last
    index = torch.arange(most + num_customers, device=device)
    skip = most - num_depots.unsqueeze(1)
    source = torch.where(index < num_depots.unsqueeze(1), index, index + skip)
    valid = source < len(index)
    source = source.clamp(max=len(index) - 1)

    def nodes(at_depots: Tensor, at_customers: Tensor) -> Tensor:
        value = torch.cat((at_depots, at_customers), 1)
        place, real = (x.view(*x.shape, *(1,) * (value.dim() - 2)) for x in (source, valid))
        return value.gather(1, place.expand(*source.shape, *value.shape[2:])).masked_fill(~real, 0)

    none = depots.new_zeros(num_instances, most)
    neutral = unchecked(
        num_depots=1,
        coords=nodes(depots, customers),
        demand=nodes(none, linehaul),
        capacity=none.new_full((num_instances,), capacity),
    )
    return replace(
        neutral,
        {
            "backhaul": nodes(none, backhaul),
            "mixed_backhaul": flags([v.backhaul == "mb" for v in variants]),
            "time_window": nodes(window[:, :1].expand(-1, most, -1), window[:, 1:]),
            "service_time": nodes(none, service),
            "distance_limit": limit,
            "open_route": flags([v.open_route for v in variants]),
            "num_depots": num_depots,
            "valid": valid,
        },
    )


def _within(bounds: tuple[float, float], share: Float[Tensor, "batch customer"]) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * share


def _goods(
    generator: torch.Generator,
    num_customers: int,
    tightness: Tightness,
    present: Bool[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch customer"], Float[Tensor, "batch customer"]]:
    """Deliveries and pickups; where there are no backhauls every customer has a delivery."""
    low, high = tightness.demand
    shape = (2, len(present), num_customers)
    goods = torch.randint(low, high + 1, shape, generator=generator, device=present.device).float()
    pickup = rand(generator, len(present), num_customers) < tightness.backhaul_share
    pickup = pickup & present.unsqueeze(1)
    return goods[0] * ~pickup, goods[1] * pickup


def _times(
    generator: torch.Generator,
    reach: Float[Tensor, "batch customer"],
    tightness: Tightness,
    present: Bool[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch node 2"], Float[Tensor, "batch customer"]]:
    """Windows, the depot's first, and service times.

    The start is U(d, T - s - w - d), with the customer's window length w and service time s: it
    can be reached from the depot at distance d, and there is time to return by T.
    """
    share = rand(generator, 3, *reach.shape)
    service = _within(tightness.service_time, share[0])
    length = _within(tightness.window_length, share[1])
    early = reach + (tightness.horizon - service - length - 2 * reach) * share[2]
    window = torch.stack((early, early + length), 2)
    depot = window.new_tensor([0.0, tightness.horizon]).expand(len(reach), 1, 2)
    window = torch.cat((depot, window), 1)
    timed = present.view(-1, 1, 1)
    return torch.where(timed, window, window.new_tensor([0, torch.inf])), service * timed[:, 0]


def _limit(
    generator: torch.Generator,
    radius: Float[Tensor, " batch"],
    tightness: Tightness,
    present: Bool[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """U(2 r, max(2.8, 2 r)) with the distance r of the farthest customer; ends 1e-6 and 2e-6
    above, so that the farthest can be reached and the range is never empty."""
    low = 2 * radius + 1e-6
    high = torch.clamp(2 * radius + 2e-6, min=tightness.longest_limit)
    limit = low + (high - low) * rand(generator, len(radius))
    return limit.masked_fill(~present, torch.inf)
