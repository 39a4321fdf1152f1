"""The public names, as a user of the package meets them."""

import json
from pathlib import Path

import numpy as np
import pytest

import nco
from nco.data.attributes import variant_names
from nco.data.batching import unbatch
from nco.data.files import read_solution
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate


def test_every_public_name_is_there() -> None:
    """Each name of __all__ can be had, and no other name can."""
    for name in nco.__all__:
        assert getattr(nco, name) is getattr(nco, name)
    assert set(nco.__all__) <= set(dir(nco))
    with pytest.raises(AttributeError, match="no attribute 'solver'"):
        nco.solver  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


def test_generate_repeats_by_seed() -> None:
    """The same seed gives the same batch, another seed another one."""
    a, b, c = (nco.generate("cvrp", num_customers=6, batch=2, seed=s) for s in (1, 1, 2))
    assert a.coords is not None and b.coords is not None and c.coords is not None  # noqa: PT018
    assert a.coords.equal(b.coords)
    assert not a.coords.equal(c.coords)
    assert a.valid.shape == (2, 7)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"problem": "vrp"}, "problem is 'vrp'; accepted: tsp, atsp, mtvrp-16"),
        ({"distribution": "normal"}, "distribution is 'normal'; accepted: uniform"),
        ({"num_customers": 0}, "num_customers is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"problem": "tsp", "capacity": 30}, "capacity is 30 for tsp"),
        ({"variants": ["ovrp"]}, "variants are ovrp for cvrp; accepted: none"),
    ],
)
def test_generate_refuses(changes: dict[str, object], told: str) -> None:
    """What cannot be drawn is refused with what can."""
    arguments = {"problem": "cvrp", "num_customers": 5, "batch": 1} | changes
    with pytest.raises(nco.InputError, match=told):
        nco.generate(**arguments)  # type: ignore[arg-type]


def test_generate_takes_capacity_and_variants() -> None:
    """Both reach the instances; by default vehicles have the published capacity."""
    batch = nco.generate("mtvrp-16", 8, batch=20, capacity=17, variants=["ovrp", "vrptw"])
    assert batch.capacity.tolist() == [17.0] * 20
    assert set(variant_names(batch)) == {"ovrp", "vrptw"}
    assert nco.generate("cvrp", 20).capacity.tolist() == [30.0]


def test_solve_by_name_and_by_object_agree() -> None:
    """A name stands for the solver; each solution is feasible and costs what the checker says."""
    from nco.solver_config import solver_from_name

    batch = nco.generate("cvrp", num_customers=8, batch=3, seed=1)
    named = nco.solve(batch, solver="savings", progress=False)
    given = nco.solve(batch, solver=solver_from_name("savings"), progress=True)
    assert [s.routes for s in named] == [s.routes for s in given]
    for one, solution in zip(unbatch(batch), named, strict=True):
        report = nco.check(one, solution)
        assert report.feasible
        assert solution.cost == report.cost


def test_options_of_models_are_refused_elsewhere() -> None:
    """samples and augment mean nothing to a classical solver, so they are not ignored."""
    batch = nco.generate("tsp", num_customers=5)
    with pytest.raises(nco.InputError, match="samples is 4, but savings is no model"):
        nco.solve(batch, solver="savings", samples=4)
    with pytest.raises(nco.InputError, match="augment is 8, but savings is no model"):
        nco.solve(batch, solver="savings", augment=8)


def solved() -> Solution:
    instance = nco.Instance.vrp(
        coords=[[0, 0], [0, 1], [1, 1], [1, 0]], demand=[0, 1, 1, 1], capacity=2
    )
    return evaluate(instance, [[1, 2], [3]], solver="hand", seconds=0.5)


def test_to_json_reads_back(tmp_path: Path) -> None:
    """The text holds solution and instance, and reads back the same."""
    path = tmp_path / "a.json"
    path.write_text(solved().to_json())
    stored = read_solution(path)
    assert stored.instance is not None
    assert (stored.routes, stored.solver, stored.seconds) == ([[1, 2], [3]], "hand", 0.5)
    # two routes along a unit square: 1 + 1 + the diagonal, and 1 + 1
    assert stored.cost == check_routes(stored.instance, stored.routes).cost == 4 + 2**0.5


def test_to_geojson_has_every_route() -> None:
    """One line for each route, from the depot and back."""
    features = json.loads(solved().to_geojson())["features"]
    lines = [
        f["geometry"]["coordinates"] for f in features if f["geometry"]["type"] == "LineString"
    ]
    assert lines == [[[0, 0], [0, 1], [1, 1], [0, 0]], [[0, 0], [1, 0], [0, 0]]]


def test_plot_draws_every_route() -> None:
    """Each route is a closed line through its customers from the depot, which is a black square;
    the title tells the cost."""
    (axes,) = solved().plot().axes
    lines = [
        np.stack(line.get_data(), 1).tolist() for line in axes.lines if line.get_linestyle() == "-"
    ]
    assert lines == [[[0, 0], [0, 1], [1, 1], [0, 0]], [[0, 0], [1, 0], [0, 0]]]
    colours = [line.get_color() for line in axes.lines if line.get_linestyle() == "-"]
    assert colours[0] != colours[1]
    (square,) = [line for line in axes.lines if line.get_marker() == "s"]
    assert np.stack(square.get_data(), 1).tolist() == [[0, 0]]
    assert axes.get_title() == "hand: cost 5.41421, 2 routes"


def test_plot_of_an_open_route_has_no_way_back() -> None:
    """The line of an open route ends at its last customer."""
    instance = nco.Instance.vrp(coords=[[0, 0], [0, 1], [1, 1]], open_route=True)
    (axes,) = evaluate(instance, [[1, 2]], solver="hand", seconds=0.0).plot().axes
    (line,) = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert np.stack(line.get_data(), 1).tolist() == [[0, 0], [0, 1], [1, 1]]


def test_plot_tells_pickups_from_deliveries_and_draws_every_depot() -> None:
    """Triangles for customers with a pickup, dots for the others, a square for a depot that no
    route uses too."""
    instance = nco.Instance.vrp(
        coords=[[0, 0], [5, 5], [0, 1], [1, 1], [2, 1]],
        demand=[0, 0, 1, 0, 1],
        backhaul=[0, 0, 0, 1, 0],
        capacity=9,
        num_depots=2,
    )
    (axes,) = evaluate(instance, [[2, 3]], depots=[0], solver="hand", seconds=0.0).plot().axes
    places: dict[object, set[tuple[float, float]]] = {}
    for line in axes.lines:
        points = np.stack(line.get_data(), 1).tolist()
        places.setdefault(line.get_marker(), set()).update((x, y) for x, y in points)
    assert places["^"] == {(1, 1)}
    assert places["o"] == {(0, 1), (2, 1)}
    assert places["s"] == {(0, 0), (5, 5)}


def test_plot_needs_coordinates() -> None:
    """A matrix alone cannot be drawn, and the message says so."""
    instance = nco.Instance.tsp(distance=[[0, 1], [1, 0]])
    with pytest.raises(nco.InputError, match="no coords"):
        evaluate(instance, [[0, 1]], solver="hand", seconds=0.0).plot()
