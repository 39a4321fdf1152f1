"""Points on the globe from a CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nco.data.errors import InputError
from nco.data.text_file import read_text, to_float

NAMES = {"longitude": ("longitude", "lon", "lng"), "latitude": ("latitude", "lat")}
"""What the columns may be called, in any case."""


def read_points(path: Path) -> Float[np.ndarray, "n 2"]:
    """Longitude and latitude in degrees from the columns of these names; others are not read.

    Raises:
        InputError: there is no such file, a column is missing, or a value is no number.
    """
    rows = csv.reader(io.StringIO(read_text(path)), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows)]
        columns = [_column(path, header, name) for name in NAMES]
        points = [
            [_value(path, rows.line_num, header[column], row, column) for column in columns]
            for row in rows
            if row
        ]
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}; accepted: CSV") from error
    if not points:
        raise InputError(f"{path} has no points; accepted: a line for each, after the header")
    return np.array(points, dtype=np.float64)


def _column(path: Path, header: list[str], name: str) -> int:
    found = [i for i, column in enumerate(header) if column in NAMES[name]]
    if len(found) != 1:
        raise InputError(
            f"{path}, line 1: {len(found)} columns of {name} in {', '.join(header)}; accepted: one "
            f"named {' or '.join(NAMES[name])}"
        )
    return found[0]


def _value(path: Path, line: int, name: str, row: list[str], column: int) -> float:
    if column >= len(row):
        raise InputError(
            f"{path}, line {line}: {name} is missing; accepted: as many values as the header names"
        )
    return to_float(row[column].strip(), f"{path}, line {line} ({name})")
