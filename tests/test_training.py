"""Training runs: they learn, resume, and treat train and eval modes rightly."""

from __future__ import annotations

import csv
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only

from nco.algorithm import STREAMS, ValidationSet, learning_rate_factor, stream_seed
from nco.config_files import load_yaml, parse, preset_names
from nco.data.demand_laws import DEMAND_PROBLEMS
from nco.data.dynamic_requests import DYNAMIC_PROBLEMS
from nco.data.errors import InputError
from nco.dispatch_config import DispatchTrainConfig
from nco.likelihood import policy_gradient
from nco.model_files import load_model
from nco.problem_names import ON_THE_WAY
from nco.reinforce import moving_average
from nco.reinforce_rollout import RolloutBaseline
from nco.train_config import (
    ConstantSchedule,
    MultiStepSchedule,
    TrainConfig,
    WarmupDecaySchedule,
)
from nco.training import build_algorithm, fresh_policy, new_run_folder, train
from nco.training_callbacks import ProgressBar
from tests.small import instances

POLICIES = {
    "pomo": {"type": "pomo", "dim": 32, "num_heads": 4, "num_layers": 2, "hidden": 64},
    "am": {"type": "attention_model", "dim": 32, "num_heads": 4, "num_layers": 1, "hidden": 64},
}


def config(folder: Path, **changes: Any) -> TrainConfig:
    """A run of seconds; sections in ``changes`` replace those here."""
    values: dict[str, Any] = {
        "name": "test",
        "problem": "cvrp",
        "data": {"num_customers": 8},
        "policy": POLICIES["pomo"],
        "algorithm": {"type": "pomo"},
        "optimizer": {"lr": 1e-3},
        "training": {"epochs": 2, "batches_per_epoch": 4, "batch_size": 16, "accelerator": "cpu"},
        "validation": {"num_instances": 16},
        "output": str(folder),
    }
    values |= changes
    return parse(TrainConfig, values, "test")


def rows(run: Path) -> list[dict[str, str]]:
    """The run's metrics, without the columns that measure time."""
    with (run / "metrics.csv").open(newline="") as file:
        timed = ("seconds", "train/instances_per_second")
        return [{k: v for k, v in row.items() if k not in timed} for row in csv.DictReader(file)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the run's model."""
    return load_model(run / "model")[0].state_dict()


ALGORITHMS = [
    {"type": "pomo"},
    {"type": "pomo", "num_starts": 4},
    {"type": "reinforce-rollout", "eval_instances": 32},
    {"type": "reinforce-exponential"},
    {"type": "reinforce-critic", "num_layers": 1, "hidden": 16},
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: "-".join(map(str, a.values())))
@pytest.mark.parametrize(("kind", "problem"), [("pomo", "cvrp"), ("am", "tsp")])
def test_a_resumed_run_is_the_same_run(
    tmp_path: Path, algorithm: dict[str, Any], kind: str, problem: str
) -> None:
    """Stopped after one of two epochs and resumed: same weights and same rows to the bit."""
    changes = {"algorithm": algorithm, "policy": POLICIES[kind], "problem": problem}
    whole = train(config(tmp_path / "a", **changes), progress=False)
    short = {"epochs": 1, "batches_per_epoch": 4, "batch_size": 16, "accelerator": "cpu"}
    part = train(config(tmp_path / "b", training=short, **changes), progress=False)
    resumed = train(config(tmp_path / "b", **changes), resume=part, progress=False)
    assert resumed == part
    assert rows(whole) == rows(part)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(part)[name]), name


@pytest.mark.parametrize("algorithm", [ALGORITHMS[0], ALGORITHMS[2]], ids=lambda a: a["type"])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: dict[str, Any]
) -> None:
    """Ctrl-C in the third of four epochs, then resumed: same weights and rows to the bit."""
    loop = {"epochs": 4, "batches_per_epoch": 3, "batch_size": 16, "accelerator": "cpu"}
    changes = {
        "algorithm": algorithm,
        "training": loop,
        "optimizer": {"lr": 1e-3, "schedule": {"type": "multistep", "epochs": [1, 3]}},
    }
    whole = train(config(tmp_path / "a", **changes), progress=False)
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:

        def interrupt(self: ProgressBar, trainer: Trainer, *_: object) -> None:
            if trainer.current_epoch == 2:
                signal.raise_signal(signal.SIGINT)

        patched.setattr(ProgressBar, "on_train_batch_start", interrupt)
        with pytest.raises(KeyboardInterrupt, match="--resume") as stopped:
            train(config(tmp_path / "b", **changes))
    assert signal.getsignal(signal.SIGINT) is handler
    part = Path(str(stopped.value).partition("--resume ")[2])
    train(config(tmp_path / "b", **changes), resume=part, progress=False)
    assert rows(whole) == rows(part)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(part)[name]), name


def test_progress_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output stays free for the folder's name that the command line prints."""
    train(config(tmp_path))
    told = capsys.readouterr()
    assert told.out == ""
    assert "train/cost" in told.err


def test_training_lowers_the_cost_and_the_gap(tmp_path: Path) -> None:
    """Sixty batches of a small POMO on CVRP15 bring the gap to savings well below the start."""
    run = train(
        config(
            tmp_path,
            data={"num_customers": 15},
            algorithm={"type": "pomo", "num_starts": 8},
            training={"epochs": 6, "batches_per_epoch": 10, "batch_size": 32, "accelerator": "cpu"},
            validation={
                "num_instances": 32,
                "reference": {"solver": {"solver": "savings"}, "iterations": 1},
            },
        ),
        progress=False,
    )
    gaps = [float(row["val/gap_percent"]) for row in rows(run)]
    costs = [float(row["val/cost"]) for row in rows(run)]
    assert costs[-1] < costs[0]
    assert gaps[-1] < gaps[0] / 2
    stored = list((tmp_path / "references").glob("*.json"))
    assert len(stored) == 1
    # a second run takes the stored reference: damage to it is told
    stored[0].write_text(stored[0].read_text().replace('"routes": [[[', '"routes": [[[99, '))
    with pytest.raises(InputError, match=str(stored[0])):
        train(parse(TrainConfig, yaml.safe_load((run / "config.yaml").read_text()), "again"))


def one_step_by_hand(settings: TrainConfig, draws: list[tuple[int, int]]) -> dict[str, Any]:
    """The weights after one Adam step on the mean gradient of (rank, batch) draws."""
    module = build_algorithm(settings, ValidationSet(instances("cvrp", 8, 2), None))
    loop, optimizer = settings.training, torch.optim.Adam(module.policy.parameters(), lr=1e-3)
    for rank, index in draws:

        def numbers(stream: str, rank: int = rank, index: int = index) -> torch.Generator:
            seed = stream_seed(settings.seed, stream, rank, index)
            return torch.Generator().manual_seed(seed)

        instance = module.draw(loop.batch_size, numbers("instances"))
        trajectory, encoding = module.rollout(instance, numbers("actions"))
        weights = -module.advantage(instance, trajectory) / trajectory.costs.numel()
        loss, _ = policy_gradient(
            module.policy, module.env, instance, trajectory, weights, encoding=encoding
        )
        (loss / len(draws)).backward()
    optimizer.step()
    return module.policy.state_dict()


def assert_same_weights(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """But for Adam's first step where a gradient is zero up to rounding: there its sign decides."""
    for name, value in expected.items():
        if not name.endswith("bias"):
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_accumulated_batches_give_the_step_of_their_mean_gradient(tmp_path: Path) -> None:
    """Two batches accumulated: one step of the optimiser, on the mean of their gradients."""
    loop = {"epochs": 1, "batches_per_epoch": 2, "batch_size": 8, "accelerator": "cpu"}
    settings = config(tmp_path, training=loop | {"accumulate": 2})
    run = train(settings, progress=False)
    assert rows(run)[0]["step"] == "1"
    assert_same_weights(weights(run), one_step_by_hand(settings, [(0, 0), (0, 1)]))


def test_clipping_bounds_the_gradient(tmp_path: Path) -> None:
    """With a norm of nearly zero, Adam's epsilon swallows the step and the weights stay."""
    loop = {"epochs": 1, "batches_per_epoch": 1, "batch_size": 8, "accelerator": "cpu"}
    free = train(config(tmp_path / "a", training=loop), progress=False)
    tight = train(config(tmp_path / "b", training=loop | {"gradient_clip": 1e-12}), progress=False)
    settings = config(tmp_path, training=loop)
    fresh = build_algorithm(settings, ValidationSet(instances("cvrp", 8, 2), None)).policy
    moved = [not torch.equal(v, weights(free)[k]) for k, v in fresh.state_dict().items()]
    assert all(m for m, v in zip(moved, fresh.state_dict().values(), strict=True) if v.numel())
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(weights(tight)[name], value, rtol=0, atol=1e-6)


def test_mixed_precision_trains_to_finite_weights_near_those_of_float32(tmp_path: Path) -> None:
    """bfloat16 in the encoder changes the course a little, not the scale; clipping goes with it."""
    loop = {"epochs": 1, "batches_per_epoch": 4, "batch_size": 8, "accelerator": "cpu"}
    loop |= {"gradient_clip": 1.0}
    plain = train(config(tmp_path / "a", training=loop), progress=False)
    mixed = train(
        config(tmp_path / "b", training=loop | {"precision": "bf16-mixed"}), progress=False
    )
    a, b = weights(plain), weights(mixed)
    assert any(not torch.equal(a[name], b[name]) for name in a)
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=0.02, rtol=0)


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Data-parallel on two CPU processes: each draws instances of its own, and the step is that
    of the mean gradient of both."""
    loop = {"epochs": 1, "batches_per_epoch": 1, "batch_size": 8, "accelerator": "cpu"}
    settings = config(tmp_path, training=loop | {"devices": 2})
    run = train(settings, progress=False)
    assert [row["train/instances"] for row in rows(run)] == ["16.0"]
    assert_same_weights(weights(run), one_step_by_hand(settings, [(0, 0), (1, 0)]))


def test_the_frozen_policy_stays_in_eval_mode_and_the_trained_one_in_train_mode(
    tmp_path: Path,
) -> None:
    """After a comparison batch norm goes on learning; the copy's statistics do not move."""
    settings = config(
        tmp_path,
        policy=POLICIES["am"],
        algorithm={"type": "reinforce-rollout", "eval_instances": 16, "warmup_epochs": 0},
    )
    module = build_algorithm(settings, ValidationSet(instances("cvrp", 8, 4), None))
    assert isinstance(module, RolloutBaseline)
    module.train()
    assert module.policy.training
    assert not any(m.training for m in module.frozen.modules())
    name = "encoder.layers.0.norm1.norm.running_mean"
    before = module.frozen.state_dict()[name].clone()
    module.policy.encode(instances("cvrp", 8, 4))
    module.frozen.encode(instances("cvrp", 8, 4))
    assert torch.equal(module.frozen.state_dict()[name], before)
    assert not torch.equal(module.policy.state_dict()[name], before)
    run = train(settings, progress=False)
    tracked = weights(run)["encoder.layers.0.norm1.norm.num_batches_tracked"]
    # 2 epochs of 4 batches, each one pass in train mode; comparisons leave the count alone
    assert int(tracked) == 8


def test_moving_average_by_hand() -> None:
    """First the mean itself, then 0.8 of the old and 0.2 of the new."""
    average = torch.tensor(torch.nan)
    average = moving_average(average, torch.tensor([[2.0], [4.0]]), 0.8, 1)
    assert float(average) == 3
    average = moving_average(average, torch.tensor([[8.0], [8.0]]), 0.8, 1)
    assert float(average) == pytest.approx(0.8 * 3 + 0.2 * 8)


def test_learning_rates_by_hand() -> None:
    """Constant; tenths at the epochs named; warm-up, plateau and decay to zero at the end."""
    assert learning_rate_factor(ConstantSchedule(type="constant"), 5, 1, 10) == 1
    steps = MultiStepSchedule(type="multistep", epochs=[3, 5], factor=0.1)
    assert [learning_rate_factor(steps, 0, e, 9) for e in (2, 3, 5)] == pytest.approx(
        [1, 0.1, 0.01]
    )
    decay = WarmupDecaySchedule(type="warmup-decay", warmup=0.1, decay=0.5)
    factors = [learning_rate_factor(decay, s, 0, 100) for s in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[50] == 1
    assert factors[75] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.02)


def test_streams_of_random_numbers_do_not_meet() -> None:
    """Different purposes, ranks, batches and run seeds give different seeds."""
    seeds = {
        stream_seed(seed, stream, rank, index)
        for seed in range(4)
        for stream in STREAMS
        for rank in range(4)
        for index in range(50)
    }
    assert len(seeds) == 4 * len(STREAMS) * 4 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


TRAININGS = [n for n in preset_names() if "problem" in load_yaml(n)]
DISPATCHERS = [n for n in TRAININGS if load_yaml(n)["problem"] in DYNAMIC_PROBLEMS]


@pytest.mark.parametrize("name", DISPATCHERS)
def test_every_shipped_training_of_a_dispatcher_is_valid(name: str) -> None:
    """It passes the schema, and says the name that it has."""
    assert parse(DispatchTrainConfig, load_yaml(name), name).name == name


@pytest.mark.parametrize("name", [n for n in TRAININGS if n not in DISPATCHERS])
def test_every_shipped_training_configuration_is_valid(name: str) -> None:
    """The presets pass the schema, say the name that they have, and their networks can be built:
    with a gate for each layer that is to have experts."""
    parsed = parse(TrainConfig, load_yaml(name), name)
    assert parsed.name == name
    # no solver's routes are a reference where noise is seen on the way, nor where the
    # price is that of scenarios
    way = {*ON_THE_WAY, *DEMAND_PROBLEMS}
    uncertain = parsed.problem in way or parsed.objective is not None
    assert (parsed.validation.reference is None) == uncertain
    policy = parsed.policy
    expected = set()
    if policy.type == "pomo" or policy.type == "routefinder":
        expected |= {f"encoder{i}" for i in range(policy.num_layers) if policy.experts is not None}
        expected |= {"decoder"} if policy.decoder_experts is not None else set()
    assert fresh_policy(parsed).gates.keys() == expected


def test_only_the_first_of_several_processes_makes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that each start from the command line leave one run folder behind, not many."""
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    new_run_folder(config(tmp_path))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    assert new_run_folder(config(tmp_path)).is_dir()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA devices")
def test_a_device_that_is_not_there_is_refused_for_resumed_runs_too(tmp_path: Path) -> None:
    """The message comes from us and not from deep within."""
    loop = {"epochs": 1, "batches_per_epoch": 4, "accelerator": "cuda"}
    with pytest.raises(InputError, match=r"training\.accelerator is cuda"):
        train(config(tmp_path, training=loop), resume=tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA devices")
@pytest.mark.parametrize("kernel", ["captured", "triton"])
def test_kernels_of_gpus_are_refused_before_anything_is_written(
    kernel: str, tmp_path: Path
) -> None:
    loop = {"epochs": 1, "batches_per_epoch": 4, "kernel": kernel}
    with pytest.raises(InputError, match=f"training.kernel is {kernel}, which needs a CUDA device"):
        train(config(tmp_path, training=loop))
    assert not list(tmp_path.iterdir())


def test_what_a_run_cannot_do_is_refused(tmp_path: Path) -> None:
    """Resuming something else, or writing where one cannot."""
    run = train(config(tmp_path), progress=False)
    with pytest.raises(InputError, match=r"optimizer\.lr \(0\.001 in the run, 0\.1 now\)"):
        train(config(tmp_path, optimizer={"lr": 0.1}), resume=run)
    with pytest.raises(InputError, match="not a training run"):
        train(config(tmp_path), resume=tmp_path)
    loop = {"epochs": 1, "batches_per_epoch": 4, "batch_size": 16, "accelerator": "cpu"}
    with pytest.raises(InputError, match=r"training\.epochs \(2 in the run, 1 now\)"):
        train(config(tmp_path, training=loop), resume=run)
    stored = run / "config.yaml"
    stored.write_text(stored.read_text() + "\n]")
    with pytest.raises(InputError, match=str(stored)):
        train(config(tmp_path), resume=run)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match=f"output {blocked}"):
        train(config(blocked))
    for changes, message in (
        ({"algorithm": {"type": "pomo", "num_starts": 1}}, "num_starts"),
        ({"policy": POLICIES["pomo"] | {"dim": 30}}, "multiple of num_heads"),
        ({"problem": "tsp", "data": {"num_customers": 8, "capacity": 3}}, "capacity"),
        ({"problem": "tsp", "data": {"num_customers": [1, 8]}}, "data.num_customers is 1; "),
        ({"problem": "vrptw", "data": {"num_customers": 8, "distribution": "x"}},
         "data.distribution is 'x' for vrptw; accepted for: cvrp"),
        ({"problem": "vrptw", "data": {"num_customers": 8, "variants": ["vrptw"]}},
         "data.variants are vrptw for vrptw; accepted: none, only mtvrp-16"),
        ({"problem": "mtvrp-16", "data": {"num_customers": 8, "variants": ["vrpmb"]}},
         "data.variants has 'vrpmb' for mtvrp-16"),
        ({"problem": "atps"}, r"problem: value 'atps'; accepted: tsp, atsp.*did you mean"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            config(tmp_path, **changes)
    assert math.isfinite(float(rows(run)[0]["val/cost"]))
