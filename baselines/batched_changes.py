"""What every move of `nco.baselines.batched_moves` changes the length of solutions by, at once.

Changes are in float32 and filters, of lengths and of sums of loads, not the rule: whoever takes a
move looks at what it makes (`nco.baselines.batched_search`).

Axes: B instances, S solutions, T places of a row, N nodes, K neighbours, D depots.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.baselines.batched_moves import AFTER, BEFORE, EXCHANGED, FROM, LONGEST, TO, Kind, Tables
from nco.baselines.batched_tours import Places, picked


@final
class Around:
    """What stands around each customer in rows, and what its moves change the length by.

    Values of nodes are [B, S, N], those of pairs [B, S, N, K]; rows of depots mean nothing.
    """

    def __init__(self, tables: Tables, places: Places) -> None:
        row = places.row
        width = row.shape[2]
        self.tables, self.places = tables, places
        self.place = places.where.contiguous()
        self.begin, self.end = picked(places.begin, self.place), picked(places.end, self.place)
        self.home = places.at(self.begin)
        # the nodes from one in front of the customer to three behind it; the depot at both ends
        beside = [places.at(self.place - 1)]
        for k in range(LONGEST + 1):
            node = places.at((self.place + k).clamp(max=width - 1))
            beside.append(torch.where(self.place + k < self.end, node, self.home))
        self.beside = beside
        self.arcs = [tables.length(x, y) for x, y in itertools.pairwise(beside)]
        self._near: dict[int, Tensor] = {}
        self._forth: dict[tuple[int, int], Tensor] = {}
        self._back: dict[tuple[int, int], Tensor] = {}

    def has(self, k: int) -> Bool[Tensor, "batch solution node"]:
        """Whether a customer has so many behind it in its route."""
        return self.place + k < self.end

    def at_near(self, values: Tensor) -> Tensor:
        """As `Tables.at_near`."""
        return self.tables.at_near(values)

    def forth(self, i: int, j: int) -> Tensor:
        """From the node i behind u to the node j behind v, -1 for that in front."""
        if (i, j) not in self._forth:
            start, to = self.beside[i + 1].unsqueeze(3), self.near(j)
            self._forth[i, j] = self.tables.length(start, to)
        return self._forth[i, j]

    def back(self, i: int, j: int) -> Tensor:
        """From the node j behind v to the node i behind u."""
        if self.tables.simple:
            return self.forth(i, j)
        if (i, j) not in self._back:
            start, to = self.near(j), self.beside[i + 1].unsqueeze(3)
            self._back[i, j] = self.tables.length(start, to)
        return self._back[i, j]

    def near(self, j: int) -> Tensor:
        """The node j behind v."""
        if j not in self._near:
            self._near[j] = self.at_near(self.beside[j + 1])
        return self._near[j]

    @cached_property
    def same(self) -> Bool[Tensor, "batch solution node neighbour"]:
        """Whether u and v are in one route."""
        return self.begin.unsqueeze(3) == self.at_near(self.begin)

    @cached_property
    def ahead(self) -> Int[Tensor, "batch solution node neighbour"]:
        """How far v is behind u in the row."""
        return self.at_near(self.place) - self.place.unsqueeze(3)

    @cached_property
    def near_arcs(self) -> list[Tensor]:
        """The arcs into v and behind it."""
        return [self.at_near(arc) for arc in self.arcs[: EXCHANGED + 1]]

    def near_has(self, k: int) -> Bool[Tensor, "batch solution node neighbour"]:
        """`has` of v."""
        return self.ahead + self.place.unsqueeze(3) + k < self.near_end

    @cached_property
    def near_end(self) -> Int[Tensor, "batch solution node neighbour"]:
        """Where v's route ends."""
        return self.at_near(self.end)

    @cached_property
    def ends(self) -> Ends:
        """The ends of routes, where they matter."""
        return Ends.of(self)

    def saved(self, k: int) -> Float[Tensor, "batch solution node"]:
        """By leaving out so many customers from u on; -inf where its route has fewer."""
        around = self.tables.length(self.beside[0], self.beside[k + 1])
        saved = self.arcs[0] + self.arcs[k] - around
        return saved.masked_fill(~self.has(k - 1), -torch.inf)

    def turning(self, k: int) -> Float[Tensor, "batch solution node"] | float:
        """What so many customers from u on grow by when they are turned round."""
        if self.tables.simple or k == 1:
            return 0.0
        sums = self.ends.turned
        last = (self.place + k - 1).clamp(max=sums.shape[2] - 1)
        return (picked(sums, last) - picked(sums, self.place)).float()


@final
@dataclass(frozen=True)
class Ends:
    """Sums along rows, and the ends of each customer's route, for ways that depend on direction
    and for several depots; values of nodes."""

    turned: Float[Tensor, "batch solution place"]
    """What the way since the row's beginning grows by when it is driven back, without the ways
    from depots and to them; in float64, as differences are taken."""
    here: Float[Tensor, "batch solution node"]
    """``turned`` at the customer."""
    first: Int[Tensor, "batch solution node"]
    last: Int[Tensor, "batch solution node"]
    out: Float[Tensor, "batch solution node"]
    """From the depot to the first customer."""
    home: Float[Tensor, "batch solution node"]
    """From the last one to the depot."""
    head: Float[Tensor, "batch solution node"]
    """What the route up to the customer grows by when it is turned round."""
    tail: Float[Tensor, "batch solution node"]
    """The same of the route from the customer on."""

    @staticmethod
    def of(around: Around) -> Ends:
        """Of all customers."""
        length, places = around.tables.length, around.places
        row, depot = places.row, places.depot
        before = torch.nn.functional.pad(row[:, :, :-1], (1, 0))
        inner = ~(depot | torch.nn.functional.pad(depot[:, :, :-1], (1, 0), value=True))
        growth = (length(row, before).double() - length(before, row)).masked_fill(~inner, 0)
        turned = growth.cumsum(2)
        first = places.at(around.begin + 1)
        last = places.at(around.end - 1)
        here = picked(turned, around.place)
        return Ends(
            turned=turned,
            here=here,
            first=first,
            last=last,
            out=length(around.home, first),
            home=length(last, around.home),
            head=(here - picked(turned, around.begin + 1)).float(),
            tail=(picked(turned, around.end - 1) - here).float(),
        )


def of_pair(around: Around, kind: Kind) -> Float[Tensor, "batch solution node neighbour"]:
    """What a kind of moves of two customers changes the length by."""
    forth, back = around.forth, around.back
    into, behind = around.near_arcs[0], around.near_arcs[1]
    if kind is AFTER:
        gone = behind + around.arcs[1].unsqueeze(3)
        if around.tables.simple:
            return forth(0, 0) + forth(1, 1) - gone
        return _turned_after(around) - gone
    if kind is BEFORE:
        gone = into + around.arcs[0].unsqueeze(3)
        if around.tables.simple:
            return forth(0, 0) + forth(-1, -1) - gone
        return _turned_before(around) - gone
    if kind is TO:
        gone = into + around.arcs[1].unsqueeze(3)
        if around.tables.simple:
            return forth(0, 0) + back(1, -1) - gone
        return _tail_to(around) - gone
    if kind is FROM:
        gone = behind + around.arcs[0].unsqueeze(3)
        if around.tables.simple:
            return back(0, 0) + forth(-1, 1) - gone
        return _tail_from(around) - gone
    k, m = kind.size, kind.other
    if m:
        gone = into + around.near_arcs[m] + (around.arcs[0] + around.arcs[k]).unsqueeze(3)
        return forth(-1, 0) + back(k, m - 1) + back(0, -1) + forth(k - 1, m) - gone
    side = kind.second
    gone = (around.saved(k) - around.turning(k) * kind.turned).unsqueeze(3)
    gone = gone + around.near_arcs[side]
    if kind.turned:
        return back(k - 1, side - 1) + forth(0, side) - gone
    return back(0, side - 1) + forth(k - 1, side) - gone


def _turned_after(around: Around) -> Tensor:
    """What `AFTER` adds where ways depend on direction or routes end at different depots."""
    ends, at_near, length = around.ends, around.at_near, around.tables.length
    has = around.has(1)
    next_turned = torch.where(has, _behind(around), 0.0)
    u, v = ends.here.unsqueeze(3), at_near(ends.here)
    inner = torch.where(
        around.ahead > 0,
        around.forth(0, 0) + around.forth(1, 1) + (v - next_turned.unsqueeze(3)).float(),
        around.back(0, 0) + around.back(1, 1) + (u - at_near(next_turned)).float(),
    )
    # of two routes: the beginning of b behind u, and what followed u in front of what followed v
    first, home_b = at_near(ends.first), at_near(around.home)
    one = around.forth(0, 0) + at_near(ends.head) + length(first, around.home.unsqueeze(3))
    last = ends.last.unsqueeze(3)
    tail = (picked(ends.turned, around.end - 1) - next_turned).float()
    two = length(home_b, last) + (tail - ends.home).unsqueeze(3) + around.forth(1, 1)
    two = torch.where(has.unsqueeze(3), two, length(home_b, around.near(1)))
    return torch.where(around.same, inner, one + two - at_near(ends.out))


def _turned_before(around: Around) -> Tensor:
    """The same of `BEFORE`."""
    ends, at_near, length = around.ends, around.at_near, around.tables.length
    starts = around.place - around.begin == 1
    before = picked(ends.turned, around.place - 1)
    u, v = ends.here.unsqueeze(3), at_near(ends.here)
    inner = torch.where(
        around.ahead > 0,
        around.forth(0, 0) + around.forth(-1, -1) + (at_near(before) - u).float(),
        around.back(0, 0) + around.back(-1, -1) + (before.unsqueeze(3) - v).float(),
    )
    # of two routes: what is in front of v behind what is in front of u, and u in front of v
    first, home, home_b = at_near(ends.first), around.home.unsqueeze(3), at_near(around.home)
    head = (before - picked(ends.turned, around.begin + 1)).float()
    one = around.forth(-1, -1) + at_near(head - ends.out) + length(first, home)
    one = torch.where(at_near(starts), length(around.beside[0].unsqueeze(3), home), one)
    two = length(home_b, ends.last.unsqueeze(3)) + (ends.tail - ends.home).unsqueeze(3)
    return torch.where(around.same, inner, one + two + around.forth(0, 0))


def _behind(around: Around) -> Tensor:
    """`Ends.turned` at what follows each customer."""
    sums = around.ends.turned
    return picked(sums, (around.place + 1).clamp(max=sums.shape[2] - 1))


def _other_home(around: Around) -> tuple[Tensor, Tensor]:
    """What a's end adds where its route ends at b's depot, and b's where at a's."""
    ends, at_near, length = around.ends, around.at_near, around.tables.length
    last, home = ends.last.unsqueeze(3), around.home.unsqueeze(3)
    to_b = length(last, at_near(around.home)) - ends.home.unsqueeze(3)
    to_a = length(at_near(ends.last), home) - at_near(ends.home)
    return to_b, to_a


def _tail_to(around: Around) -> Tensor:
    """What `TO` adds where ways depend on direction or routes end at different depots."""
    to_b, to_a = _other_home(around)
    has = around.has(1).unsqueeze(3)
    empty = around.tables.length(around.near(-1), around.at_near(around.home))
    rest = torch.where(has, around.back(1, -1) + to_b, empty)
    return around.forth(0, 0) + to_a + rest


def _tail_from(around: Around) -> Tensor:
    """The same of `FROM`."""
    to_b, to_a = _other_home(around)
    empty = around.tables.length(around.beside[0], around.home).unsqueeze(3)
    rest = torch.where(around.near_has(1), around.forth(-1, 1) + to_a, empty)
    return around.back(0, 0) + to_b + rest


def of_single(around: Around, kind: Kind) -> Float[Tensor, "batch solution node depot"]:
    """What a kind of moves of a customer and a depot changes the length by."""
    length = around.tables.length
    depot = torch.arange(around.tables.depots, device=around.place.device).expand(1, 1, 1, -1)
    u = around.beside[1].unsqueeze(3)
    if kind.where == 3 and kind.size > 0:
        end = around.beside[kind.size].unsqueeze(3)
        return length(depot, u) + length(end, depot) - around.saved(kind.size).unsqueeze(3)
    ends = around.ends
    last = ends.last.unsqueeze(3)
    if kind.where == 2:
        gone = (ends.out + ends.home).unsqueeze(3)
        if kind.turned:
            whole = ends.tail.unsqueeze(3)
            return length(depot, last) + length(u, depot) + whole - gone
        return length(depot, u) + length(last, depot) - gone
    gone = around.arcs[0] + ends.home - length(around.beside[0], around.home)
    return length(depot, u) + length(last, depot) - gone.unsqueeze(3)
