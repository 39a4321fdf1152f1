"""Plans as routes and as actions, and what they are worth in scenarios.

Axes: B instances, P plans of each, S scenarios, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.environment import Environment
from nco.envs.objective import Objective
from nco.envs.scenario_cost import ScenarioCost, outcomes_in_parts

RouteList = Sequence[Sequence[int]]
"""Customers of each route in order, without depots; a TSP's one route holds all nodes."""


def actions_of(instance: Instance, routes: RouteList, depots: Sequence[int] | None) -> list[int]:
    """The actions of one instance's routes (B = 1): a depot before each, where it is not the one
    that a trajectory begins at, and the last one's own at the end.

    Args:
        depots: where each route starts; by default depot 0. Not looked at for a TSP.
    """
    num_depots = int(instance.num_depots)
    if num_depots == 0:
        return [node for route in routes for node in route]
    homes = [0] * len(routes) if depots is None else depots
    actions: list[int] = []
    for home, route in zip(homes, routes, strict=True):
        if route:
            actions += [home, *route] if actions or num_depots > 1 else list(route)
    return [*actions, homes[-1] if homes else 0]


def plan_key(
    instance: Instance, routes: RouteList, depots: Sequence[int] | None
) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """What plans of an instance (B = 1) that are the same have in common: routes in another order
    are, and a tour begun at another node; a route the other way round may cost something else."""
    if int(instance.num_depots) == 0:
        return tuple((-1, _from_smallest(route)) for route in routes if route)
    homes = [0] * len(routes) if depots is None else depots
    return tuple(sorted((d, tuple(r)) for d, r in zip(homes, routes, strict=True) if r))


def _from_smallest(tour: Sequence[int]) -> tuple[int, ...]:
    first = tour.index(min(tour))
    return (*tour[first:], *tour[:first])


def stacked(
    instance: Instance, plans: Sequence[tuple[RouteList, Sequence[int] | None]]
) -> Int[Tensor, "1 plan step"]:
    """Plans of one instance, each its routes and their depots, as actions; shorter ones stay where
    they end.

    Raises:
        InputError: there is no plan, or one without a stop.
    """
    actions = [actions_of(instance, routes, depots) for routes, depots in plans]
    if not actions or not all(actions):
        raise InputError("there is no plan, or one without a stop; accepted: at least one, each "
                         "with routes")  # fmt: skip
    steps = max(map(len, actions))
    padded = [plan + plan[-1:] * (steps - len(plan)) for plan in actions]
    return torch.tensor([padded], device=instance.valid.device)


@final
@dataclass(frozen=True)
class PlanValue:
    """What plans are chosen by: the rules that they keep, and an objective over scenarios.

    Args:
        rules: of plans; their own price is not asked.
        simulation: of plans.
        scenarios: the same for all plans of an instance.
        objective: over the scenarios.
        most: different plans of an instance that a solver may choose among, each priced in all
            scenarios, so that solvers can be given equal means to choose by; None is no limit.
    """

    rules: Environment
    simulation: ScenarioCost
    scenarios: Scenarios
    objective: Objective
    most: int | None = None

    def may_price(self, priced: int) -> bool:
        """Whether one plan more may be priced."""
        return self.most is None or priced < self.most

    def require_sum(self, solver: str) -> None:
        """Raise `InputError` where the value of a plan is not the sum of those of its routes."""
        if self.objective.cvar:
            raise InputError(
                f"{solver} minimises {self.objective.name}, which is no sum over routes; accepted: "
                "the mean"
            )

    def costs(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"]
    ) -> Float[Tensor, "batch plan scenario"]:
        """Of every plan in every scenario; plans may be parts, some of the routes."""
        return outcomes_in_parts(self.simulation, instance, plans, self.scenarios).cost

    def route_costs(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"]
    ) -> Float[Tensor, "batch plan scenario"]:
        """The same without what is asked of whole plans: sums over routes."""
        found = outcomes_in_parts(self.simulation, instance, plans, self.scenarios)
        whole = self.simulation.whole_plan_parts
        kept = [i for i, name in enumerate(self.simulation.part_names) if name not in whole]
        return found.parts[..., kept].sum(3)

    def of(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"]
    ) -> Float[Tensor, "batch plan"]:
        """The objective of every plan."""
        return self.objective.of(self.costs(instance, plans))

    def allowed(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"]
    ) -> Bool[Tensor, "batch plan"]:
        """Whether the rules allow every action, and the plan is complete at its end."""
        followed, ended = self._followed(instance, plans)
        return followed & ended

    def allowed_part(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"]
    ) -> Bool[Tensor, "batch plan"]:
        """Whether the rules allow every action; there may be customers left."""
        return self._followed(instance, plans)[0]

    def _followed(
        self, instance: Instance, plans: Int[Tensor, "batch plan step"]
    ) -> tuple[Bool[Tensor, "batch plan"], Bool[Tensor, "batch plan"]]:
        state = self.rules.reset(instance, plans.shape[1])
        fine = torch.ones_like(plans[:, :, 0], dtype=torch.bool)
        for action in plans.unbind(2):
            fine &= self.rules.action_mask(state).gather(2, action.unsqueeze(2)).squeeze(2)
            state = self.rules.step(state, action)
        return fine, self.rules.done(state)
