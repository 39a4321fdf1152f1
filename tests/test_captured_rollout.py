"""A step that is captured and repeated gives what the plain loop gives.

On a CPU the repeated work is called eagerly, over the same fixed buffers as a CUDA graph's; that
the work can be captured is shown on tensors that have a device and a shape but no numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nco.buffers import leaves, mapped
from nco.build import build_policy
from nco.capture import Capture, CUDAGraphReplay, EagerReplay
from nco.captured_rollout import CapturedRollouts, CapturedStep
from nco.data.batching import collate
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import variant_by_name
from nco.envs.environment import Environment
from nco.envs.variants import cvrp, environments, multi_task, tsp
from nco.episode import Actor
from nco.models.policy import Policy
from nco.policy_config import AttentionModelConfig
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling, Strategy
from tests.draws import seeded
from tests.multi_task import small
from tests.policies import small_policy
from tests.small import instances


def attention_model(env: Environment) -> Policy:
    """A small one, which chooses its first node itself."""
    config = AttentionModelConfig(
        type="attention_model", dim=16, num_heads=2, num_layers=1, hidden=24
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_policy(config, env).eval()


def padded(problem: str) -> Instance:
    """Two sizes in one batch."""
    return collate([instances(problem, 9, 2, seed=1), instances(problem, 6, 2, seed=2)])


def mixed() -> Instance:
    """Variants with windows, limits, backhauls, open routes, one depot and two, and padding."""
    names = ("cvrp", "ovrptw", "mdovrpmbl", "vrpbltw", "mdvrpbltw")
    return collate([small(variant_by_name(n), 5 + i, 1, seed=7) for i, n in enumerate(names)])


CASES: dict[str, tuple[Environment, Callable[[], Instance], Callable[[Environment], Policy]]] = {
    "tsp pomo": (tsp, lambda: instances("tsp", 12, 3), lambda env: small_policy("pomo", env)),
    "tsp padded attention model": (tsp, lambda: padded("tsp"), attention_model),
    "cvrp padded pomo": (cvrp, lambda: padded("cvrp"), lambda env: small_policy("pomo", env)),
    "cvrp attention model": (cvrp, lambda: instances("cvrp", 12, 3), attention_model),
    **{
        f"mixed {name}": (multi_task, mixed, lambda env, name=name: small_policy(name, env))
        for name in (
            "pomo noisy-top-k",
            "pomo hierarchical",
            "routefinder shared-sigmoid",
            "routefinder reld",
        )
    },
    "plain cvrp by the rules for all": (
        multi_task,
        lambda: small(variant_by_name("cvrp"), 6, 3, seed=4),
        lambda env: small_policy("routefinder film", env),
    ),
}
"""Environment, instances and policy: padding, early ends, neutral resources, steps of all kinds."""


def run(
    case: str,
    strategy: Strategy,
    captured: CapturedRollouts | bool,
    *,
    starts: bool,
    device: str = "cpu",
    seed: int = 3,
) -> Trajectory:
    """Five recorded trajectories of each instance."""
    env, make, policy = CASES[case]
    instance = make().to(device)
    return rollout(
        env, policy(env).to(device), instance, strategy, num_trajectories=5,
        starts=env.start_actions(instance, 5) if starts else None,
        generator=torch.Generator(device).manual_seed(seed), record=True, captured=captured,
    )  # fmt: skip


def agree(captured: Trajectory, plain: Trajectory) -> None:
    """Equal to the bit, but that the captured ones may wait at their end for some steps more."""
    steps = plain.actions.shape[2]
    assert torch.equal(captured.actions[:, :, :steps], plain.actions)
    waiting = captured.actions[:, :, steps:]
    assert 0 <= waiting.shape[2] < 8
    assert torch.equal(waiting, plain.actions[:, :, -1:].expand_as(waiting))
    torch.testing.assert_close(captured.costs, plain.costs)
    assert captured.num_forced == plain.num_forced
    assert captured.decisions is not None
    assert plain.decisions is not None
    assert captured.decisions.unstarted == plain.decisions.unstarted
    for name in ("current", "first", "features", "mask", "action"):
        value = getattr(plain.decisions, name)
        assert torch.equal(getattr(captured.decisions, name)[: len(value)], value), name
    assert captured.decisions.mask[steps - plain.num_forced :].sum(3).eq(1).all()
    assert captured.usage.keys() == plain.usage.keys()
    for name, used in plain.usage.items():
        torch.testing.assert_close(captured.usage[name], used)


@pytest.mark.parametrize("starts", [True, False], ids=["starts", "free"])
@pytest.mark.parametrize("strategy", [Greedy(), Sampling(0.8, top_k=7, top_p=0.95)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_repeating_a_step_over_fixed_buffers_is_the_plain_loop(
    case: str, strategy: Strategy, starts: bool
) -> None:
    """Actions, costs, decisions and usage of experts; draws in the same order."""
    captured = run(case, strategy, CapturedRollouts(EagerReplay()), starts=starts)
    agree(captured, run(case, strategy, False, starts=starts))
