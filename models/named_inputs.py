"""Which columns of a layer's weights belong to which named feature of the environment."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn


class NamedInputs(ABC):
    """A module whose inputs are named features, so that it can be widened by name."""

    @property
    @abstractmethod
    def input_names(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        """By the parameter's name: the axis of the inputs, and the features along it."""


def input_names(module: nn.Module) -> dict[str, tuple[int, tuple[str, ...]]]:
    """The same of all modules within, with the names of `torch.nn.Module.named_parameters`."""
    found = {}
    for prefix, part in module.named_modules():
        if isinstance(part, NamedInputs):
            for name, inputs in part.input_names.items():
                found[f"{prefix}.{name}" if prefix else name] = inputs
    return found
