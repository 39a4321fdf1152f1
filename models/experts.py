"""Experts: several layers in one, of which a gate picks or mixes some for every token.

All experts of a layer lie in one tensor and are applied in grouped products: tokens are sorted by
expert and multiplied group by group in one call, or, where an instance has one mixture for all its
tokens, the experts are merged into one layer for each instance and applied in one batched product.

Axes: B instances, N tokens of each, D width, M hidden width, E experts.
"""

from __future__ import annotations

import math
from typing import Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nco.data.errors import InputError

Activation = Literal["relu", "swiglu"]


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """The start of torch's linear layers."""
    return nn.Parameter(torch.empty(shape).uniform_(-1, 1) / math.sqrt(fan_in))


@final
class FeedForwardExperts(nn.Module):
    """E feed-forward layers: W2 relu(W1 x + b1) + b2, or W2 (silu(W1 x) * (W3 x)) without biases.

    Args:
        dim: D, in and out.
        hidden: M of each expert.
        num_experts: E.
        activation: "relu" or "swiglu".

    Raises:
        InputError: D or M is not a multiple of 8.
    """

    def __init__(self, dim: int, hidden: int, num_experts: int, activation: Activation) -> None:
        super().__init__()
        for name, width in (("dim", dim), ("hidden", hidden)):
            # grouped products want rows of whole 16 bytes, in mixed precision too
            if width % 8:
                raise InputError(f"{name} is {width}; accepted with experts: a multiple of 8")
        gated = activation == "swiglu"
        self.gated = gated
        self.up = _uniform(num_experts, dim, hidden * (2 if gated else 1), fan_in=dim)
        self.down = _uniform(num_experts, hidden, dim, fan_in=hidden)
        self.up_bias = None if gated else _uniform(num_experts, hidden, fan_in=dim)
        self.down_bias = None if gated else _uniform(num_experts, dim, fan_in=hidden)

    def _activate(self, x: Tensor) -> Tensor:
        if self.gated:
            gate, value = x.chunk(2, -1)
            return F.silu(gate) * value
        return x.relu()

    def forward(
        self,
        x: Float[Tensor, "batch token dim"],
        weights: Float[Tensor, "batch #token expert"],
        active: int,
    ) -> Float[Tensor, "batch token dim"]:
        """The mixture of each token.

        Args:
            weights: of a gate; [B, 1, E] where an instance's tokens share them.
            active: the most experts with a weight above zero.
        """
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        if weights.shape[1] == 1 and x.shape[1] > 1:
            return self._merged(x, weights.squeeze(1).to(x.dtype))
        return self._routed(x.flatten(0, 1), weights.flatten(0, 1), active).view_as(x)

    def _merged(
        self, x: Float[Tensor, "batch token dim"], weights: Float[Tensor, "batch expert"]
    ) -> Float[Tensor, "batch token dim"]:
        """Each instance's own layer, the weighted sum of all experts."""

        def merged(parameter: Tensor) -> Tensor:
            flat = weights @ parameter.flatten(1).to(x.dtype)
            return flat.view(-1, *parameter.shape[1:])

        inner = x @ merged(self.up)
        if self.up_bias is not None:
            inner = inner + merged(self.up_bias).unsqueeze(1)
        out = self._activate(inner) @ merged(self.down)
        if self.down_bias is not None:
            out = out + merged(self.down_bias).unsqueeze(1)
        return out

    def _routed(
        self, x: Float[Tensor, "token dim"], weights: Float[Tensor, "token expert"], active: int
    ) -> Float[Tensor, "token dim"]:
        """Each token's own experts, all tokens of an expert in one product."""
        best, index = weights.topk(active, dim=1)
        order, ends = _grouped(best, index, weights.shape[1])
        token = torch.div(order, active, rounding_mode="floor")
        # one row for each (token, expert), those of an expert side by side
        inner = F.grouped_mm(x[token], self.up.to(x.dtype), offs=ends)
        if self.up_bias is not None:
            # by a product: looking the rows up would add them up one by one in the backward pass
            chosen = F.one_hot(index.flatten()[order], weights.shape[1]).to(x.dtype)
            inner = inner + chosen @ self.up_bias.to(x.dtype)
        out = F.grouped_mm(self._activate(inner), self.down.to(x.dtype), offs=ends)
        out = out * best.flatten()[order].unsqueeze(1).to(x.dtype)
        # back in the order of tokens and summed there: the same on every device and run
        placed = out.new_zeros(len(x) * active, out.shape[1]).index_copy(0, order, out)
        total = placed.view(len(x), active, -1).sum(1)
        if self.down_bias is not None:
            total = total + weights.to(x.dtype) @ self.down_bias.to(x.dtype)
        return total


def _grouped(
    best: Float[Tensor, "token active"], index: Int[Tensor, "token active"], num_experts: int
) -> tuple[Int[Tensor, " row"], Int[Tensor, " expert"]]:
    """The (token, expert) pairs with a weight, sorted by expert, and where each group ends."""
    expert = index.flatten().masked_fill(best.flatten() == 0, num_experts)
    counts = torch.zeros(num_experts + 1, dtype=torch.int64, device=expert.device)
    ends = counts.scatter_add(0, expert, torch.ones_like(expert))[:num_experts].cumsum(0)
    return expert.argsort(stable=True)[: int(ends[-1])], ends.to(torch.int32)


@final
class LinearExperts(nn.Module):
    """E linear layers o W_e + c_e that a decoder's queries pass before they meet pointer keys.

    (o W_e + c_e) · k = o · (W_e k) + c_e · k: the keys of all nodes are multiplied beforehand, so a
    step of the decoder multiplies by no weight, whatever the number of experts.
    """

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        self.weight = _uniform(num_experts, dim, dim, fan_in=dim)
        self.bias = _uniform(num_experts, dim, fan_in=dim)

    def fold(
        self, key: Float[Tensor, "batch node dim"]
    ) -> tuple[Float[Tensor, "batch expert dim node"], Float[Tensor, "batch expert node"]]:
        """What a query meets instead of the keys, for each expert, and what is added."""
        b, n, d = key.shape
        e = len(self.weight)
        # [E, D_in, D_out] -> [E·D_in, D_out]
        folded = key @ self.weight.reshape(e * d, d).T.to(key.dtype)
        return folded.view(b, n, e, d).permute(0, 2, 3, 1), (key @ self.bias.T.to(key.dtype)).mT
