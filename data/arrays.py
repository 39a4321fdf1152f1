"""What users give, as tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nco.data.errors import InputError


def as_tensor(name: str, value: Any, dtype: torch.dtype) -> Tensor:
    try:
        # a list must not pass through torch's default, float32
        return torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is not an array of numbers: {error}") from error


def for_all(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A value for each instance of a batch, where it may be given once for all; `Instance` itself
    checks the axes after the first."""
    each = value.unsqueeze(0) if value.dim() == len(shape) - 1 else value
    if each.dim() != len(shape) or each.shape[0] not in (1, shape[0]):
        raise InputError(
            f"{name} has shape {tuple(value.shape)}; accepted is {shape}, or {shape[1:]} where it "
            "is the same for all instances"
        )
    return each.expand(shape[0], *each.shape[1:]).contiguous()


def common_float(*values: Any) -> torch.dtype:
    """float64 unless every tensor given is of a smaller floating-point type."""
    dtypes = {v.dtype for v in values if isinstance(v, Tensor) and v.dtype.is_floating_point}
    if not dtypes:
        return torch.float64
    dtype = torch.float32
    for found in dtypes:
        dtype = torch.promote_types(dtype, found)
    return dtype
