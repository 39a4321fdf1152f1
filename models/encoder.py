"""Transformer encoders: attention over nodes and a feed-forward layer, dense or of experts.

Axes: B instances, N nodes, D embedding, A attributes, E experts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.envs.environment import Environment, NodeFeatures
from nco.models.experts import Activation, FeedForwardExperts
from nco.models.gates import Gate, GateFactory, Summary
from nco.models.layers import (
    FiLM,
    NodeEmbedding,
    NormKind,
    SelfAttention,
    node_mean,
    norm_layer,
)
from nco.models.policy import Usage


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds for whole instances while their nodes are encoded."""

    valid: Bool[Tensor, "batch node"] | None
    """Real nodes; None where all are."""
    attributes: Float[Tensor, "batch attribute"]
    generator: torch.Generator | None

    def summary(self, x: Float[Tensor, "batch node dim"]) -> Summary:
        """What a gate may know, with the mean of the real nodes."""
        return Summary(node_mean(x, self.valid), self.attributes, self.generator)


class FeedForward(nn.Module, ABC):
    """What follows attention in a layer, node by node."""

    @property
    @abstractmethod
    def gate(self) -> Gate | None:
        """Of experts, where there are some."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch node dim"], conditions: Conditions
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "2 expert"] | None]:
        """The new embeddings, and the usage of experts over all real nodes."""


FeedForwardFactory = Callable[[], FeedForward]


@final
class Dense(FeedForward):
    """One feed-forward for all nodes: ReLU with biases, or SwiGLU without (Shazeer 2020,
    arXiv:2002.05202)."""

    def __init__(self, dim: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.gated = activation == "swiglu"
        bias = not self.gated
        self.up = nn.Linear(dim, hidden * (2 if self.gated else 1), bias=bias)
        self.down = nn.Linear(hidden, dim, bias=bias)

    @property
    def gate(self) -> Gate | None:
        return None

    def forward(
        self, x: Float[Tensor, "batch node dim"], conditions: Conditions
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "2 expert"] | None]:
        inner = self.up(x)
        if not self.gated:
            return self.down(inner.relu()), None
        gate, value = inner.chunk(2, 2)
        return self.down(F.silu(gate) * value), None


@final
class Mixture(FeedForward):
    """Feed-forward experts behind a gate."""

    def __init__(
        self,
        dim: int,
        hidden: int,
        activation: Activation,
        gate: GateFactory,
        attributes: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.router = gate(dim, attributes)
        self.experts = FeedForwardExperts(dim, hidden, self.router.num_experts, activation)

    @property
    def gate(self) -> Gate | None:
        return self.router

    def forward(
        self, x: Float[Tensor, "batch node dim"], conditions: Conditions
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "2 expert"] | None]:
        # which experts are asked is not left to the rounding of mixed precision
        with torch.autocast(x.device.type, enabled=False):
            tokens = x.float()
            prepared = self.router.prepare(conditions.summary(tokens), x.shape[1])
            choice = self.router(tokens, prepared)
        y = self.experts(x, choice.weights, self.router.active)
        asked = torch.stack((choice.weights, choice.load))
        if conditions.valid is not None and asked.shape[2] > 1:
            asked = asked * conditions.valid.unsqueeze(2)
        return y, asked.sum((1, 2))


def feed_forwards(
    dim: int,
    hidden: int,
    activation: Activation,
    experts: GateFactory | None,
    attributes: tuple[str, ...],
) -> FeedForwardFactory:
    """Fresh feed-forwards for the layers of an encoder: dense ones, or experts behind a gate."""
    if experts is None:
        return lambda: Dense(dim, hidden, activation)
    return lambda: Mixture(dim, hidden, activation, experts, attributes)


class EncoderLayer(nn.Module, ABC):
    """Attention and a feed-forward, each with a residual connection and a norm."""

    feed_forward: FeedForward

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch node dim"], conditions: Conditions
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "2 expert"] | None]:
        """The new embeddings, and the usage of experts."""


@final
class PostNormLayer(EncoderLayer):
    """Norms after the residual connections: Kool et al. 2019 (arXiv:1803.08475), section 3.1,
    equations 2 and 3."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feed_forward: FeedForward,
        norm: NormKind,
        *,
        output_bias: bool,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, num_heads, output_bias=output_bias)
        self.norm1 = norm_layer(norm, dim)
        self.feed_forward = feed_forward
        self.norm2 = norm_layer(norm, dim)

    def forward(
        self, x: Float[Tensor, "batch node dim"], conditions: Conditions
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "2 expert"] | None]:
        valid = conditions.valid
        x = self.norm1(x + self.attention(x, valid), valid)
        y, usage = self.feed_forward(x, conditions)
        return self.norm2(x + y, valid), usage


@final
class PreNormLayer(EncoderLayer):
    """Norms before attention and feed-forward, so that the residual path is never normalised.

    Args:
        film: modulates the feed-forward's input by the variant, where it is given.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feed_forward: FeedForward,
        norm: NormKind,
        *,
        output_bias: bool,
        film: FiLM | None,
    ) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, dim)
        self.attention = SelfAttention(dim, num_heads, output_bias=output_bias)
        self.norm2 = norm_layer(norm, dim)
        self.film = film
        self.feed_forward = feed_forward

    def forward(
        self, x: Float[Tensor, "batch node dim"], conditions: Conditions
    ) -> tuple[Float[Tensor, "batch node dim"], Float[Tensor, "2 expert"] | None]:
        valid = conditions.valid
        x = x + self.attention(self.norm1(x, valid), valid)
        inner = self.norm2(x, valid)
        if self.film is not None:
            inner = self.film(inner, conditions.attributes)
        y, usage = self.feed_forward(inner, conditions)
        return x + y, usage


@final
class Encoder(nn.Module):
    """Node embedding, layers, and a last norm where layers end without one."""

    def __init__(
        self,
        embedding: NodeEmbedding,
        layers: Sequence[EncoderLayer],
        final_norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(layers)
        self.final_norm = final_norm

    @property
    def gates(self) -> dict[str, Gate]:
        """Of all layers, by the names under which `forward` reports their usage."""
        found = {}
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            if layer.feed_forward.gate is not None:
                found[f"encoder{index}"] = layer.feed_forward.gate
        return found

    def forward(
        self, features: NodeFeatures, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, "batch node dim"], Usage]:
        # a batch without padding needs no mask, and attention is faster without
        valid = None if bool(features.valid.all()) else features.valid
        conditions = Conditions(valid, features.attributes, generator)
        # under mixed precision what layers add is rounded, not the sum of it
        x = self.embedding(features).float()
        usage: Usage = {}
        for index, layer in enumerate(self.layers):
            x, used = layer(x, conditions)
            if used is not None:
                usage[f"encoder{index}"] = used
        if self.final_norm is not None:
            x = self.final_norm(x, valid)
        return x, usage


def post_norm_encoder(
    env: Environment,
    *,
    dim: int,
    num_heads: int,
    num_layers: int,
    norm: NormKind,
    output_bias: bool,
    feed_forward: FeedForwardFactory,
) -> Encoder:
    """The encoder of the Attention Model and of POMO."""
    layers = [
        PostNormLayer(dim, num_heads, feed_forward(), norm, output_bias=output_bias)
        for _ in range(num_layers)
    ]
    return Encoder(NodeEmbedding(env, dim, bias=True), layers)
