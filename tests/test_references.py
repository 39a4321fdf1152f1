"""Reference costs of validation sets: stored with their routes, recomputed when read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nco.baselines.solver import Budget
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.multi_task import multi_task_instances, variant_by_name
from nco.references import reference_costs
from nco.solver_config import solver_from_name
from nco.train_config import ReferenceConfig
from tests.small import instances

NEAREST = ReferenceConfig.model_validate({"solver": {"solver": "nearest"}, "iterations": 1})


def test_a_stored_reference_gives_the_costs_of_its_solver_again(tmp_path: Path) -> None:
    """First solved, then read: the same costs, those of the checker, from one file."""
    batch = instances("cvrp", 6, 3)
    first, made_by = reference_costs(batch, NEAREST, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    again, told = reference_costs(batch, NEAREST, tmp_path)
    assert torch.equal(first, again)
    assert made_by == told
    solutions = [solver_from_name("nearest").solve(one, Budget(), 0)[0] for one in unbatch(batch)]
    assert first.tolist() == [solution.cost for solution in solutions]


def test_routes_keep_their_depots(tmp_path: Path) -> None:
    """With several depots a stored cost is that of the solver's own depots."""
    config = ReferenceConfig.model_validate({"solver": {"solver": "pyvrp"}, "iterations": 20})
    batch = multi_task_instances(
        3, 8, torch.Generator().manual_seed(0), [variant_by_name("mdvrptw")]
    )
    first, _ = reference_costs(batch, config, tmp_path)
    again, _ = reference_costs(batch, config, tmp_path)
    assert torch.equal(first, again)
    stored = json.loads(next(tmp_path.iterdir()).read_text())
    assert {depot for depots in stored["depots"] for depot in depots} == {0, 1, 2}
    assert first.tolist() == stored["costs"]


@pytest.mark.parametrize(("distribution", "rule"), [("uniform", "NONE"), ("x", "NEAREST")])
def test_a_reference_tells_its_rounding_and_budget(
    tmp_path: Path, distribution: str, rule: str
) -> None:
    """What a cost depends on stands beside it: "x" instances have whole lengths."""
    generator = torch.Generator().manual_seed(0)
    batch = generate(
        "cvrp", num_customers=6, batch=2, generator=generator, distribution=distribution
    )
    config = ReferenceConfig.model_validate(
        {"solver": {"solver": "savings"}, "iterations": 3, "time_limit": 2}
    )
    costs, made_by = reference_costs(batch, config, tmp_path)
    assert made_by.endswith(f", 2 s or 3 iterations an instance, rounding {rule}")
    assert bool((costs == costs.round()).all()) == (rule == "NEAREST")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"routes": 3, "made_by": "a"}',
        '{"routes": [3], "made_by": "a"}',
        '{"routes": [["a"]], "made_by": "a"}',
        '{"routes": [[[1, 2, 3, 4, "five"]]], "made_by": "a"}',
        '{"routes": [], "made_by": "a"}',
        '{"routes": [[[1, 2, 3]]], "made_by": "a"}',
    ],
)
def test_a_broken_reference_is_told_with_its_file(tmp_path: Path, content: str) -> None:
    """Whatever stands in the file, there is one message and no traceback."""
    batch = instances("tsp", 5, 1)
    reference_costs(batch, NEAREST, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(content)
    with pytest.raises(InputError, match=path.name):
        reference_costs(batch, NEAREST, tmp_path)
