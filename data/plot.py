"""Drawings of solutions. Imported when something is drawn; never touches pyplot's global state."""

from __future__ import annotations

import html
import io
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.data.text_file import write_text

PLOT_SUFFIXES = (".png", ".html")

DELIVERY, PICKUP = ("o", 1.0), ("^", 1.25)
"""Marker of a customer, and its size relative to a dot."""

PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 2em; }} svg {{ max-width: 100%; height: auto; }}
td, th {{ text-align: left; padding: 0.2em 1em 0.2em 0; vertical-align: top; }}</style></head>
<body>
<h1>{title}</h1>
{svg}
<table><tr>{head}</tr>
{rows}
</table>
{more}
</body>
</html>
"""


def require_drawable(instance: Instance, name: str) -> None:
    """Raise `InputError`, with the name, where the instance has no coordinates to draw."""
    if instance.coords is None:
        raise InputError(f"{name} has no coords, so it cannot be drawn; accepted: coords")


def draw(solution: Solution, axes: Axes) -> None:
    """Draw a solution into ``axes``: a colour for each route, or with a fleet for each vehicle;
    black squares for depots.

    Customers are dots, those with a pickup triangles; the ones that no route visits stay grey. An
    open route ends at its last customer.

    Raises:
        InputError: the instance has no coordinates.
    """
    instance = solution.instance
    require_drawable(instance, "the instance")
    assert instance.coords is not None
    points: list[list[float]] = instance.coords[0].tolist()
    num_depots, is_open = int(instance.num_depots[0]), bool(instance.open_route[0])
    nodes = [i for i, valid in enumerate(instance.valid[0].tolist()) if valid]

    def customers(wanted: Sequence[int], colour: str | tuple[float, ...]) -> None:
        for marker, share, among in ((*DELIVERY, known - pickups), (*PICKUP, pickups)):
            places = columns([i for i in wanted if i in among])
            axes.plot(*places, marker, color=colour, markersize=share * size)

    def columns(wanted: Sequence[int]) -> tuple[list[float], list[float]]:
        # an infeasible solution may name a node that does not exist
        found = [points[i] for i in wanted if i in known]
        return [p[0] for p in found], [p[1] for p in found]

    known, pickups = set(nodes), set(nodes) & _pickups(instance)
    size = max(1.5, 12 / math.sqrt(1 + len(nodes) / 10))
    customers(nodes[num_depots:], "0.7")
    for number, (route, depot) in enumerate(zip(solution.routes, solution.depots, strict=True)):
        start = [depot] if num_depots else []
        back = [] if is_open else start or route[:1]
        colour = colour_of(solution.vehicles[number] if solution.vehicles else number)
        axes.plot(*columns([*start, *route, *back]), "-", color=colour, linewidth=1.2)
        customers(route, colour)
    axes.plot(*columns(range(num_depots)), "s", color="black", markersize=max(6.0, size))
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=8)
    axes.set_title(title(solution), fontsize=10)


def _pickups(instance: Instance) -> set[int]:
    return set(instance.backhaul[0].nonzero().flatten().tolist())


def colour_of(number: int) -> tuple[float, float, float, float]:
    """The colour of a route: ten strong ones, their ten pale ones, then again from the start."""
    return matplotlib.colormaps["tab20"](2 * number % 20 + number // 10 % 2)


def title(solution: Solution) -> str:
    """Solver, cost, routes, vehicles with a fleet, and whether the solution is infeasible."""
    state = "" if solution.feasible else ", infeasible"
    many = counted(len(solution.routes), "route")
    if solution.vehicles:
        many += f" of {counted(len(set(solution.vehicles)), 'vehicle')}"
    return f"{solution.solver}: cost {solution.cost:,.6g}, {many}{state}"


def counted(number: int, what: str) -> str:
    """One route, two routes."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def figure(solution: Solution) -> Figure:
    """A figure of one solution.

    Raises:
        InputError: the instance has no coordinates.
    """
    drawn = Figure(figsize=(7, 7), layout="constrained")
    draw(solution, drawn.add_subplot())
    if _pickups(solution.instance):
        told = {"depot": "s", "delivery": DELIVERY[0], "pickup": PICKUP[0]}
        handles = [Line2D([], [], linestyle="", marker=m, color="0.3", label=name)
                   for name, m in told.items()]  # fmt: skip
        drawn.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    name_vehicles(drawn, solution.vehicles)
    return drawn


def name_vehicles(drawn: Figure, vehicles: Iterable[int]) -> None:
    """A legend of these vehicles' colours below all else; nothing where there are none."""
    handles = [
        Line2D([], [], color=colour_of(vehicle), label=f"vehicle {vehicle}")
        for vehicle in sorted(set(vehicles))
    ]
    if handles:
        drawn.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)


def svg(drawn: Figure) -> str:
    """The figure as an ``<svg>`` element; the same figure gives the same text."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "nco", "svg.fonttype": "none"}):
        drawn.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def html_page(solution: Solution, heading: str) -> str:
    """One self-contained page: drawing, routes and violations.

    Raises:
        InputError: the instance has no coordinates.
    """
    drivers = [(str(vehicle),) for vehicle in solution.vehicles] or [()] * len(solution.routes)
    rows = [
        (str(number), *driver, "" if depot < 0 else str(depot), " ".join(map(str, route)))
        for number, (route, depot, driver) in enumerate(
            zip(solution.routes, solution.depots, drivers, strict=True), start=1
        )
    ]
    head = ("route", *(("vehicle",) if solution.vehicles else ()), "from", "customers")
    items = "".join(f"<li>{html.escape(line)}</li>" for line in solution.violations)
    more = f"<h2>Violations</h2><ul>{items}</ul>" if items else ""
    return drawing_page(html.escape(heading), svg(figure(solution)), head, rows, more)


def drawing_page(
    heading: str, drawing: str, head: Sequence[str], rows: Sequence[Sequence[str]], more: str = ""
) -> str:
    """A page of its own: a drawing above a table, all of it HTML already."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(f"<{tag}>{cell}</{tag}>" for cell in cells)

    body = "\n".join(f"<tr>{row('td', cells)}</tr>" for cells in rows)
    return PAGE.format(title=heading, svg=drawing, head=row("th", head), rows=body, more=more)


def write_plot(solution: Solution, path: Path) -> None:
    """Write a drawing in the format of the suffix: PNG, or a self-contained HTML page.

    Raises:
        InputError: the suffix is another one, the instance has no coordinates, or the file cannot
            be written.
    """
    require_drawable(solution.instance, f"the instance of {path}")
    write_drawing(path, figure(solution), lambda: html_page(solution, path.stem))


def write_drawing(path: Path, drawn: Figure, page: Callable[[], str]) -> None:
    """Write a figure as PNG, or the page that shows it, by the suffix.

    Raises:
        InputError: the suffix is another one, or the file cannot be written.
    """
    if path.suffix not in PLOT_SUFFIXES:
        raise InputError(
            f"plot {path} has suffix {path.suffix!r}; accepted: {', '.join(PLOT_SUFFIXES)}"
        )
    if path.suffix == ".html":
        write_text(path, page())
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        drawn.savefig(draft, format="png", dpi=150)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"plot {path} cannot be written: {error.strerror}") from error
