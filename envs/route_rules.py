"""What one route costs and whether it is allowed, in plain arrays and compiled by numba: the rule
that every move of a local search asks.

It states the rules of `nco.envs.checker` for one route, in float64 and with half of its tolerance,
so that whatever is allowed here the checker accepts. The environments' resources say the same step
by step; a test holds the three together.

Types are not checked at run time: numba reads the functions themselves.

Shapes: N nodes, depots first.
"""

from __future__ import annotations

from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from numba import njit

from nco.data.attributes import (
    BACKHAULS,
    MIXED_BACKHAULS,
    TIME_WINDOWS,
    attributes_by_name,
)
from nco.data.batching import with_dtype
from nco.data.instance import Instance, distance_matrix, duration_matrix, is_customer
from nco.envs.known_attributes import require_known
from nco.envs.resources import SLACK

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
compiled = njit(**_OPTIONS)
"""Of functions that allocate nothing. They count no references (``_nrt``): counting those of all
arrays at every call takes twelve times as long as the moves themselves."""


class RouteRules(NamedTuple):
    """One instance as `route_length` reads it; float64. Limits are raised by `SLACK`."""

    distance: np.ndarray
    """[N, N]; 0 to depots where routes are open."""
    duration: np.ndarray
    """[N, N]"""
    service: np.ndarray
    """[N]; 0 at depots."""
    early: np.ndarray
    late: np.ndarray
    """[N]"""
    delivery: np.ndarray
    pickup: np.ndarray
    """[N]"""
    capacity: float
    limit: float
    """Of a route's length."""
    ordered: bool
    """Classical backhauls: no delivery after a pickup."""
    mixed: bool
    """Deliveries and pickups share the vehicle at all times."""
    timed: bool
    closed: bool
    """Routes end at their depots."""
    symmetric: bool
    """Lengths are: a route reversed is as long."""
    num_depots: int
    """0 for a TSP, whose tour is taken as one route that leaves node 0."""
    most_routes: int


def route_rules(instance: Instance) -> RouteRules:
    """The rules of one instance (B = 1, without padding).

    Raises:
        InputError: as `require_known`.
    """
    require_known(instance)
    wide = with_dtype(instance.cpu(), torch.float64)
    held = {name: bool(value) for name, value in attributes_by_name(instance).items()}
    depots = int(instance.num_depots)
    distance = distance_matrix(wide)[0].contiguous().numpy().copy()
    symmetric = bool((distance == distance.T).all())
    closed = not bool(instance.open_route)
    if not closed:
        distance[:, :depots] = 0
    service = wide.service_time[0].numpy().copy()
    service[:depots] = 0
    early, late = wide.time_window[0].T.contiguous().numpy()
    return RouteRules(
        distance=distance,
        duration=duration_matrix(wide)[0].contiguous().numpy(),
        service=service,
        early=early,
        late=late * (1 + SLACK),
        delivery=wide.linehaul[0].contiguous().numpy(),
        pickup=wide.backhaul[0].contiguous().numpy(),
        capacity=float(wide.capacity) * (1 + SLACK),
        limit=float(wide.distance_limit) * (1 + SLACK),
        ordered=held[BACKHAULS],
        mixed=held[MIXED_BACKHAULS],
        timed=held[TIME_WINDOWS],
        closed=closed,
        symmetric=symmetric,
        num_depots=depots,
        most_routes=min(int(instance.num_vehicles), int(is_customer(instance).sum())) if depots
        else 1,
    )  # fmt: skip


@compiled
@no_type_check
def route_length(rules, row, count):
    """The length of a route, inf where it is not allowed.

    Args:
        row: the depot, ``count`` customers, and the depot again.
    """
    length = 0.0
    for i in range(count + 1):
        length += rules.distance[row[i], row[i + 1]]
    if count == 0:
        return 0.0
    if length > rules.limit:
        return np.inf
    delivered, picked = 0.0, 0.0
    for i in range(1, count + 1):
        delivered += rules.delivery[row[i]]
        picked += rules.pickup[row[i]]
        if rules.ordered and picked - rules.pickup[row[i]] > 0 and rules.delivery[row[i]] > 0:
            return np.inf
    if delivered > rules.capacity or picked > rules.capacity:
        return np.inf
    if rules.mixed:
        load = delivered
        for i in range(1, count + 1):
            load += rules.pickup[row[i]] - rules.delivery[row[i]]
            if load > rules.capacity:
                return np.inf
    if rules.timed and not in_time(rules, row, count):
        return np.inf
    return length


@compiled
@no_type_check
def in_time(rules, row, count):
    """Whether services start before windows close, and the vehicle is back before its depot
    does."""
    clock = rules.early[row[0]]
    for i in range(1, count + 1):
        clock += rules.service[row[i - 1]] + rules.duration[row[i - 1], row[i]]
        clock = max(clock, rules.early[row[i]])
        if clock > rules.late[row[i]]:
            return False
    if not rules.closed:
        return True
    back = clock + rules.service[row[count]] + rules.duration[row[count], row[count + 1]]
    return back <= rules.late[row[count + 1]]
