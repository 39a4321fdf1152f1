"""CVRPLIB and VRPLIB files: TSPLIB's grammar with demands, depots, windows and backhauls.

Beside CVRPLIB's CVRP this reads those sections of PyVRP's dialect that an `Instance` can state.
The rest is refused by name: route durations and a depot for each vehicle among it.

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
           "SERVICE_TIME")  # fmt: skip
SECTIONS = (*geometry.SECTIONS, "DEMAND_SECTION", "DEPOT_SECTION", "BACKHAUL_SECTION",
            "TIME_WINDOW_SECTION", "SERVICE_TIME_SECTION")  # fmt: skip


def read_vrplib(path: str | Path, *, rounding: Rounding | None = None) -> Instance:
    """Read a vehicle routing instance: the depots first, then the customers in file order.

    So customer k of a ``.sol`` file is node k here, whatever the numbers in the instance file.
    EUC_2D is rounded to the nearest integer, CVRPLIB's rule, but with time windows the caller
    must choose a rounding. Routes of a VRPB may hold backhauls only; the classical problem forbids
    that, and its solutions are solutions here.

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
    fields |= _fleet(document, fields.get("service_time"))
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


def _fleet(document: Document, service_time: list[float] | None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "VEHICLES" in document.headers:
        fields["num_vehicles"] = document.integer("VEHICLES", 1)
    limits = [key for key in ("DISTANCE", "VEHICLES_MAX_DISTANCE") if key in document.headers]
    if len(limits) == 2:
        raise InputError(f"{document.path}: {' and '.join(limits)} are given; accepted: one")
    for key in limits:
        where = document.where(document.header(key).line, key)
        if key == "DISTANCE" and any(service_time or ()):
            # in the sets of Christofides, Mingozzi and Toth it then limits the duration
            raise InputError(
                f"{where}: with service times this limits the duration of a route, which is not "
                "supported; accepted: VEHICLES_MAX_DISTANCE for a limit of the distance alone"
            )
        fields["distance_limit"] = document.real(key, 0.0)
    return fields


EXPRESSIBLE = ("linehaul", "backhaul", "mixed_backhaul", "capacity", "time_window",
               "service_time", "distance_limit", "num_vehicles")  # fmt: skip
"""The attributes that `write_vrplib` can state."""


def write_vrplib(instance: Instance, path: str | Path) -> None:
    """Write one instance so that `read_vrplib` gives the same problem to the last bit.

    Nodes are numbered from 1, depots first. Lengths are written as `geometry.geometry_lines` says:
    where no EDGE_WEIGHT_TYPE names the rounding, the distances themselves are written.

    Raises:
        InputError: there are several instances, an attribute cannot be stated (open routes,
            durations, no capacity, windows that never close beside others that do), or the file
            cannot be written.
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
    if int(one.num_vehicles[0]) != UNLIMITED:
        headers.append(f"VEHICLES : {int(one.num_vehicles[0])}")
    if "distance_limit" in given:
        key = "VEHICLES_MAX_DISTANCE" if "service_time" in given else "DISTANCE"
        headers.append(f"{key} : {show(one.distance_limit[0].item())}")
    columns: list[tuple[str, Tensor]] = [("DEMAND_SECTION", one.linehaul)]
    if backhauls:
        columns.append(("BACKHAUL_SECTION", one.backhaul))
    if "service_time" in given:
        columns.append(("SERVICE_TIME_SECTION", one.service_time))
    for title, values in columns:
        sections += table_lines(title, values[0].unsqueeze(-1))
    if windows:
        sections += table_lines("TIME_WINDOW_SECTION", one.time_window[0])
    sections += ["DEPOT_SECTION", *(str(d) for d in range(1, num_depots + 1)), "-1", "EOF"]
    write_text(path, "\n".join([*headers, *sections]) + "\n")


def _type(num_depots: int, windows: bool, backhauls: bool, mixed: bool) -> str:
    if backhauls:
        return next(kind for kind, mixes in BACKHAUL_TYPES.items() if mixes == mixed)
    if num_depots > 1:
        return "MDVRPTW" if windows else "MDVRP"
    return "VRPTW" if windows else "CVRP"
