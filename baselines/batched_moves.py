"""The moves of a local search on many solutions at once, and which pieces of rows they exchange.

The moves are those of `nco.baselines.local_moves`, and 2-opt between two routes as well (both are
joined by their beginnings and by their ends, Croes 1958 across routes). For a customer u, one near
it, v, and with them a and b, their routes:

- "after", "before": u and v, and what follows or precedes both, become neighbours: within one route
  what lies between is turned round, of two routes the end of a and the beginning of b change
  places, both turned round;
- "to", "from": a goes on with v behind u, or b with u behind v (2-opt*);
- "relocate": up to three customers from u on, to behind v or in front of v, turned round or not;
- "swap": up to two customers from u on and up to two from v on.

And for a customer u and a depot d: the end of its route from u on, or up to three customers from u
on, get a route of their own from d; the whole route that u begins leaves d instead, turned round or
not.

What they change the length by, `nco.baselines.batched_changes` says.

Axes: B instances, S solutions, N nodes, K neighbours, D depots, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.baselines.batched_tours import Exchange, Layout, Places, picked

LONGEST = 3
"""Customers of a piece that is relocated."""
EXCHANGED = 2
"""Customers of a piece that is swapped, at most."""


class Kind(NamedTuple):
    """A kind of move: the pieces from u and from v on, as `pieces` reads them."""

    first: int
    """Where the piece of u begins, behind u."""
    size: int
    """Its customers; -1 for all up to the route's end."""
    turned: bool
    where: int
    """Of the other piece: behind or at v (0), the beginning of v's route up to v (1), nothing
    behind the first piece (2), nothing in a depot's empty route (3)."""
    second: int
    """Where the other piece begins, behind v; where it ends, for the beginning of a route."""
    other: int
    """Its customers; -1 for all up to the route's end."""


AFTER, BEFORE = Kind(1, -1, True, 1, 1, 0), Kind(0, -1, True, 1, 0, 0)
TO, FROM = Kind(1, -1, False, 0, 0, -1), Kind(0, -1, False, 0, 1, -1)
RELOCATE = [
    Kind(0, k, turned, 0, side, 0)
    for k in range(1, LONGEST + 1)
    for turned in ((False, True) if k > 1 else (False,))
    for side in (1, 0)
]
SWAP = [
    Kind(0, k, False, 0, 0, m) for k in range(1, EXCHANGED + 1) for m in range(1, EXCHANGED + 1)
]
PAIRS = [AFTER, BEFORE, TO, FROM, *RELOCATE, *SWAP]
"""Kinds of moves of two customers."""
OPENING = [Kind(0, -1, False, 3, 0, 0), *(Kind(0, k, False, 3, 0, 0) for k in (1, 2, 3))]
WHOLE = [Kind(0, -1, False, 2, 0, 0), Kind(0, -1, True, 2, 0, 0)]
ALONE = [*OPENING, *WHOLE]
"""Kinds of moves of a customer and a depot."""


@final
@dataclass(frozen=True)
class Tables:
    """What moves of a batch of instances read."""

    distance: Float[Tensor, "batch from to"]
    """In float32; 0 to depots where routes are open."""
    customer: Bool[Tensor, "batch node"]
    near: Int[Tensor, "batch node neighbour"]
    """For each customer the others nearest to it, the way there or back whichever is shorter."""
    close: Bool[Tensor, "batch node neighbour"]
    """Whether both are customers."""
    loads: tuple[Float[Tensor, "batch node"], ...]
    """Of each node: delivered, and picked up where some instance has pickups; none where no
    instance has a capacity."""
    capacity: Float[Tensor, "batch 1"]
    layout: Layout
    num_vehicles: Int[Tensor, "batch 1"]
    simple: bool
    """Routes are as long turned round, and all end at one depot."""

    @cached_property
    def flat(self) -> Float[Tensor, " arc"]:
        """The distances in one row."""
        return self.distance.flatten()

    @cached_property
    def offset(self) -> Int[Tensor, "batch 1 1 1"]:
        """Where each instance's distances begin in ``flat``."""
        b, n, _ = self.distance.shape
        return (torch.arange(b, device=self.near.device) * n * n).view(b, 1, 1, 1)

    def length(self, start: Tensor, to: Tensor) -> Tensor:
        """Of the ways between nodes [B, S, N] or [B, S, N, K]."""
        if max(start.dim(), to.dim()) == 3:
            return self.length(start.unsqueeze(3), to.unsqueeze(3)).squeeze(3)
        index = start * self.distance.shape[1] + self.offset + to
        return self.flat.index_select(0, index.flatten()).view(index.shape)

    def at_near(self, values: Tensor) -> Tensor:
        """What values of nodes [B, S, N] are at the nodes near them, [B, S, N, K]."""
        b, s, n = values.shape
        index = self.near.view(b, 1, -1).expand(b, s, -1)
        return values.gather(2, index).view(b, s, n, -1)

    @cached_property
    def pairs(self) -> list[Kind]:
        """The kinds of moves of two customers that there are; a tour has no other route."""
        return PAIRS if self.layout.spares else [k for k in PAIRS if k not in (TO, FROM)]

    @cached_property
    def alone(self) -> list[Kind]:
        """The kinds of moves of a customer and a depot."""
        whole = [] if self.simple else WHOLE
        return [*OPENING, *whole] if self.layout.spares else whole

    @cached_property
    def kinds(self) -> Int[Tensor, "kind 6"]:
        """All of them, as `pieces` reads them."""
        return torch.tensor([*self.pairs, *self.alone], device=self.near.device)

    @property
    def size(self) -> int:
        """The number of moves of a solution."""
        n, near = self.near.shape[1:]
        return n * (len(self.pairs) * near + len(self.alone) * self.depots)

    @cached_property
    def opening(self) -> Bool[Tensor, " kind"]:
        """Whether each kind gives customers a route of their own."""
        return self.kinds[:, Kind._fields.index("where")] == 3

    def read(
        self, index: Int[Tensor, "batch solution candidate"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Kind, u, v and depot of the moves with these numbers: kind by kind, of pairs u by u and
        near one by near one, then of customers u by u and depot by depot; v is then u."""
        b, n, near = self.near.shape
        block, depots, pairs = n * near, self.depots, len(self.pairs)
        paired, single = index < pairs * block, index - pairs * block
        kind = torch.where(paired, index // block, pairs + single // (n * depots))
        u = torch.where(paired, index % block // near, single % (n * depots) // depots)
        v = self.near.view(b, 1, block).expand(-1, index.shape[1], -1).gather(2, index % block)
        return kind, u, torch.where(paired, v, u), torch.where(paired, 0, single % depots)

    def forget(
        self,
        marks: Bool[Tensor, "batch solution move"],
        touched: Bool[Tensor, "batch solution node"],
    ) -> None:
        """Clear marks of all moves in which these customers' routes have a part."""
        b, s, n = touched.shape
        paired, near = len(self.pairs), self.near.shape[2]
        either = ~(touched.unsqueeze(3) | self.at_near(touched)).unsqueeze(2)
        block = paired * n * near
        marks[:, :, :block].view(b, s, paired, n, near).logical_and_(either)
        rest = marks[:, :, block:].view(b, s, len(self.alone), n, self.depots)
        rest.logical_and_(~touched[:, :, None, :, None])

    @property
    def depots(self) -> int:
        """D."""
        return max(self.layout.spares, 1)


def moves_at(
    tables: Tables, places: Places, index: Int[Tensor, "batch solution candidate"]
) -> Exchange:
    """The moves with these numbers (`Tables.read`)."""
    return pieces(tables, places, *tables.read(index))


def pieces(
    tables: Tables, places: Places, kind: Tensor, u: Tensor, v: Tensor, depot: Tensor
) -> Exchange:
    """What moves exchange; all [B, S, C].

    Args:
        kind: the number among ``tables.pairs`` and ``tables.alone`` behind them.
        depot: of moves of a customer and a depot.
    """
    first, size, turned, where, second, other = tables.kinds[kind].unbind(-1)
    i, j = picked(places.where, u), picked(places.where, v)
    begin, end = picked(places.begin, j), picked(places.end, i)
    start = i + first
    stop = torch.where(size < 0, end, start + size)
    start_other = torch.where(where == 1, begin + 1, j + second)
    stop_other = torch.where(other < 0, picked(places.end, j), start_other + other)
    stop_other = torch.where(where == 1, j + second, stop_other)
    # within one route "after" and "before" turn round what lies between
    between = (where == 1) & (picked(places.begin, i) == begin)
    low, high = torch.minimum(i, j) + first, torch.maximum(i, j) + second
    start, stop = torch.where(between, low, start), torch.where(between, high, stop)
    spare = places.taken.unsqueeze(2) + depot + 1
    alone = torch.where(where == 3, spare, stop)
    nothing = between | (where >= 2)
    start_other = torch.where(nothing, alone, start_other)
    stop_other = torch.where(nothing, alone, stop_other)
    is_turned = turned.bool()
    return Exchange.ordered(
        (start, stop, is_turned),
        (start_other, stop_other, is_turned & (where == 1) & ~between),
        torch.where(where == 2, depot, -1),
    )
