"""Spans of time of the library's own functions, taken from outside while they work together.

Functions are replaced, for as long as a block runs, by themselves with two looks at the clock
around them. A span's own time is what no span within it takes, so the times of all parts add up to
the whole, and what has no function of its own is the rest of the function that holds it.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch

Mark = float | torch.cuda.Event


@dataclass(eq=False)
class Span:
    """One call."""

    part: str
    parent: Span | None
    """The span that this one is within; of work on a pool's threads the one that waits for it."""
    share: float
    """Of the time that passes meanwhile: 1, or less where several threads work side by side."""
    begin: Mark
    end: Mark | None = None
    result: Any = None
    """What `Target.keep` made of the result."""

    @property
    def outermost(self) -> Span:
        """The span that holds this one and that none holds."""
        return self if self.parent is None else self.parent.outermost


@dataclass(frozen=True)
class Target:
    """A function to put the clock around."""

    owner: Any
    """A class or a module."""
    name: str
    part: str
    keep: Callable[[Any], Any] | None = None
    """What of the result is kept."""


@dataclass
class Recorder:
    """Collects spans in the order in which they began.

    On a GPU marks are events of its stream: nothing waits, and the time in which the GPU has
    nothing to do counts for the part whose launches it waits for.
    """

    device: torch.device
    workers: int
    """Threads that work side by side on pieces of a batch."""
    spans: list[Span] = field(default_factory=list)
    _main: list[Span] = field(default_factory=list)
    _threads: threading.local = field(default_factory=threading.local)

    def mark(self) -> Mark:
        """Now."""
        if self.device.type == "cpu":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Mark, end: Mark) -> float:
        """Between two marks."""
        if isinstance(begin, torch.cuda.Event):
            assert isinstance(end, torch.cuda.Event)  # of one device
            end.synchronize()
            return begin.elapsed_time(end) / 1e3
        assert not isinstance(end, torch.cuda.Event)
        return end - begin

    @contextmanager
    def span(self, part: str) -> Iterator[Span]:
        """What runs inside is timed."""
        if threading.current_thread() is threading.main_thread():
            stack, share = self._main, 1.0
            parent = stack[-1] if stack else None
        else:
            stack = self._threads.__dict__.setdefault("stack", [])
            parent = stack[-1] if stack else self._main[-1]
            share = 1 / self.workers
        span = Span(part, parent, share, self.mark())
        self.spans.append(span)
        stack.append(span)
        try:
            yield span
        finally:
            stack.pop()
            span.end = self.mark()

    @contextmanager
    def around(self, targets: Sequence[Target]) -> Iterator[None]:
        """The functions are timed while the block runs, and as they were afterwards."""
        with ExitStack() as patches:
            for target in targets:
                timed = self._timed(target, getattr(target.owner, target.name))
                patches.enter_context(mock.patch.object(target.owner, target.name, timed))
            yield

    def _timed(self, target: Target, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
                # what is captured into a graph runs later, without Python
                return function(*args, **kwargs)
            with self.span(target.part) as span:
                result = function(*args, **kwargs)
            if target.keep is not None:
                span.result = target.keep(result)
            return result

        return call

    def own_seconds(self, spans: Sequence[Span]) -> dict[tuple[str, str], float]:
        """The own time of each part by (what it is within, its name); the former is empty for an
        outermost span."""
        total: dict[tuple[str, str], float] = defaultdict(float)
        for span in spans:
            assert span.end is not None  # the block has ended
            length = span.share * self.seconds(span.begin, span.end)
            parent = span.parent
            total["" if parent is None else parent.part, span.part] += length
            if parent is not None:
                above = parent.parent
                total["" if above is None else above.part, parent.part] -= length
        return dict(total)
