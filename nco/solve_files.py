"""What ``nco solve`` does beside solving: reads, compares, prints and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nco.cli_files import output_paths
from nco.data.batching import unbatch
from nco.data.errors import InputError, shortened
from nco.data.files import (
    SOLUTION_SUFFIXES,
    read,
    read_solution,
    require_expressible,
    write_solution,
)
from nco.data.instance import Instance
from nco.data.plot import PLOT_SUFFIXES, require_drawable, write_plot
from nco.data.solution import Solution
from nco.envs.checker import check_routes
from nco.statistics import gap
from nco.strategy_config import STRATEGIES


@dataclass(frozen=True)
class Job:
    """One instance to solve, and what to do with its solution."""

    name: str
    instance: Instance
    reference: float | None
    """The cost that the gap is relative to, recomputed from the reference's routes."""
    output: Path | None
    plot: Path | None
    hint: str = ""
    """Ends the message of a solver that cannot solve such an instance."""
    write_map: Callable[[Solution], None] | None = None
    """Writes what only stops on the globe have, where that is asked for."""

    def write(self, solution: Solution) -> None:
        """Write the solution and its drawing, where they are asked for."""
        if self.output is not None:
            write_solution(solution, self.output)
        if self.plot is not None:
            write_plot(solution, self.plot)
        if self.write_map is not None:
            self.write_map(solution)


def instance_names(path: Path, count: int) -> list[str]:
    """What the instances of a file are called: as the file, numbered from 1 if it holds several."""
    return [path.stem] if count == 1 else [f"{path.stem}-{i}" for i in range(1, count + 1)]


def read_named(path: Path, rounding: str | None) -> list[tuple[str, Instance]]:
    """The instances of a file, each with its name and without padding."""
    singles = unbatch(read(path, rounding=rounding))
    return list(zip(instance_names(path, len(singles)), singles, strict=True))


def plan(
    files: Sequence[Path],
    *,
    rounding: str | None = None,
    references: Sequence[Path] = (),
    output: Path | None = None,
    plot: Path | None = None,
) -> list[Job]:
    """The jobs of instance files, see `jobs_of`.

    Raises:
        InputError: a file cannot be read, or as `jobs_of`.
    """
    named = [entry for path in files for entry in read_named(path, rounding)]
    return jobs_of(named, references=references, output=output, plot=plot)


def jobs_of(
    named: Sequence[tuple[str, Instance]],
    *,
    references: Sequence[Path] = (),
    output: Path | None = None,
    plot: Path | None = None,
) -> list[Job]:
    """Everything that can be known to be wrong before the first instance is solved.

    Raises:
        InputError: a reference is missing, too many or infeasible, or a result could not be
            written.
    """
    names = [name for name, _ in named]
    if references and len(references) != len(named):
        raise InputError(
            f"{len(references)} references for {len(named)} instances; accepted: one for each, in "
            "the same order, or none"
        )
    outputs = output_paths(output, names, SOLUTION_SUFFIXES) if output else [None] * len(named)
    plots = output_paths(plot, names, PLOT_SUFFIXES) if plot else [None] * len(named)
    jobs = []
    for i, (name, instance) in enumerate(named):
        target = outputs[i]
        if plot:
            require_drawable(instance, name)
        if target is not None:
            require_expressible(instance, target)
        cost = reference_cost(references[i], instance) if references else None
        hint = "" if instance.dispatch is None else f"; such days are for {', '.join(STRATEGIES)}"
        jobs.append(Job(name, instance, cost, target, plots[i], hint))
    return jobs


def reference_cost(path: Path, instance: Instance) -> float:
    """The cost of a solution file's routes by our checker; the file's own claim is not read.

    Raises:
        InputError: the file cannot be read, or its routes are infeasible for the instance.
    """
    stored = read_solution(path)
    report = check_routes(instance, stored.routes, stored.depots, vehicles=stored.vehicles)
    if not report.feasible:
        raise InputError(f"reference {path} does not fit: {shortened(report.violations)}")
    return report.cost


def print_table(rows: Sequence[tuple[Job, Solution]]) -> None:
    """One line for each solution; the gap where the job has a reference."""
    if not rows:
        return
    table = Table("instance", "solver")
    for column in ("cost", "routes", "feasible", "seconds"):
        table.add_column(column, justify="right")
    with_gap = any(job.reference is not None for job, _ in rows)
    if with_gap:
        table.add_column("gap", justify="right")
    for job, solution in rows:
        cells = [
            job.name,
            solution.solver,
            number(solution.cost),
            str(len(solution.routes)),
            "yes" if solution.feasible else "no",
            f"{solution.seconds:.2f}",
        ]
        if with_gap:
            cells.append(_gap(solution, job.reference))
        table.add_row(*cells)
    Console(markup=False, highlight=False).print(table)


def number(value: float) -> str:
    """At most four decimals, none that say nothing."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _gap(solution: Solution, reference: float | None) -> str:
    if reference is None or not reference > 0 or not solution.feasible:
        return "-"
    return f"{100 * gap(solution.cost, reference):.2f} %"
