"""How one request for part of a table is written: only its own coordinates, in GET or POST."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final
from urllib.parse import quote, urlencode

import numpy as np
from jaxtyping import Float, Int

Options = dict[str, str | bool | int | list[str] | list[int] | list[float]]
"""Of a request. Lists become JSON arrays in a POST, and are joined in a GET."""

DECIMALS = 6
"""Of a coordinate in degrees: OSRM computes with whole millionths."""


@final
@dataclass(frozen=True)
class Block:
    """Part of a table: ``rows`` to ``columns``, both indices of all points."""

    rows: Int[np.ndarray, " S"]
    columns: Int[np.ndarray, " D"]

    @property
    def cells(self) -> int:
        """How many numbers of each kind it has."""
        return len(self.rows) * len(self.columns)

    def split(self, max_cells: int) -> list[Block]:
        """About square parts of at most ``max_cells`` each; itself where it is one already."""
        if self.cells <= max_cells:
            return [self]
        side = math.isqrt(max_cells)
        height = min(len(self.rows), side)
        width = min(len(self.columns), max_cells // height)
        height = min(len(self.rows), max_cells // width)
        return [
            Block(rows, columns)
            for rows in np.array_split(self.rows, math.ceil(len(self.rows) / height))
            for columns in np.array_split(self.columns, math.ceil(len(self.columns) / width))
        ]

    def indices(self) -> tuple[Int[np.ndarray, " k"], list[int], list[int]]:
        """Its points, each once, and the positions of rows and columns among them.

        A single point comes twice: OSRM gives no table of one.
        """
        points, inverse = np.unique(np.concatenate([self.rows, self.columns]), return_inverse=True)
        positions = inverse.tolist()
        if len(points) == 1:
            points = np.repeat(points, 2)
        return points, positions[: len(self.rows)], positions[len(self.rows) :]


def get_target(
    service: str, profile: str, points: Float[np.ndarray, "k 2"], options: Options
) -> str:
    """The path and query of a GET request, from the service on."""
    separators = {"annotations": ","}
    query = {
        name: separators.get(name, ";").join(map(_word, value))
        if isinstance(value, list)
        else _word(value)
        for name, value in options.items()
    }
    # the separators are allowed in a query, and encoded they would be three times as long
    tail = urlencode(query, safe=";,")
    return f"{post_target(service, profile)}/polyline6({polyline6(points)})?{tail}"


def post_target(service: str, profile: str) -> str:
    """The path of a POST request."""
    return f"{service}/v1/{quote(profile, safe='')}"


def post_body(points: Float[np.ndarray, "k 2"], options: Options) -> dict[str, Any]:
    """The JSON object of a POST request."""
    return {"coordinates": np.round(points, DECIMALS).tolist(), **options}


def polyline6(points: Float[np.ndarray, "k 2"]) -> str:
    """Longitudes and latitudes in the encoded polyline format with six decimals, URL-quoted.

    Source: Google's "Encoded Polyline Algorithm Format", with OSRM's precision.
    """
    whole = np.round(points[:, ::-1] * 10**DECIMALS).astype(np.int64)
    steps = np.diff(whole, axis=0, prepend=np.zeros((1, 2), dtype=np.int64))
    return quote("".join(map(_encoded, steps.ravel().tolist())), safe="")


def _encoded(step: int) -> str:
    left = step << 1 if step >= 0 else ~(step << 1)
    letters = []
    while left >= 0x20:
        letters.append(chr((0x20 | (left & 0x1F)) + 63))
        left >>= 5
    return "".join([*letters, chr(left + 63)])


def _word(value: str | bool | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
