"""Whether the ratios to RL4CO have fallen since they were stored; `make benchmark` asks.

Both sides of a ratio are measured in one run on one machine, so it carries over to another machine
roughly, where a time does not: caches and the number of cores still tell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

FALL = 0.2
"""The largest share of a stored ratio that may be lost."""


@dataclass(frozen=True)
class Expected:
    """A stored ratio and where it comes from."""

    ratio: float
    """The speed of nco over that of RL4CO."""
    machine: str
    date: str
    """UTC, ISO 8601."""
    commit: str | None
    command: str


@dataclass(frozen=True)
class Verdict:
    """What is said of one case."""

    case: str
    ratio: float
    expected: float | None
    """None where the case is not stored."""

    @property
    def fallen(self) -> bool:
        """Below what is stored by more than `FALL`."""
        return self.expected is not None and self.ratio < (1 - FALL) * self.expected

    @property
    def passed(self) -> bool:
        """A case that is not stored does not pass: nobody would miss it otherwise."""
        return self.expected is not None and not self.fallen

    @property
    def line(self) -> str:
        """For people."""
        if self.expected is None:
            return f"FAILED {self.case}: ratio {self.ratio:.2f}, none is stored; --write-expected"
        change = 100 * (self.ratio / self.expected - 1)
        return (
            f"{'FAILED' if self.fallen else 'passed'} {self.case}: ratio {self.ratio:.2f}, stored "
            f"{self.expected:.2f} ({change:+.0f} %; at most -{100 * FALL:.0f} % is accepted)"
        )


def judge(ratios: Mapping[str, float], expected: Mapping[str, Expected]) -> list[Verdict]:
    """One verdict for each measured case, in their order; stored cases that were not measured are
    left out."""
    return [
        Verdict(case, ratio, expected[case].ratio if case in expected else None)
        for case, ratio in ratios.items()
    ]


def read(path: Path) -> dict[str, Expected]:
    """The stored ratios by case; none where there is no file yet."""
    if not path.exists():
        return {}
    return {case: Expected(**stored) for case, stored in json.loads(path.read_text()).items()}


def write(path: Path, fresh: Mapping[str, Expected]) -> None:
    """Store the measured cases; others that are stored stay as they are."""
    merged = read(path) | dict(fresh)
    text = json.dumps({case: asdict(one) for case, one in merged.items()}, indent=1) + "\n"
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(text)
    os.replace(temporary, path)
