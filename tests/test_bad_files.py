"""Bad files: each mistake gives one message with the place, the value and what is accepted."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nco.data.errors import InputError
from nco.data.files import read, read_solution, write, write_solution
from nco.data.instance import FIELDS, Instance, Rounding
from nco.envs.checker import evaluate

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
VRP = (SAMPLES / "town16.vrp").read_text()
TSP = (SAMPLES / "ring12.tsp").read_text()
SOLOMON = (SAMPLES / "windows12.txt").read_text()
MATRIX = """NAME : m
TYPE : TSP
DIMENSION : 3
EDGE_WEIGHT_TYPE : EXPLICIT
EDGE_WEIGHT_FORMAT : UPPER_ROW
EDGE_WEIGHT_SECTION
1 2
3
EOF
"""
JSON = """{"format": "nco-instances", "version": 1, "instances": [
{"coords": [[0, 0], [3, 4]], "linehaul": [0, 2], "capacity": 5, "num_depots": 1}]}
"""
SOL = "Route #1: 1 2\nRoute #2: 3\nCost 12.5\n"
TOUR = "TYPE : TOUR\nDIMENSION : 3\nTOUR_SECTION\n2\n1\n3\n-1\nEOF\n"


def read_any(path: Path) -> object:
    if path.suffix in (".sol", ".tour"):
        return read_solution(path)
    return read(path, rounding=Rounding.NONE if path.suffix == ".txt" else None)


# a valid text, its suffix, what is replaced by what, and what the message must say
CASES = [
    (VRP, ".vrp", "CAPACITY : 30\n", "", "CAPACITY is missing"),
    (VRP, ".vrp", "EDGE_WEIGHT_TYPE : EUC_2D\n", "", "EDGE_WEIGHT_TYPE is missing"),
    (VRP, ".vrp", "TYPE : CVRP\n", "", "TYPE is missing"),
    (VRP, ".vrp", "DIMENSION : 17\n", "", "DIMENSION is missing"),
    (VRP, ".vrp", "TYPE : CVRP", "TYPE : HCP", "line 3 .TYPE.: 'HCP'.*accepted: TSP, ATSP, CVRP"),
    (VRP, ".vrp", "EUC_2D", "MAN_2D", "line 5 .EDGE_WEIGHT_TYPE.: 'MAN_2D'.*accepted: EUC_2D"),
    (VRP, ".vrp", ": EUC_2D", ":", "line 5 .EDGE_WEIGHT_TYPE.: ''.*accepted: EUC_2D"),
    (VRP, ".vrp", "EUC_2D\n", "GEO\nROUTES : 3\n", "line 6 .ROUTES.: this keyword is not supp"),
    (VRP, ".vrp", "DEPOT_S", "PRIZE_SECTION\n1 2\nDEPOT_S", "PRIZE_SECTION.: this section is not"),
    (VRP, ".vrp", "DIMENSION : 17", "DIMENSION : 18", "there are 17 nodes; accepted: 18"),
    (VRP, ".vrp", "DIMENSION : 17", "DIMENSION : 1.5", "line 4 .DIMENSION.: '1.5'.*whole number"),
    (VRP, ".vrp", "DIMENSION : 17", "DIMENSION : -1", "line 4 .DIMENSION.: '-1'.*at least 1"),
    (VRP, ".vrp", "CAPACITY : 30", "CAPACITY : -30", "line 6 .CAPACITY.: '-30'"),
    (VRP, ".vrp", "CAPACITY : 30", "CAPACITY : 0", "demand of node 2 is 7; accepted: at most CAP"),
    (VRP, ".vrp", "CAPACITY : 30", "CAPACITY : many", "line 6 .CAPACITY.: 'many'"),
    (VRP, ".vrp", "NAME : town16", "NAME : a\nNAME : b", "line 2: NAME comes a second time"),
    (VRP, ".vrp", "NAME : town16", "hello there", "line 1: 'hello there' is not understood"),
    (VRP, ".vrp", "2 22 81\n", "2 22\n", "line 9 .NODE_COORD_SECTION.: '2 22' has 2 values"),
    (VRP, ".vrp", "2 22 81\n", "2 nan 81\n", "line 9 .NODE_COORD_SECTION.: 'nan'.*finite"),
    (VRP, ".vrp", "2 22 81\n", "2 22 inf\n", "line 9 .NODE_COORD_SECTION.: 'inf'.*finite"),
    (VRP, ".vrp", "2 22 81\n", "2 x 81\n", "line 9 .NODE_COORD_SECTION.: 'x' is not accepted"),
    (VRP, ".vrp", "2 22 81\n", "2 2_2 81\n", "line 9 .NODE_COORD_SECTION.: '2_2'"),
    (VRP, ".vrp", "2 22 81\n", "1 22 81\n", "line 9 .*node 1 stands here again, first in line 8"),
    (VRP, ".vrp", "2 22 81\n", "b 22 81\n", "line 9 .NODE_COORD_SECTION.: 'b'.*whole number"),
    (VRP, ".vrp", "\n5 6\n", "\n", "DEMAND_SECTION.: node 5 has no demand"),
    (VRP, ".vrp", "\n5 6\n", "\n5\n", "line 30 .DEMAND_SECTION.: '5' has 1 values"),
    (VRP, ".vrp", "\n5 6\n", "\n5 31\n", "line 30 .*demand of node 5 is 31; accepted: at most C"),
    (VRP, ".vrp", "\n5 6\n", "\n5 -6\n", "line 30 .DEMAND_SECTION.: '-6'.*at least 0"),
    (VRP, ".vrp", "\n5 6\n", "\n5 NaN\n", "line 30 .DEMAND_SECTION.: 'NaN'"),
    (VRP, ".vrp", "\n5 6\n", "\n99 6\n", "line 30 .*there is no node 99; accepted: the 17 nodes"),
    (VRP, ".vrp", "\n5 6\n", "\n4 6\n", "line 30 .*node 4 stands here again"),
    (VRP, ".vrp", "\n1 0\n", "\n1 3\n", "demand of node 1 is 3; accepted: 0 at a depot"),
    (VRP, ".vrp", "DEMAND_SECTION", "LINEHAUL_SECTION", "LINEHAUL_SECTION.: this section is not"),
    (VRP, ".vrp", "\n1\n-1\n", "\n18\n-1\n", "DEPOT_SECTION.: 18 is not accepted"),
    (VRP, ".vrp", "\n1\n-1\n", "\n1\n1\n-1\n", "DEPOT_SECTION.: 1 is not accepted; accepted: each"),
    (VRP, ".vrp", "\n1\n-1\n", "\n-1\n", "no depot is named"),
    (VRP, ".vrp", "\n1\n-1\n", "\n-1\n1\n", "DEPOT_SECTION.: -1 is not accepted"),
    (VRP, ".vrp", "DEPOT_SECTION\n1\n-1\n", "", "DEPOT_SECTION is missing"),
    (VRP, ".vrp", "TYPE : CVRP", "TYPE : VRPB", "VRPB without a BACKHAUL_SECTION"),
    (VRP, ".vrp", "DEPOT_S", "TIME_WINDOW_SECTION\n1 0 9\nDEPOT_S", "EUC_2D does not tell"),
    (VRP, ".vrp", "CAPACITY : 30", "CAPACITY : 30\nVEHICLES : 0", "VEHICLES.: '0'.*at least 1"),
    (VRP, ".vrp", "CAPACITY : 30", "CAPACITY : 30\nDISTANCE : 0", "distance_limit.*above 0"),
    (TSP, ".tsp", "EUC_2D", "EXPLICIT", "EDGE_WEIGHT_FORMAT is missing"),
    (TSP, ".tsp", "NODE_COORD_S", "FIXED_EDGES_SECTION\n1 2\nNODE_COORD_S", "FIXED_EDGES_SECTION"),
    (TSP, ".tsp", "TYPE : TSP", "TYPE : TSP\nCAPACITY : 5", "CAPACITY.: this keyword is not"),
    (MATRIX, ".tsp", "1 2\n3", "1 2", "there are 2 numbers; accepted: 3, a UPPER_ROW of 3 nodes"),
    (MATRIX, ".tsp", "1 2\n3", "1 2\n3 4", "there are 4 numbers; accepted: 3"),
    (MATRIX, ".tsp", "UPPER_ROW", "FULL_MATRIX", "there are 3 numbers; accepted: 9"),
    (
        MATRIX,
        ".tsp",
        "DIMENSION : 3",
        "DIMENSION : 30000000000",
        "there are 3 numbers; accepted: 4",
    ),
    (MATRIX, ".tsp", "UPPER_ROW", "FUNCTION", "'FUNCTION'.*accepted: FULL_MATRIX, UPPER_ROW"),
    (MATRIX, ".tsp", "1 2\n3", "1 2\n-3", "line 8 .EDGE_WEIGHT_SECTION.: '-3'.*at least 0"),
    (MATRIX, ".tsp", "1 2\n3", "1 2\nthree", "line 8 .EDGE_WEIGHT_SECTION.: 'three'"),
    (MATRIX, ".tsp", "EXPLICIT", "CEIL_2D", "NODE_COORD_SECTION is missing"),
    (SOLOMON, ".txt", "   4          80", "   4", "line 5 .VEHICLE.: '4'"),
    (SOLOMON, ".txt", "   4          80", "   0          80", "line 5 .VEHICLE.: '0'"),
    (
        SOLOMON,
        ".txt",
        "   4          80",
        "   4          25",
        "DEMAND is 30; accepted: at most C",
    ),
    (SOLOMON, ".txt", "DEMAND", "LOAD", "line 8: 'CUST NO.*is not understood"),
    (SOLOMON, ".txt", "        68 ", "       6x8 ", "line 11 .CUSTOMER.: '6x8'"),
    (SOLOMON, ".txt", "        68 ", "           ", "line 11 .CUSTOMER.: there are 6 values"),
    (SOLOMON, ".txt", "       240 ", "        -1 ", "line 10 .CUSTOMER.: '-1'.*at least 0"),
    (SOLOMON, ".txt", "        20        90", "        99        90", "READY TIME 99 is after DUE"),
    (
        SOLOMON,
        ".txt",
        "         2        42",
        "         1        42",
        "customer 1 stands here ag",
    ),
    (SOLOMON, ".txt", "CUSTOMER", "CUSTOMERS", "line 7: 'CUSTOMERS' is not under"),
    (JSON, ".json", "nco-instances", "other", "format is other; accepted"),
    (JSON, ".json", '"version": 1', '"version": 2', "version is 2; accepted"),
    (JSON, ".json", '"capacity": 5', '"capacity": "5"', "instances.0.capacity is 5; accepted"),
    (JSON, ".json", '"capacity": 5', '"capacity": 1', "demand of instance 0, node 1 is 2"),
    (JSON, ".json", '"capacity": 5', '"capacity": NaN', "NaN is not JSON"),
    (JSON, ".json", '"capacity"', '"linehaul"', "'linehaul' is given twice"),
    (JSON, ".json", '"capacity"', '"capcity"', "instances.0.capcity is 5; accepted: Extra"),
    (JSON, ".json", "[0, 2]", "[0, true]", "instances.0.linehaul.1 is True; accepted"),
    (JSON, ".json", "[0, 2]", "[" * 100_000, "nested too deep"),
    (JSON, ".json", "[0, 2]", f"[0, {'9' * 5000}]", "digits"),
    (JSON, ".json", "[0, 2]", "[0, 2, 3]", "linehaul has shape"),
    (JSON, ".json", "[0, 2]", "[0, -2]", "demand of instance 0, node 1 is -2"),
    (JSON, ".json", "[3, 4]", "[3, 4, 5]", "instances.0.coords.1 is"),
    (JSON, ".json", '"coords": [[0, 0], [3, 4]]', '"distance": [[0, 1], [2]]', "different lengths"),
    (JSON, ".json", '"coords": [[0, 0], [3, 4]], ', "", "needs coords or a distance matrix"),
    (JSON, ".json", ', "num_depots": 1', "", "instances.0.num_depots is .*required"),
    (JSON, ".json", '"num_depots": 1', '"num_depots": -1', "num_depots of instance 0 is -1"),
    (SOL, ".sol", "Cost 12.5\n", "", "Cost is missing, the file may be cut short"),
    (SOL, ".sol", "12.5", "cheap", "line 3: 'cheap' is not accepted"),
    (SOL, ".sol", "Cost 12.5\n", "Cost 12.5\nCost 3\n", "line 4: 'Cost 3' is not understood"),
    (SOL, ".sol", "#2", "#1", "line 2: route 1 comes after 1 routes; accepted: Route #2"),
    (SOL, ".sol", "1 2", "1 x", "line 1: 'x' is not accepted; accepted: a whole number"),
    (SOL, ".sol", "1 2", "0 2", "line 1: '0' is not accepted.*at least 1"),
    (SOL, ".sol", "Route #2", "Vehicle 2", "line 2: 'Vehicle 2: 3' is not understood"),
    (TOUR, ".tour", "\n-1", "", "there are 3 numbers; accepted: 3 nodes .DIMENSION., from 1, and"),
    (TOUR, ".tour", "\n1\n", "\n0\n", "accepted: 3 nodes"),
]


@pytest.mark.parametrize(("text", "suffix", "old", "new", "message"), CASES)
def test_one_mistake_gives_one_message(
    tmp_path: Path, text: str, suffix: str, old: str, new: str, message: str
) -> None:
    """The valid text reads; with the mistake it is refused, naming file, place and value."""
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    read_any(path)
    assert text.count(old) == 1, "the mistake must be a single one"
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_any(path)
    told = str(caught.value)
    assert re.search(message, told), told
    assert told.startswith(str(path))
    assert "\n" not in told


def test_no_file_a_folder_an_empty_file_or_no_text(tmp_path: Path) -> None:
    """What cannot be read at all is told apart."""
    (tmp_path / "empty.vrp").write_text(" \n")
    (tmp_path / "binary.vrp").write_bytes(b"NAME\xff\xfe\x00")
    (tmp_path / "zero.vrp").write_bytes(b"NAME : a\x00\n")
    (tmp_path / "words.txt").write_text("a letter to a friend\n")
    cases = [
        ("none.vrp", "does not exist"),
        (".", "is a folder"),
        ("empty.vrp", "is empty"),
        ("binary.vrp", "is not text: byte 4 is 0xff"),
        ("zero.vrp", "zero byte"),
        ("words.txt", "'a letter to a friend' is not understood"),
    ]
    for name, message in cases:
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)
    for name in ("routes.csv", "routes"):
        with pytest.raises(InputError, match=r"suffix .* is not known; accepted: \.sol, "):
            read_solution(tmp_path / name)


@pytest.mark.parametrize(("name", "text"), [("a.vrp", VRP), ("a.tsp", TSP), ("a.json", JSON)])
def test_a_file_that_is_cut_short_never_passes_for_another(
    tmp_path: Path, name: str, text: str
) -> None:
    """Cut after any character, a file is refused or still says the same."""
    path = tmp_path / name
    path.write_text(text)
    whole = read(path)
    refused = 0
    for length in range(len(text)):
        path.write_text(text[:length])
        try:
            part = read(path)
        except InputError:
            refused += 1
            continue
        for field in FIELDS:
            a: Tensor | None = getattr(part, field)
            b: Tensor | None = getattr(whole, field)
            assert (a is None) == (b is None), (length, field)
            assert a is None or (b is not None and a.equal(b)), (length, field)
    assert refused > 0.95 * len(text)


@settings(max_examples=150)
@given(
    st.sampled_from([(VRP, ".vrp"), (MATRIX, ".tsp"), (SOLOMON, ".txt"), (JSON, ".json"),
                     (SOL, ".sol"), (TOUR, ".tour")]),
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(
        ["", "-1", "0", "1e999", "nan", ":", "EOF", "\n", "[", '"inf"', "9" * 30, "x", "\u00e9"]
    )), min_size=1, max_size=4),
)  # fmt: skip
def test_no_damage_leads_to_anything_but_a_message(
    tmp_path_factory: pytest.TempPathFactory,
    file: tuple[str, str],
    damages: list[tuple[int, str]],
) -> None:
    """Words replaced at random give a readable file or an InputError, never another error."""
    text, suffix = file
    words = re.split(r"(\s+)", text)
    for place, word in damages:
        words[place % len(words)] = word
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_text("".join(words))
    # any other error fails the test
    with contextlib.suppress(InputError):
        read_any(path)


@settings(max_examples=60)
@given(st.binary(max_size=60), st.sampled_from([".vrp", ".txt", ".json", ".sol", ".tour"]))
def test_binary_garbage_leads_to_a_message(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, suffix: str
) -> None:
    """No sequence of bytes this short is a file."""
    path = tmp_path_factory.getbasetemp() / f"garbage{suffix}"
    path.write_bytes(raw)
    with pytest.raises(InputError):
        read_any(path)


SMALL = Instance.vrp(coords=[[0, 0], [1, 0]], demand=[0, 1], capacity=2)


@pytest.mark.parametrize("suffix", [".vrp", ".json", ".sol", ".geojson"])
def test_where_nothing_can_be_written(tmp_path: Path, suffix: str) -> None:
    """A missing folder or a folder's name is refused in words; what was there stays."""
    solution = evaluate(SMALL, [[1]], solver="x", seconds=0.0)

    def put(path: Path) -> None:
        if suffix in (".sol", ".geojson"):
            write_solution(solution, path)
        else:
            write(SMALL, path)

    with pytest.raises(InputError, match="is not a folder"):
        put(tmp_path / "none" / f"a{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        put(tmp_path / f"folder{suffix}")
    with pytest.raises(InputError, match=r"the suffix '\.doc' is not known"):
        put((tmp_path / "a").with_suffix(".doc"))


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk fails at the last moment the old content stays and nothing is left over."""
    path = tmp_path / "a.vrp"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    replace: Callable[..., None] = fail
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        write(SMALL, path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.vrp"]
    assert path.read_text() == "old"
