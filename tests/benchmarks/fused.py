"""Times the fused kernel against the plain path on a GPU: greedy rollouts from all starts.

    .venv/bin/python tests/benchmarks/fused.py --batch 512

prints one row for each problem and size. Weights are fresh, so an episode of a CVRP visits the
depot more often than a trained policy's; both paths take the same steps. Compiling is not timed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch

from nco.build import build_policy
from nco.data.generators import generate
from nco.envs.variants import environments
from nco.policy_config import POMOConfig
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling, Strategy

STRATEGIES: dict[str, Strategy] = {"greedy": Greedy(), "sampling": Sampling()}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    problem: str
    size: int
    plain: float
    """Seconds of one rollout, the fastest of several."""
    fused: float
    same: float
    """Share of the trajectories that both paths build with the same cost."""

    def text(self, batch: int) -> str:
        """In Markdown; rates in instances per second."""
        return (
            f"| {self.problem} | {self.size} | {batch / self.plain:.0f} | "
            f"{batch / self.fused:.0f} | {self.plain / self.fused:.2f} | {self.same:.4f} |"
        )


def timed(problem: str, size: int, batch: int, rounds: int, strategy: Strategy) -> Row:
    """Both paths on the same instances and the same encoding, in turns."""
    device = torch.device("cuda")
    env = environments[problem]
    torch.manual_seed(0)
    policy = build_policy(POMOConfig(type="pomo"), env).eval().to(device)
    instance = generate(
        problem,
        num_customers=size,
        batch=batch,
        generator=torch.Generator(device).manual_seed(0),
    )
    count = env.num_starts(instance)
    starts = env.start_actions(instance, count)
    with torch.no_grad():
        encoding = policy.encode(instance)
    generator = torch.Generator(device)

    def run(fused: bool) -> tuple[float, Trajectory]:
        torch.cuda.synchronize()
        begun = time.perf_counter()
        found = rollout(
            env, policy, instance, strategy, num_trajectories=count, starts=starts,
            generator=generator.manual_seed(0), encoding=encoding, fused=fused,
        )  # fmt: skip
        torch.cuda.synchronize()
        return time.perf_counter() - begun, found

    (_, plain), (_, fused) = run(False), run(True)
    seconds = [(run(False)[0], run(True)[0]) for _ in range(rounds)]
    same = torch.isclose(plain.costs, fused.costs, rtol=1e-4).float().mean()
    return Row(problem, size, min(s[0] for s in seconds), min(s[1] for s in seconds), float(same))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--batch", type=int, default=512, help="instances in one rollout")
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--problems", nargs="+", default=["tsp", "cvrp"])
    parser.add_argument("--strategy", choices=STRATEGIES, default="greedy")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no GPU here")
    print(f"{torch.cuda.get_device_name()}, batch {given.batch}, {given.strategy}, all starts\n")
    print("| problem | n | plain, instances/s | fused, instances/s | ratio | same cost |")
    print("|---|---|---|---|---|---|")
    for problem in given.problems:
        for size in given.sizes:
            row = timed(problem, size, given.batch, given.rounds, STRATEGIES[given.strategy])
            print(row.text(given.batch), flush=True)


if __name__ == "__main__":
    main()
