"""How fast instances come from resident city maps, and in how much memory.

    python tests/benchmarks/road_instances.py [--cities FOLDER] [--device cuda]

Without a folder, random matrices of the same size stand for cities: speed does not depend on what
is in them. Problems take turns, and the fastest round of each counts.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from nco.data.city_collection import CityCollection
from nco.data.city_map import CityMap
from nco.data.generators import generate

PROBLEMS = ("atsp", "acvrp", "acvrptw", "amtvrp-16")


def random_cities(count: int, points: int) -> CityCollection:
    """Matrices of random numbers."""
    generator = np.random.default_rng(0)
    maps = []
    for i in range(count):
        matrix = generator.uniform(1, 5000, (points, points)).astype(np.float32)
        np.fill_diagonal(matrix, 0)
        places = generator.uniform(0, 0.03, (points, 2)) + np.array([10, 50])
        maps.append(CityMap(f"city-{i}", places, matrix, matrix / 8, {}))
    return CityCollection.of(maps)


def megabytes() -> float:
    """The largest size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cities", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--num-customers", type=int, default=100)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    before = megabytes()
    cities = (
        CityCollection.load(given.cities)
        if given.cities
        else random_cities(given.count, given.points)
    ).to(given.device)
    resident = cities.ways.nbytes + cities.coords.nbytes
    print(f"{len(cities.names)} cities, {resident / 1e6:.0f} MB of maps on {cities.device}")
    generator = torch.Generator(device=given.device).manual_seed(0)
    cases = [(p, d) for p in PROBLEMS for d in ("uniform", "cluster", "mixed")]
    best = dict.fromkeys(cases, float("inf"))
    loaded = megabytes()
    size = 0.0
    for _ in range(given.rounds):
        for problem, distribution in cases:
            start = time.perf_counter()
            drawn = generate(
                problem,
                num_customers=given.num_customers,
                batch=given.batch,
                generator=generator,
                distribution=distribution,
                cities=cities,
            )
            if given.device != "cpu":
                torch.cuda.synchronize()
            best[problem, distribution] = min(
                best[problem, distribution], time.perf_counter() - start
            )
            assert drawn.distance is not None
            size = drawn.distance.nbytes * 2 / 1e6
    for (problem, distribution), seconds in best.items():
        print(f"{problem:10} {distribution:8} {given.batch / seconds:10.0f} instances/s")
    print(f"a batch's two matrices: {size:.0f} MB; process: {before:.0f} MB before loading, "
          f"{loaded:.0f} MB at most after it, {megabytes():.0f} MB at most in all")  # fmt: skip
    if given.device != "cpu":
        print(f"on the device at most {torch.cuda.max_memory_allocated() / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
