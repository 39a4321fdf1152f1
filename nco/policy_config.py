"""What a policy is made of: the part of the schema that names policies, gates and decoders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from nco.envs.fleet_parallel import Priority
from nco.models.fleet_policy import Communication
from nco.strict import Strict

OneAtATime = Literal["trips", "sequential"]
"""One vehicle moves at a time, chosen with its node: with trips, one that has left its depot
returns before another one leaves; or any at any time."""
FleetDecisions = Literal["trips", "sequential", "parallel"]
"""`OneAtATime`, or all choose at once, in an order."""


class _NoisyExperts(Strict):
    """What the noisy gate needs, alone or behind a first choice."""

    num_experts: PositiveInt = 4
    active: PositiveInt = 2
    balance: NonNegativeFloat = 1e-3
    """What the balance loss is multiplied by."""

    @model_validator(mode="after")
    def _enough(self) -> _NoisyExperts:
        _check_active(self.active, self.num_experts)
        return self


class NoisyTopKConfig(_NoisyExperts):
    """The k best experts of each token by a noisy gate, with a loss for balance (MVMoE)."""

    type: Literal["noisy-top-k"]


class HierarchicalConfig(_NoisyExperts):
    """A dense layer or the noisy gate's experts, chosen for each instance (MVMoE-L)."""

    type: Literal["hierarchical"]


class SharedSigmoidConfig(Strict):
    """Shared experts and the k best others by a normalised sigmoid, balanced without a loss
    (DeepSeekMoE)."""

    type: Literal["shared-sigmoid"]
    shared: PositiveInt = 1
    routed: PositiveInt = 8
    active: PositiveInt = 2
    """Routed experts of each token, beside the shared."""
    rate: PositiveFloat = 1e-3
    """How far a batch moves the bias of an expert that had too much or too little."""

    @model_validator(mode="after")
    def _enough(self) -> SharedSigmoidConfig:
        _check_active(self.active, self.routed)
        return self


class SoftMergingConfig(Strict):
    """One mixture of the experts' weights for each instance, by its nodes (SMEAR)."""

    type: Literal["soft-merging"]
    num_experts: PositiveInt = 4


class AttributeGateConfig(Strict):
    """One mixture of the experts' weights for each variant, by its constraint vector."""

    type: Literal["attribute"]
    num_experts: PositiveInt = 4


ExpertsConfig = Annotated[
    NoisyTopKConfig
    | HierarchicalConfig
    | SharedSigmoidConfig
    | SoftMergingConfig
    | AttributeGateConfig,
    Field(discriminator="type"),
]


class AttentionConfig(Strict):
    """What all policies of attention layers have."""

    type: Any
    dim: PositiveInt = 128
    num_heads: PositiveInt = 8
    num_layers: PositiveInt = 3
    hidden: PositiveInt = 512

    @model_validator(mode="after")
    def _heads(self) -> AttentionConfig:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} must be a multiple of num_heads {self.num_heads}")
        return self


class _PointerConfig(AttentionConfig):
    """Those that point at nodes."""

    clip: PositiveFloat = 10.0


class AttentionModelConfig(_PointerConfig):
    """Kool et al. 2019."""

    type: Literal["attention_model"]


class POMOConfig(_PointerConfig):
    """The policy of Kwon et al. 2020; with experts that of MVMoE (Zhou et al. 2024)."""

    type: Literal["pomo"]
    num_layers: PositiveInt = 6
    hidden: PositiveInt = 512
    """Of each feed-forward, or of each expert."""
    norm: Literal["instance", "batch"] = "instance"
    experts: ExpertsConfig | None = None
    """In place of the encoder's feed-forward layers."""
    decoder_experts: ExpertsConfig | None = None
    """In place of the layer behind the decoder's glimpse."""
    travel: bool = False
    """Scores begin with what the way from the current node costs."""


class RouteFinderConfig(_PointerConfig):
    """The policy of Berto et al. 2024."""

    type: Literal["routefinder"]
    num_layers: PositiveInt = 6
    hidden: PositiveInt = 512
    """Of each feed-forward, or of each expert; also of the decoder reld."""
    decoder: Literal["pointer", "reld"] = "pointer"
    experts: ExpertsConfig | None = None
    """In place of the encoder's feed-forward layers."""
    decoder_experts: ExpertsConfig | None = None
    """In place of the layer behind the pointer decoder's glimpse."""
    film: bool = False
    """The variant's constraint vector modulates the layers."""

    @model_validator(mode="after")
    def _fits(self) -> RouteFinderConfig:
        if self.decoder == "reld" and self.decoder_experts is not None:
            raise ValueError("decoder_experts are for the decoder pointer, and decoder is reld")
        return self


class RRNCOConfig(_PointerConfig):
    """The policy of Son et al. 2025, for matrices, with coordinates where there are some."""

    type: Literal["rrnco"]
    num_heads: PositiveInt = 8
    """Of the decoder's glimpse; the encoder has none."""
    num_layers: PositiveInt = 6
    channels: PositiveInt = 16
    """Of the embedding of arcs that all layers share: what takes the memory."""
    num_neighbours: PositiveInt = 25
    """Whose distances a node sees at first."""
    decoder: Literal["pointer", "reld"] = "reld"


class MatNetConfig(_PointerConfig):
    """The policy of Kwon et al. 2021, for matrices alone."""

    type: Literal["matnet"]
    dim: PositiveInt = 256
    """Also the most nodes that an instance can have."""
    num_heads: PositiveInt = 16
    num_layers: PositiveInt = 5
    score_hidden: PositiveInt = 16
    """Units of the network that makes a score of a dot product and an arc."""


class CAMPConfig(_PointerConfig):
    """The policy of Hua et al. 2025, for vehicles that differ."""

    type: Literal["camp"]
    bipartite: bool = True
    """Vehicles and customers exchange messages while they are encoded."""
    communication: Communication = "attention"
    """How vehicles hear of each other at each step; with none of it and no bipartite step they
    decide as in PARCO's parallel decoder without communication."""
    decisions: FleetDecisions = "trips"
    priority: Priority = "highest-probability"
    """Which vehicle chooses first, of parallel decisions."""


class HeterogeneousAttentionConfig(_PointerConfig):
    """A vehicle and then a node, as in Li et al. 2021, for vehicles that differ."""

    type: Literal["heterogeneous_attention"]
    decisions: OneAtATime = "trips"


def _check_active(active: int, available: int) -> None:
    if active > available:
        raise ValueError(f"active {active} is more than the {available} experts to choose from")


PolicyConfig = Annotated[
    AttentionModelConfig
    | POMOConfig
    | RouteFinderConfig
    | RRNCOConfig
    | MatNetConfig
    | CAMPConfig
    | HeterogeneousAttentionConfig,
    Field(discriminator="type"),
]
