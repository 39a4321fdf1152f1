"""POMO's policy: Kwon et al. 2020, "POMO: Policy optimization with multiple optima",
arXiv:2010.16011."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import final

import torch

from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.models.decoders import Decoder, ExpertPointerDecoder, PointerDecoder
from nco.models.encoder import Conditions, Dense, FeedForward, Mixture, post_norm_encoder
from nco.models.gates import Gate, GateFactory
from nco.models.layers import NormKind
from nco.models.policy import Encoding, Policy, Scores


@final
class POMO(Policy):
    """Six encoder layers, no graph mean, and the raw node embedding as pointer key.

    Query = W_first(first) + W_last(last) for a problem without depot, W_last([last; resources])
    for one with a depot. Queries, keys and values have no bias; joining the heads has one. The
    network is that of the authors' current code: instance norm instead of the paper's batch norm.
    On a set of variants it is the policy that the field calls MTPOMO; with experts in the encoder
    and behind the decoder's glimpse it is MVMoE (Zhou et al. 2024, arXiv:2405.01029).

    Differs from the authors' code in: instance norm divides by the biased variance over the real
    nodes only, so a padded instance scores as it does alone. Differs from MTPOMO and MVMoE in:
    what holds for a whole instance (open routes, the limit, mixed backhauls) is seen at the depot
    and not in the decoder's context; deliveries and pickups are two columns and not one signed
    demand; service times are seen; gates as `nco.models.gates` says.

    Args:
        experts: a gate for each feed-forward of the encoder; None for dense ones.
        decoder_experts: a gate behind the glimpse; None for one dense layer. Gates that look at
            the mean of an instance's nodes (hierarchical, soft merging) see next to nothing of it
            behind an instance norm, which makes that mean the same for all instances.
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
        experts: GateFactory | None = None,
        decoder_experts: GateFactory | None = None,
    ) -> None:
        super().__init__()
        self.env = env

        def feed_forward() -> FeedForward:
            if experts is None:
                return Dense(dim, hidden, "relu")
            return Mixture(dim, hidden, "relu", experts, env.attribute_names)

        self.encoder = post_norm_encoder(
            env,
            dim=dim,
            num_heads=num_heads,
            num_layers=num_layers,
            norm=norm,
            output_bias=True,
            feed_forward=feed_forward,
        )
        self.decoder: Decoder = (
            PointerDecoder(env, dim, num_heads, clip)
            if decoder_experts is None
            else ExpertPointerDecoder(env, dim, num_heads, clip, decoder_experts)
        )

    @property
    def needs_start(self) -> bool:
        return not self.env.has_depot

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {**self.encoder.gates, **self.decoder.gates}

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        features = self.env.node_features(instance)
        nodes, usage = self.encoder(features, generator)
        conditions = Conditions(features.valid, features.attributes, generator)
        encoding = self.decoder.tables(nodes, conditions.summary(nodes.float()))
        return replace(encoding, usage={**usage, **encoding.usage})

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return self.decoder.scores(encoding, observation)
