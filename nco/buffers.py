"""Nested values whose tensors stay where they are while their numbers change.

What is captured once and run again reads and writes the same memory every time. A value here is
anything made of tensors, instances, tuples, dicts, dataclasses, and plain settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from nco.data.batching import replace
from nco.data.fleet import FLEET_FIELDS, Fleet, replace_fleet
from nco.data.instance import FIELDS, Instance

Value = TypeVar("Value")


def _parts(value: object) -> dict[Any, Any] | None:
    """What a value is made of, by name; None for a tensor or a plain setting."""
    if isinstance(value, Instance):
        return {name: getattr(value, name) for name in FIELDS}
    if isinstance(value, Fleet):
        return {name: getattr(value, name) for name in FLEET_FIELDS}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return None


def leaves(value: object) -> list[Tensor]:
    """The tensors of a value, in a fixed order."""
    if isinstance(value, Tensor):
        return [value]
    parts = _parts(value)
    return [] if parts is None else [leaf for part in parts.values() for leaf in leaves(part)]


def shape_of(value: object) -> Hashable:
    """All of a value but its numbers: equal for two values where one can be filled from the
    other."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    parts = _parts(value)
    if parts is None:
        return value  # pyright: ignore[reportReturnType] plain settings are hashable
    return type(value), tuple((name, shape_of(part)) for name, part in parts.items())


def mapped(value: Value, function: Callable[[Tensor], Tensor]) -> Value:
    """The same value with other tensors."""
    made: Any = value
    if isinstance(value, Tensor):
        return function(value)  # type: ignore[return-value]
    parts = _parts(value)
    if parts is None:
        return value
    changed = {name: mapped(part, function) for name, part in parts.items()}
    if isinstance(value, Instance):
        made = replace(value, changed)
    elif isinstance(value, Fleet):
        made = replace_fleet(value, changed)
    elif isinstance(value, Mapping):
        made = changed
    elif isinstance(value, tuple):
        made = tuple(changed.values())
    else:
        made = dataclasses.replace(made, **changed)
    return made


def fill(target: object, source: object) -> None:
    """Copy the numbers of a value into another of the same `shape_of`."""
    for old, new in zip(leaves(target), leaves(source), strict=True):
        if old is not new:
            old.copy_(new)
