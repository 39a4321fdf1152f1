"""Many days at once, for a policy that says of each open request whether it leaves now.

`OpenRequests` is what such a policy sees: of a batch of days in training, or of the one `Epoch` of
a day that is dispatched in earnest, by the same function. The rules are those of
`nco.envs.dispatch`, to which the tests compare; what is dispatched costs what a caller's function
says, since routes are a solver's.

Axes: B days, K times that the same day is gone through (common random numbers), R requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.dispatch_rules import DispatchRules
from nco.data.instance import Instance, distance_matrix, duration_matrix, is_customer
from nco.data.noise import Scenarios
from nco.data.request_stream import TIGHT, draw_requests, in_time, rules_of
from nco.envs.dispatch import Epoch
from nco.envs.environment import unit_length, unit_time

NODE_FEATURES = (
    "ways out and back", "demand", "service", "early", "late", "slack", "must leave", "age",
    "others to come near", "epoch", "epochs left",
)  # fmt: skip
"""Of each open request: lengths and times in units of the longest, from the departure on; the
slack in epochs until it cannot wait any more; the last two are shares of the day."""
PAIR_FEATURES = ("length", "waiting", "in time")
"""Of request i and then j on a route that leaves now: the way, the wait at j, and whether j can
still be served."""
MARGINS = ("added", "saved")
"""Of each open request that can wait, by routes that a solver makes: what it adds to those of the
requests that must leave, and what is saved without it where all leave; in units of length."""
NEAR = 0.2
"""Of the longest length: how far from each other requests share a way."""


@dataclass(frozen=True)
class Days:
    """Requests of B days, padded to R; times are float64."""

    rules: DispatchRules
    epoch: Int[Tensor, "batch request"]
    """In which each came in; padding never does."""
    demand: Float[Tensor, "batch request"]
    service: Float[Tensor, "batch request"]
    window: Float[Tensor, "batch request 2"]
    distance: Float[Tensor, "batch stop stop"]
    """Stop 0 is the depot, stop i + 1 request i."""
    duration: Float[Tensor, "batch stop stop"]
    near: Float[Tensor, "batch request"]
    """The share of the customers that requests are drawn from, weighed by how near they lie."""
    hours: Float[Tensor, "batch 2"]
    capacity: Float[Tensor, " batch"]
    length_unit: Float[Tensor, " batch"]
    time_unit: Float[Tensor, " batch"]

    @property
    def latest(self) -> Float[Tensor, "batch request"]:
        """The last departure of a route that can serve each alone."""
        out, back = self.duration[:, 0, 1:], self.duration[:, 1:, 0]
        closes = self.hours[:, 1:]
        home = closes * (1 - TIGHT) - self.service - back - out
        return torch.minimum(self.window[:, :, 1] - out - closes * TIGHT, home)

    def departure(self, epoch: int) -> Float[Tensor, "batch 1"]:
        """When routes leave that the epoch dispatches."""
        return self.rules.departure(self.hours[:, :1], epoch)

    def must(self, epoch: int) -> Bool[Tensor, "batch request"]:
        """Which requests cannot wait for the next epoch, if they are open."""
        if epoch == self.rules.num_epochs - 1:
            return torch.ones_like(self.epoch, dtype=torch.bool)
        leaves, (early, late) = self.departure(epoch + 1), self.window.unbind(2)
        out, back = self.duration[:, 0, 1:], self.duration[:, 1:, 0]
        return ~in_time(leaves, out, back, early, late, self.service, self.hours[:, 1:])

    def features(
        self, epoch: int
    ) -> tuple[Float[Tensor, "batch request feature"], Float[Tensor, "batch request request pair"]]:
        """What a policy sees of the requests if they are open: `NODE_FEATURES` of each, and
        `PAIR_FEATURES` of two; float32. Each depends on the requests that it is of, and on no
        other."""
        count, leaves = self.rules.num_epochs, self.departure(epoch)
        length, time = self.length_unit.view(-1, 1), self.time_unit.view(-1, 1)
        early, late = self.window.unbind(2)
        out, back = self.distance[:, 0, 1:], self.distance[:, 1:, 0]
        past, left = (torch.full_like(out, share) for share in (epoch / count, 1 - epoch / count))
        slack = (self.latest - leaves) / self.rules.epoch
        nodes = (
            (out + back) / length, self.demand / self.capacity.view(-1, 1), self.service / time,
            (early - leaves) / time, (late - leaves) / time, slack.clamp(max=count),
            self.must(epoch).double(), (epoch - self.epoch) / count, self.near * left, past, left,
        )  # fmt: skip
        done = torch.maximum(leaves + self.duration[:, 0, 1:], early) + self.service
        there = done.unsqueeze(2) + self.duration[:, 1:, 1:]
        wait = (early.unsqueeze(1) - there).clamp(min=0)
        pairs = (
            self.distance[:, 1:, 1:] / length.unsqueeze(2),
            wait / time.unsqueeze(2),
            (there <= late.unsqueeze(1)).double(),
        )
        return torch.stack(nodes, 2).float(), torch.stack(pairs, 3).float()


def drawn_days(instance: Instance, scenarios: Scenarios) -> Days:
    """Every scenario of every instance is a day.

    Raises:
        InputError: the instances are not of dvrptw, differ in how their days are cut, or have no
            key.
    """
    rules = rules_of(instance)
    drawn = draw_requests(instance, rules, scenarios)
    count = instance.batch_size[0] * scenarios.count
    epoch = torch.arange(rules.num_epochs).view(-1, 1).expand(-1, rules.candidates).flatten()
    real = drawn.real.reshape(count, -1)
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)[:, : max(1, int(real.sum(1).max()))]

    def of(values: Tensor) -> Tensor:
        flat = values.reshape(count, real.shape[1], *values.shape[4:])
        return flat[torch.arange(count).unsqueeze(1), order]

    arrival = epoch.expand(count, -1).gather(1, order)
    arrival = arrival.masked_fill(~of(drawn.real), rules.num_epochs + 1)
    whose = torch.arange(instance.batch_size[0]).repeat_interleave(scenarios.count)
    return _days(
        instance, rules, whose, arrival, of(drawn.place), of(drawn.demand), of(drawn.service),
        of(drawn.window),
    )  # fmt: skip


def open_days(epoch: Epoch) -> Days:
    """The open requests of one epoch, as the whole of what came in."""
    requests = epoch.open

    def column(values: Sequence[int | float], dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.tensor([values], dtype=dtype)

    return _days(
        epoch.setting.instance,
        epoch.setting.rules,
        torch.zeros(1, dtype=torch.int64),
        column([r.epoch for r in requests], torch.int64),
        column([r.place for r in requests], torch.int64),
        column([r.demand for r in requests]),
        column([r.service for r in requests]),
        torch.tensor([[r.window for r in requests]], dtype=torch.float64),
    )


def _days(
    instance: Instance,
    rules: DispatchRules,
    whose: Int[Tensor, " batch"],
    epoch: Int[Tensor, "batch request"],
    place: Int[Tensor, "batch request"],
    demand: Float[Tensor, "batch request"],
    service: Float[Tensor, "batch request"],
    window: Float[Tensor, "batch request 2"],
) -> Days:
    distance, duration = distance_matrix(instance).double(), duration_matrix(instance).double()
    unit = unit_length(instance).double()
    nearness = (-distance / (NEAR * unit.view(-1, 1, 1))).exp() * is_customer(instance).unsqueeze(1)
    near = nearness.sum(2) / is_customer(instance).sum(1, keepdim=True)
    stop = torch.nn.functional.pad(place, (1, 0))
    rows, columns = stop.unsqueeze(2), stop.unsqueeze(1)
    day = whose.view(-1, 1, 1)
    return Days(
        rules=rules,
        epoch=epoch,
        demand=demand,
        service=service,
        window=window,
        distance=distance[day, rows, columns],
        duration=duration[day, rows, columns],
        near=near[whose.unsqueeze(1), place],
        hours=instance.time_window[:, 0].double()[whose],
        capacity=instance.capacity.double()[whose],
        length_unit=unit[whose],
        time_unit=unit_time(instance).double()[whose],
    )


Price = Callable[[Days, int, Bool[Tensor, "batch time request"]], Float[Tensor, "batch time"]]
"""What it costs to dispatch some requests of each day in an epoch."""


@dataclass(frozen=True)
class DaysState:
    """How far B days are, K times each."""

    days: Days
    number: int
    """Of the epoch."""
    open: Bool[Tensor, "batch time request"]
    cost: Float[Tensor, "batch time"]

    @property
    def must(self) -> Bool[Tensor, "batch time request"]:
        """Open requests that cannot wait."""
        return self.open & self.days.must(self.number).unsqueeze(1)

    def after(self, leaving: Bool[Tensor, "batch time request"], price: Price) -> DaysState:
        """The next epoch; what must leave does, and nothing leaves that is not open."""
        sent = self.must | (self.open & leaving)
        cost = self.cost + price(self.days, self.number, sent)
        came = (self.days.epoch == self.number + 1).unsqueeze(1)
        return replace(self, number=self.number + 1, open=(self.open & ~sent) | came, cost=cost)


def first_epoch(days: Days, num_times: int) -> DaysState:
    """The start of the days."""
    first = (days.epoch == 0).unsqueeze(1).expand(-1, num_times, -1)
    return DaysState(days, 0, first, days.hours.new_zeros(len(days.hours), num_times))
