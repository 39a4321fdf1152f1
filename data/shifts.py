"""Instances that differ in one way from what they were drawn as; all the rest stays as it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from pydantic import ConfigDict

from nco.data.batching import replace
from nco.data.distributions import rand
from nco.data.errors import InputError
from nco.data.generators import shortest_paths
from nco.data.instance import Instance, distance_matrix, is_customer
from nco.data.x_generator import DemandLaw, demands_by_law

MEAN_DEMAND = 5.0
"""Of the published demands, whole numbers from 1 to 9."""


@dataclass(frozen=True)
class Shift:
    """One way in which instances of the unit square are to differ.

    Raises:
        InputError: not exactly one is given, or it is out of range.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    demands: DemandLaw | None = None
    """Deliveries drawn by one of the laws of the X set; a vehicle carries as many customers' mean
    demands as before, but at least the largest demand."""
    capacity: float | None = None
    """What a vehicle carries of what it did, rounded, but at least the largest load of a customer;
    above 0."""
    windows: float | None = None
    """The part that time windows keep of their length, from their beginning; above 0, at most 1."""
    asymmetry: float | None = None
    """Each arc is shorter by a part from U(0, this), at least 0 and below 1; then matrices are
    closed under the triangle inequality. Nothing gets farther: what was in reach is."""

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"shift has {', '.join(given) or 'nothing'}; accepted: exactly one of "
                f"{', '.join(names)}"
            )
        if self.capacity is not None and not 0 < self.capacity < math.inf:
            raise InputError(f"shift.capacity is {self.capacity}; accepted: above 0, finite")
        if self.windows is not None and not 0 < self.windows <= 1:
            raise InputError(f"shift.windows is {self.windows}; accepted: above 0, at most 1")
        if self.asymmetry is not None and not 0 <= self.asymmetry < 1:
            raise InputError(f"shift.asymmetry is {self.asymmetry}; accepted: from 0, below 1")

    def __str__(self) -> str:
        if self.demands is not None:
            return f"demands {self.demands}"
        if self.capacity is not None:
            return f"capacity × {self.capacity:g}"
        return f"windows × {self.windows:g}" if self.windows else f"asymmetry {self.asymmetry:g}"

    def apply(self, instance: Instance, generator: torch.Generator) -> Instance:
        """The instances with the difference.

        Raises:
            InputError: they do not have what is to be changed.
        """
        if self.demands is not None:
            return _with_demands(instance, self.demands, generator)
        if self.capacity is not None:
            return _with_capacity(instance, self.capacity)
        if self.windows is not None:
            return _with_windows(instance, self.windows)
        assert self.asymmetry is not None
        return _asymmetric(instance, self.asymmetry, generator)


def _with_demands(instance: Instance, law: DemandLaw, generator: torch.Generator) -> Instance:
    coords = instance.coords
    if (
        coords is None
        or not bool(instance.capacity.isfinite().all())
        or bool((instance.backhaul > 0).any())
    ):
        raise InputError(
            f"demands are {law} for instances without vehicles, with pickups or without "
            "coordinates; accepted: deliveries by vehicles with a capacity, in the unit square"
        )
    customer = is_customer(instance)
    demand = demands_by_law(law, coords, generator).to(instance.dtype) * customer
    mean = demand.sum(1) / customer.sum(1)
    per_route = instance.capacity / MEAN_DEMAND
    capacity = torch.maximum((per_route * mean).ceil(), demand.amax(1))
    return replace(instance, {"linehaul": demand, "capacity": capacity})


def _with_capacity(instance: Instance, factor: float) -> Instance:
    if not bool(instance.capacity.isfinite().all()):
        raise InputError("capacity is to differ, but there is none; accepted: problems with one")
    largest = torch.maximum(instance.linehaul, instance.backhaul).amax(1)
    return replace(
        instance, {"capacity": torch.maximum((instance.capacity * factor).round(), largest)}
    )


def _with_windows(instance: Instance, part: float) -> Instance:
    early, late = instance.time_window.unbind(2)
    tight = is_customer(instance) & late.isfinite()
    if not bool(tight.any(1).all()):
        raise InputError(
            "windows are to be tighter, but there are none; accepted: problems with time windows"
        )
    shorter = torch.where(tight, early + part * (late - early), late)
    return replace(instance, {"time_window": torch.stack((early, shorter), 2)})


def _asymmetric(instance: Instance, most: float, generator: torch.Generator) -> Instance:
    if instance.distance is not None or instance.coords is None:
        raise InputError(
            "asymmetry is asked for where lengths are a matrix already; accepted: problems in the "
            "plane"
        )
    length = distance_matrix(instance)
    shorter = length * (1 - most * rand(generator, *length.shape))
    return replace(instance, {"distance": shortest_paths(shorter)})
