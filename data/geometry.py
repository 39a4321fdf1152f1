"""Where the nodes of a TSPLIB or VRPLIB file lie and how far apart they are.

Source of the formulas and matrix formats: G. Reinelt, TSPLIB 95, University of Heidelberg, 1995,
sections 1.2 and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.data.keyword_file import Document
from nco.data.text_file import show, to_float

HEADERS = ("NAME", "TYPE", "COMMENT", "DIMENSION", "EDGE_WEIGHT_TYPE", "EDGE_WEIGHT_FORMAT",
           "NODE_COORD_TYPE", "DISPLAY_DATA_TYPE")  # fmt: skip
"""The keywords that `read_geometry` reads, or that change nothing."""
SECTIONS = ("NODE_COORD_SECTION", "EDGE_WEIGHT_SECTION", "DISPLAY_DATA_SECTION")
"""The sections that `read_geometry` reads."""

EUCLIDEAN = {
    "EUC_2D": Rounding.NEAREST,
    "CEIL_2D": Rounding.CEIL,
    "FLOOR_2D": Rounding.TRUNC,
}
"""The rounding that each Euclidean EDGE_WEIGHT_TYPE states."""


def geo_distances(coords: Float[Tensor, "node 2"]) -> Float[Tensor, "node node"]:
    """TSPLIB's GEO: whole kilometres between (latitude, longitude) given as degrees.minutes.

    Degrees are cut towards zero and pi is 3.141592, as in all programs whose optima are published.
    """
    degrees = coords.trunc()
    radians = 3.141592 * (degrees + 5.0 * (coords - degrees) / 3.0) / 180.0
    latitude, longitude = radians.unbind(-1)
    q1 = (longitude.unsqueeze(1) - longitude).cos()
    q2 = (latitude.unsqueeze(1) - latitude).cos()
    q3 = (latitude.unsqueeze(1) + latitude).cos()
    cosine = 0.5 * ((1.0 + q1) * q2 - (1.0 - q1) * q3)
    return (6378.388 * cosine.clamp(-1.0, 1.0).acos() + 1.0).floor().fill_diagonal_(0.0)


def att_distances(coords: Float[Tensor, "node 2"]) -> Float[Tensor, "node node"]:
    """TSPLIB's ATT, pseudo-Euclidean: the root of a tenth of the squared length, rounded up."""
    x, y = coords.unbind(-1)
    dx, dy = x.unsqueeze(1) - x, y.unsqueeze(1) - y
    root = ((dx * dx + dy * dy) / 10.0).sqrt()
    nearest = (root + 0.5).floor()
    return torch.where(nearest < root, nearest + 1.0, nearest)


FORMULAS = {"GEO": geo_distances, "ATT": att_distances}
"""The edge weight types whose lengths are no Euclidean ones."""

# name: lower triangle (else upper), diagonal included. A triangle read by columns is the other
# triangle read by rows.
_TRIANGLES = {
    "UPPER_ROW": (False, False),
    "LOWER_ROW": (True, False),
    "UPPER_DIAG_ROW": (False, True),
    "LOWER_DIAG_ROW": (True, True),
    "UPPER_COL": (True, False),
    "LOWER_COL": (False, False),
    "UPPER_DIAG_COL": (True, True),
    "LOWER_DIAG_COL": (False, True),
}
MATRIX_FORMATS = ("FULL_MATRIX", *_TRIANGLES)
"""Every EDGE_WEIGHT_FORMAT of an EXPLICIT matrix."""


def num_entries(matrix_format: str, num_nodes: int) -> int:
    """How many numbers an EDGE_WEIGHT_SECTION has."""
    if matrix_format == "FULL_MATRIX":
        return num_nodes**2
    _, diagonal = _TRIANGLES[matrix_format]
    return num_nodes * (num_nodes + (1 if diagonal else -1)) // 2


def matrix_entries(matrix_format: str, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Row and column of each number of an EDGE_WEIGHT_SECTION, in its order."""
    if matrix_format == "FULL_MATRIX":
        index = torch.arange(num_nodes)
        return index.repeat_interleave(num_nodes), index.repeat(num_nodes)
    lower, diagonal = _TRIANGLES[matrix_format]
    if lower:
        row, column = torch.tril_indices(num_nodes, num_nodes, 0 if diagonal else -1)
    else:
        row, column = torch.triu_indices(num_nodes, num_nodes, 0 if diagonal else 1)
    return row, column


def _explicit(document: Document, num_nodes: int) -> Float[Tensor, "node node"]:
    """The matrix of an EDGE_WEIGHT_SECTION, read number by number across line ends.

    The diagonal becomes 0: no route uses it, and TSPLIB's files put large numbers there.
    """
    matrix_format = document.word("EDGE_WEIGHT_FORMAT", MATRIX_FORMATS)
    section = document.section("EDGE_WEIGHT_SECTION")
    count = sum(len(r.tokens) for r in section.rows)
    # before anything is made that is as large as DIMENSION says
    needed = num_entries(matrix_format, num_nodes)
    if count != needed:
        raise InputError(
            f"{document.where(section.line, section.name)}: there are {count} numbers; accepted: "
            f"{needed}, a {matrix_format} of {num_nodes} nodes (DIMENSION)"
        )
    row, column = matrix_entries(matrix_format, num_nodes)
    off_diagonal = (row != column).tolist()
    values: list[float] = []
    for line in section.rows:
        where = document.where(line.line, section.name)
        for token in line.tokens:
            values.append(to_float(token, where, 0.0 if off_diagonal[len(values)] else -math.inf))
    matrix = torch.zeros(num_nodes, num_nodes, dtype=torch.float64)
    if matrix_format != "FULL_MATRIX":
        matrix[column, row] = torch.tensor(values, dtype=torch.float64)
    matrix[row, column] = torch.tensor(values, dtype=torch.float64)
    return matrix.fill_diagonal_(0.0)


@dataclass(frozen=True)
class Geometry:
    """Nodes in file order, with what `Instance` needs to know their distances."""

    ids: list[int]
    coords: Tensor | None  # [N, 2] float64
    distance: Tensor | None  # [N, N] float64
    rounding: Rounding


def _nodes(document: Document, num_nodes: int, explicit: bool) -> tuple[list[int], Tensor | None]:
    name = "NODE_COORD_SECTION"
    if explicit and name not in document.sections:
        # for drawing only, but so are all coordinates beside a matrix
        name = "DISPLAY_DATA_SECTION"
        if name not in document.sections:
            return list(range(1, num_nodes + 1)), None
    table = document.table(name, ("x", "y"))
    if len(table) != num_nodes:
        raise InputError(
            f"{document.where(document.section(name).line, name)}: there are {len(table)} nodes; "
            f"accepted: {num_nodes}, as DIMENSION states"
        )
    ids = list(table)
    if explicit and ids != sorted(ids):
        raise InputError(
            f"{document.where(document.section(name).line, name)}: the node numbers do not rise, "
            "so that it is open which row of the matrix is whose; accepted: rising numbers"
        )
    return ids, torch.tensor([values for _, values in table.values()], dtype=torch.float64)


def read_geometry(
    document: Document, rounding: Rounding | None, *, euc_2d_is_nearest: bool
) -> Geometry:
    """Nodes, coordinates and distances as a file states them.

    Args:
        rounding: replaces the rule of EUC_2D, CEIL_2D or FLOOR_2D; None keeps it.
        euc_2d_is_nearest: False where the literature reads EUC_2D in more than one way, so that
            the caller must choose.

    Raises:
        InputError: something is missing, misshapen or unknown, or a matrix is to be rounded.
    """
    num_nodes = document.integer("DIMENSION", 1)
    weight_type = document.word("EDGE_WEIGHT_TYPE", (*EUCLIDEAN, *FORMULAS, "EXPLICIT"))
    where = document.where(document.header("EDGE_WEIGHT_TYPE").line, "EDGE_WEIGHT_TYPE")
    matrix = _explicit(document, num_nodes) if weight_type == "EXPLICIT" else None
    ids, coords = _nodes(document, num_nodes, matrix is not None)
    if weight_type in EUCLIDEAN:
        if "EDGE_WEIGHT_SECTION" in document.sections:
            raise InputError(
                f"{where}: {weight_type} comes with an EDGE_WEIGHT_SECTION; accepted: EXPLICIT "
                "with it, or no such section"
            )
        if rounding is None and weight_type == "EUC_2D" and not euc_2d_is_nearest:
            raise InputError(
                f"{where}: EUC_2D does not tell how lengths are rounded where there are time "
                "windows (the literature uses DIMACS, EXACT and NONE); accepted: a rounding given "
                f"by the caller, one of {', '.join(r.name for r in Rounding)}"
            )
        return Geometry(ids, coords, None, EUCLIDEAN[weight_type] if rounding is None else rounding)
    if rounding not in (None, Rounding.NONE):
        raise InputError(
            f"{where}: rounding {rounding.name} is asked for, but {weight_type} states the "
            "lengths themselves; accepted: no rounding"
        )
    if matrix is not None:
        return Geometry(ids, coords, matrix, Rounding.NONE)
    assert coords is not None  # only EXPLICIT does without
    return Geometry(ids, coords, FORMULAS[weight_type](coords), Rounding.NONE)


def geometry_lines(instance: Instance, *, euc_2d_is_nearest: bool) -> tuple[list[str], list[str]]:
    """Keywords and sections that state the distances of one instance without loss.

    Coordinates with a rounding that an EDGE_WEIGHT_TYPE names are written so. All else becomes an
    EXPLICIT matrix of the very distances, with the coordinates beside it where there are any.
    """
    names = {rule: name for name, rule in EUCLIDEAN.items()}
    if not euc_2d_is_nearest:
        del names[Rounding.NEAREST]
    rule = Rounding(int(instance.rounding[0]))
    euclidean = instance.distance is None and rule in names
    headers = [f"DIMENSION : {instance.num_nodes}"]
    sections: list[str] = []
    if instance.coords is not None:
        sections += table_lines("NODE_COORD_SECTION", instance.coords[0])
    if euclidean:
        return [*headers, f"EDGE_WEIGHT_TYPE : {names[rule]}"], sections
    headers += ["EDGE_WEIGHT_TYPE : EXPLICIT", "EDGE_WEIGHT_FORMAT : FULL_MATRIX"]
    rows = distance_matrix(instance)[0].tolist()
    return headers, [*sections, "EDGE_WEIGHT_SECTION", *(" ".join(map(show, r)) for r in rows)]


def table_lines(title: str, values: Float[Tensor, "node column"]) -> list[str]:
    """A section with one row for each node, numbered from 1."""
    rows = (" ".join(map(show, row)) for row in values.tolist())
    return [title, *(f"{node} {row}" for node, row in enumerate(rows, start=1))]
