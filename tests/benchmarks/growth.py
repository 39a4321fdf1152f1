"""How the cost of inference grows with the number of customers and with the batch.

    python tests/benchmarks/growth.py
    python tests/benchmarks/growth.py --rl4co-python .venv-rl4co/bin/python

Greedy from all starts, without augmentation; above `--all-starts` customers from that many starts
only. Each point is a process of its own (`nco_worker.py`). Writes growth.json and two plots to
results/growth after every point; a point that is there already is not measured again, so delete the
folder for fresh ones.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from compare_rl4co import PROBLEMS, SIDES, Case, Runner
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from nco.provenance import collect

Quantity = Literal["seconds", "MiB", "instances/s"]
NAMES = {"nco": "nco", "rl4co": "RL4CO 0.7.0"}
COLOURS = {"tsp": "#1f6fb4", "cvrp": "#c8501e"}
STYLES = {"nco": "-", "rl4co": "--"}
BATCH_SIZES = (50, 100)
"""Customers of the instances whose batch grows."""


def size_cases(sizes: Sequence[int], all_starts: int) -> list[Case]:
    """One instance at a time, of each size."""
    return [
        Case("latency", problem, n, 1, starts=None if n <= all_starts else all_starts)
        for problem in PROBLEMS
        for n in sizes
    ]


def batch_cases(batches: Sequence[int]) -> list[Case]:
    """Batches of instances of a few sizes."""
    return [
        Case("infer", problem, n, batch)
        for problem in PROBLEMS
        for n in BATCH_SIZES
        for batch in batches
    ]


def value(point: dict[str, Any], quantity: Quantity) -> float:
    """What is plotted of a measured point."""
    match quantity:
        case "seconds":
            return 1 / point["figures"]["per_second"]
        case "MiB":
            return point["figures"]["own_mib"]
        case "instances/s":
            return point["figures"]["per_second"]


def line(
    axes: Axes, points: list[dict[str, Any]], across: str, quantity: Quantity, label: str
) -> None:
    """One curve over ``across``, size or batch; hollow where not all starts were taken."""
    points = sorted(points, key=lambda point: point["case"][across])
    if not points:
        return
    x = [point["case"][across] for point in points]
    y = [value(point, quantity) for point in points]
    case, side = points[0]["case"], points[0]["side"]
    light = across == "batch" and case["size"] == BATCH_SIZES[0]
    colour = to_rgba(COLOURS[case["problem"]])
    if light:
        colour = tuple(0.5 + part / 2 for part in colour)
    axes.plot(x, y, STYLES[side], color=colour, label=label, linewidth=1.6)
    for at, height, point in zip(x, y, points, strict=True):
        face = colour if point["case"]["starts"] is None else "white"
        axes.plot(at, height, "o", markersize=5, color=colour, markerfacecolor=face)


def guides(axes: Axes, powers: Sequence[int], x: Sequence[float]) -> None:
    """Grey lines of slopes such as n² and n³ that begin at the lower left corner; the axes stay as
    the data made them."""
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    low, high = min(x), max(x)
    base = bottom * (top / bottom) ** 0.06
    for power in powers:
        # a guide ends where it leaves the plot
        end = min(high, low * (0.8 * top / base) ** (1 / power))
        y = base * (end / low) ** power
        axes.plot([low, end], [base, y], ":", color="0.6", linewidth=1, zorder=0)
        name = "n" if power == 1 else f"$n^{power}$"
        axes.annotate(
            name, (end, y), color="0.4", fontsize=9, xytext=(8, 0), textcoords="offset points",
            va="center", zorder=1, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    axes.set_ylim(bottom, top)
    axes.set_xlim(left, right)


def plain_ticks(axes: Axes, x: Sequence[int]) -> None:
    """Label the measured values of x, and of y more than powers of ten."""
    axes.set_xticks(sorted(set(x)), [str(n) for n in sorted(set(x))])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda height, _: f"{height:g}")
    axes.grid(color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def size_plot(points: list[dict[str, Any]], all_starts: int) -> Figure:
    """Seconds and memory of one instance over its size."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    sizes = [point["case"]["size"] for point in points]
    quantities: tuple[tuple[Axes, Quantity], ...] = ((left, "seconds"), (right, "MiB"))
    for axes, quantity in quantities:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for side in SIDES:
            for problem in PROBLEMS:
                chosen = [
                    p for p in points if p["side"] == side and p["case"]["problem"] == problem
                ]
                line(axes, chosen, "size", quantity, f"{problem.upper()}, {NAMES[side]}")
        guides(axes, (1, 2, 3) if quantity == "seconds" else (1, 2), sizes)
        plain_ticks(axes, sizes)
        axes.set_xlabel("customers n")
        if max(sizes) > all_starts:
            axes.axvspan(all_starts * 1.2, axes.get_xlim()[1], color="0.96", zorder=-1)
    left.set_ylabel("seconds an instance")
    right.set_ylabel("peak memory beyond the process's own, MiB")
    left.legend(frameon=False, loc="upper left")
    note = f"; shaded, hollow: {all_starts} starts only" if max(sizes) > all_starts else ""
    figure.suptitle(f"One instance, greedy from all starts{note}", fontsize=11)
    return figure


def batch_plot(points: list[dict[str, Any]]) -> Figure:
    """Instances per second over the batch."""
    figure, axes = plt.subplots(figsize=(7, 4.8), layout="constrained")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for side in SIDES:
        for problem in PROBLEMS:
            for size in BATCH_SIZES:
                chosen = [
                    p for p in points
                    if p["side"] == side
                    and (p["case"]["problem"], p["case"]["size"]) == (problem, size)
                ]  # fmt: skip
                line(
                    axes, chosen, "batch", "instances/s", f"{problem.upper()}{size}, {NAMES[side]}"
                )
    plain_ticks(axes, [point["case"]["batch"] for point in points])
    axes.set_xlabel("batch, instances")
    axes.set_ylabel("instances / s")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_title("Greedy from all starts", fontsize=11)
    return figure


def store(folder: Path, document: dict[str, Any], all_starts: int) -> None:
    """The figures and the plots, each put in place only when it is complete."""
    points = document["points"]
    temporary = folder / "growth.json.part"
    temporary.write_text(json.dumps(document, indent=1))
    os.replace(temporary, folder / "growth.json")
    sizes = [p for p in points if p["case"]["measurement"] == "latency"]
    batches = [p for p in points if p["case"]["measurement"] == "infer"]
    for name, chosen in (("size", sizes), ("batch", batches)):
        if not chosen:
            continue
        figure = size_plot(chosen, all_starts) if name == "size" else batch_plot(chosen)
        figure.savefig(folder / f"{name}.part.png", dpi=140)
        plt.close(figure)
        os.replace(folder / f"{name}.part.png", folder / f"growth-{name}.png")


def table(points: list[dict[str, Any]]) -> str:
    """Markdown: one row a point."""
    lines = ["| | | ms an instance | instances/s | MiB | steps |", "|---|---|---|---|---|---|"]
    for point in points:
        figures = point["figures"]
        rate = figures["per_second"]
        lines.append(
            f"| {NAMES[point['side']]} | {Case(**point['case']).label} | {1e3 / rate:.3g} "
            f"| {rate:.3g} | {figures['own_mib']:.0f} | {figures['steps']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="*", default=[20, 50, 100, 200, 500, 1000])
    parser.add_argument("--all-starts", type=int, default=200, help="the most starts")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16, 64, 256])
    parser.add_argument("--rl4co-python", help="python of RL4CO's environment, for its curves")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each point")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("results/growth"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "growth.json"
    if path.exists():
        document = json.loads(path.read_text())
    else:
        told = {"threads": options.threads, "device": options.device}
        document = {"circumstances": collect().model_dump() | told, "points": []}
    runner = Runner(options.rl4co_python or "", options.threads, options.device)
    sides = SIDES if options.rl4co_python else SIDES[:1]
    for case in size_cases(options.sizes, options.all_starts) + batch_cases(options.batches):
        for side in sides:
            known = [(point["side"], point["case"]) for point in document["points"]]
            if (side, asdict(case)) not in known:
                figures = runner.run(side, case, f"--seconds={options.seconds}")
                point = {"side": side, "case": asdict(case), "figures": figures}
                document["points"].append(point)
                store(options.output, document, options.all_starts)
    store(options.output, document, options.all_starts)
    print(table(document["points"]))


if __name__ == "__main__":
    main()
