"""VRPLIB files against PyVRP's own reader, both ways, and the stored costs of several depots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvrp
from pyvrp.constants import MAX_VALUE

from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.data.multi_task import VARIANTS, Variant
from nco.data.solution_files import read_sol
from nco.data.vrplib_format import read_vrplib, write_vrplib
from nco.envs.checker import check_routes
from tests.multi_task import small

UNBOUNDED = np.iinfo(np.int64).max
FILES = ["cvrp/X-n101-k25", "cvrp/X-n200-k36", "cvrp/X-n1001-k43", "vrptw/C1_10_1",
         "vrptw/R1_10_1", "vrptw/RC2_10_1", "vrpb/X-n548-50-k25", "vrpb/X-n573-66-k25"]  # fmt: skip


def assert_same_problem(ours: Instance, theirs: pyvrp.ProblemData, scale: int, rule: str) -> None:
    """All that PyVRP read is what we read, times ``scale``, rounded as its ``rule`` rounds."""
    round_values = {"round": np.round, "dimacs": np.trunc, "exact": np.round}[rule]

    def integers(values: object) -> list[int]:
        return round_values(scale * np.asarray(values, dtype=float)).astype(np.int64).tolist()

    depots = int(ours.num_depots)
    matrix = integers(distance_matrix(ours)[0])
    found = theirs.distance_matrix(0)
    allowed = found != MAX_VALUE
    assert np.array_equal(np.array(matrix)[allowed], found[allowed])
    # forbidden to PyVRP is what a classical backhaul forbids, and pickups alone
    picked, delivered = (v[0].numpy() > 0 for v in (ours.backhaul, ours.linehaul))
    expected = np.zeros_like(allowed)
    if not bool(ours.mixed_backhaul) and picked.any():
        expected[np.ix_(picked, delivered)] = True
        expected[0, picked] = True
    assert np.array_equal(~allowed, expected)
    clients = theirs.clients()
    assert [c.delivery[0] for c in clients] == integers(ours.linehaul[0, depots:])
    assert [c.pickup[0] for c in clients] == integers(ours.backhaul[0, depots:])
    assert [c.service_duration for c in clients] == integers(ours.service_time[0, depots:])
    timed = bool(ours.time_window.isfinite().all())
    if timed:
        windows = [[c.tw_early, c.tw_late] for c in clients]
        assert windows == integers(ours.time_window[0, depots:])
    vehicles = theirs.vehicle_types()
    assert [v.start_depot for v in vehicles] == [v.end_depot for v in vehicles]
    assert [v.start_depot for v in vehicles] == list(range(depots))
    limit = ours.distance_limit[0]
    for vehicle in vehicles:
        assert vehicle.num_available >= min(int(ours.num_vehicles), len(clients))
        assert vehicle.capacity == integers(ours.capacity)
        assert vehicle.shift_duration == UNBOUNDED
        expected_limit = integers(limit) if bool(limit.isfinite()) else UNBOUNDED
        assert vehicle.max_distance == expected_limit
        if timed:
            hours = [vehicle.tw_early, vehicle.tw_late]
            assert hours == integers(ours.time_window[0, vehicle.start_depot])


@pytest.mark.parametrize("name", FILES)
def test_public_files_are_read_as_pyvrp_reads_them(shared: Path, name: str) -> None:
    """Distances, loads, times, fleet and limits of CVRPLIB, Gehring and Homberger, Queiroga."""
    file = shared / "instances" / f"{name}.vrp"
    if name.startswith("vrptw"):
        ours = read_vrplib(file, rounding=Rounding.DIMACS)
        assert_same_problem(ours, pyvrp.read(file, round_func="dimacs"), 10, "round")
        return
    assert_same_problem(read_vrplib(file), pyvrp.read(file, round_func="round"), 1, "round")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_pyvrp_reads_what_is_written_of_every_variant(tmp_path: Path, variant: Variant) -> None:
    """The same problem, to the thousandth that it is asked for; open routes, for which the format
    has no word, are refused by name."""
    instance = small(variant, 6, 1, seed=4)
    path = tmp_path / f"{variant.name}.vrp"
    if variant.open_route:
        with pytest.raises(InputError, match=r"cannot state open_route; accepted: .* \.json"):
            write_vrplib(instance, path)
        assert not path.exists()
        return
    write_vrplib(instance, path)
    assert_same_problem(instance, pyvrp.read(path, round_func="exact"), 1000, "exact")
    again = read_vrplib(path)
    assert distance_matrix(again).tolist() == distance_matrix(instance).tolist()
    for name in ("linehaul", "backhaul", "time_window", "service_time", "capacity", "num_vehicles",
                 "distance_limit", "mixed_backhaul", "num_depots"):  # fmt: skip
        ours = getattr(instance, name)
        assert getattr(again, name).tolist() == ours.tolist(), name


@pytest.mark.parametrize("name", ["PR11A", "PR17B"])
def test_several_depots_of_vidal(shared: Path, tmp_path: Path, name: str) -> None:
    """Refused by name, for the limit of a route's duration and for each depot's own fleet. Without
    these the stored routes are feasible and cost what the file states."""
    file = shared / f"instances/mdvrptw/{name}.vrp"
    text = file.read_text()
    before, _, rest = text.partition("VEHICLES_DEPOT_SECTION\n")
    rows, _, depots = rest.partition("DEPOT_SECTION\n")
    starts = [int(row.split()[1]) - 1 for row in rows.splitlines()]
    headers = [line for line in before.splitlines() if not line.startswith("VEHICLES")]
    duration = [line for line in before.splitlines() if line.startswith("VEHICLES_MAX_DURATION")]
    with pytest.raises(InputError, match=r"VEHICLES_DEPOT_SECTION.*each depot's own is not"):
        read_vrplib(file, rounding=Rounding.EXACT)
    bare = "\n".join(headers) + f"\nDEPOT_SECTION\n{depots}"
    path = tmp_path / "bare.vrp"
    path.write_text("\n".join(duration) + "\n" + bare)
    with pytest.raises(InputError, match=r"VEHICLES_MAX_DURATION.*is not supported"):
        read_vrplib(path, rounding=Rounding.EXACT)
    path.write_text(bare)
    instance = read_vrplib(path, rounding=Rounding.EXACT)
    stored = read_sol(file.with_suffix(".sol"))
    used = [depot for depot, route in zip(starts, stored.routes, strict=False) if route]
    report = check_routes(instance, [route for route in stored.routes if route], used)
    assert report.feasible, report.violations[:3]
    assert stored.cost is not None
    assert 1000 * report.cost == pytest.approx(stored.cost, abs=0.5)
    theirs = pyvrp.read(file, round_func="exact")
    matrix = np.round(1000 * distance_matrix(instance)[0].numpy()).astype(np.int64)
    assert np.array_equal(matrix, theirs.distance_matrix(0))
