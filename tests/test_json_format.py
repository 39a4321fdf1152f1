"""Our own JSON, and GeoJSON: exact round trips, and nothing that a file holds is dropped."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.data.batching import collate, unbatch
from nco.data.errors import InputError
from nco.data.files import read, read_solution, write, write_solution
from nco.data.generators import generate
from nco.data.instance import FIELDS, Instance, Rounding, distance_matrix
from nco.data.json_format import (
    InstanceModel,
    SolutionModel,
    read_json_solutions,
    write_json_solutions,
)
from nco.data.multi_task import VARIANTS
from nco.data.solution_files import StoredSolution
from nco.envs.checker import evaluate
from tests.multi_task import small

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"


def _single(bits: int) -> float:
    """The float32 that these 32 bits are."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


# by their bits, as hypothesis throws away most of what it draws from floats of a width
amounts = st.integers(0, 0x7F7FFFFF).map(_single)
lengths = st.tuples(st.booleans(), amounts).map(lambda pair: -pair[1] if pair[0] else pair[1])


def assert_same(a: Instance, b: Instance) -> None:
    """Every field is equal, bit for bit."""
    for name in FIELDS:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        assert x is None or (x.dtype == y.dtype and x.equal(y)), name


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Of an instance of either dtype, with any attribute and any number of depots, none too."""
    n = draw(st.integers(2, 5))
    num_depots = draw(st.integers(0, n - 1))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    exact = 1.0 if dtype == torch.float32 else draw(st.sampled_from([1.0, 1 / 3]))

    def per_node(values: st.SearchStrategy[float]) -> list[float]:
        return [0.0 if i < num_depots else exact * draw(values) for i in range(n)]

    def matrix() -> torch.Tensor:
        rows = [[exact * draw(amounts) for _ in range(n)] for _ in range(n)]
        return torch.tensor(rows, dtype=dtype).fill_diagonal_(0)

    fields: dict[str, object] = {}
    if draw(st.booleans()):
        fields["distance"] = matrix()
        if draw(st.booleans()):
            fields["duration"] = matrix()
    else:
        fields["rounding"] = draw(st.sampled_from(Rounding))
    if "distance" not in fields or draw(st.booleans()):
        rows = [[exact * draw(lengths), exact * draw(lengths)] for _ in range(n)]
        fields["coords"] = torch.tensor(rows, dtype=dtype)
    fields["demand"], fields["backhaul"] = per_node(amounts), per_node(amounts)
    fields["mixed_backhaul"] = draw(st.booleans())
    fields["open_route"] = draw(st.booleans())
    fields["capacity"] = draw(st.sampled_from([math.inf, 3.5e38 if exact != 1.0 else math.inf]))
    fields["service_time"] = per_node(amounts)
    late = st.sampled_from([math.inf, 3.4028234663852886e38])
    fields["time_window"] = [[draw(amounts), draw(late)] for _ in range(n)]
    fields["distance_limit"] = draw(st.just(math.inf) | st.floats(0.5, 1e6, width=32))
    fields["num_vehicles"] = draw(st.none() | st.integers(1, 2**31 - 1))
    if draw(st.booleans()):
        fields["prize"], fields["penalty"] = per_node(amounts), per_node(amounts)
        fields["min_prize"] = draw(st.sampled_from([0.0, 0.5]))
    # the instance is built in the test: the types checked then take random numbers of Python's
    return {"num_depots": num_depots, **fields}


@settings(max_examples=60)
@given(arguments())
def test_an_instance_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]
) -> None:
    """Every field survives to the last bit, in both dtypes, infinities included."""
    instance = Instance.vrp(**given)
    path = tmp_path_factory.getbasetemp() / "a.json"
    write(instance, path)
    assert_same(read(path), instance)


SMALL = Instance.vrp(coords=[[0, 0], [1 / 3, 1]], demand=[0, 2], capacity=3, open_route=True)
LARGE = Instance.vrp(
    coords=[[5, 5], [1, 1 / 7], [2, 2], [4, 1]], time_window=[[0, 9], [1, 2], [0.1, 3], [2, 4]],
    capacity=7, num_depots=2, rounding=Rounding.DIMACS,
)  # fmt: skip
MATRIX = Instance.vrp(
    distance=[[0, 0.1, 2], [3, 0, 4], [5, 6, 0]], duration=[[0, 1, 1], [1, 0, 1], [1, 1, 0]]
)


@pytest.mark.parametrize("singles", [[SMALL, LARGE], [LARGE, MATRIX, SMALL], [MATRIX, MATRIX]])
def test_a_batch_reads_back_the_same(tmp_path: Path, singles: list[Instance]) -> None:
    """A batch of mixed sizes and attributes comes back with the same padding and instances."""
    batch = collate(singles)
    write(batch, tmp_path / "b.json")
    again = read(tmp_path / "b.json")
    assert again.valid.equal(batch.valid)
    for ours, theirs in zip(unbatch(batch), unbatch(again), strict=True):
        assert_same(ours, theirs)


def test_all_48_variants_read_back_the_same(tmp_path: Path) -> None:
    """In one batch of mixed variants and depots, and each by itself, to the last bit."""
    singles = [small(variant, 5, 1, seed=6) for variant in VARIANTS]
    write(collate(singles), tmp_path / "all.json")
    for ours, theirs in zip(singles, unbatch(read(tmp_path / "all.json")), strict=True):
        assert_same(theirs, ours)
    for i, one in enumerate(singles):
        write(one, tmp_path / f"{i}.json")
        assert_same(read(tmp_path / f"{i}.json"), one)


@pytest.mark.parametrize("problem", ["pctsp", "spctsp", "vrpsd", "vrpsd-detour", "ptsp"])
def test_what_is_not_certain_reads_back_the_same(tmp_path: Path, problem: str) -> None:
    """Keys, laws, prizes and probabilities, to the last bit."""
    instance = generate(
        problem, num_customers=4, batch=2, generator=torch.Generator().manual_seed(1)
    )
    write(instance, tmp_path / "a.json")
    assert_same(read(tmp_path / "a.json"), instance)


def test_the_schema_has_every_field() -> None:
    """A field that is added to `Instance` or `StoredSolution` must be added here."""
    assert set(InstanceModel.model_fields) - {"dtype"} == set(FIELDS) - {"valid"}
    assert set(SolutionModel.model_fields) == set(StoredSolution.__dataclass_fields__)


def test_what_is_left_out_is_neutral(tmp_path: Path) -> None:
    """A file by hand needs the places only; ints are numbers, and "inf" is infinity."""
    path = tmp_path / "hand.json"
    data = {"coords": [[0, 0], [3, 4]], "linehaul": [0, 2], "capacity": 5, "num_depots": 1}
    path.write_text(json.dumps({"format": "nco-instances", "version": 1, "instances": [data]}))
    expected = Instance.vrp(coords=[[0, 0], [3, 4]], demand=[0, 2], capacity=5)
    assert_same(read(path), expected)
    path.write_text(path.read_text().replace("5,", '"inf",'))
    assert read(path).capacity.tolist() == [math.inf]


def test_a_rounding_from_outside(tmp_path: Path) -> None:
    """It replaces the file's for coordinates, and is refused for a matrix."""
    write(Instance.vrp(coords=[[0, 0], [1, 1]]), tmp_path / "a.json")
    ceil = read(tmp_path / "a.json", rounding=Rounding.CEIL)
    assert distance_matrix(ceil)[0, 0].tolist() == [0, 2]
    write(Instance.vrp(distance=[[0.0, 1.5], [1.5, 0.0]]), tmp_path / "b.json")
    with pytest.raises(InputError, match="states the distances themselves"):
        read(tmp_path / "b.json", rounding=Rounding.CEIL)


def test_solutions_read_back_the_same(tmp_path: Path) -> None:
    """Everything that a solution says survives, its instance and an infinite cost included."""
    instance = read(SAMPLES / "town16.vrp")
    good = evaluate(
        instance, [[2, 1, 14, 15], [3, 4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 16]],
        solver="by hand", seconds=1 / 3, trace=[(0.1, 500.0), (0.2, 1e3 / 7)],
    )  # fmt: skip
    bad = evaluate(instance, [[1, 99]], solver="wrong", seconds=0.0)
    assert bad.cost == math.inf
    path = tmp_path / "s.json"
    write_json_solutions([good, bad], path)
    for solution, stored in zip([good, bad], read_json_solutions(path), strict=True):
        for name in set(SolutionModel.model_fields) - {"instance"}:
            assert getattr(stored, name) == getattr(solution, name), name
        assert stored.instance is not None
        assert_same(stored.instance, instance)
    with pytest.raises(InputError, match="there are 2 solutions"):
        read_solution(path)
    write_solution(good, path)
    assert read_solution(path).routes == good.routes


def test_geojson_draws_each_route_and_node(tmp_path: Path) -> None:
    """A closed route begins and ends at its depot, an open one ends at its last customer."""
    places = [[4.5, 52.0], [4.6, 52.1], [4.7, 52.0]]
    for is_open, expected in ((False, [*places, places[0]]), (True, places)):
        instance = Instance.vrp(coords=places, demand=[0, 1, 2], capacity=5, open_route=is_open)
        path = tmp_path / "a.geojson"
        write_solution(evaluate(instance, [[1, 2]], solver="x", seconds=0.0), path)
        features = json.loads(path.read_text())["features"]
        assert features[0]["geometry"] == {"type": "LineString", "coordinates": expected}
        assert features[0]["properties"] == {"route": 1, "customers": [1, 2], "depot": 0}
        points = features[1:]
        assert [p["geometry"]["coordinates"] for p in points] == places
        assert [p["properties"]["kind"] for p in points] == ["depot", "customer", "customer"]
        assert [p["properties"]["linehaul"] for p in points] == [0, 1, 2]
    tour = evaluate(Instance.tsp(coords=places), [[1, 0, 2]], solver="x", seconds=0.0)
    write_solution(tour, tmp_path / "t.geojson")
    line = json.loads((tmp_path / "t.geojson").read_text())["features"][0]
    assert line["geometry"]["coordinates"] == [places[1], places[0], places[2], places[1]]
    matrix = Instance.tsp(distance=[[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(InputError, match="needs coords"):
        write_solution(evaluate(matrix, [[0, 1]], solver="x", seconds=0.0), tmp_path / "m.geojson")
    assert not (tmp_path / "m.geojson").exists()
