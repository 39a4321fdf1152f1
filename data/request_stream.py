"""Requests that come in over the day: the rules of the EURO meets NeurIPS 2022 competition.

At the start of every epoch some candidates come in. Place, demand, service and window of each are
drawn independently of each other and uniformly from the customers of a static instance with time
windows; those that could not be served any more are dropped. What is drawn is named by the hash
(`nco.data.noise`), so all who dispatch meet the same day.

Source: Kool et al. 2022, the EURO meets NeurIPS vehicle routing competition, dynamic variant.
Where it differs: epochs begin when the depot opens, and their number is given.

Axes: B instances, S scenarios, E epochs, C candidates of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.dispatch_rules import DispatchRules
from nco.data.errors import InputError
from nco.data.instance import Instance, duration_matrix, is_customer
from nco.data.noise import Scenarios, Stream, uniforms

TIGHT = 1e-6
"""Of the depot's closing time. Solvers that count time in integers round against themselves, and
must find a route for every request that is left."""


@final
@dataclass(frozen=True)
class Requests:
    """All requests of a batch of days."""

    place: Int[Tensor, "batch scenario epoch candidate"]
    """The node of the static instance."""
    demand: Float[Tensor, "batch scenario epoch candidate"]
    service: Float[Tensor, "batch scenario epoch candidate"]
    window: Float[Tensor, "batch scenario epoch candidate 2"]
    real: Bool[Tensor, "batch scenario epoch candidate"]
    """False for candidates that were dropped."""


def rules_of(instance: Instance) -> DispatchRules:
    """The rules that the instances of a batch share.

    Raises:
        InputError: they have none, or not the same.
    """
    if instance.dispatch is None:
        raise InputError(
            "the instance has no dispatch, which says how its day is cut; accepted: instances of "
            "dvrptw, as nco data generate dvrptw and nco data requests make them"
        )
    rows = instance.dispatch.double().unique(dim=0).tolist()
    if len(rows) != 1:
        raise InputError(f"a batch has {len(rows)} kinds of dispatch; accepted: one")
    return DispatchRules.of_row(rows[0])


def draw_requests(instance: Instance, rules: DispatchRules, scenarios: Scenarios) -> Requests:
    """The requests of every scenario of every instance.

    Raises:
        InputError: an instance has no key, not one depot, or windows that never close.
    """
    if bool((instance.num_depots != 1).any()):
        raise InputError("dispatching is from one depot; accepted: instances with num_depots 1")
    if bool(instance.time_window[:, 0].isinf().any()):
        raise InputError("the depot never closes; accepted: instances with time windows")
    device = instance.valid.device
    epoch = torch.arange(rules.num_epochs, device=device).view(1, 1, -1, 1)
    candidate = torch.arange(rules.candidates, device=device).view(1, 1, 1, -1)
    customers = is_customer(instance).sum(1).view(-1, 1, 1, 1)

    def drawn(stream: Stream) -> Int[Tensor, "batch scenario epoch candidate"]:
        share = uniforms(scenarios, instance, stream, epoch, candidate)
        return 1 + (share * customers).long()

    def of(values: Float[Tensor, "batch node"], node: Tensor) -> Tensor:
        return values.double().gather(1, node.flatten(1)).view(node.shape)

    place = drawn(Stream.REQUEST_PLACE)
    demand = of(instance.linehaul, drawn(Stream.REQUEST_DEMAND))
    service = of(instance.service_time, drawn(Stream.REQUEST_SERVICE))
    which = drawn(Stream.REQUEST_WINDOW)
    early, late = (of(column, which) for column in instance.time_window.unbind(2))
    time = duration_matrix(instance)
    opens, closes = instance.time_window[:, 0].double().view(-1, 2, 1, 1, 1).unbind(1)
    leaves = rules.departure(opens, epoch.double())
    real = in_time(
        leaves, of(time[:, 0], place), of(time[:, :, 0], place), early, late, service, closes
    )
    return Requests(place, demand, service, torch.stack((early, late), 4), real)


def in_time(
    leaves: Float[Tensor, "..."],
    out: Float[Tensor, "..."],
    back: Float[Tensor, "..."],
    early: Float[Tensor, "..."],
    late: Float[Tensor, "..."],
    service: Float[Tensor, "..."],
    closes: Float[Tensor, "..."],
) -> Bool[Tensor, "..."]:
    """Whether a route that leaves then can serve a request alone and be back before closing, with
    `TIGHT` to spare."""
    arrival = leaves + out
    home = torch.maximum(arrival, early) + service + back
    spare = closes * TIGHT
    return (arrival + spare <= late) & (home + spare <= closes)
