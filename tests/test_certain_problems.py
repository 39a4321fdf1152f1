"""Which certain problems stand in for which uncertain ones, by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from nco.baselines.certain_problems import EQUIVALENTS, MEAN_LEVEL, POOL_LEVELS, ROUTE_BY_ROUTE
from nco.baselines.enumeration import enumerated
from nco.baselines.solver import Budget
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.envs.checker import check_routes
from nco.envs.plans import stacked
from nco.information import NOTHING, information_of
from nco.scenario_config import (
    EquivalentConfig,
    ScenarioSolverConfig,
    SelectionConfig,
    build_any_solver,
)
from tests.draws import seeded

CONFIGS: TypeAdapter[ScenarioSolverConfig] = TypeAdapter(ScenarioSolverConfig)


def test_each_has_a_mean_value_problem() -> None:
    """And those whose costs add up over routes are among them."""
    assert EQUIVALENTS.keys() == MEAN_LEVEL.keys()
    assert set(ROUTE_BY_ROUTE) <= EQUIVALENTS.keys()


@pytest.mark.parametrize("problem", ["svrptw", "mdsvrptw"])
def test_a_pool_of_days_is_no_worse_than_its_certain_problems(problem: str) -> None:
    """On the scenarios that it chooses by; its plans are feasible."""
    day = generate(
        problem, num_customers=6, batch=1, generator=seeded(3), distribution="correlated"
    ).to(torch.device("cpu"))
    by = {"solver": "pyvrp"}
    choice = SelectionConfig(scenarios=50)
    pool = build_any_solver(
        CONFIGS.validate_python({
            "solver": "candidate-pool", "problem": problem, "levels": [0.0, 0.8], "by": [by],
            "num_seeds": 1, "selection": {"scenarios": 50},
        })
    )  # fmt: skip
    budget = Budget(iterations=30)
    best = pool.solve(day, budget, 0)[0]
    value = choice.value(problem)

    def price(routes: list[list[int]], depots: list[int] | None) -> float:
        return float(value.of(day, stacked(day, [(routes, depots)])))

    for level in (0.0, 0.8):
        one = build_any_solver(
            CONFIGS.validate_python(
                {"solver": "equivalent", "problem": problem, "level": level, "by": by}
            )
        ).solve(day, budget, 0)[0]
        assert price(best.routes, best.depots) <= price(one.routes, one.depots) + 1e-9
    assert check_routes(day, best.routes, best.depots).feasible


def test_levels_and_quantiles_are_the_problems_own() -> None:
    """Defaults are levels of each problem; a level or quantile that it does not have is refused."""
    assert EQUIVALENTS.keys() == POOL_LEVELS.keys()
    names = set()
    for problem, levels in POOL_LEVELS.items():
        names |= {EQUIVALENTS[problem](level).name for level in levels}
    assert {"mean demands", "all customers", "mean times"} <= names
    by = {"by": {"solver": "pyvrp"}}
    days = instance_of("vrpsd")
    quantile = CONFIGS.validate_python(
        {"solver": "equivalent", "problem": "vrpsd", "quantile": 0.8, **by}
    )
    assert isinstance(quantile, EquivalentConfig)
    certain = quantile.equivalent().certain(days)
    assert certain is not None
    assert bool((certain.linehaul[:, 1:] >= days.linehaul[:, 1:]).all())
    for values, told in (
        ({"problem": "ptsp", "level": 1.5}, "of problem ptsp: level is 1.5"),
        ({"problem": "vrpsd", "level": 0.0}, "of problem vrpsd: level is 0.0"),
        ({"problem": "ptsp", "quantile": 0.5}, "quantile is given for ptsp; accepted for: svrptw"),
        ({"problem": "vrpsd", "level": 1, "quantile": 0.5}, "both level and quantile"),
    ):
        with pytest.raises(ValidationError, match=told):
            CONFIGS.validate_python({"solver": "equivalent", **values, **by})
    with pytest.raises(ValidationError, match="of problem pcvrp: level is 2"):
        CONFIGS.validate_python(
            {"solver": "candidate-pool", "problem": "pcvrp", "levels": [0.5, 2], "by": [by["by"]]}
        )


def instance_of(problem: str, num_customers: int = 5) -> Instance:
    """One small instance."""
    distribution = "correlated" if problem == "svrptw" else "uniform"
    return generate(
        problem, num_customers=num_customers, batch=1, generator=seeded(1),
        distribution=distribution,
    )  # fmt: skip


@pytest.mark.parametrize("problem", ["svrptw", "vrpsd"])
def test_routes_add_up_to_plans_that_serve_everybody(problem: str) -> None:
    """Enumeration by routes finds what trying every whole plan finds, in the mean and in each
    scenario; set partitioning of one plan's routes gives that plan."""
    day = instance_of(problem, 4)
    value = SelectionConfig(scenarios=20).value(problem)
    found = enumerated(day, value)
    plans = list(every_plan([1, 2, 3, 4]))
    actions = stacked(day, [(plan, None) for plan in plans])
    costs = value.costs(day, actions)[0][value.allowed(day, actions)[0]]
    assert found.value == pytest.approx(float(costs.mean(1).min()))
    torch.testing.assert_close(found.wait_and_see, costs.amin(0))
    best = stacked(day, [(found.routes, None)])
    assert float(value.of(day, best)) == pytest.approx(found.value)


def every_plan(customers: list[int]) -> Iterator[list[list[int]]]:
    """All ordered routes: each order, cut at each set of places."""
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for order in itertools.permutations(customers):
        for cuts in itertools.product([False, True], repeat=len(customers) - 1):
            routes = [[order[0]]]
            for node, cut in zip(order[1:], cuts, strict=True):
                if cut:
                    routes.append([node])
                else:
                    routes[-1].append(node)
            key = tuple(sorted(map(tuple, routes)))
            if key not in seen:
                seen.add(key)
                yield routes


def test_presets_of_days_differ_in_what_they_test() -> None:
    """The published code's has no value of the stochastic solution; the correlated one has one,
    and knowing the day is worth more there."""
    worth = {}
    for preset in ("svrpbench-code", "correlated"):
        days = generate(
            "svrptw", num_customers=4, batch=3, generator=seeded(1), distribution=preset
        )
        found = information_of("svrptw", days, 40, 0)
        assert found.wait_and_see <= found.recourse <= found.mean_value * (1 + 1e-9)
        worth[preset] = found
    assert worth["svrpbench-code"].stochastic_solution < NOTHING * worth["svrpbench-code"].recourse
    code, ours = (worth[name].perfect_information / worth[name].recourse for name in worth)
    assert code < 1e-3 < 0.01 < ours


def test_planning_with_the_laws_of_demands_is_worth_something() -> None:
    """The mean-value plan keeps its vehicles' capacity for sure, and pays for it."""
    days = generate("vrpsd", num_customers=5, batch=3, generator=seeded(0))
    found = information_of("vrpsd", days, 60, 0)
    assert found.wait_and_see < found.recourse < found.mean_value
    assert found.stochastic_solution > NOTHING * found.recourse


def test_what_has_no_plans_is_refused() -> None:
    """By name, in configurations and in what information is worth."""
    for solver in ("set-partitioning", "enumeration"):
        values = {"solver": solver, "problem": "vrpsd-adaptive", "by": [{"solver": "pyvrp"}]}
        with pytest.raises(ValidationError, match="no sums over routes; accepted: ptsp, pcvrp"):
            CONFIGS.validate_python(values)
    with pytest.raises(InputError, match="'cvrp'; accepted: ptsp, pcvrp, vrpsd, vrpsd-detour"):
        information_of("cvrp", instance_of("ptsp"), 5, 0)
