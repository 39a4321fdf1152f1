"""The resources of travel: time windows and the distance limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import DISTANCE_LIMIT, TIME_WINDOWS
from nco.data.instance import Instance, distance_matrix, duration_matrix, is_depot
from nco.envs.environment import Values, unit_length, unit_time
from nco.envs.resources import (
    SLACK,
    Move,
    Resource,
    at_most,
    depot_column,
    fresh_at_depots,
    precise_zeros,
)

WINDOW_FEATURES = ("window_start", "window_end", "service_time", "inverse_horizon")
"""The columns of `window_features`."""
WINDOW_DEPOT_FEATURES = ("window_start", "window_end", "inverse_horizon")
"""Those that mean something at a depot."""


def _way_home(
    instance: Instance, matrix: Float[Tensor, "batch from to"], num_depots: int
) -> Float[Tensor, "batch depot node"]:
    """What the way from each node to each depot takes, in float64; nothing for an open route."""
    home = matrix[:, :, :num_depots].mT.double().contiguous()
    return home.masked_fill(instance.open_route.view(-1, 1, 1), 0)


@final
@dataclass(frozen=True)
class Time(Resource):
    """Time windows: the value is the start of service where the vehicle stands.

    A vehicle leaves its depot when that opens, waits where it is early, and starts service before
    the window closes; a closed route is back before its depot closes.
    """

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset({TIME_WINDOWS})

    @property
    def forbids(self) -> bool:
        return True

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("service_start",)

    @property
    def neutral_features(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return WINDOW_FEATURES

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return WINDOW_DEPOT_FEATURES

    @property
    def needs_arcs(self) -> bool:
        return True

    def neutral(self, instance: Instance) -> bool:
        return bool(horizon(instance).isinf().all())

    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        durations = duration_matrix(instance)
        early, late = instance.time_window.movedim(2, 0).contiguous()
        service = instance.service_time
        closes = (late[:, :num_depots].double() * (1 + SLACK)).unsqueeze(2)
        back = closes - service.double().unsqueeze(1) - _way_home(instance, durations, num_depots)
        back = back.masked_fill(instance.open_route.view(-1, 1, 1), torch.inf)
        latest = torch.minimum(late.double().unsqueeze(1) * (1 + SLACK), back)
        # a depot has no service
        service = service.masked_fill(is_depot(instance), 0)
        travel = fresh_at_depots(instance, durations + service.unsqueeze(2), num_depots)
        return travel, early, latest.to(early.dtype), horizon(instance)

    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        return (tables[1].gather(1, depot).double(),)

    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        arrival = used[0] + move.arc(tables[0])
        return (torch.maximum(arrival, move.node(tables[1]), out=arrival),)

    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        return at_most(values[0], move.from_home(tables[2]))

    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        return (used[0] / tables[3].unsqueeze(1)).unsqueeze(2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return window_features(instance)


@final
@dataclass(frozen=True)
class Distance(Resource):
    """The distance limit of a route; the value is the distance driven since the depot."""

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset({DISTANCE_LIMIT})

    @property
    def forbids(self) -> bool:
        return True

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("remaining_distance",)

    @property
    def neutral_features(self) -> tuple[float, ...]:
        return (1.0,)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return ("inverse_limit",)

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return ("inverse_limit",)

    @property
    def needs_arcs(self) -> bool:
        return True

    def neutral(self, instance: Instance) -> bool:
        return bool(instance.distance_limit.isinf().all())

    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        distances = distance_matrix(instance)
        limit = instance.distance_limit
        most = (limit.double() * (1 + SLACK)).view(-1, 1, 1)
        most = most - _way_home(instance, distances, num_depots)
        driven = fresh_at_depots(instance, distances, num_depots)
        return driven, most.to(limit.dtype), limit

    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        return (precise_zeros(depot),)

    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        return ((used[0] + move.arc(tables[0])).clamp_(min=0),)

    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        return at_most(values[0], move.from_home(tables[1]))

    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        return (1 - used[0] / tables[2].unsqueeze(1)).unsqueeze(2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return depot_column(instance, unit_length(instance) / instance.distance_limit)


def horizon(instance: Instance) -> Float[Tensor, " batch"]:
    """The last end of a window; inf where there are none."""
    late = instance.time_window[:, :, 1]
    known = late.masked_fill(late.isinf() | ~instance.valid, -torch.inf).amax(1)
    return known.masked_fill(known.isinf(), torch.inf)


def window_features(instance: Instance) -> Float[Tensor, "batch node 4"]:
    """Windows and services as shares of the horizon, and how many units of time it has, inverted;
    a node without a window is open until the horizon, and without a horizon all is 0."""
    last = horizon(instance)
    times = torch.cat((instance.time_window, instance.service_time.unsqueeze(2)), 2)
    times = torch.minimum(times, last.nan_to_num(posinf=0).view(-1, 1, 1))
    shares = times / last.view(-1, 1, 1)
    return torch.cat((shares, depot_column(instance, unit_time(instance) / last)), 2)
