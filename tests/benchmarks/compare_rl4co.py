"""Measures nco and RL4CO 0.7.0 side by side and writes a table; see README.md beside this file.

Each measurement is a process of its own, in the virtual environment of its side. The two sides
take turns, so that a change in the machine's load falls on both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import learning

from nco.provenance import collect

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SIDES = ("nco", "rl4co")


@dataclass(frozen=True)
class Case:
    """What to measure, in the words of the workers' command line."""

    measurement: str
    problem: str
    size: int
    batch: int

    @property
    def label(self) -> str:
        """As it stands in the table."""
        return f"{self.problem.upper()}{self.size}, batch {self.batch}"

    def arguments(self) -> list[str]:
        """For the command line of a worker."""
        options = {"problem": self.problem, "size": self.size, "batch": self.batch}
        return [self.measurement, *(f"--{key}={value}" for key, value in options.items())]


SPEED_CASES = (
    *(Case("env", problem, 50, batch) for problem in ("tsp", "cvrp") for batch in (64, 4096)),
    *(Case("train", problem, size, 64) for problem in ("tsp", "cvrp") for size in (20, 50)),
    *(Case("infer", problem, 100, 64) for problem in ("tsp", "cvrp")),
)
LEARN_CASES = (Case("learn", "tsp", 20, 64), Case("learn", "cvrp", 20, 64))
UNITS = {"env": "million steps/s", "train": "instances/s", "infer": "instances/s"}
TITLES = {
    "env": "environment alone: reset, step, mask",
    "train": "POMO training step, all starts",
    "infer": "greedy from all starts, no augmentation",
}


@dataclass(frozen=True)
class Runner:
    """Starts workers of either side with the same number of threads."""

    rl4co_python: str
    threads: int
    device: str

    def run(self, side: str, case: Case, *options: str) -> dict[str, Any]:
        """One measurement in a fresh process.

        Raises:
            SystemExit: the worker failed; its own message stands above.
        """
        python = sys.executable if side == "nco" else self.rl4co_python
        script = str(HERE / f"{side}_worker.py")
        common = [f"--threads={self.threads}", f"--device={self.device}"]
        env = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        env.pop("PYTHONPATH", None)
        if side == "nco":
            env["PYTHONPATH"] = str(ROOT)
        command = [python, script, *case.arguments(), *common, *options]
        print(f"{side}: {case.measurement} {case.label}", file=sys.stderr, flush=True)
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}")
        return json.loads(done.stdout)


def alternate(
    rounds: int, measure: Callable[[str, int], dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """The figures of both sides, which take turns and also take turns in going first."""
    figures: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for index in range(rounds):
        for side in SIDES if index % 2 == 0 else reversed(SIDES):
            figures[side].append(measure(side, index))
    return figures


def measure_speed(runner: Runner, case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures of a case with the medians and ratios that the table shows."""
    figures = alternate(
        rounds,
        lambda side, index: runner.run(side, case, f"--seconds={seconds}", f"--seed={index + 1}"),
    )
    scale = 1e6 if case.measurement == "env" else 1
    rates = {side: [one["per_second"] / scale for one in figures[side]] for side in SIDES}
    pairs = [ours / theirs for ours, theirs in zip(rates["nco"], rates["rl4co"], strict=True)]
    memory = "rss_mib" if runner.device == "cpu" else "device_mib"
    peaks = {side: max(one[memory] for one in figures[side]) for side in SIDES}
    return {
        "case": asdict(case),
        "unit": UNITS[case.measurement],
        "median": {side: statistics.median(rates[side]) for side in SIDES},
        "ratio": statistics.median(pairs),
        "ratio_range": [min(pairs), max(pairs)],
        "peak_mib": peaks,
        "memory_ratio": peaks["nco"] / peaks["rl4co"],
        "steps": {side: figures[side][0].get("steps") for side in SIDES},
        "figures": figures,
    }


def speed_table(results: list[dict[str, Any]]) -> list[str]:
    """Markdown lines: one row a case."""
    lines = [
        "| measurement | case | unit | nco | RL4CO | ratio (range) | steps nco / RL4CO "
        "| peak memory nco / RL4CO, MiB | memory ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        case, median, peak = Case(**result["case"]), result["median"], result["peak_mib"]
        low, high = result["ratio_range"]
        steps = " / ".join("-" if result["steps"][s] is None else str(result["steps"][s])
                           for s in SIDES)  # fmt: skip
        lines.append(
            f"| {TITLES[case.measurement]} | {case.label} | {result['unit']} "
            f"| {median['nco']:.3g} | {median['rl4co']:.3g} "
            f"| {result['ratio']:.2f} ({low:.2f} to {high:.2f}) | {steps} "
            f"| {peak['nco']:.0f} / {peak['rl4co']:.0f} | {result['memory_ratio']:.2f} |"
        )
    return lines


def write(folder: Path, document: dict[str, Any]) -> None:
    """results.json and results.md, each put in place only when it is complete."""
    about = document["circumstances"]
    figures = [one for result in document["speed"] for side in SIDES
               for one in result["figures"][side]]  # fmt: skip
    figures += [result[side] for result in document["learning"] for side in SIDES]
    versions = {f"{one['version']} (torch {one['torch']})" for one in figures}
    lines = [
        "# nco against RL4CO",
        "",
        f"{about['created']}, {about['hardware']['processor']}, {about['threads']} threads, "
        f"device {about['device']}; {' against '.join(sorted(versions))}; {about['rounds']} rounds "
        f"of {about['seconds']:g} s, the sides taking turns; medians over the rounds.",
        "",
    ]
    if document["speed"]:
        lines += [*speed_table(document["speed"]), ""]
    if document["learning"]:
        lines += [*learning.table(document["learning"]), ""]
    texts = {"results.json": json.dumps(document, indent=1), "results.md": "\n".join(lines)}
    for name, text in texts.items():
        temporary = folder / f"{name}.part"
        temporary.write_text(text)
        os.replace(temporary, folder / name)


def main() -> None:
    """Measure what the command line asks for, writing the table after every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rl4co-python", required=True, help="python of RL4CO's environment")
    parser.add_argument("--output", type=Path, default=Path("results/rl4co"))
    kinds = (*UNITS, "learn")
    parser.add_argument("--only", nargs="+", choices=kinds, default=list(UNITS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-seconds", type=float, default=1800.0, help="training, learn only")
    parser.add_argument("--instances", type=int, default=256, help="test instances, learn only")
    parser.add_argument("--time-limit", type=float, default=2.0, help="PyVRP's, learn only")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    runner = Runner(options.rl4co_python, options.threads, options.device)
    told = {key: getattr(options, key) for key in ("rounds", "seconds", "threads", "device")}
    document: dict[str, Any] = {
        "circumstances": collect().model_dump() | told,
        "speed": [],
        "learning": [],
    }
    for case in SPEED_CASES:
        if case.measurement in options.only:
            result = measure_speed(runner, case, options.rounds, options.seconds)
            document["speed"].append(result)
            write(options.output, document)
    for case in LEARN_CASES if "learn" in options.only else ():
        files = learning.prepare(
            options.output, case.problem, case.size, options.instances, options.time_limit
        )
        told = {}
        for side in SIDES:
            costs = options.output / f"{side}-{case.problem}{case.size}.npz"
            budget = f"--cpu-seconds={options.cpu_seconds}"
            where = (f"--instances={files.instances}", f"--output={costs}")
            figures = runner.run(side, case, budget, *where)
            told[side] = figures | learning.judge(files, costs)
        document["learning"].append({"case": asdict(case), **told})
        write(options.output, document)
    print((options.output / "results.md").read_text())


if __name__ == "__main__":
    main()
