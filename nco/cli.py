"""The command ``nco``.

Each command imports what it needs when it runs, so that help costs nothing.

Exit codes: 0 done; 1 the work failed or something is infeasible; 2 bad usage or bad input;
130 interrupted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nco import cli_data, cli_model, cli_report, cli_solve
from nco.data.errors import InputError, shortened
from nco.data.osrm_errors import OSRMError

if TYPE_CHECKING:
    from nco.model_files import ModelCard

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

MAX_REASONS = 5
"""Of failed runs, on the screen; the report has all."""

app = typer.Typer(
    name="nco",
    help="Neural combinatorial optimisation for routing: train, solve, benchmark.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(cli_solve.solve)
app.add_typer(cli_data.app, name="data")
app.add_typer(cli_model.app, name="model")

Config = Annotated[str, typer.Argument(help="A YAML file or the name of a shipped config.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[a.b=value]...", help="Changes to the config.", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.command()
def train(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of an interrupted run to go on with.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a policy; prints the folder of the run.

    A run that was interrupted goes on with --resume FOLDER.
    """
    from nco.config_files import apply_overrides, load_yaml, parse
    from nco.data.dynamic_requests import DYNAMIC_PROBLEMS

    values = apply_overrides(load_yaml(config), overrides or [])
    try:
        if values.get("problem") in DYNAMIC_PROBLEMS:
            # days are dispatched request by request, not node by node
            from nco.dispatch_config import DispatchTrainConfig
            from nco.dispatch_training import train_dispatcher

            days = parse(DispatchTrainConfig, values, config)
            typer.echo(train_dispatcher(days, resume=resume, progress=not quiet))
        else:
            from nco.train_config import TrainConfig

            parsed = parse(TrainConfig, values, config)
            from nco.training import train as run_training

            typer.echo(run_training(parsed, resume=resume, progress=not quiet))
    except KeyboardInterrupt as stop:
        _interrupted(str(stop) or "before the first epoch")


@app.command()
def benchmark(config: Config, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Run solvers over suites into a resumable store; report.

    Exits with 1 where a run ended without a feasible solution; runs that a solver refused because
    it cannot express the instance are part of the report, not failures.
    """
    from nco.benchmark_config import BenchmarkConfig
    from nco.config_files import apply_overrides, load_yaml, parse

    values = apply_overrides(load_yaml(config), overrides or [])
    parsed = parse(BenchmarkConfig, values, config)
    from nco.benchmark import run_benchmark
    from nco.report import write_report
    from nco.store import open_store

    try:
        folder = run_benchmark(parsed, progress=not quiet)
    except KeyboardInterrupt:
        _interrupted("the same command goes on with what is missing")
    for path in write_report(folder, folder):
        typer.echo(path)
    records = open_store(folder).records().values()
    unsolved = [r for r in records if r.status not in ("ok", "unsupported")]
    reasons = Counter((r.solver, r.status, r.error or shortened(r.violations)) for r in unsolved)
    for (name, status, reason), count in reasons.most_common(MAX_REASONS):
        typer.echo(f"{name}: {count} {status}: {reason}", err=True)
    if unsolved:
        typer.echo(f"{len(unsolved)} of {len(records)} runs gave no feasible solution", err=True)
        raise typer.Exit(FAILED)


app.command()(cli_report.report)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A result store or a solution file.")],
    instance: Annotated[
        Path | None, typer.Option(help="Of a solution file that does not hold its instance.")
    ] = None,
    rounding: cli_data.Rounding = None,
) -> None:
    """Recompute costs and constraints from stored routes.

    Exits with 1 on any mismatch.
    """
    from nco.verify import verify_solution, verify_store

    if not path.is_dir():
        found = verify_solution(path, instance, rounding)
    elif instance is None and rounding is None:
        found = verify_store(path)
    else:
        raise InputError(f"{path} is a result store; accepted: no --instance and no --rounding")
    for mismatch in found.mismatches:
        typer.echo(mismatch, err=True)
    wrong = f"{len(found.mismatches)} mismatches" if found.mismatches else "all as stored"
    missing = f"; {found.missing} runs of the benchmark are not there" if found.missing else ""
    many = "solution" if found.checked == 1 else "solutions"
    typer.echo(f"{found.checked} {many} recomputed: {wrong}{missing}")
    if not found.ok:
        raise typer.Exit(FAILED)


@app.command()
def information(
    problem: Annotated[str, typer.Argument(help="ptsp, pcvrp, ...: part is not known beforehand.")],
    num_customers: Annotated[
        int, typer.Option("--num-customers", "-n", help="At most 7; for a TSP, nodes, at most 8.")
    ] = 6,
    batch: Annotated[int, typer.Option("--batch", "-b", help="Number of instances.")] = 8,
    scenarios: Annotated[int, typer.Option(help="Of each instance.")] = 200,
    seed: Annotated[int, typer.Option(help="Of instances and scenarios.")] = 0,
    distribution: Annotated[
        str, typer.Option(help="As of nco data generate: of svrptw, its preset.")
    ] = "uniform",
) -> None:
    """Print what knowing is worth on tiny instances: EVPI and VSS.

    Every plan is tried. Where the value of the stochastic solution is about 0, the problem tests
    nothing that a deterministic one does not, and a line says so.
    """
    from nco.api import generate
    from nco.information import NOTHING, information_of

    instances = generate(problem, num_customers, batch, seed, distribution)
    found = information_of(problem, instances, scenarios, seed)
    rows = {
        "wait and see (WS)": found.wait_and_see,
        "best plan (RP)": found.recourse,
        "mean-value plan (EEV)": found.mean_value,
        "EVPI = RP - WS": found.perfect_information,
        "VSS = EEV - RP": found.stochastic_solution,
    }
    for name, value in rows.items():
        typer.echo(f"{name:<22} {value:.4f} ({value / found.recourse:.2%} of RP)")
    if found.stochastic_solution < NOTHING * found.recourse:
        typer.echo(
            f"VSS is about zero (below {NOTHING:.1%} of RP): at this size the plan for the means "
            "is as good as any, and comparing plans here says nothing about uncertainty"
        )


@app.command()
def solvers() -> None:
    """List the solvers, and what to install for more."""
    from rich.console import Console
    from rich.table import Table

    from nco.scenario_config import available_scenario_solvers
    from nco.solver_config import available_solvers
    from nco.strategy_config import available_strategies
    from nco.walker_config import available_walkers

    table = Table("solver", "installed", "problems", "note")
    known = (
        *available_solvers(), *available_scenario_solvers(), *available_strategies(),
        *available_walkers(),
    )  # fmt: skip
    for info in known:
        here = "yes" if info.installed else f'no: pip install "nco-routing[{info.extra}]"'
        table.add_row(info.name, here, ", ".join(info.problems), info.note)
    Console(markup=False, highlight=False).print(table)


@app.command()
def models() -> None:
    """List the models that come with the package."""
    from rich.console import Console
    from rich.table import Table

    from nco.model_files import shipped_models

    cards = shipped_models()
    if not cards:
        typer.echo("no models are shipped; nco train makes one, nco model export one to ship")
        return
    table = Table(
        "model", "problem", "policy", "customers", "distribution", "instances seen", "gap"
    )
    for card in cards:
        trained = card.trained_on
        sizes = trained.num_customers
        told = f"{sizes[0]} to {sizes[1]}" if isinstance(sizes, tuple) else str(sizes)
        table.add_row(
            card.name, card.problem, card.policy.type, told, trained.distribution,
            f"{trained.instances:,}", _gap_told(card),
        )  # fmt: skip
    Console(markup=False, highlight=False).print(table)


def _gap_told(card: ModelCard) -> str:
    """The last score on a card that has a gap."""
    scores = [s for s in card.scores if s.gap_percent is not None]
    return f"{scores[-1].gap_percent:+.2f} % to {scores[-1].reference}" if scores else "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; the one place where bad input becomes a message.

    Args:
        arguments: without the program's name; None takes those of the process.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="nco")
    except InputError as error:
        _fail(error, BAD_INPUT)
    except OSRMError as error:
        _fail(error, FAILED)
    except Exception as error:
        from nco.baselines.solver import SolveFailed

        if not isinstance(error, SolveFailed):
            raise
        _fail(error, FAILED)


def _interrupted(told: str) -> NoReturn:
    """End after Ctrl-C, as a shell expects it, with a word on how to go on."""
    typer.echo(f"interrupted; {told}", err=True)
    raise typer.Exit(INTERRUPTED) from None


def _fail(error: Exception, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)
