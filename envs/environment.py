"""The contract of an environment: what is allowed, what comes next, what it costs.

Axes: B instances, S trajectories of each, N nodes (depots first), T steps, K = S or S·T stacked
states. A mask is True where allowed. Costs are minimised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, round_lengths

COORDINATES = ("x", "y")
"""The first columns of every environment's node features."""
Values = tuple[Shaped[Tensor, "batch trajectory ..."], ...]
"""The running values of one resource: [B, S], or [B, S, 1] and [B, S, N] within a move; those of a
fleet are [B, S, M] for M vehicles."""


@dataclass(frozen=True, slots=True)
class Depots:
    """What a vehicle at a depot may do, where that is not the same for all of the batch."""

    index: Int[Tensor, " depot"]
    """0, 1, ... up to the most that an instance has."""
    serves: Float[Tensor, "batch depot node"] | None
    """1 for customers that a vehicle fresh from the depot can serve; None where that is all."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An instance with what an episode derives from it once; shared by all its states."""

    instance: Instance
    customer: Bool[Tensor, "batch node"]
    """Nodes that must be visited."""
    num_customers: Int[Tensor, "batch 1"]
    num_depots: Int[Tensor, "batch 1"]
    dtype: torch.dtype
    """The instance's; reading it there at every step would cost as much as an operation."""
    tables: tuple[tuple[Tensor, ...] | None, ...]
    """What each resource of the environment reads; None for one that is neutral here."""
    depots: Depots | None = None
    """None where every instance has one depot at most, and it can serve all customers."""
    homes: Float[Tensor, "batch depot 2"] | None = None
    """Where depots are, as a policy sees it (0 where the instance has only a matrix); None for
    rules that know one depot."""
    padded: bool = False
    """Some instance has fewer nodes than others, where the rules ask for it."""


@dataclass(frozen=True, slots=True)
class State:
    """Partial solutions, batch [B, S]. Holds a reference to the instance, never a copy.

    A plain frozen dataclass: building a tensordict class costs more than a whole step of a small
    batch (docs/decisions.md).
    """

    problem: Problem
    current: Int[Tensor, "batch trajectory"]
    first: Int[Tensor, "batch trajectory"]
    """The first node visited; the start depot of the route for a VRP."""
    unvisited: Bool[Tensor, "batch trajectory node"]
    """Customers that are not served yet."""
    visits: Int[Tensor, "batch trajectory"]
    """Actions so far that went to a customer: a sum over nodes at every step would cost more."""
    used: tuple[Values, ...]
    """The values of each resource, [B, S]; none for a resource that is neutral here."""
    steps: int
    """Actions taken so far."""

    def select(self, index: Int[Tensor, "batch chosen"]) -> State:
        """The trajectories with these indices along S, as a search keeps some and drops others."""
        size = self.unvisited.shape[2]
        nodes = index.unsqueeze(2).expand(-1, -1, size)
        return State(
            problem=self.problem,
            current=self.current.gather(1, index),
            first=self.first.gather(1, index),
            unvisited=self.unvisited.gather(1, nodes),
            visits=self.visits.gather(1, index),
            used=tuple(tuple(_picked(v, index) for v in values) for values in self.used),
            steps=self.steps,
        )


def _picked(values: Tensor, index: Int[Tensor, "batch chosen"]) -> Tensor:
    """Some trajectories, with all that lies behind their axis."""
    rest = values.shape[2:]
    index = index.view(*index.shape, *(1 for _ in rest))
    return values.gather(1, index.expand(*index.shape[:2], *rest))


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy may see of K states of each instance: K = S in a rollout, S·T in scoring."""

    current: Int[Tensor, "batch state"]
    first: Int[Tensor, "batch state"]
    features: Float[Tensor, "batch state feature"]
    """The columns named by `Environment.context_feature_names`."""
    mask: Bool[Tensor, "batch state node"]
    started: bool
    """False only where no node was chosen yet and none is given (a TSP's very first choice)."""


@dataclass(frozen=True, slots=True)
class NodeFeatures:
    """What a policy may see of an instance, without units."""

    values: Float[Tensor, "batch node feature"]
    """The columns named by `Environment.node_feature_names`."""
    attributes: Float[Tensor, "batch attribute"]
    """1 where the instance has the attribute; the columns of `Environment.attribute_names`."""
    depot: Bool[Tensor, "batch node"]
    valid: Bool[Tensor, "batch node"]


class Environment(ABC):
    """Rules and cost of a routing problem; frozen and pure."""

    @property
    @abstractmethod
    def has_depot(self) -> bool:
        """Whether routes start and end at a depot."""

    @property
    @abstractmethod
    def node_feature_names(self) -> tuple[str, ...]:
        """Columns of `node_features`; the first two are the coordinates, `COORDINATES`."""

    @property
    @abstractmethod
    def depot_feature_names(self) -> tuple[str, ...]:
        """The columns among `node_feature_names` that mean something at a depot."""

    @property
    @abstractmethod
    def context_feature_names(self) -> tuple[str, ...]:
        """Columns of `context_features`."""

    @property
    @abstractmethod
    def attribute_names(self) -> tuple[str, ...]:
        """Those of `nco.data.attributes.VARIANT_ATTRIBUTES` that these rules know, in its order."""

    @abstractmethod
    def require(self, instance: Instance) -> None:
        """Raise `InputError` where the instance has an attribute that these rules do not know."""

    @abstractmethod
    def reset(self, instance: Instance, num_trajectories: int) -> State:
        """The states before the first action, S for each instance."""

    @abstractmethod
    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        """The nodes that may come next; never empty."""

    @abstractmethod
    def step(self, state: State, action: Int[Tensor, "batch trajectory"]) -> State:
        """The states after going to ``action``; the input is left as it was."""

    @abstractmethod
    def done(self, state: State) -> Bool[Tensor, "batch trajectory"]:
        """Whether a solution is complete; from there on only staying put is allowed."""

    @abstractmethod
    def max_steps(self, instance: Instance) -> int:
        """No trajectory takes more actions than this."""

    @abstractmethod
    def min_steps(self, instance: Instance) -> int:
        """Not all trajectories of the batch can be complete before this many actions."""

    @abstractmethod
    def cost(
        self, instance: Instance, actions: Int[Tensor, "batch trajectory step"]
    ) -> Float[Tensor, "batch trajectory"]:
        """The length of complete trajectories, in the instance's units."""

    @abstractmethod
    def start_actions(
        self, instance: Instance, num_trajectories: int
    ) -> Int[Tensor, "batch trajectory forced"]:
        """Leading actions for multi-start (Kwon et al. 2020): trajectories of an instance begin at
        different customers, which repeat in turn where it has fewer than S."""

    @abstractmethod
    def num_starts(self, instance: Instance) -> int:
        """The most customers of an instance of the batch: so many starts differ in theirs."""

    @abstractmethod
    def node_features(self, instance: Instance) -> NodeFeatures:
        """What a policy may see of the nodes, in float32; coordinates are 0 where the instance has
        only a matrix."""

    @abstractmethod
    def context_features(self, state: State) -> Float[Tensor, "batch trajectory feature"]:
        """What a policy may see of the resources, in float32."""

    def observe(self, state: State) -> Observation:
        """What a policy may see of the states."""
        return Observation(
            current=state.current,
            first=state.first,
            features=self.context_features(state),
            mask=self.action_mask(state),
            started=self.has_depot or state.steps > 0,
        )


def _unit_box(
    instance: Instance, coords: Float[Tensor, "batch node 2"]
) -> tuple[Float[Tensor, "batch 1 2"], Float[Tensor, "batch 1 1"]]:
    """The corner and the side of the square that a policy sees as the unit square."""
    real = instance.valid.unsqueeze(2)
    low = coords.masked_fill(~real, torch.inf).amin(1, keepdim=True)
    high = coords.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
    inside = ((low >= 0) & (high <= 1)).all(2, keepdim=True)
    side = (high - low).amax(2, keepdim=True)
    # all nodes in one place: any scale will do
    side = side.masked_fill(inside | (side == 0), 1)
    return low.masked_fill(inside, 0), side


def unit_coordinates(instance: Instance) -> Float[Tensor, "batch node 2"]:
    """Coordinates for a policy: those within the unit square as they are, others shifted and
    scaled into it, with one scale for both axes."""
    coords = require_coordinates(instance)
    low, side = _unit_box(instance, coords)
    return ((coords - low) / side).masked_fill(~instance.valid.unsqueeze(2), 0)


def require_coordinates(instance: Instance) -> Float[Tensor, "batch node 2"]:
    """The coordinates, for what cannot do without.

    Raises:
        InputError: the instance has only a matrix.
    """
    if instance.coords is None:
        raise InputError(
            "this policy reads coordinates and the instance has only a matrix; give coords, or "
            "take a solver that works on matrices"
        )
    return instance.coords


def coordinate_columns(instance: Instance) -> Float[Tensor, "batch node 2"]:
    """`unit_coordinates`, or 0 where the instance has only a matrix: a policy that needs more says
    so itself."""
    if instance.coords is None:
        return instance.service_time.new_zeros(*instance.valid.shape, 2)
    return unit_coordinates(instance)


def unit_length(instance: Instance) -> Float[Tensor, " batch"]:
    """What a policy takes as one unit of length: the side of the square of `unit_coordinates`, or
    the longest arc where there is a matrix."""
    if instance.distance is not None:
        return _longest(instance, instance.distance)
    assert instance.coords is not None  # an Instance has one of the two
    return _unit_box(instance, instance.coords)[1].flatten()


def unit_time(instance: Instance) -> Float[Tensor, " batch"]:
    """The same of time; `unit_length` where no durations are given."""
    if instance.duration is not None:
        return _longest(instance, instance.duration)
    return unit_length(instance)


def _longest(instance: Instance, matrix: Float[Tensor, "batch from to"]) -> Float[Tensor, " batch"]:
    pair = instance.valid.unsqueeze(2) & instance.valid.unsqueeze(1)
    return matrix.masked_fill(~pair, 0).amax((1, 2))


FORBIDDEN = -1e9
"""Added to the score of a node that the mask forbids: exp of it is exactly 0. Finite, so that no
row can turn into NaN."""


def mask_bias(
    mask: Bool[Tensor, "batch state node"], dtype: torch.dtype
) -> Float[Tensor, "batch state node"]:
    """0 where allowed and `FORBIDDEN` elsewhere, to be added to scores.

    By arithmetic, and from bytes: on a CPU ``masked_fill`` and ``where`` are several times slower,
    and so is turning bool into float.
    """
    return mask.view(torch.uint8).to(dtype).sub_(1).mul_(-FORBIDDEN)


def arc_lengths(
    instance: Instance,
    origin: Int[Tensor, "batch trajectory arc"],
    to: Int[Tensor, "batch trajectory arc"],
) -> Float[Tensor, "batch trajectory arc"]:
    """The length of each arc.

    From coordinates without building the matrix where there is none: trajectories have far fewer
    arcs.
    """
    b, s, t = origin.shape
    if instance.distance is not None:
        flat = (origin * instance.num_nodes + to).reshape(b, -1)
        return distance_matrix(instance).reshape(b, -1).gather(1, flat).view(b, s, t)
    coords = instance.coords
    assert coords is not None  # an Instance has one of the two
    ends = torch.stack((origin, to)).movedim(0, 1).reshape(b, -1, 1).expand(-1, -1, 2)
    start, end = coords.gather(1, ends).view(b, 2, s, t, 2).unbind(1)
    step = end - start
    return round_lengths((step * step).sum(3).sqrt(), instance.rounding)


def path_length(
    instance: Instance, nodes: Int[Tensor, "batch trajectory visit"]
) -> Float[Tensor, "batch trajectory arc"]:
    """The length of each arc along paths of nodes."""
    return arc_lengths(instance, nodes[:, :, :-1], nodes[:, :, 1:])
