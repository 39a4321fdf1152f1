"""The one protocol of every solver: classical, learned, or a search around a learned one."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution


class UnsupportedError(InputError):
    """The solver cannot express an attribute of the instance; the message names both."""


class MissingExtraError(InputError):
    """A solver's package is not installed; the message names the extra to install."""


class SolveFailed(RuntimeError):
    """A solver found no feasible solution, or its process overran its limit or died.

    The message names the solver. The input may be right: the command line exits with code 1.
    """


@dataclass(frozen=True)
class Budget:
    """What a solver may spend on one instance.

    Args:
        time_limit: wall seconds for each instance, set-up included; None is no limit.
        iterations: of the solver's own kind, for runs that repeat exactly; None is no limit.

    Raises:
        InputError: a limit is not a finite number above 0.
    """

    time_limit: int | float | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        for name in ("time_limit", "iterations"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} is {value}; accepted: a number above 0, or none")


SEEDS = 2**63
"""How many there are, from 0: what the generators of torch and numpy both take."""


def require_seed(seed: int) -> int:
    """The seed as a plain number.

    Raises:
        InputError: it is not a whole number, or out of range.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < SEEDS:
        raise InputError(f"seed is {seed!r}; accepted: a whole number from 0 to {SEEDS - 1}")
    return number


def require_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        InputError: there is none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # a build of torch without CUDA asserts it
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device is {name!r}: {str(error).splitlines()[0]}; accepted: cpu, or cuda where there "
            "is a GPU"
        ) from error
    return device


@runtime_checkable
class Solver(Protocol):
    """Finds routes for a batch of instances."""

    @property
    def name(self) -> str:
        """As it stands in tables."""
        ...

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """One solution for each instance of the batch, costed by our own checker.

        The seed is used for each instance alike, so an instance's solution does not depend on
        its place in the batch.

        Raises:
            UnsupportedError: the instance has an attribute that the solver cannot express.
            InputError: the budget is not one that the solver can keep.
            SolveFailed: no feasible solution was found, or the solver's process overran or died.
        """
        ...


@runtime_checkable
class PricesTime(Solver, Protocol):
    """A solver that can weigh time on duty, waiting included, against length."""

    def pricing_time(self, price: float) -> Solver:
        """The same, where a unit of time costs so many units of length."""
        ...


def require_limit(solver: str, budget: Budget) -> None:
    """Refuse a budget without any limit, for solvers that would never stop."""
    if budget.time_limit is None and budget.iterations is None:
        raise InputError(f"{solver} needs a time limit or an iteration limit; neither is given")
