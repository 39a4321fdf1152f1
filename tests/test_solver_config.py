"""The solvers by name, and their configuration."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.solver import (
    MissingExtraError,
)
from nco.data.errors import InputError
from nco.solver_config import (
    SOLVER_NAMES,
    ORToolsConfig,
    SolverConfig,
    available_solvers,
    build_solver,
    solver_from_name,
)


def test_every_name_builds_the_solver_of_that_name() -> None:
    """`SOLVER_NAMES`, `available_solvers` and the built solvers tell the same."""
    assert [info.name for info in available_solvers()] == list(SOLVER_NAMES)
    for info in available_solvers():
        assert info.installed
        assert solver_from_name(info.name).name == info.name
    assert {info.extra for info in available_solvers()} == {None, "hgs", "fast-tsp", "elkai"}


def test_an_unknown_name_lists_the_accepted_ones() -> None:
    """And so does the configuration."""
    with pytest.raises(InputError, match="'gurobi' is unknown; accepted: pyvrp, ortools, nearest"):
        solver_from_name("gurobi")
    with pytest.raises(ValidationError, match="elkai"):
        TypeAdapter(SolverConfig).validate_python({"solver": "gurobi"})


def test_configuration_reaches_the_solver() -> None:
    """Options are passed on; unknown ones and wrong values are refused."""
    read = TypeAdapter(SolverConfig).validate_python
    config = read({"solver": "ortools", "metaheuristic": "tabu_search", "num_workers": 2})
    assert isinstance(config, ORToolsConfig)
    assert build_solver(config) == ORToolsSolver(None, "tabu_search", 2)
    for wrong in ({"time": 3}, {"num_workers": 0}, {"metaheuristic": "luck"}):
        with pytest.raises(ValidationError):
            read({"solver": "ortools"} | wrong)
    with pytest.raises(InputError, match="metaheuristic is 'luck'"):
        ORToolsSolver(metaheuristic="luck")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install` of the extra is in the message."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install nco-routing\[hgs\]"):
        solver_from_name("hgs")
    assert not available_solvers()[0].installed
    assert solver_from_name("nearest").name == "nearest"
