"""Objectives over scenarios, and training by them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from nco.algorithm import ValidationSet
from nco.build import build_sampled_env
from nco.config_files import parse
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.noise import Scenarios, Split
from nco.data.prices import PRICES
from nco.envs.objective import MEAN, Objective
from nco.envs.scenario_cost import outcomes_in_parts
from nco.envs.variants import environments, scenario_costs
from nco.pomo_training import rank_advantage, standard_advantage
from nco.statistics import frequency
from nco.train_config import TrainConfig
from nco.training import build_algorithm, train
from tests.draws import seeded


def config(folder: Path, **changes: Any) -> TrainConfig:
    """A run of a second on the probabilistic TSP."""
    values: dict[str, Any] = {
        "name": "test",
        "problem": "ptsp",
        "data": {"num_customers": 8},
        "policy": {"type": "pomo", "dim": 16, "num_heads": 2, "num_layers": 1, "hidden": 32},
        "algorithm": {"type": "pomo"},
        "objective": {"scenarios": 8, "validation_scenarios": 16},
        "training": {"epochs": 1, "batches_per_epoch": 3, "batch_size": 8, "accelerator": "cpu"},
        "validation": {"num_instances": 8},
        "output": str(folder),
    }
    return parse(TrainConfig, values | changes, "test")


def test_cvar_is_the_mean_of_the_worst_share() -> None:
    """By sorting, with a part of a cost at the edge; level 0 is the mean; and the minimum over t
    of t + E[(cost - t)+] / (1 - α) (Rockafellar and Uryasev 2000) by trying every cost as t."""
    costs = torch.rand(3, 40, generator=seeded(), dtype=torch.float64)
    assert torch.allclose(MEAN.of(costs), costs.mean(1))
    assert torch.allclose(Objective(0.95).of(costs), costs.sort(1).values[:, -2:].mean(1))
    for level in (0.5, 0.9, 0.93, 0.999):
        excess = (costs.unsqueeze(2) - costs.unsqueeze(1)).clamp(min=0).mean(1)
        least = (costs + excess / (1 - level)).amin(1)
        assert torch.allclose(Objective(level).of(costs), least)
    assert [Objective(0.95).name, Objective().name] == ["CVaR95", "mean"]
    with pytest.raises(InputError, match="cvar is 1"):
        Objective(1.0)


def test_frequencies_have_wilsons_interval() -> None:
    """Scipy's own interval; it never leaves 0 to 1."""
    for happened, trials in ((0, 10), (3, 10), (10, 10), (995, 1000)):
        found = frequency(happened, trials)
        assert found is not None
        interval = stats.binomtest(happened, trials).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert frequency(0, 0) is None


@pytest.mark.parametrize("cvar", [0.0, 0.75])
def test_the_advantage_is_that_within_each_scenario(tmp_path: Path, cvar: float) -> None:
    """Of the expectation: in each scenario the mean over an instance's starts less the start's
    cost, then the mean over scenarios. Of CVaR: the same of each plan's two worst of 8."""
    asked = {"scenarios": 8, "cvar": cvar}
    settings = config(tmp_path, objective=asked)
    validation = generate("ptsp", num_customers=8, batch=2, generator=seeded())
    module = build_algorithm(settings, ValidationSet(validation, None))
    instance = module.draw(4, seeded(1))
    trajectory, _ = module.rollout(instance, seeded(2))
    scenarios = Scenarios(Split.TRAIN, 8, settings.seed)
    costs = outcomes_in_parts(scenario_costs["ptsp"], instance, trajectory.actions, scenarios).cost
    assert costs.shape == (4, 8, 8)
    expected = (costs.mean(1, keepdim=True) - costs).mean(2)
    if cvar:
        worst = costs.sort(2).values[..., -2:].mean(2)
        expected = worst.mean(1, keepdim=True) - worst
    found = module.advantage(instance, trajectory)
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)


def test_advantages_without_a_unit() -> None:
    """Standard deviations and ranks: those of each instance by definition, unchanged where costs
    are multiplied and shifted; ranks count pairs, and one huge cost changes nothing."""
    costs = torch.tensor([[3.0, 1.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    expected = torch.tensor([[-1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(rank_advantage(costs), expected)
    huge = costs.clone()
    huge[0, 0] = 1e9
    torch.testing.assert_close(rank_advantage(huge), expected)
    torch.testing.assert_close(rank_advantage(40 * costs - 7), expected)
    spread = math.sqrt(0.5)
    found = standard_advantage(costs)
    torch.testing.assert_close(found[0], torch.tensor([-1.0, 1.0, 0.0, 0.0]) / spread)
    assert found[1].tolist() == [0.0] * 4
    # rounding of large equal costs is no difference
    assert float(standard_advantage(torch.full((1, 7), 39_289.7)).abs().max()) < 0.1


@pytest.mark.parametrize("kind", ["difference", "standard", "rank"])
def test_the_advantage_asked_for_is_taken(tmp_path: Path, kind: str) -> None:
    """The algorithm's own on its trajectories."""
    settings = config(tmp_path, algorithm={"type": "pomo", "advantage": kind})
    validation = generate("ptsp", num_customers=8, batch=2, generator=seeded())
    module = build_algorithm(settings, ValidationSet(validation, None))
    instance = module.draw(4, seeded(1))
    trajectory, _ = module.rollout(instance, seeded(2))
    costs = trajectory.costs
    expected = {
        "difference": costs.mean(1, keepdim=True) - costs,
        "standard": standard_advantage(costs),
        "rank": rank_advantage(costs),
    }
    torch.testing.assert_close(module.advantage(instance, trajectory), expected[kind])


def test_lateness_becomes_dear_in_time(tmp_path: Path) -> None:
    """From its share at the start by equal factors to the price, like overtime; nothing else."""
    ramp = {"start": 0.01, "until": 0.5}
    data = {"num_customers": 4, "distribution": "correlated", "lateness": ramp}
    settings = config(tmp_path, problem="svrptw", data=data)
    validation = generate(
        "svrptw", num_customers=4, batch=2, generator=seeded(), distribution="correlated"
    )
    module = build_algorithm(settings, ValidationSet(validation, None))
    assert validation.prices is not None
    for done, share in ((0.0, 0.01), (0.25, 0.1), (0.5, 1.0), (0.9, 1.0)):
        prices = module.priced(validation, done).prices
        assert prices is not None
        ratio = (prices / validation.prices)[0].tolist()
        expected = [share if name in ("lateness", "overtime") else 1.0 for name in PRICES]
        assert ratio == pytest.approx(expected)
    with pytest.raises(InputError, match=r"data\.lateness is given for ptsp.* svrptw, mdsvrptw"):
        config(tmp_path, data={"num_customers": 8, "lateness": ramp})


def test_training_and_validation_share_no_scenario(tmp_path: Path) -> None:
    """The two environments price the same plans by different splits, and see the same features."""
    settings = config(tmp_path)
    instance = generate("ptsp", num_customers=8, batch=2, generator=seeded())
    module = build_algorithm(settings, ValidationSet(instance, None))
    plans = module.env.start_actions(instance, 1)
    order = torch.cat([plans, *(torch.full_like(plans, i) for i in range(1, 8))], 2)
    of_training, of_validation = (
        env.cost(instance, order) for env in (module.env, module.validation_env)
    )
    assert bool((of_training != of_validation).all())
    splits = [
        build_sampled_env("ptsp", Scenarios(split, count, settings.seed), MEAN).cost(
            instance, order
        )
        for split, count in ((Split.TRAIN, 8), (Split.SELECTION, 16))
    ]
    assert torch.equal(of_training, splits[0])
    assert torch.equal(of_validation, splits[1])
    seen = [env.node_features(instance).values for env in (module.env, environments["ptsp"])]
    assert torch.equal(*seen)


def test_a_price_by_many_scenarios_nears_the_exact_one() -> None:
    """Within four standard errors of the closed form."""
    instance = generate("pcvrp", num_customers=6, batch=3, generator=seeded())
    exact = environments["pcvrp"]
    plans = torch.tensor([1, 2, 0, 3, 4, 0, 5, 6]).expand(3, 1, 8)
    scenarios = Scenarios(Split.SELECTION, 3000)
    sampled = build_sampled_env("pcvrp", scenarios, MEAN)
    costs = outcomes_in_parts(scenario_costs["pcvrp"], instance, plans, scenarios).cost
    off = sampled.cost(instance, plans) - exact.cost(instance, plans)
    assert float((off.abs() / (costs.std(2) / math.sqrt(3000))).max()) < 4


def test_the_same_seed_trains_the_same_weights(tmp_path: Path) -> None:
    """To the bit; other objectives give other weights."""
    runs = [train(config(tmp_path / name), progress=False) for name in ("a", "b")]
    runs += [train(config(tmp_path / "c", objective=None), progress=False)]
    first, again, exact = (load_file(run / "model" / "model.safetensors") for run in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], exact[name]) for name in first)


def test_what_is_refused(tmp_path: Path) -> None:
    """Scenarios of a certain problem, and a reference beside them."""
    with pytest.raises(InputError, match=r"objective is for problems .* problem is tsp"):
        config(tmp_path, problem="tsp")
    with pytest.raises(InputError, match="no scenarios for its plans"):
        build_sampled_env("cvrp", Scenarios(Split.TRAIN, 1), MEAN)
    reference = {"solver": {"solver": "pyvrp"}, "iterations": 5}
    with pytest.raises(InputError, match=r"validation\.reference is given beside objective"):
        config(tmp_path, validation={"num_instances": 8, "reference": reference})
