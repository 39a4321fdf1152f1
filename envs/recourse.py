"""Routes planned before demands are known: what they cost on the mean, exactly.

A vehicle follows its route and sees a demand on arrival. Where the demand is more than what is on
board, it unloads all, returns to the depot to load up, comes back to deliver the rest, and goes on
(detour to depot, Dror, Laporte and Trudeau 1989, doi:10.1287/trsc.23.3.166). With restocking it may
also return before the next customer, where that costs less on the mean: the best such policy is a
threshold on the load, by dynamic programming (Yang, Mathur and Ballou 2000,
doi:10.1287/trsc.34.1.99.12278), for loads q from 0 to Q, the customer n behind i and 0 the depot:

    f_i(q) = min(d(i, n) + g_n(q), d(i, 0) + d(0, n) + g_n(Q))
    g_n(q) = sum over k <= q of p_n(k) f_n(q - k)
           + sum over k > q of p_n(k) (d(n, 0) + d(0, n) + f_n(q + Q - k))

and without restocking the first of the two alone. A vehicle that is just empty goes on. Routes
are driven in the better of their directions. Any plan can be followed, so there is no limit on a
route's mean load. Correlated demands: the policy is that of independent ones with the same laws,
and its cost is the mean over the common factor, given which demands are independent.

Axes: B instances, P plans of each, L positions of a plan with the depot at both ends, Q loads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.batching import with_dtype
from nco.data.demand_laws import demand_cdf, demand_pmf, require_laws
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.environment import arc_lengths

QUADRATURE = 32
"""Points of the Gauss-Hermite rule for the mean over a common factor."""
TIE = 1e-9
"""Two ways whose costs differ by less, as a part of the larger, are equally good."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Plans as walks, with what the recursion reads; lengths in float64."""

    nodes: Int[Tensor, "batch plan position"]
    arc: Float[Tensor, "batch plan arc"]
    """From each position to the next."""
    home: Float[Tensor, "batch plan position"]
    """To the depot."""
    out: Float[Tensor, "batch plan position"]
    """From the depot."""


@dataclass(frozen=True, slots=True)
class Recourse:
    """How plans are followed."""

    walk: Walk
    """With each route in its better direction."""
    turn_back: Bool[Tensor, "batch plan arc load"]
    """Whether to return before the next position with such a load."""


def expected_cost(
    instance: Instance, plans: Int[Tensor, "batch plan step"]
) -> Float[Tensor, "batch plan"]:
    """The mean length of all that is driven for each plan, float64.

    Args:
        plans: actions, routes parted by the depot.

    Raises:
        InputError: as `require_recourse`.
    """
    require_recourse(instance)
    correlation = instance.demand_correlation
    assert correlation is not None  # given together with the laws
    cdf = demand_cdf(instance)
    if not bool(correlation.any()):
        return _by_direction(instance, plans, demand_pmf(cdf)).amin(0).sum(2)
    best = recourse(instance, plans)
    points, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
    total = torch.zeros(plans.shape[:2], dtype=torch.float64, device=plans.device)
    for point, weight in zip(points, weights / weights.sum(), strict=True):
        pmf = demand_pmf(given_factor(cdf, correlation.double(), float(point)))
        total += float(weight) * _to_go(instance, best.walk, pmf, best.turn_back)[0][:, :, 0]
    return total


def given_factor(
    cdf: Float[Tensor, "batch node demand"], correlation: Float[Tensor, " batch"], factor: float
) -> Float[Tensor, "batch node demand"]:
    """The distributions in scenarios whose common factor is known."""
    tied = correlation.view(-1, 1, 1)
    return torch.special.ndtr((torch.special.ndtri(cdf) - tied.sqrt() * factor) / (1 - tied).sqrt())


def recourse(instance: Instance, plans: Int[Tensor, "batch plan step"]) -> Recourse:
    """The best policy for each plan.

    Raises:
        InputError: as `require_recourse`.
    """
    require_recourse(instance)
    pmf = demand_pmf(demand_cdf(instance))
    forward, backward = _by_direction(instance, plans, pmf)
    # at the depot that a route begins at, for all of its positions
    turned = (backward < forward - TIE * forward).gather(2, _marks(_closed(plans))[0])
    walk = _walk(instance, _turned(_closed(plans), turned))
    return Recourse(walk, _to_go(instance, walk, pmf)[1])


def require_recourse(instance: Instance) -> None:
    """Raise `InputError` where demands have no laws, or routes do not all start and end at the one
    depot."""
    require_laws(instance)
    if bool((instance.num_depots != 1).any() | instance.open_route.any()):
        raise InputError(
            "the instance has open routes or not one depot; accepted with uncertain demands: "
            "closed routes from one depot"
        )


def _closed(plans: Int[Tensor, "batch plan step"]) -> Int[Tensor, "batch plan position"]:
    ends = torch.zeros_like(plans[:, :, :1])
    return torch.cat([ends, plans, ends], 2)


def _walk(instance: Instance, nodes: Int[Tensor, "batch plan position"]) -> Walk:
    wide, depot = with_dtype(instance, torch.float64), torch.zeros_like(nodes)
    return Walk(
        nodes=nodes,
        arc=arc_lengths(wide, nodes[:, :, :-1], nodes[:, :, 1:]),
        home=arc_lengths(wide, nodes, depot),
        out=arc_lengths(wide, depot, nodes),
    )


def _marks(
    nodes: Int[Tensor, "batch plan position"],
) -> tuple[Int[Tensor, "batch plan position"], Int[Tensor, "batch plan position"]]:
    """The positions of the last depot up to each position, and of the next one from it on."""
    last = nodes.shape[2] - 1
    place = torch.arange(last + 1, device=nodes.device).expand(nodes.shape)
    at_depot = nodes == 0
    before = torch.where(at_depot, place, 0).cummax(2).values
    after = torch.where(at_depot, place, last).flip(2).cummin(2).values.flip(2)
    return before, after


def _turned(
    nodes: Int[Tensor, "batch plan position"], turned: Bool[Tensor, "batch plan position"]
) -> Int[Tensor, "batch plan position"]:
    """The walks with some routes the other way round."""
    before, after = _marks(nodes)
    place = torch.arange(nodes.shape[2], device=nodes.device)
    return nodes.gather(2, torch.where(turned & (nodes > 0), before + after - place, place))


def _by_direction(
    instance: Instance,
    plans: Int[Tensor, "batch plan step"],
    pmf: Float[Tensor, "batch node demand"],
) -> Float[Tensor, "2 batch plan position"]:
    """What the route costs on the mean that begins at each position, as planned and the other way
    round; 0 where none begins."""
    nodes = _closed(plans)
    p = plans.shape[1]
    # both ways in one pass
    there = _to_go(instance, _walk(instance, torch.cat([nodes, nodes.flip(2)], 1)), pmf)[0]
    forward, backward = there[:, :p], there[:, p:].flip(2)
    after = _marks(nodes)[1]
    # the end of the route that begins here is the next depot from the next position on
    end = torch.cat([after[:, :, 1:], after[:, :, -1:]], 2)
    costs = torch.stack([forward - forward.gather(2, end), backward.gather(2, end) - backward])
    return costs.masked_fill(nodes != 0, 0)


def _to_go(
    instance: Instance,
    walk: Walk,
    pmf: Float[Tensor, "batch node demand"],
    turn_back: Bool[Tensor, "batch plan arc load"] | None = None,
) -> tuple[Float[Tensor, "batch plan position"], Bool[Tensor, "batch plan arc load"]]:
    """The mean cost from each position on with a full vehicle, and the policy.

    Args:
        turn_back: the policy; by default the best one.
    """
    b, p, length = walk.nodes.shape
    assert instance.restocking is not None  # given together with the laws
    capacity = instance.capacity.long()
    may_turn = instance.restocking.view(b, 1, 1)
    full = capacity.view(b, 1, 1).expand(b, p, 1)
    reach = pmf.shape[2] - 1
    # the loads Q - K, ..., Q - 1, each instance with its own Q; none below 0 is ever reached
    borrowed = (full + torch.arange(-reach, 0, device=full.device)).clamp(min=0)
    detour = walk.home + walk.out
    at_depot = (walk.nodes == 0).unsqueeze(3)
    f = torch.zeros(b, p, int(capacity.max()) + 1, dtype=torch.float64, device=full.device)
    at_full, policy = [torch.zeros_like(walk.home[:, :, 0])], []
    for t in range(length - 2, -1, -1):
        # loads below 0 are those after a detour
        again = f.gather(2, borrowed) + detour[:, :, t + 1].unsqueeze(2)
        node = walk.nodes[:, :, t + 1].unsqueeze(2).expand(b, p, reach + 1)
        g = _mean_after(torch.cat([again, f], 2), pmf.gather(1, node))
        # a vehicle that comes to a depot leaves it full
        g = torch.where(at_depot[:, :, t + 1], f.gather(2, full), g)
        direct = walk.arc[:, :, t].unsqueeze(2) + g
        via = (walk.home[:, :, t] + walk.out[:, :, t + 1]).unsqueeze(2) + g.gather(2, full)
        if turn_back is None:
            back = (via < direct - TIE * direct) & may_turn & ~at_depot[:, :, t + 1]
        else:
            back = turn_back[:, :, t]
        f = torch.where(back, via, direct)
        policy.append(back)
        at_full.append(f.gather(2, full).squeeze(2))
    return torch.stack(at_full[::-1], 2), torch.stack(policy[::-1], 2)


def _mean_after(
    ahead: Float[Tensor, "batch plan wide"], pmf: Float[Tensor, "batch plan demand"]
) -> Float[Tensor, "batch plan load"]:
    """The mean over the demand k of ``ahead`` at load q - k, whose first entry is at load -K."""
    reach = pmf.shape[2] - 1
    loads = ahead.shape[2] - reach
    total = pmf[:, :, :1] * ahead[:, :, reach:]
    for k in range(1, reach + 1):
        total.addcmul_(pmf[:, :, k : k + 1], ahead[:, :, reach - k : reach - k + loads])
    return total
