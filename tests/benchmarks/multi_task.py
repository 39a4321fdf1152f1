"""Policies on RouteFinder's 16 variants, trained for equal CPU time: what experts are worth.

    python tests/benchmarks/multi_task.py train mvmoe --cpu-seconds 900 --folder build/gates
    python tests/benchmarks/multi_task.py evaluate --folder build/gates
    python tests/benchmarks/multi_task.py adapt --folder build/gates
    python tests/benchmarks/multi_task.py mixing

`train` writes a model folder, which `nco solve` reads as any other. `evaluate` decodes every model
found there greedily from all starts in 8 positions, on held-out instances of each variant (the
`routefinder` protocol, seed 1234), and compares with PyVRP. `adapt` fine-tunes one of them to mixed
backhauls in three ways. `mixing` measures what a batch of 16 variants costs beside plain CVRPs.
Every cost is the checker's. Everything is kept in the folder, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nco.adapters import widen
from nco.algorithm import ValidationSet, learning_rate_factor, seeded_weights
from nco.build import build_env, build_policy
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.multi_task import VARIANT_SETS, variant_by_name
from nco.data.routefinder import TEST_SEED, routefinder_instances
from nco.likelihood import policy_gradient
from nco.model_files import ModelCard, TrainedOn, load_card, load_model, save_model
from nco.models.policy import Policy
from nco.neural_solver import NeuralSolver, load
from nco.pomo_training import SharedBaseline
from nco.provenance import hardware, versions
from nco.references import reference_costs
from nco.train_config import ReferenceConfig, TrainConfig, WarmupDecaySchedule

SIZE = 20
BATCH = 64
RATE = 5e-4
SCHEDULE = WarmupDecaySchedule(type="warmup-decay")
"""What learns fastest in a short run (docs/decisions.md)."""

SPARSE = {"type": "noisy-top-k"}
NETWORKS: dict[str, dict[str, Any]] = {
    "mtpomo": {"type": "pomo"},
    "mvmoe": {"type": "pomo", "experts": SPARSE, "decoder_experts": SPARSE},
    "mvmoe-light": {
        "type": "pomo", "experts": SPARSE, "decoder_experts": {"type": "hierarchical"},
    },
    "routefinder": {"type": "routefinder"},
    "routefinder-reld": {"type": "routefinder", "decoder": "reld"},
    "routefinder-film": {"type": "routefinder", "film": True},
    "routefinder-shared-sigmoid": {
        "type": "routefinder", "hidden": 256, "experts": {"type": "shared-sigmoid"},
    },
    "routefinder-soft-merging": {"type": "routefinder", "experts": {"type": "soft-merging"}},
    "routefinder-attribute": {"type": "routefinder", "experts": {"type": "attribute"}},
}  # fmt: skip


REFERENCE = ReferenceConfig.model_validate({"solver": {"solver": "pyvrp"}, "iterations": 1000})
BASE = [variant.name for variant in VARIANT_SETS["mtvrp-16"]]
MIXED_BACKHAULS = [v.name for v in VARIANT_SETS["mtvrp-24"] if v.backhaul == "mb"]


def algorithm(
    network: dict[str, Any], problem: str, variants: Sequence[str] | None, policy: Policy | None
) -> SharedBaseline:
    """Training as `nco train` does it, without its files."""
    config = TrainConfig.model_validate(
        {
            "name": "benchmark",
            "problem": problem,
            "data": {"num_customers": SIZE, "variants": variants},
            "policy": network,
            "algorithm": {"type": "pomo", "reward_norm": {"type": "ema"}},
            "training": {"epochs": 1, "batches_per_epoch": 1, "batch_size": BATCH},
        }
    )
    generator = torch.Generator().manual_seed(0)
    nothing = generate(problem, num_customers=SIZE, batch=1, generator=generator)
    if policy is None:
        with seeded_weights(config.seed, 0):
            policy = build_policy(config.policy, build_env(problem))
    return SharedBaseline(config, ValidationSet(nothing, None), policy)


def step(trained: SharedBaseline, optimiser: torch.optim.Optimizer, index: int) -> None:
    """One batch; the figures that a run logs are left out."""
    instance = trained.draw(BATCH, trained.generator("instances", index))
    trajectory, encoding = trained.rollout(instance, trained.generator("actions", index))
    weights = -trained.advantage(instance, trajectory) / trajectory.costs.numel()
    loss, _ = policy_gradient(
        trained.policy, trained.env, instance, trajectory, weights, encoding=encoding
    )
    for name, used in {**encoding.usage, **trajectory.usage}.items():
        trained.policy.gates[name].rebalance(used[1].detach())
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained.policy.parameters(), 1.0)
    optimiser.step()


def train(name: str, cpu_seconds: float, folder: Path) -> None:
    """Train a network for so many seconds of one core; the learning rate follows that time."""
    if (folder / name).exists():
        print(f"{folder / name} is there already")
        return
    trained = algorithm(NETWORKS[name], "mtvrp-16", None, None)
    optimiser = torch.optim.Adam(trained.policy.parameters(), lr=RATE, weight_decay=1e-6)
    begin, wall, batches, told = time.process_time(), time.perf_counter(), 0, 0.0
    while (spent := time.process_time() - begin) < cpu_seconds:
        share = spent / cpu_seconds
        for group in optimiser.param_groups:
            group["lr"] = RATE * learning_rate_factor(SCHEDULE, int(share * 1e6), 0, 10**6)
        step(trained, optimiser, batches)
        batches += 1
        if spent - told > 60:
            told = spent
            print(f"{name}: {spent:.0f} s, {batches} batches", file=sys.stderr, flush=True)
    card = ModelCard(
        name=name,
        problem="mtvrp-16",
        policy=trained.config.policy,
        trained_on=TrainedOn(
            num_customers=SIZE,
            distribution="uniform",
            instances=batches * BATCH,
            hardware=f"{hardware()['processor']}, one thread, {spent:.0f} CPU seconds",
            seconds=time.perf_counter() - wall,
        ),
        metrics={},
        versions=versions(),
    )
    save_model(folder / name, trained.policy, card)


def held_out(variant: str, count: int) -> Instance:
    """The first instances of the protocol's test file; no training draws from its seed."""
    return routefinder_instances(variant_by_name(variant), SIZE, seed=TEST_SEED)[:count]


def gaps(solver: NeuralSolver, variants: Sequence[str], count: int, folder: Path) -> list[float]:
    """The mean gap of each variant in percent; costs and references are the checker's."""
    found = []
    for name in variants:
        instances = held_out(name, count)
        reference, _ = reference_costs(instances, REFERENCE, folder / "references")
        solutions = solver.solve(instances)
        assert all(s.feasible for s in solutions), [s.violations for s in solutions]
        costs = torch.tensor([s.cost for s in solutions], dtype=torch.float64)
        found.append(100 * float((costs / reference - 1).mean()))
    return found


def print_table(first: str, columns: dict[str, list[float]], rows: Sequence[str]) -> None:
    """Markdown: a row for each variant, then the mean."""
    print(f"| {first} | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for index, row in enumerate(rows):
        print(f"| {row} | " + " | ".join(f"{c[index]:.2f}" for c in columns.values()) + " |")
    means = " | ".join(f"{statistics.mean(c):.2f}" for c in columns.values())
    print(f"| mean of {len(rows)} | {means} |")


def evaluate(folder: Path, count: int) -> None:
    """A column of gaps for each model in the folder, and the instances that each has seen."""
    columns: dict[str, list[float]] = {}
    for name in NETWORKS:
        if not (folder / name).exists():
            continue
        path = folder / f"gaps-{name}-{count}.json"
        if not path.exists():
            solver = load(folder / name, augment=8)
            path.write_text(json.dumps(gaps(solver, BASE, count, folder)))
        columns[name] = json.loads(path.read_text())
    print(f"gap in % to PyVRP, {REFERENCE.iterations} iterations; {count} instances each, {SIZE} "
          "customers, greedy from all starts ×8\n")  # fmt: skip
    print_table("variant", columns, BASE)
    seen = [load_card(folder / name).trained_on.instances for name in columns]
    print("| instances seen | " + " | ".join(f"{s:,}" for s in seen) + " |")


def adapt(folder: Path, base: str, epochs: int, batches: int, count: int) -> None:
    """Mixed backhauls for a model that never saw any: zero columns (EAL), fresh layers (AL), and a
    network trained from nothing, each for the same short epochs."""
    columns: dict[str, list[float]] = {}
    card = load_card(folder / base)
    for kind in ("zero", "random", "from nothing"):
        trained = algorithm(NETWORKS[base], "mtvrp-24", MIXED_BACKHAULS, None)
        if kind == "zero" or kind == "random":
            widen(trained.policy, load_model(folder / base)[0], kind)
        optimiser = torch.optim.Adam(trained.policy.parameters(), lr=3e-4, weight_decay=1e-6)
        for epoch in range(epochs + 1):
            if epoch in (0, epochs) and (epoch, kind) != (0, "from nothing"):
                trained.policy.eval()
                solver = NeuralSolver(trained.policy, card, augment=8)
                label = f"{kind}, {epoch} epochs"
                columns[label] = gaps(solver, MIXED_BACKHAULS, count, folder)
                print(f"{label}: {statistics.mean(columns[label]):.2f} %", file=sys.stderr)
                trained.policy.train()
            if epoch < epochs:
                for batch in range(batches):
                    step(trained, optimiser, epoch * batches + batch)
    print(f"{base} on mixed backhauls, gap in % to PyVRP; {count} instances each; epochs of "
          f"{batches * BATCH} instances\n")  # fmt: skip
    print_table("variant", columns, MIXED_BACKHAULS)


def mixing(seconds: float, rounds: int) -> None:
    """Training instances per CPU second: all 16 variants, CVRPs by the same rules, and CVRPs by
    their own. Rounds alternate; the ratios are of medians."""
    cases: dict[str, tuple[str, list[str] | None]] = {
        "16 variants": ("mtvrp-16", None),
        "CVRP by the same environment": ("mtvrp-16", ["cvrp"]),
        "CVRP by its own": ("cvrp", None),
    }
    rates: dict[str, list[float]] = {name: [] for name in cases}
    runs = {}
    for name, (problem, variants) in cases.items():
        trained = algorithm(NETWORKS["routefinder"], problem, variants, None)
        runs[name] = (trained, torch.optim.Adam(trained.policy.parameters(), lr=RATE))
    index = 0
    for _ in range(rounds):
        for name, (trained, optimiser) in runs.items():
            begin, done = time.process_time(), 0
            while time.process_time() - begin < seconds:
                step(trained, optimiser, index)
                index, done = index + 1, done + BATCH
            rates[name].append(done / (time.process_time() - begin))
    first = statistics.median(rates["16 variants"])
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name}: {median:.0f} instances per CPU second, {first / median:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train")
    command.add_argument("names", nargs="+", choices=NETWORKS)
    command.add_argument("--cpu-seconds", type=float, default=900.0)
    command = commands.add_parser("evaluate")
    command.add_argument("--instances", type=int, default=64)
    command = commands.add_parser("adapt")
    command.add_argument("--base", default="routefinder", choices=NETWORKS)
    command.add_argument("--instances", type=int, default=64)
    command.add_argument("--epochs", type=int, default=10)
    command.add_argument("--batches", type=int, default=20)
    command = commands.add_parser("mixing")
    command.add_argument("--seconds", type=float, default=15.0)
    command.add_argument("--rounds", type=int, default=3)
    for command in commands.choices.values():
        command.add_argument("--folder", type=Path, default=Path("build/multi-task"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    match options.command:
        case "train":
            for name in options.names:
                train(name, options.cpu_seconds, options.folder)
        case "evaluate":
            evaluate(options.folder, options.instances)
        case "adapt":
            adapt(options.folder, options.base, options.epochs, options.batches, options.instances)
        case "mixing":
            mixing(options.seconds, options.rounds)


if __name__ == "__main__":
    main()
