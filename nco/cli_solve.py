"""``nco solve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nco.cli_data import Rounding


def solve(
    files: Annotated[
        list[Path], typer.Argument(help="Instances: VRPLIB, TSPLIB, Solomon text or JSON.")
    ],
    solver: Annotated[
        str, typer.Option(help="A name of nco solvers or nco models, or the folder of a model.")
    ],
    time_limit: Annotated[
        float | None, typer.Option(help="Wall seconds for each instance, set-up included.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Iterations of the solver's own kind, for exact repeats.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Solutions that a model draws for each instance.")
    ] = None,
    augment: Annotated[
        int | None, typer.Option(help="8: a model sees each instance in its 8 symmetries.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    rounding: Rounding = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            help="A solution file to compute the gap to; one for each instance, in order."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Solution file by suffix: .json, .sol, .tour, .geojson. {name} stands for the "
            "instance.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Drawing: .png or .html. {name} stands for the instance.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Solve instances; prints cost, routes, feasibility and seconds."""
    from nco import solve_files
    from nco.api import solve as solve_instance
    from nco.api import solver_by_name
    from nco.baselines.solver import Budget, SolveFailed, UnsupportedError
    from nco.data.errors import shortened

    budget = Budget(time_limit=time_limit, iterations=iterations)
    found = solver_by_name(solver, samples=samples, augment=augment)
    jobs = solve_files.plan(
        files, rounding=rounding, references=reference or [], output=output, plot=plot
    )
    rows = []
    failures = []
    try:
        for job in jobs:
            try:
                (solution,) = solve_instance(
                    job.instance,
                    solver=found,
                    time_limit=budget.time_limit,
                    iterations=budget.iterations,
                    seed=seed,
                    progress=not quiet,
                )
            except SolveFailed as error:
                failures.append(f"{job.name}: {error}")
                continue
            except UnsupportedError as error:
                raise UnsupportedError(f"{job.name}: {error}") from error
            rows.append((job, solution))
            job.write(solution)
            if not solution.feasible:
                told = shortened(solution.violations)
                failures.append(f"{job.name}: the solution is infeasible: {told}")
    finally:
        solve_files.print_table(rows)
    if failures:
        raise SolveFailed("\n".join(failures))
