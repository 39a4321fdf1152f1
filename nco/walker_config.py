"""What decides on the way by name, beside models and plans that are followed."""

from __future__ import annotations

from typing import ClassVar, Literal

from nco.baselines.reoptimisation import Share
from nco.solver_config import (
    BaseSolverConfig,
    ORToolsConfig,
    SolverConfig,
    SolverInfo,
    named,
    solver_rows,
)


class ReoptimisationConfig(BaseSolverConfig):
    """See `nco.baselines.reoptimisation.Reoptimisation`; the budget is of a plan."""

    problems: ClassVar[tuple[str, ...]] = ("spctsp",)
    note: ClassVar[str] = "another solver plans with expected prizes, again and again on the way"

    solver: Literal["reoptimisation"]
    share: Share = "first"
    """How much of a plan is followed before the next one."""
    by: SolverConfig = ORToolsConfig(solver="ortools")


def available_walkers() -> list[SolverInfo]:
    """What decides on the way, as `nco.solver_config.available_solvers` tells of solvers."""
    return solver_rows(named([ReoptimisationConfig]))
