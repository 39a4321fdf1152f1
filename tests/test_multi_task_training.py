"""Training on mixed problems: reward normalisation, adapter layers, validation per variant."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

import nco
from nco.algorithm import ValidationSet
from nco.baselines.solver import Budget
from nco.config_files import load_yaml, parse
from nco.data.attributes import variant_index, variant_names
from nco.data.batching import unbatch
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.multi_task import VARIANT_SETS
from nco.model_files import load_card, load_model
from nco.reward_normalisation import VariantMeans
from nco.rollout import Trajectory
from nco.train_config import TrainConfig
from nco.training import build_algorithm, fresh_policy, train, validation_instances

TINY = {"dim": 16, "num_heads": 2, "num_layers": 1, "hidden": 16}
LOOP = {"batches_per_epoch": 3, "batch_size": 12, "accelerator": "cpu"}
EMA = {"type": "pomo", "num_starts": 4, "reward_norm": {"type": "ema", "alpha": 0.25}}

REFERENCE = {"solver": {"solver": "pyvrp"}, "iterations": 20}


def config(folder: Path, **changes: Any) -> TrainConfig:
    """A run of a second on all variants of one depot; sections in ``changes`` replace those
    here."""
    values: dict[str, Any] = {
        "name": "test",
        "problem": "mtvrp-16",
        "data": {"num_customers": 6},
        "policy": {"type": "routefinder", **TINY},
        "algorithm": EMA,
        "optimizer": {"lr": 1e-3},
        "training": {"epochs": 2, **LOOP},
        "validation": {"num_instances": 8},
        "output": str(folder),
    }
    return parse(TrainConfig, values | changes, "test")


def mixed(problem: str, *variants: str, batch: int = 64, seed: int = 0) -> Instance:
    """Instances of six customers, of the variants named only."""
    return generate(
        problem,
        num_customers=6,
        batch=batch,
        generator=torch.Generator().manual_seed(seed),
        variants=variants or None,
    )


def index_of(variant: str) -> int:
    """The cell of a variant."""
    instance = mixed("mtvrp-48", variant, batch=1)
    return int(variant_index(instance))


def test_running_means_by_hand() -> None:
    """First a variant's mean itself, then 0.75 of the old and 0.25 of the new; one that is absent
    keeps what it has, and one that was never seen has none."""
    means = VariantMeans(0.25)
    instance = mixed("mtvrp-48", "cvrp", "mdovrpltw", batch=8)
    long = torch.tensor([name == "mdovrpltw" for name in variant_names(instance)])
    assert 0 < int(long.sum()) < 8
    # the mean over trajectories is 4 or 20, and over instances too
    costs = torch.where(long, 20.0, 4.0).unsqueeze(1) + torch.tensor([[-1.0, 0.0, 1.0]])
    means.update(instance, costs)
    first, second = index_of("cvrp"), index_of("mdovrpltw")
    assert first != second
    expected = torch.zeros(64)
    expected[first], expected[second] = 4, 20
    assert torch.equal(means.mean, expected)
    means.update(mixed("mtvrp-48", "cvrp", batch=2), torch.tensor([[6.0], [10.0]]))
    expected[first] = 0.75 * 4 + 0.25 * 8
    assert torch.equal(means.mean, expected)
    # 8 of every 100 above or below the mean weigh the same in both
    advantage = 0.08 * torch.where(long, 20.0, 5.0).unsqueeze(1)
    torch.testing.assert_close(means.divide(instance, advantage), torch.full((8, 1), 0.08))


def test_a_variant_whose_costs_are_all_zero_divides_to_zero() -> None:
    """All customers at the depot: no advantage, and no NaN."""
    means = VariantMeans(0.25)
    instance = mixed("mtvrp-16", "cvrp", batch=2)
    means.update(instance, torch.zeros(2, 3))
    assert torch.equal(means.divide(instance, torch.zeros(2, 3)), torch.zeros(2, 3))


def test_processes_share_one_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over the halves of a batch, added up between processes, give the mean of the batch."""
    instance, costs = mixed("mtvrp-48"), torch.rand(64, 3)
    whole, half = VariantMeans(0.25), VariantMeans(0.25)
    whole.update(instance, costs)
    sent: list[torch.Tensor] = []

    def add_up(sums: torch.Tensor) -> None:
        sent.append(sums.clone())
        sums += sum(sent[:-1])

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", add_up)
    VariantMeans(0.25).update(instance[:20], costs[:20])
    half.update(instance[20:], costs[20:])
    torch.testing.assert_close(half.mean, whole.mean)


@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_single_variants_have_one_cell(problem: str) -> None:
    """The mean of a problem of one variant is that of the batch."""
    means = VariantMeans(0.25)
    instance = generate(
        problem, num_customers=5, batch=2, generator=torch.Generator().manual_seed(0)
    )
    means.update(instance, torch.tensor([[2.0, 4.0], [4.0, 6.0]]))
    assert means.mean.nonzero().flatten().tolist() == [0]
    assert float(means.mean[0]) == 4


def test_advantages_are_those_of_scaled_problems(tmp_path: Path) -> None:
    """A variant whose costs are a hundred times another's gets the same advantages."""
    module = build_algorithm(
        config(tmp_path, problem="mtvrp-48"), ValidationSet(mixed("mtvrp-48"), None)
    )
    both = mixed("mtvrp-48", "cvrp", "mdvrptw", batch=16)
    times = torch.tensor([100.0 if name == "mdvrptw" else 1.0 for name in variant_names(both)])
    row = torch.tensor([[3.0, 4.0, 5.0]])
    actions = torch.zeros(16, 3, 1, dtype=torch.long)
    trajectory = Trajectory(actions, row * times.unsqueeze(1), num_forced=0, decisions=None)
    advantage = module.advantage(both, trajectory)
    torch.testing.assert_close(advantage, torch.tensor([[0.25, 0, -0.25]]).expand(16, 3))


def test_a_resumed_run_goes_on_with_its_running_means(tmp_path: Path) -> None:
    """Stopped after one of two epochs and resumed: same weights to the bit. Without normalisation
    they differ, so the means matter."""
    whole = train(config(tmp_path / "a"), progress=False)
    part = train(config(tmp_path / "b", training={"epochs": 1, **LOOP}), progress=False)
    train(config(tmp_path / "b"), resume=part, progress=False)
    plain = train(config(tmp_path / "c", algorithm={"type": "pomo", "num_starts": 4}),
                  progress=False)  # fmt: skip
    expected = load_model(whole / "model")[0].state_dict()
    for name, value in load_model(part / "model")[0].state_dict().items():
        assert torch.equal(value, expected[name]), name
    other = load_model(plain / "model")[0].state_dict()
    assert any(not torch.equal(value, other[name]) for name, value in expected.items())


def gaps_by_hand(run: Path, settings: TrainConfig) -> dict[str, list[float]]:
    """Of the run's model against the stored reference, in percent, by variant."""
    solver = nco.load(run / "model", augment=1)
    (stored,) = (settings.output / "references").glob("*.json")
    reference = json.loads(stored.read_text())["costs"]
    gaps: dict[str, list[float]] = {}
    instance = validation_instances(settings)
    for i, name in enumerate(variant_names(instance)):
        (solution,) = solver.solve(unbatch(instance)[i], Budget(), 0)
        gaps.setdefault(name, []).append(100 * (solution.cost / reference[i] - 1))
    return gaps


def test_validation_tells_the_gap_of_each_variant(tmp_path: Path) -> None:
    """In the metrics and on the card, resumed runs included; as solved one by one."""
    variants = ("cvrp", "mdovrptw", "vrpl")
    settings = config(
        tmp_path,
        problem="mtvrp-48",
        data={"num_customers": 6, "variants": variants},
        validation={"num_instances": 8, "reference": REFERENCE},
    )
    counts = Counter(variant_names(validation_instances(settings)))
    assert counts == {"cvrp": 3, "mdovrptw": 3, "vrpl": 2}
    short = settings.model_copy(update={"training": settings.training.model_copy(
        update={"epochs": 1})})  # fmt: skip
    run = train(short, progress=False)
    train(settings, resume=run, progress=False)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    gaps = gaps_by_hand(run, settings)
    assert gaps.keys() == set(variants)
    metrics = load_card(run / "model").metrics
    expected = {f"val/gap_percent/{name}": mean(values) for name, values in gaps.items()}
    expected["val/gap_percent"] = mean(gap for values in gaps.values() for gap in values)
    for name, value in expected.items():
        assert float(rows[-1][name]) == pytest.approx(value, abs=1e-3), name
        assert metrics[name] == pytest.approx(value, abs=1e-3), name


@pytest.mark.parametrize(("problem", "number"), [("mtvrp-16", 35), ("mtvrp-48", 60)])
def test_validation_has_as_many_of_each_variant(tmp_path: Path, problem: str, number: int) -> None:
    """As far as the number divides; with 40 customers none is without a pickup by chance."""
    settings = config(tmp_path, problem=problem, data={"num_customers": 40},
                      validation={"num_instances": number})  # fmt: skip
    names = variant_names(validation_instances(settings))
    assert len(names) == number
    counts = Counter(names)
    assert counts.keys() == {variant.name for variant in VARIANT_SETS[problem]}
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("mtpomo-mtvrp50", 1.3),
        ("mvmoe-mtvrp50", 3.7),
        ("mvmoe-light-mtvrp50", 3.7),
    ],
)
def test_shipped_networks_have_their_published_sizes(name: str, millions: float) -> None:
    """MTPOMO's and MVMoE's tables say 1.3 and 3.7 million weights."""
    policy = fresh_policy(parse(TrainConfig, load_yaml(name), name))
    assert sum(p.numel() for p in policy.parameters()) == pytest.approx(1e6 * millions, abs=5e4)


def test_published_training_lengths() -> None:
    """Instances seen: RouteFinder 30 million, MVMoE 100 million, up to the last batch of an
    epoch; adapter layers 100,000."""
    seen = {"routefinder-film-mtvrp100": 30e6, "mvmoe-light-mtvrp50": 100e6,
            "routefinder-eal-mtvrp50": 1e5}  # fmt: skip
    for name, instances in seen.items():
        loop = parse(TrainConfig, load_yaml(name), name).training
        total = loop.epochs * loop.batches_per_epoch * loop.batch_size
        assert instances <= total < 1.02 * instances
