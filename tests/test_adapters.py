"""Adapter layers: a trained policy on a problem with more attributes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nco.adapters import widen
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.envs.variants import environments
from nco.likelihood import log_likelihood
from nco.model_files import load_card, load_model
from nco.models.named_inputs import input_names
from nco.models.policy import Policy
from nco.rollout import rollout
from nco.strategies import Sampling
from nco.training import train
from tests.policies import POLICIES, small_policy
from tests.test_multi_task_training import LOOP, config

STEPS = [("vrptw", "mtvrp-16"), ("mtvrp-16", "mtvrp-24"), ("mtvrp-24", "mtvrp-48"),
         ("mtvrp-16", "mtvrp-48")]  # fmt: skip
"""From an environment to one with more features."""
KINDS = ("pomo", "pomo attribute", "routefinder film", "routefinder reld")
"""Policies that read features in different places."""


def drawn(problem: str, batch: int = 12) -> Instance:
    """Instances of seven customers."""
    generator = torch.Generator().manual_seed(5)
    return generate(problem, num_customers=7, batch=batch, generator=generator)


def widened(kind: str, old: str, new: str, new_columns: Any = "zero") -> tuple[Policy, Policy]:
    """A policy with drawn weights for the old problem, and the same widened for the new one."""
    trained = small_policy(kind, environments[old], seed=1)
    policy = small_policy(kind, environments[new], seed=2)
    widen(policy, trained, new_columns)
    return trained, policy


def likelihoods(policy: Policy, trained: Policy, instance: Instance) -> list[torch.Tensor]:
    """Of the same trajectories, drawn from the trained policy, by each policy in its own
    environment."""
    env = trained.env
    generator = torch.Generator().manual_seed(3)
    starts = env.start_actions(instance, 6)
    drawn = rollout(env, trained, instance, Sampling(), num_trajectories=6, starts=starts,
                    generator=generator)  # fmt: skip
    return [log_likelihood(p, p.env, instance, drawn).detach() for p in (trained, policy)]


@pytest.mark.parametrize(("old", "new"), STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_zero_columns_compute_the_old_function(kind: str, old: str, new: str) -> None:
    """On instances that the old policy accepts, all choices keep their probabilities."""
    trained, policy = widened(kind, old, new)
    before, after = likelihoods(policy, trained, drawn(old))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(POLICIES.keys() - KINDS))
def test_every_policy_can_be_widened(kind: str) -> None:
    """Also with gates of any kind, whose running values are taken over."""
    trained, policy = widened(kind, "mtvrp-16", "mtvrp-48")
    before, after = likelihoods(policy, trained, drawn("mtvrp-16"))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["pomo attribute", "routefinder film", "routefinder reld"])
@pytest.mark.parametrize("known", [False, True])
def test_zero_columns_do_not_look_at_new_inputs(kind: str, known: bool) -> None:
    """Other values of the new features, attributes and context change nothing, even where
    instances have the new attributes; other values of the known ones do."""
    trained, policy = widened(kind, "mtvrp-16", "mtvrp-48")
    env, instance = policy.env, drawn("mtvrp-48")
    features = env.node_features(instance)
    state = env.reset(instance, 4)
    for action in env.start_actions(instance, 4).unbind(2):
        state = env.step(state, action)
    observation = env.observe(state)

    def noised(values: torch.Tensor, names: tuple[str, ...], old: tuple[str, ...]) -> torch.Tensor:
        moved = torch.tensor([(name in old) == known for name in names])
        assert bool(moved.any())
        noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(0))
        return values + moved * noise

    other = replace(
        features,
        values=noised(features.values, env.node_feature_names, trained.env.node_feature_names),
        attributes=noised(features.attributes, env.attribute_names, trained.env.attribute_names),
    )
    context = noised(
        observation.features, env.context_feature_names, trained.env.context_feature_names
    )
    encoder, encoding = policy.get_submodule("encoder"), policy.encode(instance)
    nodes = [encoder(f, None)[0] for f in (features, other)]
    scores = [
        policy.scores(encoding, replace(observation, features=c)).logits
        for c in (observation.features, context)
    ]
    for a, b in (nodes, scores):
        assert torch.equal(a, b) != known


def test_random_columns_keep_fresh_layers_and_take_over_the_rest() -> None:
    """AL: a layer with new inputs is wholly fresh, also in what it reads of the known ones."""
    fresh = small_policy("routefinder film", environments["mtvrp-24"], seed=2).state_dict()
    trained, policy = widened("routefinder film", "mtvrp-16", "mtvrp-24", "random")
    learnt = trained.state_dict()
    grown = {
        name for name, (_, read) in input_names(policy).items()
        if read != input_names(trained)[name][1]
    }  # fmt: skip
    # the decoder's context is the same in both
    assert "encoder.embedding.depot.weight" in grown
    assert "decoder.project.features.weight" not in grown
    for name, value in policy.state_dict().items():
        assert torch.equal(value, fresh[name] if name in grown else learnt[name]), name


def test_what_cannot_be_widened_is_refused() -> None:
    """Features that the new problem lacks, and policies of another build."""
    trained = small_policy("routefinder", environments["mtvrp-24"])
    with pytest.raises(InputError, match=r"reads mixed_backhaul .*which the new problem"):
        widen(small_policy("routefinder", environments["mtvrp-16"]), trained, "zero")
    with pytest.raises(InputError, match="features of their problems"):
        widen(small_policy("pomo", environments["mtvrp-48"]), trained, "zero")
    tour, routes = (small_policy("pomo", environments[p]) for p in ("tsp", "cvrp"))
    with pytest.raises(InputError, match="missing in the new one"):
        widen(routes, tour, "zero")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a run on mtvrp-16."""
    folder = tmp_path_factory.mktemp("start")
    return train(config(folder, training={"epochs": 1, **LOOP}), progress=False) / "model"


def test_a_run_starts_from_a_model(tmp_path: Path, start: Path) -> None:
    """With a rate of nearly zero the weights stay those of the model, and new ones zero; the card
    says where they are from."""
    run = train(
        config(
            tmp_path,
            problem="mtvrp-48",
            start={"model": str(start)},
            optimizer={"lr": 1e-12},
            training={"epochs": 1, **LOOP},
        ),
        progress=False,
    )
    (trained, card), (policy, _) = load_model(start), load_model(run / "model")
    expected = small_policy_like(policy, trained)
    for name, value in policy.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-8)
    origin = load_card(run / "model").started_from
    assert origin is not None
    assert (origin.problem, origin.new_columns) == ("mtvrp-16", "zero")
    assert origin.trained_on == card.trained_on
    assert load_card(start).started_from is None


def small_policy_like(policy: Policy, trained: Policy) -> dict[str, torch.Tensor]:
    """The values of ``trained`` in the layout of ``policy``, by plain loops over columns."""
    values = {name: torch.zeros_like(v) for name, v in policy.state_dict().items()}
    inputs, known = input_names(policy), input_names(trained)
    for name, learnt in trained.state_dict().items():
        if name not in inputs:
            values[name] = learnt
            continue
        axis, names = inputs[name]
        for i, feature in enumerate(known[name][1]):
            values[name].select(axis, names.index(feature)).copy_(learnt.select(axis, i))
    return values


@pytest.mark.parametrize("algorithm", ["pomo", "reinforce-rollout"])
def test_a_resumed_run_needs_its_start_no_more(tmp_path: Path, start: Path, algorithm: str) -> None:
    """Resumed after the first model was deleted: the same weights and origin, to the bit. All
    weights move, the new ones too."""
    model = Path(shutil.copytree(start, tmp_path / "model"))
    changes: dict[str, Any] = {"problem": "mtvrp-24", "start": {"model": str(model)},
                               "algorithm": {"type": algorithm}}  # fmt: skip
    if algorithm == "reinforce-rollout":
        changes["algorithm"]["eval_instances"] = 16
    whole = train(config(tmp_path / "a", **changes), progress=False)
    short = {"epochs": 1, **LOOP}
    part = train(config(tmp_path / "b", training=short, **changes), progress=False)
    shutil.rmtree(model)
    train(config(tmp_path / "b", **changes), resume=part, progress=False)
    expected, learnt = load_model(whole / "model")[0], load_model(start)[0]
    for name, value in load_model(part / "model")[0].state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert load_card(part / "model").started_from == load_card(whole / "model").started_from
    before = small_policy_like(expected, learnt)
    for name, parameter in expected.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    column = expected.env.depot_feature_names.index("mixed_backhaul")
    assert bool(expected.get_parameter("encoder.embedding.depot.weight")[:, column].all())


def test_a_start_that_does_not_fit_is_refused(tmp_path: Path, start: Path) -> None:
    """No such model, another policy, or a problem that lacks features; no run folder is left."""
    with pytest.raises(InputError, match=r"start\.model nowhere: no such model"):
        train(config(tmp_path, start={"model": "nowhere"}), progress=False)
    wider = {"type": "routefinder", "dim": 32, "num_heads": 2, "num_layers": 1, "hidden": 16}
    with pytest.raises(InputError, match=r"policy\.dim \(16 in the model, 32 now\)"):
        train(config(tmp_path, policy=wider, start={"model": str(start)}), progress=False)
    with pytest.raises(InputError, match=r"start\.model .*: the trained policy reads backhaul, "):
        train(config(tmp_path, problem="cvrp", start={"model": str(start)}), progress=False)
    assert not list(tmp_path.iterdir())
