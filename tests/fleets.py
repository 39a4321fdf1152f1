"""Small profiled VRPs, brute force, and a policy for vehicles that differ, for tests."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nco.data.fleet import Fleet, make_fleet
from nco.data.fleet_generators import FleetLaw, fleet_instances
from nco.data.instance import Instance
from nco.envs.fleet import FleetEnvironment
from nco.envs.fleet_features import (
    NODE_FEATURES,
    STATE_FEATURES,
    VEHICLE_FEATURES,
    FleetView,
)
from nco.models.fleet_policy import FleetPolicy
from nco.models.gates import Gate
from nco.models.policy import Encoding

RICH = FleetLaw(
    num_vehicles=(1, 4),
    capacity=(9, 20),
    fixed_cost=(0.0, 0.5),
    distance_cost=(0.0, 0.5),
    preference_weight=(0.0, 1.0),
)
"""A law with every cost in it."""


def fleets(
    num_customers: tuple[int, int],
    batch: int,
    seed: int,
    law: FleetLaw = RICH,
    *,
    zones: bool = False,
) -> Instance:
    """Random instances in float32."""
    generator = torch.Generator().manual_seed(seed)
    return fleet_instances(batch, num_customers, generator, law, zones=zones)


def tiny(seed: int, *, customers: int = 4, vehicles: int = 2, **fields: object) -> Instance:
    """One instance in float64 with services and differing vehicles; ``fields`` as `make_fleet`."""
    draw = torch.Generator().manual_seed(seed)
    n = customers + 1

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    demand = torch.randint(1, 6, (n,), generator=draw).double()
    demand[0] = 0
    given: dict[str, object] = {
        "capacity": torch.randint(6, 12, (vehicles,), generator=draw),
        "speed": 0.5 + uniform(vehicles),
        "fixed_cost": 0.2 * uniform(vehicles),
        "distance_cost": 0.3 * uniform(vehicles),
        "profile": uniform(vehicles, n),
        "time_weight": 0.7,
        "preference_weight": 0.6,
    }
    service = 0.3 * uniform(n)
    service[0] = 0
    return Instance.vrp(
        coords=uniform(n, 2),
        demand=demand,
        service_time=service,
        fleet=make_fleet(num_nodes=n, **(given | fields)),  # type: ignore[arg-type]
    )


def brute_force(instance: Instance) -> float:
    """The least cost of one instance: every customer to every vehicle, every order, every cut."""
    assert instance.coords is not None
    assert instance.fleet is not None
    where = instance.coords[0].double().tolist()
    demand, service = instance.linehaul[0].tolist(), instance.service_time[0].tolist()
    fleet = {k: getattr(instance.fleet, k)[0].tolist() for k in FACTS}
    customers = range(int(instance.num_depots[0]), len(where))
    vehicles = range(len(fleet["capacity"]))

    def trips(vehicle: int, order: Sequence[int]) -> Iterator[list[Sequence[int]]]:
        if not order:
            yield []
        for cut in range(1, len(order) + 1):
            if sum(demand[i] for i in order[:cut]) <= fleet["capacity"][vehicle]:
                for rest in trips(vehicle, order[cut:]):
                    yield [order[:cut], *rest]

    @functools.cache
    def options(vehicle: int, served: tuple[int, ...]) -> list[tuple[float, float]]:
        """Pairs of time and other costs of one vehicle."""
        if not served:
            return [(0.0, 0.0)]
        if not all(fleet["allowed"][vehicle][i] for i in served):
            return []
        found = []
        home = fleet["depot"][vehicle]
        missed = sum(
            max(row[i] for row in fleet["profile"]) - fleet["profile"][vehicle][i] for i in served
        )
        for order in itertools.permutations(served):
            for cut in trips(vehicle, order):
                length = sum(
                    math.dist(where[i], where[j])
                    for trip in cut
                    for i, j in itertools.pairwise([home, *trip, home])
                )
                time = length / fleet["speed"][vehicle] + sum(service[i] for i in served)
                if time <= fleet["shift"][vehicle] * (1 + 1e-9):
                    price = fleet["fixed_cost"][vehicle] + length * fleet["distance_cost"][vehicle]
                    found.append((time, price + fleet["preference_weight"] * missed))
        return found

    best = math.inf
    for owner in itertools.product(vehicles, repeat=len(customers)):
        served = [
            tuple(i for i, k in zip(customers, owner, strict=True) if k == v) for v in vehicles
        ]
        for each in itertools.product(
            *(options(v, s) for v, s in zip(vehicles, served, strict=True))
        ):
            times = [time for time, _ in each]
            span = max(times) if fleet["min_max"] else sum(times)
            best = min(best, fleet["time_weight"] * span + sum(price for _, price in each))
    return best


FACTS = (
    "capacity", "speed", "fixed_cost", "distance_cost", "depot", "shift", "profile", "allowed",
    "time_weight", "preference_weight", "min_max",
)  # fmt: skip


class SmallFleetPolicy(FleetPolicy):
    """Dot products of nodes with vehicles, where they are and how they are; no attention."""

    def __init__(self, env: FleetEnvironment, dim: int = 8) -> None:
        super().__init__(env)
        self.node = nn.Linear(len(NODE_FEATURES), dim)
        self.vehicle = nn.Linear(len(VEHICLE_FEATURES), dim)
        self.state = nn.Linear(len(STATE_FEATURES) - 1, dim)
        self.pair = nn.Linear(2, 1, bias=False)

    @property
    def gates(self) -> Mapping[str, Gate]:
        return {}

    def encode(self, instance: Instance, generator: torch.Generator | None = None) -> Encoding:
        seen = self.fleet_env.fleet_features(instance)
        pairs = torch.stack((seen.profile, seen.serves.float()), 3)
        tables = {
            "node": self.node(seen.nodes.values),
            "vehicle": self.vehicle(seen.vehicles),
            "pair": self.pair(pairs).squeeze(3),
        }
        return Encoding(tables, {"state": self.state.weight.T, "bias": self.state.bias})

    def joint(
        self, encoding: Encoding, view: FleetView
    ) -> Float[Tensor, "batch state vehicle node"]:
        tables = encoding.batched
        b, k, m = view.place.shape
        d = tables["node"].shape[2]
        index = view.place.reshape(b, k * m, 1).expand(-1, -1, d)
        here = tables["node"].gather(1, index).view(b, k, m, d)
        query = tables["vehicle"].unsqueeze(1) + here
        query = query + view.features @ encoding.shared["state"] + encoding.shared["bias"]
        return query.tanh() @ tables["node"].mT.unsqueeze(1) + tables["pair"].unsqueeze(1)


def small_fleet_policy(env: FleetEnvironment, seed: int = 0) -> SmallFleetPolicy:
    """A policy with fresh weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallFleetPolicy(env).eval()


def fleet_of(instance: Instance) -> Fleet:
    """The fleet of an instance that has one."""
    assert instance.fleet is not None
    return instance.fleet
