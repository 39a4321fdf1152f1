"""TSPLIB files: distances against published formulas and optima, and reading what is written."""

import json
import math
from pathlib import Path

import elkai
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.data.errors import InputError
from nco.data.geometry import MATRIX_FORMATS, att_distances, geo_distances
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.data.tsplib import read_tsplib, write_tsplib

# ulysses16 of TSPLIB (Groetschel and Padberg), latitude and longitude as degrees.minutes
ULYSSES16 = """38.24 20.42  39.57 26.15  40.56 25.32  36.26 23.12  33.48 10.54  37.56 12.19
38.42 13.11  37.52 20.44  41.23 9.10  41.17 13.05  36.08 -5.21  38.47 15.13  38.15 15.35
37.51 15.17  35.49 14.32  39.36 19.56"""
ULYSSES16_TOUR = [1, 14, 13, 12, 7, 6, 15, 5, 11, 9, 10, 16, 3, 2, 4, 8]
# att48 of TSPLIB (Padberg and Rinaldi)
ATT48 = """6734 1453 2233 10 5530 1424 401 841 3082 1644 7608 4458 7573 3716 7265 1268 6898 1885
1112 2049 5468 2606 5989 2873 4706 2674 4612 2035 6347 2683 6107 669 7611 5184 7462 3590
7732 4723 5900 3561 4483 3369 6101 1110 5199 2182 1633 2809 4307 2322 675 1006 7555 4819
7541 3981 3177 756 7352 4506 7545 2801 3245 3305 6426 3173 4608 1198 23 2216 7248 3779
7762 4595 7392 2244 3484 2829 6271 2135 4985 140 1916 1569 7280 4899 7509 3239 10 2676
6807 2993 5185 3258 3023 1942"""
ATT48_TOUR = [1, 8, 38, 31, 44, 18, 7, 28, 6, 37, 19, 27, 17, 43, 30, 36, 46, 33, 20, 47, 21, 32,
              39, 48, 5, 42, 24, 10, 45, 35, 4, 26, 2, 29, 34, 41, 16, 22, 3, 23, 14, 25, 13, 11,
              12, 15, 40, 9]  # fmt: skip


def pairs(text: str) -> list[tuple[float, float]]:
    values = [float(v) for v in text.split()]
    return list(zip(values[::2], values[1::2], strict=True))


def coordinate_file(weight_type: str, coords: list[tuple[float, float]]) -> str:
    rows = "\n".join(f"{i} {x!r} {y!r}" for i, (x, y) in enumerate(coords, 1))
    return (
        f"NAME: test\nTYPE: TSP\nDIMENSION: {len(coords)}\nEDGE_WEIGHT_TYPE: {weight_type}\n"
        f"NODE_COORD_SECTION\n{rows}\nEOF\n"
    )


def read_text(folder: Path, text: str, **options: Rounding | None) -> Instance:
    path = folder / "test.tsp"
    path.write_text(text)
    return read_tsplib(path, **options)


def tour_length(instance: Instance, tour: list[int]) -> float:
    matrix = distance_matrix(instance)[0]
    following = [*tour[1:], tour[0]]
    return sum(matrix[a - 1, b - 1].item() for a, b in zip(tour, following, strict=True))


def test_geo_gives_the_published_optimum_of_ulysses16(tmp_path: Path) -> None:
    """The optimal tour of ulysses16 costs 6859, and the first row is the published one."""
    instance = read_text(tmp_path, coordinate_file("GEO", pairs(ULYSSES16)))
    assert tour_length(instance, ULYSSES16_TOUR) == 6859
    first = [0, 509, 501, 312, 1019, 736, 656, 60, 1039, 726, 2314, 479, 448, 479, 619, 150]
    assert distance_matrix(instance)[0, 0].tolist() == first
    assert instance.coords is not None
    assert instance.coords[0, 10].tolist() == [36.08, -5.21]


def test_att_gives_the_published_optimum_of_att48(tmp_path: Path) -> None:
    """The optimal tour of att48 costs 10628; its cities 1 and 8 are
    sqrt((531**2 + 185**2) / 10) = 177.8 apart, so 178."""
    instance = read_text(tmp_path, coordinate_file("ATT", pairs(ATT48)))
    assert sorted(ATT48_TOUR) == list(range(1, 49))
    assert tour_length(instance, ATT48_TOUR) == 10628
    assert distance_matrix(instance)[0, 0, 7].item() == 178


angles = st.floats(-89.59, 89.59)


@settings(max_examples=50)
@given(st.lists(st.tuples(angles, angles), min_size=2, max_size=6))
def test_geo_and_att_agree_with_loops_over_pairs(
    places: list[tuple[float, float]],
) -> None:
    """Each entry is what TSPLIB's C code gives for the pair, written down anew with math."""
    coords = torch.tensor(places, dtype=torch.float64)
    geo, att = geo_distances(coords), att_distances(coords)

    def radian(value: float) -> float:
        degree = int(value)
        return 3.141592 * (degree + 5.0 * (value - degree) / 3.0) / 180.0

    for i, (xi, yi) in enumerate(places):
        for j, (xj, yj) in enumerate(places):
            if i == j:
                assert geo[i, j] == att[i, j] == 0
                continue
            q1 = math.cos(radian(yi) - radian(yj))
            q2 = math.cos(radian(xi) - radian(xj))
            q3 = math.cos(radian(xi) + radian(xj))
            angle = math.acos(max(-1.0, min(1.0, 0.5 * ((1 + q1) * q2 - (1 - q1) * q3))))
            length = 6378.388 * angle + 1.0
            # the two may fall on both sides of an integer by the last digit of a cosine
            assert geo[i, j] == int(length) or abs(length - round(length)) < 1e-3
            root = math.sqrt(((xi - xj) ** 2 + (yi - yj) ** 2) / 10.0)
            whole = int(root + 0.5)
            assert att[i, j] == (whole + 1 if whole < root else whole)


def by_definition(matrix: list[list[int]], matrix_format: str) -> list[int]:
    """The numbers of a format by the words of the document: which triangle, by rows or columns."""
    n = len(matrix)
    if matrix_format == "FULL_MATRIX":
        return [matrix[i][j] for i in range(n) for j in range(n)]
    part, *diagonal, direction = matrix_format.split("_")

    def inside(i: int, j: int) -> bool:
        return (i < j if part == "UPPER" else i > j) or (i == j and bool(diagonal))

    if direction == "ROW":
        return [matrix[i][j] for i in range(n) for j in range(n) if inside(i, j)]
    return [matrix[i][j] for j in range(n) for i in range(n) if inside(i, j)]


@settings(max_examples=25)
@given(st.data())
def test_every_matrix_format_gives_the_same_matrix(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever the format and wherever the lines break, the matrix is the one that was meant."""
    n = data.draw(st.integers(2, 6))
    matrix = [[0] * n for _ in range(n)]
    for i in range(n):
        matrix[i][i] = 9999  # no route uses it
        for j in range(i):
            matrix[i][j] = matrix[j][i] = data.draw(st.integers(0, 999))
    expected = torch.tensor(matrix, dtype=torch.float64).fill_diagonal_(0)
    width = data.draw(st.integers(1, 7))
    for matrix_format in MATRIX_FORMATS:
        values = by_definition(matrix, matrix_format)
        lines = [" ".join(map(str, values[k : k + width])) for k in range(0, len(values), width)]
        text = "\n".join(
            ["NAME : m", "TYPE : TSP", f"DIMENSION : {n}", "EDGE_WEIGHT_TYPE : EXPLICIT",
             f"EDGE_WEIGHT_FORMAT : {matrix_format}", "EDGE_WEIGHT_SECTION", *lines, "EOF", ""]
        )  # fmt: skip
        instance = read_text(tmp_path_factory.getbasetemp(), text)
        assert distance_matrix(instance)[0].equal(expected), matrix_format


def test_blanks_line_ends_and_node_numbers_do_not_matter(tmp_path: Path) -> None:
    """Nodes stand in file order, whatever they are called and however the lines are spaced."""
    plain = read_text(tmp_path, coordinate_file("EUC_2D", [(0, 0), (3, 4), (6, 0)]))
    text = (
        "NAME:x\r\nTYPE\t:\tTSP (somebody)\r\n\r\nDIMENSION :3\r\nEDGE_WEIGHT_TYPE: EUC_2D \r\n"
        "NODE_COORD_SECTION :\r\n 70  0.0e+00 0\r\n-3\t3 4.0\r\n 12 6 0\r\n"
    )
    other = read_text(tmp_path, text)
    assert plain.coords is not None
    assert other.coords is not None
    assert other.coords.equal(plain.coords)
    assert other.rounding.tolist() == [Rounding.NEAREST]
    assert distance_matrix(other)[0, 0].tolist() == [0, 5, 6]


def test_the_weight_type_states_the_rounding_and_the_caller_may_replace_it(tmp_path: Path) -> None:
    """A length of sqrt(2) is 1 as EUC_2D, 2 as CEIL_2D; 1.5 is 2 to the nearest and 1 cut off."""
    cases = [
        ("EUC_2D", None, [1, 2]),
        ("CEIL_2D", None, [2, 2]),
        ("FLOOR_2D", None, [1, 1]),
        ("EUC_2D", Rounding.CEIL, [2, 2]),
        ("CEIL_2D", Rounding.NONE, [math.sqrt(2), 1.5]),
    ]
    for weight_type, rounding, expected in cases:
        text = coordinate_file(weight_type, [(0, 0), (1, 1), (0, 1.5)])
        instance = read_text(tmp_path, text, rounding=rounding)
        assert distance_matrix(instance)[0, 0, 1:].tolist() == expected
    for weight_type in ("GEO", "ATT"):
        with pytest.raises(InputError, match="states the lengths themselves"):
            read_text(tmp_path, coordinate_file(weight_type, [(0, 0), (1, 1)]),
                      rounding=Rounding.CEIL)  # fmt: skip


numbers = st.floats(-1e7, 1e7, allow_nan=False)


@settings(max_examples=50)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=6), st.sampled_from(Rounding))
def test_what_is_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[tuple[float, float]],
    rounding: Rounding,
) -> None:
    """Coordinates and distances survive to the last bit, and the rounding where TSPLIB names it."""
    instance = Instance.tsp(coords=places, rounding=rounding)
    path = tmp_path_factory.mktemp("written") / "a.tsp"
    write_tsplib(instance, path)
    again = read_tsplib(path)
    assert again.coords is not None
    assert instance.coords is not None
    assert again.coords.equal(instance.coords)
    assert distance_matrix(again).equal(distance_matrix(instance))
    named = rounding in (Rounding.NEAREST, Rounding.CEIL, Rounding.TRUNC)
    assert int(again.rounding) == (rounding if named else Rounding.NONE)
    assert (again.distance is None) == named
    # nothing else is left beside the result
    assert [p.name for p in path.parent.iterdir()] == ["a.tsp"]


@settings(max_examples=30)
@given(st.data())
def test_asymmetric_matrices_survive(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """An ATSP reads back the same; the same numbers under TYPE TSP are refused."""
    n, length = data.draw(st.integers(2, 5)), st.floats(0, 1e6)
    matrix = [[0.0 if i == j else data.draw(length) for j in range(n)] for i in range(n)]
    matrix[0][1] = matrix[1][0] + 1
    path = tmp_path_factory.mktemp("written") / "a.atsp"
    write_tsplib(Instance.tsp(distance=matrix), path)
    assert distance_matrix(read_tsplib(path))[0].tolist() == matrix
    path.write_text(path.read_text().replace("TYPE : ATSP", "TYPE : TSP"))
    with pytest.raises(InputError, match="symmetric"):
        read_tsplib(path)


def test_what_a_tsp_file_cannot_state_is_refused(tmp_path: Path) -> None:
    """A depot, a batch or a window is named, and no file appears."""
    square = [[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    cases = [
        (Instance.vrp(coords=square), "1 depots"),
        (Instance.tsp(coords=[square, square]), "one instance, not 2"),
        (Instance.vrp(coords=square, num_depots=0, service_time=[0, 1, 0]), "service_time"),
    ]
    for instance, message in cases:
        with pytest.raises(InputError, match=message):
            write_tsplib(instance, tmp_path / "a.tsp")
    assert list(tmp_path.iterdir()) == []


def test_tsplib_files_load_and_reach_their_optimum(shared: Path) -> None:
    """All eight load; on kroA100 a strong heuristic finds exactly the stated optimum."""
    optimal = json.loads((shared / "instances/tsp/optimal.json").read_text())
    for name in optimal:
        instance = read_tsplib(shared / f"instances/tsp/{name}.tsp")
        assert instance.num_nodes == int("".join(c for c in name if c.isdigit()))
        assert int(instance.rounding) == Rounding.NEAREST
    instance = read_tsplib(shared / "instances/tsp/kroA100.tsp")
    tour = elkai.DistanceMatrix(distance_matrix(instance)[0].int().tolist()).solve_tsp()[:-1]
    assert tour_length(instance, [node + 1 for node in tour]) == optimal["kroA100"]
