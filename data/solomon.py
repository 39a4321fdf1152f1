"""Solomon's text files of the VRP with time windows.

Source: M. M. Solomon, Algorithms for the vehicle routing and scheduling problems with time window
constraints, Operations Research 35(2), 1987.
"""

from __future__ import annotations

import re
from pathlib import Path

from nco.data.errors import InputError
from nco.data.instance import UNLIMITED, Instance, Rounding
from nco.data.text_file import read_text, show, to_float, to_int, write_text
from nco.data.writable import set_attributes, single

_COLUMNS = ("CUST NO.", "XCOORD.", "YCOORD.", "DEMAND", "READY TIME", "DUE DATE", "SERVICE TIME")


def read_solomon(path: str | Path, *, rounding: Rounding) -> Instance:
    """Read a Solomon file; its first row is the depot, and customer k is the k-th after it.

    The form tells neither its size nor its end: a file cut at the end of a row reads as a smaller
    instance.

    Args:
        rounding: of lengths and travel times. The file states none, and the literature has two
            traditions with different best costs: NONE (Solomon, SINTEF) and DIMACS.

    Raises:
        InputError: the file has not this form, or a value is out of range.
    """
    path = Path(path)
    return parse_solomon(path, read_text(path), rounding)


def is_solomon(text: str) -> bool:
    """Whether a text has a title that only Solomon files have."""
    lines = [line.strip().upper() for line in text.splitlines()]
    return "VEHICLE" in lines or "CUSTOMER" in lines


def parse_solomon(path: Path, text: str, rounding: Rounding) -> Instance:
    """As `read_solomon`, from the text of the file."""
    lines = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    titles = {1: "VEHICLE", 2: "NUMBER CAPACITY", 4: "CUSTOMER", 5: " ".join(_COLUMNS)}
    for position, title in titles.items():
        if len(lines) <= position:
            raise InputError(f"{path}: the line {title!r} is missing; the file may be cut short")
        number, found = lines[position]
        # the sets in circulation differ in blanks and dots
        if "".join(found).replace(".", "").upper() != re.sub(r"[ .]", "", title):
            raise InputError(
                f"{path}, line {number}: {' '.join(found)[:60]!r} is not understood; accepted: "
                f"{title!r}"
            )
    number, fleet = lines[3]
    where = f"{path}, line {number} (VEHICLE)"
    if len(fleet) != 2:
        raise InputError(f"{where}: {' '.join(fleet)!r}; accepted: NUMBER and CAPACITY")
    num_vehicles, capacity = to_int(fleet[0], where, 1), to_float(fleet[1], where, 0.0)
    rows = _rows(path, lines[6:], capacity)
    try:
        return Instance.vrp(
            coords=[row[0:2] for row in rows],
            demand=[row[2] for row in rows],
            time_window=[row[3:5] for row in rows],
            service_time=[row[5] for row in rows],
            capacity=capacity,
            num_vehicles=num_vehicles,
            rounding=rounding,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _rows(path: Path, lines: list[tuple[int, list[str]]], capacity: float) -> list[list[float]]:
    """x, y, demand, ready, due, service of each node; checked where the line is known."""
    rows: list[list[float]] = []
    seen: dict[int, int] = {}
    for number, tokens in lines:
        where = f"{path}, line {number} (CUSTOMER)"
        if len(tokens) != len(_COLUMNS):
            raise InputError(
                f"{where}: there are {len(tokens)} values; accepted: {len(_COLUMNS)}, "
                f"{', '.join(_COLUMNS)}"
            )
        customer = to_int(tokens[0], where)
        if customer in seen:
            raise InputError(
                f"{where}: customer {customer} stands here again, first in line {seen[customer]}; "
                "accepted: every number once"
            )
        seen[customer] = number
        place = [to_float(t, where) for t in tokens[1:3]]
        demand, ready, due, service = (to_float(t, where, 0.0) for t in tokens[3:])
        limit, told = (capacity, "at most CAPACITY, ") if rows else (0.0, "a depot's, ")
        if demand > limit:
            raise InputError(f"{where}: the DEMAND is {demand:g}; accepted: {told}{limit:g}")
        if service > 0 and not rows:
            raise InputError(f"{where}: the SERVICE TIME is {service:g}; accepted: a depot's, 0")
        if due < ready:
            raise InputError(
                f"{where}: READY TIME {ready:g} is after DUE DATE {due:g}; accepted: not after"
            )
        rows.append([*place, demand, ready, due, service])
    if len(rows) < 2:
        raise InputError(f"{path}: there are {len(rows)} rows of customers, the file may be cut "
                         "short; accepted: a depot and at least one customer")  # fmt: skip
    return rows


def write_solomon(instance: Instance, path: str | Path) -> None:
    """Write one VRPTW with one depot, coordinates and finite windows.

    The form states no rounding: `read_solomon` must be told it again. An unlimited fleet becomes
    one vehicle for each customer, which allows the same routes.

    Raises:
        InputError: the instance has more than this form can state, or the file cannot be written.
    """
    path = Path(path)
    expressible = ("linehaul", "capacity", "time_window", "service_time", "num_vehicles")
    one = single(instance, path, expressible)
    missing = {"capacity", "time_window"} - set(set_attributes(one))
    if missing or not bool(one.time_window.isfinite().all()):
        raise InputError(
            f"{path}: a Solomon file needs {' and '.join(sorted(missing)) or 'finite windows'}; "
            "accepted: a VRPTW with finite windows, or a .vrp or .json file"
        )
    if int(one.num_depots[0]) != 1 or one.distance is not None or one.coords is None:
        raise InputError(
            f"{path}: a Solomon file states coordinates and one depot; accepted: an instance with "
            "these and no matrix, or a .vrp or .json file"
        )
    num_vehicles = int(one.num_vehicles[0])
    if num_vehicles == UNLIMITED:
        num_vehicles = one.num_nodes - 1
    lines = [path.stem, "", "VEHICLE", "NUMBER     CAPACITY",
             f"{num_vehicles} {show(one.capacity[0].item())}", "", "CUSTOMER",
             "  ".join(_COLUMNS), ""]  # fmt: skip
    columns = zip(
        one.coords[0].tolist(),
        one.linehaul[0].tolist(),
        one.time_window[0].tolist(),
        one.service_time[0].tolist(),
        strict=True,
    )
    for node, (place, demand, window, service) in enumerate(columns):
        lines.append(" ".join([str(node), *map(show, [*place, demand, *window, service])]))
    write_text(path, "\n".join(lines) + "\n")
