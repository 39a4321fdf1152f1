"""Decoding many times and keeping the best, in chunks."""

from __future__ import annotations

import pytest
import torch

from nco.data.batching import collate, replace, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding
from nco.data.multi_task import multi_task_instances
from nco.decode import decode
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.environment import Observation
from nco.envs.symmetries import augmented
from nco.envs.variants import cvrp, multi_task, tsp
from nco.models.policy import Encoding, Policy, Scores
from nco.models.pomo import POMO
from nco.rollout import rollout
from nco.strategies import Greedy, Sampling
from tests.multi_task import TIGHT
from tests.policies import small_policy
from tests.small import instances


def small(problem: str) -> Policy:
    """A small random policy in eval mode."""
    torch.manual_seed(0)
    env = tsp if problem == "tsp" else cvrp
    return POMO(env, dim=32, num_heads=4, num_layers=2, hidden=64).eval()


def test_augmentation_keeps_lengths_and_makes_eight_different_views() -> None:
    """The 8 symmetries of the square are isometries, and no two are the same."""
    batch = instances("tsp", 6, 2)
    views = [augmented(batch, i).coords for i in range(8)]
    for view in views:
        assert view is not None
        assert batch.coords is not None
        torch.testing.assert_close(torch.cdist(view, view), torch.cdist(batch.coords, batch.coords))
        assert float(view.min()) >= 0
        assert float(view.max()) <= 1
    for i in range(8):
        for j in range(i):
            assert not torch.allclose(views[i], views[j])  # type: ignore[arg-type]


@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_the_best_of_all_is_kept_whatever_the_chunks(problem: str) -> None:
    """Costs are those of the checker, the minimum over starts and copies, for any memory."""
    env = tsp if problem == "tsp" else cvrp
    policy = small(problem)
    batch = collate([instances(problem, 9, 3, seed=1), instances(problem, 6, 2, seed=2)])
    found = decode(env, policy, batch, augment=8)
    lowest = torch.full((5,), torch.inf)
    starts = env.start_actions(batch, 9)
    for index in range(8):
        encoding = policy.encode(augmented(batch, index))
        run = rollout(
            env, policy, batch, Greedy(), num_trajectories=9, starts=starts, encoding=encoding
        )
        lowest = torch.minimum(lowest, run.costs.min(1).values)
    torch.testing.assert_close(found.costs, lowest)
    for i, one in enumerate(unbatch(batch)):
        routes, depots = routes_from_actions(one, found.actions[i])
        report = check_routes(one, routes, depots)
        assert report.feasible, report.violations
        assert float(found.costs[i]) == pytest.approx(report.cost, rel=1e-5)
    for memory in (1e3, 1e4, 1e9):
        other = decode(env, policy, batch, augment=8, memory=memory)
        torch.testing.assert_close(other.costs, found.costs)


def test_decoding_mixed_variants_does_not_depend_on_the_chunks() -> None:
    """Instances with one depot begin by staying there only beside such with several: the best of
    all starts is the same alone, and the checker's cost is the same."""
    policy = small_policy("pomo", multi_task)
    batch = multi_task_instances(6, 6, torch.Generator().manual_seed(1), tightness=TIGHT)
    assert 0 < int((batch.num_depots > 1).sum()) < 6
    found = decode(multi_task, policy, batch, memory=1e9)
    torch.testing.assert_close(decode(multi_task, policy, batch, memory=1e3).costs, found.costs)
    for one, actions, cost in zip(unbatch(batch), found.actions, found.costs, strict=True):
        report = check_routes(one, *routes_from_actions(one, actions))
        assert report.feasible, report.violations
        assert float(cost) == pytest.approx(report.cost, rel=1e-5)


def test_a_single_instance_is_cut_to_the_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step sees more trajectories than fit, and the best of all is still found."""
    policy, batch = small("cvrp"), instances("cvrp", 9, 2)
    expected = decode(cvrp, policy, batch, memory=1e9).costs
    seen: list[int] = []
    scores = policy.scores

    def counted(encoding: Encoding, observation: Observation) -> Scores:
        seen.append(observation.current.numel())
        return scores(encoding, observation)

    monkeypatch.setattr(policy, "scores", counted)
    # 10 nodes, 8 heads and 4 bytes: 320 a trajectory
    found = decode(cvrp, policy, batch, memory=4 * 320.0, kernel="plain")
    assert max(seen) == 3  # 9 starts in even shares of at most 4
    torch.testing.assert_close(found.costs, expected)


def test_more_copies_and_starts_never_cost_more() -> None:
    """Single start >= all starts >= all starts in 8 positions, instance by instance."""
    policy, batch = small("cvrp"), instances("cvrp", 12, 16)
    one = decode(cvrp, policy, batch, multi_start=False).costs
    starts = decode(cvrp, policy, batch).costs
    copies = decode(cvrp, policy, batch, augment=8).costs
    assert bool((copies <= starts + 1e-5).all())
    assert float(copies.mean()) < float(starts.mean()) < float(one.mean())


def test_costs_are_those_of_the_instance_and_not_of_what_the_policy_saw() -> None:
    """Rounding and a matrix count although the policy sees coordinates in the unit square."""
    policy = small("tsp")
    coords = torch.randint(0, 100, (1, 7, 2), generator=torch.Generator().manual_seed(0))
    rounded = Instance.tsp(coords=coords, rounding=Rounding.NEAREST)
    cost = decode(tsp, policy, rounded, augment=8).costs
    assert float(cost) == round(float(cost))
    plain = Instance.tsp(coords=coords)
    ones = torch.ones(1, 7, 7) - torch.eye(7)
    matrix = replace(plain, {"distance": ones.to(plain.dtype)})
    assert float(decode(tsp, policy, matrix, augment=8).costs) == 7


def test_sampling_repeats_with_its_seed() -> None:
    """Same generator, same solutions; another one, others."""
    policy, batch = small("cvrp"), instances("cvrp", 10, 4)

    def run(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return decode(
            cvrp, policy, batch, strategy=Sampling(), samples=3, generator=generator
        ).actions

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_a_short_time_limit_still_gives_complete_solutions() -> None:
    """The first pass is always completed; the copies after it are left out."""
    policy, batch = small("cvrp"), instances("cvrp", 10, 4)
    hurried = decode(cvrp, policy, batch, augment=8, time_limit=1e-9)
    torch.testing.assert_close(hurried.costs, decode(cvrp, policy, batch, augment=1).costs)


def test_arguments_out_of_range_are_refused() -> None:
    """The message names the argument and what is accepted."""
    policy, batch = small("tsp"), instances("tsp", 5, 1)
    with pytest.raises(InputError, match="augment is 4; accepted: 1 or 8"):
        decode(tsp, policy, batch, augment=4)
    with pytest.raises(InputError, match="samples"):
        decode(tsp, policy, batch, samples=0)
    with pytest.raises(InputError, match="trajectories"):
        rollout(
            tsp, policy, batch, Greedy(), num_trajectories=2, starts=torch.zeros(1, 3, 1).long()
        )
