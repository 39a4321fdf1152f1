"""A device without numbers, on which whatever would wait for a GPU or copy to it raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


@final
class OnTheDevice(TorchDispatchMode):
    """Refuses operations that read or give a tensor elsewhere: they would copy, or wait."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        found = [*args, *(kwargs or {}).values(), out]
        while found:
            value = found.pop()
            if isinstance(value, (list, tuple)):
                found += value
            elif isinstance(value, Tensor) and value.device.type != "meta":
                raise RuntimeError(f"{func} has a tensor on {value.device}")
        return out


@final
class NoCopies(TorchFunctionMode):
    """Refuses calls that copy numbers of Python to the device."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in (torch.tensor, torch.as_tensor):
            raise RuntimeError(f"{func.__name__} copies from the host")
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(i, list) for i in index):
                raise RuntimeError("an index that is a list is copied from the host")
        return func(*args, **(kwargs or {}))


def meta(tensor: Tensor) -> Tensor:
    """The shape alone."""
    return tensor.to("meta")


def on_no_device(work: Callable[[], object]) -> None:
    """Run work on tensors without numbers. Whatever asks for one raises, and so does whatever
    depends on one: a shape or the next line of code. It takes the paths that a GPU takes."""
    with torch.no_grad(), OnTheDevice(), NoCopies():
        work()
