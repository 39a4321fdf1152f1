"""Instances from tensors that are right by construction."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.fleet import Fleet
from nco.data.instance import UNLIMITED, Instance, Rounding


def unchecked(
    *,
    num_depots: int,
    coords: Float[Tensor, "batch node 2"] | None = None,
    distance: Float[Tensor, "batch node node"] | None = None,
    duration: Float[Tensor, "batch node node"] | None = None,
    demand: Float[Tensor, "batch node"] | None = None,
    capacity: Float[Tensor, " batch"] | None = None,
    rounding: Rounding = Rounding.NONE,
    fleet: Fleet | None = None,
    key: Int[Tensor, " batch"] | None = None,
    prize: Float[Tensor, "batch node"] | None = None,
    penalty: Float[Tensor, "batch node"] | None = None,
    min_prize: Float[Tensor, " batch"] | None = None,
) -> Instance:
    """An `Instance` without validation, so without waiting for the device; else neutral.

    For generators only: what they draw is valid, and their tests say so.
    """
    lead = coords if coords is not None else distance
    assert lead is not None
    (b, n), device, dtype = lead.shape[:2], lead.device, lead.dtype

    def flat(value: float | int, *shape: int, dtype: torch.dtype = dtype) -> Tensor:
        return torch.full((b, *shape), value, dtype=dtype, device=device)

    window = flat(0.0, n, 2)
    window[..., 1] = torch.inf
    return Instance(
        coords=coords,
        distance=distance,
        duration=duration,
        linehaul=flat(0.0, n) if demand is None else demand,
        backhaul=flat(0.0, n),
        mixed_backhaul=flat(False, dtype=torch.bool),
        capacity=flat(torch.inf) if capacity is None else capacity,
        time_window=window,
        service_time=flat(0.0, n),
        distance_limit=flat(torch.inf),
        open_route=flat(False, dtype=torch.bool),
        num_depots=flat(num_depots, dtype=torch.int64),
        num_vehicles=flat(UNLIMITED, dtype=torch.int64),
        valid=flat(True, n, dtype=torch.bool),
        rounding=flat(int(rounding), dtype=torch.int64),
        fleet=fleet,
        key=key,
        prize=prize,
        penalty=penalty,
        min_prize=min_prize,
        batch_size=[b],
    )
