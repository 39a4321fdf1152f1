"""The instances, references and verdicts of the learning comparison.

The cost of every tour, of both sides and of the reference, is recomputed by our checker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nco
from nco.data.batching import unbatch
from nco.data.instance import Instance
from nco.envs.checker import check_routes, routes_from_actions

SEED = 20_250_101
"""Of the test instances; no training draws from it."""
REFERENCES = {"tsp": "elkai", "cvrp": "pyvrp"}
"""Elkai is LKH; its tours of 20 nodes are optimal."""


@dataclass(frozen=True)
class Files:
    """The test instances as both workers read them, and what the reference found."""

    instances: Path
    reference: Path
    batch: list[Instance]


def prepare(folder: Path, problem: str, size: int, count: int, time_limit: float) -> Files:
    """Write fresh instances and solve them by the reference; a finished reference is kept."""
    batch = nco.generate(problem, size, count, SEED)
    name = f"{problem}{size}-{count}"
    instances = folder / f"instances-{name}.npz"
    assert batch.coords is not None  # generated
    fields = {"locs": batch.coords.numpy()}
    if problem == "cvrp":
        fields |= {"demand": batch.linehaul.numpy(), "capacity": batch.capacity.numpy()}
    _save(instances, fields)
    reference = folder / f"reference-{name}-{time_limit:g}s.npz"
    singles = unbatch(batch)
    if not reference.exists():
        # LKH stops by itself
        limit = time_limit if problem == "cvrp" else None
        solutions = nco.solve(batch, solver=REFERENCES[problem], time_limit=limit, seed=0)
        infeasible = [index for index, solution in enumerate(solutions) if not solution.feasible]
        if infeasible:
            raise SystemExit(f"{REFERENCES[problem]} found no solution of instances {infeasible}")
        _save(reference, {"cost": np.array([solution.cost for solution in solutions])})
    return Files(instances, reference, singles)


def judge(files: Files, output: Path) -> dict[str, Any]:
    """Mean cost and gap of the actions that a worker wrote.

    Raises:
        SystemExit: a solution is infeasible, or the worker claims another cost than ours.
    """
    with np.load(output) as stored, np.load(files.reference) as reference:
        actions, claims, best = stored["actions"], stored["cost"], reference["cost"]
    costs = []
    for index, (instance, row) in enumerate(zip(files.batch, actions, strict=True)):
        routes, depots = routes_from_actions(instance, row.tolist())
        report = check_routes(instance, routes, depots)
        if not report.feasible:
            raise SystemExit(f"{output}, instance {index}: {'; '.join(report.violations)}")
        if abs(report.cost - claims[index]) > 1e-4 * report.cost:
            raise SystemExit(
                f"{output}, instance {index}: claims {claims[index]}, its routes cost {report.cost}"
            )
        costs.append(report.cost)
    mean, reference_mean = float(np.mean(costs)), float(np.mean(best))
    return {
        "mean_cost": mean,
        "reference_cost": reference_mean,
        "gap_percent": 100 * (mean / reference_mean - 1),
        "mean_instance_gap_percent": float(100 * np.mean(np.array(costs) / best - 1)),
    }


def table(results: list[dict[str, Any]]) -> list[str]:
    """Markdown lines: one row a problem."""
    lines = [
        "| learning, then greedy from all starts ×8 | CPU s nco / RL4CO | training instances "
        "nco / RL4CO | reference cost | gap nco, % | gap RL4CO, % |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        case, ours, theirs = result["case"], result["nco"], result["rl4co"]
        lines.append(
            f"| {case['problem'].upper()}{case['size']} "
            f"| {ours['cpu_seconds']:.0f} / {theirs['cpu_seconds']:.0f} "
            f"| {ours['instances']} / {theirs['instances']} | {ours['reference_cost']:.4f} "
            f"({REFERENCES[case['problem']]}) "
            f"| {ours['mean_instance_gap_percent']:.3f} "
            f"| {theirs['mean_instance_gap_percent']:.3f} |"
        )
    return lines


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, allow_pickle=False, **arrays)
    os.replace(temporary, path)
