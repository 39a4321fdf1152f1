"""An attention model that chooses a vehicle and then a node: Li et al. 2021, "Deep reinforcement
learning for solving the heterogeneous capacitated vehicle routing problem", arXiv:2110.02629.

Axes: B instances, K states of each, M vehicles, N nodes, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.data.instance import Instance
from nco.envs.environment import mask_bias
from nco.envs.fleet import FleetEnvironment
from nco.envs.fleet_features import STATE_FEATURES, VEHICLE_FEATURES, FleetView
from nco.models.encoder import feed_forwards, post_norm_encoder
from nco.models.fleet_policy import FleetPolicy, PriceOfMoves
from nco.models.gates import Gate
from nco.models.layers import start_small
from nco.models.pointer import folded, glimpse, lookup, pointer_tables
from nco.models.policy import Encoding


@final
class HeterogeneousAttention(FleetPolicy):
    """One encoder of the nodes for all vehicles; p(vehicle) p(node | vehicle) by two decoders.

    The node decoder is the pointer of the Attention Model with a query for each vehicle: the node
    where it is, its features and its state; what a profile is worth is added to the scores. The
    vehicle decoder is a perceptron over the same query and the mean query of all vehicles; a
    vehicle without a move has no share. As the scores of pairs are the logarithms of the products,
    one softmax over all pairs gives them back; greedy decoding takes the best pair.

    Differs from the paper in: scores begin with what the move costs
    (`nco.models.fleet_policy.PriceOfMoves`), and decisions are made trip by trip unless the
    configuration says otherwise; vehicles have no order and any number; profiles, weights of the
    objective and shifts are seen; the vehicle decoder reads the vehicles' present states, and not a
    maximum over the nodes on their tours.
    """

    def __init__(
        self,
        env: FleetEnvironment,
        *,
        dim: int = 128,
        num_heads: int = 8,
        num_layers: int = 3,
        hidden: int = 512,
        clip: float = 10.0,
    ) -> None:
        super().__init__(env)
        self.num_heads = num_heads
        self.clip = clip
        self.encoder = post_norm_encoder(
            env,
            dim=dim,
            num_heads=num_heads,
            num_layers=num_layers,
            norm="instance",
            output_bias=True,
            feed_forward=feed_forwards(dim, hidden, "relu", None, ()),
        )
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = start_small(nn.Linear(dim, dim))
        self.query_place = nn.Linear(dim, dim, bias=False)
        self.query_vehicle = nn.Linear(len(VEHICLE_FEATURES), dim)
        self.query_state = nn.Linear(len(STATE_FEATURES) - 1, dim, bias=False)
        self.price = PriceOfMoves()
        self.pair = start_small(nn.Linear(len(VEHICLE_FEATURES), 2))
        """What a profile, and that a vehicle may serve a node, add to the score; by the vehicle's
        features, among which the weights are."""
        self.of_fleet = nn.Linear(dim, dim, bias=False)
        self.choose = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1, bias=False))

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {}

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        seen = self.fleet_env.fleet_features(instance)
        nodes, _ = self.encoder(seen.nodes, generator)
        tables = pointer_tables(
            query_current=self.query_place(nodes),
            query_first=None,
            query_start=None,
            query_features=self.query_state.weight.mT,
            key=self.key(nodes),
            value=self.value(nodes),
            pointer=folded(nodes, self.output),
            num_heads=self.num_heads,
        )
        columns = torch.stack((seen.profile, seen.serves.float()), 3)
        tables.batched["pair"] = (columns @ self.pair(seen.vehicles).unsqueeze(3)).squeeze(3)
        tables.batched["travel"] = self.price(seen).float()
        tables.batched["vehicle"] = self.query_vehicle(seen.vehicles)
        tables.batched["share"] = seen.valid / seen.valid.sum(1, keepdim=True)
        return tables

    def joint(
        self, encoding: Encoding, view: FleetView
    ) -> Float[Tensor, "batch state vehicle node"]:
        tables = encoding.batched
        b, k, m = view.place.shape
        here = lookup(tables["query_current"], view.place.reshape(b, k * m)).view(b, k, m, -1)
        query = here + tables["vehicle"].unsqueeze(1)
        query = query + view.features @ encoding.shared["query_features"]
        mask = view.mask.reshape(b, k * m, -1)
        heads = glimpse(query.reshape(b, k * m, -1), tables["key"], tables["value"], mask)
        scores = heads @ tables["pointer"] + tables["pointer_bias"]
        # each vehicle has a row for each node where it may be
        n = tables["travel"].shape[3]
        row = view.place + n * torch.arange(m, device=view.place.device)
        scores = scores + lookup(tables["travel"].flatten(1, 2), row.reshape(b, k * m))
        scores = scores.view(b, k, m, -1) + tables["pair"].unsqueeze(1)
        allowed = mask_bias(mask, scores.dtype).view_as(scores)
        nodes = (self.clip * scores.tanh() + allowed).log_softmax(3)
        fleet = torch.einsum("bkmd,bm->bkd", query, tables["share"])
        shares = self.choose(query + self.of_fleet(fleet).unsqueeze(2)).squeeze(3)
        able = mask_bias(view.mask.any(3), shares.dtype)
        return (shares + able).log_softmax(2).unsqueeze(3) + nodes
