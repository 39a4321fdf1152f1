"""What a partial route carries: one class a constraint, one extension function each.

A resource's values after going to a node are written once, in `extend`, so that ``to`` may be one
node of each trajectory or all nodes at once; stepping and masking call the same lines and cannot
disagree (resource extension functions: Irnich and Desaulniers 2005,
doi:10.1007/0-387-25486-2_2). At a depot every value is what it is at the start of a route.

Constraints are kept exactly as `nco.envs.checker` states them, with half of its tolerance for
rounding. A route must be able to go straight home after every customer. Where the triangle
inequality holds that forbids no feasible route; where a matrix breaks it, a route that gets home in
time only by way of a further customer is not built.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.instance import Instance, is_depot
from nco.envs.environment import Values

SLACK = 5e-7
"""Of a limit: what rounding in float32 may add to a sum. Half of the checker's tolerance, so that
whatever the mask allows the checker accepts."""


@dataclass(frozen=True, slots=True)
class Move:
    """Going from each trajectory's node to one node (``to`` [B, S]) or to all (``to`` None)."""

    origin: Int[Tensor, "batch trajectory"]
    to: Int[Tensor, "batch trajectory"] | None = None
    home: Int[Tensor, "batch trajectory"] | None = None
    """The depot that the route began at; None where no instance has several."""

    def node(self, values: Float[Tensor, "batch node"]) -> Float[Tensor, "batch #trajectory to"]:
        """A per-node value at the destinations: [B, S, 1] for one, [B, 1, N] for all."""
        if self.to is None:
            return values.unsqueeze(1)
        return values.gather(1, self.to).unsqueeze(2)

    def arc(self, matrix: Float[Tensor, "batch from node"]) -> Float[Tensor, "batch trajectory to"]:
        """The entry of the arc from where each trajectory stands to its destination."""
        return self._entry(matrix, self.origin)

    def from_home(
        self, matrix: Float[Tensor, "batch depot node"]
    ) -> Float[Tensor, "batch #trajectory to"]:
        """The entry at the route's own depot and the destination."""
        if self.home is None:
            return self.node(matrix[:, 0])
        return self._entry(matrix, self.home)

    def _entry(
        self, matrix: Float[Tensor, "batch from node"], row: Int[Tensor, "batch trajectory"]
    ) -> Float[Tensor, "batch trajectory to"]:
        b, rows, n = matrix.shape
        row = row + torch.arange(0, b * rows, rows, device=row.device).unsqueeze(1)
        # one flat index copies whole rows and is faster than a gather
        if self.to is None:
            return matrix.view(b * rows, n).index_select(0, row.flatten()).view(b, -1, n)
        return matrix.view(-1).take(row * n + self.to).unsqueeze(2)


class Resource(ABC):
    """One constraint, or one accumulated quantity, of a vehicle's route."""

    @property
    @abstractmethod
    def attributes(self) -> frozenset[str]:
        """What an instance may have when this resource is there, in the words of
        `nco.data.attributes`."""

    @property
    @abstractmethod
    def forbids(self) -> bool:
        """Whether it can keep a vehicle from a customer; else `within` is never asked."""

    @property
    @abstractmethod
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns that `features` returns."""

    @property
    @abstractmethod
    def neutral_features(self) -> tuple[float, ...]:
        """What `features` returns for an instance where the resource is neutral."""

    @property
    @abstractmethod
    def node_feature_names(self) -> tuple[str, ...]:
        """Names of the columns that `node_features` returns."""

    @property
    @abstractmethod
    def depot_feature_names(self) -> tuple[str, ...]:
        """Those among `node_feature_names` that mean something at a depot."""

    @property
    @abstractmethod
    def needs_arcs(self) -> bool:
        """Whether `tables` reads distances or durations."""

    @abstractmethod
    def neutral(self, instance: Instance) -> bool:
        """Whether no instance of the batch has the constraint. Asked once an episode."""

    @abstractmethod
    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        """What the other functions read, computed once an episode.

        Args:
            num_depots: the most that an instance of the batch has.
        """

    @abstractmethod
    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        """The values on leaving a depot."""

    @abstractmethod
    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        """The values [B, S, to] after the move, in new tensors, from those before it [B, S, 1]."""

    @abstractmethod
    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        """Whether values reached by a move to customers keep the constraint, now and on the way
        straight home. The values may be overwritten."""

    @abstractmethod
    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        """What a policy may see of the values, without units."""

    @abstractmethod
    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        """What a policy may see of the nodes' attributes, without units."""


def at_most(
    values: Float[Tensor, "batch trajectory to"],
    limits: Float[Tensor, "batch #trajectory #to"],
) -> Bool[Tensor, "batch trajectory to"]:
    """``values <= limits``; the values are overwritten.

    On a CPU as floats first: a comparison of floats that gives bool is not vectorised there, and
    takes three times longer.
    """
    return values.le_(limits).bool() if values.is_cpu else values <= limits


def fresh_at_depots(
    instance: Instance, values: Float[Tensor, "batch *from node"], num_depots: int
) -> Float[Tensor, "batch *from node"]:
    """Values of nodes, or of arcs into them, with -inf at depots: adding it and taking a maximum
    starts a route afresh without a branch."""
    depot = is_depot(instance)[:, :num_depots]
    fresh = values.clone(memory_format=torch.contiguous_format)
    # only the few columns where depots can be: filling all takes longer than a step
    columns = fresh[..., :num_depots]
    columns.masked_fill_(depot if values.ndim == 2 else depot.unsqueeze(1), -torch.inf)
    return fresh


def precise_zeros(depot: Int[Tensor, "batch trajectory"]) -> Float[Tensor, "batch trajectory"]:
    """Sums start in float64: float32 additions over a long route may err by the whole slack."""
    return torch.zeros(depot.shape, dtype=torch.float64, device=depot.device)


def depot_column(
    instance: Instance, values: Float[Tensor, " batch"]
) -> Float[Tensor, "batch node 1"]:
    """A feature of the whole instance: the value at depots, 0 at customers."""
    return (is_depot(instance) * values.unsqueeze(1)).unsqueeze(2)
