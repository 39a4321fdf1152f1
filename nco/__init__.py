"""Neural combinatorial optimisation for routing problems: train, solve, benchmark.

The public names are imported when they are first used, so that `import nco` and the command
line's help cost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nco.api import dispatch as dispatch
    from nco.api import generate as generate
    from nco.api import solve as solve
    from nco.data.errors import InputError as InputError
    from nco.data.files import read as read
    from nco.data.files import write as write
    from nco.data.instance import Instance as Instance
    from nco.data.instance import Rounding as Rounding
    from nco.data.solution import Solution as Solution
    from nco.envs.checker import check as check
    from nco.neural_solver import load as load

_HOME = {
    "Instance": "nco.data.instance",
    "InputError": "nco.data.errors",
    "Rounding": "nco.data.instance",
    "Solution": "nco.data.solution",
    "check": "nco.envs.checker",
    "dispatch": "nco.api",
    "generate": "nco.api",
    "load": "nco.neural_solver",
    "read": "nco.data.files",
    "solve": "nco.api",
    "write": "nco.data.files",
}

__all__ = [
    "InputError",
    "Instance",
    "Rounding",
    "Solution",
    "check",
    "dispatch",
    "generate",
    "load",
    "read",
    "solve",
    "write",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
