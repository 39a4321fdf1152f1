"""TSPLIB's TSP and ATSP files.

Source: G. Reinelt, TSPLIB 95, University of Heidelberg, 1995.
"""

from __future__ import annotations

from pathlib import Path

from nco.data import geometry, keyword_file
from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.data.keyword_file import Document
from nco.data.text_file import read_text, write_text
from nco.data.writable import single

TYPES = ("TSP", "ATSP")
"""The values of TYPE that are read here."""


def read_tsplib(path: str | Path, *, rounding: Rounding | None = None) -> Instance:
    """Read a TSP or ATSP: nodes in file order, whatever their numbers.

    EUC_2D, CEIL_2D and FLOOR_2D give coordinates and a `Rounding`; GEO and ATT keep the
    coordinates and add the matrix of their formulas; EXPLICIT gives the matrix.

    Args:
        rounding: replaces the rule that the file states; None keeps it.

    Raises:
        InputError: the file is not a TSP or ATSP that can be read exactly.
    """
    path = Path(path)
    return tsp_from_document(keyword_file.parse(path, read_text(path)), rounding)


def tsp_from_document(document: Document, rounding: Rounding | None) -> Instance:
    """As `read_tsplib`, from a file that is parsed already."""
    kind = document.word("TYPE", TYPES)
    document.refuse_unknown(geometry.HEADERS, geometry.SECTIONS)
    found = geometry.read_geometry(document, rounding, euc_2d_is_nearest=True)
    matrix = found.distance
    if kind == "TSP" and matrix is not None and not matrix.equal(matrix.T):
        row, column = (matrix != matrix.T).nonzero()[0].tolist()
        raise InputError(
            f"{document.where(document.header('TYPE').line, 'TYPE')}: the matrix of a TSP is "
            f"symmetric, but row {row + 1}, column {column + 1} is {matrix[row, column]:g} and the "
            f"other way round {matrix[column, row]:g}; accepted: equal lengths, or TYPE ATSP"
        )
    try:
        return Instance.tsp(coords=found.coords, distance=matrix, rounding=found.rounding)
    except InputError as error:
        raise InputError(f"{document.path}: {error}") from error


def write_tsplib(instance: Instance, path: str | Path) -> None:
    """Write one TSP so that `read_tsplib` gives the same distances to the last bit.

    Coordinates with rounding NEAREST, CEIL or TRUNC are written as EUC_2D, CEIL_2D or FLOOR_2D;
    all else as an EXPLICIT matrix, an asymmetric one under TYPE ATSP.

    Raises:
        InputError: there is more than one instance, it is no TSP, or the file cannot be written.
    """
    path = Path(path)
    one = single(instance, path, ())
    if int(one.num_depots[0]) != 0:
        raise InputError(
            f"{path}: the instance has {int(one.num_depots[0])} depots, a .tsp file none; "
            "accepted: a TSP, or a .vrp or .json file"
        )
    symmetric = one.distance is None or distance_matrix(one).equal(distance_matrix(one).mT)
    headers, sections = geometry.geometry_lines(one, euc_2d_is_nearest=True)
    kind = "TSP" if symmetric else "ATSP"
    lines = [f"NAME : {path.stem}", f"TYPE : {kind}", *headers, *sections, "EOF"]
    write_text(path, "\n".join(lines) + "\n")
