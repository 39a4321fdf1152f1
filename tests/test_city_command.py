"""``nco data city`` and what uses its maps: commands end to end, training, benchmarks."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nco
from nco import cli
from nco.data.city_map import CityMap, load_cities, read_split
from nco.data.files import read
from nco.data.osm_writer import write_osm
from nco.data.synthetic_city import CityPlan, synthetic_network
from nco.model_files import load_card
from tests.streets import random_city

TRAINING = """
name: roads
problem: acvrptw
data: {num_customers: 6, cities: cities}
policy: {type: pomo, dim: 16, num_heads: 2, num_layers: 1, hidden: 16}
algorithm: {type: pomo}
training: {epochs: 1, batches_per_epoch: 2, batch_size: 4, accelerator: cpu}
validation: {num_instances: 4}
"""

BENCHMARK = """
name: roads
suites: [{type: generated, name: small, problem: atsp, num_customers: 8, num_instances: 2,
          cities: cities}]
solvers: [{name: nearest, solver: {solver: nearest}}]
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Runs a command in an empty folder: code, output, messages."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        code = caught.value.code or 0
        assert isinstance(code, int)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def made_up(call: Call, **changes: object) -> tuple[int, str, str]:
    """Three small cities."""
    options = {"count": 3, "points": 25, "seed": 5, "output": "cities"} | changes
    pairs = [
        part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)
    ]
    return call("data", "city", "synthetic", "--quiet", *pairs)


def collection(folder: Path) -> Path:
    """Three maps with random matrices, one for each part."""
    folder.mkdir()
    for i, name in enumerate(("a", "b", "c")):
        random_city(name, 20, i).save(folder / name)
    parts = {"train": ["a"], "validation": ["b"], "test": ["c"]}
    told = {"format": "nco-cities", "version": 1} | parts
    (folder / "split.json").write_text(json.dumps(told))
    return folder


def test_made_up_cities_from_a_seed(call: Call) -> None:
    """A collection with whole cities in three parts; the seed repeats all of it, also of each
    pattern; instances drawn from it are in the test city."""
    code, out, err = made_up(call)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "cities"
    parts = read_split(Path("cities"))
    assert {part: len(names) for part, names in parts.items()} == {
        "train": 1, "validation": 1, "test": 1,
    }  # fmt: skip
    cities = load_cities(Path("cities"))
    assert all(len(city.points) == 25 and city.name in out for city in cities)
    assert {city.name.split("-")[0] for city in cities} == {"grid", "radial", "organic"}
    assert made_up(call, output="again")[0] == 0
    for one, other in zip(cities, load_cities(Path("again")), strict=True):
        assert np.array_equal(one.duration, other.duration)
        assert one.provenance["source"] == other.provenance["source"]
    drawn = ("data", "generate", "acvrptw", "-n", 8, "--seed", 3, "-b", 2, "--cities", "cities")
    assert call(*drawn, "-o", "a.json")[0] == 0
    batch = read(Path("a.json"))
    same = nco.generate("acvrptw", 8, 2, 3, cities="cities")
    assert batch.distance is not None
    assert same.distance is not None
    assert bool((batch.distance == same.distance).all())
    (test_city,) = load_cities(Path("cities"), "test")
    assert np.isin(same.distance.numpy(), test_city.distance).all()


def test_a_map_from_an_extract(call: Call, tmp_path: Path) -> None:
    """Built with SciPy from a file, within a box; shown; made part of a collection."""
    pytest.importorskip("osmium", reason="needs the package osmium, of the extra roads")
    plan = CityPlan(pattern="grid", side=1500.0)
    write_osm(synthetic_network(plan, np.random.default_rng(1)), tmp_path / "town.osm")
    build = ("data", "city", "build", "town.osm", "-n", 40, "--roads", "scipy", "--quiet")
    code, out, _ = call(*build, "-o", "town", "--box", "9.995,49.997,10.005,50.003", "--seed", 4)
    assert code == 0
    assert "town.osm" in out
    city = CityMap.load(Path("town"))
    assert bool((np.abs(city.points - (10, 50)) <= (0.005, 0.003)).all())
    assert city.provenance["source"]["file"] == "town.osm"
    assert len(city.provenance["source"]["sha256"]) == 64
    assert city.provenance["seed"] == 4
    assert city.provenance["points"]["asked"] == 40
    code, out, _ = call("data", "city", "show", "town")
    assert code == 0
    for told in ("40", "dijkstra", "town.osm", "asymmetry"):
        assert told in out
    Path("all").mkdir()
    for name in ("x", "y", "z"):
        shutil.copytree("town", Path("all") / name)
    assert call("data", "city", "split", "all")[0] == 0
    assert sorted(itertools.chain(*read_split(Path("all")).values())) == ["x", "y", "z"]


@pytest.mark.osrm
@pytest.mark.usefixtures("osrm_tools")
def test_osrm_and_scipy_give_the_same_collection(call: Call) -> None:
    """The same points, and matrices within 1 % for 98 of 100 ways."""
    assert made_up(call, output="ours", points=60)[0] == 0
    assert made_up(call, output="theirs", points=60, roads="osrm")[0] == 0
    pairs = zip(load_cities(Path("ours")), load_cities(Path("theirs")), strict=True)
    for ours, theirs in pairs:
        assert np.array_equal(ours.points, theirs.points)
        assert theirs.provenance["roads"]["algorithm"] == "ch"
        for name in ("distance", "duration"):
            a, b = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
            off = np.abs(a - b)[b > 50] / b[b > 50]
            assert (off < 0.01).mean() > 0.98


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["synthetic", "--count", 2, "-o", "x"], "count is 2; accepted: at least 3"),
        (["synthetic", "--points", 1, "-o", "x"], "num_points is 1; accepted: at least 2"),
        (["synthetic", "--seed", -1, "-o", "x"], "seed is -1"),
        (["synthetic", "--test-share", 1, "-o", "x"], "accepted: at least 3, each name once"),
        (["synthetic", "--kind", "odd", "-o", "x"], "odd"),
        (["synthetic", "-o", "taken"], "taken is there already; accepted"),
        (["synthetic", "-o", "gone/x"], "gone is not a folder"),
        (["build", "gone.osm", "-n", 5, "-o", "x"], "gone.osm"),
        (["build", "t.osm", "-n", 5, "-o", "x", "--box", "1,2,3"], "box is '1,2,3'; accepted"),
        (["build", "t.osm", "-n", 5, "-o", "x", "--box", "3,0,1,2"], "west before east"),
        (["build", "t.osm", "-n", 5, "-o", "x", "--roads", "scipy", "--osrm", "http://h"],
         "only with roads osrm"),
        (["show", "taken"], "is no collection of cities"),
        (["split", "taken"], "0 cities with shares"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_one_message(
    call: Call, tmp_path: Path, arguments: list[object], told: str
) -> None:
    """Code 2, no output, and no file comes or goes."""
    Path(tmp_path / "taken").mkdir()
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("data", "city", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert err.lower().count("error:") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_package_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without osmium an extract is refused with the extra to install."""
    monkeypatch.setitem(sys.modules, "osmium", None)
    code, _, err = call("data", "city", "build", "t.osm", "-n", 5, "-o", "x")
    assert code == 2
    assert "nco-routing[roads]" in err


@pytest.mark.parametrize(
    ("problem", "changes", "told"),
    [
        ("acvrp", "data.cities=null", "cities are missing; accepted for acvrp"),
        ("cvrp", "name=x", "cities are given for cvrp; accepted for: acvrp"),
        ("acvrp", "data.cities=nowhere", "nowhere does not exist; accepted: a city map"),
        ("acvrp", "data.num_customers=20", "has 20 points"),
        ("acvrp", "data.distribution=grid", "on city maps; accepted: uniform, cluster, mixed"),
    ],
)
def test_training_refuses_what_does_not_fit(
    call: Call, tmp_path: Path, problem: str, changes: str, told: str
) -> None:
    """Before it makes a folder."""
    collection(tmp_path / "cities")
    Path("train.yaml").write_text(TRAINING)
    code, _, err = call("train", "train.yaml", "--quiet", f"problem={problem}", changes)
    assert code == 2
    assert told in err
    assert not Path("runs").exists()


def test_training_and_benchmark_on_city_maps(call: Call, tmp_path: Path) -> None:
    """A run trains in the training city and says so in the model's card; a benchmark is in the
    test city and its store is verified."""
    collection(tmp_path / "cities")
    Path("train.yaml").write_text(TRAINING)
    code, out, err = call("train", "train.yaml", "--quiet")
    assert code == 0, err
    run = Path(out.strip())
    card = load_card(run / "model")
    assert card.problem == "acvrptw"
    assert card.trained_on.cities == ("a",)
    Path("bench.yaml").write_text(BENCHMARK)
    code, out, err = call("benchmark", "bench.yaml", "--quiet", "output=results")
    assert code == 0, err
    code, _, err = call("verify", "results")
    assert code == 0, err
    told: Any = Path("results")
    text = "".join(p.read_text() for p in told.rglob("*") if p.suffix in (".json", ".jsonl", ".md"))
    assert "test cities of cities" in text
