"""Layers that several policies share. Axes: B instances, N nodes, D embedding, H heads."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.envs.environment import Environment, NodeFeatures

NormKind = Literal["batch", "instance"]


@final
class NodeEmbedding(nn.Module):
    """Linear embeddings of node features, with a layer of its own for depots.

    The layers are sized by the columns that the environment offers.
    """

    def __init__(self, env: Environment, dim: int) -> None:
        super().__init__()
        names = env.node_feature_names
        self.customer = nn.Linear(len(names), dim)
        columns = [names.index(name) for name in env.depot_feature_names]
        self.register_buffer("depot_columns", torch.tensor(columns), persistent=False)
        self.depot = nn.Linear(len(columns), dim) if env.has_depot else None

    def forward(self, features: NodeFeatures) -> Float[Tensor, "batch node dim"]:
        embedded = self.customer(features.values)
        if self.depot is None:
            return embedded
        columns = features.values.index_select(2, self.get_buffer("depot_columns"))
        return torch.where(features.depot.unsqueeze(2), self.depot(columns), embedded)


@final
class SelfAttention(nn.Module):
    """Multi-head self-attention over nodes; padding is never attended to.

    Args:
        output_bias: whether the projection that joins the heads has a bias; queries, keys and
            values have none.
    """

    def __init__(self, dim: int, num_heads: int, *, output_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=output_bias)

    def forward(
        self, x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "batch node dim"]:
        b, n, d = x.shape
        # [B, N, 3, H, D/H] -> three of [B, H, N, D/H]
        qkv = self.qkv(x).view(b, n, 3, self.num_heads, d // self.num_heads)
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        mask = None if valid is None else valid[:, None, None, :]
        heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(heads.transpose(1, 2).reshape(b, n, d))


@final
class InstanceNorm(nn.Module):
    """Normalises each channel over the nodes of an instance, with affine and no running values."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(
        self, x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "batch node dim"]:
        # not torch.var_mean: over a dimension that is not the last it is slow on a CPU
        if valid is None:
            centred = x - x.mean(1, keepdim=True)
            variance = centred.square().mean(1, keepdim=True)
        else:
            share = (valid.to(x.dtype) / valid.sum(1, keepdim=True)).unsqueeze(2)
            centred = x - (x * share).sum(1, keepdim=True)
            variance = (centred.square() * share).sum(1, keepdim=True)
        return torch.addcmul(self.bias, centred, self.weight * (variance + self.eps).rsqrt())


@final
class BatchNorm(nn.Module):
    """Normalises each channel over all real nodes of the batch; running values in eval mode."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)

    def forward(
        self, x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "batch node dim"]:
        if valid is None or not self.training:
            return self.norm(x.flatten(0, 1)).view_as(x)
        normed = torch.zeros_like(x)
        normed[valid] = self.norm(x[valid])
        return normed


@final
class EncoderLayer(nn.Module):
    """Attention, then a ReLU feed-forward; each with a residual, then a norm (post-norm).

    Kool et al. 2019 (arXiv:1803.08475), section 3.1, equations 2 and 3.
    """

    def __init__(
        self, dim: int, num_heads: int, hidden: int, norm: NormKind, *, output_bias: bool
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, num_heads, output_bias=output_bias)
        self.norm1 = InstanceNorm(dim) if norm == "instance" else BatchNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.norm2 = InstanceNorm(dim) if norm == "instance" else BatchNorm(dim)

    def forward(
        self, x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "batch node dim"]:
        x = self.norm1(x + self.attention(x, valid), valid)
        return self.norm2(x + self.feed_forward(x), valid)


@final
class Encoder(nn.Module):
    """Node embedding and a stack of encoder layers."""

    def __init__(
        self,
        env: Environment,
        *,
        dim: int,
        num_heads: int,
        num_layers: int,
        hidden: int,
        norm: NormKind,
        output_bias: bool,
    ) -> None:
        super().__init__()
        self.embedding = NodeEmbedding(env, dim)
        self.layers = nn.ModuleList(
            EncoderLayer(dim, num_heads, hidden, norm, output_bias=output_bias)
            for _ in range(num_layers)
        )

    def forward(self, features: NodeFeatures) -> Float[Tensor, "batch node dim"]:
        # a batch without padding needs no mask, and attention is faster without
        valid = None if bool(features.valid.all()) else features.valid
        x = self.embedding(features)
        for layer in self.layers:
            x = layer(x, valid)
        return x
