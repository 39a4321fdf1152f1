"""The fused kernel against the plain path: compiled where there is a GPU, else interpreted.

The interpreter takes a tenth of a second or more for each program and step, so all is tiny.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import final

import pytest
import torch
from jaxtyping import Bool, Float
from scipy.stats import chisquare
from torch import Tensor

from nco.build import build_policy
from nco.data.batching import collate
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import variant_by_name
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.environment import Environment, mask_bias
from nco.envs.variants import cvrp, environments, multi_task, tsp
from nco.fused_rollout import why_not_fused
from nco.kernels import Kernel
from nco.likelihood import log_likelihood
from nco.models.policy import Policy
from nco.policy_config import AttentionModelConfig
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling, Strategy
from tests.multi_task import small
from tests.policies import small_policy
from tests.small import instances

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NEEDS_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)


def run(
    env: Environment,
    policy: Policy,
    instance: Instance,
    strategy: Strategy,
    count: int,
    *,
    kernel: Kernel,
    starts: bool,
    seed: int = 0,
) -> Trajectory:
    """Recorded trajectories, ``count`` of each instance."""
    instance = instance.to(DEVICE)
    return rollout(
        env, policy.to(DEVICE), instance, strategy, num_trajectories=count,
        starts=env.start_actions(instance, count) if starts else None,
        generator=torch.Generator(DEVICE).manual_seed(seed), record=True, kernel=kernel,
    )  # fmt: skip


def agree(
    env: Environment, policy: Policy, instance: Instance, count: int, *, starts: bool
) -> None:
    """Greedy actions of both paths are equal, and so is all that training keeps of them."""
    plain = run(env, policy, instance, Greedy(), count, kernel="plain", starts=starts)
    fused = run(env, policy, instance, Greedy(), count, kernel="triton", starts=starts)
    steps = fused.actions.shape[2]
    # on a GPU the plain path looks only now and then whether all are done
    assert torch.equal(fused.actions, plain.actions[:, :, :steps])
    torch.testing.assert_close(fused.costs, plain.costs)
    assert fused.num_forced == plain.num_forced
    assert fused.decisions is not None
    assert plain.decisions is not None
    chosen = steps - fused.num_forced
    for name in ("current", "first", "features", "mask", "action"):
        value = getattr(plain.decisions, name)
        torch.testing.assert_close(getattr(fused.decisions, name), value[:chosen])


def attention_model(env: Environment) -> Policy:
    """A small one with drawn weights."""
    config = AttentionModelConfig(
        type="attention_model", dim=16, num_heads=2, num_layers=1, hidden=24
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_policy(config, env).eval()


@NEEDS_TRITON
@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_greedy_actions_equal_the_plain_path(problem: str) -> None:
    """From all starts; in a padded batch of two sizes, and at 20 nodes in two blocks."""
    env = environments[problem]
    policy = small_policy("pomo", env)
    padded = collate([instances(problem, 7, 1, seed=1), instances(problem, 5, 1, seed=2)])
    agree(env, policy, padded, 7, starts=True)
    agree(env, policy, instances(problem, 20, 1, seed=3), 20, starts=True)


@NEEDS_TRITON
@pytest.mark.parametrize("env", [tsp, cvrp], ids=["tsp", "cvrp"])
def test_the_first_choice_can_be_the_policys(env: Environment) -> None:
    """The Attention Model starts a tour from a learned placeholder, and has no pointer bias."""
    problem = "cvrp" if env.has_depot else "tsp"
    agree(env, attention_model(env), instances(problem, 5, 1, seed=4), 1, starts=False)


@NEEDS_TRITON
@pytest.mark.parametrize("name", ["vrpb", "ovrpl", "vrpmbtw", "mdvrpbltw"])
def test_every_resource_keeps_its_rule(name: str) -> None:
    """Where limits bind; with what is neutral left out."""
    env = environments[name]
    policy = small_policy("routefinder", env)
    agree(env, policy, small(variant_by_name(name), 5, 1, seed=5), 3, starts=True)


@NEEDS_TRITON
def test_rules_for_all_variants_on_a_batch_of_some() -> None:
    """Resources that are neutral for the batch show constant features; instances with one depot
    and with two go together, and trajectories choose their first depot."""
    policy = small_policy("routefinder film", multi_task)
    agree(multi_task, policy, small(variant_by_name("cvrp"), 4, 1, seed=6), 2, starts=True)
    pair = [small(variant_by_name(name), 4, 1, seed=7) for name in ("ovrptw", "mdovrpmbl")]
    agree(multi_task, policy, collate(pair), 2, starts=False)


@NEEDS_TRITON
def test_draws_have_the_probabilities_of_the_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chi-square over whole trajectories, with `log_likelihood` as the oracle; all are feasible."""
    one_program(monkeypatch)
    instance = instances("cvrp", 3, 1, seed=8)
    policy = small_policy("pomo", cvrp)
    drawn = run(cvrp, policy, instance, Sampling(), 4096, kernel="triton", starts=False)
    again = run(cvrp, policy, instance, Sampling(), 4096, kernel="triton", starts=False)
    assert torch.equal(drawn.actions, again.actions)
    kinds, counts = drawn.actions[0].unique(dim=0, return_counts=True)
    each = Trajectory(kinds.unsqueeze(0), kinds.new_zeros(1, len(kinds)).float(), 0, None)
    with torch.no_grad():
        likelihood = log_likelihood(policy, cvrp, instance.to(DEVICE), each)
    expected = likelihood[0].double().exp().cpu() * 4096
    counts = counts.cpu().double()
    often = expected >= 5
    rest = torch.tensor([4096 - counts[often].sum(), 4096 - expected[often].sum()])
    assert float(rest[1]) < 100
    assert len(kinds) > 6
    found = torch.cat((counts[often], rest[:1]))
    wanted = torch.cat((expected[often], rest[1:]))
    assert chisquare(found.numpy(), wanted.numpy()).pvalue > 1e-3
    costs = cvrp.cost(instance, kinds.cpu().unsqueeze(0))[0]
    for actions, cost in zip(kinds.cpu(), costs.tolist(), strict=True):
        report = check_routes(instance, *routes_from_actions(instance, actions))
        assert report.feasible
        assert report.cost == pytest.approx(cost, rel=1e-5)


@NEEDS_TRITON
def test_temperature_sharpens_the_first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first choice's shares are the softmax of the scores divided by the temperature."""
    one_program(monkeypatch)
    instance = instances("cvrp", 3, 1, seed=9).to(DEVICE)
    policy = small_policy("pomo", cvrp).to(DEVICE)
    drawn = run(cvrp, policy, instance, Sampling(0.5), 4096, kernel="triton", starts=False, seed=1)
    with torch.no_grad():
        seen = cvrp.observe(cvrp.reset(instance, 1))
        logits = policy.logits(policy.encode(instance), seen)
    wanted = (2 * logits + mask_bias(seen.mask, logits.dtype)).softmax(2)[0, 0]
    share = drawn.actions[0, :, 0].bincount(minlength=4) / 4096
    torch.testing.assert_close(share, wanted, atol=0.025, rtol=0)
    assert float(share[0]) == 0


@NEEDS_TRITON
def test_draws_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are those of different trajectories or steps the same."""
    policy = small_policy("pomo", tsp)
    instance = instances("tsp", 5, 1, seed=10)
    together = run(tsp, policy, instance, Sampling(), 20, kernel="triton", starts=True)
    monkeypatch.setattr("nco.fused_rollout.MOST_TRAJECTORIES", 16)
    apart = run(tsp, policy, instance, Sampling(), 20, kernel="triton", starts=True)
    assert torch.equal(together.actions, apart.actions)
    assert len(together.actions[0].unique(dim=0)) > 10
    other = run(tsp, policy, instance, Sampling(), 20, kernel="triton", starts=True, seed=1)
    assert not torch.equal(together.actions, other.actions)


def one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the interpreter, which runs programs one after another."""
    if DEVICE == "cpu":
        monkeypatch.setattr("nco.fused_rollout.MOST_TRAJECTORIES", 4096)
        monkeypatch.setattr("nco.fused_rollout.MOST_ENTRIES", 4096 * 16)


@final
@dataclass(frozen=True)
class Last:
    """A strategy that the kernel does not know."""

    def __call__(
        self,
        logits: Float[Tensor, "batch trajectory node"],
        mask: Bool[Tensor, "batch trajectory node"],
        generator: torch.Generator | None,
    ) -> Tensor:
        return mask.int().flip(2).argmax(2).neg() + mask.shape[2] - 1


@NEEDS_TRITON
@pytest.mark.parametrize(
    ("name", "strategy", "size", "words"),
    [
        ("pomo", Sampling(top_k=2), 5, "top_k"),
        ("pomo", Last(), 5, "Last"),
        ("pomo", Greedy(), 300, "301 nodes"),
        ("routefinder reld", Greedy(), 5, "no plain pointer"),
        ("pomo noisy-top-k", Greedy(), 5, "no plain pointer"),
        ("pomo soft-merging", Greedy(), 5, None),
    ],
)
def test_what_the_kernel_cannot_do_is_refused_by_name(
    name: str, strategy: Strategy, size: int, words: str | None
) -> None:
    """Asked for it is an error; left to choose, the plain path runs."""
    instance = instances("cvrp", size, 1).to(DEVICE)
    policy = small_policy(name, multi_task).to(DEVICE)
    device = torch.device(DEVICE)
    reason = why_not_fused(multi_task, policy, instance.num_nodes, device, strategy)
    if words is None:
        assert reason is None
        return
    assert reason is not None
    assert words in reason
    with pytest.raises(InputError, match=words):
        rollout(multi_task, policy, instance, strategy, kernel="triton")
    if size < 10:
        rollout(multi_task, policy, instance, strategy)


def test_without_a_gpu_the_plain_path_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the kernel is refused where it is not being interpreted."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    instance = instances("cvrp", 5, 1)
    policy = small_policy("pomo", cvrp)
    plain = rollout(cvrp, policy, instance, Greedy(), kernel="plain")
    assert torch.equal(rollout(cvrp, policy, instance, Greedy()).actions, plain.actions)
    with pytest.raises(InputError, match="device is cpu; accepted: cuda"):
        rollout(cvrp, policy, instance, Greedy(), kernel="triton")
