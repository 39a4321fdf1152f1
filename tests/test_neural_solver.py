"""Trained models on disk and behind the solver protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
import torch

from nco.api import solve
from nco.baselines.solver import Budget, UnsupportedError
from nco.build import build_env, build_policy
from nco.data.batching import collate
from nco.data.errors import InputError
from nco.data.files import read
from nco.data.instance import Instance, Rounding
from nco.model_files import ModelCard, TrainedOn, load_model, save_model
from nco.neural_solver import load
from nco.policy_config import POMOConfig
from tests.policies import save_fresh
from tests.small import instances


def stored_model(folder: Path, problem: Literal["tsp", "cvrp"] = "cvrp") -> Path:
    """A small random policy, saved."""
    policy = POMOConfig(type="pomo", dim=32, num_heads=4, num_layers=2, hidden=64)
    torch.manual_seed(0)
    card = ModelCard(
        name="small",
        problem=problem,
        policy=policy,
        trained_on=TrainedOn(
            num_customers=8, distribution="uniform", instances=0, hardware="none", seconds=0.0
        ),
        metrics={},
        versions={},
    )
    save_model(folder, build_policy(policy, build_env(card.problem)), card)
    return folder


def test_a_stored_model_is_the_model(tmp_path: Path) -> None:
    """Weights and card survive the disk; nothing else is in the folder."""
    folder = stored_model(tmp_path / "model")
    assert sorted(p.name for p in folder.iterdir()) == ["card.json", "model.safetensors"]
    torch.manual_seed(0)
    config = POMOConfig(type="pomo", dim=32, num_heads=4, num_layers=2, hidden=64)
    saved = build_policy(config, build_env("cvrp"))
    loaded, card = load_model(folder)
    assert card.name == "small"
    assert not loaded.training
    for name, value in saved.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_solutions_are_feasible_and_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    """Mixed sizes in one batch give each instance the solution that it gets alone."""
    solver = load(stored_model(tmp_path / "model"))
    singles = [instances("cvrp", size, 1, seed=size) for size in (1, 2, 7, 12)]
    together = solver.solve(collate(singles))
    for one, solution in zip(singles, together, strict=True):
        alone = solver.solve(one)[0]
        assert solution.feasible, solution.violations
        assert solution.cost == pytest.approx(alone.cost, rel=1e-5)
        assert solution.seconds > 0


def test_the_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    """`load` takes a run's folder as well as the model folder in it."""
    stored_model(tmp_path / "run" / "model")
    assert load(tmp_path / "run").name == load(tmp_path / "run" / "model").name == "small"


def test_sampling_repeats_with_its_seed_and_more_samples_cost_no_more(tmp_path: Path) -> None:
    """The seed decides the draws; 16 samples of each start beat 1 on average."""
    solver = load(stored_model(tmp_path / "model"), samples=16, augment=1)
    batch = instances("cvrp", 12, 4)
    once, again = solver.solve(batch, seed=1), solver.solve(batch, seed=1)
    assert [s.routes for s in once] == [s.routes for s in again]
    other = solver.solve(batch, seed=2)
    assert [s.routes for s in once] != [s.routes for s in other]
    few = solver.solve(batch, seed=1, samples=1)
    assert sum(s.cost for s in once) < sum(s.cost for s in few)
    # one call's samples leave the solver as it was
    assert solver.samples == 16


def test_what_the_model_cannot_see_is_refused_by_name(tmp_path: Path) -> None:
    """Another problem, a constraint, a matrix without coordinates, iterations."""
    cvrp = load(stored_model(tmp_path / "cvrp"))
    tsp = load(stored_model(tmp_path / "tsp", "tsp"))
    coords, demand = torch.rand(4, 2), torch.tensor([0.0, 1, 1, 1])
    depot = Instance.vrp(coords=coords, demand=demand, capacity=5.0)
    for solver, instance, message in (
        (tsp, depot, r"model small \(tsp\) does not fit: the instance has a depot"),
        (cvrp, Instance.tsp(coords=coords), "no depot"),
        (
            cvrp,
            Instance.vrp(coords=coords, demand=demand, capacity=5.0, open_route=True),
            "open routes",
        ),
        (tsp, Instance.tsp(distance=torch.rand(3, 3).fill_diagonal_(0)), "only a matrix"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            solver.solve(instance)
    with pytest.raises(UnsupportedError, match="iterations"):
        cvrp.solve(depot, Budget(iterations=5))


def test_file_instances_are_costed_in_their_own_units(tmp_path: Path) -> None:
    """float64, large coordinates and rounding: the cost is the checker's, a whole number."""
    solver = load(stored_model(tmp_path / "model"))
    generator = torch.Generator().manual_seed(0)
    coords = torch.randint(0, 1000, (9, 2), generator=generator).double()
    demand = torch.tensor([0.0, 1, 2, 3, 1, 2, 3, 1, 2]).double()
    instance = Instance.vrp(coords=coords, demand=demand, capacity=5, rounding=Rounding.NEAREST)
    solution = solver.solve(instance)[0]
    assert solution.feasible
    assert solution.cost == round(solution.cost) > 1000


def test_broken_models_are_refused_with_the_file(tmp_path: Path) -> None:
    """A missing folder, a missing file, broken JSON, an unknown key, weights of another size."""
    with pytest.raises(InputError, match="no such model"):
        load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model here"):
        load(tmp_path / "empty")
    folder = stored_model(tmp_path / "model")
    card = folder / "card.json"
    good = card.read_text()
    card.write_text("{")
    with pytest.raises(InputError, match=r"card\.json: not a JSON file"):
        load(folder)
    card.write_text(json.dumps(json.loads(good) | {"colour": "red"}))
    with pytest.raises(InputError, match="colour"):
        load(folder)
    values = json.loads(good)
    values["policy"]["dim"] = 64
    card.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"weights do not fit the card .*size mismatch for \S+"):
        load(folder)
    card.write_text(json.dumps(json.loads(good) | {"schema_version": 2}))
    with pytest.raises(InputError, match="schema_version: value 2; accepted: 1"):
        load(folder)
    card.write_text(good)
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load(folder)


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    """torch's global generator goes on as if no model had been loaded."""
    folder = stored_model(tmp_path / "model")
    before = torch.random.get_rng_state()
    load(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_a_model_cannot_do_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    """Options of the draws out of range, and devices that are not there."""
    folder = stored_model(tmp_path / "model")
    with pytest.raises(InputError, match="temperature is -1"):
        load(folder, temperature=-1.0)
    with pytest.raises(InputError, match="top_p is 2"):
        load(folder, top_p=2.0)
    for device in ("abacus", "cuda:99"):
        with pytest.raises(InputError, match=f"device is '{device}'.*accepted: cpu"):
            load(folder, device=device)


@pytest.mark.parametrize("kind", ["rrnco", "matnet"])
def test_a_file_with_a_matrix_alone_is_solved_by_policies_of_matrices(
    tmp_path: Path, kind: str
) -> None:
    """TSPLIB's ATSP has no coordinates; what needs some says so."""
    matrix = torch.randint(1, 99, (7, 7), generator=torch.Generator().manual_seed(1))
    matrix.fill_diagonal_(0)
    rows = "\n".join(" ".join(map(str, row)) for row in matrix.tolist())
    path = tmp_path / "seven.atsp"
    path.write_text(
        "NAME : seven\nTYPE : ATSP\nDIMENSION : 7\nEDGE_WEIGHT_TYPE : EXPLICIT\n"
        f"EDGE_WEIGHT_FORMAT : FULL_MATRIX\nEDGE_WEIGHT_SECTION\n{rows}\nEOF\n"
    )
    one = read(path)
    assert one.coords is None
    save_fresh(tmp_path / "matrices", "atsp", kind)
    (solution,) = solve(one, solver=tmp_path / "matrices", augment=8, progress=False)
    (tour,) = solution.routes
    assert sorted(tour) == list(range(7))
    assert solution.feasible
    assert solution.cost == sum(
        int(matrix[a, b]) for a, b in zip(tour, tour[1:] + tour[:1], strict=True)
    )
    save_fresh(tmp_path / "places", "tsp", "pomo")
    with pytest.raises(
        UnsupportedError, match="reads coordinates and the instance has only a matrix"
    ):
        solve(one, solver=tmp_path / "places", progress=False)
