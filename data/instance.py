"""The one schema for node-routing problems.

Axes: B instances, N nodes (depots first, then customers, then padding). Every attribute has a
neutral default, so one batch can mix variants and sizes. A mask is True where allowed.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Bool, Float
from tensordict import TensorClass
from torch import Tensor

from nco.data.arrays import as_tensor, common_float, for_all
from nco.data.dispatch_rules import DISPATCH, DispatchRules
from nco.data.errors import InputError
from nco.data.fleet import Fleet, fleet_with_dtype, validate_fleet
from nco.data.kinds import DemandLaw, Kind
from nco.data.prices import PRICES, Prices
from nco.data.refusal import refuse
from nco.data.rounding import Rounding, round_lengths
from nco.data.traffic import CONSTANTS, Traffic

UNLIMITED = 2**31 - 1
"""The neutral fleet size: more vehicles than any instance has customers."""


class Instance(TensorClass):
    """A batch of routing instances. Build it with `Instance.tsp` or `Instance.vrp`.

    Units: lengths are in the unit of the coordinates (or of ``distance``), times in the unit of
    ``duration`` (equal to lengths where no duration is given: speed 1), loads in the unit of
    ``capacity``. With a ``fleet``, capacities and numbers of vehicles are the fleet's. All
    floating-point fields share one dtype. A TSP has ``num_depots`` 0.
    Fields are immutable by convention.
    """

    linehaul: Tensor  # [B, N] delivered to the customer
    backhaul: Tensor  # [B, N] picked up at the customer
    mixed_backhaul: Tensor  # [B] bool; True: pickups and deliveries in any order
    capacity: Tensor  # [B] of every vehicle; inf where there is none
    time_window: Tensor  # [B, N, 2] earliest and latest start of service
    service_time: Tensor  # [B, N]
    distance_limit: Tensor  # [B] of one route
    open_route: Tensor  # [B] bool; True: a route ends at its last customer
    num_depots: Tensor  # [B] int64; 0 for a TSP
    num_vehicles: Tensor  # [B] int64; UNLIMITED where there is no limit
    valid: Tensor  # [B, N] bool; False for padding
    rounding: Tensor  # [B] int64, a Rounding; of lengths that come from coordinates
    coords: Tensor | None = None  # [B, N, 2]
    distance: Tensor | None = None  # [B, N, N], row to column; the truth where it is given
    duration: Tensor | None = None  # [B, N, N]; equal to the distances where it is not given
    key: Tensor | None = None  # [B] int64; names the noise of an instance, see `nco.data.noise`
    fleet: Fleet | None = None  # vehicles that differ, and their objective (a profiled VRP)
    presence: Tensor | None = None  # [B, N] probability that a customer asks; depots 1; None is 1
    # Traffic by the time of day, and windows that are soft, at a price: both or none
    traffic: Tensor | None = None  # [B, K] as `nco.data.traffic.CONSTANTS`
    prices: Tensor | None = None  # [B, 6] as `nco.data.prices.PRICES`
    zone: Tensor | None = None  # [B, N] int64; ways into a zone share noise; None is one zone
    kind: Tensor | None = None  # [B, N] int64, a `Kind`; which law a window was drawn from
    # A tour collects prizes and pays the penalties of customers left out: all three or none
    prize: Tensor | None = None  # [B, N]; expected, where noise decides on the realised one
    penalty: Tensor | None = None  # [B, N] in the unit of lengths
    min_prize: Tensor | None = None  # [B] what a tour must collect, unless it visits all
    realised_prize: Tensor | None = None  # [B, N] what all test scenarios find, where published
    # Demands with the mean ``linehaul``, see `nco.data.demand_laws`: all four or none
    demand_law: Tensor | None = None  # [B] int64, a DemandLaw
    demand_spread: Tensor | None = None  # [B, N] the law's second parameter
    demand_correlation: Tensor | None = None  # [B] of demands with each other, below 1
    restocking: Tensor | None = None  # [B] bool; a vehicle may turn back before it is empty
    # Customers are what requests of a day are drawn from, see `nco.data.request_stream`
    dispatch: Tensor | None = None  # [B, 4] as `nco.data.dispatch_rules.DISPATCH`

    def __post_init__(self) -> None:
        b, n = self.batch_size, self.valid.shape[-1]
        expected = {
            "linehaul": (*b, n),
            "backhaul": (*b, n),
            "time_window": (*b, n, 2),
            "service_time": (*b, n),
            "coords": (*b, n, 2),
            "distance": (*b, n, n),
            "duration": (*b, n, n),
            "key": tuple(b),
            "presence": (*b, n),
            "traffic": (*b, len(CONSTANTS)),
            "prices": (*b, len(PRICES)),
            "zone": (*b, n),
            "kind": (*b, n),
            "prize": (*b, n),
            "penalty": (*b, n),
            "min_prize": tuple(b),
            "realised_prize": (*b, n),
            "demand_law": tuple(b),
            "demand_spread": (*b, n),
            "demand_correlation": tuple(b),
            "restocking": tuple(b),
            "dispatch": (*b, len(DISPATCH)),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != tuple(shape):
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}; accepted is {tuple(shape)}, "
                    f"for batch {tuple(b)} and {n} nodes"
                )
        if self.coords is None and self.distance is None:
            raise InputError("an instance needs coords or a distance matrix; neither is given")
        if self.fleet is not None and self.fleet.profile.shape[::2] != (*b, n):
            raise InputError(
                f"the fleet is for batch {tuple(self.fleet.batch_size)} and "
                f"{self.fleet.profile.shape[-1]} nodes; accepted is batch {tuple(b)} and {n} nodes"
            )
        if (self.traffic is None) != (self.prices is None):
            raise InputError("traffic and prices are not both given; accepted: both, or none")
        given_together(self, PRIZE_FIELDS)
        if self.realised_prize is not None and self.prize is None:
            raise InputError("realised_prize is given without prize; accepted: both, or none")
        given_together(self, DEMAND_FIELDS)

    @property
    def num_nodes(self) -> int:
        """Nodes of the batch, depots and padding included."""
        return self.valid.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of every floating-point field."""
        return self.capacity.dtype

    @classmethod
    def tsp(
        cls,
        *,
        coords: Any = None,
        distance: Any = None,
        duration: Any = None,
        rounding: Rounding = Rounding.NONE,
        presence: Any = None,
        key: Any = None,
    ) -> Instance:
        """Build and validate a TSP, symmetric or not.

        Args:
            coords: ``[N, 2]`` or ``[B, N, 2]``, torch, numpy or lists.
            distance: ``[N, N]`` or ``[B, N, N]`` from row to column.
            duration: likewise, where ``distance`` is given; no cost, but policies may read it.
            rounding: of the Euclidean lengths; must be NONE where ``distance`` is given.
            presence: ``[N]`` or ``[B, N]``, the probability of each node.
            key: names the noise.

        Raises:
            InputError: a value is missing, misshapen, NaN, negative or infinite.
        """
        return cls.vrp(
            coords=coords,
            distance=distance,
            duration=duration,
            num_depots=0,
            rounding=rounding,
            presence=presence,
            key=key,
        )

    @classmethod
    def vrp(
        cls,
        *,
        coords: Any = None,
        distance: Any = None,
        duration: Any = None,
        demand: Any = None,
        backhaul: Any = None,
        mixed_backhaul: Any = False,
        capacity: Any = None,
        time_window: Any = None,
        service_time: Any = None,
        distance_limit: Any = None,
        open_route: Any = False,
        num_depots: int = 1,
        num_vehicles: Any = None,
        rounding: Rounding = Rounding.NONE,
        key: Any = None,
        fleet: Fleet | None = None,
        presence: Any = None,
        traffic: Any = None,
        prices: Any = None,
        zone: Any = None,
        kind: Any = None,
        prize: Any = None,
        penalty: Any = None,
        min_prize: Any = None,
        realised_prize: Any = None,
        demand_law: Any = None,
        demand_spread: Any = None,
        demand_correlation: Any = None,
        restocking: Any = None,
        dispatch: Any = None,
    ) -> Instance:
        """Build and validate a vehicle routing instance; what is not given is neutral.

        Per-node values are given for all nodes, depots first (their demand is 0); without a batch
        dimension one instance is built. See `Instance` for shapes and units.

        Raises:
            InputError: a value is missing, misshapen, NaN, negative or beyond a limit.
        """
        if coords is None and distance is None:
            raise InputError("an instance needs coords or a distance matrix; neither is given")
        dtype = common_float(coords, distance)
        lead = as_tensor("coords" if distance is None else "distance",
                       coords if distance is None else distance, dtype)  # fmt: skip
        if lead.dim() not in (2, 3):
            raise InputError(
                f"coords or distance has {lead.dim()} dimensions; accepted are [N, 2] or [B, N, 2] "
                "coords, [N, N] or [B, N, N] distances"
            )
        batched = lead.dim() == 3
        b, n = (lead.shape[0], lead.shape[1]) if batched else (1, lead.shape[0])

        def full(name: str, value: Any, default: float, *shape: int) -> Tensor:
            if value is None:
                return torch.full((b, *shape), default, dtype=dtype, device=lead.device)
            return for_all(name, as_tensor(name, value, dtype).to(lead.device), (b, *shape))

        def optional(name: str, value: Any, *shape: int) -> Tensor | None:
            return None if value is None else full(name, value, 0.0, *shape)

        def flag(name: str, value: Any) -> Tensor:
            return for_all(name, as_tensor(name, value, torch.bool).to(lead.device), (b,))

        def count(value: Any, name: str, *shape: int) -> Tensor:
            return for_all(name, as_tensor(name, value, torch.int64).to(lead.device), (b, *shape))

        if duration is not None and distance is None:
            raise InputError("duration is given without distance; give both matrices")
        if distance is not None and rounding != Rounding.NONE:
            raise InputError(
                f"rounding {rounding.name} is given with a distance matrix; a matrix is never "
                "rounded, accepted is NONE"
            )
        window = full("time_window", time_window, 0.0, n, 2)
        if time_window is None:
            window[..., 1] = torch.inf
        instance = Instance(
            coords=optional("coords", coords, n, 2),
            distance=optional("distance", distance, n, n),
            duration=optional("duration", duration, n, n),
            linehaul=full("demand", demand, 0.0, n),
            backhaul=full("backhaul", backhaul, 0.0, n),
            mixed_backhaul=flag("mixed_backhaul", mixed_backhaul),
            capacity=full("capacity", capacity, torch.inf),
            time_window=window,
            service_time=full("service_time", service_time, 0.0, n),
            distance_limit=full("distance_limit", distance_limit, torch.inf),
            open_route=flag("open_route", open_route),
            num_depots=count(num_depots, "num_depots"),
            num_vehicles=count(UNLIMITED if num_vehicles is None else num_vehicles, "num_vehicles"),
            valid=torch.ones(b, n, dtype=torch.bool, device=lead.device),
            rounding=count(int(rounding), "rounding"),
            key=None if key is None else count(key, "key"),
            fleet=fleet if fleet is None else fleet_with_dtype(fleet, dtype),
            presence=None if presence is None else full("presence", presence, 1.0, n),
            traffic=None if traffic is None else full("traffic", traffic, 0.0, len(CONSTANTS)),
            prices=None if prices is None else full("prices", prices, 0.0, len(PRICES)),
            zone=None if zone is None else count(zone, "zone", n),
            kind=None if kind is None else count(kind, "kind", n),
            prize=optional("prize", prize, n),
            penalty=optional("penalty", penalty, n),
            min_prize=optional("min_prize", min_prize),
            realised_prize=optional("realised_prize", realised_prize, n),
            demand_law=None if demand_law is None else count(demand_law, "demand_law"),
            demand_spread=optional("demand_spread", demand_spread, n),
            demand_correlation=optional("demand_correlation", demand_correlation),
            restocking=None if restocking is None else flag("restocking", restocking),
            dispatch=optional("dispatch", dispatch, len(DISPATCH)),
            batch_size=[b],
        )
        validate(instance)
        return instance


def validate(instance: Instance) -> None:
    """Raise `InputError` at the first value that no solver could make sense of.

    Checked: finite coordinates and matrices, zero diagonals, non-negative lengths, times and
    demands, no demand at depots, no single demand above the capacity, ordered windows,
    probabilities, a known rounding, at least one node to visit.
    """
    real = instance.valid
    pair = real.unsqueeze(2) & real.unsqueeze(1)
    if instance.coords is not None:
        coords = instance.coords
        refuse("coords", ~coords.isfinite() & real.unsqueeze(-1), coords, "finite numbers")
    for name, matrix in (("distance", instance.distance), ("duration", instance.duration)):
        if matrix is None:
            continue
        bad = (~matrix.isfinite() | (matrix < 0)) & pair
        refuse(name, bad, matrix, "finite numbers of at least 0")
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        refuse(f"{name} to itself", (diagonal != 0) & real, diagonal, "0")
    for name in (*AT_CUSTOMERS, "service_time"):
        value = getattr(instance, name)
        if value is None:
            continue
        bad = (~value.isfinite() | (value < 0)) & real
        shown = "demand" if name == "linehaul" else name
        refuse(shown, bad, value, "finite numbers of at least 0")
    for name in ("capacity", "distance_limit"):
        value = getattr(instance, name)
        refuse(name, ~(value > 0), value, "a number above 0")
    if instance.min_prize is not None:
        bad = ~instance.min_prize.isfinite() | (instance.min_prize < 0)
        refuse("min_prize", bad, instance.min_prize, "a finite number of at least 0")
    if instance.demand_law is not None and instance.demand_correlation is not None:
        law, tied = instance.demand_law, instance.demand_correlation
        known = ", ".join(f"{kind.value} ({kind.name})" for kind in DemandLaw)
        refuse("demand_law", (law < 1) | (law > len(DemandLaw)), law, known)
        refuse("demand_correlation", ~((tied >= 0) & (tied < 1)), tied, "0 to below 1")
        whole = (instance.capacity <= MOST_LOAD) & (instance.capacity.frac() == 0)
        refuse("capacity (with uncertain demands)", ~whole, instance.capacity,
                f"a whole number up to {MOST_LOAD}")  # fmt: skip
    for name in AT_CUSTOMERS:
        value = getattr(instance, name)
        if value is None:
            continue
        shown = "demand" if name == "linehaul" else name
        at_depot = is_depot(instance) & (value != 0)
        refuse(f"{shown} (a depot's)", at_depot, value, "0")
    for name in ("linehaul", "backhaul"):
        value = getattr(instance, name)
        shown = "demand" if name == "linehaul" else name
        above = value > instance.capacity.unsqueeze(1)
        limit = instance.capacity[above.any(1)]
        told = f"at most the capacity, {limit[0].item():g}" if len(limit) else ""
        refuse(shown, above, value, told)
    window = instance.time_window
    early, late = window.unbind(-1)
    bad = early.isnan() | late.isnan() | (early < 0) | early.isinf() | (late < early)
    refuse("time_window", bad & real, window, "0 <= early <= late, early finite")
    refuse("num_vehicles", instance.num_vehicles < 1, instance.num_vehicles, "at least 1")
    if instance.presence is not None:
        presence = instance.presence
        refuse("presence", ~((presence >= 0) & (presence <= 1)) & real, presence, "0 to 1")
        refuse("presence (a depot's)", is_depot(instance) & (presence != 1), presence, "1")
    nodes = real.sum(1)
    refuse("num_depots", (instance.num_depots < 0) | (instance.num_depots >= nodes),
            instance.num_depots, "0 (a TSP) up to one less than the nodes")  # fmt: skip
    for name, named in (("traffic", Traffic), ("prices", Prices)):
        value = getattr(instance, name)
        for row in [] if value is None else value.unique(dim=0).tolist():
            named(*row)
    for name, most in (("zone", 2**31), ("kind", max(Kind))):
        value = getattr(instance, name)
        if value is not None:
            refuse(name, (value < 0) | (value > most), value, f"0 to {int(most)}")
    known = instance.rounding.new_tensor([r.value for r in Rounding])
    refuse("rounding", ~torch.isin(instance.rounding, known), instance.rounding,
            ", ".join(f"{r.value} ({r.name})" for r in Rounding))  # fmt: skip
    if instance.dispatch is not None:
        for row in instance.dispatch.double().unique(dim=0).tolist():
            DispatchRules.of_row(row)
        refuse("num_depots (with dispatch)", instance.num_depots != 1, instance.num_depots, "1")
        closes = instance.time_window[:, 0, 1]
        refuse("the depot's closing time (with dispatch)", closes.isinf(), closes, "a finite one")
    if instance.fleet is not None:
        _validate_with_fleet(instance, instance.fleet)


def _validate_with_fleet(instance: Instance, fleet: Fleet) -> None:
    """A fleet says itself what its vehicles can, and is for deliveries within its shifts only."""
    window = (instance.time_window[..., 0] > 0) | instance.time_window[..., 1].isfinite()
    kinds = (
        ("capacity", instance.capacity.isfinite(), instance.capacity, "inf: the fleet has its own"),
        ("distance_limit", instance.distance_limit.isfinite(), instance.distance_limit,
         "inf: the fleet has shifts"),
        ("num_vehicles", instance.num_vehicles != UNLIMITED, instance.num_vehicles,
         "none: the fleet says how many"),
        ("open_route", instance.open_route, instance.open_route, "false with a fleet"),
        ("backhaul", (instance.backhaul > 0) & instance.valid, instance.backhaul, "0 with a fleet"),
        ("time_window", window & instance.valid, instance.time_window, "[0, inf] with a fleet"),
        ("num_depots", instance.num_depots < 1, instance.num_depots, "at least 1 with a fleet"),
    )  # fmt: skip
    for name, bad, value, accepted in kinds:
        refuse(name, bad, value, accepted)
    validate_fleet(fleet, instance.num_depots, instance.linehaul, is_customer(instance))


def is_depot(instance: Instance) -> Bool[Tensor, "batch node"]:
    """True at depots."""
    index = torch.arange(instance.num_nodes, device=instance.valid.device)
    return index < instance.num_depots.unsqueeze(1)


def is_customer(instance: Instance) -> Bool[Tensor, "batch node"]:
    """True at nodes that must be visited: all real nodes but the depots."""
    return instance.valid & ~is_depot(instance)


def distance_matrix(instance: Instance) -> Float[Tensor, "batch from to"]:
    """Arc lengths from row to column, rounded as the instance says.

    Computed from coordinate differences, never by the expansion of the squared norm, which loses
    half of the digits.
    """
    if instance.distance is not None:
        return instance.distance
    coords = instance.coords
    if coords is None:
        raise InputError("an instance needs coords or a distance matrix; neither is given")
    x, y = coords.unbind(-1)
    dx = x.unsqueeze(2) - x.unsqueeze(1)
    dy = y.unsqueeze(2) - y.unsqueeze(1)
    return round_lengths((dx * dx + dy * dy).sqrt(), instance.rounding)


def duration_matrix(instance: Instance) -> Float[Tensor, "batch from to"]:
    """Travel times from row to column; the distances where no durations are given (speed 1)."""
    return distance_matrix(instance) if instance.duration is None else instance.duration


FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Instance))
"""The names of the fields of an `Instance`."""
DEMAND_FIELDS = ("demand_law", "demand_spread", "demand_correlation", "restocking")
"""Of a problem whose demands are seen on arrival; an instance has all of them or none."""
MOST_LOAD = 1000
"""The largest capacity where demands are uncertain: tables have a column for each load."""
AT_CUSTOMERS = ("linehaul", "backhaul", "prize", "penalty", "realised_prize", "demand_spread")
"""0 at depots, where they are given at all."""
PRIZE_FIELDS = ("prize", "penalty", "min_prize")
"""Of a problem whose customers need not all be visited; an instance has all of them or none."""


def given_together(instance: Instance, names: tuple[str, ...]) -> None:
    """Raise `InputError` where some of these fields are given and others are not."""
    missing = [name for name in names if getattr(instance, name) is None]
    if 0 < len(missing) < len(names):
        raise InputError(
            f"{' and '.join(missing)} is missing; accepted: all of {', '.join(names)}, or none"
        )
