"""Bad input through the command line: code 2, one message that says what is wrong, and no output.

The messages must name the file or key, the value, and what is accepted.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nco import cli
from nco.build import build_env, build_policy
from nco.model_files import ModelCard, TrainedOn, save_model
from nco.policy_config import POMOConfig
from nco.solver_config import available_solvers

GOOD = """NAME : good
TYPE : CVRP
DIMENSION : 4
EDGE_WEIGHT_TYPE : EUC_2D
CAPACITY : 10
NODE_COORD_SECTION
1 0 0
2 0 10
3 10 10
4 10 0
DEMAND_SECTION
1 0
2 3
3 4
4 5
DEPOT_SECTION
1
-1
EOF
"""

MATRIX = """NAME : matrix
TYPE : TSP
DIMENSION : 3
EDGE_WEIGHT_TYPE : EXPLICIT
EDGE_WEIGHT_FORMAT : FULL_MATRIX
EDGE_WEIGHT_SECTION
0 1 2
1 0 3
2 3 0
EOF
"""

TRIANGLE: dict[str, Any] = {
    "num_depots": 1,
    "coords": [[0, 0], [0, 1], [1, 1]],
    "linehaul": [0, 2, 3],
    "capacity": 5,
}

TRAINING = """name: tiny
problem: cvrp
data: {num_customers: 6}
policy: {type: pomo, dim: 16, num_heads: 2}
algorithm: {type: pomo}
training: {epochs: 1, batches_per_epoch: 1, accelerator: cpu}
"""

BENCHMARK = """name: tiny
suites: [{type: generated, name: small, problem: cvrp, num_customers: 5, num_instances: 1}]
solvers: [{name: nearest, solver: {solver: nearest}}]
"""

Refusal = Callable[..., str]


def as_file(**changes: object) -> str:
    """A JSON file with the triangle, changed."""
    return json.dumps({"format": "nco-instances", "version": 1, "instances": [TRIANGLE | changes]})


@pytest.fixture
def refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refusal:
    """Runs a command in a folder of good files; the message, after checking that it is one, that
    the code is 2, that nothing is printed, and that no file has come or gone."""
    monkeypatch.chdir(tmp_path)
    Path("good.vrp").write_text(GOOD)
    Path("matrix.tsp").write_text(MATRIX)
    Path("good.json").write_text(as_file())
    Path("train.yaml").write_text(TRAINING)
    Path("bench.yaml").write_text(BENCHMARK)
    Path("folder").mkdir()

    def call(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert caught.value.code == 2, err
        assert out == ""
        assert err.lower().count("error:") == 1, err
        assert "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return call


def solve(path: object, *more: object) -> tuple[object, ...]:
    """Arguments that would solve a good file and write out.json."""
    return ("solve", path, "--solver", "nearest", "-o", "out.json", "--quiet", *more)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(GOOD, "", ["is empty"], id="empty"),
        pytest.param(GOOD, "hello\n", ["hello"], id="no instance at all"),
        pytest.param(GOOD[GOOD.index("3 10 10") :], "", ["NODE_COORD"], id="cut in coordinates"),
        pytest.param(GOOD[GOOD.index("4 5") :], "", ["cut short"], id="cut in the demands"),
        pytest.param(GOOD[GOOD.index("DEMAND") :], "", ["cut short"], id="cut before the demands"),
        pytest.param("EOF", "COLOUR_SECTION\n1 2\nEOF", ["COLOUR_SECTION"], id="unknown section"),
        pytest.param("EUC_2D", "EUC_7D", ["EUC_7D", "EUC_2D"], id="unknown edge weights"),
        pytest.param(": CVRP", ": CRVP", ["CRVP", "CVRP"], id="unknown type"),
        pytest.param("3 4\n", "", ["DEMAND_SECTION"], id="customer without demand"),
        pytest.param("3 4\n", "3 40\n", ["40", "10"], id="demand above capacity"),
        pytest.param("3 4\n", "3 -4\n", ["-4"], id="negative demand"),
        pytest.param("3 4\n", "3 nan\n", ["nan"], id="NaN demand"),
        pytest.param("3 10 10", "3 nan 10", ["nan"], id="NaN coordinate"),
        pytest.param("3 10 10", "3 inf 10", ["inf"], id="infinite coordinate"),
        pytest.param("CAPACITY : 10", "CAPACITY : -10", ["-10"], id="negative capacity"),
        pytest.param("3 10 10", "2 10 10", ["2"], id="duplicate coordinates"),
        pytest.param("3 4\n", "2 4\n", ["2"], id="duplicate demand"),
        pytest.param("DIMENSION : 4", "DIMENSION : 5", ["5"], id="wrong dimension"),
        pytest.param("DIMENSION : 4", "DIMENSION : four", ["four"], id="dimension no number"),
    ],
)
def test_a_bad_vrplib_file(refusal: Refusal, old: str, new: str, told: list[str]) -> None:
    """Each fault of a VRPLIB file is told with the file's name and the value."""
    assert old in GOOD
    Path("bad.vrp").write_text(GOOD.replace(old, new, 1))
    message = refusal(*solve("bad.vrp"))
    for part in ["bad.vrp", *told]:
        assert part in message


@pytest.mark.parametrize(
    "row",
    [
        pytest.param("", id="row missing"),
        pytest.param("2 3 0\n1\n", id="number too many"),
        pytest.param("2 3\n", id="number missing"),
        pytest.param("2 -3 0\n", id="negative length"),
        pytest.param("2 nan 0\n", id="NaN length"),
        pytest.param("2 x 0\n", id="no number"),
    ],
)
def test_a_bad_matrix(refusal: Refusal, row: str) -> None:
    """A matrix of the wrong size or with a value that is no length is refused."""
    Path("bad.tsp").write_text(MATRIX.replace("2 3 0\n", row, 1))
    message = refusal(*solve("bad.tsp"))
    assert "bad.tsp" in message
    assert "accepted" in message


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("linehaul", [0, 2], "linehaul has shape (1, 2); accepted is (1, 3)"),
        ("linehaul", [0, 2, 9], "9"),
        ("linehaul", [0, -2, 3], "-2"),
        ("linehaul", [0, float("nan"), 3], "NaN"),
        ("linehaul", [0, "two", 3], "linehaul"),
        ("coords", [[0, 0], [0, 1, 2], [1, 1]], "coords"),
        ("capacity", 0, "capacity"),
        ("distance", [[0, 1], [1, 0]], "2 nodes"),
        ("time_window", [[0, 9], [5, 4], [0, 9]], "time_window"),
        ("colour", "red", "colour"),
        ("num_depots", -1, "num_depots"),
    ],
)
def test_a_bad_json_instance(refusal: Refusal, field: str, value: object, told: str) -> None:
    """Each fault of a JSON instance is told with the file's and the field's name."""
    Path("bad.json").write_text(as_file(**{field: value}))
    message = refusal(*solve("bad.json"))
    assert "bad.json" in message
    assert told in message


def test_a_cut_json_file(refusal: Refusal) -> None:
    """Half a JSON file is refused with the place where it ends."""
    Path("bad.json").write_text(as_file()[:80])
    assert "bad.json, line 1" in refusal(*solve("bad.json"))


def generate(*more: object) -> tuple[object, ...]:
    """Arguments that would write a.json."""
    return ("data", "generate", *more, "-o", "a.json")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (solve("gone.vrp"), ["gone.vrp", "does not exist"]),
        (solve("folder"), ["folder", "accepted: a file"]),
        (solve("good.vrp", "--rounding", "half"), ["half", "nearest"]),
        (solve("good.vrp", "--seed", -1), ["seed is -1", "0"]),
        (solve("good.vrp", "--seed", 2**63), [f"seed is {2**63}", str(2**63 - 1)]),
        (solve("good.vrp", "--time-limit", 0), ["time_limit is 0"]),
        (solve("good.vrp", "--time-limit", -1), ["time_limit is -1"]),
        (solve("good.vrp", "--time-limit", "nan"), ["time_limit is nan"]),
        (solve("good.vrp", "--time-limit", "x"), ["--time-limit", "number"]),
        (solve("good.vrp", "--iterations", 0), ["iterations is 0"]),
        (solve("good.vrp", "--samples", 4), ["samples is 4", "nearest"]),
        (solve("good.vrp", "--augment", 8), ["augment is 8", "nearest"]),
        (solve("good.vrp", "--solver", "best"), ["'best'", "pyvrp"]),
        (solve("good.vrp", "--solver", "folder"), ["folder", "card.json"]),
        (solve("good.vrp", "--solver", "pyvrp"), ["pyvrp", "limit"]),
        (solve("good.vrp", "-o", "a/b.json"), ["folder a "]),
        (solve("good.vrp", "-o", "good.vrp/b.json"), ["good.vrp"]),
        (solve("good.vrp", "-o", "folder"), ["folder", ".sol"]),
        (solve("good.vrp", "-o", "a.pdf"), ["a.pdf", ".sol"]),
        (solve("good.vrp", "--plot", "a.pdf"), ["a.pdf", ".png"]),
        (solve("matrix.tsp", "--plot", "a.png"), ["matrix", "coords"]),
        (solve("matrix.tsp", "-o", "a.geojson"), ["a.geojson", "coords"]),
        (solve("matrix.tsp", "-o", "a.sol"), ["a.sol", "one depot", ".tour"]),
        (solve("good.vrp", "-o", "a.tour"), ["a.tour", "TSP", ".sol"]),
        (solve("good.vrp", "-o", "/proc/a.json"), ["/proc"]),
        (solve("good.vrp", "good.json"), ["{name}", "out.json"]),
        (solve("good.vrp", "good.json", "-o", "{name}.sol"), ["good, good"]),
        (solve("good.vrp", "--reference", "gone.sol"), ["gone.sol"]),
        (solve("good.vrp", "--sampels", 4), ["--sampels"]),
        (("solve", "good.vrp", "--augment", "8"), ["--solver"]),
        (("solves", "good.vrp"), ["solves"]),
        (("verify", "gone.sol"), ["gone.sol"]),
        (("verify", "folder"), ["folder", "store"]),
        (("verify", "folder", "--instance", "good.vrp"), ["folder", "--instance"]),
        (("report", "folder"), ["folder", "store"]),
        (("data", "inspect", "gone.vrp"), ["gone.vrp"]),
        (("data", "convert", "good.vrp", "a.xyz"), ["a.xyz", ".vrp"]),
        (("data", "convert", "good.vrp", "a.tsp"), ["a.tsp", ".json"]),
        (generate("vrp", "-n", 5), ["'vrp'", "cvrp"]),
        (generate("cvrp", "-n", 5, "--seed", 10**30), [f"seed is {10**30}"]),
        (generate("cvrp", "-n", 0), ["num_customers is 0"]),
        (generate("cvrp", "-n", 5, "-b", 0), ["batch is 0"]),
        (generate("cvrp", "-n", 5, "--distribution", "odd"), ["'odd'", "uniform"]),
        (generate("tsp", "-n", 5, "--capacity", 9), ["capacity is 9 for tsp"]),
        (generate("cvrp", "-n", 5, "--capacity", 8), ["capacity 8", "min <= max <= capacity"]),
        (generate("vrptw", "-n", 5, "--variant", "ovrp"), ["ovrp for vrptw", "mtvrp-16"]),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_bad_arguments(refusal: Refusal, arguments: tuple[object, ...], told: list[str]) -> None:
    """Each bad argument is told with its value and what is accepted."""
    message = refusal(*arguments)
    for part in told:
        assert part in message


@pytest.mark.parametrize(
    ("command", "file", "override", "told"),
    [
        ("train", "train.yaml", "data.customers=6", ["data.customers", "num_customers"]),
        ("train", "train.yaml", "training.epochs=0", ["training.epochs", "0", "greater than 0"]),
        ("train", "train.yaml", "training.epochs=many", ["training.epochs", "many", "integer"]),
        ("train", "train.yaml", "policy.type=pmoo", ["policy.type", "pmoo", "pomo"]),
        ("train", "train.yaml", "problem=knapsack", ["problem", "knapsack", "cvrp"]),
        ("train", "train.yaml", f"seed={2**63}", ["seed", "less than"]),
        ("train", "train.yaml", f"validation.seed={2**63}", ["validation.seed", "less than"]),
        ("train", "train.yaml", "epochs", ["'epochs'", "path.to.key=value"]),
        ("train", "train.yaml", "output=train.yaml", ["train.yaml"]),
        ("benchmark", "bench.yaml", "solvers.0.solver.solver=best", ["solvers.0", "best", "pyvrp"]),
        ("benchmark", "bench.yaml", "suites.0.num_customer=3", ["suites.0.num_customer"]),
        ("benchmark", "bench.yaml", "suites.0.problem=knapsack", ["knapsack", "cvrp"]),
        ("benchmark", "bench.yaml", "num_workers=0", ["num_workers", "0"]),
        ("benchmark", "bench.yaml", "output=bench.yaml/store", ["bench.yaml"]),
        ("benchmark", "gone.yaml", "num_workers=1", ["gone.yaml", "does not exist"]),
        ("train", "no-such-preset", "seed=1", ["no-such-preset", "preset"]),
    ],
)
def test_a_bad_configuration(
    refusal: Refusal, command: str, file: str, override: str, told: list[str]
) -> None:
    """Each bad key or value is told with its dotted path and what is accepted."""
    message = refusal(command, file, override, "--quiet")
    for part in told:
        assert part in message


def test_all_faults_of_a_configuration_at_once(refusal: Refusal) -> None:
    """One message holds every fault."""
    message = refusal("train", "train.yaml", "sede=1", "training.batch_size=0", "policy.clip=x")
    assert "3 errors" in message
    assert all(path in message for path in ("sede", "training.batch_size", "policy.clip"))


def test_resuming_what_is_no_run(refusal: Refusal) -> None:
    """--resume of a folder without a run is refused by its name."""
    assert "folder" in refusal("train", "train.yaml", "--resume", "folder", "--quiet")


def test_a_solution_without_its_instance(refusal: Refusal) -> None:
    """A .sol file alone cannot be verified, and the message says so."""
    Path("a.sol").write_text("Route #1: 1 2\nRoute #2: 3\nCost 48\n")
    message = refusal("verify", "a.sol")
    assert "a.sol does not hold the instance" in message


def test_a_reference_that_does_not_fit(refusal: Refusal) -> None:
    """A reference that misses customers gives no gap but a message."""
    Path("a.sol").write_text("Route #1: 1\nCost 20\n")
    assert "a.sol does not fit" in refusal(*solve("good.vrp", "--reference", "a.sol"))


def test_too_few_references(refusal: Refusal) -> None:
    """References and instances must be equally many."""
    arguments = ("good.vrp", "matrix.tsp", "--solver", "nearest", "--reference", "a.sol")
    assert "1 references for 2 instances" in refusal("solve", *arguments)


def test_a_missing_extra(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver whose package is not installed names the extra that brings it."""
    optional = [info for info in available_solvers() if info.extra]
    assert optional
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        hidden = ("hybgensea", "elkai", "fast_tsp", "vroom")
        return None if name in hidden else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    for info in optional:
        file = "good.vrp" if "cvrp" in info.problems else "matrix.tsp"
        message = refusal(*solve(file, "--solver", info.name, "--time-limit", 1))
        assert info.name in message
        assert f"nco-routing[{info.extra}]" in message


def save_tiny_model(folder: Path) -> None:
    """An untrained CVRP model."""
    config = POMOConfig(type="pomo", dim=16, num_heads=2, num_layers=1, hidden=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = build_policy(config, build_env("cvrp"))
    trained = TrainedOn(
        num_customers=6, distribution="uniform", instances=0, hardware="none", seconds=0.0
    )
    card = ModelCard(
        name="tiny", problem="cvrp", policy=config, trained_on=trained, metrics={}, versions={}
    )
    save_model(folder, policy, card)


@pytest.mark.parametrize(
    ("file", "told"), [("matrix.tsp", "does not fit"), ("windows.json", "time windows")]
)
def test_a_model_that_does_not_fit(refusal: Refusal, file: str, told: str) -> None:
    """A CVRP model refuses a TSP and time windows by name, instead of ignoring them."""
    save_tiny_model(Path("model"))
    Path("windows.json").write_text(as_file(time_window=[[0, 9], [0, 5], [0, 9]]))
    message = refusal(*solve(file, "--solver", "model"))
    assert f"{Path(file).stem}: model tiny (cvrp)" in message
    assert told in message


@pytest.mark.parametrize("options", [("--augment", 3), ("--samples", 0), ("--samples", -1)])
def test_bad_options_of_a_model(refusal: Refusal, options: tuple[str, int]) -> None:
    """A number of samples or augmentations that means nothing is refused."""
    save_tiny_model(Path("model"))
    message = refusal(*solve("good.vrp", "--solver", "model", *options))
    assert options[0].strip("-") in message
    assert str(options[1]) in message


@pytest.mark.parametrize("file", ["model.safetensors", "card.json"])
def test_a_damaged_model(refusal: Refusal, file: str) -> None:
    """Half a weight file or half a card is refused by its name."""
    save_tiny_model(Path("model"))
    data = (Path("model") / file).read_bytes()
    (Path("model") / file).write_bytes(data[: len(data) // 2])
    assert file in refusal(*solve("good.vrp", "--solver", "model"))


def test_a_full_disk_leaves_nothing(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be finished leaves neither itself nor its draft."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nco.data.text_file.os.replace", full)
    assert "No space left" in refusal(*generate("cvrp", "-n", 5))
