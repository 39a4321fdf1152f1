"""RRNCO: "Neural combinatorial optimization for real-world routing", Son et al. 2025,
arXiv:2503.16159, with the adaptation-attention-free module of Zhou et al. 2024 (ICAM),
arXiv:2405.01906.

Axes: B instances, N nodes, D embedding, C channels of an arc, k neighbours, L layers.
"""

from __future__ import annotations

from typing import Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.data.instance import Instance
from nco.envs.environment import Environment
from nco.models.arcs import Arcs, TravelBias, arcs_of
from nco.models.decoders import Decoder, EncodedNodes, PointerDecoder, ReLDDecoder
from nco.models.encoder import Conditions
from nco.models.encoder_decoder import NodePointer
from nco.models.layers import NodeEmbedding
from nco.models.policy import Encoding
from nco.models.row_column import Mixer, RowColumnLayer

DecoderKind = Literal["pointer", "reld"]
RANGE = 40.0
"""Below its maximum by more than this, a bias or a key counts as so far below: products of two
weights stay above the smallest float32 number, and what changes is below 1e-17 of the whole unless
one of the two makes up for the other."""


def attention_free(
    bias: Float[Tensor, "batch node source"],
    key: Float[Tensor, "batch source dim"],
    value: Float[Tensor, "batch source dim"],
    valid: Bool[Tensor, "batch source"] | None,
) -> Float[Tensor, "batch node dim"]:
    """exp(A) (exp(K) * V) / exp(A) exp(K): a mean of the values with weights exp(a_ij + k_jc), for
    each channel c of its own, by products of matrices and without a tensor of all three axes.

    The row's maximum of A and the channel's of K are taken away first; both cancel.

    Args:
        bias: A.
        key, value: K and V.
        valid: sources that count; None where all do.
    """
    if valid is not None:
        bias = bias.masked_fill(~valid.unsqueeze(1), -torch.inf)
        key = key.masked_fill(~valid.unsqueeze(2), -torch.inf)
        value = value.masked_fill(~valid.unsqueeze(2), 0)
    row = (bias - bias.detach().amax(2, keepdim=True)).clamp(min=-RANGE).exp()
    channel = (key - key.detach().amax(1, keepdim=True)).clamp(min=-RANGE).exp()
    if valid is not None:
        channel = channel.masked_fill(~valid.unsqueeze(2), 0)
    above, below = (row @ torch.cat((channel * value, channel), 2)).chunk(2, 2)
    return above / below


@final
class AAFM(Mixer):
    """The adaptation-attention-free module: σ(Q) * `attention_free` (A, K, V), then a linear layer;
    one bias A for all channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch node dim"],
        other: Float[Tensor, "batch source dim"],
        arcs: Float[Tensor, "batch node source"] | Float[Tensor, "batch node source feature"],
        valid: Bool[Tensor, "batch source"] | None,
    ) -> Float[Tensor, "batch node dim"]:
        mixed = attention_free(arcs, self.key(other), self.value(other), valid)
        return self.output(self.query(x).sigmoid() * mixed)


@final
class ArcEmbedding(nn.Module):
    """Neural adaptive bias: distance, duration and direction embedded apart and weighted by a gate.

    x_ij = Σ_s g_ijs s_ij over s in {D, T, Φ}, each a two-layer network of its own input, and
    g = softmax(W [D; T; Φ]).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()

        def network(width: int) -> nn.Module:
            return nn.Sequential(
                nn.Linear(width, channels), nn.ReLU(), nn.Linear(channels, channels)
            )

        self.distance, self.duration = network(1), network(1)
        self.direction = network(2)
        self.gate = nn.Linear(3 * channels, 3)

    def forward(self, arcs: Arcs) -> Float[Tensor, "batch from to channel"]:
        parts = [
            self.distance(arcs.distance.unsqueeze(3)),
            self.duration(arcs.duration.unsqueeze(3)),
            self.direction(arcs.direction),
        ]
        weights = self.gate(torch.cat(parts, 3)).softmax(3).unbind(3)
        terms = [part * weight.unsqueeze(3) for part, weight in zip(parts, weights, strict=True)]
        return terms[0] + terms[1] + terms[2]


def neighbour_distances(
    distance: Float[Tensor, "batch from to"],
    valid: Bool[Tensor, "batch to"] | None,
    count: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "batch from neighbour"]:
    """The distances from every node to ``count`` others, in ascending order.

    The nearest, or with a generator drawn without replacement with chances that are inverse to the
    distance. Where an instance has fewer others, 1 stands for each that is missing: the unit of
    length.
    """
    n = distance.shape[1]
    nobody = torch.eye(n, dtype=torch.bool, device=distance.device)
    if valid is not None:
        nobody = nobody | ~valid.unsqueeze(1)
    known = distance.masked_fill(nobody, torch.inf)
    order = known
    if generator is not None:
        # the smallest of exponential times with rates 1 / d (Efraimidis and Spirakis 2006)
        times = torch.empty_like(known).exponential_(generator=generator)
        order = (known + 1e-6) * times
    chosen = order.topk(min(count, n - 1), 2, largest=False).indices
    found = known.gather(2, chosen).sort(2).values
    padded = nn.functional.pad(found, (0, count - found.shape[2]), value=torch.inf)
    return padded.masked_fill(padded.isinf(), 1)


@final
class DistanceGate(nn.Module):
    """h = g * f_node + (1 - g) * f_distance with g = σ(MLP([f_node; f_distance])), element by
    element: contextual gating of what a node is with how far others are."""

    def __init__(self, dim: int, num_neighbours: int) -> None:
        super().__init__()
        self.num_neighbours = num_neighbours
        self.distance = nn.Linear(num_neighbours, dim)
        self.gate = nn.Sequential(nn.Linear(2 * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def forward(
        self,
        nodes: Float[Tensor, "batch node dim"],
        distances: Float[Tensor, "batch node neighbour"],
    ) -> Float[Tensor, "batch node dim"]:
        far = self.distance(distances)
        gate = self.gate(torch.cat((nodes, far), 2)).sigmoid()
        return far + gate * (nodes - far)


@final
class RRNCO(NodePointer):
    """Row and column embeddings from neighbour distances and node features, layers of AAFM with a
    neural adaptive bias, and a decoder that adds what the way from the current node costs.

    Every row starts as contextual gating of the node's features with its outgoing distances, every
    column with its incoming ones. In each layer rows read columns with the bias A = X w and columns
    read rows with (X w')ᵀ, where X is one embedding of all arcs, of C channels, that the layers
    share: the largest tensor is [B, N, N, C]. The decoder makes queries of rows, keys and values of
    columns, and adds -a log d - b log t of the arc from the current node before the clip.

    It reads matrices and, where they are there, coordinates; instances without matrices have those
    of their coordinates. Without a generator it takes the nearest neighbours and is deterministic.

    Differs from the paper in: one embedding of arcs for all layers instead of one each, with C
    channels instead of D, and the factor α is part of w; matrices are scaled by one number an
    instance, their longest arc, instead of min-max, and coordinates alike for both axes; direction
    enters by cosine and sine, not as an angle with its jump; attributes and coordinates are
    embedded together, by one layer for depots and one for others, before the gate, and the angle to
    the depot is not among them; at test time neighbours are the nearest, and columns choose theirs
    by incoming distances; with fewer than k others the rest are 1; the glimpse has an output layer,
    and ReLD's current node passes one; a + b starts at 1 / clip (`TravelBias` says why).
    Differs from the authors' code in, besides: gates are of elements, as in the paper, not one
    number a node; AAFM as in the paper, where the code takes softmaxes of A and of K before their
    exponentials, so that weights lie within a factor of e; no temperature of e^5 in the gate;
    the column block's bias is transposed as a whole, directions too; norms after the residual
    connections only; the way costs its logarithm, as in the paper.

    Args:
        num_heads: of the decoder's glimpse.
        channels: C.
        num_neighbours: k.
        decoder: "pointer" or "reld"; the paper's is of the latter kind, whose steps cost more.
    """

    def __init__(
        self,
        env: Environment,
        *,
        dim: int = 128,
        num_heads: int = 8,
        num_layers: int = 6,
        hidden: int = 512,
        clip: float = 10.0,
        channels: int = 16,
        num_neighbours: int = 25,
        decoder: DecoderKind = "reld",
    ) -> None:
        super().__init__()
        self.env = env
        self.num_neighbours = num_neighbours
        self.nodes = NodeEmbedding(env, dim, bias=True)
        self.row_gate = DistanceGate(dim, num_neighbours)
        self.column_gate = DistanceGate(dim, num_neighbours)
        self.arcs = ArcEmbedding(channels)
        # one head for each block
        self.heads = nn.Linear(channels, 2 * num_layers, bias=False)
        self.layers = nn.ModuleList(
            RowColumnLayer(lambda: AAFM(dim), dim, hidden) for _ in range(num_layers)
        )
        self.travel = TravelBias(clip)
        self.decoder: Decoder = (
            ReLDDecoder(env, dim, num_heads, clip, hidden)
            if decoder == "reld"
            else PointerDecoder(env, dim, num_heads, clip)
        )

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        features = self.env.node_features(instance)
        arcs = arcs_of(instance)
        nodes = self.nodes(features)

        near = [
            neighbour_distances(matrix, arcs.valid, self.num_neighbours, generator)
            for matrix in (arcs.distance, arcs.distance.mT)
        ]
        # under mixed precision what layers add is rounded, not the sum of it
        rows = self.row_gate(nodes, near[0]).float()
        columns = self.column_gate(nodes, near[1]).float()
        biases = iter(self.heads(self.arcs(arcs)).unbind(3))
        for layer in self.layers:
            rows, columns = layer(rows, columns, next(biases), next(biases), arcs.valid)
        conditions = Conditions(arcs.valid, features.attributes, generator)
        encoded = EncodedNodes(rows, columns, self.travel_scores(arcs))
        return self.decoder.tables(encoded, conditions.summary(columns.float()))
