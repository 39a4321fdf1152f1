"""How far a solver's adapter stays from the stored reference solutions of the 48 VRP variants.

    python -m tests.benchmarks.reference_gap FOLDER --solver pyvrp --time-limit 2 --instances 16

FOLDER holds ``references/mtvrp/{variant}_50.npz``. Both costs are our checker's: of the solver's
routes, and of the stored ones. The references were found in 10 s an instance on data rounded to a
thousandth, so that some of them miss a window or a limit by as much; the table counts those, which
our solvers may not follow.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.solver import Budget, Solver
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.multi_task import VARIANTS, Variant, variant_by_name
from nco.envs.checker import Report, check_routes, routes_from_actions
from tests.multi_task import reference

SIZE, SEED = 50, 0
STATED_ERROR = 1e-5
"""A stored cost may differ from ours by this part: it was summed in float32 lengths."""


@dataclass(frozen=True)
class Row:
    """One variant's costs, an entry for each instance."""

    variant: str
    ours: np.ndarray
    reference: np.ndarray
    reference_broken: int
    """Reference solutions that break a constraint by more than the checker's tolerance."""
    feasible: int

    @property
    def gap(self) -> float:
        """Of the means, in per cent."""
        return 100 * float(self.ours.mean() / self.reference.mean() - 1)

    def cells(self) -> list[str]:
        """One line of the table."""
        gaps = 100 * (self.ours / self.reference - 1)
        return [
            self.variant,
            f"{self.ours.mean():.4f}",
            f"{self.reference.mean():.4f}",
            f"{self.gap:+.3f}",
            f"{gaps.mean():+.3f}",
            f"{gaps.max():+.3f}",
            f"{int((gaps < -1e-3).sum())}/{int((gaps > 1e-3).sum())}",
            f"{self.feasible}/{len(self.ours)}",
            str(self.reference_broken),
        ]


COLUMNS = ("variant", "mean cost", "reference", "gap of the means %", "mean gap %", "worst gap %",
           "better/worse", "feasible", "references broken")  # fmt: skip


def measure(folder: Path, variant: Variant, solver: Solver, budget: Budget, count: int) -> Row:
    """Solve the first instances of a variant and recompute both costs."""
    stored_batch, stored = reference(folder, variant, SIZE)
    batch = stored_batch[:count]
    solutions = solver.solve(batch, budget, SEED)
    reports = [
        _replay(one, actions)
        for one, actions in zip(unbatch(batch), stored["reference_actions"], strict=False)
    ]
    costs = np.array([report.cost for report in reports])
    np.testing.assert_allclose(costs, stored["reference_cost"][:count], rtol=STATED_ERROR)
    return Row(
        variant=variant.name,
        ours=np.array([solution.cost for solution in solutions]),
        reference=costs,
        reference_broken=sum(not report.feasible for report in reports),
        feasible=sum(solution.feasible for solution in solutions),
    )


def _replay(one: Instance, actions: np.ndarray) -> Report:
    return check_routes(one, *routes_from_actions(one, actions.tolist()))


def table(rows: list[Row]) -> str:
    """In Markdown, the variants in the order of `VARIANTS`."""
    lines = [list(COLUMNS), ["---"] + ["---:"] * (len(COLUMNS) - 1), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Print the table; progress goes to stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--solver", choices=("pyvrp", "ortools"), default="pyvrp")
    parser.add_argument("--time-limit", type=float, default=2.0, help="seconds an instance")
    parser.add_argument("--instances", type=int, default=16, help="the first of the 64 stored")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=[variant.name for variant in VARIANTS])
    given = parser.parse_args()
    workers: int = given.workers
    solver = {
        "pyvrp": PyVRPSolver(num_workers=workers),
        "ortools": ORToolsSolver(num_workers=workers),
    }[given.solver]
    variants = [variant_by_name(name) for name in given.variants]
    console = Console(stderr=True)
    rows: list[Row] = []
    for variant in track(variants, f"{solver.name}, {given.time_limit:g} s", console=console):
        row = measure(given.folder, variant, solver, Budget(given.time_limit), given.instances)
        rows.append(row)
        console.print(f"{row.variant}: {row.gap:+.3f} %")
    gaps = np.array([row.gap for row in rows])
    print(
        f"{solver.name}, {given.time_limit:g} s, first {given.instances} instances of {SIZE} "
        f"customers, {workers} at a time; gap over all variants: mean {gaps.mean():+.3f} %, "
        f"worst {gaps.max():+.3f} %\n\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
