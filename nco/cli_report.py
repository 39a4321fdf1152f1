"""``nco report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nco.data.errors import InputError


def report(
    store: Annotated[
        Path | None,
        typer.Argument(help="A result store of nco benchmark.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; the store by default."),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="Write the store's figures to this .json file too, for documents."),
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option(
            help="Fill the tables of this document from the figures in docs/results beside it, "
            "between <!-- table: NAME [SUITE] --> and <!-- end of table -->."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether the document is up to date.")
    ] = False,
) -> None:
    """Write the report of a result store, Markdown and HTML.

    The HTML page is self-contained, with plots. With --readme a document's tables are filled; with
    --check it only exits with 1 where they are not as the figures.
    """
    from nco.data.text_file import write_text
    from nco.readme_tables import fill
    from nco.report import write_report
    from nco.store import open_store
    from nco.stored_results import write_results

    if store is None and readme is None:
        raise InputError("neither a store nor --readme is given; accepted: one of them, or both")
    if store is None and (summary is not None or output is not None):
        raise InputError("--summary and --output are of a store, and none is given")
    if check and readme is None:
        raise InputError("--check is of a document; accepted: with --readme FILE")
    if store is not None:
        for path in write_report(store, output):
            typer.echo(path)
    if store is not None and summary is not None:
        write_results(open_store(store), summary)
        typer.echo(summary)
    if readme is None:
        return
    filled = fill(readme)
    if filled == readme.read_text(encoding="utf-8"):
        typer.echo(f"{readme} is up to date")
    elif check:
        typer.echo(f"{readme} differs from its figures; nco report --readme {readme}", err=True)
        raise typer.Exit(1)
    else:
        write_text(readme, filled)
        typer.echo(readme)
