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
from jaxtyping import Bool, Float, Int
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
        return self._named("c" if self == Variant(several_depots=self.several_depots) else "")

    @property
    def road_name(self) -> str:
        """Of the same on asymmetric matrices: acvrp, aovrp, acvrpb, acvrptw, ... amdovrpmbltw."""
        return "a" + self._named("c")

    def _named(self, capacitated: str) -> str:
        tail = self.backhaul + "l" * self.distance_limit + "tw" * self.time_window
        head = "o" if self.open_route else capacitated
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
ROAD_PROBLEMS = {
    "atsp": "tsp",
    **{variant.road_name: variant.name for variant in VARIANTS},
    **{f"a{name}": name for name in VARIANT_SETS},
}
"""Problems on asymmetric matrices, and the one with the same rules on any lengths."""


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
    regular = {v.name for v in VARIANTS} | (ROAD_PROBLEMS.keys() - {"atsp"})
    names = [name for name in known if name not in regular]
    if variants:
        depots = "[md]" if any(v.several_depots for v in variants) else ""
        mixed = "b|mb" if any(v.backhaul == "mb" for v in variants) else "b"
        names.append(f"{depots}cvrp")
        told = f"{', '.join(names)} or a variant of it, {depots}[o]vrp[{mixed}][l][tw]"
        if "acvrp" in known:
            told += "; on city maps acvrp, acvrptw, aovrp, ..., amtvrp-16"
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


@dataclass(frozen=True)
class Chosen:
    """The variants of a batch, as flags ``[B]``."""

    backhaul: Bool[Tensor, " batch"]
    mixed_backhaul: Bool[Tensor, " batch"]
    distance_limit: Bool[Tensor, " batch"]
    time_window: Bool[Tensor, " batch"]
    open_route: Bool[Tensor, " batch"]
    several_depots: Bool[Tensor, " batch"]


def choose(variants: Sequence[Variant], num_instances: int, generator: torch.Generator) -> Chosen:
    """One of the variants for each instance, uniformly.

    Raises:
        InputError: no variant or no instance is asked for.
    """
    if not variants or num_instances < 1:
        raise InputError(
            f"{len(variants)} variants, {num_instances} instances; accepted: at least 1 of each"
        )
    device = generator.device
    drawn = torch.randint(len(variants), (num_instances,), generator=generator, device=device)

    def flags(values: Sequence[bool]) -> Bool[Tensor, " batch"]:
        return torch.tensor(values, device=device)[drawn]

    return Chosen(
        backhaul=flags([bool(v.backhaul) for v in variants]),
        mixed_backhaul=flags([v.backhaul == "mb" for v in variants]),
        distance_limit=flags([v.distance_limit for v in variants]),
        time_window=flags([v.time_window for v in variants]),
        open_route=flags([v.open_route for v in variants]),
        several_depots=flags([v.several_depots for v in variants]),
    )


def most_depots(variants: Sequence[Variant], tightness: Tightness) -> int:
    """Of any instance of these variants."""
    return tightness.num_depots if any(v.several_depots for v in variants) else 1


@dataclass(frozen=True)
class Reach:
    """Ways between depots and customers, and what is a unit for the numbers of `Tightness`."""

    out: Float[Tensor, "batch depot customer"]
    """Travel times to the customer."""
    back: Float[Tensor, "batch depot customer"]
    """And from there to the depot."""
    length: Float[Tensor, "batch depot customer"]
    """Of both ways together."""
    time_unit: Float[Tensor, " batch"]
    length_unit: Float[Tensor, " batch"]


@dataclass(frozen=True)
class Layout:
    """Where nodes of a batch lie: ``most`` depots and the customers are drawn for each instance;
    where one depot is used, customers close up to it and padding comes last."""

    most: int
    num_depots: Int[Tensor, " batch"]
    source: Int[Tensor, "batch node"]
    """Which of the nodes drawn each node is; any for padding."""
    valid: Bool[Tensor, "batch node"]

    @classmethod
    def of(cls, chosen: Chosen, most: int, num_customers: int) -> Layout:
        """Of a batch with these variants."""
        num_depots = torch.where(chosen.several_depots, most, 1)
        index = torch.arange(most + num_customers, device=num_depots.device)
        skip = most - num_depots.unsqueeze(1)
        source = torch.where(index < num_depots.unsqueeze(1), index, index + skip)
        return cls(most, num_depots, source.clamp(max=len(index) - 1), source < len(index))

    @property
    def absent(self) -> Bool[Tensor, "batch depot"]:
        """Depots that are not used."""
        index = torch.arange(self.most, device=self.num_depots.device)
        return index >= self.num_depots.unsqueeze(1)

    def nodes(self, at_depots: Tensor, at_customers: Tensor) -> Tensor:
        """Values of the nodes drawn, ``[B, depot, ...]`` and ``[B, customer, ...]``, in the order
        of the batch's nodes; 0 for padding."""
        value = torch.cat((at_depots, at_customers), 1)
        place, real = (x.view(*x.shape, *(1,) * (value.dim() - 2))
                       for x in (self.source, self.valid))  # fmt: skip
        return value.gather(1, place.expand(*self.source.shape, *value.shape[2:])).masked_fill(
            ~real, 0
        )


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
    chosen = choose(variants, num_instances, generator)
    most = most_depots(variants, tightness)
    layout = Layout.of(chosen, most, num_customers)
    depots = uniform(num_instances, most, generator)
    customers = coordinates(num_instances, num_customers, generator)
    way = (depots.unsqueeze(2) - customers.unsqueeze(1)).norm(dim=3)
    unit = torch.ones_like(way[:, 0, 0])
    reach = Reach(out=way, back=way, length=2 * way, time_unit=unit, length_unit=unit)
    bare = unchecked(num_depots=1, coords=layout.nodes(depots, customers))
    return constrained(bare, chosen, layout, reach, tightness, generator)


def constrained(
    bare: Instance,
    chosen: Chosen,
    layout: Layout,
    reach: Reach,
    tightness: Tightness,
    generator: torch.Generator,
) -> Instance:
    """The same places with demands, a capacity and the attributes of the variants chosen.

    Raises:
        InputError: there is no customer, or the default capacity is below the largest demand.
    """
    num_customers = reach.out.shape[2]
    if num_customers < 1:
        raise InputError(f"num_customers is {num_customers}; accepted: at least 1")
    capacity = tightness.capacity or multi_task_capacity(num_customers)
    if capacity < tightness.demand[1]:
        raise InputError(
            f"the largest demand is {tightness.demand[1]}; accepted: at most the capacity of "
            f"{num_customers} customers, {capacity}"
        )
    linehaul, backhaul = _goods(generator, num_customers, tightness, chosen.backhaul)
    unused = layout.absent.unsqueeze(2)
    window, service = _times(generator, reach, unused, tightness, chosen.time_window)
    limit = _limit(generator, reach, unused, tightness, chosen.distance_limit)
    none = reach.out.new_zeros(len(limit), layout.most)
    return replace(
        bare,
        {
            "linehaul": layout.nodes(none, linehaul),
            "capacity": none.new_full((len(limit),), capacity),
            "backhaul": layout.nodes(none, backhaul),
            "mixed_backhaul": chosen.mixed_backhaul,
            "time_window": layout.nodes(window[:, :1].expand(-1, layout.most, -1), window[:, 1:]),
            "service_time": layout.nodes(none, service),
            "distance_limit": limit,
            "open_route": chosen.open_route,
            "num_depots": layout.num_depots,
            "valid": layout.valid,
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
    reach: Reach,
    unused: Bool[Tensor, "batch depot 1"],
    tightness: Tightness,
    present: Bool[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch node 2"], Float[Tensor, "batch customer"]]:
    """Windows, one depot's first, and service times.

    The start is U(o, T - s - w - r), with the customer's window length w and service time s: it
    can be reached from the farthest depot, a time o away, and there is time for the way back, r,
    by T.
    """
    out, back = (way.masked_fill(unused, 0).amax(1) for way in (reach.out, reach.back))
    unit = reach.time_unit.unsqueeze(1)
    share = rand(generator, 3, *out.shape)
    service = _within(tightness.service_time, share[0]) * unit
    length = _within(tightness.window_length, share[1]) * unit
    horizon = tightness.horizon * unit
    early = out + (horizon - service - length - (out + back)) * share[2]
    window = torch.stack((early, early + length), 2)
    depot = torch.stack((torch.zeros_like(horizon), horizon), 2)
    window = torch.cat((depot, window), 1)
    timed = present.view(-1, 1, 1)
    return torch.where(timed, window, window.new_tensor([0, torch.inf])), service * timed[:, 0]


def _limit(
    generator: torch.Generator,
    reach: Reach,
    unused: Bool[Tensor, "batch depot 1"],
    tightness: Tightness,
    present: Bool[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """U(r, max(2.8, r)) with the way r to the farthest customer and back; ends 1e-6 and 2e-6
    above, so that the farthest can be reached and the range is never empty."""
    unit = reach.length_unit
    way = reach.length.amax(2).masked_fill(unused.squeeze(2), torch.inf).amin(1)
    low = way + 1e-6 * unit
    high = torch.maximum(way + 2e-6 * unit, tightness.longest_limit * unit)
    limit = low + (high - low) * rand(generator, len(way))
    return limit.masked_fill(~present, torch.inf)
