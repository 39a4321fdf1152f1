"""How a day of requests is cut into epochs: the numbers that an instance keeps of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final, overload

from torch import Tensor

from nco.data.errors import InputError

MOST_REQUESTS = 2**20
"""Candidates of a whole day."""


@final
@dataclass(frozen=True)
class DispatchRules:
    """How a day is cut; times are in the unit of the instance's durations.

    Raises:
        InputError: a number is out of range.
    """

    num_epochs: int
    epoch: float
    """The length of one."""
    candidates: int = 100
    """Of each epoch."""
    margin: float | None = None
    """From the start of an epoch to the departure of what it dispatches; by default an epoch."""

    def __post_init__(self) -> None:
        if self.num_epochs < 1 or self.candidates < 1:
            raise InputError(
                f"a day has {self.num_epochs} epochs with {self.candidates} candidates each; "
                "accepted: at least 1 of both"
            )
        if self.num_epochs * self.candidates > MOST_REQUESTS:
            raise InputError(
                f"a day has {self.num_epochs} epochs with {self.candidates} candidates each; "
                f"accepted: at most {MOST_REQUESTS} candidates in all"
            )
        if not (0 < self.epoch < math.inf and 0 <= self.wait < math.inf):
            raise InputError(
                f"an epoch takes {self.epoch} and its margin is {self.margin}; accepted: above 0, "
                "and at least 0"
            )

    @property
    def wait(self) -> float:
        """The margin."""
        return self.epoch if self.margin is None else self.margin

    @overload
    def departure(self, opens: float, epoch: int) -> float: ...
    @overload
    def departure(self, opens: Tensor, epoch: int | Tensor) -> Tensor: ...
    def departure(self, opens: float | Tensor, epoch: int | Tensor) -> float | Tensor:
        """When routes leave that the epoch dispatches, of a depot that opens then."""
        return opens + epoch * self.epoch + self.wait

    def row(self) -> list[float]:
        """The numbers in the order of `DISPATCH`, as an instance keeps them."""
        return [float(self.num_epochs), self.epoch, float(self.candidates), self.wait]

    @classmethod
    def of_row(cls, row: list[float]) -> DispatchRules:
        """From what an instance keeps.

        Raises:
            InputError: a number is out of range, or no whole number where it counts.
        """
        epochs, epoch, candidates, margin = row
        for name, value in (("num_epochs", epochs), ("candidates", candidates)):
            if value != value // 1:
                raise InputError(f"dispatch's {name} is {value}; accepted: a whole number")
        return cls(int(epochs), epoch, int(candidates), margin)

    @classmethod
    def named(cls, numbers: Mapping[str, float]) -> DispatchRules:
        """From names, as files have them.

        Raises:
            InputError: a name is unknown or missing, or a number is out of range.
        """
        if set(numbers) != set(DISPATCH):
            wrong = ", ".join(sorted(set(numbers) ^ set(DISPATCH)))
            raise InputError(
                f"dispatch has {wrong} too much or too little; accepted: {', '.join(DISPATCH)}"
            )
        return cls.of_row([numbers[name] for name in DISPATCH])


DISPATCH = ("num_epochs", "epoch", "candidates", "margin")
"""Columns of the instances' rows."""
