"""``nco model``: what is done with trained models beside solving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make trained models ready to be shipped.", no_args_is_help=True)


@app.callback()
def models() -> None:
    """Make trained models ready to be shipped."""


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="Folder of a run or of a model.")],
    name: Annotated[str, typer.Argument(help="What the model is to be called.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for it; by default that of the models that come with the package.",
            show_default=False,
        ),
    ] = None,
    reference_seconds: Annotated[
        float, typer.Option(help="Of PyVRP for each of 32 instances, for the gap; 0: no gap.")
    ] = 2.0,
    cities: Annotated[
        Path | None,
        typer.Option(help="Maps to check a model on that was trained on streets."),
    ] = None,
) -> None:
    """Write a model that can be shipped: small weights, and a card with scores.

    Weights are stored in bfloat16 where the mean cost of greedy solutions stays the same up to
    0.01 %; at most 10 MB.
    """
    from nco.data.errors import InputError
    from nco.model_export import export_model
    from nco.model_files import SHIPPED

    if Path(name).name != name or name in (".", ".."):
        raise InputError(f"name is {name!r}; accepted: a name without folders")
    folder = (SHIPPED if output is None else output) / name
    card = export_model(source, folder, reference_seconds=reference_seconds or None, cities=cities)
    (score,) = card.scores[-1:]
    assert card.export is not None
    told = "" if score.gap_percent is None else f", {score.gap_percent:+.2f} % to {score.reference}"
    typer.echo(
        f"{card.export.precision} (bfloat16 changes the mean cost by "
        f"{card.export.cost_change:+.4%}); {score.on}: {score.mean_cost:.4f}{told}",
        err=True,
    )
    typer.echo(folder)
