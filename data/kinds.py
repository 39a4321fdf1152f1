"""Kinds of customers, and of laws that their demands follow."""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """Whose window it is."""

    OTHER = 0
    RESIDENTIAL = 1
    COMMERCIAL = 2


class DemandLaw(IntEnum):
    """The distribution of a demand with mean ``linehaul``: a whole number, at most the capacity.

    What a law has above the capacity counts as the capacity, and below 0 as 0.
    """

    POISSON = 1
    """The spread is not looked at."""
    NORMAL = 2
    """Rounded to the nearest; the spread is the standard deviation."""
    UNIFORM = 3
    """On the whole numbers from the mean less the spread to the mean and the spread, both
    rounded."""
