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
from nco.envs.variants import cvrp, multi_task, tsp
from nco.episode import Actor
from nco.models.policy import Policy
from nco.policy_config import AttentionModelConfig
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling, Strategy
from tests.draws import seeded
from tests.multi_task import small
from tests.no_device import meta, on_no_device
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


def play(
    env: Environment,
    policy: Policy,
    instance: Instance,
    strategy: Strategy,
    captured: CapturedRollouts | None,
    *,
    starts: bool = True,
    seed: int = 3,
) -> Trajectory:
    """Five recorded trajectories of each instance."""
    return rollout(
        env, policy, instance, strategy, num_trajectories=5,
        starts=env.start_actions(instance, 5) if starts else None,
        generator=torch.Generator(instance.valid.device).manual_seed(seed), record=True,
        kernel=captured or "plain",
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


@final
class Recorder(TorchDispatchMode):
    """Writes down the operations that are done, and does them again into the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out

    def again(self) -> None:
        """Once more, without the Python between the operations."""
        with torch.no_grad():
            for func, args, kwargs, out in self.done:
                new = func(*args, **kwargs)
                pairs = zip(out, new, strict=True) if isinstance(out, tuple) else [(out, new)]
                for old, value in pairs:
                    # not for views and for what is done in place
                    if isinstance(old, Tensor) and old.data_ptr() != value.data_ptr():
                        old.copy_(value)


@final
class RecordedOperations(Capture):
    """What a CUDA graph does, on a CPU: neither sees anything but tensor operations."""

    def repeatable(
        self, work: Callable[[], None], generator: torch.Generator | None
    ) -> Callable[[], None]:
        recorder = Recorder()
        with recorder:
            work()
        return recorder.again


@pytest.mark.parametrize("starts", [True, False], ids=["starts", "free"])
@pytest.mark.parametrize("strategy", [Greedy(), Sampling(0.8, top_k=7, top_p=0.95)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_repeating_a_step_over_fixed_buffers_is_the_plain_loop(
    case: str, strategy: Strategy, starts: bool
) -> None:
    """Actions, costs, decisions and usage of experts; draws in the same order."""
    env, make, policy_for = CASES[case]
    policy, instance = policy_for(env), make()
    plain = play(env, policy, instance, strategy, None, starts=starts)
    for capture in (EagerReplay(), RecordedOperations()):
        kept = CapturedRollouts(capture)
        agree(play(env, policy, instance, strategy, kept, starts=starts), plain)


@pytest.mark.parametrize("strategy", [Greedy(), Sampling(0.8, top_k=7, top_p=0.95)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_step_can_be_captured(case: str, strategy: Strategy) -> None:
    """It waits for nothing, copies nothing and looks at no number, with what is recorded."""
    env, make, policy_for = CASES[case]
    policy, instance = policy_for(env), make()
    state = env.reset(instance, 5)
    for action in env.start_actions(instance, 5).unbind(2):
        state = env.step(state, action)
    with torch.no_grad():
        tables = policy.encode(instance)
    actor = Actor(env, policy.to("meta"), strategy, record=True)
    step = CapturedStep(
        actor, mapped(tables, meta), mapped(state, meta), room=6, generator=None,
        capture=EagerReplay(),
    )  # fmt: skip
    assert {leaf.device.type for leaf in leaves((step.state, step.encoding))} == {"meta"}
    on_no_device(step.work)


@pytest.mark.parametrize(
    "work",
    [
        lambda x: bool(x.any()),
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x + torch.ones(5),
        lambda x: x * torch.tensor(2.0, device=x.device),
        lambda x: torch.arange(5).to(x.device),
        lambda x: x[[0, 1]],
        lambda x: x.unique(),
    ],
)
def test_what_cannot_be_captured_is_noticed(work: Callable[[Tensor], object]) -> None:
    """The test above can fail."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        on_no_device(lambda: work(torch.ones(5, device="meta")))


@final
class Counted(Capture):
    """Counts what is captured."""

    def __init__(self) -> None:
        self.count = 0

    def repeatable(
        self, work: Callable[[], None], generator: torch.Generator | None
    ) -> Callable[[], None]:
        self.count += 1
        return RecordedOperations().repeatable(work, generator)


def test_the_next_batch_takes_what_was_captured() -> None:
    """Other instances, other draws, and weights after a step of an optimiser; new weights in
    another place, other shapes or other neutral resources are captured again."""
    counted = Counted()
    kept = CapturedRollouts(counted)
    policy = small_policy("pomo noisy-top-k", multi_task)

    def both(instance: Instance, seed: int, count: int = 4) -> None:
        plain, captured = (
            rollout(
                multi_task, policy, instance, Sampling(), num_trajectories=count, record=True,
                generator=seeded(seed), kernel=way or "plain",
            )
            for way in (None, kept)
        )  # fmt: skip
        agree(captured, plain)

    windows = [small(variant_by_name("vrptw"), 6, 3, seed=s) for s in range(3)]
    both(windows[0], 1)
    both(windows[1], 2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.1)
    both(windows[2], 3)
    assert counted.count == 1
    both(windows[0], 4, count=3)
    assert counted.count == 2
    both(small(variant_by_name("vrpl"), 6, 3, seed=4), 5)
    assert counted.count == 3
    # still alive, so the new ones lie elsewhere
    before = [parameter.data for parameter in policy.parameters()]
    policy.double().float()
    assert before[0].data_ptr() != next(policy.parameters()).data_ptr()
    both(small(variant_by_name("vrpl"), 6, 3, seed=5), 6)
    assert counted.count == 4
    # two are kept, and this one went first
    both(windows[0], 7)
    assert counted.count == 5


def test_chunks_of_a_batch_share_one_capture() -> None:
    """They go one after the other; and with threads, each at a time has its own."""
    instance = instances("cvrp", 10, 6, seed=3)
    policy = small_policy("pomo", cvrp)
    counted = Counted()
    captured, plain = (
        rollout(
            cvrp, policy, instance, Sampling(), num_trajectories=3, generator=seeded(1),
            memory=8.0 * 4 * 11 * 3 * 2, kernel=way or "plain",
        )
        for way in (CapturedRollouts(counted), None)
    )  # fmt: skip
    # chunks are of different lengths, and a shorter one waits
    steps = plain.actions.shape[2]
    assert torch.equal(captured.actions[:, :, :steps], plain.actions)
    torch.testing.assert_close(captured.costs, plain.costs)
    assert counted.count <= torch.get_num_threads()


def test_the_callers_generator_goes_on_where_the_draws_ended() -> None:
    """Two rollouts in a row draw different numbers."""
    policy, generator = small_policy("pomo", tsp), seeded(5)
    instance = instances("tsp", 10, 2)
    drawn = [
        rollout(
            tsp,
            policy,
            instance,
            Sampling(),
            num_trajectories=4,
            generator=generator,
            kernel=way or "plain",
        ).actions
        for way in (CapturedRollouts(EagerReplay()), None)
    ]
    generator.manual_seed(5)
    for found in drawn:
        plain = rollout(
            tsp, policy, instance, Sampling(), num_trajectories=4, generator=generator,
            kernel="plain",
        )  # fmt: skip
        assert torch.equal(found, plain.actions)
    assert not torch.equal(*drawn)


def test_a_graph_is_refused_without_a_gpu() -> None:
    policy = small_policy("pomo", tsp)
    with pytest.raises(InputError, match="kernel is captured, but the device is cpu"):
        rollout(tsp, policy, instances("tsp", 5, 1), Greedy(), kernel="captured")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("strategy", [Greedy(), Sampling(0.8)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_cuda_graph_gives_what_the_plain_loop_gives(case: str, strategy: Strategy) -> None:
    """For the first batch, which is captured, and for the next, which is only replayed. Both paths
    run the same kernels, so draws are the same too."""
    env, make, policy_for = CASES[case]
    policy, instance = policy_for(env).cuda(), make().cuda()
    kept = CapturedRollouts(CUDAGraphReplay(torch.device("cuda")))
    for seed in (3, 4):
        captured = play(env, policy, instance, strategy, kept, seed=seed)
        agree(captured, play(env, policy, instance, strategy, None, seed=seed))
