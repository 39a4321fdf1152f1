"""The contract of an environment: what is allowed, what comes next, what it costs.

Axes: B instances, S trajectories of each, N nodes (depots first), T steps, K = S or S·T stacked
states. A mask is True where allowed. Costs are minimised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, round_lengths


@dataclass(frozen=True, slots=True)
class Problem:
    """An instance with what an episode derives from it once; shared by all its states."""

    instance: Instance
    customer: Bool[Tensor, "batch node"]
    """Nodes that must be visited."""
    padded: bool
    """Some instance has fewer nodes than others."""
    tables: tuple[tuple[Tensor, ...], ...]
    """What each resource of the environment reads."""


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
    used: tuple[Float[Tensor, "batch trajectory"], ...]
    """One value for each resource."""
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
            used=tuple(value.gather(1, index) for value in self.used),
            steps=self.steps,
        )


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
        """Columns of `node_features`; the first two are the coordinates."""

    @property
    @abstractmethod
    def depot_feature_names(self) -> tuple[str, ...]:
        """The columns among `node_feature_names` that mean something at a depot."""

    @property
    @abstractmethod
    def context_feature_names(self) -> tuple[str, ...]:
        """Columns of `context_features`."""

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
    ) -> Int[Tensor, "batch trajectory"]:
        """Distinct first actions for multi-start (Kwon et al. 2020); they repeat in turn where an
        instance has fewer than S."""

    @abstractmethod
    def num_starts(self, instance: Instance) -> int:
        """The most distinct first actions of an instance of the batch."""

    @abstractmethod
    def node_features(self, instance: Instance) -> NodeFeatures:
        """What a policy may see of the nodes, in float32."""

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


def unit_coordinates(instance: Instance) -> Float[Tensor, "batch node 2"]:
    """Coordinates for a policy: those within the unit square as they are, others shifted and
    scaled into it, with one scale for both axes."""
    coords = instance.coords
    if coords is None:
        raise InputError(
            "this policy reads coordinates and the instance has only a matrix; give coords, or "
            "take a solver that works on matrices"
        )
    real = instance.valid.unsqueeze(2)
    low = coords.masked_fill(~real, torch.inf).amin(1, keepdim=True)
    high = coords.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
    inside = ((low >= 0) & (high <= 1)).all(2, keepdim=True)
    extent = (high - low).amax(2, keepdim=True)
    # all nodes in one place: any scale will do
    extent = extent.masked_fill(inside | (extent == 0), 1)
    shifted = (coords - low.masked_fill(inside, 0)) / extent
    return shifted.masked_fill(~real, 0)


FORBIDDEN = -1e9
"""Added to the score of a node that the mask forbids: exp of it is exactly 0. Finite, so that no
row can turn into NaN."""


def mask_bias(
    mask: Bool[Tensor, "batch state node"], dtype: torch.dtype
) -> Float[Tensor, "batch state node"]:
    """0 where allowed and `FORBIDDEN` elsewhere, to be added to scores.

    By arithmetic: ``masked_fill`` and ``where`` are several times slower on a CPU.
    """
    return mask.to(dtype).sub_(1).mul_(-FORBIDDEN)


def any_node(mask: Bool[Tensor, "batch trajectory node"]) -> Bool[Tensor, "batch trajectory"]:
    """Whether a trajectory has any True node.

    By a sum: ``torch.any`` over a short last dimension is ten times slower on a CPU.
    """
    return mask.sum(2) > 0


def path_length(
    instance: Instance, nodes: Int[Tensor, "batch trajectory visit"]
) -> Float[Tensor, "batch trajectory arc"]:
    """The length of each arc along paths of nodes.

    From coordinates without building the matrix where there is none: a path has far fewer arcs.
    """
    b, s, t = nodes.shape
    origin, to = nodes[:, :, :-1], nodes[:, :, 1:]
    if instance.distance is not None:
        n = instance.num_nodes
        flat = (origin * n + to).reshape(b, -1)
        return distance_matrix(instance).reshape(b, -1).gather(1, flat).view(b, s, t - 1)
    coords = instance.coords
    assert coords is not None  # an Instance has one of the two
    index = nodes.reshape(b, -1, 1).expand(-1, -1, 2)
    step = coords.gather(1, index).view(b, s, t, 2).diff(dim=2)
    return round_lengths((step * step).sum(3).sqrt(), instance.rounding)
