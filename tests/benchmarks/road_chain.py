"""Seconds of every stage from an OpenStreetMap extract to routes on a map.

    python -m tests.benchmarks.road_chain [EXTRACT ...]

Without extracts: Helsinki and Monaco, which `make osrm` fetches. OSRM's executables must be set up.
The stages are those of `tests/test_road_chain.py`, which says whether what comes of them is true.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from nco.data.osrm_setup import SAMPLES
from nco.data.osrm_tools import find_tools, osrm_folder
from tests.road_chain import CUSTOMERS, POINTS, PROBLEMS, run_chain


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extracts", type=Path, nargs="*")
    parser.add_argument("--batches", type=int, default=2, help="of each model's training")
    given = parser.parse_args()
    extracts = given.extracts or [osrm_folder() / "samples" / sample.name for sample in SAMPLES]
    tools = find_tools()
    seconds: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        # what is loaded and compiled on first use is no part of any stage
        run_chain(extracts[0], _new(folder, "warm-up"), tools, batches=given.batches)
        for i, extract in enumerate(extracts):
            chain, _ = run_chain(extract, _new(folder, str(i)), tools, batches=given.batches)
            seconds[extract.name.partition(".")[0]] = chain.seconds
    towns = list(seconds)
    rows = [[stage, *(seconds[town][stage] for town in towns)] for stage in seconds[towns[0]]]
    rows.append(["all", *(sum(seconds[town].values()) for town in towns)])
    print(
        f"Seconds; a map of {POINTS} points, then {', '.join(PROBLEMS)} with {CUSTOMERS} "
        "customers each (an atsp: nodes)\n"
    )
    print(f"| stage | {' | '.join(towns)} |\n|---|{'---:|' * len(towns)}")
    for name, *values in rows:
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")


def _new(parent: str, name: str) -> Path:
    path = Path(parent) / name
    path.mkdir()
    return path


if __name__ == "__main__":
    main()
