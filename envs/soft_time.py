"""The clock of a route where windows are soft and travel times depend on the hour and on chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.attributes import SOFT_WINDOWS
from nco.data.instance import Instance, is_depot
from nco.data.noise import Scenarios, Worlds, require_key
from nco.envs.adaptive import worlds
from nco.envs.environment import Values
from nco.envs.resources import Move, Resource
from nco.envs.stochastic_travel import (
    Map,
    MeanRoads,
    Roads,
    ScenarioRoads,
    matrices,
    require_traffic,
    shares_noise,
)
from nco.envs.travel import WINDOW_DEPOT_FEATURES, WINDOW_FEATURES, horizon, window_features


class _Tables(NamedTuple):
    """What is read of a batch, in tensors."""

    traffic: Float[Tensor, "batch constant"]
    distance: Float[Tensor, "batch arc"]
    free: Float[Tensor, "batch arc"]
    opens: Float[Tensor, "batch node"]
    service: Float[Tensor, "batch node"]
    num_depots: Int[Tensor, "batch 1"]
    horizon: Float[Tensor, " batch"]
    key: Int[Tensor, " batch"]
    """0 where there are no scenarios."""
    zone: Int[Tensor, "batch zoned"]
    """Of each node; of none where noise is not shared."""


@final
@dataclass(frozen=True)
class SoftTime(Resource):
    """Soft windows: the values are the start of service where the vehicle stands and, in scenarios,
    the number of the trajectory's own.

    The clock is that of `nco.envs.soft_windows`; it forbids nothing.

    Args:
        scenarios: what trajectories meet, as `nco.envs.adaptive` deals them out: the clock is the
            realised one, which a driver can read, and nothing else of the noise is shown. None is
            mean travel times: the clock that a plan is made by.
    """

    scenarios: Scenarios | None = None

    @property
    def attributes(self) -> frozenset[str]:
        return frozenset({SOFT_WINDOWS})

    @property
    def forbids(self) -> bool:
        return False

    @property
    def feature_names(self) -> tuple[str, ...]:
        return ("service_start",)

    @property
    def neutral_features(self) -> tuple[float, ...]:
        return (0.0,)

    @property
    def node_feature_names(self) -> tuple[str, ...]:
        return WINDOW_FEATURES

    @property
    def depot_feature_names(self) -> tuple[str, ...]:
        return WINDOW_DEPOT_FEATURES

    @property
    def needs_arcs(self) -> bool:
        # they are wanted in float64
        return False

    def neutral(self, instance: Instance) -> bool:
        return instance.traffic is None

    def tables(self, instance: Instance, num_depots: int) -> tuple[Tensor, ...]:
        distance, free = matrices(instance)
        zone = torch.zeros_like(instance.valid, dtype=torch.int64)
        if instance.zone is not None:
            zone = instance.zone
        hidden = self.scenarios is not None
        return _Tables(
            traffic=require_traffic(instance),
            distance=distance.flatten(1),
            free=free.flatten(1),
            opens=instance.time_window[:, :, 0].double(),
            service=instance.service_time.double().masked_fill(is_depot(instance), 0),
            num_depots=instance.num_depots.unsqueeze(1),
            horizon=horizon(instance),
            key=require_key(instance) if hidden else torch.zeros_like(instance.num_depots),
            zone=zone if hidden and shares_noise(instance) else zone[:, :0],
        )

    def initial(self, tables: tuple[Tensor, ...], depot: Int[Tensor, "batch trajectory"]) -> Values:
        opens = _Tables(*tables).opens.gather(1, depot)
        if self.scenarios is None:
            return (opens,)
        number = worlds(self.scenarios.count, depot) + self.scenarios.first
        return opens, number.double()

    def _roads(self, known: _Tables, used: Values) -> Roads:
        """On which every trajectory is in the scenario of its own."""
        here = Map.from_tables(known.traffic, known.distance, known.free)
        if self.scenarios is None:
            return MeanRoads(here)
        number = used[1].squeeze(2).long()
        shared = known.zone.shape[1] > 0
        return ScenarioRoads(
            here,
            Worlds(self.scenarios, known.key, number),
            known.zone if shared else None,
            shared,
        )

    def extend(self, tables: tuple[Tensor, ...], used: Values, move: Move) -> Values:
        known = _Tables(*tables)
        b, s = move.origin.shape
        if move.to is None:
            to = torch.arange(known.opens.shape[1], device=move.origin.device).expand(b, s, -1)
        else:
            to = move.to.unsqueeze(2)
        origin = move.origin.unsqueeze(2).expand(to.shape)
        service = known.service.gather(1, move.origin).unsqueeze(2)
        ready = (used[0] + service).expand(to.shape)
        opens = known.opens.gather(1, to.flatten(1)).view(to.shape)
        depots = known.num_depots.unsqueeze(2)
        leg = self._roads(known, used).drive(origin, to, ready, opens, origin < depots)
        # at a depot the next route begins
        start = torch.where(to < depots, opens, leg.start)
        return start, *(number.expand(to.shape) for number in used[1:])

    def within(
        self, tables: tuple[Tensor, ...], values: Values, move: Move
    ) -> Bool[Tensor, "batch trajectory to"]:
        return torch.ones_like(values[0], dtype=torch.bool)

    def features(
        self, tables: tuple[Tensor, ...], used: Values
    ) -> Float[Tensor, "batch trajectory feature"]:
        return (used[0] / _Tables(*tables).horizon.unsqueeze(1)).unsqueeze(2)

    def node_features(self, instance: Instance) -> Float[Tensor, "batch node feature"]:
        return window_features(instance)
