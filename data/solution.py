"""What a solver gives back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nco.data.instance import Instance

if TYPE_CHECKING:
    import matplotlib.figure


@dataclass(frozen=True)
class Solution:
    """Routes of one instance with the figures that our checker computed for them.

    Build it with `nco.envs.checker.evaluate`, which fills in cost, feasibility and violations; a
    solver's own claims never enter.
    """

    instance: Instance
    """The instance solved, B = 1."""
    routes: list[list[int]]
    """Customers in order of service, one list a route, without depots. A TSP has one route with
    all nodes."""
    depots: list[int]
    """The depot that each route starts from; -1 for a TSP."""
    cost: float
    """In the instance's own units."""
    feasible: bool
    violations: list[str]
    """Every broken constraint in words."""
    seconds: float
    """Wall time that the solver took, its set-up included."""
    solver: str
    trace: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, cost) of each improvement, for solvers that tell; may be empty."""
    vehicles: list[int] = field(default_factory=list)
    """With a fleet, the vehicle that drives each route; a vehicle's routes come in its order."""
    plan_scenarios: int = 0
    """Prices of a plan in a scenario that the routes were chosen by, for solvers that choose so."""

    # The three below hand the solution to modules that know it, hence the imports on use. pyright
    # takes this file and its link in nco/ for two, and self for another class than they expect.

    def plot(self) -> matplotlib.figure.Figure:
        """A drawing: a colour for each route, squares for depots, the cost in the title.

        Raises:
            InputError: the instance has no coordinates.
        """
        from nco.data.plot import figure

        return figure(self)  # pyright: ignore[reportArgumentType]

    def to_json(self) -> str:
        """The solution with its instance, as `nco.data.json_format` describes it."""
        from nco.data.json_format import solutions_to_json

        return solutions_to_json([self])  # pyright: ignore[reportArgumentType]

    def to_geojson(self) -> str:
        """Routes and nodes as GeoJSON, for maps.

        Raises:
            InputError: the instance has no coordinates.
        """
        from nco.data.geojson import solution_to_geojson

        content = solution_to_geojson(self)  # pyright: ignore[reportArgumentType]
        return json.dumps(content, allow_nan=False)
