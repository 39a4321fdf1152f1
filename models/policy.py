"""The contract of a policy: how a choice is scored.

Axes: B instances, K states of each (S trajectories in a rollout, S·T stacked steps in scoring),
N nodes, D embedding, H heads, F context features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation


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

    def part(self, start: int, stop: int) -> Encoding:
        """The tables of the instances ``start`` to ``stop``."""
        return Encoding({k: v[start:stop] for k, v in self.batched.items()}, self.shared)

    def leaves(self) -> list[Tensor]:
        """All tables: batched ones first, each group in the order of its names."""
        return [*self.batched.values(), *self.shared.values()]

    def with_leaves(self, leaves: Sequence[Tensor]) -> Encoding:
        """The same names over other tensors, given in the order of `leaves`."""
        split = len(self.batched)
        return Encoding(
            dict(zip(self.batched, leaves[:split], strict=True)),
            dict(zip(self.shared, leaves[split:], strict=True)),
        )


class Policy(nn.Module, ABC):
    """Scores the next node of partial solutions.

    It holds its environment only for the names, widths and values of features; it has no loop, no
    sampling, no cost, and its logits are not masked.
    """

    env: Environment

    @property
    @abstractmethod
    def needs_start(self) -> bool:
        """Whether the first action of a problem without depot must be given (POMO's TSP)."""

    @abstractmethod
    def encode(self, instance: Instance) -> Encoding:
        """The tables of an episode.

        Raises:
            InputError: the policy cannot see the instance, e.g. coordinates are missing.
        """

    @abstractmethod
    def logits(
        self, encoding: Encoding, observation: Observation
    ) -> Float[Tensor, "batch state node"]:
        """Scores of all nodes, unmasked; the mask of the observation may be read by attention."""
