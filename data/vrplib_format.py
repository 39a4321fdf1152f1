"""CVRPLIB and VRPLIB files: TSPLIB's grammar with demands, depots, windows and backhauls.

Beside CVRPLIB's CVRP this reads those sections of PyVRP's dialect that an `Instance` can state.
The rest is refused by name: a limit of a route's duration and a fleet of each depot's own where
they are binding, prizes, release times, vehicles that differ. PyVRP drops what it does not know.

Source: http://vrp.galgos.inf.puc-rio.br (CVRPLIB); G. Reinelt, TSPLIB 95, 1995; PyVRP 0.14, page
"supported VRPLIB fields".
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nco.data import geometry, keyword_file
from nco.data.errors import InputError
from nco.data.geometry import table_lines
from nco.data.instance import UNLIMITED, Instance, Rounding
from nco.data.keyword_file import Document
from nco.data.text_file import read_text, show, to_int, write_text
from nco.data.writable import set_attributes, single

BACKHAUL_TYPES = {"VRPB": False, "VRPMPD": True}
"""Whether each TYPE with a BACKHAUL_SECTION lets pickups and deliveries mix on a route."""
TYPES = ("CVRP", "ACVRP", "DCVRP", "VRPTW", "MDVRP", "MDVRPTW", *BACKHAUL_TYPES)
"""The values of TYPE that are read here. The sections say what holds, not this word, except that
backhauls need one of the two types that say in which order they go."""
HEADERS = (*geometry.HEADERS, "CAPACITY", "VEHICLES", "DISTANCE", "VEHICLES_MAX_DISTANCE",
           "VEHICLES_MAX_DURATION", "SERVICE_TIME")  # fmt: skip
SECTIONS = (*geometry.SECTIONS, "DEMAND_SECTION", "DEPOT_SECTION", "BACKHAUL_SECTION",
            "TIME_WINDOW_SECTION", "SERVICE_TIME_SECTION",
            "VEHICLES_DEPOT_SECTION")  # fmt: skip


def read_vrplib(path: str | Path, *, rounding: Rounding | None = None) -> Instance:
    """Read a vehicle routing instance: the depots first, then the customers in file order.

    So customer k of a ``.sol`` file is node k here, whatever the numbers in the instance file.
    EUC_2D is rounded to the nearest integer, CVRPLIB's rule, but with time windows the caller
    must choose a rounding. Routes of a VRPB may hold backhauls only; the classical problem forbids
    that, and its solutions are solutions here. Where several depots are given and no VEHICLES, any
    number of routes may start from each; PyVRP's reader then starts all of them from the first.

    Args:
        rounding: replaces the rule that the file states; None keeps it.

    Raises:
        InputError: something is missing, misshapen, out of range or not supported.
    """
    path = Path(path)
    return vrp_from_document(keyword_file.parse(path, read_text(path)), rounding)


def vrp_from_document(document: Document, rounding: Rounding | None) -> Instance:
    """As `read_vrplib`, from a file that is parsed already."""
    document.word("TYPE", TYPES)
    document.refuse_unknown(HEADERS, SECTIONS)
    windows = "TIME_WINDOW_SECTION" in document.sections
    found = geometry.read_geometry(document, rounding, euc_2d_is_nearest=not windows)
    capacity = document.real("CAPACITY", 0.0)
    depots = _depots(document, found.ids)
    order = depots + [node for node in found.ids if node not in set(depots)]
    row = {node: i for i, node in enumerate(found.ids)}
    index = torch.tensor([row[node] for node in order])

    fields: dict[str, Any] = {
        "demand": _amounts(document, "DEMAND_SECTION", order, len(depots), capacity)
    }
    fields |= _backhauls(document, order, len(depots), capacity)
    fields |= _times(document, order, len(depots))
    fields |= _vehicles(document, depots, len(order) - len(depots))
    fields |= _limit(document, fields.get("service_time"), fields.get("time_window"), len(depots))
    if found.coords is not None:
        fields["coords"] = found.coords[index]
    if found.distance is not None:
        fields["distance"] = found.distance[index][:, index]
    try:
        return Instance.vrp(
            **fields, capacity=capacity, num_depots=len(depots), rounding=found.rounding
        )
    except InputError as error:
        raise InputError(f"{document.path}: {error}") from error


def _depots(document: Document, ids: list[int]) -> list[int]:
    section = document.section("DEPOT_SECTION")
    words = [(row.line, token) for row in section.rows for token in row.tokens]
    known, depots = set(ids), []
    for position, (line, token) in enumerate(words):
        where = document.where(line, section.name)
        node = to_int(token, where)
        if node == -1 and position == len(words) - 1:
            break
        if node not in known or node in depots:
            raise InputError(
                f"{where}: {node} is not accepted; accepted: each depot once, a node of the file, "
                "and -1 at the end"
            )
        depots.append(node)
    if not depots:
        raise InputError(
            f"{document.where(section.line, section.name)}: no depot is named; accepted: at least "
            "one node"
        )
    if len(depots) == len(ids):
        raise InputError(
            f"{document.where(section.line, section.name)}: all {len(ids)} nodes are depots; "
            "accepted: at least one customer"
        )
    return depots


def _amounts(
    document: Document,
    name: str,
    order: list[int],
    num_depots: int,
    capacity: float,
    what: str = "demand",
) -> list[float]:
    """One value for each node; checked here, where the line and the file's own number are known."""
    table = document.node_values(name, order, (what,))
    for position, node in enumerate(order):
        line, (value,) = table[node]
        limit = 0.0 if position < num_depots else capacity
        if value > limit:
            told = "0 at a depot" if position < num_depots else f"at most CAPACITY, {limit:g}"
            raise InputError(
                f"{document.where(line, name)}: the {what} of node {node} is {value:g}; "
                f"accepted: {told}"
            )
    return [table[node][1][0] for node in order]


def _backhauls(
    document: Document, order: list[int], num_depots: int, capacity: float
) -> dict[str, Any]:
    kind = document.word("TYPE", TYPES)
    name = "BACKHAUL_SECTION"
    if (name in document.sections) != (kind in BACKHAUL_TYPES):
        missing = kind in BACKHAUL_TYPES
        raise InputError(
            f"{document.where(document.header('TYPE').line, 'TYPE')}: {kind} "
            f"{'without' if missing else 'with'} a {name}; accepted: {name} and one of the types "
            f"{', '.join(BACKHAUL_TYPES)}, or neither"
        )
    if kind not in BACKHAUL_TYPES:
        return {}
    backhaul = _amounts(document, name, order, num_depots, capacity)
    return {"backhaul": backhaul, "mixed_backhaul": BACKHAUL_TYPES[kind]}


def _times(document: Document, order: list[int], num_depots: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    name = "TIME_WINDOW_SECTION"
    if name in document.sections:
        table = document.node_values(name, order, ("time window (early, late)", "late"))
        for node in order:
            line, (early, late) = table[node]
            if late < early:
                raise InputError(
                    f"{document.where(line, name)}: the window of node {node} is {early:g} to "
                    f"{late:g}; accepted: early <= late"
                )
        fields["time_window"] = [table[node][1] for node in order]
    name = "SERVICE_TIME_SECTION"
    if name in document.sections:
        if "SERVICE_TIME" in document.headers:
            raise InputError(
                f"{document.where(document.header('SERVICE_TIME').line, 'SERVICE_TIME')}: there "
                f"is a {name} as well; accepted: one of the two"
            )
        fields["service_time"] = _amounts(
            document, name, order, num_depots, math.inf, "service time"
        )
    elif "SERVICE_TIME" in document.headers:
        value = document.real("SERVICE_TIME", 0.0)
        fields["service_time"] = [0.0] * num_depots + [value] * (len(order) - num_depots)
    return fields


def _vehicles(document: Document, depots: list[int], num_customers: int) -> dict[str, Any]:
    """The size of the fleet; several depots must have as many vehicles each as can be used."""
    name = "VEHICLES_DEPOT_SECTION"
    if "VEHICLES" not in document.headers and name not in document.sections:
        return {}
    number = document.integer("VEHICLES", 1)
    line, at = document.header("VEHICLES").line, "VEHICLES"
    starts: list[int] = []
    if name in document.sections:
        line, at = document.section(name).line, name
        starts = _starts(document, number, depots)
    if len(depots) == 1:
        return {"num_vehicles": number}
    for depot in depots:
        if starts.count(depot) >= num_customers:
            continue
        told = (
            f"{starts.count(depot)} vehicles start from depot {depot}; a fleet of each depot's own "
            "is not supported"
            if starts
            else f"it is not told from which of the {len(depots)} depots a vehicle starts"
        )
        raise InputError(
            f"{document.where(line, at)}: {told}; accepted: at least {num_customers} vehicles at "
            f"each depot, one a customer, by {name}, or neither VEHICLES nor this section"
        )
    return {}


def _starts(document: Document, number: int, depots: list[int]) -> list[int]:
    """The depot of each vehicle."""
    name = "VEHICLES_DEPOT_SECTION"
    table = document.node_values(name, range(1, number + 1), ("depot",))
    for line, (depot,) in table.values():
        if depot not in depots:
            raise InputError(
                f"{document.where(line, name)}: {depot:g} is no depot; accepted: "
                f"{', '.join(map(str, depots))}"
            )
    return [int(depot) for _, (depot,) in table.values()]


def _limit(
    document: Document,
    service_time: list[float] | None,
    windows: list[list[float]] | None,
    num_depots: int,
) -> dict[str, Any]:
    """The limit of a route's length. Without service and waiting its duration is its length."""
    keys = ("DISTANCE", "VEHICLES_MAX_DISTANCE", "VEHICLES_MAX_DURATION")
    limits = {key: document.real(key, 0.0) for key in keys if key in document.headers}
    if len(limits) > 1:
        raise InputError(f"{document.path}: {' and '.join(limits)} are given; accepted: one")
    if not limits:
        return {}
    ((key, limit),) = limits.items()
    served = any(service_time or ())
    # DISTANCE: in the sets of Christofides, Mingozzi and Toth it then limits the duration
    if key == "VEHICLES_MAX_DISTANCE" or not (served or (windows and key != "DISTANCE")):
        return {"distance_limit": limit}
    accepted = "VEHICLES_MAX_DISTANCE for a limit of the distance alone"
    if windows and key == "VEHICLES_MAX_DURATION":
        hours = max(late - early for early, late in windows[:num_depots])
        if limit >= hours:
            return {}
        accepted += f", or at least {hours:g}, the longest hours of a depot"
    raise InputError(
        f"{document.where(document.header(key).line, key)}: with "
        f"{'service times' if served else 'time windows'} this limits the duration of a route, "
        f"which is not supported; accepted: {accepted}"
    )


EXPRESSIBLE = ("linehaul", "backhaul", "mixed_backhaul", "capacity", "time_window",
               "service_time", "distance_limit", "num_vehicles")  # fmt: skip
"""The attributes that `write_vrplib` can state."""


def write_vrplib(instance: Instance, path: str | Path) -> None:
    """Write one instance so that `read_vrplib` gives the same problem to the last bit.

    Nodes are numbered from 1, depots first. Lengths are written as `geometry.geometry_lines` says:
    where no EDGE_WEIGHT_TYPE names the rounding, the distances themselves are written. PyVRP's
    reader gets the same problem, up to what it reads into TYPE VRPB (no route of pickups alone).

    Raises:
        InputError: there are several instances, an attribute cannot be stated (open routes,
            durations, no capacity, windows that never close beside others that do, one fleet for
            several depots), or the file cannot be written.
    """
    path = Path(path)
    one = single(instance, path, EXPRESSIBLE)
    num_depots, given = int(one.num_depots[0]), set_attributes(one)
    if num_depots == 0:
        raise InputError(f"{path}: a .vrp file needs a depot; accepted: a .tsp or .json file")
    if "capacity" not in given:
        raise InputError(
            f"{path}: a .vrp file needs a capacity; accepted: a finite one, or a .json file"
        )
    windows = "time_window" in given
    if windows and not bool(one.time_window.isfinite().all()):
        raise InputError(
            f"{path}: a .vrp file cannot state a window that never closes beside others that do; "
            "accepted: finite windows, or a .json file"
        )
    headers, sections = geometry.geometry_lines(one, euc_2d_is_nearest=not windows)
    mixed = bool(one.mixed_backhaul[0])
    backhauls = mixed or "backhaul" in given
    headers = [f"NAME : {path.stem}", f"TYPE : {_type(num_depots, windows, backhauls, mixed)}",
               *headers, f"CAPACITY : {show(one.capacity[0].item())}"]  # fmt: skip
    starts = _fleet_lines(one, path)
    headers += starts[:1]
    if "distance_limit" in given:
        headers.append(f"VEHICLES_MAX_DISTANCE : {show(one.distance_limit[0].item())}")
    columns: list[tuple[str, Tensor]] = [("DEMAND_SECTION", one.linehaul)]
    if backhauls:
        columns.append(("BACKHAUL_SECTION", one.backhaul))
    if "service_time" in given:
        columns.append(("SERVICE_TIME_SECTION", one.service_time))
    for title, values in columns:
        sections += table_lines(title, values[0].unsqueeze(-1))
    if windows:
        sections += table_lines("TIME_WINDOW_SECTION", one.time_window[0])
    sections += [
        *starts[1:],
        "DEPOT_SECTION",
        *(str(d) for d in range(1, num_depots + 1)),
        "-1",
        "EOF",
    ]
    write_text(path, "\n".join([*headers, *sections]) + "\n")


def _fleet_lines(one: Instance, path: Path) -> list[str]:
    """VEHICLES, and with several depots as many vehicles for each as can be used."""
    num_vehicles, num_depots = int(one.num_vehicles[0]), int(one.num_depots[0])
    if num_depots == 1:
        return [] if num_vehicles == UNLIMITED else [f"VEHICLES : {num_vehicles}"]
    num_customers = one.num_nodes - num_depots
    if num_vehicles < num_customers:
        raise InputError(
            f"{path}: a .vrp file cannot state one fleet of {num_vehicles} for {num_depots} "
            f"depots; accepted: at least {num_customers}, one a customer, or a .json file"
        )
    starts = [depot for depot in range(1, num_depots + 1) for _ in range(num_customers)]
    rows = [f"{vehicle} {depot}" for vehicle, depot in enumerate(starts, 1)]
    return [f"VEHICLES : {len(starts)}", "VEHICLES_DEPOT_SECTION", *rows]


def _type(num_depots: int, windows: bool, backhauls: bool, mixed: bool) -> str:
    if backhauls:
        return next(kind for kind, mixes in BACKHAUL_TYPES.items() if mixes == mixed)
    if num_depots > 1:
        return "MDVRPTW" if windows else "MDVRP"
    return "VRPTW" if windows else "CVRP"
