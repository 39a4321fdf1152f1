"""Pieces side by side: the same results as one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from nco.data.multi_task import multi_task_instances
from nco.envs.variants import multi_task
from nco.likelihood import policy_gradient
from nco.rollout import rollout
from nco.strategies import Sampling
from nco.threads import map_in_order
from tests.policies import small_policy

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_results_come_in_the_order_of_the_items() -> None:
    """Also where a later one ends first; two threads work, each with one of torch's, and the
    caller keeps its own number and its gradient mode."""
    seen = set()

    def slow(item: int) -> tuple[int, int, bool]:
        seen.add(threading.get_ident())
        time.sleep(0.02 * (3 - item))
        return item, torch.get_num_threads(), torch.is_grad_enabled()

    with torch.no_grad():
        assert list(map_in_order(slow, range(3), CPU)) == [(i, 1, False) for i in range(3)]
    assert len(seen) == 2
    assert torch.get_num_threads() == 2
    assert list(map_in_order(slow, range(1), CPU)) == [(0, 2, True)]


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_piece_reaches_the_caller() -> None:
    """And the pool works on."""

    def fail(item: int) -> int:
        if item == 1:
            raise ValueError("broken")
        return item

    with pytest.raises(ValueError, match="broken"):
        list(map_in_order(fail, range(3), CPU))
    assert list(map_in_order(lambda item: item, range(3), CPU)) == [0, 1, 2]


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_changes_no_bit() -> None:
    """Draws, costs, likelihoods and gradients of pieces, by one thread and by two."""
    policy = small_policy("pomo noisy-top-k", multi_task)
    batch = multi_task_instances(6, 8, torch.Generator().manual_seed(0))
    found = []
    for threads in (1, 2):
        # large products may be rounded differently by two threads; nothing else may
        torch.set_num_threads(1)
        encoding = policy.encode(batch, torch.Generator().manual_seed(1))
        torch.set_num_threads(threads)
        trajectory = rollout(
            multi_task, policy, batch, Sampling(), num_trajectories=4, record=True,
            generator=torch.Generator().manual_seed(2), encoding=encoding, memory=1.0,
        )  # fmt: skip
        weights = trajectory.costs - trajectory.costs.mean(1, keepdim=True)
        loss, scores = policy_gradient(
            policy, multi_task, batch, trajectory, weights, encoding=encoding, budget=500.0
        )
        policy.zero_grad()
        torch.set_num_threads(1)
        loss.backward()
        grads = [p.grad for p in policy.parameters() if p.grad is not None]
        found.append([trajectory.actions, trajectory.costs, scores, *grads])
    assert len(found[0]) == len(found[1]) > 10
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)
