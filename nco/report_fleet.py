"""The parts of a report that are about fleets: the items of a cost, and time against preference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from nco.data.plot import svg
from nco.envs.checker import fleet_bill
from nco.report_page import Block, Cell, Column, Heading, Picture, Table, Text
from nco.report_plots import STYLE, colour, marker
from nco.report_tables import DASH, over
from nco.store import Record, Store
from nco.suite_config import TradeOffSuite
from nco.summary import SuiteSummary

ITEMS = {
    "Time": "time",
    "Longest": "longest",
    "Preference missed": "missed",
    "Length": "length",
    "Prices": "prices",
    "Vehicles": "used",
}
"""Columns, and the fields of `nco.envs.fleet_checker.FleetBill` that they have."""


@dataclass(frozen=True)
class FleetItems:
    """What the feasible solutions of one solver on one suite come to: means over instances, of the
    means over seeds."""

    means: dict[str, float]
    """By the columns of `ITEMS`."""
    count: int
    """Instances."""


def fleet_items(summary: SuiteSummary, records: Sequence[Record]) -> dict[str, FleetItems]:
    """The items of each solver of a suite that solved anything; nothing without fleets."""
    instances = {i.name: i for i in summary.instances}
    if summary.first_instance.fleet is None:
        return {}
    bills: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.status != "ok" or record.batch_size != 1:
            continue
        assert record.routes is not None
        assert record.vehicles is not None  # it was judged feasible
        instance = summary.store.instance(instances[record.instance])
        bill = fleet_bill(instance, record.routes, record.vehicles)
        found = [float(getattr(bill, name)) for name in ITEMS.values()]
        bills[record.solver][record.instance].append(found)
    items = {}
    for row in summary.rows:
        each = [_mean(seeds) for seeds in bills[row.entry.name].values()]
        if each:
            items[row.entry.name] = FleetItems(
                dict(zip(ITEMS, _mean(each), strict=True)), len(each)
            )
    return items


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def fleet_blocks(summary: SuiteSummary, records: Sequence[Record]) -> list[Block]:
    """Every item of the objective, by solver; nothing without fleets."""
    items = fleet_items(summary, records)
    if not items:
        return []
    # what is 0 for all is no part of these instances' objective
    shown = [name for name in ITEMS if any(one.means[name] for one in items.values())]
    rows = [
        [
            Cell(solver, over(one.count, len(summary.instances))),
            *(Cell(f"{one.means[name]:,.4g}") for name in shown),
        ]
        for solver, one in items.items()
    ]
    told = (
        "Means over the instances, before weights. Time: of all vehicles together; longest: of the "
        "one that works longest. Preference missed: what the best vehicle for a customer has more "
        "than the one that serves it, over all customers."
    )
    columns = [Column("Solver", "left"), *map(Column, shown)]
    return [Heading(3, "Items of the cost"), Text(told, soft=True), Table(columns, rows)]


def trade_off_blocks(
    store: Store, summaries: Sequence[SuiteSummary], records: Sequence[Record]
) -> list[Block]:
    """Time against preference, for each suite of a trade-off."""
    blocks: list[Block] = []
    for suite in store.header.config.suites:
        if isinstance(suite, TradeOffSuite):
            names = [one.name for one in suite.suites()]
            own = [summary for summary in summaries if summary.name in names]
            blocks += _trade_off(suite, own, records)
    return blocks


def _trade_off(
    suite: TradeOffSuite, summaries: Sequence[SuiteSummary], records: Sequence[Record]
) -> list[Block]:
    found = [fleet_items(s, [r for r in records if r.suite == s.name]) for s in summaries]
    solvers = [row.entry.name for row in summaries[0].rows]
    solvers = [name for name in solvers if any(name in items for items in found)]
    if not solvers:
        return []
    columns = [Column("Preference weight")]
    for name in solvers:
        columns += [Column(f"{name}: time"), Column("preference missed")]
    total = len(summaries[0].instances)
    rows = []
    for weight, items in zip(suite.preference_weights, found, strict=True):
        cells = [Cell(f"{weight:g}")]
        for name in solvers:
            one = items.get(name)
            if one is None:
                cells += [Cell(DASH), Cell(DASH)]
                continue
            cells += [
                Cell(f"{one.means['Time']:,.4g}", over(one.count, total)),
                Cell(f"{one.means['Preference missed']:,.4g}"),
            ]
        rows.append(cells)
    told = (
        f"The same {total} instances with {len(rows)} weights of the preference; the time's weight "
        "is 1 less that. Means over the instances."
    )
    caption = "Time against preference missed, both better when lower; a point for each weight."
    picture = trade_off_plot(summaries, found, suite.preference_weights, solvers)
    name = f"{suite.name}-trade-off.svg"
    return [
        Heading(2, f"{suite.name}: time against preference"),
        Text(told),
        Picture(name, picture, caption),
        Table(columns, rows),
    ]


def trade_off_plot(
    summaries: Sequence[SuiteSummary],
    found: Sequence[dict[str, FleetItems]],
    weights: Sequence[float],
    solvers: Sequence[str],
) -> str:
    """A line for each solver through its points, one for each weight; the weights stand at those of
    the last solver, by our configurations the strongest one."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 5.2), layout="constrained")
        axes = figure.add_subplot()
        points: list[tuple[float, float, float]] = []
        for name in solvers:
            points = [
                (weight, items[name].means["Preference missed"], items[name].means["Time"])
                for weight, items in sorted(zip(weights, found, strict=True), key=lambda p: p[0])
                if name in items
            ]
            axes.plot(
                [missed for _, missed, _ in points], [time for _, _, time in points], "-",
                color=colour(summaries[0], name), marker=marker(summaries[0], name),
                markersize=7, linewidth=1.3, label=name,
            )  # fmt: skip
        axes.margins(0.08)
        # below and to the left of the strongest curve no other one passes
        for text, missed, time in labels(points, axes.get_xlim(), axes.get_ylim()):
            axes.annotate(
                text, (missed, time), xytext=(-6, -6), textcoords="offset points",
                fontsize=8.5, color="#55606b", ha="right", va="top",
            )  # fmt: skip
        axes.grid(axis="both")
        axes.set_xlabel("preference missed (mean of instances)")
        axes.set_ylabel("time of all vehicles (mean of instances)")
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
        return svg(figure)


def labels(
    points: Sequence[tuple[float, float, float]],
    across: tuple[float, float],
    up: tuple[float, float],
) -> list[tuple[str, float, float]]:
    """The weights at their points (weight, missed, time); one label for neighbours that lie so
    close together that theirs would overlap, given the ranges of the axes."""
    groups: list[list[tuple[float, float, float]]] = []
    for point in points:
        if groups:
            _, missed, time = groups[-1][0]
            apart = abs(point[1] - missed) / (across[1] - across[0])
            if apart < LABEL_WIDTH and abs(point[2] - time) / (up[1] - up[0]) < LABEL_HEIGHT:
                groups[-1].append(point)
                continue
        groups.append([point])
    found = []
    for group in groups:
        text = f"{group[0][0]:g}" if len(group) == 1 else f"{group[0][0]:g} to {group[-1][0]:g}"
        _, missed, time = min(group, key=lambda p: p[2])
        found.append((text, missed, time))
    return found


LABEL_WIDTH, LABEL_HEIGHT = 0.12, 0.05
"""Of a label, as parts of the plot's."""
