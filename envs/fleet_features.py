"""What a policy may see of vehicles that differ.

Axes: B instances, K states of each, M vehicles, N nodes.

Of an instance (`FleetFeatures`): its nodes as in `nco.envs.environment.NodeFeatures`, the columns
`VEHICLE_FEATURES` of each vehicle, and for each vehicle and node the profile and whether the
vehicle may serve it. Of a state (`FleetView`): where each vehicle is, the columns `STATE_FEATURES`,
and the mask. All without units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.fleet import Fleet, missed_preference
from nco.data.instance import Instance, distance_matrix, duration_matrix
from nco.envs.environment import (
    NodeFeatures,
    Observation,
    coordinate_columns,
    unit_length,
    unit_time,
)
from nco.envs.fleet_rules import Tables, Values, require_fleet

NODE_FEATURES = ("x", "y", "linehaul", "service_time")
"""Demands are in mean capacities, service in the time that the side of the square takes at speed 1
(`unit_time`)."""
VEHICLE_FEATURES = (
    "home_x",
    "home_y",
    "capacity",
    "speed",
    "inverse_shift",
    "fixed_cost",
    "distance_cost",
    "time_weight",
    "preference_weight",
    "min_max",
)
"""Capacities are in their mean; costs in what a unit of time and a whole profile cost together,
weights as parts of that; the last three are the same for all vehicles of an instance."""
STATE_FEATURES = (
    "place",
    "away",
    "remaining_capacity",
    "clock",
    "remaining_shift",
    "time_home",
    "left",
)
"""Of each vehicle. ``place`` is the index of its node, for `FleetView`, and no feature. Times are
in `unit_time`; remaining_capacity and remaining_shift are parts of the whole; ``left`` is the part
of the customers that is not served yet."""


@dataclass(frozen=True, slots=True)
class FleetFeatures:
    """What a policy may see of an instance with a fleet, in float32."""

    nodes: NodeFeatures
    """With the columns `NODE_FEATURES`."""
    vehicles: Float[Tensor, "batch vehicle feature"]
    """With the columns `VEHICLE_FEATURES`; 0 for padding."""
    profile: Float[Tensor, "batch vehicle node"]
    """0 at depots and for padding."""
    price: Float[Tensor, "batch vehicle node"]
    """What the preference missed costs if the vehicle serves the node, in what a unit of time and a
    whole profile cost together; 0 at depots and for padding."""
    ways: Float[Tensor, "batch vehicle from to"]
    """What the way costs the vehicle, its time and distance, in the same unit; 0 for padding."""
    serves: Bool[Tensor, "batch vehicle node"]
    """Customers that a vehicle is allowed to serve and can load."""
    home: Int[Tensor, "batch vehicle"]
    """The node of each vehicle's depot."""
    valid: Bool[Tensor, "batch vehicle"]
    """False for padding."""


class FleetView(NamedTuple):
    """What a policy may see of K states of each instance."""

    place: Int[Tensor, "batch state vehicle"]
    """The node where each vehicle is."""
    features: Float[Tensor, "batch state vehicle feature"]
    """With the columns of `STATE_FEATURES` but the first."""
    mask: Bool[Tensor, "batch state vehicle node"]
    """Where each vehicle may go; where it is, if it may wait (the parallel environment only). All
    False for a padded vehicle, and in the sequential one for others too."""


def view_of(observation: Observation) -> FleetView:
    """An observation of a fleet's environment, unpacked."""
    b, k, packed = observation.features.shape
    m = packed // len(STATE_FEATURES)
    columns = observation.features.view(b, k, m, len(STATE_FEATURES))
    return FleetView(
        place=columns[..., 0].long(),
        features=columns[..., 1:],
        mask=observation.mask.view(b, k, m, -1),
    )


def time_unit(instance: Instance) -> Float[Tensor, " batch"]:
    """`unit_time`, or 1 where nothing takes any time."""
    unit = unit_time(instance)
    return unit.masked_fill(unit == 0, 1)


def load_unit(instance: Instance) -> Float[Tensor, " batch"]:
    """The mean capacity of an instance's vehicles; of one that could load all at once, all."""
    fleet = require_fleet(instance)
    most = instance.linehaul.sum(1, keepdim=True)
    loads = torch.minimum(fleet.capacity, most).masked_fill(~fleet.valid, 0)
    mean = loads.sum(1) / fleet.valid.sum(1)
    return mean.masked_fill(mean == 0, 1)


def node_columns(instance: Instance) -> Float[Tensor, "batch node feature"]:
    """The columns `NODE_FEATURES`."""
    unit = time_unit(instance).view(-1, 1, 1)
    return torch.cat(
        (
            coordinate_columns(instance),
            instance.linehaul.unsqueeze(2) / load_unit(instance).view(-1, 1, 1),
            instance.service_time.unsqueeze(2) / unit,
        ),
        2,
    ).float()


def fleet_features(
    instance: Instance, nodes: NodeFeatures, serves: Bool[Tensor, "batch vehicle node"]
) -> FleetFeatures:
    """What a policy sees of an instance, given what it sees of the nodes."""
    fleet = require_fleet(instance)
    unit = time_unit(instance)
    scale = fleet.time_weight * unit + fleet.preference_weight
    price = scale.masked_fill(scale == 0, 1)
    most = instance.linehaul.sum(1, keepdim=True)
    home = fleet.depot.unsqueeze(2).expand(-1, -1, 2)
    own = (
        torch.minimum(fleet.capacity, most) / load_unit(instance).unsqueeze(1),
        fleet.speed,
        unit.unsqueeze(1) / fleet.shift,
        fleet.fixed_cost / price.unsqueeze(1),
        fleet.distance_cost * (unit_length(instance) / price).unsqueeze(1),
    )
    common = (
        fleet.time_weight * unit / price,
        fleet.preference_weight / price,
        fleet.min_max.to(price.dtype),
    )
    columns = torch.cat(
        (
            coordinate_columns(instance).gather(1, home),
            torch.stack(own, 2),
            torch.stack(common, 1).unsqueeze(1).expand(-1, fleet.num_vehicles, -1),
        ),
        2,
    )
    customer = ~nodes.depot & nodes.valid
    pair = fleet.valid.unsqueeze(2) & customer.unsqueeze(1)
    return FleetFeatures(
        nodes=nodes,
        vehicles=columns.masked_fill(~fleet.valid.unsqueeze(2), 0).float(),
        profile=fleet.profile.masked_fill(~pair, 0).float(),
        price=(common[1].view(-1, 1, 1) * missed_preference(fleet)).masked_fill(~pair, 0).float(),
        ways=ways(instance, fleet, price).float(),
        serves=serves,
        home=fleet.depot,
        valid=fleet.valid,
    )


def ways(
    instance: Instance, fleet: Fleet, price: Float[Tensor, " batch"]
) -> Float[Tensor, "batch vehicle from to"]:
    """`FleetFeatures.ways`, given the unit."""
    real = instance.valid.unsqueeze(2) & instance.valid.unsqueeze(1)
    # the way to padding may be anything but finite
    time = duration_matrix(instance).masked_fill(~real, 0).unsqueeze(1)
    of_time = fleet.time_weight.unsqueeze(1) / fleet.speed / price.unsqueeze(1)
    found = of_time[:, :, None, None] * time
    if bool((fleet.distance_cost != 0).any()):
        length = distance_matrix(instance).masked_fill(~real, 0).unsqueeze(1)
        found = found + (fleet.distance_cost / price.unsqueeze(1))[:, :, None, None] * length
    return found.masked_fill(~fleet.valid[:, :, None, None], 0)


def state_columns(
    instance: Instance,
    tables: Tables,
    values: Values,
    left: Float[Tensor, "batch trajectory"],
) -> Float[Tensor, "batch trajectory vehicle feature"]:
    """The columns `STATE_FEATURES`."""
    shift = require_fleet(instance).shift
    unit = time_unit(instance).view(-1, 1, 1)
    depot = tables.depot.unsqueeze(1).expand_as(values.place)
    home = travel_home(tables, values.place)
    endless = tables.capacity.isinf().unsqueeze(1)
    part = (values.load / tables.capacity.unsqueeze(1)).masked_fill(endless, 0)
    columns = (
        values.place,
        values.place != depot,
        1 - part.nan_to_num(),
        values.clock / unit,
        1 - values.clock / shift.unsqueeze(1),
        home / unit,
        left.unsqueeze(2).expand_as(values.place),
    )
    return torch.stack([column.float() for column in columns], 3)


def travel_home(
    tables: Tables, place: Int[Tensor, "batch trajectory vehicle"]
) -> Float[Tensor, "batch trajectory vehicle"]:
    """From where each vehicle is to its depot."""
    b, s, m = place.shape
    n = tables.duration.shape[2]
    arcs = place * n + tables.depot.unsqueeze(1)
    way = tables.duration.reshape(b, n * n).gather(1, arcs.view(b, s * m)).view(b, s, m)
    return way / tables.speed.unsqueeze(1)
