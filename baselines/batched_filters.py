"""Which of the moves of `nco.baselines.batched_moves` there are, and all their changes of length.

What sums of loads forbid is left out, as `nco.baselines.local_rows.fits` leaves it out: needed in
every variant, but not always enough. The rules themselves are asked by
`nco.baselines.batched_search`.

Axes: B instances, S solutions, N nodes, K neighbours, D depots, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nco.baselines.batched_changes import Around, of_pair, of_single
from nco.baselines.batched_moves import Kind, Tables
from nco.baselines.batched_tours import Places, picked

ROUNDING = 1e-5
"""Of the capacity: what a filter in float32 lets pass above it."""


def changes(tables: Tables, places: Places) -> Float[Tensor, "batch solution candidate"]:
    """What each move changes the length by, numbered as `nco.baselines.batched_moves.moves_at`
    reads them; inf where there is no such move, or a sum of loads says that it is not allowed."""
    around = Around(tables, places)
    allowed = Allowed(around)
    b, s, n = around.place.shape
    pairs, singles = n * tables.near.shape[2], n * tables.depots
    size = len(tables.pairs) * pairs + len(tables.alone) * singles
    found = tables.distance.new_empty(b, s, size)
    at = 0
    for kind in tables.pairs:
        change = of_pair(around, kind).masked_fill_(~allowed.pair(kind), torch.inf)
        found[:, :, at : at + pairs] = change.flatten(2)
        at += pairs
    for kind in tables.alone:
        change = of_single(around, kind).masked_fill_(~allowed.single(kind), torch.inf)
        found[:, :, at : at + singles] = change.flatten(2)
        at += singles
    return found


@final
@dataclass(frozen=True)
class Carried:
    """Sums of one kind of load along the routes, in float32."""

    around: Around
    before: tuple[Float[Tensor, "batch solution node"], Float[Tensor, "batch solution node"]]
    """From the depot up to in front of the customer, and up to it."""
    whole: Float[Tensor, "batch solution node"]
    """Of the customer's route."""
    sums: Float[Tensor, "batch solution place"]
    """Since the row's beginning, in float64."""

    @staticmethod
    def of(around: Around, load: Float[Tensor, "batch node"]) -> Carried:
        """A load of each node."""
        places = around.places
        b, s, _ = places.row.shape
        loads = load.unsqueeze(1).expand(b, s, -1)
        sums = picked(loads, places.row).double().cumsum(2)
        start = picked(sums, around.begin)
        up_to = (picked(sums, around.place) - start).float()
        whole = (picked(sums, around.end - 1) - start).float()
        return Carried(around, (up_to - loads, up_to), whole, sums)

    def piece(self, k: int) -> Float[Tensor, "batch solution node"]:
        """Of so many customers from each on; what lies beyond its route's end does not count."""
        last = torch.minimum(self.around.place + k, self.around.end) - 1
        return (picked(self.sums, last) - picked(self.sums, self.around.place - 1)).float()

    @cached_property
    def near_whole(self) -> Float[Tensor, "batch solution node neighbour"]:
        """``whole`` of v."""
        return self.around.at_near(self.whole)

    @cached_property
    def near_before(self) -> tuple[Tensor, Tensor]:
        """``before`` of v."""
        return self.around.at_near(self.before[0]), self.around.at_near(self.before[1])

    @cached_property
    def pieces(self) -> list[Float[Tensor, "batch solution node 1"]]:
        """`piece` of every length."""
        return [self.piece(k).unsqueeze(3) for k in range(4)]

    @cached_property
    def near_pieces(self) -> list[Float[Tensor, "batch solution node neighbour"]]:
        """`piece` of v."""
        return [self.around.at_near(piece.squeeze(3)) for piece in self.pieces[:3]]

    def tails(self, kind: Kind) -> tuple[Tensor, Tensor]:
        """Of the routes of u and v where ends, or an end and a beginning, change places."""
        mine, theirs = self.before[kind.first].unsqueeze(3), self.near_before[kind.second]
        end = self.whole.unsqueeze(3) - mine
        other_end = self.near_whole - theirs
        if kind.where == 1:
            return mine + theirs, end + other_end
        return mine + other_end, theirs + end

    def exchanged(self, k: int, m: int) -> tuple[Tensor, Tensor]:
        """Of the routes of u and v where they exchange so many customers from these on."""
        out = self.pieces[k]
        if m == 0:
            return self.whole.unsqueeze(3) - out, self.near_whole + out
        difference = self.near_pieces[m] - out
        return self.whole.unsqueeze(3) + difference, self.near_whole - difference


@final
class Allowed:
    """Which moves there are, and which of them sums of loads leave room for."""

    def __init__(self, around: Around) -> None:
        tables, places = around.tables, around.places
        self.around = around
        self.close = tables.close.unsqueeze(1)
        number = tables.layout.num_depots.view(-1, 1, 1, 1)
        depot = torch.arange(tables.depots, device=number.device)
        self.known = tables.customer.unsqueeze(1).unsqueeze(3) & (depot < number)
        self.left = (places.routes < tables.num_vehicles)[:, :, None, None]
        self.starts = (around.place - around.begin == 1).unsqueeze(3)
        self.loads = [Carried.of(around, load) for load in tables.loads]
        self.room = (tables.capacity * (1 + ROUNDING)).view(-1, 1, 1, 1)

    @cached_property
    def apart(self) -> Bool[Tensor, "batch solution node neighbour"]:
        """Pairs of customers in two routes."""
        return self.close & ~self.around.same

    def pair(self, kind: Kind) -> Bool[Tensor, "batch solution node neighbour"]:
        """Of a kind of moves of two customers."""
        if kind.size < 0:
            return self._tails(kind)
        around, k, m = self.around, kind.size, kind.other
        ahead = around.ahead
        if m:
            free = (ahead < -m) | (ahead > k)
        else:
            gap = ahead + (kind.second - 1)
            free = (gap < -1) | (gap > k - 1)
        fits = self.apart
        for load in self.loads:
            mine, theirs = load.exchanged(k, m)
            fits = fits & (theirs <= self.room)
            if m:
                fits = fits & (mine <= self.room)
        allowed = fits | (self.close & around.same & free)
        if k > 1:
            allowed = allowed & around.has(k - 1).unsqueeze(3)
        return allowed & around.near_has(m - 1) if m > 1 else allowed

    def _tails(self, kind: Kind) -> Bool[Tensor, "batch solution node neighbour"]:
        fits = self.apart
        for load in self.loads:
            mine, theirs = load.tails(kind)
            fits = fits & (mine <= self.room) & (theirs <= self.room)
        return fits | (self.close & self.around.same) if kind.where == 1 else fits

    def single(self, kind: Kind) -> Bool[Tensor, "batch solution node depot"]:
        """Of a kind of moves of a customer and a depot."""
        if kind.where == 2:
            return self.known & self.starts
        allowed = self.known & self.left
        if kind.size < 0:
            return allowed & ~self.starts
        return allowed & self.around.has(kind.size - 1).unsqueeze(3)
