"""Instances of dvrptw: static VRPTWs, from whose customers the requests of a day are drawn.

The law of a day is `nco.data.request_stream`'s; here is how its numbers are chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import ConfigDict

from nco.data.batching import replace
from nco.data.dispatch_rules import DispatchRules
from nco.data.distributions import Coordinates, uniform
from nco.data.errors import InputError
from nco.data.instance import Instance, is_customer
from nco.data.multi_task import Tightness, multi_task_instances, variant_by_name
from nco.data.noise import draw_keys

DYNAMIC_PROBLEMS = ("dvrptw",)
WINDOW_LENGTH = (0.5, 1.5)
"""Of generated instances, whose day is 4.6 long: several requests can wait for each other."""


@dataclass(frozen=True)
class RequestLaw:
    """How a day of requests is cut, and how many there are.

    Raises:
        InputError: a number is out of range.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    """For configurations that have a law in them."""

    num_epochs: int = 5
    rate: int | None = None
    """Candidates that come in at the start of each epoch; those that could not be served any more
    are dropped. By default so many that they are twice the customers over the day, rounded."""
    epoch: float | None = None
    """Its length, in the unit of durations; by default the depot's opening time is so many epochs
    long as there are, and two more: for the first departure, and for the last routes."""
    margin: float | None = None
    """From the start of an epoch to the departure of what it dispatches; by default an epoch."""
    windows: tuple[float, float] = WINDOW_LENGTH
    """Shortest and longest; of instances that are generated, where a day is 4.6 long."""

    def __post_init__(self) -> None:
        for name, least in (("num_epochs", 1), ("rate", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; accepted: at least {least}")
        for name, value, above in (("epoch", self.epoch, True), ("margin", self.margin, False)):
            if value is not None and not (0 <= value < math.inf and (value > 0 or not above)):
                accepted = "a finite number above 0" if above else "a finite number of at least 0"
                raise InputError(f"{name} is {value}; accepted: {accepted}")
        low, high = self.windows
        if not 0 <= low <= high < math.inf:
            raise InputError(f"windows is {self.windows}; accepted: 0 <= shortest <= longest")


def request_law(
    num_epochs: int | None,
    rate: int | None,
    epoch: float | None,
    margin: float | None,
    windows: tuple[float, float] | None,
) -> RequestLaw | None:
    """What was given of a law; None where nothing was."""
    given = {
        "num_epochs": num_epochs,
        "rate": rate,
        "epoch": epoch,
        "margin": margin,
        "windows": windows,
    }
    named = {name: value for name, value in given.items() if value is not None}
    return RequestLaw(**named) if named else None


def with_requests(instance: Instance, law: RequestLaw, generator: torch.Generator) -> Instance:
    """The same static instances as the source of days of requests, with fresh keys.

    Raises:
        InputError: an instance has not one depot, windows that never close, or no customer; or no
            routes can leave before the depot closes.
    """
    if bool((instance.num_depots != 1).any()):
        raise InputError("dispatching is from one depot; accepted: instances with num_depots 1")
    opens, closes = instance.time_window[:, 0].double().unbind(1)
    if bool(closes.isinf().any()):
        raise InputError("the depot never closes; accepted: instances with time windows")
    rows = []
    customers = is_customer(instance).sum(1).tolist()
    for own, start, end in zip(customers, opens.tolist(), closes.tolist(), strict=True):
        epoch = (end - start) / (law.num_epochs + 2) if law.epoch is None else law.epoch
        rate = max(1, round(2 * own / law.num_epochs)) if law.rate is None else law.rate
        rules = DispatchRules(law.num_epochs, epoch, rate, law.margin)
        if not rules.departure(start, law.num_epochs - 1) < end:
            raise InputError(
                f"{law.num_epochs} epochs of {epoch:g} end after the depot closes, "
                f"{end - start:g} after it opens; accepted: all routes leave before"
            )
        rows.append(rules.row())
    table = torch.tensor(rows, dtype=instance.dtype, device=instance.valid.device)
    return replace(instance, {"dispatch": table, "key": draw_keys(len(rows), generator)})


def dynamic_instances(
    num_instances: int,
    num_customers: int,
    generator: torch.Generator,
    coordinates: Coordinates = uniform,
    *,
    capacity: int | None = None,
    law: RequestLaw | None = None,
) -> Instance:
    """Days of requests in the unit square, from VRPTWs as `multi_task_instances` draws them, with
    windows of the law's length.

    Raises:
        InputError: as `with_requests` and `multi_task_instances`.
    """
    law = law or RequestLaw()
    static = multi_task_instances(
        num_instances,
        num_customers,
        generator,
        [variant_by_name("vrptw")],
        coordinates,
        _tightness(capacity, law),
    )
    return with_requests(static, law, generator)


def _tightness(capacity: int | None, law: RequestLaw) -> Tightness:
    usual = Tightness()
    longest = usual.horizon - 2 * math.sqrt(2) - usual.service_time[1]
    if law.windows[1] > longest:
        raise InputError(
            f"windows is {law.windows}; accepted: at most {longest:.3g}, so that every customer "
            "can be reached and left in time"
        )
    return Tightness(capacity=capacity, window_length=law.windows)
