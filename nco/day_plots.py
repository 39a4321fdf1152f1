"""Drawings of a dispatched day: a panel for each epoch."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.data.plot import colour_of, counted, drawing_page, require_drawable, svg, write_drawing
from nco.envs.dispatch import Dispatches, Request, days

WAITING = "0.75"
PANEL = 3.4
"""Inches."""


def day_figure(
    one: Instance, scenarios: Scenarios, day: int, done: Dispatches, name: str
) -> Figure:
    """What leaves in each epoch of one day of an instance (B = 1), a colour for each route; open
    requests that wait are grey, and those that came in now have a ring.

    Args:
        scenarios: the days' names.
        day: which of them.
        done: the routes of each epoch.
        name: of the strategy, for the title.

    Raises:
        InputError: the instance has no coordinates.
    """
    require_drawable(one, "the instance")
    requests = days(one, scenarios.part(day, day + 1))[0].requests
    columns = min(len(done), max(2, math.ceil(math.sqrt(len(done)))))
    rows = math.ceil(len(done) / columns)
    drawn = Figure(figsize=(PANEL * columns, PANEL * rows + 0.8), layout="constrained")
    open_now: set[int] = set()
    for epoch, routes in enumerate(done):
        open_now |= {request.number for request in requests if request.epoch == epoch}
        axes = drawn.add_subplot(rows, columns, epoch + 1)
        _draw_epoch(axes, one, requests, epoch, open_now, routes)
        open_now -= {number for route in routes for number in route}
    many = sum(len(routes) for routes in done)
    drawn.suptitle(
        f"{name}: day {day}, {counted(len(requests), 'request')}, {counted(many, 'route')}",
        fontsize=11,
    )
    handles = [
        Line2D([], [], linestyle="", marker="s", color="black", label="depot"),
        Line2D([], [], linestyle="", marker="o", color=colour_of(0), label="leaves now"),
        Line2D([], [], linestyle="", marker="o", color=WAITING, label="waits"),
        Line2D([], [], linestyle="", marker="o", markersize=9, markerfacecolor="none",
               color="0.3", label="came in now"),
    ]  # fmt: skip
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    return drawn


def _draw_epoch(
    axes: Axes,
    one: Instance,
    requests: Sequence[Request],
    epoch: int,
    open_now: set[int],
    routes: Sequence[Sequence[int]],
) -> None:
    assert one.coords is not None  # asked for before
    points: list[list[float]] = one.coords[0].tolist()
    at = [points[request.place] for request in requests]
    # all of them, so that every panel shows the same part of the plane
    axes.plot([p[0] for p in points], [p[1] for p in points], linestyle="", marker="")
    leaving = {number for route in routes for number in route}
    for number in sorted(open_now - leaving):
        axes.plot(*at[number], "o", color=WAITING, markersize=5)
    for count, route in enumerate(routes):
        walk = [points[0], *(at[number] for number in route), points[0]]
        colour = colour_of(count)
        axes.plot([p[0] for p in walk], [p[1] for p in walk], "-", color=colour, linewidth=1.2)
        axes.plot([p[0] for p in walk[1:-1]], [p[1] for p in walk[1:-1]], "o", color=colour,
                  markersize=5)  # fmt: skip
    for number in sorted(n for n in open_now if requests[n].epoch == epoch):
        axes.plot(*at[number], "o", color="0.3", markerfacecolor="none", markersize=9)
    axes.plot(*points[0], "s", color="black", markersize=6)
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize=7)
    axes.set_title(f"epoch {epoch}: {len(leaving)} of {len(open_now)} leave", fontsize=9)


def write_day_plot(
    one: Instance, scenarios: Scenarios, day: int, done: Dispatches, name: str, path: Path
) -> None:
    """Write the drawing in the format of the suffix: PNG, or a page with the routes below it.

    Raises:
        InputError: the suffix is another one, the instance has no coordinates, or the file cannot
            be written.
    """
    drawn = day_figure(one, scenarios, day, done, name)
    rows = [
        (str(epoch), " ".join(map(str, route)))
        for epoch, routes in enumerate(done)
        for route in routes
    ]

    def page() -> str:
        heading = html.escape(path.stem)
        return drawing_page(heading, svg(drawn), ("epoch", "requests"), rows)

    write_drawing(path, drawn, page)
