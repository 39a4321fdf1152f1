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
import regression

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
    augment: int = 1
    starts: int | None = None
    """None: all."""

    @property
    def label(self) -> str:
        """As it stands in the table."""
        starts = "" if self.starts is None else f", {self.starts} starts"
        copies = "" if self.augment == 1 else f", ×{self.augment}"
        return f"{self.problem.upper()}{self.size}, batch {self.batch}{starts}{copies}"

    @property
    def name(self) -> str:
        """What it is known by where cases of all measurements are together."""
        return f"{self.measurement} {self.label}"

    def arguments(self) -> list[str]:
        """For the command line of a worker."""
        options = {key: value for key, value in asdict(self).items() if value is not None}
        measurement = options.pop("measurement")
        return [measurement, *(f"--{key}={value}" for key, value in options.items())]


PROBLEMS = ("tsp", "cvrp")
SPEED_CASES = (
    *(Case("env", problem, 50, batch) for problem in PROBLEMS for batch in (64, 4096)),
    *(Case("train", problem, size, 64) for problem in PROBLEMS for size in (20, 50, 100)),
    # a batch of 16 has 12,800 trajectories: neither side is faster with more
    *(Case("infer", problem, 100, 16, augment=8) for problem in PROBLEMS),
    *(Case("infer", problem, 100, 64) for problem in PROBLEMS),
    *(Case("latency", problem, 100, 1) for problem in PROBLEMS),
)
QUICK_CASES = (
    *(Case("env", problem, 50, 4096) for problem in PROBLEMS),
    *(Case("train", problem, 50, 64) for problem in PROBLEMS),
    *(Case("infer", problem, 50, 8, augment=8) for problem in PROBLEMS),
    *(Case("latency", problem, 100, 1) for problem in PROBLEMS),
)
"""What `--quick` measures: one of each kind, in minutes."""
LEARN_CASES = (Case("learn", "tsp", 20, 64), Case("learn", "cvrp", 20, 64))
UNITS = {
    "env": "million steps/s",
    "train": "instances/s",
    "infer": "instances/s",
    "latency": "ms an instance",
}
TITLES = {
    "env": "environment alone: reset, step, mask",
    "train": "POMO training step, all starts",
    "infer": "greedy from all starts",
    "latency": "one instance, greedy from all starts",
}
EXPECTED = HERE / "expected_ratios.json"


def shown(measurement: str, per_second: float) -> float:
    """A rate in the unit of its row."""
    match measurement:
        case "env":
            return per_second / 1e6
        case "latency":
            return 1e3 / per_second
        case _:
            return per_second


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
    return summary(case, figures, "rss_mib" if runner.device == "cpu" else "device_mib")


def summary(case: Case, figures: dict[str, list[dict[str, Any]]], memory: str) -> dict[str, Any]:
    """What the table shows of a case: medians over the rounds; a ratio above 1 says that nco is
    faster, whatever the unit."""
    rates = {side: [one["per_second"] for one in figures[side]] for side in SIDES}
    pairs = [ours / theirs for ours, theirs in zip(rates["nco"], rates["rl4co"], strict=True)]
    peaks = {side: max(one[memory] for one in figures[side]) for side in SIDES}
    return {
        "case": asdict(case),
        "unit": UNITS[case.measurement],
        "median": {side: shown(case.measurement, statistics.median(rates[side])) for side in SIDES},
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


def regression_check(
    runner: Runner, results: list[dict[str, Any]], rounds: int, seconds: float
) -> list[regression.Verdict]:
    """The verdicts against `EXPECTED`; what seems to have fallen is measured once more, with twice
    the rounds, as other work on the machine may have fallen on one side only."""
    stored = regression.read(EXPECTED)
    ratios = {Case(**result["case"]).name: result["ratio"] for result in results}
    for verdict in regression.judge(ratios, stored):
        if verdict.fallen:
            print(f"once more: {verdict.line}", file=sys.stderr, flush=True)
            case = next(c for c in QUICK_CASES + SPEED_CASES if c.name == verdict.case)
            ratios[verdict.case] = measure_speed(runner, case, 2 * rounds, seconds)["ratio"]
    return regression.judge(ratios, stored)


def remember(results: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Make the ratios of this run those that later ones are held to."""
    hardware = about["hardware"]
    machine = f"{hardware['processor']}, {about['threads']} threads, device {about['device']}"
    command = (
        "python tests/benchmarks/compare_rl4co.py --rl4co-python PYTHON "
        f"{'--quick ' if about['quick'] else ''}--rounds {about['rounds']} "
        f"--seconds {about['seconds']:g} --threads {about['threads']} "
        f"--device {about['device']} --write-expected"
    )
    regression.write(
        EXPECTED,
        {
            Case(**result["case"]).name: regression.Expected(
                round(result["ratio"], 3), machine, about["created"], about["git_commit"], command
            )
            for result in results
        },
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rl4co-python", required=True, help="python of RL4CO's environment")
    parser.add_argument("--output", type=Path, default=Path("results/rl4co"))
    kinds = (*UNITS, "learn")
    parser.add_argument("--only", nargs="+", choices=kinds, default=list(UNITS))
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--sizes", nargs="+", type=int, help="cases of these sizes only")
    parser.add_argument("--batches", nargs="+", type=int, help="cases of these batches only")
    parser.add_argument("--quick", action="store_true", help="a case of each kind, in minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-seconds", type=float, default=1800.0, help="training, learn only")
    parser.add_argument("--instances", type=int, default=256, help="test instances, learn only")
    parser.add_argument("--time-limit", type=float, default=2.0, help="PyVRP's, learn only")
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--check", action="store_true", help=f"fail below {EXPECTED.name}")
    told.add_argument("--write-expected", action="store_true", help=f"write {EXPECTED.name}")
    return parser.parse_args()


def wanted(case: Case, options: argparse.Namespace) -> bool:
    """Whether the command line asks for a case."""
    return (
        case.measurement in options.only
        and case.problem in options.problems
        and (options.sizes is None or case.size in options.sizes)
        and (options.batches is None or case.batch in options.batches)
    )


def main() -> None:
    """Measure what the command line asks for, writing the table after every case."""
    options = arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    runner = Runner(options.rl4co_python, options.threads, options.device)
    keys = ("rounds", "seconds", "threads", "device", "quick")
    about = collect().model_dump() | {key: getattr(options, key) for key in keys}
    document: dict[str, Any] = {"circumstances": about, "speed": [], "learning": []}
    for case in QUICK_CASES if options.quick else SPEED_CASES:
        if wanted(case, options):
            result = measure_speed(runner, case, options.rounds, options.seconds)
            document["speed"].append(result)
            write(options.output, document)
    for case in LEARN_CASES:
        if not wanted(case, options):
            continue
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
    if not document["speed"] and not document["learning"]:
        raise SystemExit("no case is left of --only, --problems, --sizes and --batches together")
    print((options.output / "results.md").read_text())
    if options.write_expected:
        remember(document["speed"], about)
    if options.check:
        verdicts = regression_check(runner, document["speed"], options.rounds, options.seconds)
        print("\n".join(verdict.line for verdict in verdicts))
        if not all(verdict.passed for verdict in verdicts):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
