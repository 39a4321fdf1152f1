"""POMO's policy: Kwon et al. 2020, "POMO: Policy optimization with multiple optima",
arXiv:2010.16011."""

from __future__ import annotations

from typing import final

from nco.envs.environment import Environment
from nco.models.arcs import TravelRule
from nco.models.decoders import pointer_decoder
from nco.models.encoder import feed_forwards, post_norm_encoder
from nco.models.encoder_decoder import EncoderDecoder
from nco.models.gates import GateFactory
from nco.models.layers import NormKind


@final
class POMO(EncoderDecoder):
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
        travel: whether scores begin with what the way costs (`nco.models.arcs.TravelRule`), which
            is in none of the papers named here.
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
        travel: bool = False,
    ) -> None:
        super().__init__()
        self.env = env

        self.encoder = post_norm_encoder(
            env,
            dim=dim,
            num_heads=num_heads,
            num_layers=num_layers,
            norm=norm,
            output_bias=True,
            feed_forward=feed_forwards(dim, hidden, "relu", experts, env.attribute_names),
        )
        self.film = None
        self.travel = TravelRule() if travel else None
        self.decoder = pointer_decoder(env, dim, num_heads, clip, decoder_experts, small=travel)
