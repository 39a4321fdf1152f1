"""Which certain problems stand in for each uncertain one, by the problem's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nco.baselines.day_equivalents import MEAN, HardWindows
from nco.baselines.equivalents import DemandQuantiles, Equivalent, LikelyCustomers, LoadedTo

EQUIVALENTS: Mapping[str, Callable[[float], Equivalent]] = {
    "ptsp": LikelyCustomers,
    "pcvrp": LikelyCustomers,
    "vrpsd": LoadedTo,
    "vrpsd-detour": LoadedTo,
    "svrptw": HardWindows,
    "mdsvrptw": HardWindows,
}
"""From a level to its certain problem."""
MEAN_LEVEL: Mapping[str, float] = {
    "ptsp": 0.0,
    "pcvrp": 0.0,
    "vrpsd": 1.0,
    "vrpsd-detour": 1.0,
    "svrptw": MEAN,
    "mdsvrptw": MEAN,
}
"""The level of the mean-value problem."""
POOL_LEVELS: Mapping[str, tuple[float, ...]] = {
    **dict.fromkeys(("ptsp", "pcvrp"), (0.0, 0.25, 0.5)),
    # with room without end it is one giant tour, which turning back cuts into routes
    **dict.fromkeys(("vrpsd", "vrpsd-detour"), (0.8, 1.0, 1.5, 2.0, 100.0)),
    **dict.fromkeys(("svrptw", "mdsvrptw"), (MEAN, 0.5, 0.7, 0.9)),
}
"""The levels that a pool of plans is made by, where no others are asked for."""
QUANTILES: Mapping[str, Callable[[float], Equivalent]] = {
    **{name: EQUIVALENTS[name] for name in ("svrptw", "mdsvrptw")},
    **dict.fromkeys(("vrpsd", "vrpsd-detour"), DemandQuantiles),
}
"""From a quantile to the certain problem that takes it in the place of the mean."""
ROUTE_BY_ROUTE = ("ptsp", "pcvrp", "vrpsd", "vrpsd-detour", "svrptw", "mdsvrptw")
"""Problems where a plan that serves everybody costs what its routes cost together."""
