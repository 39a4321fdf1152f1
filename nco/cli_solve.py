"""``nco solve``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from nco.cli_data import Rounding


def solve(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Instances: VRPLIB, TSPLIB, Solomon text or JSON. With --osrm or --city: stops, "
            "as CSV with the columns longitude, latitude and, where wanted, name, depot, demand, "
            "tw_start, tw_end (seconds or HH:MM) and service (seconds), or as GeoJSON points with "
            "such properties. The first is the depot where none is marked."
        ),
    ],
    solver: Annotated[
        str | None,
        typer.Option(
            help="A name of nco solvers or nco models, or the folder of a model. By default the "
            "shipped model that fits the instance, with a short search.",
            show_default=False,
        ),
    ] = None,
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
    search: Annotated[
        str | None,
        typer.Option(
            help="Search around a model: sampling, local-search, ruin-recreate, sgbs, "
            "eas-embedding, eas-layer, active, rrc, or pyvrp (begins with the model's solution)."
        ),
    ] = None,
    search_option: Annotated[
        list[str] | None, typer.Option(help="Of the search, name=value; may be given again.")
    ] = None,
    problem: Annotated[
        str | None,
        typer.Option(
            help="For solvers that choose by scenarios: ptsp, pcvrp, vrpsd, ...: what is uncertain."
        ),
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
        Path | None,
        typer.Option(
            help="Drawing: .png or .html. {name} stands for the instance. Of dvrptw, its first day."
        ),
    ] = None,
    osrm: Annotated[
        str | None,
        typer.Option(help="Stops: address of the server that knows the streets."),
    ] = None,
    city: Annotated[
        Path | None,
        typer.Option(help="Stops: a city map whose points stand for them."),
    ] = None,
    capacity: Annotated[float | None, typer.Option(help="Stops: of each vehicle.")] = None,
    vehicles: Annotated[int | None, typer.Option(help="Stops: at most so many routes.")] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            help="Stops: metres within which each must have a street; by default 500.",
            show_default=False,
        ),
    ] = None,
    geojson: Annotated[
        Path | None,
        typer.Option(help="Stops: timetable and routes along the streets. {name} as above."),
    ] = None,
    map_page: Annotated[
        Path | None,
        typer.Option("--map", help="Stops: the same as an .html page that needs no network."),
    ] = None,
    scenarios: Annotated[
        int | None,
        typer.Option(
            help="For dvrptw: days of each instance, by default 20; the budget is of an epoch.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Solve instances: cost, routes, feasibility and seconds.

    Instances of dvrptw are solved by strategies (dispatch-greedy, ...), which dispatch requests
    that come over the day.
    """
    from nco import shipped, solve_days, solve_files, solve_stops
    from nco.api import solve as solve_instance
    from nco.baselines.solver import Budget, SolveFailed, UnsupportedError
    from nco.data.errors import InputError, shortened

    budget = Budget(time_limit=time_limit, iterations=iterations)
    if solver is not None and solve_days.wanted_for(solver):
        given = {
            "samples": samples, "augment": augment, "search": search,
            "search-option": search_option, "reference": reference, "osrm": osrm,
            "city": city, "capacity": capacity, "vehicles": vehicles, "radius": radius,
            "geojson": geojson, "map": map_page,
        }  # fmt: skip
        named = [f"--{name}" for name, value in given.items() if value is not None]
        if named:
            raise InputError(
                f"{', '.join(named)} given with {solver}; accepted with days of requests: none of "
                "these"
            )
        days = solve_days.DayOptions(scenarios, rounding, output, plot)
        solve_days.solve_days(files, solver, budget, seed, days, progress=not quiet)
        return
    if scenarios is not None:
        raise InputError(
            f"--scenarios is {scenarios}, but {solver or 'a model'} does not dispatch days; "
            "accepted: none"
        )
    solvers = shipped.Solvers(
        solver,
        budget,
        samples=samples,
        augment=augment,
        search=search,
        search_options=search_option or (),
        tell=lambda told: typer.echo(told, err=True),
        problem=problem,
    )
    options = solve_stops.StopOptions(osrm, city, capacity, vehicles, radius, geojson, map_page)
    rows = []
    failures = []
    with contextlib.ExitStack() as stack:
        if options.wanted_for(files):
            jobs = stack.enter_context(
                solve_stops.plan(
                    files,
                    options,
                    rounding=rounding,
                    references=reference or [],
                    output=output,
                    plot=plot,
                )
            )
        else:
            jobs = solve_files.plan(
                files, rounding=rounding, references=reference or [], output=output, plot=plot
            )
        stack.callback(solve_files.print_table, rows)
        # all of them before the first instance is solved: one may fit none
        chosen = [solvers.solver_for(job.name, job.instance) for job in jobs]
        for job, found in zip(jobs, chosen, strict=True):
            try:
                (solution,) = solve_instance(
                    job.instance,
                    solver=found,
                    time_limit=solvers.budget.time_limit,
                    iterations=solvers.budget.iterations,
                    seed=seed,
                    progress=not quiet,
                )
            except SolveFailed as error:
                failures.append(f"{job.name}: {error}")
                continue
            except UnsupportedError as error:
                raise UnsupportedError(f"{job.name}: {error}{job.hint}") from error
            rows.append((job, solution))
            job.write(solution)
            if not solution.feasible:
                told = shortened(solution.violations)
                failures.append(f"{job.name}: the solution is infeasible: {told}")
    if failures:
        raise SolveFailed("\n".join(failures))
