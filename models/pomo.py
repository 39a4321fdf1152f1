"""POMO's policy: Kwon et al. 2020, "POMO: Policy optimization with multiple optima",
arXiv:2010.16011."""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.models.layers import Encoder, NormKind
from nco.models.pointer import pointer_logits, pointer_tables
from nco.models.policy import Encoding, Policy


@final
class POMO(Policy):
    """Six encoder layers, no graph mean, and the raw node embedding as pointer key.

    Query = W_first(first) + W_last(last) for a problem without depot, W_last([last; resources])
    for one with a depot. Queries, keys and values have no bias; joining the heads has one. The
    network is that of the authors' current code: instance norm instead of the paper's batch norm.

    Differs from the authors' code in: instance norm divides by the biased variance over the real
    nodes only, so a padded instance scores as it does alone.
    """

    def __init__(
        self,
        env: Environment,
        *,
        dim: int = 128,
        num_heads: int = 8,
        num_layers: int = 6,
        hidden: int = 512,
        norm: NormKind = "instance",
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
            norm=norm,
            output_bias=True,
        )
        self.project_key = nn.Linear(dim, dim, bias=False)
        self.project_value = nn.Linear(dim, dim, bias=False)
        self.project_current = nn.Linear(dim, dim, bias=False)
        self.project_first = None if env.has_depot else nn.Linear(dim, dim, bias=False)
        width = len(env.context_feature_names)
        self.project_features = nn.Parameter(
            torch.empty(width, dim).uniform_(-1, 1) / (dim + width) ** 0.5
        )
        self.output = nn.Linear(dim, dim)

    @property
    def needs_start(self) -> bool:
        return not self.env.has_depot

    def encode(self, instance: Instance) -> Encoding:
        nodes = self.encoder(self.env.node_features(instance))
        return pointer_tables(
            query_current=self.project_current(nodes),
            query_first=None if self.project_first is None else self.project_first(nodes),
            query_start=None,
            query_features=self.project_features,
            key=self.project_key(nodes),
            value=self.project_value(nodes),
            pointer_key=nodes,
            output=self.output,
            num_heads=self.num_heads,
        )

    def logits(
        self, encoding: Encoding, observation: Observation
    ) -> Float[Tensor, "batch state node"]:
        return pointer_logits(encoding, observation, self.clip)
