"""What policies share that encode nodes once and point at them at every step."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.instance import Instance
from nco.envs.environment import Observation, require_coordinates
from nco.models.arcs import Arcs, TravelScores, arcs_of
from nco.models.decoders import Decoder, EncodedNodes
from nco.models.encoder import Conditions, Encoder
from nco.models.gates import Gate
from nco.models.layers import FiLM
from nco.models.policy import Encoding, Policy, Scores


class NodePointer(Policy, ABC):
    """A decoder that points at nodes; a policy of this kind says how it encodes them."""

    decoder: Decoder
    travel: TravelScores | None
    """Adds to the scores what the way from the current node costs, where it is given."""

    def travel_scores(self, arcs: Arcs) -> Float[Tensor, "batch from to"] | None:
        """What the way from each node to each other adds to scores; None where nothing does."""
        return None if self.travel is None else self.travel(arcs)

    @property
    def needs_start(self) -> bool:
        return not self.env.has_depot

    @property
    def gates(self) -> Mapping[str, Gate]:
        return self.decoder.gates

    def scores(self, encoding: Encoding, observation: Observation) -> Scores:
        return self.decoder.scores(encoding, observation)


class EncoderDecoder(NodePointer, ABC):
    """An encoder that reads coordinates, and a decoder; a policy of this kind says which."""

    encoder: Encoder
    film: FiLM | None
    """Modulates what the decoder reads by the variant, where it is given."""

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {**self.encoder.gates, **self.decoder.gates}

    def require(self, instance: Instance) -> None:
        require_coordinates(instance)

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        self.require(instance)
        features = self.env.node_features(instance)
        nodes, usage = self.encoder(features, generator)
        if self.film is not None:
            nodes = self.film(nodes, features.attributes)
        conditions = Conditions(features.valid, features.attributes, generator)
        travel = None if self.travel is None else self.travel_scores(arcs_of(instance))
        encoding = self.decoder.tables(
            EncodedNodes(nodes, nodes, travel), conditions.summary(nodes.float())
        )
        return replace(encoding, usage={**usage, **encoding.usage})
