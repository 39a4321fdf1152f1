"""Independent pieces of tensor work side by side on the threads of one CPU.

Decoding is many small operations, which gain nothing from threads within an operation. Pieces of a
batch that stay in a core's cache, one thread each, use the cores fully: torch leaves Python's lock
while it computes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_WORKERS = 4
"""With more, each waits for Python's lock more than it computes; the rest are threads within."""


def num_workers(device: torch.device) -> int:
    """How many pieces run side by side."""
    return min(torch.get_num_threads(), MOST_WORKERS) if device.type == "cpu" else 1


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """``function`` of each item, in their order, whichever ends first.

    On a GPU, within a worker, and where torch has one thread, one after the other.
    """
    workers = num_workers(device)
    if workers == 1 or len(items) == 1:
        yield from map(function, items)
        return
    with_grad = torch.is_grad_enabled()

    def run(item: Item) -> Result:
        with torch.set_grad_enabled(with_grad):
            return function(item)

    yield from _pool(os.getpid(), workers, torch.get_num_threads() // workers).map(run, items)


@lru_cache(maxsize=1)
def _pool(process: int, workers: int, threads: int) -> ThreadPoolExecutor:
    """Kept, as threads that end give their memory back and fetch it anew; not over a fork."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="nco", initializer=_use_threads, initargs=(threads,)
    )
    # a thread's setting is also that of threads begun later, so all begin now and ours comes back
    list(pool.map(_wait, range(workers)))
    torch.set_num_threads(before)
    return pool


def _use_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    # a new thread takes the process's number when it is first asked: now, not when it has changed
    torch.get_num_threads()


def _wait(_: int) -> None:
    """Long enough for every worker of a new pool to take one."""
    time.sleep(0.01)
