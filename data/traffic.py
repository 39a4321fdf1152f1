"""How long a way takes by the time of day: congestion, log-normal delays and accidents.

The model is SVRPBench's (Heakl et al. 2025, arXiv 2505.21887): going from a to b, a distance D
apart, from the minute t on takes

    T(a, b, t) = free + B(D, t) R(t) + (the lengths of N(t) accidents)
    B = alpha F(t) (1 - exp(-D / lambda)),  F = beta + gamma G(t)
    G(t) = phi(t; morning) + phi(t; evening),  phi a normal density
    R ~ LogNormal(mu0 + delta G(t), s0 + epsilon G(t))
    N ~ Poisson(l0 phi(t; accidents)),  each with a length of its own from U(shortest, longest)

where free is the instance's duration (its distance where it has none). A density's height depends
on the unit of time: `Traffic.density_unit` says how many minutes the unit has in which it is read.
Where it differs from the paper: the normal number behind R belongs to the arc, not to the
departure, so that leaving later does not draw anew, and it may share a part with the day and a
part with the zone.

Clocks are minutes since midnight and go on beyond a day; here alone they are taken modulo a day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.errors import InputError

DAY = 1440.0
"""Minutes."""
Constant = float | Tensor
"""A number, or one for each instance of a batch, in a shape that broadcasts against clocks."""


def _density(clock: Tensor, mean: Constant, sd: Constant) -> Tensor:
    """Of the normal distribution, per minute."""
    return torch.exp(-0.5 * ((clock - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi))


@final
@dataclass(frozen=True)
class Traffic:
    """Every constant of the model; times are minutes. The defaults are the paper's, in hours.

    Raises:
        InputError: a number is not finite, negative or, where it divides, 0; accidents have no
            length; the shares of a normal number's variance add up to more than 1.
    """

    density_unit: Constant = 60.0
    delay: Constant = 15.0
    """alpha, of a long way at factor 1."""
    base: Constant = 0.5
    """beta, by night."""
    rush: Constant = 2.0
    """gamma."""
    reach: Constant = 50.0
    """lambda, a distance: longer ways have no more delay."""
    morning: Constant = 480.0
    evening: Constant = 1020.0
    rush_sd: Constant = 90.0
    log_mean: Constant = 0.0
    """mu0."""
    log_mean_rush: Constant = 0.1
    """delta."""
    log_sd: Constant = 0.3
    """s0."""
    log_sd_rush: Constant = 0.2
    """epsilon."""
    accidents: Constant = 0.05
    """l0."""
    accident_peak: Constant = 1260.0
    accident_sd: Constant = 120.0
    shortest_accident: Constant = 30.0
    longest_accident: Constant = 120.0
    day_share: Constant = 0.0
    """Of the variance of the normal number behind a delay: the same on all ways of a scenario."""
    zone_share: Constant = 0.0
    """The same on all ways into a zone; the rest is each arc's own."""

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if any(isinstance(value, Tensor) for value in values.values()):
            return
        for name, value in values.items():
            least = "above 0" if name in _DIVISORS else "at least 0"
            if not math.isfinite(value) or value < 0 or (value == 0 and name in _DIVISORS):
                raise InputError(f"traffic's {name} is {value}; accepted: a finite number {least}")
        if not self.shortest_accident <= self.longest_accident:
            raise InputError(
                f"traffic's accidents take {self.shortest_accident} to {self.longest_accident}; "
                "accepted: shortest <= longest"
            )
        # constants of an instance may have come through float32
        if self.day_share + self.zone_share > 1 + 1e-6:
            raise InputError(
                f"traffic's day_share is {self.day_share} and its zone_share {self.zone_share}; "
                "accepted: at most 1 together"
            )

    def row(self) -> list[float]:
        """The constants in the order of `CONSTANTS`, as an instance keeps them."""
        return [float(getattr(self, name)) for name in CONSTANTS]

    @classmethod
    def of_rows(cls, rows: Float[Tensor, "batch constant"], *dims: int) -> Traffic:
        """Of a batch, whose constants have the shape [B, *dims]; in float64."""
        columns = rows.double().view(rows.shape[0], *dims, len(CONSTANTS)).unbind(-1)
        return cls(**dict(zip(CONSTANTS, columns, strict=True)))

    @classmethod
    def named(cls, constants: Mapping[str, float]) -> Traffic:
        """From names, as files have them.

        Raises:
            InputError: a name is unknown or missing, or a number is out of range.
        """
        wrong = sorted(set(constants) ^ set(CONSTANTS))
        if wrong:
            raise InputError(
                f"traffic has not the constants that it should: {', '.join(wrong)}; accepted: "
                f"{', '.join(CONSTANTS)}, each once"
            )
        return cls(**constants)

    def rush_hour(self, clock: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """G."""
        time = clock.remainder(DAY)
        morning = _density(time, self.morning, self.rush_sd)
        return self.density_unit * (morning + _density(time, self.evening, self.rush_sd))

    def accident_rate(self, clock: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The mean number of accidents of a way begun then."""
        time = clock.remainder(DAY)
        height = _density(time, self.accident_peak, self.accident_sd)
        return self.accidents * self.density_unit * height

    def usual_delay(
        self, distance: Float[Tensor, "..."], rush_hour: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """B, the median of the delay but for mu."""
        factor = self.base + self.rush * rush_hour
        return self.delay * factor * -torch.expm1(-distance / self.reach)

    def delay_at(
        self,
        distance: Float[Tensor, "..."],
        clock: Float[Tensor, "..."],
        normal: Float[Tensor, "..."] | float,
    ) -> Float[Tensor, "..."]:
        """B R where the normal number is this; its quantile where that is a quantile."""
        rush_hour = self.rush_hour(clock)
        spread = self.log_sd + self.log_sd_rush * rush_hour
        log = self.log_mean + self.log_mean_rush * rush_hour + spread * normal
        return self.usual_delay(distance, rush_hour) * torch.exp(log)

    def mean_delay(
        self, distance: Float[Tensor, "..."], clock: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """E[B R]."""
        rush_hour = self.rush_hour(clock)
        spread = self.log_sd + self.log_sd_rush * rush_hour
        log = self.log_mean + self.log_mean_rush * rush_hour + 0.5 * spread * spread
        return self.usual_delay(distance, rush_hour) * torch.exp(log)

    def mean_loss(
        self, distance: Float[Tensor, "..."], clock: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """The mean of all that a way takes beyond its free time."""
        return self.mean_delay(distance, clock) + self.mean_accidents(clock)

    def mean_accidents(self, clock: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The mean time that accidents take."""
        length = 0.5 * (self.shortest_accident + self.longest_accident)
        return self.accident_rate(clock) * length


_DIVISORS = frozenset({"density_unit", "reach", "rush_sd", "accident_sd"})
CONSTANTS = tuple(field.name for field in fields(Traffic))
"""The names of the constants, in the order in which an instance keeps them."""

PAPER = Traffic()
"""Densities are read in hours. alpha, beta, gamma and l0 are not in the text but in the code.
Planning with scenarios in the place of means is worth almost nothing
(`nco.data.service_days.DAY_PRESETS`)."""
CODE = Traffic(density_unit=1.0, delay=0.25)
"""What the published code computes: the constants for hours, with densities per minute and alpha
in minutes. Delays vanish, and with them what planning with scenarios is worth; it is here to check
formulas against the published numbers."""
CORRELATED = Traffic(
    delay=45.0,
    log_sd=0.6,
    accidents=0.5,
    day_share=0.3,
    zone_share=0.3,
)
"""Ours: delays are three times as long and less certain, and days and zones share them. With each
arc's noise its own, as in the paper, a long route averages it away."""
