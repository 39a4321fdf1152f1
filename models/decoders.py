"""Decoders over encoded nodes: the pointer of POMO, with experts if wanted, and that of ReLD.

Axes: B instances, K states of each, N nodes, D embedding, M hidden width, E experts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.envs.environment import Environment, Observation
from nco.models.experts import LinearExperts
from nco.models.gates import Choice, Gate, GateFactory, Summary
from nco.models.layers import ContextProjection, start_small
from nco.models.pointer import (
    clipped,
    compatibility,
    folded,
    glimpse_heads,
    lookup,
    pointer_logits,
    pointer_tables,
)
from nco.models.policy import Encoding, Scores, Usage


@dataclass(frozen=True, slots=True)
class EncodedNodes:
    """What an encoder gives a decoder; rows and columns are the same tensor where nodes have one
    embedding each."""

    rows: Float[Tensor, "batch node dim"]
    """Nodes as origins: queries are made of them."""
    columns: Float[Tensor, "batch node dim"]
    """Nodes as destinations: keys and values are made of them."""
    travel: Float[Tensor, "batch from to"] | None = None
    """Added, before the clip, to the score of going from the current node to each other."""


class Decoder(nn.Module, ABC):
    """Tables of an episode from encoded nodes, and the scores of states from tables."""

    @property
    @abstractmethod
    def gates(self) -> dict[str, Gate]:
        """Of experts, by the names under which their usage is reported."""

    @abstractmethod
    def tables(self, nodes: EncodedNodes, summary: Summary) -> Encoding:
        """What every step reads."""

    @abstractmethod
    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        """As `Policy.scores`."""


@final
class Projections(nn.Module):
    """Queries, keys and values of POMO's pointer (Kwon et al. 2020, arXiv:2010.16011): the raw
    node embeddings are the pointer keys."""

    def __init__(self, env: Environment, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.current = nn.Linear(dim, dim, bias=False)
        self.first = None if env.has_depot else nn.Linear(dim, dim, bias=False)
        self.features = ContextProjection(env, dim)

    def forward(self, nodes: EncodedNodes, pointer: dict[str, Tensor]) -> Encoding:
        travel = {} if nodes.travel is None else {"travel": nodes.travel}
        return pointer_tables(
            query_current=self.current(nodes.rows),
            query_first=None if self.first is None else self.first(nodes.rows),
            query_start=None,
            query_features=self.features.weight,
            key=self.key(nodes.columns),
            value=self.value(nodes.columns),
            pointer={**pointer, **travel},
            num_heads=self.num_heads,
        )


@final
class PointerDecoder(Decoder):
    """One masked glimpse at the nodes, one linear layer, then a clipped compatibility."""

    def __init__(self, env: Environment, dim: int, num_heads: int, clip: float) -> None:
        super().__init__()
        self.clip = clip
        self.project = Projections(env, dim, num_heads)
        self.output = nn.Linear(dim, dim)

    @property
    def gates(self) -> dict[str, Gate]:
        return {}

    def tables(self, nodes: EncodedNodes, summary: Summary) -> Encoding:
        return self.project(nodes, folded(nodes.columns, self.output))

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return Scores(pointer_logits(encoding, observation, self.clip), {})


@final
class ExpertPointerDecoder(Decoder):
    """The same with linear experts behind the glimpse, as in MVMoE (Zhou et al. 2024,
    arXiv:2405.01029): the glimpse's output is what the gate sees."""

    def __init__(
        self, env: Environment, dim: int, num_heads: int, clip: float, gate: GateFactory
    ) -> None:
        super().__init__()
        self.clip = clip
        self.project = Projections(env, dim, num_heads)
        self.router = gate(dim, env.attribute_names)
        self.experts = LinearExperts(dim, self.router.num_experts)

    @property
    def gates(self) -> dict[str, Gate]:
        return {"decoder": self.router}

    def tables(self, nodes: EncodedNodes, summary: Summary) -> Encoding:
        weight, bias = self.experts.fold(nodes.columns / math.sqrt(nodes.columns.shape[2]))
        prepared = self.router.prepare(summary, 1)
        if self.router.per_instance:
            choice = self.router(summary.pooled.unsqueeze(1), prepared)
            # [B, 1, E] · [B, E, D·N]: one layer for each instance
            merged = choice.weights.to(weight.dtype) @ weight.flatten(2)
            merged_bias = choice.weights.to(bias.dtype) @ bias
            pointer = {"pointer": merged.view(-1, *weight.shape[2:]), "pointer_bias": merged_bias}
            usage: Usage = {"decoder": torch.stack(choice).sum((1, 2))}
            return replace(self.project(nodes, pointer), usage=usage)
        pointer = {"pointer": weight.flatten(1, 2).contiguous(), "pointer_bias": bias}
        gate_tables = {f"gate_{name}": value for name, value in prepared.items()}
        return self.project(nodes, {**pointer, **gate_tables})

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        if self.router.per_instance:
            return Scores(pointer_logits(encoding, observation, self.clip), {})
        tables = encoding.batched
        heads = glimpse_heads(encoding, observation)
        prepared = {k.removeprefix("gate_"): v for k, v in tables.items() if k.startswith("gate_")}
        choice: Choice = self.router(heads, prepared)
        spread = (choice.weights.unsqueeze(3) * heads.unsqueeze(2)).flatten(2)
        scores = spread @ tables["pointer"] + choice.weights @ tables["pointer_bias"]
        logits = clipped(tables, scores, observation.current, self.clip)
        return Scores(logits, {"decoder": torch.stack(choice)})


def pointer_decoder(
    env: Environment,
    dim: int,
    num_heads: int,
    clip: float,
    experts: GateFactory | None,
    *,
    small: bool = False,
) -> Decoder:
    """The pointer decoder with one dense layer behind the glimpse, or with experts.

    Args:
        small: whether these begin small, beside a rule.
    """
    if experts is None:
        dense = PointerDecoder(env, dim, num_heads, clip)
        dense.output = start_small(dense.output) if small else dense.output
        return dense
    decoder = ExpertPointerDecoder(env, dim, num_heads, clip, experts)
    decoder.experts = start_small(decoder.experts) if small else decoder.experts
    return decoder


@final
class ReLDDecoder(Decoder):
    """ReLD (Huang et al. 2025, "Rethinking light decoder-based solvers for vehicle routing
    problems", ICLR): the current node's embedding and a projection of the resources are added to
    the glimpse, and a feed-forward layer with a residual connection follows.

    A step multiplies by the weights of the feed-forward, so it costs several times that of
    `PointerDecoder`.

    Differs from the paper in: the current node's embedding passes a linear layer. Added as it is
    to embeddings behind an RMS norm, its product with every key is so large at the start that the
    clip lets no gradient through.
    """

    def __init__(
        self, env: Environment, dim: int, num_heads: int, clip: float, hidden: int
    ) -> None:
        super().__init__()
        self.clip = clip
        self.project = Projections(env, dim, num_heads)
        self.output = nn.Linear(dim, dim)
        self.identity = nn.Linear(dim, dim, bias=False)
        self.resources = ContextProjection(env, dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    @property
    def gates(self) -> dict[str, Gate]:
        return {}

    def tables(self, nodes: EncodedNodes, summary: Summary) -> Encoding:
        pointer = (nodes.columns / math.sqrt(nodes.columns.shape[2])).transpose(1, 2).contiguous()
        return self.project(nodes, {"pointer": pointer, "identity": self.identity(nodes.rows)})

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        tables = encoding.batched
        query = self.output(glimpse_heads(encoding, observation))
        query = query + lookup(tables["identity"], observation.current)
        if observation.features.shape[2]:
            query = query + self.resources(observation.features)
        query = query + self.feed_forward(query)
        return Scores(compatibility(tables, query, observation.current, self.clip), {})
