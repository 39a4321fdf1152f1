"""Suites of variants: what they stand for, what instances they hold, which solvers they get."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nco.api import generate
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig
from nco.benchmark_suites import new_instances
from nco.config_files import load_yaml, parse, preset_names
from nco.data.attributes import variant_names
from nco.data.errors import InputError
from nco.data.multi_task import VARIANT_SETS, variant_by_name
from nco.data.routefinder import routefinder_instances
from nco.store import open_store
from tests.draws import same
from tests.multi_task import reference

SET: dict[str, Any] = {
    "type": "variants",
    "name": "s",
    "problem": "mtvrp-16",
    "num_customers": 50,
    "num_instances": 2,
    "protocol": "routefinder",
}


def make_config(folder: Path, *suites: dict[str, Any], **changes: Any) -> BenchmarkConfig:
    solvers = [{"name": "nearest", "solver": {"solver": "nearest"}}]
    values = {"name": "b", "output": folder / "store", "suites": [*suites], "solvers": solvers}
    return parse(BenchmarkConfig, values | changes, "test")


@pytest.mark.parametrize("name", [n for n in preset_names() if "suites" in load_yaml(n)])
def test_every_shipped_benchmark_is_valid(name: str) -> None:
    """The presets pass the schema; each suite that is there has a reference."""
    parsed = parse(BenchmarkConfig, load_yaml(name), name)
    assert name in (f"benchmark-{parsed.name}", parsed.name)
    assert all(suite.reference is not None for suite in parsed.single_suites())


@pytest.mark.parametrize(("name", "count"), [("mtvrp16", 16), ("mtvrp24", 24), ("mtvrp48", 48)])
def test_shipped_benchmarks_have_a_suite_for_each_variant(name: str, count: int) -> None:
    """All variants of the set; heuristics run where they can, the others everywhere."""
    config = parse(BenchmarkConfig, load_yaml(f"benchmark-{name}"), name)
    suites = [suite.name for suite in config.single_suites()]
    assert suites == [f"routefinder50-{v.name}" for v in VARIANT_SETS[f"mtvrp-{count}"]]
    everywhere = ["trained model", "PyVRP", "OR-Tools"]
    for suite in suites:
        more = ["savings", "nearest neighbour"] if suite == "routefinder50-cvrp" else []
        assert [e.name for e in config.entries(suite)] == everywhere + more


def test_published_suites_hold_the_published_instances(tmp_path: Path, shared: Path) -> None:
    """The validation sets' first instances are those stored with the references, to the bit; test
    sets are other instances of the same variant."""
    names = ["ovrpbl", "mdvrpmbtw"]
    asked = SET | {"problem": "mtvrp-48", "variants": names}
    found = new_instances(make_config(tmp_path, asked | {"seed": 4321}))
    assert [(n.suite, n.name) for n in found] == [(f"s-{v}", i) for v in names for i in "01"]
    test = new_instances(make_config(tmp_path, asked))
    for index, (new, other) in enumerate(zip(found, test, strict=True)):
        name = names[index // 2]
        stored = reference(shared, variant_by_name(name), 50)[0][index % 2 : index % 2 + 1]
        assert same(new.instance, stored)
        assert new.source == (
            f"RouteFinder's published validation set, {name}50, instance {index % 2}"
        )
        assert variant_names(other.instance) == [name]
        assert not same(other.instance, stored)
        assert "test set" in other.source


def test_published_sets_are_prefixes_of_the_whole(tmp_path: Path) -> None:
    """Every draw is made for all 1000 instances at once, so the first two of a set of two would be
    others."""
    suite = SET | {"type": "generated", "problem": "vrptw"}
    first, _ = (new.instance for new in new_instances(make_config(tmp_path, suite)))
    variant = variant_by_name("vrptw")
    assert same(first, routefinder_instances(variant, 50, seed=1234, num_instances=1000)[:1])
    assert not same(first, routefinder_instances(variant, 50, seed=1234, num_instances=2)[:1])


def test_the_capacity_of_a_suite_is_that_of_its_instances(tmp_path: Path) -> None:
    """Drawn as the API draws them, and told in the source."""
    asked = {"protocol": "default", "num_customers": 8, "variants": ["cvrp", "vrptw"]}
    found = new_instances(make_config(tmp_path, SET | asked | {"capacity": 13}))
    for index, new in enumerate(found):
        variant = ("cvrp", "vrptw")[index // 2]
        drawn = generate(variant, 8, 2, seed=1234, capacity=13)
        assert same(new.instance, drawn[index % 2 : index % 2 + 1])
        assert f"{variant}8 uniform, capacity 13, seed 1234" in new.source


def test_solvers_name_a_suite_of_variants_or_one_of_its_suites(tmp_path: Path) -> None:
    """The name of the whole stands for all that it makes."""
    entries = [
        {"name": name, "solver": {"solver": "nearest"}, "suites": suites}
        for name, suites in (("all", ["s"]), ("one", ["s-vrpl"]), ("other", ["t"]), ("any", None))
    ]
    fresh = {"type": "generated", "name": "t", "problem": "tsp", "num_customers": 5,
             "num_instances": 1}  # fmt: skip
    config = make_config(tmp_path, SET, fresh, solvers=entries)
    runs = {name: [e.name for e in config.entries(name)] for name in ("s-vrpl", "s-ovrp", "t")}
    assert runs == {
        "s-vrpl": ["all", "one", "any"],
        "s-ovrp": ["all", "any"],
        "t": ["other", "any"],
    }
    referred = SET | {"reference": {"type": "solver", "solver": "one"}}
    with pytest.raises(InputError, match=r"reference of suite 's-cvrp' is solver 'one'"):
        make_config(tmp_path, referred, fresh, solvers=entries)


def test_refused_variants_are_recorded_as_unsupported(tmp_path: Path) -> None:
    """A heuristic for the CVRP solves that one; its refusals name what it cannot do, and the run
    goes on."""
    told = {"cvrp": None, "vrpl": "a distance limit", "ovrptw": "open routes, time windows",
            "mdvrpmb": "mixed backhauls"}  # fmt: skip
    small = {"protocol": "default", "num_customers": 8, "problem": "mtvrp-48"}
    config = make_config(tmp_path, SET | small | {"variants": list(told)})
    records = open_store(run_benchmark(config, progress=False)).lines()
    assert Counter(r.status for r in records) == {"ok": 2, "unsupported": 6}
    for record in records:
        expected = told[record.suite.removeprefix("s-")]
        assert (record.error is None) if expected is None else (expected in (record.error or ""))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"problem": "vrptw", "variants": ["vrptw"]}, r"suites\.0.*only mtvrp-16"),
        ({"variants": ["vrpmb"]}, r"suites\.0.*variants has 'vrpmb' for mtvrp-16"),
        ({"variants": []}, r"suites\.0.*at least one"),
        ({"problem": "tsp"}, r"suites\.0.*variant is 'tsp'"),
        ({"problem": "mtvrp-17"}, r"suites\.0\.problem: value 'mtvrp-17'; accepted: tsp, .*mtvrp"),
        ({"name": "x" * 50}, r"suites\.0\.name"),
        ({"num_customers": 20}, r"num_customers is 20; accepted for RouteFinder's sets: 50, 100"),
        ({"seed": 1}, r"seed is 1; .*4321 \(validation\), 1234 \(test\)"),
        ({"num_instances": 1001}, r"test set of cvrp: 1 to 1000"),
        ({"problem": "mtvrp-48", "seed": 4321, "num_instances": 129},
         r"validation set of mdcvrp: 1 to 128"),
        ({"capacity": 30}, r"capacity 30 by the protocol routefinder; accepted: none"),
        ({"distribution": "cluster"}, r"'s-cvrp' asks for cvrp cluster by the protocol"),
        ({"type": "generated"}, r"asks for mtvrp-16 uniform by the protocol routefinder"),
        ({"type": "generated", "problem": "atsp"}, r"asks for atsp uniform by the protocol"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_suites_of_variants(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """One message with the place, the value and what is accepted, before anything is written."""
    with pytest.raises(InputError, match=told) as caught:
        run_benchmark(make_config(tmp_path, SET | changes), progress=False)
    assert "at least 1 item" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_names_of_suites_are_unique(tmp_path: Path) -> None:
    """Also between a suite and those made of a set."""
    fresh = {"type": "generated", "name": "S-VRPL", "problem": "vrpl", "num_customers": 5,
             "num_instances": 1}  # fmt: skip
    with pytest.raises(InputError, match=r"names of suites repeat: s-vrpl, S-VRPL"):
        make_config(tmp_path, SET, fresh)
