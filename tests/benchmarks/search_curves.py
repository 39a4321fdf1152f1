"""Gap over time of the searches around a model, beside PyVRP and local search without a network.

    python tests/benchmarks/search_curves.py --model MODEL --problem cvrp --output curves.jsonl
    python tests/benchmarks/search_curves.py --model MODEL --problem cvrp --output warm.jsonl \
        --only pyvrp "pyvrp from savings" "pyvrp from the model" --seconds 10

Everything runs in this process on one thread and its clock counts this process's CPU time, set-up
included: on a busy machine wall time would tell about the others. Costs are our checker's. The
reference of an instance is the cheapest that any of the runs found, which flatters all of them
alike. A line of the output is one run: instance, solver, trace; those that are there are kept.
Ruin and recreate cools down over its limit, so it is run once for each of the times.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from nco.anytime import value_at
from nco.api import generate
from nco.baselines import pyvrp_solver
from nco.baselines.savings import SavingsSolver
from nco.baselines.solver import Budget, Solver
from nco.baselines.workers import Outcome, Routes, Search, judge
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.local_search_solver import LocalSearchSolver, RuinRecreateSolver
from nco.neural_solver import NeuralSolver, load

TIMES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SEARCHES = (
    "sampling",
    "sgbs",
    "eas-embedding",
    "eas-layer",
    "active",
    "rrc",
    "local-search",
    "ruin-recreate",
)

COOLING = ("model, ruin-recreate", "ruin and recreate")
"""What they have found before their limit is not what they would find within less."""
LATE = 0.05


def pyvrp_here(start: Solver | None, instance: Instance, seconds: float) -> Solution:
    """PyVRP in this process: a worker's CPU time would not count."""
    begun = time.monotonic()
    problem = pyvrp_solver.problem_of(instance)
    if start is not None:
        (first,) = start.solve(instance, Budget(time_limit=seconds), 0)
        problem = replace(problem, start=Routes(first.routes, first.depots))
    done = pyvrp_solver.search(problem, Search(begun + seconds, None, 0))
    assert done.best is not None
    improvements = [(at - begun, found) for at, found in done.improvements]
    return judge("pyvrp", instance, Outcome(done.best, improvements, time.monotonic() - begun))


def by_solver(solver: Solver, instance: Instance, seconds: float) -> Solution:
    """One instance by any other solver."""
    return solver.solve(instance, Budget(time_limit=seconds), 0)[0]


def contestants(model: NeuralSolver) -> dict[str, Callable[[Instance, float], Solution]]:
    """What is compared, by name."""
    greedy = replace(model, samples=None, augment=1)
    found: dict[str, Callable[[Instance, float], Solution]] = {
        "model, greedy x8": partial(by_solver, model),
    }
    for name in SEARCHES:
        found[f"model, {name}"] = partial(by_solver, model.searching(name))
    for start in ("nearest", "random", "savings"):
        found[f"local search, {start}"] = partial(by_solver, LocalSearchSolver(start))
    found["ruin and recreate"] = partial(by_solver, RuinRecreateSolver())
    found["pyvrp"] = partial(pyvrp_here, None)
    found["pyvrp from savings"] = partial(pyvrp_here, SavingsSolver())
    found["pyvrp from the model"] = partial(pyvrp_here, greedy)
    return found


def known(path: Path) -> dict[tuple[int, str], list[tuple[float, float]]]:
    """The traces so far."""
    if not path.is_file():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["instance"], line["solver"]): line["trace"] for line in lines}


def curve_of(
    run: Callable[[Instance, float], Solution], name: str, instance: Instance, seconds: float
) -> list[tuple[float, float]]:
    """Seconds and costs of one solver on one instance."""
    found: list[tuple[float, float]] = []
    for limit in [at for at in TIMES if at <= seconds] if name in COOLING else [seconds]:
        solution = run(instance, limit)
        assert solution.feasible, solution.violations
        if name in COOLING:
            # the last step ends a little after the limit, as PyVRP's last iteration does
            late = solution.seconds > limit + LATE
            found.append((solution.seconds if late else limit, solution.cost))
        else:
            found += solution.trace or [(solution.seconds, solution.cost)]
    return found


def table(path: Path, seconds: float) -> str:
    """Mean gap in per cent, by the instances that every solver has run on."""
    times = [at for at in TIMES if at <= seconds]
    traces: dict[int, dict[str, list[tuple[float, float]]]] = defaultdict(dict)
    for (instance, solver), trace in known(path).items():
        traces[instance][solver] = trace
    most = max(len(runs) for runs in traces.values())
    complete = [runs for runs in traces.values() if len(runs) == most]
    lines = [f"{len(complete)} instances | " + " | ".join(f"{t:g} s" for t in times)]
    for solver in complete[0]:
        cells = []
        for at in times:
            gaps = []
            for runs in complete:
                best = min(cost for trace in runs.values() for _, cost in trace)
                cost = value_at(runs[solver], at)
                gaps.append(None if cost is None else 100 * (cost / best - 1))
            there = [gap for gap in gaps if gap is not None]
            mean = f"{sum(there) / len(there):.2f}" if there else "-"
            cells.append(mean + (f" ({len(there)})" if len(there) < len(gaps) else ""))
        lines.append(f"{solver} | " + " | ".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--problem", required=True)
    parser.add_argument("--num-customers", type=int, default=50)
    parser.add_argument("--instances", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0, help="of every run: one of the times")
    parser.add_argument("--only", nargs="+", help="these solvers, by the names in the table")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    time.perf_counter = time.monotonic = time.process_time  # the clocks that solvers read
    runs = contestants(load(given.model))
    if given.only is not None:
        unknown = sorted(set(given.only) - set(runs))
        if unknown:
            parser.error(f"--only {unknown[0]!r}; accepted: {', '.join(runs)}")
        runs = {name: runs[name] for name in given.only}
    batch = unbatch(generate(given.problem, given.num_customers, given.instances, seed=1234))
    for run in runs.values():
        run(batch[0], 0.2)  # compile, import
    done = known(given.output)
    for index, one in enumerate(batch):
        for name, run in runs.items():
            if (index, name) in done:
                continue
            trace = curve_of(run, name, one, given.seconds)
            line = {"instance": index, "solver": name, "trace": trace}
            with given.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
    print(table(given.output, given.seconds))


if __name__ == "__main__":
    main()
