"""The learning curve of a training, and how much longer it would have to be for a lower gap.

    python tests/benchmarks/hours_missing.py RUN... --target 1.0 --augmented 1.3

The gap that validation reports falls as a power of the instances seen, as long as the learning rate
stays; what the rate's decay gains at the end counts as a factor. Both are fitted to the run, so the
hours are those of a training that goes on at the same rate and decays at its end, on the hardware
of the run, and no better than the power law: they are an extrapolation. Several runs are stages of
one training, in order.
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

SKIPPED = 0.15
"""Of the instances: the beginning, where the gap falls faster than later."""
WINDOW = 3
"""Epochs at the end whose mean is the final gap: one epoch's is noisy."""


@dataclass(frozen=True)
class Curve:
    """What validation told after each epoch."""

    instances: np.ndarray
    hours: np.ndarray
    gap: np.ndarray
    """In per cent."""
    constant: np.ndarray
    """Whether the learning rate had not begun to decay."""


def curve_of(folders: list[Path]) -> Curve:
    """The stages one after another."""
    rows: list[tuple[float, float, float, bool]] = []
    instances, hours = 0.0, 0.0
    for folder in folders:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        epochs = config["training"]["epochs"]
        schedule = config["optimizer"]["schedule"]
        decay = schedule["decay"] if schedule["type"] == "warmup-decay" else 0.0
        with (folder / "metrics.csv").open() as file:
            read = list(csv.DictReader(file))
        for row in read:
            rows.append((
                instances + float(row["train/instances"]),
                hours + float(row["seconds"]) / 3600,
                float(row["val/gap_percent"]),
                int(row["epoch"]) < epochs * (1 - decay),
            ))  # fmt: skip
        instances, hours = rows[-1][:2]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Curve(columns[0], columns[1], columns[2], columns[3].astype(bool))


def main() -> None:
    """Print the curve and the hours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--target", type=float, required=True, help="gap in per cent")
    parser.add_argument(
        "--augmented",
        type=float,
        help="gap of the finished model in 8 positions, which is the target's kind",
    )
    given = parser.parse_args()
    curve = curve_of(given.runs)
    count = len(curve.gap)
    for i in sorted({*range(0, count, max(1, count // 12)), count - 1}):
        print(
            f"{curve.instances[i]:10,.0f} instances  {curve.hours[i]:6.2f} h  {curve.gap[i]:6.2f} %"
        )
    used = curve.constant & (curve.instances > SKIPPED * curve.instances[-1])
    if used.sum() < 5:
        parser.error(f"{used.sum()} epochs at a constant rate; accepted: 5 or more")
    slope, offset = np.polyfit(np.log(curve.instances[used]), np.log(curve.gap[used]), 1)
    final = float(curve.gap[-WINDOW:].mean())
    there = math.exp(offset + slope * math.log(curve.instances[-1]))
    factor = (final if given.augmented is None else given.augmented) / there
    print(f"gap = {math.exp(offset):.3g} x instances^{slope:.3f}; the end: x {factor:.2f}")
    if slope >= 0:
        print("it does not fall: no number of hours follows from it")
        return
    needed = math.exp((math.log(given.target / factor) - offset) / slope)
    rate = float(np.median(np.diff(curve.instances) / np.diff(curve.hours)))
    print(
        f"{given.target:g} % at {needed:,.0f} instances: {needed / rate:,.1f} h in all, "
        f"{max(0.0, (needed - curve.instances[-1]) / rate):,.1f} h more, at the median epoch's "
        f"{rate / 3600:.0f} instances/s"
    )


if __name__ == "__main__":
    main()
