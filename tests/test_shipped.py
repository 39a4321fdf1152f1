"""Models that come with the package: how they are made, and which one solves what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nco import model_export, model_files, shipped
from nco.api import generate, solve
from nco.build import build_env
from nco.cli import main
from nco.data.batching import collate, replace, unbatch
from nco.data.errors import InputError
from nco.data.files import read_solution, write
from nco.data.instance import Instance
from nco.envs.checker import check_routes
from nco.model_export import bfloat16_weights, export_model
from nco.model_files import ModelCard, TrainedOn, load_card, load_model, save_model
from nco.models.policy import Policy
from nco.shipped import SECONDS, choose
from tests.policies import POLICIES, small_policy


def ship(name: str, problem: str = "cvrp", sizes: Any = 10, policy: str = "pomo",
         **changes: Any) -> Path:  # fmt: skip
    """A small policy that nobody has trained, in the folder of shipped models."""
    trained = TrainedOn.model_validate(
        {"num_customers": sizes, "distribution": "uniform", "instances": 5, "hardware": "h",
         "seconds": 1.0} | changes
    )  # fmt: skip
    card = ModelCard(name=name, problem=problem, policy=POLICIES[policy], trained_on=trained,
                     metrics={}, versions={})  # fmt: skip
    save_model(model_files.SHIPPED / name, small_policy(policy, build_env(problem)), card)
    return model_files.SHIPPED / name


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of shipped models."""
    monkeypatch.setattr(model_files, "SHIPPED", tmp_path / "shelf")
    return tmp_path / "shelf"


def chosen(problem: str, size: int) -> str:
    return choose(generate(problem, size, 1)).card.name


def test_the_nearest_sizes_win_then_the_most_special_then_the_most_trained(shelf: Path) -> None:
    """Sizes inside of the range before any outside; among those the problem's own model before a
    mixed one, the narrower range, and more instances."""
    ship("small")
    ship("large", sizes=(40, 80))
    ship("wide", sizes=(10, 80))
    ship("all", "mtvrp-16", sizes=(10, 80), policy="routefinder")
    ship("tours", "tsp", sizes=20)
    assert chosen("cvrp", 10) == "small"
    assert chosen("cvrp", 12) == "wide"
    assert chosen("cvrp", 50) == "large"
    assert chosen("cvrp", 120) in ("large", "wide")
    assert chosen("vrptw", 50) == "all"
    assert chosen("tsp", 15) == "tours"
    ship("older", sizes=(40, 80), instances=4)
    assert chosen("cvrp", 50) == "large"
    ship("newer", sizes=(40, 80), instances=6)
    assert chosen("cvrp", 50) == "newer"
    outside = choose(generate("tsp", 40, 1))
    assert "outside of its sizes: 40 customers; trained on 20" in outside.told()
    assert choose(generate("tsp", 20, 1)).size is None


def limited(instance: Instance) -> Instance:
    return replace(instance, {"num_vehicles": torch.full_like(instance.num_vehicles, 3)})


@pytest.mark.parametrize(
    ("instance", "told"),
    [
        (generate("vrptw", 10, 1), "vrptw; trained on cvrp"),
        (generate("tsp", 10, 1), "tsp; trained on cvrp"),
        (generate("cvrp", 21, 1), "21 customers; trained on 10"),
        (generate("cvrp", 4, 1), "4 customers; trained on 10"),
        (generate("atsp", 10, 1), "tsp; trained on cvrp"),
        (generate("pvrp", 10, 1), "pvrp; trained on cvrp"),
        (generate("ptsp", 10, 1), "ptsp; trained on cvrp"),
        (limited(generate("cvrp", 10, 1)), "fleet"),
        (
            replace(generate("cvrp", 10, 1), {"distance": torch.ones(1, 11, 11)}),
            "a matrix; trained on straight lines",
        ),
    ],
)
def test_what_no_model_fits_is_refused_by_name(shelf: Path, instance: Instance, told: str) -> None:
    """With the reason of each model, and what is accepted."""
    ship("only")
    with pytest.raises(InputError, match=rf"only \(.*{told}.*; accepted: --solver "):
        choose(instance)


def test_without_any_model_that_is_said(shelf: Path) -> None:
    """Not a guess, and no other solver unasked."""
    with pytest.raises(InputError, match=r"no model comes with this installation; accepted: --sol"):
        choose(generate("cvrp", 10, 1))


@pytest.mark.parametrize(
    ("problem", "told"), [("cvrp", "pyvrp"), ("ptsp", "equivalent"), ("dvrptw", "dispatch-greedy")]
)
def test_what_is_accepted_can_solve_the_problem(shelf: Path, problem: str, told: str) -> None:
    with pytest.raises(InputError, match=rf"accepted: --solver {told}[ ,]"):
        choose(generate(problem, 10, 1))


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return done.value.code


def test_solve_without_a_solver_takes_the_model_that_fits(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file its own; what solves is told on standard error; without a limit there is one."""
    ship("routes")
    ship("tours", "tsp")
    files = {}
    for problem in ("cvrp", "tsp"):
        files[problem] = tmp_path / f"{problem}.json"
        write(generate(problem, 10, 1, seed=4), files[problem])
    asked = ["solve", *files.values(), "-q", "-o", tmp_path / "{name}-out.json", "--iterations", 1]
    assert run(*asked) == 0
    told = capsys.readouterr()
    assert "cvrp: model routes (pomo, cvrp, trained on 10 customers, uniform)" in told.err
    assert "tsp: model tours (pomo, tsp, trained on 10 customers, uniform)" in told.err
    assert told.err.count("search: ruin-recreate; --solver pyvrp takes a classical solver") == 2
    assert "routes ruin-recreate" in told.out
    stored = read_solution(tmp_path / "cvrp-out.json")
    report = check_routes(generate("cvrp", 10, 1, seed=4), stored.routes)
    assert report.feasible
    # options of a model go to the one chosen
    assert run("solve", files["tsp"], "-q", "--augment", 1) == 0
    told = capsys.readouterr()
    assert "search" not in told.err
    assert SECONDS == 2.0


def test_what_no_model_fits_is_solved_without_one_where_that_can_be(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same search, which is told; not where options are for a model, nor beyond the search:
    then nothing is solved at all."""
    ship("tours", "tsp")
    tour, timed, fleet = (tmp_path / f"{name}.json" for name in ("t", "w", "f"))
    write(generate("tsp", 10, 1), tour)
    write(generate("vrptw", 10, 1), timed)
    write(generate("pvrp", 10, 1), fleet)
    assert run("solve", tour, timed, "-q", "--iterations", 1) == 0
    told = capsys.readouterr()
    assert "w: no shipped model solves vrptw with 10 customers" in told.err
    assert "taken: ruin-recreate without a model" in told.err
    assert "yes" in told.out
    for options, file in (["--augment", 8], timed), ([], fleet):
        assert run("solve", tour, file, "-q", *options) == 2
        told = capsys.readouterr()
        assert f"{file.stem}: no shipped model solves" in told.err
        assert "yes" not in told.out


def test_python_users_get_the_same_choice(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a solver `nco.solve` answers as the command line does, instance by instance of a
    batch of several problems, and reads the models' cards once."""
    ship("routes")
    small, timed = generate("cvrp", 10, 2, seed=4), generate("vrptw", 10, 1, seed=5)
    write(small[:1], tmp_path / "a.json")
    out = tmp_path / "out.json"
    assert run("solve", tmp_path / "a.json", "-q", "--iterations", 1, "-o", out) == 0
    capsys.readouterr()
    batch = collate([small[:1], timed, small[1:]])
    with pytest.MonkeyPatch.context() as patch:
        read: list[Path] = []
        patch.setattr(shipped, "load_card", lambda path: read.append(path) or load_card(path))
        solved = solve(batch, iterations=1)
    assert read == [shelf / "routes"]
    told = capsys.readouterr().err
    assert told.count("model routes (pomo") == 1
    assert "instance 1: no shipped model solves vrptw with 10 customers" in told
    names = [solution.solver for solution in solved]
    assert names == ["routes ruin-recreate", "ruin-recreate", "routes ruin-recreate"]
    assert all(solution.feasible for solution in solved)
    assert solved[0].cost == pytest.approx(read_solution(out).cost)
    for solution, one in zip(solved, unbatch(batch), strict=True):
        report = check_routes(one, solution.routes, solution.depots)
        assert solution.cost == pytest.approx(report.cost)
    # options of a model go to the one chosen, and nothing is told where nothing is to be shown
    (greedy,) = solve(small[:1], augment=1, progress=False)
    assert greedy.solver.startswith("routes")
    assert "search" not in greedy.solver
    assert capsys.readouterr().err == ""
    with pytest.raises(InputError, match="instance 0: no shipped model solves vrptw"):
        solve(timed, augment=1)


def test_export_makes_a_model_that_solves_the_same(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card says what was drawn and how well it was solved; weights are bfloat16 where the mean
    cost stays within the bound, which an impossible one makes float32."""
    monkeypatch.setattr(model_export, "CHECKED", 32)
    monkeypatch.setattr(model_export, "SCORED", 4)
    monkeypatch.setattr(model_export, "BOUND", 1.0)
    source = ship("raw", sizes=8)
    told = ("model", "export", source, "tidy", "--reference-seconds", 0.1)
    assert run(*told) == 0
    assert str(shelf / "tidy") in capsys.readouterr().out
    card = load_card(shelf / "tidy")
    assert card.name == "tidy"
    assert card.export is not None
    assert card.export.precision == "bfloat16"
    (score,) = card.scores
    assert (score.num_instances, score.reference) == (4, "pyvrp, 0.1 s")
    assert score.gap_percent is not None
    assert score.gap_percent > -1
    stored = load_file(shelf / "tidy" / "model.safetensors")
    assert {value.dtype for value in stored.values() if value.is_floating_point()} == {
        torch.bfloat16
    }
    exact = bfloat16_weights(load_model(source)[0]).state_dict()
    for name, value in load_model(shelf / "tidy")[0].state_dict().items():
        assert value.dtype == exact[name].dtype
        assert torch.equal(value, exact[name])
    monkeypatch.setattr(model_export, "BOUND", -1.0)
    card = export_model(source, tmp_path / "full", reference_seconds=None)
    assert card.export is not None
    assert card.export.precision == "float32"
    for name, value in load_model(tmp_path / "full")[0].state_dict().items():
        assert torch.equal(value, load_model(source)[0].state_dict()[name])
    assert card.scores[0].gap_percent is None


def test_the_change_of_cost_is_that_of_the_weights_stored(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that bfloat16 holds exactly change nothing."""
    monkeypatch.setattr(model_export, "CHECKED", 8)
    source = ship("raw", sizes=8)
    policy, card = load_model(source)
    save_model(tmp_path / "exact", bfloat16_weights(policy), card)
    found = export_model(tmp_path / "exact", tmp_path / "out", reference_seconds=None)
    assert found.export is not None
    assert found.export.cost_change == 0
    assert found.export.precision == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "limit", "told"),
    [
        ({"instances": 0}, 10**7, "how many instances"),
        ({"hardware": " "}, 10**7, "on what"),
        ({}, 1000, "accepted: 1,000 at most"),
        ({"cities": ["a"]}, 10**7, "trained on streets"),
    ],
)
def test_models_that_cannot_be_shipped_leave_nothing(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], limit: int, told: str
) -> None:
    """An empty card, weights that are too large, streets without maps."""
    monkeypatch.setattr(model_export, "CHECKED", 4)
    monkeypatch.setattr(model_export, "SCORED", 2)
    monkeypatch.setattr(model_export, "MOST_BYTES", limit)
    problem = "acvrp" if "cities" in changes else "cvrp"
    source = ship("raw", problem, sizes=6, **changes)
    with pytest.raises(InputError, match=told):
        export_model(source, shelf / "out", reference_seconds=None)
    assert not (shelf / "out").exists()


def test_a_name_that_is_taken_or_no_name_is_refused(
    shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written over."""
    source = ship("raw")
    before = json.loads((source / "card.json").read_text())
    assert run("model", "export", source, "raw") == 2
    assert "raw is there already" in capsys.readouterr().err
    assert run("model", "export", source, "a/b") == 2
    assert json.loads((source / "card.json").read_text()) == before


def test_rounding_to_bfloat16_is_of_a_copy() -> None:
    """The model that is asked about keeps its weights."""
    policy: Policy = small_policy("pomo", build_env("cvrp"))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    rounded = bfloat16_weights(policy)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name])
        again = rounded.state_dict()[name]
        assert torch.equal(again, again.to(torch.bfloat16).to(again.dtype))
