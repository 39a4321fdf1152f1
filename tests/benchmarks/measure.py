"""The command line, clock and memory of both workers, so that both are measured by the same code.

Needs the standard library and torch only: it runs in either virtual environment.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

LATENCY_BATCHES = 8
"""Fresh batches that latency is measured on in turn."""
WARM_UP_SIZE, WARM_UP_BATCH, WARM_UP_STEPS = 20, 32, 20
"""The short training before inference is timed: customers, batch and number of batches."""


@dataclass(frozen=True)
class Task:
    """One measurement, as the command line gives it."""

    problem: str
    """tsp or cvrp, coordinates and demands as Kool et al. (2019) draw them."""
    size: int
    """Customers; nodes of a TSP."""
    batch: int
    seconds: float
    """Timed at least this long, after warm-up, and at least two calls."""
    device: str
    seed: int
    threads: int
    augment: int
    """1, or 8 for the symmetries of the square; of inference."""
    starts: int | None
    """Trajectories of each copy of an instance, of inference; None: from every customer."""
    cpu_seconds: float
    """Training budget of `learn`, over all threads."""
    instances: Path
    """.npz with locs [M, N, 2] (depots first), demand [M, N] integers and capacity [M] (CVRP)."""
    output: Path
    """.npz to write: cost [M] and actions [M, T] of the best trajectory of each instance."""


Measurement = Callable[[Task], dict[str, Any]]


def synchronise(task: Task) -> None:
    """Wait for the device, so that the clock sees finished work."""
    if task.device != "cpu":
        torch.cuda.synchronize()


def throughput(task: Task, work: Callable[[], int], warm_up: int = 2) -> dict[str, float]:
    """Call ``work``, which returns the units that it did, for ``task.seconds`` after warm-up: so
    many calls, or fewer where they take as long as is to be timed.

    The rate is that of the median call: a machine that other work stops now and then is not slow.
    """
    begun = time.perf_counter()
    for _ in range(warm_up):
        work()
        synchronise(task)
        if time.perf_counter() - begun > task.seconds:
            break
    units, spent = 0, []
    start, cpu_start = time.perf_counter(), time.process_time()
    while len(spent) < 2 or time.perf_counter() - start < task.seconds:
        begun = time.perf_counter()
        units += work()
        synchronise(task)
        spent.append(time.perf_counter() - begun)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {
        "per_second": units / len(spent) / statistics.median(spent),
        "per_cpu_second": units / cpu_seconds,
        "calls": len(spent),
        "seconds": seconds,
    }


def own_mib(task: Task, work: Callable[[], object]) -> dict[str, float]:
    """The most memory that ``work`` held beyond what was there before it; on a CPU not a number,
    but for Linux, which forgets a process's peak when asked."""
    gc.collect()
    if task.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return {"own_mib": (torch.cuda.max_memory_allocated() - before) / 2**20}
    if sys.platform != "linux":
        work()
        return {"own_mib": math.nan}
    # what earlier work gave back to malloc would be used again and not be seen
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kib("VmRSS")
    work()
    return {"own_mib": (_status_kib("VmHWM") - before) / 1024}


def _status_kib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def peak_mib(task: Task) -> dict[str, float]:
    """The most memory that this process has held so far: its own and the device's."""
    memory = {"rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if task.device != "cpu":
        memory["device_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return memory


def train_for(task: Task, step: Callable[[float], int]) -> dict[str, float]:
    """Call ``step`` until the CPU seconds are spent; it is told the share of them spent so far
    and returns the instances that it trained on."""
    instances, spent = 0, 0.0
    start, wall = time.process_time(), time.perf_counter()
    told = 0.0
    while spent < task.cpu_seconds:
        instances += step(spent / task.cpu_seconds)
        spent = time.process_time() - start
        if spent - told > 60:
            told = spent
            print(f"{spent:.0f} CPU seconds, {instances} instances", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - wall
    return {"instances": instances, "cpu_seconds": spent, "wall_seconds": seconds}


def main(measurements: dict[str, Measurement], version: str) -> None:
    """Run the measurement that the command line names and print its figures as one JSON object,
    with the version of the library that was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("measurement", choices=sorted(measurements))
    parser.add_argument("--problem", choices=("tsp", "cvrp"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--augment", type=int, choices=(1, 8), default=1)
    parser.add_argument("--starts", type=int, help="by default from every customer")
    parser.add_argument("--cpu-seconds", type=float, default=1800.0)
    parser.add_argument("--instances", type=Path, default=Path("instances.npz"))
    parser.add_argument("--output", type=Path, default=Path("costs.npz"))
    options = vars(parser.parse_args())
    run = measurements[options.pop("measurement")]
    task = Task(**options)
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    before = peak_mib(task)
    # libraries that print must not spoil the JSON
    with contextlib.redirect_stdout(sys.stderr):
        figures = run(task)
    figures |= {"version": version, "torch": torch.__version__, "threads": task.threads}
    figures |= {f"{name}_before": value for name, value in before.items()} | peak_mib(task)
    print(json.dumps(figures))
