"""Stops on the globe, with their demands and hours, from a CSV or GeoJSON file.

Columns of a CSV file, and properties of a GeoJSON point, whose place is its geometry:

- ``longitude`` (``lon``, ``lng``) and ``latitude`` (``lat``) in degrees, of a CSV file only;
- ``name``; without it a stop is called by its number in the file, from 1;
- ``depot``: yes (true, 1) or no (false, 0, nothing). Where none says yes, the first is one;
- ``demand``: what is delivered there;
- ``tw_start``, ``tw_end``: when service may begin, in seconds or as HH:MM; for a depot, when it
  opens and closes;
- ``service``: seconds that it takes.

What is left out is neutral. Other columns are not read.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float

from nco.data.errors import InputError
from nco.data.point_files import NAMES
from nco.data.text_file import read_text, to_float

_CLOCK = re.compile(r"(\d+):([0-5]\d)(?::([0-5]\d))?")
_YES, _NO = ("yes", "true", "1"), ("no", "false", "0", "")
_PLACE = ("longitude", "latitude")
_OTHERS = ("name", "depot", "demand", "tw_start", "tw_end", "service")


@final
@dataclass(frozen=True)
class Stop:
    """One place to serve, or a depot."""

    name: str
    where: str
    """The file, the line or feature, and the name, for messages."""
    place: tuple[float, float]
    """Longitude, latitude in degrees."""
    is_depot: bool
    demand: float
    window: tuple[float, float]
    """Seconds; inf where it never closes."""
    service: float
    """Seconds."""


def read_stops(path: Path) -> list[Stop]:
    """The stops of a file, depots first, else in the file's order.

    Raises:
        InputError: the file cannot be read or is neither CSV nor GeoJSON, a column is missing, a
            value is not accepted, or there are fewer than one depot and one other stop.
    """
    text = read_text(path)
    is_json = text.lstrip().startswith(("{", "["))
    entries = _features(path, text) if is_json else _rows(path, text)
    stops = [_stop(number, where, told) for number, (where, told) in enumerate(entries, start=1)]
    if stops and not any(stop.is_depot for stop in stops):
        stops[0] = replace(stops[0], is_depot=True)
    depots = [stop for stop in stops if stop.is_depot]
    others = [stop for stop in stops if not stop.is_depot]
    if not others:
        raise InputError(
            f"{path} has no stop{' beside a depot' if depots else ''}; accepted: a depot and at "
            "least one other stop"
        )
    for depot in depots:
        if depot.demand > 0 or depot.service > 0:
            raise InputError(
                f"{depot.where}: demand {depot.demand:g} and service {depot.service:g} of a depot; "
                "accepted: 0 or nothing"
            )
    return [*depots, *others]


def places_of(stops: list[Stop]) -> Float[np.ndarray, "n 2"]:
    """Longitude and latitude in degrees."""
    return np.array([stop.place for stop in stops], dtype=np.float64)


def _rows(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row is, and its values by our names of the columns."""
    rows = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows)]
        columns = {name: _column(path, header, name) for name in (*_PLACE, *_OTHERS)}
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if not row:
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{where}: {len(row)} values; accepted: {len(header)}, as the header names"
                )
            yield where, {name: row[i].strip() for name, i in columns.items() if i is not None}
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; accepted: CSV") from error


def _column(path: Path, header: list[str], name: str) -> int | None:
    names = NAMES.get(name, (name,))
    found = [i for i, column in enumerate(header) if column in names]
    if len(found) > 1 or (not found and name in _PLACE):
        raise InputError(
            f"{path}, line 1: {len(found)} columns of {name} in {', '.join(header)}; accepted: one "
            f"named {' or '.join(names)}, and commas between columns"
        )
    return found[0] if found else None


def _features(path: Path, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each feature is, and its values as text, by the names of a CSV file's columns."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: {error}; accepted: CSV or GeoJSON") from error
    collection = document if isinstance(document, dict) else {}
    features = collection.get("features")
    if collection.get("type") != "FeatureCollection" or not isinstance(features, list):
        raise InputError(f"{path} is no FeatureCollection; accepted: one of points, or CSV")
    for number, feature in enumerate(features, start=1):
        where = f"{path}, feature {number}"
        place = _point(where, feature)
        told = feature.get("properties") or {}
        if not isinstance(told, Mapping):
            raise InputError(f"{where}: properties are {told!r}; accepted: an object")
        values = {name: _text(where, name, told[name]) for name in _OTHERS if name in told}
        yield where, values | dict(zip(_PLACE, place, strict=True))


def _point(where: str, feature: Any) -> list[str]:
    geometry = feature.get("geometry") if isinstance(feature, Mapping) else None
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    place = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
    if kind != "Point" or not isinstance(place, list) or len(place) < 2:
        raise InputError(
            f"{where}: its geometry is {json.dumps(geometry)[:80]}; accepted: a Point of longitude "
            "and latitude"
        )
    return [_text(where, name, value) for name, value in zip(_PLACE, place, strict=False)]


def _text(where: str, name: str, value: object) -> str:
    """As a CSV file would have it."""
    if value is None:
        return ""
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise InputError(f"{where} ({name}): {value!r} is not accepted; accepted: a number or text")


def _stop(number: int, where: str, told: Mapping[str, str]) -> Stop:
    name = told.get("name") or str(number)
    named = f"{where} ({name})" if told.get("name") else where
    longitude, latitude = (to_float(told[key], f"{named}, {key}") for key in _PLACE)
    if abs(longitude) > 180 or abs(latitude) > 90:
        raise InputError(
            f"{named}: longitude {longitude:g} and latitude {latitude:g}; accepted: -180 to 180 "
            "and -90 to 90 degrees"
        )
    opens, closes = (
        _seconds(told.get(key, ""), f"{named}, {key}", neutral)
        for key, neutral in (("tw_start", 0.0), ("tw_end", math.inf))
    )
    if opens > closes:
        raise InputError(
            f"{named}: tw_start {told['tw_start']} is after tw_end {told['tw_end']}; accepted: a "
            "window that closes no sooner than it opens"
        )
    return Stop(
        name=name,
        where=named,
        place=(longitude, latitude),
        is_depot=_is_depot(told.get("depot", ""), named),
        demand=to_float(told.get("demand") or "0", f"{named}, demand", 0.0),
        window=(opens, closes),
        service=to_float(told.get("service") or "0", f"{named}, service", 0.0),
    )


def _is_depot(word: str, where: str) -> bool:
    if word.lower() not in (*_YES, *_NO):
        raise InputError(
            f"{where}, depot: {word!r} is not accepted; accepted: {', '.join(_YES)}, "
            f"{', '.join(_NO[:-1])} or nothing"
        )
    return word.lower() in _YES


def _seconds(word: str, where: str, neutral: float) -> float:
    """From a number of seconds or HH:MM, HH:MM:SS."""
    if not word:
        return neutral
    clock = _CLOCK.fullmatch(word)
    if clock is not None:
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return 3600.0 * hours + 60 * minutes + seconds
    try:
        return to_float(word, where, 0.0)
    except InputError as error:
        raise InputError(f"{error}, or HH:MM") from error
