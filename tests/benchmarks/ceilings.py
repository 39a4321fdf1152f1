"""What a machine can do at best: float32 products, copies and exponentials, measured.

Products and exponentials of the sizes that occur run as rollouts run theirs: on a CPU several
threads side by side with an operation each (`nco.threads`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
import work
from torch import Tensor

from nco.data.generators import generate
from nco.policy_config import POMOConfig
from nco.rollout import trajectories_at_once
from nco.threads import map_in_order, num_workers

SECONDS = 1.0
"""Of each measurement."""


@dataclass(frozen=True)
class Ceilings:
    """Per second, of the whole device."""

    large: float
    """Operations of a large product."""
    copied: float
    """Bytes read and written by a large copy."""
    exponentials: float
    products: dict[tuple[str, int], float]
    """Operations of the products that occur, by kind and number of customers."""

    def least_seconds(self, done: work.Work, size: int) -> float:
        """For products and exponentials one after the other, each at the measured rate of its
        kind."""
        kinds = done.operations.items()
        products = sum(count / self.products[kind, size] for kind, count in kinds)
        return products + done.exponentials / self.exponentials


def rate(function: Callable[[], object], amount: float, device: torch.device) -> float:
    """``amount`` over the shortest time of a call, batches of calls being timed where one is too
    short for the clock."""

    def timed(calls: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(calls):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - begun) / calls

    timed(1)
    calls = max(1, int(0.02 / max(timed(2), 1e-7)))
    begun, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begun < SECONDS:
        best = min(best, timed(calls))
    return amount / best


def side_by_side(function: Callable[[], object], amount: float, device: torch.device) -> float:
    """The rate of all workers together, each calling ``function`` by itself."""
    workers = num_workers(device)
    repeats = 64

    def several(_: int) -> None:
        for _ in range(repeats):
            function()

    def together() -> None:
        list(map_in_order(several, range(workers), device))

    return rate(together, amount * repeats * workers, device)


def matmul(left: tuple[int, ...], right: tuple[int, ...], device: torch.device) -> float:
    """Operations per second of a product, as rollouts run it."""
    a, b = torch.randn(left, device=device), torch.randn(right, device=device)
    out: Tensor = a @ b
    amount = 2 * prod(left) * right[-1]
    return side_by_side(lambda: torch.matmul(a, b, out=out), amount, device)


def measure(config: POMOConfig, sizes: list[int], batch: int, device: torch.device) -> Ceilings:
    """All ceilings; ``sizes`` are numbers of customers, ``batch`` that of training."""
    side = 2048 if device.type == "cpu" else 8192
    a = torch.randn(side, side, device=device)
    large = rate(lambda: a @ a, 2.0 * side**3, device)
    source = torch.randn(2**26, device=device)
    target = torch.empty_like(source)
    copied = rate(lambda: target.copy_(source), 8.0 * 2**26, device)
    del source, target
    # 1 MB stays in a core's cache, as a chunk of a rollout does
    numbers = torch.rand(2**18 if device.type == "cpu" else 2**26, device=device)
    result = torch.empty_like(numbers)
    exponentials = side_by_side(lambda: torch.exp(numbers, out=result), numbers.numel(), device)
    d, h, hidden = config.dim, config.num_heads, config.hidden
    products = {}
    for n in sizes:
        instance = generate("tsp", num_customers=n, batch=batch,
                            generator=torch.Generator(device).manual_seed(0))  # fmt: skip
        # as many instances as a plain rollout takes at once
        b = max(1, min(trajectories_at_once(instance, None) // n, batch))
        products[work.LINEAR, n] = rate_of_linear(batch * n, d, hidden, device)
        products[work.SCORES, n] = matmul((b, h, n, d // h), (b, h, d // h, n), device)
        products[work.VALUES, n] = matmul((b, h, n, n), (b, h, n, d // h), device)
        products[work.POINTER, n] = matmul((b, n, d), (b, d, n), device)
    return Ceilings(large, copied, exponentials, products)


def rate_of_linear(rows: int, inputs: int, outputs: int, device: torch.device) -> float:
    """Of one product on all threads: the encoder sees the whole batch at once."""
    x, w = torch.randn(rows, inputs, device=device), torch.randn(inputs, outputs, device=device)
    return rate(lambda: x @ w, 2.0 * rows * inputs * outputs, device)


def table(found: Ceilings, sizes: list[int]) -> list[str]:
    """Markdown lines."""
    lines = [
        f"Large product {found.large / 1e9:.0f} GFLOP/s, large copy {found.copied / 1e9:.1f} GB/s, "
        f"{found.exponentials / 1e9:.2f} billion exp/s. Products of the sizes that occur, GFLOP/s:",
        "",
        f"| | {' | '.join(f'n = {n}' for n in sizes)} |",
        f"|---|{'---|' * len(sizes)}",
    ]
    for kind in (work.LINEAR, work.SCORES, work.VALUES, work.POINTER):
        rates = " | ".join(f"{found.products[kind, n] / 1e9:.1f}" for n in sizes)
        lines.append(f"| {kind} | {rates} |")
    return lines
