"""Solution files of CVRPLIB (``.sol``) and tours of TSPLIB (``.tour``)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from nco.data import keyword_file
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.data.text_file import read_text, show, to_float, to_int, write_text

_ROUTE = re.compile(r"route\s*#\s*(\S+)\s*:\s*(.*)$", re.IGNORECASE)
_COST = re.compile(r"cost\s*:?\s*(.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class StoredSolution:
    """What a solution file says. Nothing of it is checked: `nco.envs.checker` does that."""

    routes: list[list[int]]
    """Nodes as `Solution` numbers them."""
    depots: list[int] | None = None
    """The depot of each route; None where the file does not tell."""
    vehicles: list[int] | None = None
    """The vehicle of each route; None where the file does not tell."""
    cost: float | None = None
    """As the file claims, in the units of whoever wrote it; None where it does not tell."""
    feasible: bool | None = None
    """As the file claims; None where it does not tell."""
    violations: list[str] | None = None
    """As the file claims; None where it does not tell."""
    seconds: float | None = None
    solver: str | None = None
    trace: list[tuple[float, float]] | None = None
    instance: Instance | None = None
    """The instance solved, where the file holds it."""


def read_sol(path: str | Path) -> StoredSolution:
    """Read CVRPLIB's ``Route #k: ...`` lines and the ``Cost``.

    Customer numbers stay as they are: they are positions in an instance whose depots come first.

    Raises:
        InputError: a line is neither, a number is no customer, the route numbers are not 1, 2, ...,
            or the cost is missing (the file may be cut short).
    """
    path = Path(path)
    routes: list[list[int]] = []
    cost: float | None = None
    for number, raw in enumerate(read_text(path).splitlines(), start=1):
        line, where = raw.strip(), f"{path}, line {number}"
        route, claim = _ROUTE.match(line), _COST.match(line)
        if route:
            if to_int(route.group(1), where) != len(routes) + 1:
                raise InputError(
                    f"{where}: route {route.group(1)} comes after {len(routes)} routes; "
                    f"accepted: Route #{len(routes) + 1}"
                )
            routes.append([to_int(token, where, 1) for token in route.group(2).split()])
        elif claim and cost is None:
            cost = to_float(claim.group(1), where)
        elif line:
            raise InputError(
                f"{where}: {line[:60]!r} is not understood; accepted: 'Route #k: customers' and "
                "one 'Cost value'"
            )
    if cost is None:
        raise InputError(f"{path}: Cost is missing, the file may be cut short; accepted: a line "
                         "'Cost value' after the routes")  # fmt: skip
    return StoredSolution(routes, cost=cost)


def require_one_depot(instance: Instance, path: Path) -> None:
    """Raise `InputError` where a .sol file could not tell the routes of the instance."""
    num_depots = int(instance.num_depots[0])
    if instance.fleet is not None:
        raise InputError(
            f"{path}: the form does not say which vehicle drives a route of a fleet; accepted: "
            ".json or .geojson"
        )
    if num_depots != 1:
        raise InputError(
            f"{path}: a .sol file is for one depot, the instance has {num_depots}; accepted: "
            f"{'.tour or ' if num_depots == 0 else ''}.json"
        )


def write_sol(solution: Solution, path: str | Path) -> None:
    """Write the routes and the cost in CVRPLIB's form, which has no word for infeasible.

    Raises:
        InputError: the routes are of a TSP, of several depots or of a fleet, which the form cannot
            tell apart, the cost is not finite, or the file cannot be written.
    """
    path = Path(path)
    require_one_depot(solution.instance, path)
    if not math.isfinite(solution.cost):
        raise InputError(f"{path}: the cost is {solution.cost}; accepted: a finite one, or .json")
    lines = [
        f"Route #{k}: {' '.join(map(str, route))}" for k, route in enumerate(solution.routes, 1)
    ]
    write_text(path, "\n".join([*lines, f"Cost {show(solution.cost)}"]) + "\n")


def read_tour(path: str | Path) -> StoredSolution:
    """Read the one tour of a TSPLIB ``.tour`` file, whose node 1 is our node 0.

    Raises:
        InputError: it is no tour file, or the numbers are not DIMENSION nodes closed by -1.
    """
    path = Path(path)
    document = keyword_file.parse(path, read_text(path))
    document.word("TYPE", ("TOUR",))
    document.refuse_unknown(("NAME", "TYPE", "COMMENT", "DIMENSION"), ("TOUR_SECTION",))
    size, section = document.integer("DIMENSION", 1), document.section("TOUR_SECTION")
    words = [
        to_int(token, document.where(row.line, section.name))
        for row in section.rows
        for token in row.tokens
    ]
    if len(words) != size + 1 or words[-1] != -1 or min(words[:-1]) < 1:
        raise InputError(
            f"{document.where(section.line, section.name)}: there are {len(words)} numbers; "
            f"accepted: {size} nodes (DIMENSION), from 1, and a closing -1"
        )
    return StoredSolution([[node - 1 for node in words[:-1]]])


def require_tsp(instance: Instance, path: Path) -> None:
    """Raise `InputError` where a .tour file could not tell the routes of the instance."""
    if int(instance.num_depots[0]) != 0:
        raise InputError(f"{path}: a .tour file is for a TSP; accepted: .sol or .json")


def write_tour(solution: Solution, path: str | Path) -> None:
    """Write the tour of a TSP in TSPLIB's form.

    Raises:
        InputError: the solution is not one of a TSP, or the file cannot be written.
    """
    path = Path(path)
    require_tsp(solution.instance, path)
    tour = [node + 1 for route in solution.routes for node in route]
    lines = [f"NAME : {path.stem}", "TYPE : TOUR", f"COMMENT : Length {show(solution.cost)}",
             f"DIMENSION : {len(tour)}", "TOUR_SECTION", *map(str, tour), "-1", "EOF"]  # fmt: skip
    write_text(path, "\n".join(lines) + "\n")
