"""The resources of goods: deliveries, pickups, and their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import BACKHAULS, CAPACITY, MIXED_BACKHAULS, attributes_by_name
from nco.data.instance import Instance
from nco.envs.environment import Values
from nco.envs.resources import (
    SLACK,
    Move,
    Resource,
    at_most,
    depot_column,
    fresh_at_depots,
    precise_zeros,
)


@final
@dataclass(frozen=True)
class Load(Resource):
    """Goods delivered since the depot; at most the capacity.

    Args:
        slack: of the capacity, for the rounding of sums. With 0 and demands given as fractions in
            float32 the rule is that of Kool et al.'s published code, which forbids some loads
            that are exactly full.
        binding: False where demands are only means and more than the capacity is no matter, since
            a vehicle can return; a policy still sees what is left.
    """

    slack: float = SLACK
    binding: bool = True

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset({CAPACITY})

    @property
    def forbids(self) -> bool:
        return True

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("remaining_capacity",)

    @property
    def neutral_features(self) -> tuple[float, ...]:
        return (1.0,)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("linehaul",)

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return ()

    @property
    def needs_arcs(self) -> bool:
        return False

    def neutral(self, instance: Instance) -> bool:
        return bool(instance.capacity.isinf().all())

    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        demand = fresh_at_depots(instance, instance.linehaul, num_depots)
        limit = (instance.capacity * (1 + self.slack)).view(-1, 1, 1)
        return demand, limit, instance.capacity

    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        return (torch.zeros(depot.shape, dtype=tables[0].dtype, device=depot.device),)

    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        return ((used[0] + move.node(tables[0])).clamp_(min=0),)

    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        if not self.binding:
            return torch.ones_like(values[0], dtype=torch.bool)
        return at_most(values[0], tables[1])

    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        # an unlimited vehicle is always empty: 1 - used / inf
        return (1 - used[0] / tables[2].unsqueeze(1)).unsqueeze(2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return (instance.linehaul / instance.capacity.unsqueeze(1)).unsqueeze(2)


@final
@dataclass(frozen=True)
class BackhaulLoad(Resource):
    """Deliveries and pickups in one vehicle: the largest load on any part of the route.

    Two values: the peak load P, and the goods U picked up so far. A delivery q was on board from
    the depot on, so it raises every earlier load: P <- P + q. A pickup p: U <- U + p,
    P <- max(P, U). P never exceeds the capacity. Where all deliveries come first (`Precedence`)
    that is the usual pair of counters, each within the capacity. Where no instance of a batch has
    pickups there is only P.

    Args:
        mixed: whether instances may have mixed backhauls; without, only beside `Precedence`.
    """

    mixed: bool = True

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset({CAPACITY, *((MIXED_BACKHAULS,) if self.mixed else ())})

    @property
    def forbids(self) -> bool:
        return True

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("remaining_capacity", "remaining_pickup_capacity")

    @property
    def neutral_features(self) -> tuple[float, ...]:
        return (1.0, 1.0)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("linehaul", "backhaul", *self.depot_feature_names)

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return ("mixed_backhaul",) if self.mixed else ()

    @property
    def needs_arcs(self) -> bool:
        return False

    def neutral(self, instance: Instance) -> bool:
        return bool(instance.capacity.isinf().all())

    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        capacity = instance.capacity
        limit = (capacity * (1 + SLACK)).view(-1, 1, 1)
        tables = (fresh_at_depots(instance, instance.linehaul, num_depots), limit, capacity)
        if not bool((instance.backhaul > 0).any()):
            return tables
        return *tables, fresh_at_depots(instance, instance.backhaul, num_depots)

    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        zero = precise_zeros(depot)
        return (zero, zero) if len(tables) == 4 else (zero,)

    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        peak = used[0] + move.node(tables[0])
        if len(tables) == 3:
            return (peak.clamp_(min=0),)
        picked = (used[1] + move.node(tables[3])).clamp_(min=0)
        return torch.maximum(peak, picked, out=peak), picked

    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        return at_most(values[0], tables[1])

    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        left = 1 - torch.stack(used, 2) / tables[2].view(-1, 1, 1)
        if len(used) == 2:
            return left
        return torch.cat((left, torch.ones_like(left)), 2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        goods = torch.stack((instance.linehaul, instance.backhaul), 2)
        shares = goods / instance.capacity.view(-1, 1, 1)
        if not self.mixed:
            return shares
        mixed = attributes_by_name(instance)[MIXED_BACKHAULS]
        flag = depot_column(instance, mixed.to(goods.dtype))
        return torch.cat((shares, flag), 2)


@final
@dataclass(frozen=True)
class Precedence(Resource):
    """Classical backhauls: no delivery after a pickup; routes of pickups only are allowed.

    The value counts pickups since the depot. Instances with mixed backhauls are free of it.
    """

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset({BACKHAULS})

    @property
    def forbids(self) -> bool:
        return True

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("deliveries_over",)

    @property
    def neutral_features(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ()

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return ()

    @property
    def needs_arcs(self) -> bool:
        return False

    def neutral(self, instance: Instance) -> bool:
        return not bool((_classical(instance) & (instance.backhaul > 0)).any())

    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        pickup = ((instance.backhaul > 0) & _classical(instance)).to(instance.dtype)
        # a customer with both counts its own pickup
        most = pickup.masked_fill((instance.linehaul == 0) | ~_classical(instance), torch.inf)
        return fresh_at_depots(instance, pickup, num_depots), most

    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        return (torch.zeros(depot.shape, dtype=tables[0].dtype, device=depot.device),)

    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        return ((used[0] + move.node(tables[0])).clamp_(min=0),)

    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        return at_most(values[0], move.node(tables[1]))

    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        return used[0].clamp(max=1).unsqueeze(2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return instance.linehaul.new_zeros(*instance.valid.shape, 0)


def _classical(instance: Instance) -> Bool[Tensor, "batch 1"]:
    return ~instance.mixed_backhaul.unsqueeze(1)
