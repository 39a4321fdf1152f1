"""The Attention Model: Kool, van Hoof and Welling 2019, "Attention, learn to solve routing
problems!", arXiv:1803.08475."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import nn

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation, require_coordinates
from nco.models.encoder import Dense, post_norm_encoder
from nco.models.gates import Gate
from nco.models.layers import ContextProjection, node_mean
from nco.models.pointer import folded, pointer_logits, pointer_tables
from nco.models.policy import Encoding, Policy, Scores


@final
class AttentionModel(Policy):
    """Transformer encoder with batch norm, graph-mean context, pointer decoder.

    Query = W_graph(mean of the nodes) + W_step(context); the context is [first; last] node for a
    problem without depot, with one learned vector in its place before the first choice, and
    [current node; resources] for one with a depot. One linear map gives glimpse keys, glimpse
    values and pointer keys.

    Differs from the paper in: nothing for the network. Its public weights give their published
    greedy costs (`tests/test_import_kool.py`). Linear layers start from U(-1/sqrt(fan-in), ...)
    throughout.
    """

    def __init__(
        self,
        env: Environment,
        *,
        dim: int = 128,
        num_heads: int = 8,
        num_layers: int = 3,
        hidden: int = 512,
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        self.env = env
        self.num_heads = num_heads
        self.clip = clip
        self.encoder = post_norm_encoder(
            env,
            dim=dim,
            num_heads=num_heads,
            num_layers=num_layers,
            norm="batch",
            output_bias=False,
            feed_forward=lambda: Dense(dim, hidden, "relu"),
        )
        self.project_nodes = nn.Linear(dim, 3 * dim, bias=False)
        self.project_graph = nn.Linear(dim, dim, bias=False)
        self.project_current = nn.Linear(dim, dim, bias=False)
        self.project_first = None if env.has_depot else nn.Linear(dim, dim, bias=False)
        self.placeholder = (
            None if env.has_depot else nn.Parameter(torch.empty(2, dim).uniform_(-1, 1))
        )
        self.project_features = ContextProjection(env, dim)
        self.output = nn.Linear(dim, dim, bias=False)

    @property
    def needs_start(self) -> bool:
        return False

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {}

    def require(self, instance: Instance) -> None:
        require_coordinates(instance)

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        self.require(instance)
        features = self.env.node_features(instance)
        nodes, _ = self.encoder(features, generator)
        graph = self.project_graph(node_mean(nodes, features.valid))
        key, value, pointer_key = self.project_nodes(nodes).chunk(3, 2)
        start = None
        if self.placeholder is not None and self.project_first is not None:
            first, last = self.placeholder
            start = graph + self.project_first(first) + self.project_current(last)
        return pointer_tables(
            query_current=self.project_current(nodes) + graph.unsqueeze(1),
            query_first=None if self.project_first is None else self.project_first(nodes),
            query_start=start,
            query_features=self.project_features.weight,
            key=key,
            value=value,
            pointer=folded(pointer_key, self.output),
            num_heads=self.num_heads,
        )

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return Scores(pointer_logits(encoding, observation, self.clip), {})
