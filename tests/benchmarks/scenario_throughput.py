"""Candidate plans times scenarios a second: the simulation in batches beside plain NumPy loops.

    python tests/benchmarks/scenario_throughput.py [--nodes 100] [--plans 64] [--scenarios 256]

Both price the same plans of the probabilistic TSP in the same scenarios, one after the other in
each round, on one thread; the costs must agree. The exact expected length is timed beside, as plans
a second, with the scenarios after which a sample mean would have cost as much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from nco.data.batching import with_dtype
from nco.data.generators import generate
from nco.data.instance import Instance, distance_matrix
from nco.data.noise import Scenarios, Split, Stream, nodes_as_entities, uniforms
from nco.envs.presence import PresenceSimulation, expected_length, require_presence
from nco.envs.scenario_cost import outcomes_in_parts


def plain_loop(distance: np.ndarray, asks: np.ndarray, plans: np.ndarray) -> np.ndarray:
    """The walk past those who ask, for each plan and scenario: as one writes it down first."""
    costs = np.zeros((len(plans), len(asks)))
    for p, plan in enumerate(plans):
        for s, there in enumerate(asks):
            stops = plan[there[plan]]
            costs[p, s] = distance[stops, np.roll(stops, -1)].sum()
    return costs


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def case(nodes: int, plans: int) -> tuple[Instance, Tensor]:
    """One instance in float64, and random tours."""
    generator = torch.Generator().manual_seed(0)
    one = generate("ptsp", num_customers=nodes, batch=1, generator=generator)
    orders = torch.rand(1, plans, nodes, generator=generator).argsort(2)
    return with_dtype(one, torch.float64), orders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--plans", type=int, default=64)
    parser.add_argument("--scenarios", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    one, orders = case(given.nodes, given.plans)
    scenarios = Scenarios(Split.SELECTION, given.scenarios)
    simulation = PresenceSimulation()
    draws = uniforms(scenarios, one, Stream.PRESENCE, nodes_as_entities(one))
    asks = (draws < require_presence(one).unsqueeze(1))[0].numpy()
    distance, plans = distance_matrix(one)[0].numpy(), orders[0].numpy()
    found = outcomes_in_parts(simulation, one, orders, scenarios).cost[0].numpy()
    np.testing.assert_allclose(found, plain_loop(distance, asks, plans), rtol=1e-12)
    seconds: dict[str, list[float]] = {"batched": [], "loop": [], "exact": []}
    for _ in range(given.rounds):
        seconds["batched"].append(
            timed(lambda: outcomes_in_parts(simulation, one, orders, scenarios))
        )
        seconds["loop"].append(timed(lambda: plain_loop(distance, asks, plans)))
        seconds["exact"].append(timed(lambda: expected_length(one, orders)))
    count = given.plans * given.scenarios
    middle = {name: float(np.median(each)) for name, each in seconds.items()}
    ratios = np.array(seconds["loop"]) / np.array(seconds["batched"])
    print(f"n = {given.nodes}, {given.plans} plans, {given.scenarios} scenarios, one thread")
    for name in ("batched", "loop"):
        print(f"{name:<8} {count / middle[name]:>12,.0f} plan-scenarios/s")
    print(f"loop / batched: median {np.median(ratios):.2f}, {ratios.min():.2f} to "
          f"{ratios.max():.2f}")  # fmt: skip
    worth = middle["exact"] / middle["batched"] * given.scenarios
    print(f"exact    {given.plans / middle['exact']:>12,.0f} plans/s, as {worth:.0f} scenarios")


if __name__ == "__main__":
    main()
