"""Which policies and strategies the kernels know."""

from __future__ import annotations

from nco.models.attention_model import AttentionModel
from nco.models.decoders import Decoder, ExpertPointerDecoder, PointerDecoder
from nco.models.matnet import MatNet
from nco.models.policy import Policy
from nco.models.pomo import POMO
from nco.models.routefinder import RouteFinder
from nco.models.rrnco import RRNCO
from nco.strategies import Greedy, Sampling, Strategy


def pointer_clip(policy: Policy) -> float | None:
    """The clip of a decoder whose scores are `nco.models.pointer.pointer_logits`; None for
    others."""
    match policy:
        case AttentionModel():
            return policy.clip
        case POMO() | RouteFinder() | MatNet() | RRNCO():
            return _decoder_clip(policy.decoder)
        case _:
            return None


def _decoder_clip(decoder: Decoder) -> float | None:
    match decoder:
        case PointerDecoder():
            return decoder.clip
        case ExpertPointerDecoder() if decoder.router.per_instance:
            return decoder.clip
        case _:
            return None


def why_no_pointer(policy: Policy) -> str | None:
    """What keeps a policy from every kernel, in words; None where nothing does."""
    return "the policy's decoder is no plain pointer" if pointer_clip(policy) is None else None


def why_no_choice(strategy: Strategy) -> str | None:
    """What keeps a strategy from every kernel, in words; None where nothing does."""
    if not isinstance(strategy, Greedy | Sampling):
        return f"the strategy is {type(strategy).__name__}; accepted: Greedy, Sampling"
    if isinstance(strategy, Sampling) and not (strategy.top_k is None and strategy.top_p is None):
        return "the strategy has top_k or top_p; accepted: a temperature"
    return None
