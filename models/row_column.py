"""Encoders of matrices: a node has two embeddings, as an origin (its row) and as a destination (its
column), and each reads those of the other kind, by way of the arcs between them.

Source: Kwon et al. 2021, "Matrix encoding networks for neural combinatorial optimization",
arXiv:2106.11113, section 3.

Axes: B instances, N nodes, D embedding; Q nodes that read, S nodes that are read (Q = S = N).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.models.layers import InstanceNorm


class Mixer(nn.Module, ABC):
    """How nodes read those of the other side; its last layer has no bias, as `CrossBlock` says."""

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch node dim"],
        other: Float[Tensor, "batch source dim"],
        arcs: Float[Tensor, "batch node source"] | Float[Tensor, "batch node source feature"],
        valid: Bool[Tensor, "batch source"] | None,
    ) -> Float[Tensor, "batch node dim"]:
        """What each node gathers.

        Args:
            x: the nodes that read.
            other: those that are read.
            arcs: between each of the first and each of the second; a bias, or features.
            valid: real ones among those that are read; None where all are.
        """


@final
class CrossBlock(nn.Module):
    """A mixer and a feed-forward, each with a residual connection and an instance norm, in which
    biases before it would cancel."""

    def __init__(self, mixer: Mixer, dim: int, hidden: int) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm1 = InstanceNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim, bias=False)
        )
        self.norm2 = InstanceNorm(dim)

    def forward(
        self,
        x: Float[Tensor, "batch node dim"],
        other: Float[Tensor, "batch source dim"],
        arcs: Float[Tensor, "batch node source"] | Float[Tensor, "batch node source feature"],
        valid: Bool[Tensor, "batch source"] | None,
    ) -> Float[Tensor, "batch node dim"]:
        x = self.norm1(x + self.mixer(x, other, arcs, valid), valid)
        return self.norm2(x + self.feed_forward(x), valid)


@final
class RowColumnLayer(nn.Module):
    """A block for rows and one for columns, side by side: both read what the layer before made."""

    def __init__(self, mixer: Callable[[], Mixer], dim: int, hidden: int) -> None:
        super().__init__()
        self.row = CrossBlock(mixer(), dim, hidden)
        self.column = CrossBlock(mixer(), dim, hidden)

    def forward(
        self,
        rows: Float[Tensor, "batch node dim"],
        columns: Float[Tensor, "batch node dim"],
        row_arcs: Float[Tensor, "batch from to"] | Float[Tensor, "batch from to feature"],
        column_arcs: Float[Tensor, "batch from to"] | Float[Tensor, "batch from to feature"],
        valid: Bool[Tensor, "batch node"] | None,
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "batch node dim"]]:
        """Both new embeddings.

        Args:
            row_arcs, column_arcs: what the two blocks read of the arc from i to j, at [i, j] for
                both: it is the same arc, seen from its origin and from its destination.
        """
        return (
            self.row(rows, columns, row_arcs, valid),
            self.column(columns, rows, column_arcs.transpose(1, 2), valid),
        )
