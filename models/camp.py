"""CAMP: Hua et al. 2025, "CAMP: Collaborative attention model with profiles for vehicle routing
problems", arXiv:2501.02977.

Axes: B instances, K states of each, M vehicles, N nodes, D embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch_geometric.nn import TransformerConv

from nco.data.instance import Instance
from nco.envs.fleet import FleetEnvironment
from nco.envs.fleet_features import STATE_FEATURES, VEHICLE_FEATURES, FleetFeatures, FleetView
from nco.models.encoder import Conditions, Dense, PreNormLayer
from nco.models.fleet_policy import Communication, FleetPolicy, PriceOfMoves
from nco.models.gates import Gate
from nco.models.layers import CentredRMSNorm, NodeEmbedding, RMSNorm, SelfAttention, start_small
from nco.models.pointer import compatibility, folded, glimpse, lookup, pointer_tables
from nco.models.policy import Encoding

PAIR_FEATURES = ("profile", "price", "serves", "home")
"""Of a vehicle and a node: the profile, what the preference that is missed if the vehicle serves
the node costs by the weights of the objective, whether it may serve it, and whether the node is its
depot."""
VALID = "vehicle_valid"
"""The table of real vehicles, where there is padding."""


class Streams(NamedTuple):
    """What is encoded: nodes, vehicles, and each node as each vehicle sees it."""

    nodes: Float[Tensor, "batch node dim"]
    vehicles: Float[Tensor, "batch vehicle dim"]
    pairs: Float[Tensor, "batch vehicle node dim"]


class Graph(NamedTuple):
    """Who is there, and who exchanges messages with whom."""

    valid: Bool[Tensor, "pair node"] | None
    """Real nodes, once for each of the B·M vehicles; None where all are."""
    dense: Conditions
    """Of the feed-forward layers, which ask for nothing."""
    batch: Tensor
    vehicle: Tensor
    node: Tensor
    """The indices of all pairs of a real vehicle and a real customer."""

    @staticmethod
    def of(seen: FleetFeatures) -> Graph:
        """The graph of instances: complete between real vehicles and customers."""
        nodes = seen.nodes
        customer = nodes.valid & ~nodes.depot
        batch, vehicle, node = (seen.valid.unsqueeze(2) & customer.unsqueeze(1)).nonzero(
            as_tuple=True
        )
        m = seen.valid.shape[1]
        every = bool(nodes.valid.all())
        valid = None if every else nodes.valid.unsqueeze(1).expand(-1, m, -1).flatten(0, 1)
        return Graph(valid, Conditions(None, nodes.attributes, None), batch, vehicle, node)


@final
class BipartiteStep(nn.Module):
    """Messages from vehicles to customers, back, and into what each vehicle sees of each node.

    Graph transformer convolutions (Shi et al. 2021, arXiv:2009.03509) with the pairs' embeddings
    as features of the edges.
    """

    def __init__(self, dim: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        width = dim // num_heads

        def messages() -> TransformerConv:
            return TransformerConv((dim, dim), width, heads=num_heads, edge_dim=dim, bias=False)

        self.to_nodes, self.to_vehicles = messages(), messages()
        self.node_norm1, self.node_norm2 = RMSNorm(dim), RMSNorm(dim)
        self.vehicle_norm1, self.vehicle_norm2 = RMSNorm(dim), RMSNorm(dim)
        self.node_feed_forward = Dense(dim, hidden, "relu")
        self.vehicle_feed_forward = Dense(dim, hidden, "relu")
        self.node_back = nn.Linear(dim, dim, bias=False)
        self.vehicle_back = nn.Linear(dim, dim, bias=False)

    def forward(self, streams: Streams, graph: Graph) -> Streams:
        nodes, vehicles, pairs = streams
        b, m, n, d = pairs.shape
        edges = pairs[graph.batch, graph.vehicle, graph.node]
        vehicle, node = graph.batch * m + graph.vehicle, graph.batch * n + graph.node
        flat = vehicles.reshape(b * m, d), nodes.reshape(b * n, d)
        got = self.to_nodes(flat, torch.stack((vehicle, node)), edges)
        nodes = self.node_norm1(nodes + got.view(b, n, d), None)
        flat = nodes.reshape(b * n, d), vehicles.reshape(b * m, d)
        got = self.to_vehicles(flat, torch.stack((node, vehicle)), edges)
        vehicles = self.vehicle_norm1(vehicles + got.view(b, m, d), None)
        inner = self.node_feed_forward(nodes, graph.dense)[0]
        nodes = self.node_norm2(nodes + inner, None)
        inner = self.vehicle_feed_forward(vehicles, graph.dense)[0]
        vehicles = self.vehicle_norm2(vehicles + inner, None)
        back = self.node_back(nodes).unsqueeze(1) + self.vehicle_back(vehicles).unsqueeze(2)
        return Streams(nodes, vehicles, pairs + back)


@final
class CAMPLayer(nn.Module):
    """Attention among the nodes as each vehicle sees them, the bipartite step, a feed-forward."""

    def __init__(self, dim: int, num_heads: int, hidden: int, *, bipartite: bool) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, num_heads, output_bias=True)
        self.bipartite = BipartiteStep(dim, num_heads, hidden) if bipartite else None
        self.feed_forward = Dense(dim, hidden, "relu")
        # a norm over the nodes would take away what makes a vehicle different
        self.norm1, self.norm2 = RMSNorm(dim), RMSNorm(dim)

    def forward(self, streams: Streams, graph: Graph) -> Streams:
        shape = streams.pairs.shape
        flat = streams.pairs.flatten(0, 1)
        flat = flat + self.attention(flat, graph.valid)
        if self.bipartite is not None:
            streams = self.bipartite(streams._replace(pairs=flat.view(shape)), graph)
            flat = streams.pairs.flatten(0, 1)
        flat = self.norm1(flat, None)
        inner = self.feed_forward(flat, graph.dense)[0]
        return streams._replace(pairs=self.norm2(flat + inner, None).view(shape))


class CommunicationLayer(nn.Module, ABC):
    """Lets the vehicles of each state hear of each other."""

    @abstractmethod
    def forward(
        self,
        query: Float[Tensor, "batch state vehicle dim"],
        valid: Bool[Tensor, "batch vehicle"] | None,
    ) -> Float[Tensor, "batch state vehicle dim"]:
        """The queries with what was heard; ``valid`` is None where all vehicles are real."""


@final
class AttentionAmongVehicles(CommunicationLayer):
    """A transformer block over the vehicles of a state."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        # it runs at each step for each vehicle: with a feed-forward as wide as the encoder's it
        # would take half of the time of a training
        feed_forward = Dense(dim, dim, "swiglu")
        self.block = PreNormLayer(dim, num_heads, feed_forward, "rms", output_bias=True, film=None)

    def forward(
        self,
        query: Float[Tensor, "batch state vehicle dim"],
        valid: Bool[Tensor, "batch vehicle"] | None,
    ) -> Float[Tensor, "batch state vehicle dim"]:
        b, k, m, d = query.shape
        # a mask of nothing takes a quarter of the time
        there = None if valid is None else valid.unsqueeze(1).expand(b, k, m).reshape(b * k, m)
        conditions = Conditions(there, query.new_zeros(b * k, 0), None)
        return self.block(query.reshape(b * k, m, d), conditions)[0].view(b, k, m, d)


@final
class MeanOfVehicles(CommunicationLayer):
    """One message to all vehicles of a state, from the mean of their queries by a perceptron."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.message = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(
        self,
        query: Float[Tensor, "batch state vehicle dim"],
        valid: Bool[Tensor, "batch vehicle"] | None,
    ) -> Float[Tensor, "batch state vehicle dim"]:
        if valid is None:
            return query + self.message(query.mean(2, keepdim=True))
        share = valid / valid.sum(1, keepdim=True)
        return query + self.message(torch.einsum("bkmd,bm->bkd", query, share)).unsqueeze(2)


def communication_layer(kind: Communication, dim: int, num_heads: int) -> CommunicationLayer | None:
    """A fresh layer of its kind; None for no communication."""
    match kind:
        case "attention":
            return AttentionAmongVehicles(dim, num_heads)
        case "mean":
            return MeanOfVehicles(dim)
        case "none":
            return None


@final
class CAMP(FleetPolicy):
    """Every vehicle sees every node by its profile, hears of the others while it encodes and, where
    asked for, once more at each step, and points at nodes by keys of its own.

    A state's query of a vehicle is made of the node where it is, its depot, itself, the weights of
    the objective and the columns of `nco.envs.fleet_features.STATE_FEATURES`; all but the last are
    looked up. A transformer block over the vehicles of a state, the communication layer, follows.

    Differs from the paper in: conditioned on the objective's weights, which vehicles' features and
    queries contain, so that one model serves all trade-offs, and on what a missed preference costs
    by them; scores begin with what the move costs (`nco.models.fleet_policy.PriceOfMoves`);
    decisions are made trip by trip, which needs no communication at each step (docs/decisions.md),
    unless the configuration says otherwise; the communication layer's feed-forward is as wide as
    the embedding; vehicles have no order and no positional code; depots are nodes once, not once
    for each vehicle; each direction of the bipartite step has weights of its own and no dropout;
    the stream of pairs has a feed-forward, too; norms are RMS norms, and the last one takes a
    vehicle's mean over the nodes away first, as in `nco.models.routefinder`; the conflicts of
    parallel decisions are resolved before they are made (`nco.envs.fleet_parallel`), and so the
    likelihood is exact; no loss for invariance.

    Args:
        bipartite: whether vehicles and customers exchange messages while they are encoded.
        communication: how vehicles hear of each other at each step: "attention", a transformer
            block over them, as published; "mean", a message to all from the mean of their queries;
            or "none". With neither, each vehicle decides for itself, as in PARCO's parallel decoder
            (Berto et al. 2024, arXiv:2409.03811) without its communication layers.
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
        bipartite: bool = True,
        communication: Communication = "attention",
    ) -> None:
        super().__init__(env)
        self.num_heads = num_heads
        self.clip = clip
        self.embed_nodes = NodeEmbedding(env, dim, bias=True)
        self.embed_vehicles = nn.Linear(len(VEHICLE_FEATURES), dim)
        self.embed_pairs = nn.Linear(len(PAIR_FEATURES), dim, bias=False)
        self.pair_node = nn.Linear(dim, dim, bias=False)
        self.pair_vehicle = nn.Linear(dim, dim, bias=False)
        self.layers = nn.ModuleList(
            CAMPLayer(dim, num_heads, hidden, bipartite=bipartite) for _ in range(num_layers)
        )
        self.last_norm = CentredRMSNorm(dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = start_small(nn.Linear(dim, dim))
        self.query_place = nn.Linear(dim, dim, bias=False)
        self.query_home = nn.Linear(dim, dim, bias=False)
        self.query_vehicle = nn.Linear(dim, dim)
        self.query_weights = nn.Linear(len(WEIGHT_COLUMNS), dim, bias=False)
        self.query_state = nn.Linear(len(STATE_FEATURES) - 1, dim, bias=False)
        self.price = PriceOfMoves()
        self.communication = communication_layer(communication, dim, num_heads)

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {}

    def _streams(self, seen: FleetFeatures) -> Streams:
        """Embeddings of what there is, before the layers."""
        nodes = self.embed_nodes(seen.nodes)
        vehicles = self.embed_vehicles(seen.vehicles)
        index = torch.arange(nodes.shape[1], device=nodes.device)
        home = seen.home.unsqueeze(2) == index
        columns = torch.stack((seen.profile, seen.price, seen.serves.float(), home.float()), 3)
        parts = self.pair_node(nodes).unsqueeze(1) + self.pair_vehicle(vehicles).unsqueeze(2)
        return Streams(nodes, vehicles, self.embed_pairs(columns) + parts)

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        seen = self.fleet_env.fleet_features(instance)
        graph, streams = Graph.of(seen), self._streams(seen)
        for layer in self.layers:
            streams = layer(streams, graph)
        b, m, n, d = streams.pairs.shape
        pairs = self.last_norm(streams.pairs.reshape(b * m, n, d), graph.valid)
        depots = pairs.gather(1, seen.home.reshape(b * m, 1, 1).expand(-1, 1, d))
        weights = self.query_weights(seen.vehicles[..., WEIGHT_COLUMNS])
        always = (self.query_vehicle(streams.vehicles) + weights).view(b * m, 1, d)
        flat = pointer_tables(
            query_current=self.query_place(pairs) + self.query_home(depots) + always,
            query_first=None,
            query_start=None,
            query_features=self.query_state.weight.mT,
            key=self.key(pairs),
            value=self.value(pairs),
            pointer=folded(pairs, self.output),
            num_heads=self.num_heads,
        )
        flat.batched["travel"] = self.price(seen).flatten(0, 1)
        tables = {name: table.unflatten(0, (b, m)) for name, table in flat.batched.items()}
        if not bool(seen.valid.all()):
            tables[VALID] = seen.valid.float()
        return Encoding(tables, flat.shared)

    def joint(
        self, encoding: Encoding, view: FleetView
    ) -> Float[Tensor, "batch state vehicle node"]:
        b, k, m = view.place.shape
        # every vehicle of an instance is one instance to the pointer
        tables = {name: t.flatten(0, 1) for name, t in encoding.batched.items() if name != VALID}
        place = view.place.transpose(1, 2).reshape(b * m, k)
        query = lookup(tables["query_current"], place).view(b, m, k, -1).transpose(1, 2)
        query = query + view.features @ encoding.shared["query_features"]
        if self.communication is not None:
            valid = encoding.batched.get(VALID)
            query = self.communication(query, None if valid is None else valid > 0)
        mask = view.mask.transpose(1, 2).reshape(b * m, k, -1)
        query = query.transpose(1, 2).reshape(b * m, k, -1)
        heads = glimpse(query, tables["key"], tables["value"], mask)
        return compatibility(tables, heads, place, self.clip).view(b, m, k, -1).transpose(1, 2)


WEIGHT_COLUMNS = [
    VEHICLE_FEATURES.index(name) for name in ("time_weight", "preference_weight", "min_max")
]
"""The columns of vehicles that say what is to be minimised."""
