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


Epochs = Annotated[
    int | None,
    typer.Option(help="For dvrptw: of a day; by default 5.", show_default=False),
]
Rate = Annotated[
    int | None,
    typer.Option(
        help="For dvrptw: requests that come in at the start of an epoch, those included that are "
        "dropped because they could not be served; by default so many that a day has twice the "
        "customers.",
        show_default=False,
    ),
]
EpochLength = Annotated[
    float | None,
    typer.Option(
        help="For dvrptw: by default the day holds two more epochs than have requests.",
        show_default=False,
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        help="For dvrptw: from the start of an epoch until its routes leave; by default an epoch.",
        show_default=False,
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
    distribution: Annotated[
        str,
        typer.Option(
            help="Of the customers' places. Of svrptw: correlated, or svrpbench-paper and "
            "svrpbench-code, where planning with scenarios is worth nothing (VSS about zero)."
        ),
    ] = "uniform",
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
    epochs: Epochs = None,
    rate: Rate = None,
    epoch_length: EpochLength = None,
    margin: Margin = None,
    windows: Annotated[
        tuple[float, float] | None,
        typer.Option(
            help="For dvrptw: shortest and longest window, in a day of 4.6; by default 0.5 1.5.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Draw fresh instances and write them.

    The problems are tsp, atsp, all variants of the CVRP from ovrp to mdovrpmbltw by their names in
    the literature, and the mixed sets mtvrp-16, mtvrp-24 and mtvrp-48, whose instances draw a
    variant each. With vehicles that differ they are pvrp and pvrp-zones. On city maps they are
    atsp, acvrp, acvrptw, aovrp, ..., amtvrp-16 and so on. Customers of dvrptw are what requests of
    a day are drawn from, epoch by epoch.
    """
    from nco import data_files
    from nco.api import generate as draw
    from nco.data.city_map import part_by_name
    from nco.data.dynamic_requests import request_law
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
        request_law(epochs, rate, epoch_length, margin, windows),
    )
    names = [f"{problem}{num_customers}-{seed}-{i}" for i in range(1, batch + 1)]
    for path in data_files.write_all(drawn, names, output):
        typer.echo(path)


@app.command()
def requests(
    source: Annotated[Path, typer.Argument(help="Instances with time windows, of any format.")],
    target: Annotated[Path, typer.Argument(help="A .json file.")],
    epochs: Epochs = None,
    rate: Rate = None,
    epoch_length: EpochLength = None,
    margin: Margin = None,
    seed: Annotated[int, typer.Option(help="Names the days; another seed, other days.")] = 0,
    rounding: Rounding = None,
) -> None:
    """Make instances of dvrptw whose requests are drawn from the customers of static ones.

    As in the EURO meets NeurIPS 2022 competition: place, demand, service and window of a request
    are drawn independently of each other.
    """
    import torch

    from nco import data_files, solve_files
    from nco.baselines.solver import require_seed
    from nco.data.dynamic_requests import RequestLaw, request_law, with_requests
    from nco.data.files import read

    law = request_law(epochs, rate, epoch_length, margin, None) or RequestLaw()
    generator = torch.Generator().manual_seed(require_seed(seed))
    days = with_requests(read(source, rounding=rounding), law, generator)
    names = solve_files.instance_names(source, days.batch_size[0])
    for path in data_files.write_all(days, names, target):
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
