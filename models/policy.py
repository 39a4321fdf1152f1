"""The contract of a policy: how a choice is scored.

Axes: B instances, K states of each (S trajectories in a rollout, S·T stacked steps in scoring),
N nodes, D embedding, H heads, F context features, E experts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.envs.symmetries import augmented
from nco.models.gates import Gate

Usage = dict[str, Float[Tensor, "2 expert"]]
"""By the name of a gate: the gate values and the load of each expert, summed over all tokens."""


@dataclass(frozen=True)
class Encoding:
    """What a policy computes once an episode and reads at every step.

    Leaves are named so that scoring can cut them into chunks of instances, take each chunk's
    gradient with respect to them, and send the sum back through the encoder once.
    """

    batched: dict[str, Tensor]
    """Per-instance tables, each [B, ...]."""
    shared: dict[str, Tensor]
    """Tables without a batch dimension, such as a projection of the context features."""
    usage: Usage = field(default_factory=dict)
    """Of the gates that were asked while encoding; of the whole batch, also in a part."""

    def part(self, start: int, stop: int) -> Encoding:
        """The tables of the instances ``start`` to ``stop``."""
        return replace(self, batched={k: v[start:stop] for k, v in self.batched.items()})

    def leaves(self) -> list[Tensor]:
        """All tables: batched ones first, each group in the order of its names."""
        return [*self.batched.values(), *self.shared.values()]

    def with_leaves(self, leaves: Sequence[Tensor]) -> Encoding:
        """The same names over other tensors, given in the order of `leaves`."""
        split = len(self.batched)
        return replace(
            self,
            batched=dict(zip(self.batched, leaves[:split], strict=True)),
            shared=dict(zip(self.shared, leaves[split:], strict=True)),
        )


class Scores(NamedTuple):
    """What a policy says about K states of each instance."""

    logits: Float[Tensor, "batch state node"]
    """Of all nodes, unmasked."""
    usage: dict[str, Float[Tensor, "2 batch state expert"]]
    """Gate values and load of each state, by the name of the gate; of those asked at each step."""


class Policy(nn.Module, ABC):
    """Scores the next node of partial solutions.

    It holds its environment only for the names, widths and values of features; it has no loop, no
    sampling of actions, no cost, and its logits are not masked.
    """

    env: Environment

    @property
    @abstractmethod
    def needs_start(self) -> bool:
        """Whether the first action of a problem without depot must be given (POMO's TSP)."""

    @property
    @abstractmethod
    def gates(self) -> Mapping[str, Gate]:
        """The gates of mixtures of experts, by the names under which their usage is reported."""

    def require(self, instance: Instance) -> None:
        """Raise `InputError` where the policy cannot see the instance; it sees all by default."""

    @abstractmethod
    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        """The tables of an episode.

        Args:
            instance: B instances.
            generator: draws what is random in training, such as the noise of gates that explore;
                without one all is deterministic. All noise is drawn here, so that rollout and
                scoring see the same.

        Raises:
            InputError: as `require`.
        """

    def num_views(self, instance: Instance, augment: int) -> int:
        """How many of so many views of an instance differ: only one without coordinates."""
        return 1 if instance.coords is None else augment

    def encode_view(self, instance: Instance, index: int) -> Encoding:
        """The tables of an episode, the instance seen in another way: by default one of the
        square's 8 symmetries (Kwon et al. 2020, arXiv:2010.16011, section 4).

        Args:
            index: 0 is the instance as it is.
        """
        return self.encode(augmented(instance, index))

    @abstractmethod
    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        """Scores of all nodes; the mask of the observation may be read by attention."""

    def logits(
        self, encoding: Encoding, observation: Observation
    ) -> Float[Tensor, "batch state node"]:
        """`scores` without the usage of experts."""
        return self.scores(encoding, observation).logits
