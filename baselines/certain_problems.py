"""Which certain problems stand in for each uncertain one, by the problem's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nco.baselines.day_equivalents import MEAN, HardWindows
from nco.baselines.equivalents import Equivalent, LikelyCustomers, LoadedTo

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
ROUTE_BY_ROUTE = ("ptsp", "pcvrp", "vrpsd", "vrpsd-detour")
"""Problems whose costs are sums over routes; with soft windows, who is not served is priced as
well, and that no single route can tell."""
