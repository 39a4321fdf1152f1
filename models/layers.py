"""Layers that several policies share.

Axes: B instances, N nodes, D embedding, H heads, F context features, A attributes.
"""

from __future__ import annotations

from typing import Literal, TypeVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.data.errors import InputError
from nco.envs.environment import Environment, NodeFeatures
from nco.models.named_inputs import NamedInputs

NormKind = Literal["batch", "instance", "rms"]
Layer = TypeVar("Layer", bound=nn.Module)


@final
class NodeEmbedding(nn.Module, NamedInputs):
    """Linear embeddings of node features, with a layer of its own for depots.

    The layers are sized by the columns that the environment offers. What holds for a whole
    instance stands at its depots and reaches the other nodes by attention.
    """

    def __init__(self, env: Environment, dim: int, *, bias: bool) -> None:
        super().__init__()
        names = env.node_feature_names
        self.customer_names, self.depot_names = names, env.depot_feature_names
        self.customer = nn.Linear(len(names), dim, bias=bias)
        columns = [names.index(name) for name in self.depot_names]
        self.register_buffer("depot_columns", torch.tensor(columns), persistent=False)
        self.depot = nn.Linear(len(columns), dim, bias=bias) if env.has_depot else None

    @property
    def input_names(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        names = {"customer.weight": (1, self.customer_names)}
        return names if self.depot is None else {**names, "depot.weight": (1, self.depot_names)}

    def forward(self, features: NodeFeatures) -> Float[Tensor, "batch node dim"]:
        embedded = self.customer(features.values)
        if self.depot is None:
            return embedded
        columns = features.values.index_select(2, self.get_buffer("depot_columns"))
        return torch.where(features.depot.unsqueeze(2), self.depot(columns), embedded)


@final
class ContextProjection(nn.Module, NamedInputs):
    """The part of a decoder's query that the context features give; it has no bias."""

    def __init__(self, env: Environment, dim: int) -> None:
        super().__init__()
        self.names = env.context_feature_names
        width = len(self.names)
        # the start of one linear layer over [node; features]
        start = torch.empty(width, dim).uniform_(-1, 1) / (dim + width) ** 0.5
        self.weight = nn.Parameter(start)

    @property
    def input_names(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        return {"weight": (0, self.names)}

    def forward(
        self, features: Float[Tensor, "batch state feature"]
    ) -> Float[Tensor, "batch state dim"]:
        return features @ self.weight


@final
class FiLM(nn.Module, NamedInputs):
    """(1 + γ(a)) h + β(a) with linear γ and β of an instance's constraint vector a.

    Perez et al. 2018 (arXiv:1709.07871). Starts as the identity.
    """

    def __init__(self, attributes: tuple[str, ...], dim: int) -> None:
        super().__init__()
        if not attributes:
            raise InputError(
                "FiLM is asked for, and the problem has one variant only; accepted: problems "
                "whose instances differ in their attributes"
            )
        self.names = attributes
        self.modulate = nn.Linear(len(attributes), 2 * dim)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    @property
    def input_names(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        return {"modulate.weight": (1, self.names)}

    def forward(
        self, x: Float[Tensor, "batch node dim"], attributes: Float[Tensor, "batch attribute"]
    ) -> Float[Tensor, "batch node dim"]:
        scale, shift = self.modulate(attributes).unsqueeze(1).chunk(2, 2)
        return torch.addcmul(x + shift, x, scale)


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
class RMSNorm(nn.Module):
    """Divides each node's embedding by its root mean square, with a scale for each channel.

    Zhang and Sennrich 2019 (arXiv:1910.07467).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-6)

    def forward(
        self, x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "batch node dim"]:
        return self.norm(x)


@final
class CentredRMSNorm(nn.Module):
    """RMS norm of what is left when the mean over an instance's nodes is taken away."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = RMSNorm(dim)

    def forward(
        self, x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
    ) -> Float[Tensor, "batch node dim"]:
        return self.norm(x - node_mean(x, valid).unsqueeze(1), valid)


def node_mean(
    x: Float[Tensor, "batch node dim"], valid: Bool[Tensor, "batch node"] | None
) -> Float[Tensor, "batch dim"]:
    """The mean over the real nodes."""
    if valid is None:
        return x.mean(1)
    real = valid.unsqueeze(2).to(x.dtype)
    return (x * real).sum(1) / real.sum(1)


def norm_layer(kind: NormKind, dim: int) -> InstanceNorm | BatchNorm | RMSNorm:
    """A fresh layer by its name."""
    match kind:
        case "instance":
            return InstanceNorm(dim)
        case "batch":
            return BatchNorm(dim)
        case "rms":
            return RMSNorm(dim)


SMALL_START = 0.1
"""Layers whose output is added to the scores of a rule begin with this share of the usual weights,
so that the rule is seen at first."""


def start_small(layer: Layer) -> Layer:
    """A fresh layer with `SMALL_START`."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(SMALL_START)
    return layer
