"""Policies: public weights, equivariance, padding, trajectories that do not see each other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nco.data.batching import collate, replace
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.kool import kool_instances
from nco.envs.environment import Environment
from nco.envs.loads import Load
from nco.envs.variants import cvrp, tsp
from nco.envs.vrp import VRP
from nco.import_kool import import_kool
from nco.models.attention_model import AttentionModel
from nco.models.policy import Policy
from nco.models.pomo import POMO
from nco.rollout import rollout
from nco.strategies import Greedy
from tests.small import instances

CASES = [(kind, problem) for kind in ("am", "pomo") for problem in ("tsp", "cvrp")]


def build(kind: str, problem: str) -> tuple[Policy, Environment]:
    """A small policy in eval mode, with its environment."""
    env = tsp if problem == "tsp" else cvrp
    torch.manual_seed(0)
    return (
        AttentionModel(env, dim=32, num_heads=4, num_layers=2, hidden=64)
        if kind == "am"
        else POMO(env, dim=32, num_heads=4, num_layers=2, hidden=64)
    ).eval(), env


def test_public_weights_give_the_published_tsp20_mean(shared: Path) -> None:
    """Kool et al.'s TSP20 model decodes the first 1,000 of seed 1234 to a mean of 3.85562."""
    model = import_kool(shared / "references/attention_model/tsp_20.safetensors", tsp)
    costs = rollout(tsp, model, kool_instances("tsp", 20, 1000), Greedy()).costs
    assert float(costs.double().mean()) == pytest.approx(3.85562, abs=1e-4)


def test_public_weights_give_the_published_cvrp20_mean(shared: Path) -> None:
    """Kool et al.'s CVRP20 model decodes to 6.43907 under the published code's rule.

    That code sums demands as fractions in float32 and compares with exactly 1, so it forbids some
    loads that are exactly full. Under the true rule the same weights do better.
    """
    path = shared / "references/attention_model/cvrp_20.safetensors"
    batch = kool_instances("cvrp", 20, 1000)
    fractions = replace(
        batch,
        {
            "linehaul": batch.linehaul / batch.capacity.unsqueeze(1),
            "capacity": torch.ones_like(batch.capacity),
        },
    )
    strict = VRP((Load(slack=0.0),))
    costs = rollout(strict, import_kool(path, strict), fractions, Greedy()).costs
    assert float(costs.double().mean()) == pytest.approx(6.43907, abs=1e-4)
    exact = rollout(cvrp, import_kool(path, cvrp), batch, Greedy()).costs
    assert float(exact.double().mean()) == pytest.approx(6.41420, abs=1e-3)


def test_weights_of_another_problem_are_refused(shared: Path) -> None:
    """A TSP's weights do not fit a CVRP; the message names the file."""
    with pytest.raises(InputError, match=r"tsp_20\.safetensors"):
        import_kool(shared / "references/attention_model/tsp_20.safetensors", cvrp)
    with pytest.raises(InputError, match="no such file"):
        import_kool(shared / "nothing.safetensors", cvrp)


@pytest.mark.parametrize(("kind", "problem"), CASES)
def test_a_permutation_of_the_customers_permutes_the_scores(kind: str, problem: str) -> None:
    """Greedy tours from corresponding starts have the same cost whatever the customers' order."""
    policy, env = build(kind, problem)
    batch = instances(problem, 9, 3, seed=1)
    assert batch.coords is not None
    first = 0 if problem == "tsp" else 1
    order = torch.cat([torch.arange(first), first + torch.randperm(9)])
    other = replace(batch, {"coords": batch.coords[:, order], "linehaul": batch.linehaul[:, order]})
    starts = env.start_actions(other, 9)
    a = rollout(env, policy, other, Greedy(), num_trajectories=9, starts=starts)
    b = rollout(env, policy, batch, Greedy(), num_trajectories=9, starts=order[starts])
    torch.testing.assert_close(a.costs, b.costs)


@pytest.mark.parametrize(("kind", "problem"), CASES)
def test_a_padded_instance_scores_as_it_does_alone(kind: str, problem: str) -> None:
    """Mixed sizes in one batch: same greedy solutions, same logits."""
    policy, env = build(kind, problem)
    singles = [instances(problem, size, 1, seed=size) for size in (5, 12, 8)]
    batch = collate(singles)
    starts = env.start_actions(batch, 4)
    together = rollout(env, policy, batch, Greedy(), num_trajectories=4, starts=starts)
    for i, one in enumerate(singles):
        alone = rollout(env, policy, one, Greedy(), num_trajectories=4, starts=starts[i : i + 1])
        torch.testing.assert_close(together.costs[i : i + 1], alone.costs)
        n = one.num_nodes
        encoding, padded = policy.encode(one), policy.encode(batch)
        seen = env.observe(env.step(env.reset(one, 4), starts[i : i + 1, :, 0]))
        both = env.observe(env.step(env.reset(batch, 4), starts[:, :, 0]))
        torch.testing.assert_close(
            policy.logits(padded, both)[i, :, :n], policy.logits(encoding, seen)[0],
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip


@pytest.mark.parametrize(("kind", "problem"), CASES)
def test_trajectories_do_not_see_each_other(kind: str, problem: str) -> None:
    """S trajectories at once equal S separate runs."""
    policy, env = build(kind, problem)
    batch = instances(problem, 8, 2, seed=3)
    starts = env.start_actions(batch, 8)
    together = rollout(env, policy, batch, Greedy(), num_trajectories=8, starts=starts)
    for s in range(8):
        one = rollout(env, policy, batch, Greedy(), starts=starts[:, s : s + 1])
        torch.testing.assert_close(together.costs[:, s : s + 1], one.costs)


def test_an_instance_without_coordinates_is_refused() -> None:
    """A policy that reads coordinates says so when there is only a matrix."""
    policy, _ = build("pomo", "tsp")
    matrix = Instance.tsp(distance=[[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    with pytest.raises(InputError, match="coordinates"):
        policy.encode(matrix)
