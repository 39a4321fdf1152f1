"""Times the ways to run a rollout: the plain loop, a captured step, one kernel for all steps.

    .venv/bin/python tests/benchmarks/fused.py

prints one row for each strategy, problem and size, on a GPU with 512 instances from all starts, and
fails where greedy actions differ. Weights are fresh, so an episode of a CVRP visits the depot more
often than a trained policy's; all ways take the same steps. Compiling and capturing are not timed:
the first rollout of each way does that.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch

from nco.build import build_policy
from nco.capture import CUDAGraphReplay, EagerReplay
from nco.captured_rollout import CapturedRollouts
from nco.data.generators import generate
from nco.envs.variants import environments
from nco.fused_rollout import why_not_fused
from nco.kernels import Kernel
from nco.policy_config import AttentionModelConfig, PolicyConfig, POMOConfig, RouteFinderConfig
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling, Strategy

STRATEGIES: dict[str, Strategy] = {"greedy": Greedy(), "sampling": Sampling()}
POLICIES: dict[str, PolicyConfig] = {
    "pomo": POMOConfig(type="pomo"),
    "attention-model": AttentionModelConfig(type="attention_model"),
    "reld": RouteFinderConfig(type="routefinder", decoder="reld"),
}
SAME = 0.99
"""Of greedy trajectories: rounding may turn a choice between scores that are nearly equal."""

Run: TypeAlias = Callable[[], Trajectory]


class Way(NamedTuple):
    """One way's result, against the plain loop's."""

    seconds: float
    """Of one rollout, the fastest of several."""
    same: float
    """Share of the trajectories that are the plain loop's."""


def timed(run: Run, device: torch.device) -> float:
    """Seconds of one rollout."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def same(found: Trajectory, plain: Trajectory) -> float:
    """Share of equal trajectories; one may wait at its end for longer than the other."""
    steps = min(found.actions.shape[2], plain.actions.shape[2])
    equal = (found.actions[:, :, :steps] == plain.actions[:, :, :steps]).all(2)
    return float(equal.float().mean())


def ways(given: argparse.Namespace, problem: str, size: int, strategy: Strategy) -> dict[str, Way]:
    """All ways on the same instances and the same encoding, in turns."""
    device = torch.device(given.device)
    env = environments[problem]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        policy = build_policy(POLICIES[given.policy], env).eval().to(device)
    instance = generate(
        problem,
        num_customers=size,
        batch=given.batch,
        generator=torch.Generator(device).manual_seed(0),
    )
    count = env.num_starts(instance)
    starts = env.start_actions(instance, count)
    with torch.no_grad():
        encoding = policy.encode(instance)
    generator = torch.Generator(device)
    capture = CUDAGraphReplay(device) if device.type == "cuda" else EagerReplay()
    kept = CapturedRollouts(capture, most_kept=4)

    def run(kernel: Kernel | CapturedRollouts) -> Trajectory:
        return rollout(
            env, policy, instance, strategy, num_trajectories=count, starts=starts,
            generator=generator.manual_seed(0), encoding=encoding, record=given.record,
            kernel=kernel,
        )  # fmt: skip

    runs: dict[str, Run] = {"plain": lambda: run("plain"), "captured": lambda: run(kept)}
    if why_not_fused(env, policy, instance.num_nodes, device, strategy) is None:
        runs["fused"] = lambda: run("triton")
    found = {name: way() for name, way in runs.items()}
    shares = {name: same(trajectory, found["plain"]) for name, trajectory in found.items()}
    found.clear()
    seconds = [
        {name: timed(way, device) for name, way in runs.items()} for _ in range(given.rounds)
    ]
    return {name: Way(min(s[name] for s in seconds), shares[name]) for name in runs}


def row(name: str, problem: str, size: int, batch: int, found: dict[str, Way]) -> str:
    """In Markdown; rates in instances per second, and in parentheses how many times the plain
    loop's."""
    plain = found["plain"].seconds
    cells = [f"{batch / plain:.0f}"]
    for way in ("captured", "fused"):
        if way not in found:
            cells += ["", ""]
            continue
        seconds, share = found[way]
        cells += [f"{batch / seconds:.0f} ({plain / seconds:.2f})", f"{share:.4f}"]
    return f"| {name} | {problem} | {size} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=512, help="instances in one rollout")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100])
    parser.add_argument("--problems", nargs="+", default=["tsp", "cvrp"])
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=[*STRATEGIES])
    parser.add_argument("--policy", choices=POLICIES, default="pomo")
    parser.add_argument("--record", action="store_true", help="keep states, as training does")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--tf32", action="store_true", help="products of all ways but the fused one"
    )
    parser.add_argument("--device", default="cuda", help="cpu tries the script, without graphs")
    given = parser.parse_args()
    on_gpu = torch.device(given.device).type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        parser.error("there is no GPU here")
    if given.tf32:
        torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    print(f"{name}, torch {torch.__version__}, {given.policy}, batch {given.batch}, all starts")
    print(f"products in {'tf32' if given.tf32 else 'float32'}\n")
    print("| strategy | problem | n | plain, instances/s | captured | same | fused | same |")
    print("|---|---|---|---|---|---|---|---|")
    differ = []
    for strategy in given.strategies:
        for problem in given.problems:
            for size in given.sizes:
                found = ways(given, problem, size, STRATEGIES[strategy])
                print(row(strategy, problem, size, given.batch, found), flush=True)
                if strategy == "greedy":
                    worst = min(way.same for way in found.values())
                    differ += [f"{problem} {size}: {worst}"] if worst < SAME else []
    if differ:
        sys.exit(f"greedy actions differ: {'; '.join(differ)}")


if __name__ == "__main__":
    main()
