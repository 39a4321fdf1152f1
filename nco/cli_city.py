"""``nco data city``: maps of real and made-up cities, whole cities held out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="Maps of cities: points on their streets, and all ways between them.",
    no_args_is_help=True,
)

Roads = Annotated[
    Literal["osrm", "scipy"],
    typer.Option(
        help="What computes ways: OSRM, or SciPy's shortest paths with its speeds and turns."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="A new folder.")]


@app.command()
def build(
    extract: Annotated[Path, typer.Argument(help="An .osm.pbf, .osm.bz2 or .osm file.")],
    points: Annotated[int, typer.Option("--points", "-n", help="On streets, by their length.")],
    output: Output,
    name: Annotated[
        str | None, typer.Option(help="By default the folder's.", show_default=False)
    ] = None,
    roads: Roads = "osrm",
    osrm: Annotated[
        str | None,
        typer.Option(
            help="Address of a server with this map; by default one is run here.",
            show_default=False,
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            help="west,south,east,north in degrees: points only in it.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the points.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Build a map of a real city from an OpenStreetMap extract.

    All of the points can be reached from each other; more are drawn where some cannot.
    """
    from nco import city_files

    city = city_files.build(extract, points, output, name, roads, osrm, box, seed, not quiet)
    city_files.print_facts([city])
    typer.echo(output)


@app.command()
def synthetic(
    output: Output,
    kind: Annotated[
        Literal["grid", "radial", "organic", "mixed", "all"],
        typer.Option(help="Of the street patterns; all takes them in turn."),
    ] = "all",
    count: Annotated[int, typer.Option(help="Of cities.")] = 20,
    points: Annotated[int, typer.Option("--points", "-n", help="Of each city.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed gives the same cities.")] = 0,
    roads: Roads = "scipy",
    validation_share: Annotated[float, typer.Option(help="Of the cities.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="Of the cities, held out.")] = 0.2,
    quiet: Quiet = False,
) -> None:
    """Make up cities, each with a plan of its own: one-ways, main roads, rivers with few bridges.

    Writes a collection: a map of each city, and which are for training, validation and tests.
    """
    from nco import city_files

    cities = city_files.synthetic(
        output, kind, count, points, seed, roads, validation_share, test_share, not quiet
    )
    city_files.print_facts(cities)
    typer.echo(output)


@app.command()
def split(
    folder: Annotated[Path, typer.Argument(help="A folder of city maps.")],
    validation_share: Annotated[float, typer.Option(help="Of the cities.")] = 0.1,
    test_share: Annotated[float, typer.Option(help="Of the cities, held out.")] = 0.2,
) -> None:
    """Say which cities of a folder are for training, validation and tests, by name."""
    from nco import city_files

    for part, names in city_files.split(folder, validation_share, test_share).items():
        typer.echo(f"{part}: {', '.join(names)}")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A city map or a collection.")],
) -> None:
    """Print what maps hold and where they come from."""
    from nco import city_files
    from nco.data.city_map import load_cities

    city_files.print_facts(load_cities(folder))
