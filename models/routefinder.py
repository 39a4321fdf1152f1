"""RouteFinder's policy: Berto et al. 2024, "RouteFinder: Towards foundation models for vehicle
routing problems", arXiv:2406.15007."""

from __future__ import annotations

from typing import Literal, final

from nco.data.errors import InputError
from nco.envs.environment import Environment
from nco.models.decoders import ReLDDecoder, pointer_decoder
from nco.models.encoder import Encoder, PreNormLayer, feed_forwards
from nco.models.encoder_decoder import EncoderDecoder
from nco.models.gates import GateFactory
from nco.models.layers import CentredRMSNorm, FiLM, NodeEmbedding

DecoderKind = Literal["pointer", "reld"]


@final
class RouteFinder(EncoderDecoder):
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
        feed_forward = feed_forwards(dim, hidden, "swiglu", experts, env.attribute_names)

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
        self.travel = None
        self.decoder = (
            ReLDDecoder(env, dim, num_heads, clip, hidden)
            if decoder == "reld"
            else pointer_decoder(env, dim, num_heads, clip, decoder_experts)
        )
