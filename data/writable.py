"""What a file format must refuse because it cannot say it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import FIELDS, UNLIMITED, Instance, is_depot

_NEUTRAL = {
    "linehaul": 0.0,
    "backhaul": 0.0,
    "mixed_backhaul": False,
    "capacity": torch.inf,
    "service_time": 0.0,
    "distance_limit": torch.inf,
    "open_route": False,
    "num_vehicles": UNLIMITED,
}
_EVERYWHERE = ("coords", "distance", "num_depots", "valid", "rounding")
"""Fields that every format states in a way of its own."""


def set_attributes(instance: Instance) -> list[str]:
    """The fields, beside geometry and depots, whose value is not the neutral one.

    A field that this file does not know counts as set where it is given, so that no writer can
    drop it unseen.
    """
    names = []
    for name in FIELDS:
        value = getattr(instance, name)
        if name in _EVERYWHERE or value is None:
            continue
        if name == "time_window":
            neutral = (value[..., 0] == 0) & (value[..., 1] == torch.inf)
        elif name in _NEUTRAL:
            neutral = value == _NEUTRAL[name]
        else:
            neutral = torch.zeros(())
        if not bool(neutral.all()):
            names.append(name)
    return names


def single(instance: Instance, path: Path, expressible: Collection[str]) -> Instance:
    """The one instance of a batch of one, without padding.

    Raises:
        InputError: there are several, or an attribute is set that is not in ``expressible``.
    """
    if instance.batch_size[0] != 1:
        raise InputError(
            f"{path}: a {path.suffix} file holds one instance, not {instance.batch_size[0]}; "
            "accepted: one, or a .json file"
        )
    one = unbatch(instance)[0]
    for name in set_attributes(one):
        if name not in expressible:
            raise InputError(
                f"{path}: a {path.suffix} file cannot state {name}; accepted: "
                f"{', '.join(expressible) or 'none but the distances'}, or a .json file"
            )
    at_depot = one.service_time[is_depot(one)]
    if bool(at_depot.any()):
        raise InputError(
            f"{path}: a depot has a service time, {at_depot.max():g}, which means nothing; "
            "accepted: 0"
        )
    return one
