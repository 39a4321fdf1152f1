"""The one place where numbers of an instance become the integers that solvers want.

Several solvers truncate floating-point numbers without a word. Here lengths go to the nearest
integer at a scale chosen from the data; whatever could turn an infeasible route into a feasible
one is rounded to the safe side (times and loads up, limits down). So that a route which meets a
limit or a window exactly stays feasible, what has a limit gets a fine scale, and the limit a part
of the tolerance of `nco.envs.checker`. Data that are integers, or decimals with few digits, are
kept exactly. Costs are recomputed on the original numbers in any case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from nco.data.attributes import TIME_WINDOWS, attributes_by_name
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, duration_matrix

NO_LIMIT = int(np.iinfo(np.int64).max)
"""Stands for an infinite limit; an adapter maps it to its solver's own maximum."""

EXACT_SCALES = (1, 10, 100, 1000, 10_000)
"""Scales tried for data that are integers or decimals."""

RESOLUTION = 10_000
"""Units that the longest arc has at least, where lengths are not integers or decimals."""

WORST_ERROR = 1e-3
"""The scale is chosen so that rounding moves no total by more than this part of it."""

ACCEPTED_ERROR = 1e-2
"""The same where the solver's largest integer forces a smaller scale; beyond it we refuse."""

FINE = 10**9
"""Units that the longest arc has at least where a limit or windows bound the sum of such lengths
or times, if there is room for so many. With windows the lengths too: a solver that weighs lateness
against length starts from like units."""

LIMIT_SLACK = 4e-7
"""Limits and closings are raised by this part where the data are not exact: less than half of the
checker's tolerance, and more than what rounding up adds to a route at a fine scale."""

LOAD_UNITS = 1_000_000
"""Units of the capacity where loads are not fractions with a small common denominator."""

MAX_DENOMINATOR = 10_000
"""Loads that are fractions of the capacity are recognised up to this common denominator."""

MAX_TOTAL = 2**52
"""Sums stay below this, far from the overflow of 64-bit integers."""

MAX_PENALTY = 2**62
"""And so do the penalties of all loads or times together, as far as the scale is free."""


@dataclass(frozen=True)
class Scaled:
    """One instance in integers; arrays are int64, N nodes with depots first."""

    distance: np.ndarray  # [N, N]
    distance_scale: float
    """Units per length of the instance."""
    exact: bool
    """True if no length was rounded."""
    distance_limit: int
    """NO_LIMIT where there is none. With a limit, lengths are rounded up."""
    duration: np.ndarray  # [N, N]
    service: np.ndarray  # [N], 0 at depots
    early: np.ndarray  # [N]
    late: np.ndarray  # [N], NO_LIMIT where there is none
    time_scale: float
    """Units per time of the instance. Without time windows all times are 0."""
    linehaul: np.ndarray  # [N]
    backhaul: np.ndarray  # [N]
    capacity: int
    """NO_LIMIT where there is none; loads are then 1 where there is any."""
    load_scale: float
    """Units per load of the instance."""


@dataclass(frozen=True)
class ScaledPrizes:
    """Prizes and penalties of one instance in integers."""

    prize: np.ndarray  # [N], rounded down
    penalty: np.ndarray  # [N], in the units of the distances
    needed: int
    """What a tour must collect, rounded up."""
    all_needed: bool
    """Only a tour of all customers collects enough, or none does: then it must visit all."""


def scale_prizes(instance: Instance, distance_scale: float) -> ScaledPrizes | None:
    """The prizes of one instance (B = 1, without padding); None where it has none."""
    if instance.prize is None or instance.penalty is None or instance.min_prize is None:
        return None
    prize, least = instance.prize[0].double().numpy(), float(instance.min_prize)
    scale = LOAD_UNITS / max(least, float(prize.max()), 1e-300)
    units = np.floor(prize * scale).astype(np.int64)
    needed = math.ceil(least * scale)
    penalty = np.rint(instance.penalty[0].double().numpy() * distance_scale).astype(np.int64)
    return ScaledPrizes(units, penalty, needed, bool(units.sum() <= needed))


def scale_instance(
    instance: Instance, *, max_length: int = 2**40, penalty_ceiling: int | None = None
) -> Scaled:
    """The instance (B = 1, without padding) in integers.

    Args:
        max_length: the longest arc that the solver takes, in units.
        penalty_ceiling: the most that the solver charges for one unit of violated load or time.
            Loads and exact times then get a further factor such that this exceeds twice the
            longest arc; otherwise breaking a constraint can pay (PyVRP: 100,000). At a fine scale
            it can pay for violations below 2e-5 of the longest arc: such a route may lead the
            search astray, but it never counts as feasible.

    Raises:
        InputError: the numbers do not fit, or rounding would be too coarse or close a window.
    """
    wide = instance.to(torch.float64)
    slack = 4 * torch.finfo(instance.dtype).eps
    room = MAX_TOTAL if penalty_ceiling is None else MAX_PENALTY // penalty_ceiling
    distance = distance_matrix(wide)[0].numpy()
    limit = float(wide.distance_limit)
    limited = np.isfinite(limit)
    timed = bool(attributes_by_name(instance)[TIME_WINDOWS])
    fine_room = room if limited or timed else None
    scale, exact = _length_scale(distance, limit, slack, max_length, fine_room)
    # a limited route must not get shorter by rounding
    units = up(distance * scale, slack) if limited else nearest(distance * scale)
    longest = int(units.max())
    refuse_overflow("distance", longest * len(units))
    factor = 1
    if penalty_ceiling is not None:
        factor = max(1, -(-2 * longest // penalty_ceiling))
    linehaul, backhaul, capacity, load_scale = _loads(wide, slack, factor, room)
    times = _times(wide, slack, factor, room) if timed else _no_times(len(units))
    duration, service, early, late, time_scale = times
    limit_slack = slack if exact else max(slack, LIMIT_SLACK)
    return Scaled(
        distance=units,
        distance_scale=scale,
        exact=exact,
        distance_limit=int(down(limit * scale, limit_slack)) if limited else NO_LIMIT,
        duration=duration,
        service=service,
        early=early,
        late=late,
        time_scale=time_scale,
        linehaul=linehaul,
        backhaul=backhaul,
        capacity=capacity,
        load_scale=load_scale,
    )


def scale_loads(instance: Instance) -> tuple[np.ndarray, np.ndarray, int]:
    """Deliveries and pickups ``[N]`` and the capacity of one instance, in integer units."""
    slack = 4 * torch.finfo(instance.dtype).eps
    return _loads(instance.to(torch.float64), slack, 1, MAX_TOTAL)[:3]


def nearest(values: np.ndarray) -> np.ndarray:
    """To the nearest integer, halves up."""
    return np.floor(values + 0.5).astype(np.int64)


def up(values: np.ndarray, slack: float) -> np.ndarray:
    """To the next integer: what must not get smaller by rounding."""
    # a value within rounding error of an integer is that integer
    return np.ceil(values * (1 - slack)).astype(np.int64)


def down(values: np.ndarray | float, slack: float) -> np.ndarray:
    """To an integer that is no larger, slack apart: a limit."""
    return np.asarray(np.floor(np.asarray(values) * (1 + slack)), dtype=np.int64)


def _integral(values: np.ndarray, slack: float) -> bool:
    return bool(np.all(np.abs(values - np.rint(values)) <= slack * values))


def _exact_scale(values: np.ndarray, slack: float, max_length: int) -> int | None:
    """The smallest scale that makes all values integers."""
    largest = values.max(initial=0)
    for scale in EXACT_SCALES:
        if largest * scale <= max_length and _integral(values * scale, slack):
            return scale
    return None


def fine_scale(longest: float, total: float, room: int) -> float:
    """A power of ten that makes ``longest`` at least FINE units, or as many as the ``total`` has
    room for, but at least RESOLUTION."""
    finest = np.floor(np.log10(min(10 * FINE / longest, room / total)))
    return float(10.0 ** max(finest, np.ceil(np.log10(RESOLUTION / longest))))


def _length_scale(
    distance: np.ndarray, limit: float, slack: float, max_length: int, fine_room: int | None
) -> tuple[float, bool]:
    """The scale of the lengths, fine where room is given, and whether it makes all integers."""
    given = np.append(distance.ravel(), limit if np.isfinite(limit) else 0.0)
    scale = _exact_scale(given, slack, max_length)
    if scale is not None:
        return float(scale), True
    longest = float(distance.max())
    if longest == 0:
        return RESOLUTION / float(given.max()), False
    # a tour is at least as long as all arcs to nearest neighbours, and it leaves each arc's end
    # and comes back; each of its n arcs is rounded by half a unit at most
    shortest = np.where(np.eye(len(distance), dtype=bool), np.inf, distance).min(1).sum()
    mean = max(float(shortest), 2 * longest) / len(distance)
    wanted = max(RESOLUTION / longest, 0.5 / (WORST_ERROR * mean))
    power = 10.0 ** np.ceil(np.log10(wanted))
    if fine_room is not None:
        power = max(power, fine_scale(longest, longest * len(distance), fine_room))
    fitting = min(power, max_length / longest)
    error = 0.5 / (fitting * mean)
    if error > ACCEPTED_ERROR:
        raise InputError(
            f"lengths up to {longest:g} would be rounded to {max_length} units, an error of up to "
            f"{100 * error:.2g} % of the total; accepted: {100 * ACCEPTED_ERROR:g} %"
        )
    return float(fitting), False


def refuse_overflow(name: str, total: int | float) -> None:
    """Raise `InputError` where a sum of units comes near the end of 64-bit integers."""
    if total > MAX_TOTAL:
        raise InputError(f"{name} adds up to {total:g} units; accepted: at most {MAX_TOTAL}")


Times = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]
"""Durations, services, earliest and latest starts, and their scale."""


def _no_times(n: int) -> Times:
    """Where nothing can be late."""
    none = np.zeros(n, np.int64)
    return np.zeros((n, n), np.int64), none, none, np.full(n, NO_LIMIT), 1.0


def _times(wide: Instance, slack: float, factor: int, room: int) -> Times:
    """Durations, services, earliest and latest starts, and their scale."""
    early, late = wide.time_window[0].numpy().T
    closing = np.isfinite(late)
    n = len(early)
    duration = duration_matrix(wide)[0].numpy()
    service = wide.service_time[0].numpy().copy()
    service[: int(wide.num_depots)] = 0
    values = np.concatenate([duration.ravel(), service, early, late[closing]])
    total = float(values.max()) * n
    exact = _exact_scale(values, slack, MAX_TOTAL)
    if exact is None:
        scale = fine_scale(float(duration.max()) or float(values.max()), total, room)
        slack_late = max(slack, LIMIT_SLACK)
    else:
        scale = float(exact * _affordable(factor, total * exact, room))
        slack_late = slack
    refuse_overflow("time", total * scale)
    opens = up(early * scale, slack)
    closes = np.full(n, NO_LIMIT)
    closes[closing] = down(late[closing] * scale, slack_late)
    shut = np.flatnonzero(opens > closes)
    if len(shut):
        i = int(shut[0])
        raise InputError(
            f"time_window of node {i} is [{early[i]:g}, {late[i]:g}], shorter than the rounding "
            f"to {1 / scale:g}; accepted: wider windows, or decimals with at most 4 digits"
        )
    return up(duration * scale, slack), up(service * scale, slack), opens, closes, scale


def _affordable(factor: int, total: float, room: int) -> int:
    """The factor, or as much of it as the total has room for."""
    return min(factor, max(1, int(room // max(total, 1.0))))


def _loads(
    wide: Instance, slack: float, factor: int, room: int
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Deliveries, pickups, the capacity, and their scale."""
    linehaul, backhaul = wide.linehaul[0].numpy(), wide.backhaul[0].numpy()
    capacity = float(wide.capacity)
    if not np.isfinite(capacity):
        return (linehaul > 0).astype(np.int64), (backhaul > 0).astype(np.int64), NO_LIMIT, 1.0
    values = np.unique(np.concatenate([linehaul, backhaul, [capacity]]))
    common = denominator(values[values > 0], slack)
    # otherwise the capacity becomes an integer, so that a full load still fits
    scale = LOAD_UNITS / capacity if common is None else float(common)
    total = scale * max(capacity, float(linehaul.sum() + backhaul.sum()))
    factor = _affordable(factor, total, room)
    refuse_overflow("capacity", total * factor)
    return (
        up(linehaul * scale, slack) * factor,
        up(backhaul * scale, slack) * factor,
        int(down(capacity * scale, slack)) * factor,
        scale * factor,
    )


def denominator(values: np.ndarray, slack: float) -> int | None:
    """The smallest factor that makes all positive values integers."""
    candidates = np.arange(1, MAX_DENOMINATOR + 1)
    for value in values:
        product = value * candidates
        fits = np.abs(product - np.rint(product)) <= slack * product
        candidates = candidates[fits]
        if not len(candidates):
            return None
    return int(candidates[0])
