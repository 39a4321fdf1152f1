"""Many solutions of many instances as rows of nodes, for a local search on a device.

A row is the routes one after another, each behind its depot. Behind the last one every depot
stands once more, as a route without customers that a move may fill, and depots 0 up to the row's
end. A TSP's row begins with node 0, which counts as its depot, and has no empty routes to fill.

Every move exchanges two pieces of a row, each as it is or turned round, either of them empty or
not; so one rule, `Exchange.sources`, says what all moves make of a row.

Axes: B instances, S solutions, T places of a row, N nodes, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.instance import Instance


@dataclass(frozen=True)
class Layout:
    """How rows of a batch of instances are laid out."""

    num_depots: Int[Tensor, "batch 1"]
    """Nodes that begin a route: 1 for a TSP."""
    spares: int
    """Empty routes behind the others: the most depots of an instance, none for TSPs."""
    width: int
    """T."""

    @staticmethod
    def of(instance: Instance) -> Layout:
        """For instances that are all TSPs or all have depots."""
        nodes, depots = instance.num_nodes, int(instance.num_depots.max())
        first = instance.num_depots.clamp(min=1).unsqueeze(1)
        if depots == 0:
            return Layout(first, 0, nodes)
        # at worst each customer has a route of its own
        most = int((instance.valid.sum(1) - instance.num_depots).max())
        return Layout(first, depots, 2 * most + depots)

    def packed(
        self, nodes: Int[Tensor, "batch solution step"]
    ) -> Int[Tensor, "batch solution place"]:
        """Rows from nodes in order, without their empty routes and with the spare ones; they begin
        with a depot. A TSP's stay as they are."""
        if not self.spares:
            return nodes
        b, s, _ = nodes.shape
        depots = nodes < self.num_depots.unsqueeze(1)
        followed = torch.nn.functional.pad(~depots[:, :, 1:], (0, 1))
        kept = ~depots | followed
        place = torch.where(kept, kept.cumsum(2) - 1, self.width)
        row = nodes.new_zeros(b, s, self.width + 1).scatter_(2, place, nodes)
        if self.spares > 1:
            spare = torch.arange(self.spares, device=nodes.device)
            spare = torch.where(spare < self.num_depots, spare, 0).unsqueeze(1)
            row.scatter_(2, self.spare_places(kept.sum(2)), spare.expand(b, s, -1))
        return row[:, :, : self.width]

    def spare_places(
        self, taken: Int[Tensor, "batch solution"]
    ) -> Int[Tensor, "batch solution spare"]:
        """Where the empty route of each depot stands in rows of which so many places are taken."""
        return taken.unsqueeze(2) + torch.arange(self.spares, device=taken.device)

    def rows(
        self, instance: Instance, actions: Int[Tensor, "batch solution step"]
    ) -> Int[Tensor, "batch solution place"]:
        """Actions as an environment takes them, as rows."""
        if self.spares:
            return self.packed(torch.nn.functional.pad(actions, (1, 0)))
        step = torch.arange(self.width, device=actions.device)
        number = instance.valid.sum(1).view(-1, 1, 1)
        inside = step < number
        at = (actions[:, :, : self.width] == 0).logical_and_(inside).int().argmax(2, keepdim=True)
        return actions.gather(2, (at + step) % number).masked_fill(~inside, 0)


@dataclass(frozen=True)
class Places:
    """Where things stand in rows; all [B, S, T]."""

    row: Int[Tensor, "batch solution place"]
    where: Int[Tensor, "batch solution node"]
    """Of each customer its place; of others 1, the first customer's, which means nothing."""
    begin: Int[Tensor, "batch solution place"]
    """The place of the route's depot."""
    end: Int[Tensor, "batch solution place"]
    """Behind the last customer of the route."""
    depot: Bool[Tensor, "batch solution place"]
    """Whether a depot stands there."""
    taken: Int[Tensor, "batch solution"]
    """Places of routes with customers, in front of the spare ones."""
    routes: Int[Tensor, "batch solution"]
    """Routes with customers."""

    @staticmethod
    def of(row: Int[Tensor, "batch solution place"], layout: Layout, num_nodes: int) -> Places:
        """Of rows of so many nodes."""
        b, s, width = row.shape
        depot = row < layout.num_depots.unsqueeze(1)
        place = torch.arange(width, device=row.device).expand_as(row)
        where = row.new_ones(b, s, num_nodes + 1)
        where.scatter_(2, torch.where(depot, num_nodes, row), place)
        begin = torch.where(depot, place, 0).cummax(2).values
        following = torch.where(depot, place, width).flip(2).cummin(2).values.flip(2)
        # of a depot's place the next depot's
        end = torch.nn.functional.pad(following[:, :, 1:], (0, 1), value=width)
        taken = torch.where(depot, 0, place + 1).amax(2)
        customers = (~depot).sum(2)
        return Places(row, where[:, :, :num_nodes], begin, end, depot, taken, taken - customers)

    @property
    def heads(self) -> Bool[Tensor, "batch solution place"]:
        """Depots of routes with customers."""
        place = torch.arange(self.row.shape[2], device=self.row.device)
        return self.depot & (place < self.taken.unsqueeze(2))

    def touched(self, move: Exchange) -> Bool[Tensor, "batch solution node"]:
        """The customers of the routes that one move of each (C = 1) changes."""
        one, two = (picked(self.begin, start - 1) for start in move.start)
        begin = picked(self.begin, self.where)
        return (begin == one) | (begin == two)

    def after(self, move: Exchange) -> Int[Tensor, "batch solution place"]:
        """The rows after one move of each (C = 1)."""
        place = torch.arange(self.row.shape[2], device=self.row.device)
        source = move.sources(place.expand(*self.row.shape[:2], 1, -1))
        row = self.at(source.squeeze(2))
        begin = picked(self.begin, move.start[0] - 1)
        return torch.where((place == begin) & (move.depot >= 0), move.depot, row)

    def at(self, place: Int[Tensor, "batch solution ..."]) -> Int[Tensor, "batch solution ..."]:
        """The nodes at places."""
        return picked(self.row, place)


def picked(values: Tensor, index: Int[Tensor, "batch solution ..."]) -> Tensor:
    """Those of ``values`` [B, S, X] with these indices, whatever axes they have."""
    return values.gather(2, index.flatten(2)).view(index.shape)


@dataclass(frozen=True)
class Exchange:
    """Moves: two pieces of a row that do not overlap change places; all [B, S, C].

    The first is from ``start[0]`` up to before ``stop[0]``, and the second lies behind it. A depot
    in front of the first piece may become another.
    """

    start: tuple[Int[Tensor, "batch solution move"], Int[Tensor, "batch solution move"]]
    stop: tuple[Int[Tensor, "batch solution move"], Int[Tensor, "batch solution move"]]
    turned: tuple[Bool[Tensor, "batch solution move"], Bool[Tensor, "batch solution move"]]
    depot: Int[Tensor, "batch solution move"]
    """What the depot of the first piece's route becomes; -1 where it stays."""

    @staticmethod
    def ordered(
        one: tuple[Tensor, Tensor, Tensor], two: tuple[Tensor, Tensor, Tensor], depot: Tensor
    ) -> Exchange:
        """Of pieces (start, stop, turned) in any order."""
        swapped = two[0] < one[0]
        first = [torch.where(swapped, b, a) for a, b in zip(one, two, strict=True)]
        second = [torch.where(swapped, a, b) for a, b in zip(one, two, strict=True)]
        return Exchange((first[0], second[0]), (first[1], second[1]), (first[2], second[2]), depot)

    def only(self, mask: Bool[Tensor, "batch solution move"]) -> Exchange:
        """The same moves, and where there is none one that changes nothing."""

        def place(values: Tensor) -> Tensor:
            return torch.where(mask, values, 1)

        return Exchange(
            (place(self.start[0]), place(self.start[1])),
            (place(self.stop[0]), place(self.stop[1])),
            self.turned,
            torch.where(mask, self.depot, -1),
        )

    def chosen(self, index: Int[Tensor, "batch solution 1"]) -> Exchange:
        """One of the candidates of each solution."""

        def pick(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return pair[0].gather(2, index), pair[1].gather(2, index)

        return Exchange(
            pick(self.start), pick(self.stop), pick(self.turned), self.depot.gather(2, index)
        )

    def overlaps(self, other: Exchange) -> Bool[Tensor, "batch solution move"]:
        """Whether moves change a way between two places that one other of each (C = 1) changes, or
        move what it moves; those that do not can both be taken."""
        return (self.start[0] <= other.stop[1]) & (other.start[0] <= self.stop[1])

    @property
    def sizes(self) -> tuple[Tensor, Tensor]:
        """Places of the two pieces."""
        return self.stop[0] - self.start[0], self.stop[1] - self.start[1]

    def sources(
        self, place: Int[Tensor, "batch solution move place"]
    ) -> Int[Tensor, "batch solution move place"]:
        """Where what comes to stand at these places stood before."""
        p, q = (x.unsqueeze(3) for x in self.start)
        p_end, q_end = (x.unsqueeze(3) for x in self.stop)
        first_turned, second_turned = (x.unsqueeze(3) for x in self.turned)
        first, second = p_end - p, q_end - q
        into = place - p
        later = place - (q_end - first)
        moved = torch.where(second_turned, q_end - 1 - into, q + into)
        # between the pieces
        moved = torch.where(into >= second, place + first - second, moved)
        behind = torch.where(first_turned, p_end - 1 - later, p + later)
        moved = torch.where(later >= 0, behind, moved)
        return torch.where((place >= p) & (place < q_end), moved, place)


@dataclass(frozen=True)
class Drafts:
    """The routes that moves make: up to two of each, [B, S, C, R]."""

    depot: Int[Tensor, "batch solution move route"]
    customers: Int[Tensor, "batch solution move route place"]
    """In order; the route's depot behind the last one."""
    old: Float[Tensor, "batch solution move"]
    """Length of the routes as they were."""
    whole: Bool[Tensor, "batch solution move"]
    """Whether no route has more customers than were looked at."""


def drafts(
    places: Places,
    lengths: Float[Tensor, "batch solution place"],
    moves: Exchange,
    most: int | None,
    routes: int,
) -> Drafts:
    """The routes that moves change, as they would be.

    Args:
        lengths: of the route of each place.
        most: customers that a feasible route has at most; None looks at the moves' own, which
            waits for the device.
        routes: that a move changes at most: 1 of a TSP, else 2.
    """
    begins = [picked(places.begin, start - 1) for start in moves.start]
    ends = [picked(places.end, begin) for begin in begins]
    first, second = moves.sizes
    other = begins[0] != begins[1]
    change = torch.where(other, second - first, 0)
    size = [ends[0] - begins[0] - 1 + change, ends[1] - begins[1] - 1 - change]
    old = [picked(lengths, begin) for begin in begins]
    home = places.at(begins[0])
    depots = [torch.where(moves.depot < 0, home, moves.depot), places.at(begins[1])]
    begins[1] = begins[1] + change
    # where one route changes, there is no second one
    size[1] = torch.where(other, size[1], 0)
    depot, sizes = torch.stack(depots[:routes], 3), torch.stack(size[:routes], 3)
    most = int(sizes.max()) if most is None else most
    step = torch.arange(most, device=depot.device)
    place = (torch.stack(begins[:routes], 3) + 1).unsqueeze(4) + step
    inside = step < sizes.unsqueeze(4)
    source = moves.sources(place.flatten(3)).view_as(place)
    nodes = places.at(torch.where(inside, source, 0))
    customers = torch.where(inside, nodes, depot.unsqueeze(4))
    whole = (sizes <= most).all(3)
    return Drafts(depot, customers, old[0] + torch.where(other, old[1], 0), whole)
