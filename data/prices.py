"""What a minute, a route and a customer left out cost where windows are soft."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import final

from nco.data.errors import InputError


@final
@dataclass(frozen=True)
class Prices:
    """Of one unit each, in whatever a plan is paid in.

    The defaults are ours, near the ratios of the H-SARA contest (Samuel et al. 2021, arXiv
    2106.16176), whose winner counted 5 for an hour that a customer waits, 2.5 for an idle hour and
    4 for an hour of overtime, beside 1 for an hour of travel.

    Raises:
        InputError: a price is negative or not finite.
    """

    travel: float = 1.0
    """A minute on the way."""
    waiting: float = 0.5
    """A minute that a vehicle waits for a window to open."""
    lateness: float = 5.0
    """A minute that service starts after a window has closed."""
    overtime: float = 4.0
    """A minute that a vehicle comes home after its depot has closed."""
    route: float = 60.0
    unserved: float = 1000.0
    """A customer whom no route visits."""

    def __post_init__(self) -> None:
        for name in PRICES:
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"the price {name} is {value}; accepted: at least 0, finite")

    def row(self) -> list[float]:
        """The prices in the order of `PRICES`, as an instance keeps them."""
        return [getattr(self, name) for name in PRICES]

    @classmethod
    def named(cls, prices: Mapping[str, float]) -> Prices:
        """From names, as files have them.

        Raises:
            InputError: a name is unknown or missing, or a price is out of range.
        """
        wrong = sorted(set(prices) ^ set(PRICES))
        if wrong:
            raise InputError(
                f"prices are not those that they should be: {', '.join(wrong)}; accepted: "
                f"{', '.join(PRICES)}, each once"
            )
        return cls(**prices)


PRICES = tuple(field.name for field in fields(Prices))
"""The names, in the order in which an instance keeps them."""
DEFAULT_PRICES = Prices()
