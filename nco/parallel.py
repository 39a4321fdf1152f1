"""Independent work in processes, of which any may die.

Imports little, since every worker imports this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int, died: Result
) -> Iterator[tuple[Item, Result]]:
    """Each item with ``function`` of it, as they arrive, from processes with one thread each.

    With one worker everything runs in this process. Where a worker process dies, the items that
    may have killed it run again one at a time, and the one that kills again gives ``died``.
    """
    pending = dict(enumerate(items))
    alone = 0
    while pending:
        # dispatched first, so among them is the one that killed
        chosen = list(pending.items())[: 1 if alone else None]
        workers = 2 if alone and num_workers > 1 else num_workers
        with parallel_config(backend="loky", inner_max_num_threads=1):
            parallel = Parallel(n_jobs=workers, return_as="generator_unordered")
        calls = (delayed(_indexed)(function, index, item) for index, item in chosen)
        try:
            for index, result in cast("Iterator[tuple[int, Result]]", parallel(calls)):
                yield pending.pop(index), result
            alone = max(0, alone - 1)
        except TerminatedWorkerError:
            if alone:
                yield pending.pop(chosen[0][0]), died
            alone = 0 if alone else 2 * num_workers


def _indexed(function: Callable[[Item], Result], index: int, item: Item) -> tuple[int, Result]:
    return index, function(item)
