"""What the profile counts and times, against torch's own counter and against sleeping."""

import threading
import time

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nco.build import build_policy
from nco.data.generators import generate
from nco.envs.variants import environments
from nco.policy_config import POMOConfig
from tests.benchmarks import work
from tests.benchmarks.spans import Recorder, Target

CPU = torch.device("cpu")


@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_operations_are_those_that_torch_counts(problem: str) -> None:
    """Of the encoder and of one step of the decoder; the formulas leave out what is small: node
    and context features, and the bias of the pointer."""
    env, config = environments[problem], POMOConfig(type="pomo")
    batch, size, trajectories = 2, 50, 30
    policy = build_policy(config, env).eval()
    instance = generate(
        problem, num_customers=size, batch=batch, generator=torch.Generator().manual_seed(0)
    )
    # the counter does not know the CPU's own attention
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain, FlopCounterMode(display=False) as encoding_counter:
        encoding = policy.encode(instance)
    state = env.reset(instance, trajectories)
    state = env.step(state, env.start_actions(instance, trajectories)[:, :, 0])
    with torch.no_grad(), FlopCounterMode(display=False) as step_counter:
        policy.scores(encoding, env.observe(state))
    n = instance.num_nodes
    encoder = work.encoder(config, batch, n, has_depot=env.has_depot)
    assert encoder.total == pytest.approx(encoding_counter.get_total_flops(), rel=0.007)
    decoder = work.decoder(config, batch, trajectories, n)
    assert decoder.total == pytest.approx(step_counter.get_total_flops(), rel=0.007)


class Sleeper:
    """Functions of known length, one within another."""

    def outer(self) -> str:
        time.sleep(0.02)
        return self.inner()

    def inner(self) -> str:
        time.sleep(0.04)
        return "result"


def test_own_times_leave_out_what_is_within_and_add_up() -> None:
    """The outer function's own time is its sleep; results pass through; names come back."""
    recorder = Recorder(CPU, 1)
    untouched = Sleeper.outer
    targets = [Target(Sleeper, "outer", "out"), Target(Sleeper, "inner", "in", len)]
    with recorder.around(targets):
        assert Sleeper().outer() == "result"
    assert Sleeper.outer is untouched
    own = recorder.own_seconds(recorder.spans)
    assert set(own) == {("", "out"), ("out", "in")}
    # sleeping may take longer on a busy machine, never shorter
    assert own["", "out"] >= 0.02
    assert own["out", "in"] >= 0.04
    outer, inner = recorder.spans
    assert outer.end is not None
    assert sum(own.values()) == pytest.approx(recorder.seconds(outer.begin, outer.end))
    assert (inner.result, inner.outermost) == (len("result"), outer)


def test_work_of_threads_counts_by_its_share() -> None:
    """Two threads within one span: half of each one's time, and the whole stays the span's."""
    recorder = Recorder(CPU, 2)
    with recorder.around([Target(Sleeper, "inner", "in")]), recorder.span("whole") as whole:
        threads = [threading.Thread(target=Sleeper().inner) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    own = recorder.own_seconds(recorder.spans)
    assert whole.end is not None
    seconds = recorder.seconds(whole.begin, whole.end)
    assert sum(own.values()) == pytest.approx(seconds)
    assert 0.04 <= own["whole", "in"] <= seconds
