"""All plans of tiny instances: exact optima, in the mean over scenarios and in each of them.

Routes must cost the same whatever the other vehicles do.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.baselines.candidate_pool import Chosen, solved_singly
from nco.baselines.solver import Budget
from nco.baselines.workers import Routes
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.plans import PlanValue

MOST_CUSTOMERS = 7
"""13,699 ordered routes; a TSP's first node is not counted."""

Orders = Int[Tensor, "order stop"]
CostsOf = Callable[[Int[Tensor, "1 plan step"]], Float[Tensor, "plan scenario"]]
Allowed = Callable[[Int[Tensor, "1 plan step"]], Bool[Tensor, " plan"]]


@dataclass(frozen=True)
class Enumerated:
    """What trying every plan of one instance found."""

    routes: list[list[int]]
    """The best plan."""
    value: float
    """Its objective."""
    wait_and_see: Float[Tensor, " scenario"]
    """The cost of each scenario's own best plan."""


@dataclass(frozen=True)
class Enumeration:
    """The best plan of an instance of at most `MOST_CUSTOMERS` customers, on selection scenarios.

    With vehicles only the expectation is minimised, since CVaR is no sum over routes.

    Args:
        value: what plans are chosen by.
    """

    value: PlanValue

    @property
    def name(self) -> str:
        return "enumeration"

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`; the budget and the seed are not looked at."""

        def best(one: Instance) -> Chosen:
            began = time.perf_counter()
            found = enumerated(one, self.value)
            return Chosen(Routes(found.routes), time.perf_counter() - began)

        return solved_singly(self.name, instance, best)


def enumerated(one: Instance, value: PlanValue) -> Enumerated:
    """Try every plan of one instance (B = 1).

    Raises:
        InputError: it has too many customers or several depots, or CVaR is asked for of a VRP.
    """
    depots = int(one.num_depots)
    customers = one.num_nodes - max(depots, 1)
    if customers > MOST_CUSTOMERS or depots > 1:
        raise InputError(
            f"enumeration got {customers} customers and {depots} depots; accepted: at most "
            f"{MOST_CUSTOMERS}, and one depot or a TSP"
        )
    if depots == 0:
        return _tours(one, value)
    value.require_sum("enumeration")
    return _partitions(
        customers,
        lambda plans: value.route_costs(one, plans)[0],
        lambda plans: value.allowed_part(one, plans)[0],
    )


def _orders(nodes: tuple[int, ...]) -> Orders:
    return torch.tensor(list(itertools.permutations(nodes)))


def _tours(one: Instance, value: PlanValue) -> Enumerated:
    orders = torch.nn.functional.pad(_orders(tuple(range(1, one.num_nodes))), (1, 0))
    costs = value.costs(one, orders.unsqueeze(0))[0]
    values = value.objective.of(costs)
    best = int(values.argmin())
    return Enumerated([orders[best].tolist()], float(values[best]), costs.amin(0))


def _partitions(customers: int, costs_of: CostsOf, allowed: Allowed) -> Enumerated:
    """Dynamic programming over sets of customers: the best order of each set as one route, then
    the best way to part each set into routes; once in the mean and once for each scenario."""
    order: dict[int, list[int]] = {}
    mean: dict[int, float] = {0: 0.0}
    each: dict[int, Tensor] = {}
    routes: dict[int, list[list[int]]] = {0: []}
    for size in range(1, customers + 1):
        # all sets of a size at once
        sets = list(itertools.combinations(range(1, customers + 1), size))
        plans = torch.cat([_orders(nodes) for nodes in sets])
        forbidden = ~allowed(plans.unsqueeze(0))
        costs = costs_of(plans.unsqueeze(0)).masked_fill(forbidden.unsqueeze(1), torch.inf)
        for nodes, own, prices in zip(
            sets, plans.chunk(len(sets)), costs.chunk(len(sets)), strict=True
        ):
            best = int(prices.mean(1).argmin())
            if prices[best, 0].isinf():
                continue
            key = sum(1 << (node - 1) for node in nodes)
            order[key], each[key] = own[best].tolist(), prices.amin(0)
            mean[key] = float(prices[best].mean())
    whole_mean, whole_each = {0: 0.0}, {0: torch.zeros(())}
    for key in range(1, 1 << customers):
        # the route of the first customer of the set, for every way to fill it up
        parts = [part for part in _subsets(key) if part in order and (key ^ part) in whole_mean]
        if not parts:
            continue
        part = min(parts, key=lambda p: mean[p] + whole_mean[key ^ p])
        whole_mean[key] = mean[part] + whole_mean[key ^ part]
        routes[key] = [order[part], *routes[key ^ part]]
        whole_each[key] = torch.stack([each[p] + whole_each[key ^ p] for p in parts]).amin(0)
    full = (1 << customers) - 1
    if full not in routes:
        raise InputError("enumeration found no allowed plan; accepted: an instance with one")
    return Enumerated(routes[full], whole_mean[full], whole_each[full])


def _subsets(key: int) -> list[int]:
    """The sets within one that have its first customer."""
    first = key & -key
    rest, found, part = key ^ first, [], key ^ first
    while True:
        found.append(first | part)
        if part == 0:
            return found
        part = (part - 1) & rest
