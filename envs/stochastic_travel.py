"""How long ways take: in a scenario, on average, and at a quantile.

Axes: B instances, S scenarios, P plans, N nodes. Clocks and times are minutes, in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix
from nco.data.noise import Scenarios, Stream, Worlds
from nco.data.traffic import DAY, Traffic

_ARC = 2**31
"""An arc's name is one word, origin * 2^31 + destination: hashing is what takes the time."""
_MOST_ACCIDENTS = 64
"""On one way. No uniform number is so close to 1 at any sensible rate."""


@final
@dataclass(frozen=True)
class Map:
    """What travel times read of a batch, with an axis for scenarios and one for plans."""

    traffic: Traffic
    distance: Float[Tensor, "batch arc"]
    free: Float[Tensor, "batch arc"]
    """Travel times without any delay."""
    num_nodes: int

    @classmethod
    def of(cls, instance: Instance) -> Map:
        """Of instances with traffic.

        Raises:
            InputError: they have none.
        """
        traffic = require_traffic(instance)
        return cls.from_tables(traffic, *(m.flatten(1) for m in matrices(instance)))

    @classmethod
    def from_tables(
        cls,
        rows: Float[Tensor, "batch constant"],
        distance: Float[Tensor, "batch arc"],
        free: Float[Tensor, "batch arc"],
    ) -> Map:
        """From the rows of constants and flat matrices."""
        return cls(Traffic.of_rows(rows, 1, 1), distance, free, round(distance.shape[1] ** 0.5))

    def entries(
        self,
        matrix: Float[Tensor, "batch arc"],
        origin: Int[Tensor, "batch #scenario plan"],
        to: Int[Tensor, "batch #scenario plan"],
    ) -> Float[Tensor, "batch #scenario plan"]:
        """A matrix's values of arcs."""
        flat = origin * self.num_nodes + to
        return matrix.gather(1, flat.flatten(1)).view(flat.shape)


def matrices(
    instance: Instance,
) -> tuple[Float[Tensor, "batch node node"], Float[Tensor, "batch node node"]]:
    """Distances, and times without delay, in float64."""
    wide = None if instance.coords is None else instance.coords.double()
    # lengths from coordinates in float32 would differ from one device to the next
    distance = distance_matrix(replace(instance, {"coords": wide})).double()
    return distance, distance if instance.duration is None else instance.duration.double()


def require_traffic(instance: Instance) -> Float[Tensor, "batch constant"]:
    """The rows of constants.

    Raises:
        InputError: there are none.
    """
    if instance.traffic is None:
        raise InputError(
            "the instance has no traffic; accepted: instances of svrptw or mdsvrptw, or with "
            "traffic and prices given"
        )
    return instance.traffic


@dataclass(frozen=True, slots=True)
class Leg:
    """One way of each route, and the wait at its end."""

    time: Float[Tensor, "batch scenario plan"]
    arrival: Float[Tensor, "batch scenario plan"]
    start: Float[Tensor, "batch scenario plan"]
    """Of service, when the window is open."""


class Roads(ABC):
    """Travel times by the departure."""

    map: Map

    @property
    @abstractmethod
    def num_scenarios(self) -> int:
        """S."""

    @abstractmethod
    def times(
        self,
        origin: Int[Tensor, "batch #scenario plan"],
        to: Int[Tensor, "batch #scenario plan"],
        clock: Float[Tensor, "batch scenario plan"],
    ) -> Float[Tensor, "batch scenario plan"]:
        """Of ways begun at ``clock``; to stay takes no time."""

    def drive(
        self,
        origin: Int[Tensor, "batch #scenario plan"],
        to: Int[Tensor, "batch #scenario plan"],
        ready: Float[Tensor, "batch scenario plan"],
        opens: Float[Tensor, "batch #scenario plan"],
        fresh: Bool[Tensor, "batch #scenario plan"],
    ) -> Leg:
        """One way of each route.

        Args:
            ready: when the vehicle could leave.
            opens: when the destination's window opens.
            fresh: whether it leaves a depot, for a new route: then it goes in time for the window
                if the roads were free, and not before it is ready.
        """
        free = self.map.entries(self.map.free, origin, to)
        departure = torch.where(fresh, torch.maximum(ready, opens - free), ready)
        time = self.times(origin, to, departure)
        arrival = departure + time
        return Leg(time, arrival, torch.maximum(arrival, opens))


@final
@dataclass(frozen=True)
class MeanRoads(Roads):
    """Every way takes its mean time at its departure: one scenario."""

    map: Map

    @property
    def num_scenarios(self) -> int:
        return 1

    def times(
        self,
        origin: Int[Tensor, "batch #scenario plan"],
        to: Int[Tensor, "batch #scenario plan"],
        clock: Float[Tensor, "batch scenario plan"],
    ) -> Float[Tensor, "batch scenario plan"]:
        distance = self.map.entries(self.map.distance, origin, to)
        loss = self.map.traffic.mean_loss(distance, clock)
        return (self.map.entries(self.map.free, origin, to) + loss) * (origin != to)


@final
@dataclass(frozen=True)
class ScenarioRoads(Roads):
    """Every way takes what it takes in a scenario: its noise is named by the arc."""

    map: Map
    worlds: Worlds
    zone: Int[Tensor, "batch node"] | None
    shared: bool
    """Whether days or zones have a share in the noise."""

    @property
    def num_scenarios(self) -> int:
        return self.worlds.number.shape[1]

    @classmethod
    def of(cls, instance: Instance, scenarios: Scenarios) -> ScenarioRoads:
        """All of the scenarios.

        Raises:
            InputError: the instance has no key or no traffic.
        """
        return cls(Map.of(instance), Worlds.of(scenarios, instance), instance.zone,
                   shares_noise(instance))  # fmt: skip

    def times(
        self,
        origin: Int[Tensor, "batch #scenario plan"],
        to: Int[Tensor, "batch #scenario plan"],
        clock: Float[Tensor, "batch scenario plan"],
    ) -> Float[Tensor, "batch scenario plan"]:
        traffic, arc = self.map.traffic, origin * _ARC + to
        distance = self.map.entries(self.map.distance, origin, to)
        delay = traffic.delay_at(distance, clock, self._normal(arc, to))
        time = self.map.entries(self.map.free, origin, to) + delay + self._accidents(arc, clock)
        return time * (origin != to)

    def _normal(
        self, arc: Int[Tensor, "batch #scenario plan"], to: Int[Tensor, "batch #scenario plan"]
    ) -> Float[Tensor, "batch scenario plan"]:
        """Standard normal; of each instance, scenario and arc, whenever it is used."""
        own = self.worlds.normals(Stream.TRAVEL_ARC, arc)
        if not self.shared:
            return own
        traffic = self.map.traffic
        zone = torch.zeros_like(to)
        if self.zone is not None:
            zone = self.zone.gather(1, to.flatten(1)).view(to.shape)
        day = self.worlds.normals(Stream.TRAVEL_DAY).unsqueeze(2)
        into = self.worlds.normals(Stream.TRAVEL_ZONE, zone)
        shares = traffic.day_share, traffic.zone_share
        day_part, zone_part = (torch.as_tensor(share).sqrt() for share in shares)
        # 0.5 + 0.5 of float32 may be more than 1
        rest = torch.as_tensor(1 - shares[0] - shares[1]).clamp(min=0).sqrt()
        return day_part * day + zone_part * into + rest * own

    def _accidents(
        self, arc: Int[Tensor, "batch #scenario plan"], clock: Float[Tensor, "batch scenario plan"]
    ) -> Float[Tensor, "batch scenario plan"]:
        """The time that accidents take: as many as the uniform number of the arc says at the rate
        of the departure, the k-th of them always of the same length."""
        traffic = self.map.traffic
        rate = traffic.accident_rate(clock)
        chance = self.worlds.uniforms(Stream.ACCIDENT_COUNT, arc)
        probability = torch.exp(-rate)
        below = probability
        total = torch.zeros_like(rate)
        spread = traffic.longest_accident - traffic.shortest_accident
        for k in range(_MOST_ACCIDENTS):
            happens = chance > below
            if not bool(happens.any()):
                break
            draw = torch.full_like(arc, k)
            share = self.worlds.uniforms(Stream.ACCIDENT_LENGTH, arc, draw)
            total += happens * (traffic.shortest_accident + spread * share)
            probability = probability * rate / (k + 1)
            below = below + probability
        return total


def shares_noise(instance: Instance) -> bool:
    """Whether days or zones have a share in the noise of some instance."""
    traffic = Traffic.of_rows(require_traffic(instance))
    return bool((torch.as_tensor(traffic.day_share + traffic.zone_share) > 0).any())


def mean_matrix(
    instance: Instance, clock: Float[Tensor, "batch #node #node"]
) -> Float[Tensor, "batch node node"]:
    """Mean travel times from row to column for departures at ``clock``."""
    traffic = Traffic.of_rows(require_traffic(instance), 1, 1)
    distance, free = matrices(instance)
    return _off_diagonal(free + traffic.mean_loss(distance, clock))


def quantile_matrix(
    instance: Instance, clock: Float[Tensor, "batch #node #node"], quantile: float
) -> Float[Tensor, "batch node node"]:
    """Travel times where each arc's delay is at its quantile and accidents take their mean time.

    Quantiles of arcs add up to more than the quantile of the sum, unless all noise is shared.
    """
    if not 0 < quantile < 1:
        raise InputError(f"quantile is {quantile}; accepted: a number between 0 and 1")
    traffic = Traffic.of_rows(require_traffic(instance), 1, 1)
    distance, free = matrices(instance)
    normal = float(torch.special.ndtri(torch.tensor(quantile, dtype=torch.float64)))
    delay = traffic.delay_at(distance, clock, normal)
    return _off_diagonal(free + delay + traffic.mean_accidents(clock))


def day_clocks(instance: Instance, count: int) -> Float[Tensor, "clock batch 1 1"]:
    """Departures in the middles of ``count`` equal parts of the time that the first depot is open,
    or of a day where it never closes."""
    opens, closes = instance.time_window[:, 0].double().unbind(1)
    closes = torch.where(closes.isinf(), opens + DAY, closes)
    share = (torch.arange(count, device=opens.device, dtype=torch.float64) + 0.5) / count
    return (opens + (closes - opens) * share.unsqueeze(1)).view(count, -1, 1, 1)


def _off_diagonal(matrix: Float[Tensor, "batch node node"]) -> Float[Tensor, "batch node node"]:
    matrix = matrix.clone()
    matrix.diagonal(dim1=1, dim2=2).zero_()
    return matrix
