"""The one form of a message on a value of a batch that is not accepted."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nco.data.errors import InputError


def refuse(
    name: str, bad: Tensor, values: Tensor, accepted: str, axes: Sequence[str] = ("node", "entry")
) -> None:
    """Raise `InputError` for the first True of ``bad`` [B, ...], naming the place and the value.

    Args:
        name: of what is wrong.
        accepted: what would have been.
        axes: what the axes after the first count.
    """
    if not bool(bad.any()):
        return
    place = [int(i) for i in bad.nonzero()[0]]
    value = values[tuple(place)].tolist()
    parts = [f"{axis} {index}" for axis, index in zip(axes, place[1:], strict=False)]
    where = ", ".join([f"instance {place[0]}", *parts])
    raise InputError(f"{name} of {where} is {value}; accepted: {accepted}")
