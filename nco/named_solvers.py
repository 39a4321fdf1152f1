"""Any solver by its name: a classical one, a shipped model, or a model of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nco.baselines.solver import Solver
from nco.data.errors import InputError


def solver_by_name(
    name: str | Path,
    *,
    samples: int | None = None,
    augment: int | None = None,
    search: str | Mapping[str, Any] | None = None,
    search_options: Sequence[str] = (),
    problem: str | None = None,
) -> Solver:
    """The solver of this name: a classical one, a shipped model, or the folder of a model.

    Args:
        samples: trajectories that a model draws for each instance; None is greedy.
        augment: 8 lets a model see each instance in its eight symmetric positions.
        search: search around a model: the search's name, or its values with ``type``, as
            `nco.search_config` has them.
        search_options: of the search, each "name=value".
        problem: for solvers that choose by scenarios: which one says what is uncertain.

    Raises:
        InputError: there is no such solver, model or search; a classical solver is given options of
            models, or a search samples or augment; what the solver needs is not installed.
    """
    from nco.scenario_config import SCENARIO_SOLVERS, scenario_solver_from_name
    from nco.solver_config import SOLVER_NAMES, solver_from_name

    text = str(name)
    if problem is not None and text not in SCENARIO_SOLVERS:
        raise InputError(
            f"problem {problem} is given with solver {text!r}; accepted with: "
            f"{', '.join(SCENARIO_SOLVERS)}"
        )
    if text in (*SOLVER_NAMES, *SCENARIO_SOLVERS):
        for option, value in (("samples", samples), ("augment", augment), ("search", search)):
            if value is not None:
                raise InputError(
                    f"{option} is {value}, but {text} is no model; accepted: no {option}"
                )
        if text in SCENARIO_SOLVERS:
            return scenario_solver_from_name(text, problem)
        return solver_from_name(text)
    from nco.model_files import shipped_folders
    from nco.neural_solver import load
    from nco.search_config import search_config

    shipped = list(shipped_folders())
    if text not in shipped and not Path(text).is_dir():
        raise InputError(
            f"solver {text!r} is unknown; accepted: {', '.join(SOLVER_NAMES)}, with a problem "
            f"{', '.join(SCENARIO_SOLVERS)}, a shipped model "
            f"({', '.join(shipped) or 'there is none'}), or the folder of a model"
        )
    if samples is not None and samples < 1:
        raise InputError(f"samples is {samples}; accepted: at least 1")
    if search is None and search_options:
        raise InputError(f"search options {', '.join(search_options)} are given without a search")
    model = load(text, samples=samples)
    if search is not None:
        if samples is not None or augment is not None:
            raise InputError(
                "samples and augment are given with a search; accepted: options of the search"
            )
        return model.searching(search_config(search, search_options))
    return model if augment is None else dataclasses.replace(model, augment=augment)
