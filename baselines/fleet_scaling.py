"""Profiled VRPs in the integers that solvers want; see `nco.baselines.scaling` for the rules.

Axes: M vehicles, N nodes (depots first).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nco.baselines.scaling import (
    FINE,
    LIMIT_SLACK,
    LOAD_UNITS,
    NO_LIMIT,
    denominator,
    down,
    nearest,
    refuse_overflow,
    up,
)
from nco.data.batching import with_dtype
from nco.data.fleet import missed_preference
from nco.data.instance import Instance, distance_matrix, duration_matrix, is_customer
from nco.envs.fleet_rules import require_fleet

COST_UNITS = 10**6
"""Units that the dearest arc has at least: an arc is rounded by half a unit, so totals of hundreds
of arcs are right to a part of 10^-4 or better."""
SLACK = 1e-12
"""Numbers are float64 here."""


@dataclass(frozen=True)
class ScaledFleet:
    """One instance with a fleet in integers; arrays are int64.

    An arc's cost is that of driving it and, where it enters a customer, of serving it: service time
    and missed preference. It never charges a customer's preference on the way home.
    """

    arc_cost: np.ndarray  # [M, N, N] without what the time weighs where min_max says so
    time_cost: np.ndarray  # [M, N, N] what the time weighs, service of the node entered included
    fixed_cost: np.ndarray  # [M]
    min_max: bool
    """The largest sum of ``time_cost`` over a vehicle counts; else it is in ``arc_cost``."""
    duration: np.ndarray  # [M, N, N] travel, for the shift
    service: np.ndarray  # [N]
    shift: np.ndarray  # [M], NO_LIMIT where there is none; without any all times are 0
    demand: np.ndarray  # [N]
    capacity: np.ndarray  # [M], NO_LIMIT where there is none
    allowed: np.ndarray  # [M, N] bool, customers only
    depot: np.ndarray  # [M]
    num_depots: int
    metric: bool
    """Distances are Euclidean: joining two trips of a vehicle never costs more."""


def scale_fleet(instance: Instance, *, penalty_ceiling: int | None = None) -> ScaledFleet:
    """An instance with a fleet (B = 1, without padding) in integers.

    Args:
        penalty_ceiling: as in `nco.baselines.scaling.scale_instance`; loads get a factor.

    Raises:
        InputError: the numbers do not fit.
    """
    wide = with_dtype(instance, torch.float64)
    fleet = require_fleet(wide)
    customer = is_customer(wide)[0].numpy()
    facts = {
        name: getattr(fleet, name)[0].numpy()
        for name in ("speed", "capacity", "shift", "fixed_cost", "distance_cost", "depot")
    }
    distance = distance_matrix(wide)[0].numpy()
    service = np.where(customer, wide.service_time[0].numpy(), 0.0)
    travel = duration_matrix(wide)[0].numpy() / facts["speed"][:, None, None]
    missed = np.where(customer, missed_preference(fleet)[0].numpy(), 0.0)
    enter = 1.0 - np.eye(len(distance))
    timed = float(fleet.time_weight) * (travel + service * enter)
    other = facts["distance_cost"][:, None, None] * distance
    other = other + float(fleet.preference_weight) * missed[:, None, :] * enter
    most = max(float((timed + other).max()), float(facts["fixed_cost"].max()))
    scale = 10.0 ** np.ceil(np.log10(COST_UNITS / most)) if most > 0 else 1.0
    refuse_overflow("cost", most * scale * 2 * len(distance))
    min_max = bool(fleet.min_max)
    arc_cost = nearest((other if min_max else other + timed) * scale)
    time_cost = nearest(timed * scale)
    dearest = int(max((arc_cost + time_cost * min_max).max(), facts["fixed_cost"].max() * scale))
    factor = 1 if penalty_ceiling is None else max(1, -(-2 * dearest // penalty_ceiling))
    demand, capacity = _loads(wide.linehaul[0].numpy(), facts["capacity"], factor)
    duration, work, shift = _shifts(travel, service, facts["shift"])
    return ScaledFleet(
        arc_cost=arc_cost,
        time_cost=time_cost,
        fixed_cost=nearest(facts["fixed_cost"] * scale),
        min_max=min_max,
        duration=duration,
        service=work,
        shift=shift,
        demand=demand,
        capacity=capacity,
        allowed=fleet.allowed[0].numpy() & customer,
        depot=facts["depot"],
        num_depots=int(instance.num_depots),
        metric=instance.distance is None and not bool(instance.rounding.any()),
    )


def _loads(demand: np.ndarray, capacity: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    limited = np.isfinite(capacity)
    values = np.unique(np.concatenate([demand, capacity[limited]]))
    common = denominator(values[values > 0], SLACK)
    scale = float(common) if common is not None else LOAD_UNITS / float(values.max())
    total = scale * max(float(demand.sum()), float(capacity[limited].max(initial=0)))
    refuse_overflow("capacity", total * factor)
    most = np.full(len(capacity), NO_LIMIT)
    # where the scale makes no integers, demands are rounded up and an exact fit needs room
    slack = SLACK if common is not None else LIMIT_SLACK
    most[limited] = down(capacity[limited] * scale, slack) * factor
    return up(demand * scale, SLACK) * factor, most


def _shifts(
    travel: np.ndarray, service: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    limited = np.isfinite(shift)
    if not limited.any():
        return (
            np.zeros(travel.shape, np.int64),
            np.zeros(len(service), np.int64),
            np.full(len(shift), NO_LIMIT),
        )
    longest = max(float(travel.max()), float(service.max()), 1e-300)
    scale = FINE / longest
    refuse_overflow("time", 2 * len(service) * FINE)
    most = np.full(len(shift), NO_LIMIT)
    # more than a vehicle can work in all is no limit either
    bound = np.minimum(shift[limited] * scale, 4.0 * len(service) * FINE)
    most[limited] = np.maximum(down(bound, LIMIT_SLACK), 1)
    return up(travel * scale, SLACK), up(service * scale, SLACK), most
