"""Policies that decide on the way, beside plans and planning again, in the same worlds.

    python tests/benchmarks/adaptive_policies.py vrpsd --adaptive MODEL --plan MODEL
    python tests/benchmarks/adaptive_policies.py spctsp --model MODEL --kool FILE

Such a policy has no plan that a benchmark's store could hold, so it is judged here. `vrpsd`: 20
customers, every solver in the same test scenarios of each instance; plans are followed with the
restocking that is best for them. `spctsp`: the instances and realised prizes of Kool et al. 2019
(arXiv 1803.08475), one world each; every tour is judged by the checker. Nobody chooses after
seeing a world.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from nco.adaptive_costs import costs_in_scenarios
from nco.api import generate
from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.reoptimisation import Reoptimisation
from nco.baselines.solver import Budget, Solver
from nco.data.batching import replace, unbatch
from nco.data.instance import Instance
from nco.data.kool import kool_instances, kool_realised_prizes
from nco.data.noise import Scenarios, Split
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.objective import Objective
from nco.envs.plans import stacked
from nco.envs.prize_collecting import PCTSP, PrizeCollecting
from nco.envs.scenario_cost import outcomes_in_parts
from nco.envs.variants import environments, scenario_costs
from nco.import_kool import import_kool
from nco.model_files import load_model
from nco.models.policy import Policy
from nco.neural_solver import load
from nco.rollout import rollout
from nco.scenario_config import EquivalentConfig, SelectionConfig, build_scenario_solver
from nco.solver_config import PyVRPConfig
from nco.statistics import compare, estimate
from nco.strategies import Greedy

CVAR = Objective(0.95)


@dataclass
class Rows:
    """Printed one by one: figures by instance, and differences to the first row."""

    first: list[float] | None = None

    def add(self, name: str, values: list[float], seconds: float, more: str = "") -> None:
        """One row."""
        told = estimate(values, 0)
        assert told is not None
        text = f"{name:44s} {told.mean:.4f} [{told.low:.4f}, {told.high:.4f}]"
        if self.first is None:
            self.first = values
        else:
            pair = compare(values, self.first[: len(values)], 0)
            assert pair is not None
            gap = pair.difference
            text += f"  {gap.mean:+.2%} [{gap.low:+.2%}, {gap.high:+.2%}]"
        print(f"{text}  {more}{seconds:.3f} s an instance, {len(values)} instances", flush=True)


def timed(work: Callable[[], Tensor], count: int) -> tuple[Tensor, float]:
    """What comes out, and the seconds of each of ``count`` instances."""
    began = time.perf_counter()
    found = work()
    return found, (time.perf_counter() - began) / count


def vrpsd(given: argparse.Namespace) -> None:
    """Stochastic demands: decided on arrival, and planned beforehand."""
    instance = generate("vrpsd", 20, given.instances, seed=1234)
    test = Scenarios(Split.TEST, given.scenarios)
    rows = Rows()

    def tell(name: str, costs: Float[Tensor, "instance scenario"], seconds: float) -> None:
        tail = float(CVAR.of(costs).mean())
        rows.add(name, costs.double().mean(1).tolist(), seconds, f"{CVAR.name} {tail:.4f}, ")

    policy, _ = load_model(given.adaptive)
    env = environments["vrpsd-adaptive"]
    assert isinstance(env, AdaptiveEnvironment)
    costs, seconds = timed(lambda: costs_in_scenarios(env, policy, instance, test), given.instances)
    tell("policy, decides on arrival", costs, seconds)
    learned = load(given.plan, selection=SelectionConfig(plans=160))
    rooms = {"PyVRP, mean demands": 1.0, "PyVRP, room for all": 100.0}
    planners: dict[str, Solver] = {"policy, plans x8": learned}
    for name, level in rooms.items():
        planners[name] = build_scenario_solver(
            EquivalentConfig(
                solver="equivalent", problem="vrpsd", level=level, by=PyVRPConfig(solver="pyvrp")
            )
        )
    for name, solver in planners.items():
        budget = Budget() if solver is learned else Budget(time_limit=0.5)
        solutions = solver.solve(instance, budget, 0)
        priced = []
        for one, solution in zip(unbatch(instance), solutions, strict=True):
            plan = stacked(one, [(solution.routes, solution.depots)])
            priced.append(outcomes_in_parts(scenario_costs["vrpsd"], one, plan, test).cost[0, 0])
        tell(name, torch.stack(priced), sum(s.seconds for s in solutions) / len(solutions))


def spctsp(given: argparse.Namespace) -> None:
    """Stochastic prizes: our policy, the published weights, and planning again on the way."""
    instance = kool_instances("pctsp", 20, given.instances)
    realised = kool_realised_prizes(20, given.instances)
    instance = replace(instance, {"key": torch.arange(given.instances)})

    class Published(PrizeCollecting):
        def _prizes(self, instance: Instance) -> Tensor:
            return realised[instance.key].unsqueeze(1)

    def judged(actions: Tensor) -> Tensor:
        costs = []
        for i, one in enumerate(unbatch(instance)):
            routes, _ = routes_from_actions(one, actions[i, 0])
            found = check_routes(one, routes, realised_prizes=realised[i].double().tolist())
            assert found.feasible, found.violations
            costs.append(found.cost)
        return torch.tensor(costs)

    policies: dict[str, Policy] = {"policy, greedy": load_model(given.model)[0]}
    if given.kool is not None:
        policies["Kool et al.'s PCTSP weights, greedy"] = import_kool(given.kool, PCTSP())
    rows = Rows()
    for name, policy in policies.items():
        found, seconds = timed(
            lambda p=policy: rollout(Published(), p, instance, Greedy()).actions, given.instances
        )
        rows.add(name, judged(found).tolist(), seconds)
    part = instance[: given.walks]
    for share in ("all", "half", "first")[: given.shares]:
        solver = Reoptimisation(ORToolsSolver(), share)
        walks = solver.run(part, realised[: given.walks].double(), Budget(iterations=100), 0)
        seconds = sum(walk.seconds for walk in walks) / len(walks)
        rows.add(f"OR-Tools plans again, follows {share}", [w.cost for w in walks], seconds)


def main() -> None:
    """Print the rows of one problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    problems = parser.add_subparsers(dest="problem", required=True)
    demands = problems.add_parser("vrpsd")
    demands.add_argument("--adaptive", type=Path, required=True)
    demands.add_argument("--plan", type=Path, required=True)
    demands.add_argument("--instances", type=int, default=32)
    demands.add_argument("--scenarios", type=int, default=1000)
    prizes = problems.add_parser("spctsp")
    prizes.add_argument("--model", type=Path, required=True)
    prizes.add_argument("--kool", type=Path, help="Their weights, pctsp_20, as safetensors.")
    prizes.add_argument("--instances", type=int, default=10_000)
    prizes.add_argument("--walks", type=int, default=200, help="Instances that are planned again.")
    prizes.add_argument("--shares", type=int, default=3, help="Of all, half, first: how many.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    (vrpsd if given.problem == "vrpsd" else spctsp)(given)


if __name__ == "__main__":
    main()
