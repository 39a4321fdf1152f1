"""A local search on many solutions of many instances at once, on the device where they are.

An iteration computes what every move changes the length of every solution by
(`nco.baselines.batched_filters`), builds the best few candidates of each solution, asks the
environment whether their routes can be driven, and takes the best of those that can. What was
refused is not looked at again until its solution changes, so a solution is done only when none of
its moves improves it, however few candidates are built at a time.

In torch alone: no loop over solutions, and nothing waits for the device but a look at whether all
are done, every `LOOK` iterations.

Axes: B instances, S solutions, T places of a row, N nodes, K neighbours, C candidates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.baselines.batched_filters import changes
from nco.baselines.batched_moves import Tables, moves_at
from nco.baselines.batched_tours import Drafts, Exchange, Layout, Places, drafts, picked
from nco.data.attributes import (
    BACKHAULS,
    DISTANCE_LIMIT,
    MIXED_BACKHAULS,
    TIME_WINDOWS,
    attributes_by_name,
)
from nco.data.batching import with_dtype
from nco.data.errors import InputError
from nco.data.instance import (
    Instance,
    Rounding,
    distance_matrix,
    duration_matrix,
    is_customer,
    is_depot,
)
from nco.envs.environment import Problem
from nco.envs.known_attributes import require_known
from nco.envs.resources import SLACK
from nco.envs.variants import multi_task

LEAST_GAIN = 1e-9
"""Of the lengths compared, in float64: less is rounding."""
LEAST_CHANGE = 1e-6
"""Of the longest way: changes in float32 that are smaller are not looked at."""
CLOSED = 1e3
"""Longest ways that a way counts which no route can take."""
MOST_WAYS = 2**20
"""Ways, times depots, that are looked at: with more it takes a second of a time limit, or more."""
MOST_DETOURS = 2**26
"""Likewise detours by way of another customer, that are compared with the direct way."""
BEYOND_SUMS = (BACKHAULS, MIXED_BACKHAULS, TIME_WINDOWS, DISTANCE_LIMIT)
"""Attributes by which more is forbidden than what sums of loads forbid."""
LOOK = 8
"""Iterations between two looks at a device other than the CPU."""
AT_ONCE = 4
"""Moves of an iteration, at most; each of other routes, or of another part of a tour."""
FEW, MANY = 16, 64
"""Candidates built at a time where sums of loads say nearly all, and where they do not."""
ON_CPU, ON_DEVICE = 2**20, 2**27
"""Changes of length computed at once."""


@dataclass(frozen=True)
class Optima:
    """What a local search made of solutions."""

    actions: Int[Tensor, "batch solution place"]
    """As `nco.envs.checker.routes_from_actions` reads them."""
    costs: Float[Tensor, "batch solution"]
    """In float64."""
    iterations: int
    done: Bool[Tensor, "batch solution"]
    """Whether no move improves it; False where time was up."""


@final
class BatchedLocalSearch:
    """Best improvement over the moves of `nco.baselines.batched_moves`, to local optima.

    Rules are those of `nco.envs.variants.multi_task`: with several depots, limits or windows a
    vehicle must be able to go straight home after every customer, as everywhere in an environment.

    Args:
        instance: of any variant, on any device; padding allowed. All TSPs, or none.
        num_neighbours: each customer's moves are towards so many nearest others, the way there or
            back whichever is shorter; as many as there are make the neighbourhood complete.
        candidates: built at a time; by default `FEW` or `MANY`. It changes no local optimum's
            being one, only what is computed on the way.

    Raises:
        InputError: as `require_known`, or TSPs and others are mixed.
    """

    def __init__(
        self, instance: Instance, num_neighbours: int = 20, candidates: int | None = None
    ) -> None:
        require_known(instance)
        tours = instance.num_depots == 0
        self.is_tour = bool(tours.all())
        if bool(tours.any()) != self.is_tour:
            raise InputError("a batch has TSPs and others; accepted: either")
        self.instance = instance
        self.layout = Layout.of(instance)
        self.exact = _lengths(with_dtype(instance, torch.float64))
        self.problem = None if self.is_tour else multi_task.reset(instance, 1).problem
        self.most = _most_customers(instance)
        held = attributes_by_name(instance)
        rich = any(bool(held[name].any()) for name in BEYOND_SUMS)
        self.candidates = (MANY if rich else FEW) if candidates is None else candidates
        longest = self.exact.amax((1, 2)).view(-1, 1, 1)
        self.least = (-LEAST_CHANGE * longest).float()
        looked_at = self.exact
        few = instance.num_nodes**2 * self.layout.spares <= MOST_WAYS
        if rich and self.problem is not None and few and _metric(instance):
            # moves that make such a way are longer than any solution
            closed = ~_passable(self.problem)
            looked_at = torch.where(closed, CLOSED * longest, self.exact)
        self.tables = _tables(instance, self.layout, self.exact, looked_at, num_neighbours)

    @property
    def at_once(self) -> int:
        """Solutions of each instance that had better not be exceeded: what fits into caches, or
        into a device's memory."""
        most = ON_CPU if self.exact.is_cpu else ON_DEVICE
        return max(1, most // (self.exact.shape[0] * max(1, self.tables.size)))

    def improve(
        self,
        actions: Int[Tensor, "batch solution step"],
        *,
        in_time: Callable[[], bool] = lambda: True,
    ) -> Optima:
        """Solutions made better until no move improves any, or while there is time.

        Args:
            actions: feasible solutions as an environment builds them.
        """
        rows = self.layout.rows(self.instance, actions)
        found, done, iterations = self._descended(rows, in_time)
        places = Places.of(found, self.layout, self.instance.num_nodes)
        costs = self._route_lengths(places).masked_fill(~places.heads, 0).sum(2)
        return Optima(found, costs, iterations, done)

    def _descended(
        self, row: Int[Tensor, "batch solution place"], in_time: Callable[[], bool]
    ) -> tuple[Tensor, Bool[Tensor, "batch solution"], int]:
        """Rows made better, whether each is done, and the iterations."""
        b, s, _ = row.shape
        kept, iterations = row.clone(), 0
        done = torch.zeros(b, s, dtype=torch.bool, device=row.device)
        which = torch.arange(s, device=row.device).expand(b, s)
        tried = done.unsqueeze(2).repeat(1, 1, self.tables.size)
        look = 1 if row.is_cpu else LOOK
        while s > 0 and self.instance.num_nodes > 2 - bool(self.layout.spares) and in_time():
            hopeful = done
            for _ in range(look):
                row, hopeful = self.iterate(row, tried)
            iterations += look
            kept.scatter_(1, which.unsqueeze(2).expand_as(row), row)
            done.scatter_(1, which, ~hopeful)
            left = int(hopeful.sum(1).max())
            if left <= s // 2:
                # those that are done drop out
                going = (~hopeful).to(torch.uint8).argsort(dim=1, stable=True)[:, :left]
                row, tried, which = (_some(x, going) for x in (row, tried, which))
                s = left
        return kept, done, iterations

    def iterate(
        self,
        row: Int[Tensor, "batch solution place"],
        tried: Bool[Tensor, "batch solution candidate"],
    ) -> tuple[Int[Tensor, "batch solution place"], Bool[Tensor, "batch solution"]]:
        """The rows after one move each, and whether there was a candidate. ``tried`` is written."""
        tables = self.tables
        places = Places.of(row, self.layout, self.instance.num_nodes)
        change = changes(tables, places).masked_fill_(tried, torch.inf)
        count = min(self.candidates, tables.size)
        value, index = change.topk(count, 2, largest=False)
        hopeful = value < self.least
        moves = moves_at(tables, places, index).only(hopeful)
        lengths = self._route_lengths(places)
        most = None if row.is_cpu else self.most
        draft = drafts(places, lengths, moves, most, 1 if self.is_tour else 2)
        new = self._draft_lengths(draft)
        taken = hopeful & draft.whole & (new < draft.old * (1 - LEAST_GAIN))
        if self.problem is not None:
            b, s, c, r = draft.depot.shape
            driven = multi_task.drivable(
                self.problem, draft.depot.view(b, -1), draft.customers.view(b, s * c * r, -1)
            )
            taken = taken & driven.view(b, s, c, r).all(3)
        gain = (new - draft.old).masked_fill(~taken, torch.inf)
        if self.is_tour:
            row, touched = _moved_apart(places, moves, gain)
        else:
            row, touched = self._moved(places, index, gain)
        # what was refused stays so until one of its routes changes
        tried.scatter_(2, index, ~taken)
        tables.forget(tried, touched)
        return row, hopeful[:, :, 0]

    def _moved(
        self,
        places: Places,
        index: Int[Tensor, "batch solution candidate"],
        gain: Float[Tensor, "batch solution candidate"],
    ) -> tuple[Int[Tensor, "batch solution place"], Bool[Tensor, "batch solution node"]]:
        """Rows after the best move of each, and the next best ones of routes that are still as they
        were; and the customers of routes that changed.

        Args:
            index: the candidates.
            gain: negative, inf where a candidate is not to be taken.
        """
        tables = self.tables
        kind, u, v, _ = tables.read(index)
        touched = torch.zeros_like(places.where, dtype=torch.bool)
        for turn in range(AT_ONCE):
            if turn > 0:
                # of moves that open a route one at a time, as vehicles may be few
                spent = picked(touched, u) | picked(touched, v) | tables.opening[kind]
                gain = gain.masked_fill(spent, torch.inf)
            best = gain.argmin(2, keepdim=True)
            moved = gain.gather(2, best).isfinite()
            move = moves_at(tables, places, index.gather(2, best)).only(moved)
            touched = touched | (places.touched(move) & moved)
            row = torch.where(moved, self.layout.packed(places.after(move)), places.row)
            places = Places.of(row, self.layout, self.instance.num_nodes)
        return places.row, touched

    def _route_lengths(self, places: Places) -> Float[Tensor, "batch solution place"]:
        """Of the route at each place, in float64."""
        row = places.row
        before = torch.nn.functional.pad(row[:, :, :-1], (1, 0))
        driven = self._length(before, row).masked_fill(places.depot, 0).cumsum(2)
        last = places.end - 1
        way = picked(driven, last) - picked(driven, places.begin)
        return way + self._length(places.at(last), places.at(places.begin))

    def _draft_lengths(self, draft: Drafts) -> Float[Tensor, "batch solution move"]:
        """Of all routes of each move, in float64."""
        depot = draft.depot.unsqueeze(4)
        stops = torch.cat([depot, draft.customers, depot], 4)
        return self._length(stops[..., :-1], stops[..., 1:]).sum((3, 4))

    def _length(self, start: Tensor, to: Tensor) -> Tensor:
        """Of the ways between nodes [B, ...], in float64."""
        b, n, _ = self.exact.shape
        offset = torch.arange(b, device=to.device).view(-1, *(1 for _ in to.shape[1:])) * n * n
        index = offset + start * n + to
        return self.exact.view(-1).index_select(0, index.flatten()).view(index.shape)


def _moved_apart(
    places: Places, moves: Exchange, gain: Float[Tensor, "batch solution candidate"]
) -> tuple[Int[Tensor, "batch solution place"], Bool[Tensor, "batch solution node"]]:
    """Tours after the best move of each, and the next best ones of parts that are still as they
    were; and the customers of tours that changed."""
    changed = gain.amin(2, keepdim=True).isfinite()
    for _ in range(AT_ONCE):
        best = gain.argmin(2, keepdim=True)
        move = moves.chosen(best).only(gain.gather(2, best).isfinite())
        places = dataclasses.replace(places, row=places.after(move))
        gain = gain.masked_fill(moves.overlaps(move), torch.inf)
    return places.row, changed.expand_as(places.where)


def _some(values: Tensor, which: Int[Tensor, "batch chosen"]) -> Tensor:
    """Some solutions of each instance; values are [B, S] or [B, S, X]."""
    if values.dim() == 2:
        return values.gather(1, which)
    return values.gather(1, which.unsqueeze(2).expand(-1, -1, values.shape[2]))


def _lengths(instance: Instance) -> Float[Tensor, "batch from to"]:
    """Of all ways; nothing to depots where routes are open."""
    lengths = distance_matrix(instance)
    free = is_depot(instance).unsqueeze(1) & instance.open_route.view(-1, 1, 1)
    return lengths.masked_fill(free, 0).contiguous()


def _passable(problem: Problem) -> Bool[Tensor, "batch from to"]:
    """Whether a vehicle from some depot can drive to the one customer and on to the other; True at
    depots."""
    b, n = problem.customer.shape
    node = torch.arange(n, device=problem.customer.device)
    pairs = torch.stack((node.repeat_interleave(n), node.repeat(n)), 1).expand(b, -1, -1)
    found = ~(problem.customer.unsqueeze(2) & problem.customer.unsqueeze(1)).flatten(1)
    for depot in range(int(problem.num_depots.max())):
        at = torch.full((b, n * n), depot, device=node.device)
        found |= multi_task.drivable(problem, at, pairs) & (depot < problem.num_depots)
    return found.view(b, n, n)


def _metric(instance: Instance) -> bool:
    """Whether a customer more never makes a route shorter, or earlier where there are windows: then
    a way that no route of two customers can take is in no route."""
    if instance.distance is None and bool((instance.rounding == Rounding.NONE).all()):
        return True
    if instance.num_nodes**3 > MOST_DETOURS:
        return False
    held = attributes_by_name(instance)
    customer = is_customer(instance)
    padded = ~(instance.valid.unsqueeze(2) & instance.valid.unsqueeze(1))
    most = torch.tensor(0.0, device=instance.valid.device)
    for name, ways, stop in (
        (TIME_WINDOWS, duration_matrix(instance), instance.service_time),
        (DISTANCE_LIMIT, distance_matrix(instance), torch.zeros_like(instance.service_time)),
    ):
        there = held[name].view(-1, 1, 1)
        if not bool(there.any()):
            continue
        rounding = LEAST_CHANGE * ways.amax((1, 2)).view(-1, 1, 1)
        for k in range(instance.num_nodes):
            around = ways[:, :, k : k + 1] + stop[:, k].view(-1, 1, 1) + ways[:, k : k + 1]
            elsewhere = padded | ~(there & customer[:, k].view(-1, 1, 1))
            saved = (ways - around - rounding).masked_fill(elsewhere, 0)
            most = torch.maximum(most, saved.amax())
    return bool(most <= 0)


def _tables(
    instance: Instance,
    layout: Layout,
    lengths: Float[Tensor, "batch from to"],
    looked_at: Float[Tensor, "batch from to"],
    count: int,
) -> Tables:
    customer = is_customer(instance)
    if not layout.spares:
        # node 0 of a tour, which its row leaves, counts as a depot
        customer = customer & (torch.arange(instance.num_nodes, device=customer.device) > 0)
    either = torch.minimum(lengths, lengths.mT)
    apart = ~torch.eye(instance.num_nodes, dtype=torch.bool, device=customer.device)
    pair = customer.unsqueeze(2) & customer.unsqueeze(1) & apart
    either = either.masked_fill(~pair, torch.inf)
    count = max(1, min(count, instance.num_nodes - 1 - max(layout.spares - 1, 0)))
    near = either.argsort(dim=2, stable=True)[:, :, :count].contiguous()
    symmetric = torch.equal(looked_at, looked_at.mT)
    loads: tuple[Tensor, ...] = ()
    if bool(instance.capacity.isfinite().any()):
        loads = (instance.linehaul.float(),)
        if bool((instance.backhaul > 0).any()):
            loads = (*loads, instance.backhaul.float())
    return Tables(
        distance=looked_at.float(),
        customer=customer,
        near=near,
        close=pair.gather(2, near),
        loads=loads,
        capacity=instance.capacity.float().unsqueeze(1),
        layout=layout,
        num_vehicles=instance.num_vehicles.unsqueeze(1),
        simple=symmetric and layout.spares <= 1 and not bool(instance.open_route.any()),
    )


def _most_customers(instance: Instance) -> int:
    """So many at most that the loads of a route allow; all of a tour."""
    customer = is_customer(instance)
    room = instance.capacity.double().unsqueeze(1) * (1 + 2 * SLACK)
    free = customer
    most = torch.zeros_like(instance.num_depots)
    for load in (instance.linehaul, instance.backhaul):
        loaded = customer & (load > 0)
        free = free & ~loaded
        sums = load.double().masked_fill(~loaded, torch.inf).sort(1).values.cumsum(1)
        most = most + ((sums <= room) & sums.isfinite()).sum(1)
    return int((most + free.sum(1)).clamp(max=customer.sum(1)).max())
