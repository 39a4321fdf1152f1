"""Planning with expected prizes again and again on the way: the stochastic PCTSP's baselines.

Kool et al. 2019 (arXiv 1803.08475), section 5.1 and appendix C.4: solve the deterministic problem
from where the salesman stands, follow all, half or the first step of the plan, see the prizes, and
repeat until the plan is to go home.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from nco.baselines.solver import Budget, SolveFailed, Solver
from nco.data.batching import collate, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix
from nco.data.prize_instances import require_prizes
from nco.envs.checker import check_routes

Share = Literal["all", "half", "first"]
"""How much of a plan is followed before the next one."""
DETOUR_ERROR = 1e-6
"""Below 0 by so much of the longest arc, a detour is taken for one of no length."""


@dataclass(frozen=True)
class Walk:
    """A tour as it came about."""

    tour: list[int]
    cost: float
    """By the checker, with the realised prizes."""
    seconds: float
    """Of this instance's share of all planning."""
    plans: int
    """How often was planned."""


@dataclass
class _Walker:
    """One instance on its way."""

    instance: Instance
    found: list[float]
    """The realised prizes, which are looked at on visiting only."""
    tour: list[int] = field(default_factory=list)
    plans: int = 0
    seconds: float = 0.0
    home: bool = False

    def left(self) -> list[int]:
        """Customers that are not visited yet."""
        return [i for i in range(1, self.instance.num_nodes) if i not in self.tour]


@final
@dataclass(frozen=True)
class Reoptimisation:
    """A solver of the deterministic PCTSP that plans on the way.

    Args:
        solver: of the plans.
        share: of a plan that is followed, rounded up.
    """

    solver: Solver
    share: Share

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"reopt-{self.share} ({self.solver.name})"

    def run(
        self, instance: Instance, realised: Float[Tensor, "batch node"], budget: Budget, seed: int
    ) -> list[Walk]:
        """One walk through each instance, in the world with these prizes.

        Args:
            instance: without padding; arcs keep the triangle inequality.
            budget: of each plan.

        Raises:
            InputError: there are no prizes, or a detour is shorter than the arc it replaces.
            SolveFailed: the solver found no plan, or a walk breaks the rules.
        """
        require_prizes(instance)
        walkers = [
            _Walker(one, prizes)
            for one, prizes in zip(unbatch(instance), realised.tolist(), strict=True)
        ]
        while active := [walker for walker in walkers if not walker.home]:
            plans = collate([_rest(walker) for walker in active])
            begun = time.perf_counter()
            solutions = self.solver.solve(plans, budget, seed)
            seconds = (time.perf_counter() - begun) / len(active)
            for walker, solution in zip(active, solutions, strict=True):
                if not solution.feasible:
                    raise SolveFailed(f"{self.name}: a plan is not feasible: {solution.violations}")
                walker.seconds += seconds
                walker.plans += 1
                self._follow(walker, solution.routes[0] if solution.routes else [])
        return [self._judged(walker) for walker in walkers]

    def _follow(self, walker: _Walker, plan: list[int]) -> None:
        left = walker.left()
        steps = {"all": len(plan), "half": math.ceil(len(plan) / 2), "first": 1}[self.share]
        walker.tour += [left[node - 1] for node in plan[:steps]]
        walker.home = not plan or not walker.left()

    def _judged(self, walker: _Walker) -> Walk:
        report = check_routes(walker.instance, [walker.tour], realised_prizes=walker.found)
        if not report.feasible:
            raise SolveFailed(f"{self.name}: {report.violations[0]}")
        return Walk(walker.tour, report.cost, walker.seconds, walker.plans)


def _rest(walker: _Walker) -> Instance:
    """What is left as a PCTSP from a depot, whose tour costs what it adds to going straight home.

    With h(i) the way home from i, the arc from i to j costs d(i, j) + h(j) - h(i), and going home
    nothing more: sums over a tour are the same, and no arc is negative.
    """
    one = walker.instance
    here = walker.tour[-1] if walker.tour else 0
    nodes = [here, *walker.left()]
    assert one.prize is not None
    assert one.penalty is not None
    assert one.min_prize is not None
    d = distance_matrix(one)[0].double()
    home = d[nodes, 0]
    extra = d[nodes][:, nodes] + home.unsqueeze(0) - home.unsqueeze(1)
    extra[:, 0] = 0.0
    extra.fill_diagonal_(0.0)
    if float(extra.min()) < -DETOUR_ERROR * float(d.max()):
        raise InputError(
            "the lengths break the triangle inequality; accepted for planning on the way: "
            "lengths where no detour is shorter"
        )
    collected = sum(walker.found[node] for node in walker.tour)
    zero = torch.zeros(1, dtype=torch.float64)
    return Instance.vrp(
        distance=extra.clamp(min=0),
        prize=torch.cat((zero, one.prize[0, nodes[1:]].double())),
        penalty=torch.cat((zero, one.penalty[0, nodes[1:]].double())),
        min_prize=max(0.0, float(one.min_prize) - collected),
    )
