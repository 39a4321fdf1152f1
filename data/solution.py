"""What a solver gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from nco.data.instance import Instance


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
