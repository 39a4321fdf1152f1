"""The pointer decoder of the Attention Model family, with all that can be computed once an episode.

A step is: look up the query of the current (and first) node, add the context features, one masked
multi-head glimpse at the nodes, then a clipped compatibility with every node (Kool et al. 2019,
arXiv:1803.08475, section 3.2, equations 4 to 8). The projections are applied to all nodes
beforehand, so that a step multiplies by no weight; the glimpse's output projection is folded into
the pointer keys, (o W + c) · k = o · (W k) + c · k.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nco.envs.environment import Observation, mask_bias
from nco.models.policy import Encoding


def pointer_tables(
    *,
    query_current: Float[Tensor, "batch node dim"],
    query_first: Float[Tensor, "batch node dim"] | None,
    query_start: Float[Tensor, "batch dim"] | None,
    query_features: Float[Tensor, "feature dim"],
    key: Float[Tensor, "batch node dim"],
    value: Float[Tensor, "batch node dim"],
    pointer: dict[str, Tensor],
    num_heads: int,
) -> Encoding:
    """Lay out the tables that `glimpse_heads` and `compatibility` read.

    Args:
        query_current: the part of the query that the current node gives, and all that is fixed.
        query_first: the part of the first node, where there is one.
        query_start: the query of the very first choice, where no node is chosen yet.
        query_features: projects the context features.
        key, value: of the glimpse, heads joined.
        pointer: the tables of the compatibility, as `folded` makes them.
        num_heads: H.
    """
    b, n, d = key.shape
    head = d // num_heads
    batched = {
        "query_current": query_current,
        "key": (key / math.sqrt(head)).view(b, n, num_heads, head).permute(0, 2, 3, 1).contiguous(),
        "value": value.view(b, n, num_heads, head).transpose(1, 2).contiguous(),
        **pointer,
    }
    if query_first is not None:
        batched["query_first"] = query_first
    if query_start is not None:
        batched["query_start"] = query_start
    # under mixed precision the encoder computes in bfloat16; scores and probabilities do not
    tables = {name: table.float() for name, table in batched.items()}
    return Encoding(tables, {"query_features": query_features.float()})


def folded(pointer_key: Float[Tensor, "batch node dim"], output: nn.Linear) -> dict[str, Tensor]:
    """Pointer keys with the glimpse's output projection multiplied in."""
    scale = math.sqrt(pointer_key.shape[2])
    tables = {"pointer": ((pointer_key / scale) @ output.weight).transpose(1, 2).contiguous()}
    if output.bias is not None:
        tables["pointer_bias"] = (pointer_key @ (output.bias / scale)).unsqueeze(1)
    return tables


def lookup(
    table: Float[Tensor, "batch node dim"], index: Int[Tensor, "batch state"]
) -> Float[Tensor, "batch state dim"]:
    """Rows of a table; by one flat index, which copies whole rows and is faster than a gather."""
    b, n, d = table.shape
    offset = torch.arange(b, device=table.device).unsqueeze(1) * n
    return table.reshape(b * n, d).index_select(0, (index + offset).flatten()).view(b, -1, d)


def glimpse(
    query: Float[Tensor, "batch state dim"],
    key: Float[Tensor, "batch head width node"],
    value: Float[Tensor, "batch head node width"],
    mask: Bool[Tensor, "batch state node"],
) -> Float[Tensor, "batch state dim"]:
    """Masked multi-head attention of states to nodes; the keys are scaled already."""
    b, k, d = query.shape
    h = key.shape[1]
    scores = query.view(b, k, h, d // h).transpose(1, 2) @ key
    weights = (scores + mask_bias(mask, scores.dtype).unsqueeze(1)).softmax(3)
    return (weights @ value).transpose(1, 2).reshape(b, k, d)


def glimpse_heads(encoding: Encoding, observation: Observation) -> Float[Tensor, "batch state dim"]:
    """What the states' queries gather from the nodes, heads joined and not yet projected."""
    tables = encoding.batched
    b, k = observation.current.shape
    if observation.started:
        query = lookup(tables["query_current"], observation.current)
        if "query_first" in tables:
            query = query + lookup(tables["query_first"], observation.first)
    else:
        query = tables["query_start"].unsqueeze(1).expand(b, k, -1)
    if observation.features.shape[2]:
        query = query + observation.features @ encoding.shared["query_features"]
    return glimpse(query, tables["key"], tables["value"], observation.mask)


def compatibility(
    tables: dict[str, Tensor],
    heads: Float[Tensor, "batch state dim"],
    current: Int[Tensor, "batch state"],
    clip: float,
) -> Float[Tensor, "batch state node"]:
    """Scores of every node from what the glimpse gathered, clipped."""
    if ADAPTER in tables:
        hidden = (heads @ tables[ADAPTER] + tables["adapter_bias"]).relu()
        heads = heads + hidden @ tables["adapter_out"] + tables["adapter_shift"]
    scores = heads @ tables["pointer"]
    if "pointer_bias" in tables:
        scores = scores + tables["pointer_bias"]
    return clipped(tables, scores, current, clip)


ADAPTER = "adapter"
"""The table that tells of a layer of an instance's own behind the glimpse, see `new_adapter`."""


def new_adapter(
    pointer: Float[Tensor, "batch dim node"], generator: torch.Generator
) -> dict[str, Tensor]:
    """Tables of a layer with a residual connection, heads + W2 relu(W1 heads + b1) + b2, for each
    instance its own; W2 and b2 begin at 0, so that it changes nothing at first (Hottung et al.
    2022, arXiv:2106.05126, section 3.2). Only torch reads them: no kernel knows the layer."""
    b, d, _ = pointer.shape
    bound = 1 / math.sqrt(d)
    first = torch.empty(1, d, d, device=pointer.device).uniform_(-bound, bound, generator=generator)
    zero = pointer.new_zeros(b, 1, d)
    return {
        ADAPTER: first.expand(b, d, d).to(pointer.dtype).contiguous(),
        "adapter_bias": zero.clone(),
        "adapter_out": pointer.new_zeros(b, d, d),
        "adapter_shift": zero.clone(),
    }


def clipped(
    tables: dict[str, Tensor],
    scores: Float[Tensor, "batch state node"],
    current: Int[Tensor, "batch state"],
    clip: float,
) -> Float[Tensor, "batch state node"]:
    """Scores with what the way from the current node adds, where a policy reads it; within
    ±``clip`` by tanh."""
    if "travel" in tables:
        scores = scores + lookup(tables["travel"], current)
    return clip * scores.tanh()


def pointer_logits(
    encoding: Encoding, observation: Observation, clip: float
) -> Float[Tensor, "batch state node"]:
    """Compatibility of the states with every node, unmasked."""
    heads = glimpse_heads(encoding, observation)
    return compatibility(encoding.batched, heads, observation.current, clip)
