"""MatNet: Kwon et al. 2021, "Matrix encoding networks for neural combinatorial optimization",
arXiv:2106.11113.

Axes: B instances, N nodes, D embedding, H heads, M hidden units of a score.
"""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.environment import COORDINATES, Environment, NodeFeatures, mask_bias
from nco.models.arcs import Arcs, arcs_of
from nco.models.decoders import Decoder, EncodedNodes, PointerDecoder
from nco.models.encoder import Conditions
from nco.models.encoder_decoder import NodePointer
from nco.models.named_inputs import NamedInputs
from nco.models.policy import Encoding
from nco.models.row_column import Mixer, RowColumnLayer

SEED = 0
"""Of the columns' places where nothing is drawn."""


@final
class MixedScoreAttention(Mixer):
    """Multi-head attention whose scores are a network, for each head of its own, of the scaled dot
    product, the distance and the duration: 3 inputs, M hidden units, one output."""

    def __init__(self, dim: int, num_heads: int, score_hidden: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        start = torch.empty(5, score_hidden, num_heads, 1, 1).uniform_(-1, 1)
        # the last one's fan-in is M; a bias behind it would cancel in the softmax
        start[:4] /= math.sqrt(3)
        start[4] /= math.sqrt(score_hidden)
        self.score = nn.Parameter(start)
        """[dot, distance, duration, bias, out] of each unit and head."""

    def forward(
        self,
        x: Float[Tensor, "batch node dim"],
        other: Float[Tensor, "batch source dim"],
        arcs: Float[Tensor, "batch node source"] | Float[Tensor, "batch node source feature"],
        valid: Bool[Tensor, "batch source"] | None,
    ) -> Float[Tensor, "batch node dim"]:
        b, n, d = x.shape
        parts = (self.query(x), self.key(other), self.value(other))
        query, key, value = (p.view(b, n, self.num_heads, -1).transpose(1, 2) for p in parts)
        scores = self._mixed(query @ key.mT / math.sqrt(d // self.num_heads), arcs)
        if valid is not None:
            scores = scores + mask_bias(valid.unsqueeze(1), scores.dtype).unsqueeze(1)
        found = scores.softmax(3) @ value
        return self.output(found.transpose(1, 2).reshape(b, n, d))

    def _mixed(
        self,
        dot: Float[Tensor, "batch head node source"],
        arcs: Float[Tensor, "batch node source feature"],
    ) -> Float[Tensor, "batch head node source"]:
        distance, duration = arcs.unsqueeze(1).unbind(4)
        total = torch.zeros_like(dot)
        # unit by unit: all of them at once are M times as large, and slower on a CPU
        for of_dot, of_distance, of_duration, bias, out in self.score.unbind(1):
            unit = torch.addcmul(bias, dot, of_dot)
            unit = torch.addcmul(unit, distance, of_distance)
            unit = torch.addcmul(unit, duration, of_duration)
            total = torch.addcmul(total, unit.relu(), out)
        return total


@final
class AttributeEmbedding(nn.Module, NamedInputs):
    """A linear embedding of all that nodes have besides their place, and of being a depot."""

    def __init__(self, env: Environment, dim: int) -> None:
        super().__init__()
        self.names = (*env.node_feature_names[len(COORDINATES) :], "depot")
        self.project = nn.Linear(len(self.names), dim, bias=False)

    @property
    def input_names(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        return {"project.weight": (1, self.names)}

    def forward(self, features: NodeFeatures) -> Float[Tensor, "batch node dim"]:
        depot = features.depot.unsqueeze(2).to(features.values.dtype)
        return self.project(torch.cat((features.values[:, :, len(COORDINATES) :], depot), 2))


@final
class MatNet(NodePointer):
    """Row and column embeddings, layers of mixed-score attention between them, and POMO's pointer,
    with queries of rows, keys and values of columns. It never reads coordinates.

    Rows start at zero, or for problems with depots at an embedding of the nodes' attributes;
    columns start at one-hot vectors, no two of an instance alike. With a generator their places are
    drawn. Without one they are those that a fixed seed gives to the nodes in the order of their
    distances to all others, so that nodes in another order score the same. Views of an instance
    (``augment``) are other draws of the places, as in the paper, since turning the plane changes
    nothing that it reads.

    Differs from the paper in: durations are one more input of the score's network, and equal the
    distances where there are none (one weight written as a sum of two, for an ATSP); matrices are
    scaled by their longest arc; a padded instance scores as it does alone; the depot and attributes
    of a VRP, which the paper does not treat, enter at the rows. As in the authors' code, row and
    column blocks of a layer both read what the layer before made, and norms are over an instance.

    Args:
        dim: D, also the most nodes that an instance can have.
        score_hidden: M.
    """

    def __init__(
        self,
        env: Environment,
        *,
        dim: int = 256,
        num_heads: int = 16,
        num_layers: int = 5,
        hidden: int = 512,
        clip: float = 10.0,
        score_hidden: int = 16,
    ) -> None:
        super().__init__()
        self.env = env
        self.dim = dim
        self.attributes = AttributeEmbedding(env, dim) if env.has_depot else None
        self.layers = nn.ModuleList(
            RowColumnLayer(lambda: MixedScoreAttention(dim, num_heads, score_hidden), dim, hidden)
            for _ in range(num_layers)
        )
        self.travel = None
        self.decoder: Decoder = PointerDecoder(env, dim, num_heads, clip)

    def require(self, instance: Instance) -> None:
        most = int(instance.valid.sum(1).max())
        if most > self.dim:
            raise InputError(
                f"the instance has {most} nodes; accepted for this MatNet: at most {self.dim}, the "
                "width of its embedding"
            )

    def num_views(self, instance: Instance, augment: int) -> int:
        return augment

    def encode_view(self, instance: Instance, index: int) -> Encoding:
        if index == 0:
            return self.encode(instance)
        generator = torch.Generator(instance.valid.device).manual_seed(SEED + index)
        return self.encode(instance, generator)

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        self.require(instance)
        features = self.env.node_features(instance)
        arcs = arcs_of(instance)
        places = _places(arcs, self.dim, generator)
        columns = torch.nn.functional.one_hot(places, self.dim).float()
        rows = torch.zeros_like(columns)
        if self.attributes is not None:
            rows = self.attributes(features).float()
        matrices = torch.stack((arcs.distance, arcs.duration), 3)
        for layer in self.layers:
            rows, columns = layer(rows, columns, matrices, matrices, arcs.valid)
        conditions = Conditions(arcs.valid, features.attributes, generator)
        summary = conditions.summary(columns.float())
        return self.decoder.tables(EncodedNodes(rows, columns), summary)


def _places(arcs: Arcs, width: int, generator: torch.Generator | None) -> Int[Tensor, "batch node"]:
    """The place of the one in each node's vector; padding beyond the width repeats places."""
    b, n, _ = arcs.distance.shape
    device = arcs.distance.device
    if generator is not None:
        order = torch.rand(b, width, generator=generator, device=device).argsort(1)
        return order[:, torch.arange(n, device=device) % width]
    # in float64, so that sums in another order do not change the ranking
    far = (arcs.distance.double() + arcs.distance.mT.double()).sum(2)
    if arcs.valid is not None:
        far = far.masked_fill(~arcs.valid, torch.inf)
    rank = far.argsort(dim=1, stable=True).argsort(1)
    fixed = torch.randperm(width, generator=torch.Generator().manual_seed(SEED)).to(device)
    return fixed[rank % width]
