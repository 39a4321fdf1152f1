"""Reading and writing of instances and solutions in every format that we know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from nco.data import keyword_file
from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.geojson import require_coords, write_geojson
from nco.data.instance import Instance, Rounding
from nco.data.json_format import (
    parse_json_instances,
    read_json_solutions,
    write_json_instances,
    write_json_solutions,
)
from nco.data.solomon import is_solomon, parse_solomon, write_solomon
from nco.data.solution import Solution
from nco.data.solution_files import (
    StoredSolution,
    read_sol,
    read_tour,
    require_one_depot,
    require_tsp,
    write_sol,
    write_tour,
)
from nco.data.text_file import read_text
from nco.data.tsplib import TYPES as TSP_TYPES
from nco.data.tsplib import tsp_from_document, write_tsplib
from nco.data.vrplib_format import TYPES as VRP_TYPES
from nco.data.vrplib_format import vrp_from_document, write_vrplib

__all__ = ["read", "read_solution", "write", "write_geojson", "write_solution"]

_Format = TypeVar("_Format")

_WRITERS: dict[str, Callable[[Instance, Path], None]] = {
    ".vrp": write_vrplib,
    ".tsp": write_tsplib,
    ".atsp": write_tsplib,
    ".txt": write_solomon,
    ".json": write_json_instances,
}
_SOLUTION_NEEDS: dict[str, Callable[[Instance, Path], None]] = {
    ".sol": require_one_depot,
    ".tour": require_tsp,
    ".json": lambda instance, path: None,
    ".geojson": require_coords,
}
_SOLUTION_WRITERS: dict[str, Callable[[Solution, Path], None]] = {
    ".sol": write_sol,
    ".tour": write_tour,
    ".json": lambda solution, path: write_json_solutions([solution], path),
    ".geojson": write_geojson,
}
INSTANCE_SUFFIXES = tuple(_WRITERS)
"""What `write` knows."""
SOLUTION_SUFFIXES = tuple(_SOLUTION_WRITERS)
"""What `write_solution` knows."""


def read(path: str | Path, *, rounding: Rounding | str | None = None) -> Instance:
    """Read VRPLIB, TSPLIB, Solomon text or our JSON; what it is, the content says.

    Args:
        rounding: of Euclidean lengths, or its name in either case; None is as the file states it.
            It must be given where the file states none (Solomon, or EUC_2D with time windows).

    Returns:
        One instance, or the batch of a JSON file.

    Raises:
        InputError: the file is missing, of no known form, or its content is not accepted.
    """
    path = Path(path)
    if isinstance(rounding, str):
        rounding = rounding_by_name(rounding)
    text = read_text(path)
    if path.suffix == ".json" or text.lstrip().startswith("{"):
        return _override(parse_json_instances(path, text), rounding, path)
    if is_solomon(text):
        if rounding is None:
            raise InputError(
                f"{path}: a Solomon file does not tell how lengths are rounded; accepted: a "
                f"rounding given by the caller, one of {', '.join(r.name for r in Rounding)}"
            )
        return parse_solomon(path, text, rounding)
    document = keyword_file.parse(path, text)
    if document.word("TYPE", (*TSP_TYPES, *VRP_TYPES)) in TSP_TYPES:
        return tsp_from_document(document, rounding)
    return vrp_from_document(document, rounding)


def rounding_by_name(name: str) -> Rounding:
    """The rounding of this name, in upper or lower case.

    Raises:
        InputError: there is none.
    """
    if name.upper() not in Rounding.__members__:
        known = ", ".join(Rounding.__members__).lower()
        raise InputError(f"rounding is {name!r}; accepted: {known}")
    return Rounding[name.upper()]


def write(instance: Instance, path: str | Path) -> None:
    """Write in the format of the suffix: .vrp, .tsp, .atsp, .txt (Solomon) or .json.

    Raises:
        InputError: the suffix is none of these, the format cannot state the instance, or the file
            cannot be written.
    """
    _by_suffix(_WRITERS, Path(path))(instance, Path(path))


def read_solution(path: str | Path) -> StoredSolution:
    """Read a .sol, .tour or .json file with one solution; its claims are not checked.

    Raises:
        InputError: the suffix is none of these, or the content is not accepted.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], StoredSolution]] = {
        ".sol": read_sol,
        ".tour": read_tour,
        ".json": _one_solution,
    }
    return _by_suffix(readers, path)(path)


def write_solution(solution: Solution, path: str | Path) -> None:
    """Write in the format of the suffix: .sol, .tour (a TSP), .json or .geojson.

    Raises:
        InputError: the suffix is none of these, the format cannot state the solution, or the file
            cannot be written.
    """
    _by_suffix(_SOLUTION_WRITERS, Path(path))(solution, Path(path))


def require_expressible(instance: Instance, path: Path) -> None:
    """Raise now what `write_solution` would raise for any solution of the instance.

    Raises:
        InputError: the suffix is not known, or its format cannot state such routes.
    """
    _by_suffix(_SOLUTION_NEEDS, path)(instance, path)


def _by_suffix(formats: dict[str, _Format], path: Path) -> _Format:
    if path.suffix.lower() not in formats:
        raise InputError(
            f"{path}: the suffix {path.suffix!r} is not known; accepted: {', '.join(formats)}"
        )
    return formats[path.suffix.lower()]


def _one_solution(path: Path) -> StoredSolution:
    solutions = read_json_solutions(path)
    if len(solutions) != 1:
        raise InputError(f"{path}: there are {len(solutions)} solutions; accepted: one")
    return solutions[0]


def _override(instance: Instance, rounding: Rounding | None, path: Path) -> Instance:
    if rounding is None:
        return instance
    if instance.distance is not None:
        raise InputError(
            f"{path}: rounding {rounding.name} is asked for, but the file states the distances "
            "themselves; accepted: no rounding"
        )
    return replace(instance, {"rounding": torch.full_like(instance.rounding, int(rounding))})
