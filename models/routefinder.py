"""RouteFinder's policy: Berto et al. 2024, "RouteFinder: Towards foundation models for vehicle
routing problems", arXiv:2406.15007."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, final

import torch

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.environment import Environment, Observation
from nco.models.decoders import Decoder, ExpertPointerDecoder, PointerDecoder, ReLDDecoder
from nco.models.encoder import Conditions, Dense, Encoder, FeedForward, Mixture, PreNormLayer
from nco.models.gates import Gate, GateFactory
from nco.models.layers import CentredRMSNorm, FiLM, NodeEmbedding
from nco.models.policy import Encoding, Policy, Scores

DecoderKind = Literal["pointer", "reld"]


@final
class RouteFinder(Policy):
    """A transformer with RMS norms before attention and SwiGLU feed-forwards, one norm at its end,
    and POMO's pointer decoder or that of ReLD.

    What holds for a whole instance enters at its depots, by embeddings without bias.

    Differs from the paper in: the last norm takes the mean over the nodes away first. What all
    nodes have in common, such as the instance's attributes, otherwise outweighs what tells them
    apart, pushes all scores to one end of the clip, and training hardly begins within the first
    85,000 instances (docs/decisions.md). Attributes are scaled by the instance (limits, times and
    loads as shares) instead of given in the units of the unit square, with the unit of time as one
    more column; the depot sees the mixed-backhaul flag wherever the problem has mixed backhauls;
    the decoder's context has two loads, whether deliveries are over, the start of service for the
    time, and the home depot's place only where the problem has several depots.

    Args:
        decoder: "pointer" or "reld".
        experts: a gate for each feed-forward of the encoder; None for dense ones.
        decoder_experts: a gate behind the glimpse of the pointer decoder; None for a dense layer.
        film: whether the variant's constraint vector modulates each feed-forward's input and what
            the decoder reads.
    """

    def __init__(
        self,
        env: Environment,
        *,
        dim: int = 128,
        num_heads: int = 8,
        num_layers: int = 6,
        hidden: int = 512,
        clip: float = 10.0,
        decoder: DecoderKind = "pointer",
        experts: GateFactory | None = None,
        decoder_experts: GateFactory | None = None,
        film: bool = False,
    ) -> None:
        super().__init__()
        if decoder == "reld" and decoder_experts is not None:
            raise InputError(
                "decoder_experts are given for the decoder reld; accepted: with the decoder pointer"
            )
        self.env = env

        def feed_forward() -> FeedForward:
            if experts is None:
                return Dense(dim, hidden, "swiglu")
            return Mixture(dim, hidden, "swiglu", experts, env.attribute_names)

        def modulation() -> FiLM | None:
            return FiLM(env.attribute_names, dim) if film else None

        self.encoder = Encoder(
            NodeEmbedding(env, dim, bias=False),
            [
                PreNormLayer(
                    dim, num_heads, feed_forward(), "rms", output_bias=True, film=modulation()
                )
                for _ in range(num_layers)
            ],
            CentredRMSNorm(dim),
        )
        self.film = modulation()
        self.decoder: Decoder = (
            ReLDDecoder(env, dim, num_heads, clip, hidden)
            if decoder == "reld"
            else PointerDecoder(env, dim, num_heads, clip)
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
        if self.film is not None:
            nodes = self.film(nodes, features.attributes)
        conditions = Conditions(features.valid, features.attributes, generator)
        encoding = self.decoder.tables(nodes, conditions.summary(nodes.float()))
        return replace(encoding, usage={**usage, **encoding.usage})

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return self.decoder.scores(encoding, observation)
