"""Insertion's routes over batches of days: what dispatching costs in training, and `MARGINS`."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nco.baselines.request_insertion import insertion_lengths, insertion_margins
from nco.envs.dispatch_batch import Days, DaysState


def insertion_price(
    days: Days, epoch: int, sent: Bool[Tensor, "batch time request"]
) -> Float[Tensor, "batch time"]:
    """The length of insertion's routes over what is sent; see `nco.envs.dispatch_batch.Price`."""
    return torch.from_numpy(insertion_lengths(*_columns(days, epoch), _plain(sent)))


def margins(state: DaysState) -> Float[Tensor, "batch time request margin"]:
    """See `nco.envs.dispatch_batch.MARGINS`; float32."""
    columns = _columns(state.days, state.number)
    found = insertion_margins(*columns, _plain(state.open), _plain(state.must))
    return (torch.from_numpy(found) / state.days.length_unit.view(-1, 1, 1, 1)).float()


_Array = np.ndarray
_Columns = tuple[_Array, _Array, _Array, _Array, _Array, _Array, _Array, _Array, _Array]


def _columns(days: Days, epoch: int) -> _Columns:
    """As the kernels take them, up to what is chosen."""
    demand, service, early, late = (
        torch.nn.functional.pad(values, (1, 0)).numpy()
        for values in (days.demand, days.service, *days.window.unbind(2))
    )
    way, time = days.distance.numpy(), days.duration.numpy()
    capacity, closes = days.capacity.numpy(), _plain(days.hours[:, 1])
    departure = _plain(days.departure(epoch)[:, 0])
    return way, time, demand, service, early, late, capacity, closes, departure


def _plain(values: Tensor) -> np.ndarray:
    return values.contiguous().numpy()
