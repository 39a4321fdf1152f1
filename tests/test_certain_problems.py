"""Which certain problems stand in for which uncertain ones, by name."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from nco.baselines.certain_problems import EQUIVALENTS, MEAN_LEVEL, ROUTE_BY_ROUTE
from nco.baselines.solver import Budget
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.envs.checker import check_routes
from nco.envs.plans import stacked
from nco.information import information_of
from nco.scenario_config import ScenarioSolverConfig, SelectionConfig, build_any_solver
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


def test_what_needs_sums_over_routes_refuses_days() -> None:
    """By name, in configurations and in what information is worth."""
    for solver in ("set-partitioning", "enumeration"):
        values = {"solver": solver, "problem": "svrptw", "by": [{"solver": "pyvrp"}]}
        with pytest.raises(ValidationError, match="no sums over routes; accepted: ptsp, pcvrp"):
            CONFIGS.validate_python(values)
    day = generate(
        "svrptw", num_customers=4, batch=1, generator=seeded(1), distribution="correlated"
    )
    with pytest.raises(InputError, match="'svrptw'; accepted: ptsp, pcvrp, vrpsd, vrpsd-detour"):
        information_of("svrptw", day, 5, 0)
