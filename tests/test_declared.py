"""What is inside of a model's declared training distribution: the rule, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from nco.api import generate
from nco.data.batching import collate
from nco.declared import (
    Traits,
    joined,
    outside,
    problems_of,
    stretch,
    traits_of,
)
from nco.model_files import ModelCard, TrainedOn
from tests.policies import POLICIES

PLAIN = frozenset(["cvrp"])


def card(problem: str = "cvrp", sizes: Any = (20, 50), **changes: Any) -> ModelCard:
    trained = TrainedOn.model_validate(
        {"num_customers": sizes, "distribution": "uniform", "instances": 1, "hardware": "h",
         "seconds": 1.0} | changes
    )  # fmt: skip
    return ModelCard(name="m", problem=problem, policy=POLICIES["pomo"], trained_on=trained,
                     metrics={}, versions={})  # fmt: skip


def traits(problems: Any = PLAIN, sizes: tuple[int, int] = (20, 20), **changes: Any) -> Traits:
    values: dict[str, Any] = {"ways": "plane", "distribution": "uniform"} | changes
    return Traits(frozenset(problems), sizes=sizes, **values)


@pytest.mark.parametrize(
    ("model", "cell", "parts"),
    [
        (card(), traits(), []),
        (card(), traits(sizes=(50, 50)), []),
        (card(), traits(sizes=(51, 51)), ["size"]),
        (card(), traits(sizes=(10, 30)), ["size"]),
        (card(), traits(distribution="cluster"), ["distribution"]),
        (card(distribution="cluster"), traits(distribution="cluster"), []),
        # what is not known counts as outside
        (card(), Traits(PLAIN, "plane", (20, 20)), ["distribution"]),
        (card(), traits(ways="matrix"), ["ways"]),
        (card(), traits(["vrptw"], ways="streets", sizes=(99, 99)), ["problem", "ways", "size"]),
        (card("acvrp", cities=("a",)), traits(ways="streets"), []),
        (card("acvrp", cities=("a",)), traits(), ["ways"]),
        (card("atsp"), traits(["tsp"], ways="matrix"), []),
        (card("atsp"), traits(["tsp"], ways="asymmetric"), ["ways"]),
        (card("mtvrp-16"), traits(["vrptw", "ovrp"]), []),
        (card("mtvrp-16"), traits(["vrptw", "vrpmb"]), ["problem"]),
        (card("mtvrp-16", variants=("cvrp",)), traits(["vrptw"]), ["problem"]),
        (card(), traits(demands="demands unitary"), ["demands"]),
        # published are 30 at 20 customers and 40 at 50
        (card(), traits(capacity=30), []),
        (card(), traits(capacity=15), ["tightness"]),
        (card(capacity=15), traits(capacity=15), []),
        (card(capacity=30), traits(), []),
        (card(capacity=30), traits(sizes=(50, 50)), ["tightness"]),
        (card(capacity=30), traits(distribution="x"), ["distribution"]),
        (card("tsp"), traits(["tsp"], tightness="windows × 0.5"), ["tightness"]),
    ],
)
def test_marks(model: ModelCard, cell: Traits, parts: list[str]) -> None:
    """Each shifted part is named, and nothing else."""
    assert list(outside(model, cell)) == parts


def test_reasons_name_both_sides() -> None:
    """What it is, and what was trained on."""
    told = outside(card(), traits(["vrptw"], sizes=(100, 200)))
    assert told == {
        "problem": "vrptw; trained on cvrp",
        "size": "100 to 200 customers; trained on 20 to 50",
    }


def test_problems_stand_for_their_rules() -> None:
    """Ways, and how plans are made, are no other problem; a mixed set is its variants."""
    assert problems_of("acvrptw") == problems_of("vrptw") == {"vrptw"}
    assert problems_of("vrpsd-adaptive") == problems_of("vrpsd") == {"vrpsd"}
    assert len(problems_of("amtvrp-24")) == 24


@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdovrpbltw", "ptsp", "pctsp", "vrpsd", "pvrp"])
def test_instances_tell_their_own_problem(problem: str) -> None:
    """What a generator draws is what its instances say, but for where they were drawn from."""
    found = traits_of(generate(problem, 8, 2, seed=3))
    assert (found.problems, found.ways, found.sizes) == (problems_of(problem), "plane", (8, 8))
    matrices = traits_of(generate("atsp", 5, 1))
    assert (matrices.problems, matrices.ways) == ({"tsp"}, "matrix")


def test_files_together_are_as_wide_as_all_of_them() -> None:
    """Batches and files of several sizes have the range."""
    parts = [generate("cvrp", 4, 1), generate("cvrp", 9, 1)]
    assert joined([traits_of(one) for one in parts]) == traits_of(collate(parts))


def test_stretch_by_hand() -> None:
    """Inside 1; twice as large 2, a quarter of the smallest 4."""
    assert [stretch(card(), size) for size in (20, 50, 100, 5)] == [1, 1, 2, 4]
