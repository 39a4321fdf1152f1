"""Solomon's text files: against vrplib's parser, known optima, and themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
import vrplib
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.data.errors import InputError
from nco.data.files import read
from nco.data.instance import FIELDS, UNLIMITED, Instance, Rounding
from nco.data.solomon import read_solomon, write_solomon
from nco.envs.checker import check_routes

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"


@pytest.mark.parametrize("name", ["C101", "R101", "RC101", "R201"])
def test_the_values_are_those_that_vrplib_parses(shared: Path, name: str) -> None:
    """Every column of the table agrees with an independent parser."""
    file = shared / f"instances/solomon/{name}.txt"
    ours = read_solomon(file, rounding=Rounding.NONE)
    theirs = vrplib.read_instance(file, instance_format="solomon", compute_edge_weights=False)
    assert ours.coords is not None
    for mine, key in (
        (ours.coords, "node_coord"),
        (ours.linehaul, "demand"),
        (ours.time_window, "time_window"),
        (ours.service_time, "service_time"),
    ):
        assert np.array_equal(mine[0].numpy(), theirs[key]), key
    assert ours.capacity.tolist() == [theirs["capacity"]]
    assert ours.num_vehicles.tolist() == [theirs["vehicles"]]
    assert ours.dtype == torch.float64


# the optimum of C101, published by Kohl, Desrosiers, Madsen, Solomon and Soumis (1999)
C101_ROUTES = [
    [5, 3, 7, 8, 10, 11, 9, 6, 4, 2, 1, 75],
    [13, 17, 18, 19, 15, 16, 14, 12],
    [20, 24, 25, 27, 29, 30, 28, 26, 23, 22, 21],
    [32, 33, 31, 35, 37, 38, 39, 36, 34],
    [43, 42, 41, 40, 44, 46, 45, 48, 51, 50, 52, 49, 47],
    [57, 55, 54, 53, 56, 58, 60, 59],
    [67, 65, 63, 62, 74, 72, 61, 64, 68, 66, 69],
    [81, 78, 76, 71, 70, 73, 77, 79, 80],
    [90, 87, 86, 83, 82, 84, 85, 88, 89, 91],
    [98, 96, 95, 94, 92, 93, 97, 100, 99],
]


def test_the_optimum_of_c101_in_both_traditions(shared: Path) -> None:
    """The known routes are feasible and cost 828.94 in real lengths, 827.3 cut to one decimal."""
    file = shared / "instances/solomon/C101.txt"
    for rounding, cost in ((Rounding.NONE, 828.9369), (Rounding.DIMACS, 827.3)):
        report = check_routes(read(file, rounding=rounding), C101_ROUTES)
        assert report.feasible, report.violations
        assert report.cost == pytest.approx(cost, abs=1e-4)


def test_the_rounding_must_be_given() -> None:
    """The file states none, so none is assumed."""
    with pytest.raises(InputError, match="does not tell how lengths are rounded"):
        read(SAMPLES / "windows12.txt")
    assert read(SAMPLES / "windows12.txt", rounding=Rounding.DIMACS).rounding.tolist() == [4]


amounts = st.floats(0, 1e6, allow_nan=False)
lengths = st.floats(-1e7, 1e7, allow_nan=False)


@settings(max_examples=50)
@given(st.data())
def test_what_is_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """All fields survive to the last bit; an unlimited fleet becomes one vehicle a customer."""
    n = data.draw(st.integers(2, 6))
    demand = [0.0, *(data.draw(amounts) for _ in range(n - 1))]
    early = [data.draw(amounts) for _ in range(n)]
    instance = Instance.vrp(
        coords=[(data.draw(lengths), data.draw(lengths)) for _ in range(n)],
        demand=demand,
        capacity=max(demand) + 1,
        time_window=[(e, e + data.draw(amounts)) for e in early],
        service_time=[0.0, *(data.draw(amounts) for _ in range(n - 1))],
        num_vehicles=data.draw(st.none() | st.integers(1, 99)),
        rounding=data.draw(st.sampled_from(Rounding)),
    )
    path = tmp_path_factory.getbasetemp() / "a.txt"
    write_solomon(instance, path)
    again = read_solomon(path, rounding=Rounding(int(instance.rounding)))
    for name in FIELDS:
        ours, theirs = getattr(instance, name), getattr(again, name)
        if name == "num_vehicles" and int(ours) == UNLIMITED:
            assert int(theirs) == n - 1
        else:
            assert (ours is None) == (theirs is None), name
            assert ours is None or ours.equal(theirs), name


def test_what_the_form_cannot_state_is_refused(tmp_path: Path) -> None:
    """The attribute is named and nothing is written."""
    line, window = [[0.0, 0.0], [1.0, 0.0]], [[0.0, 9.0], [0.0, 9.0]]
    matrix = [[0.0, 1.0], [1.0, 0.0]]
    full = {"capacity": 2, "time_window": window}
    cases = [
        (Instance.vrp(coords=line, capacity=2), "needs time_window"),
        (Instance.vrp(coords=line, time_window=window), "needs capacity"),
        (Instance.vrp(coords=line, distance_limit=5, **full), "cannot state distance_limit"),
        (Instance.vrp(distance=matrix, **full), "states coordinates"),
        (Instance.vrp(coords=[*line, [2, 2]], capacity=2, num_depots=2,
                      time_window=[*window, [0.0, 9.0]]), "one depot"),
    ]  # fmt: skip
    for instance, message in cases:
        with pytest.raises(InputError, match=message):
            write_solomon(instance, tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []
