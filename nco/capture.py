"""Running the same tensor work again and again, over the same memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch

LAST_TO_REGISTER = "2.14"
"""From this torch on, graphs find the generators that they use by themselves."""


class Capture(ABC):
    """How work is repeated."""

    @abstractmethod
    def repeatable(
        self, work: Callable[[], None], generator: torch.Generator | None
    ) -> Callable[[], None]:
        """Do the work once, and return what does it again.

        Args:
            work: reads and writes tensors that stay where they are, with shapes and a course that
                do not depend on their numbers.
            generator: what the work draws from, if not from the default one of its device. Each
                time the draws go on where the generator stands.
        """


@final
class EagerReplay(Capture):
    """Calls the work itself, for devices without graphs, and as what graphs must agree with."""

    def repeatable(
        self, work: Callable[[], None], generator: torch.Generator | None
    ) -> Callable[[], None]:
        work()
        return work


@final
class CUDAGraphReplay(Capture):
    """Replays a CUDA graph: one launch for all of the work, however many operations it has.

    Each graph has a memory pool of its own, which holds the work's intermediate results for as
    long as the returned callable lives.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        # neither warm-up nor capture may be on the default stream
        self.stream = torch.cuda.Stream(device)

    def repeatable(
        self, work: Callable[[], None], generator: torch.Generator | None
    ) -> Callable[[], None]:
        current = torch.cuda.current_stream(self.stream.device)
        # libraries set themselves up on first use, which must not be captured
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)
        graph = torch.cuda.CUDAGraph()
        if generator is not None and torch.__version__ < LAST_TO_REGISTER:
            graph.register_generator_state(generator)
        # other threads, which pin memory or watch collectives, may go on meanwhile
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            work()
        return graph.replay
