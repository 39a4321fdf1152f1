"""The local search on many solutions at once beside the compiled one, from the same starts.

    python tests/benchmarks/batched_search.py                     # some minutes on one core
    python tests/benchmarks/batched_search.py --device cuda

Starts are nearest neighbours with errors, as those of `--solver local-search`. Times are CPU
seconds of one thread, on a GPU wall seconds; set-up, and for numba compilation, are left out. Costs
are our checker's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import fmean
from typing import TypeVar

import torch
from torch import Tensor

from nco.api import generate
from nco.baselines.batched_search import BatchedLocalSearch
from nco.baselines.local_search import LocalSearch
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.envs.checker import check_routes, routes_from_actions
from nco.local_search_solver import SHARPNESS, rule_for
from nco.search import Clock, Task
from nco.search_sampling import Sampler, compile_local_search

PROBLEMS = ("tsp", "cvrp", "vrptw")
Result = TypeVar("Result")


def starts(one: Instance, count: int) -> Tensor:
    """Solutions of one instance to begin with."""
    task = Task(rule_for(one, SHARPNESS), one, torch.Generator().manual_seed(0), Clock(None))
    return Sampler(task, count, 1.0, 1).draw().actions


def timed(work: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """What work gives, and the seconds that it took."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    began = clock()
    found = work()
    if device.type != "cpu":
        torch.cuda.synchronize()
    return found, clock() - began


def cost(one: Instance, actions: Tensor) -> float:
    """By the checker."""
    report = check_routes(one, *routes_from_actions(one, actions.tolist()))
    assert report.feasible, report.violations
    return report.cost


def compare(problem: str, size: int, count: int, samples: int, device: torch.device) -> str:
    """A row of the table of quality: instances one by one, each from so many starts."""
    begun, compiled, batched, seconds, iterations = [], [], [], [0.0, 0.0], 0
    for one in unbatch(generate(problem, size, batch=count, seed=1)):
        first = starts(one, samples)
        begun.append([cost(one, x) for x in first[0]])
        search = LocalSearch(one)
        for_each, spent = timed(
            lambda search=search, first=first: [search.improve(x.numpy()) for x in first[0]],
            torch.device("cpu"),
        )
        compiled.append([cost(one, torch.from_numpy(x.actions)) for x in for_each])
        seconds[0] += spent
        there, placed = BatchedLocalSearch(one.to(device)), first.to(device)
        found, spent = timed(lambda s=there, x=placed: s.improve(x), device)
        batched.append([cost(one, x) for x in found.actions[0].cpu()])
        seconds[1] += spent
        iterations += found.iterations
    cells = [f"{problem.upper()}{size}"]
    cells += [f"{fmean(map(fmean, costs)):.3f}" for costs in (begun, compiled, batched)]
    cells += [f"{fmean(map(min, costs)):.3f}" for costs in (compiled, batched)]
    cells += [f"{1000 * s / (count * samples):.2f}" for s in seconds]
    cells += [f"{iterations / count:.0f}", f"{iterations / seconds[1]:.0f}"]
    return "| " + " | ".join(cells) + " |"


def growth(problem: str, size: int, batches: list[int], device: torch.device) -> str:
    """A row of the table of growth: solutions per second to local optima, and in brackets
    iterations per second."""
    (one,) = unbatch(generate(problem, size, seed=1))
    search = BatchedLocalSearch(one.to(device))
    cells = [f"{problem.upper()}{size}"]
    for count in batches:
        first = starts(one, count).to(device)
        # the first call also warms up what it allocates
        timed(lambda x=first: search.improve(x), device)
        found, spent = timed(lambda x=first: search.improve(x), device)
        cells.append(f"{count / spent:.0f} ({found.iterations / spent:.0f})")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--instances", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.set_num_threads(1)
    compile_local_search()
    print("| | start | mean, compiled | batched | best, compiled | batched | ms a solution, "
          "compiled | batched | iterations | iterations/s |")  # fmt: skip
    print("|---|" + "---|" * 9)
    for size in args.sizes:
        for problem in PROBLEMS:
            print(compare(problem, size, args.instances, args.samples, device), flush=True)
    print("\n| | " + " | ".join(f"{count} at once" for count in args.batches) + " |")
    print("|---|" + "---|" * len(args.batches))
    for problem in PROBLEMS:
        print(growth(problem, args.sizes[-1], args.batches, device), flush=True)


if __name__ == "__main__":
    main()
