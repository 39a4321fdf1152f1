"""``nco data``: instances from a seed, conversion, and a look inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nco import cli_city, cli_osrm

app = typer.Typer(help="Generate, convert and inspect instances.", no_args_is_help=True)
app.add_typer(cli_osrm.app, name="osrm")
app.add_typer(cli_city.app, name="city")

Rounding = Annotated[
    str | None,
    typer.Option(
        help="Of Euclidean lengths, where the file does not state it: none, nearest, ceil, trunc, "
        "dimacs (cut to one decimal) or exact (to thousandths)."
    ),
]


@app.command()
def generate(
    problem: Annotated[str, typer.Argument(help="tsp, cvrp, vrptw, ..., mtvrp-16, ...")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .json file for the whole batch, or a path with {name} for a file each.",
        ),
    ],
    num_customers: Annotated[
        int, typer.Option("--num-customers", "-n", help="For a TSP, all nodes.")
    ],
    batch: Annotated[int, typer.Option("--batch", "-b", help="Number of instances.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same instances.")] = 0,
    distribution: Annotated[str, typer.Option(help="Of the customers' places.")] = "uniform",
    capacity: Annotated[
        int | None,
        typer.Option(
            help="Of every vehicle; by default the published one of the number of customers.",
            show_default=False,
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            help="Of a mixed set (mtvrp-16, -24, -48): draw only this one; may be repeated.",
            show_default=False,
        ),
    ] = None,
    cities: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a city map or of a collection; for atsp, acvrp, acvrptw, ...",
            show_default=False,
        ),
    ] = None,
    part: Annotated[
        str, typer.Option(help="Of a collection: train, validation, test or all.")
    ] = "test",
    vehicles: Annotated[
        tuple[int, int] | None,
        typer.Option(
            help="For pvrp and pvrp-zones: smallest and largest number; by default 2 10.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="For pvrp and pvrp-zones: random, angular, clustered or grid; by default each "
            "instance draws one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw fresh instances and write them.

    The problems are tsp, atsp, all variants of the CVRP from ovrp to mdovrpmbltw by their names in
    the literature, and the mixed sets mtvrp-16, mtvrp-24 and mtvrp-48, whose instances draw a
    variant each. With vehicles that differ they are pvrp and pvrp-zones. On city maps they are
    atsp, acvrp, acvrptw, aovrp, ..., amtvrp-16 and so on.
    """
    from nco import data_files
    from nco.api import generate as draw
    from nco.data.city_map import part_by_name
    from nco.data.fleet_generators import fleet_law

    drawn = draw(
        problem,
        num_customers,
        batch,
        seed,
        distribution,
        capacity,
        variant,
        cities,
        part_by_name(part),
        fleet_law(vehicles, profile),
    )
    names = [f"{problem}{num_customers}-{seed}-{i}" for i in range(1, batch + 1)]
    for path in data_files.write_all(drawn, names, output):
        typer.echo(path)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="VRPLIB, TSPLIB, Solomon text or JSON.")],
    target: Annotated[
        Path, typer.Argument(help="The suffix says the format: .vrp .tsp .atsp .txt .json")
    ],
    rounding: Rounding = None,
) -> None:
    """Write an instance in another format.

    What the format cannot state is refused, not dropped.
    """
    from nco import data_files, solve_files
    from nco.data.files import read

    instance = read(source, rounding=rounding)
    names = solve_files.instance_names(source, instance.batch_size[0])
    for path in data_files.write_all(instance, names, target):
        typer.echo(path)


@app.command()
def inspect(
    files: Annotated[list[Path], typer.Argument(help="Instances of any format.")],
    rounding: Rounding = None,
) -> None:
    """Print what instances hold: nodes, demands, attributes."""
    from nco import data_files, solve_files

    named = [entry for path in files for entry in solve_files.read_named(path, rounding)]
    data_files.print_facts(named)
