"""The Attention Model: Kool, van Hoof and Welling 2019, "Attention, learn to solve routing
problems!", arXiv:1803.08475."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.models.layers import Encoder
from nco.models.pointer import pointer_logits, pointer_tables
from nco.models.policy import Encoding, Policy


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
        self.encoder = Encoder(
            env,
            dim=dim,
            num_heads=num_heads,
            num_layers=num_layers,
            hidden=hidden,
            norm="batch",
            output_bias=False,
        )
        self.project_nodes = nn.Linear(dim, 3 * dim, bias=False)
        self.project_graph = nn.Linear(dim, dim, bias=False)
        self.project_current = nn.Linear(dim, dim, bias=False)
        self.project_first = None if env.has_depot else nn.Linear(dim, dim, bias=False)
        self.placeholder = (
            None if env.has_depot else nn.Parameter(torch.empty(2, dim).uniform_(-1, 1))
        )
        width = len(env.context_feature_names)
        self.project_features = nn.Parameter(
            torch.empty(width, dim).uniform_(-1, 1) / (dim + width) ** 0.5
        )
        self.output = nn.Linear(dim, dim, bias=False)

    @property
    def needs_start(self) -> bool:
        return False

    def encode(self, instance: Instance) -> Encoding:
        features = self.env.node_features(instance)
        nodes = self.encoder(features)
        total = (nodes * features.valid.unsqueeze(2)).sum(1)
        graph = self.project_graph(total / features.valid.sum(1, keepdim=True))
        key, value, pointer_key = self.project_nodes(nodes).chunk(3, 2)
        start = None
        if self.placeholder is not None and self.project_first is not None:
            first, last = self.placeholder
            start = graph + self.project_first(first) + self.project_current(last)
        return pointer_tables(
            query_current=self.project_current(nodes) + graph.unsqueeze(1),
            query_first=None if self.project_first is None else self.project_first(nodes),
            query_start=start,
            query_features=self.project_features,
            key=key,
            value=value,
            pointer_key=pointer_key,
            output=self.output,
            num_heads=self.num_heads,
        )

    def logits(
        self, encoding: Encoding, observation: Observation
    ) -> Float[Tensor, "batch state node"]:
        return pointer_logits(encoding, observation, self.clip)
