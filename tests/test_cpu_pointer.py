"""The CPU's kernels against the plain path, which is the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import no_type_check

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from nco.cpu_kernel import choose
from nco.cpu_pointer import PointerChooser, compile_choices
from nco.cpu_vectors import LANES, exp, load, store, tanh
from nco.data.batching import collate
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import variant_by_name
from nco.envs.environment import Environment
from nco.envs.variants import cvrp, multi_task, tsp
from nco.likelihood import log_likelihood, policy_gradient
from nco.models.attention_model import AttentionModel
from nco.models.policy import Policy
from nco.models.pomo import POMO
from nco.rollout import Trajectory, pieces, rollout
from nco.strategies import Greedy, Sampling
from tests.multi_task import small
from tests.policies import small_policy
from tests.small import instances


def mixed(problem: str) -> Instance:
    """Padded: the last nodes of some instances are none, and some trajectories end before others.
    16, 17 and 18 nodes: just one vector, and a little more."""
    return collate([instances(problem, n, 2, seed=n) for n in (15, 16, 17, 18)])


def variants() -> Instance:
    """Windows, limits, backhauls of both kinds, open routes, one depot and several."""
    names = ("vrptw", "ovrpbl", "vrpmb", "mdovrpbltw", "mdvrpl")
    return collate([small(variant_by_name(name), 8, 2, seed=3) for name in names])


def wide(env: Environment) -> Policy:
    """Heads of 24 numbers, which is no whole number of vectors, and three of them."""
    torch.manual_seed(1)
    return POMO(env, dim=72, num_heads=3, num_layers=1, hidden=32).eval()


def attention_model(env: Environment) -> Policy:
    """Chooses the first node of a tour by itself, from a query of its own."""
    torch.manual_seed(2)
    return AttentionModel(env, dim=64, num_heads=4, num_layers=1, hidden=32).eval()


CASES: dict[str, tuple[Environment, Callable[[], Instance], Callable[[Environment], Policy]]] = {
    "tsp pomo": (tsp, lambda: mixed("tsp"), lambda env: small_policy("pomo", env)),
    "tsp wide": (tsp, lambda: mixed("tsp"), wide),
    "tsp am": (tsp, lambda: mixed("tsp"), attention_model),
    "cvrp pomo": (cvrp, lambda: mixed("cvrp"), lambda env: small_policy("pomo", env)),
    "cvrp am": (cvrp, lambda: mixed("cvrp"), attention_model),
    "variants pomo": (multi_task, variants, lambda env: small_policy("pomo", env)),
    "variants wide": (multi_task, variants, wide),
    "variants routefinder": (multi_task, variants, lambda env: small_policy("routefinder", env)),
    "variants merged": (
        multi_task, variants, lambda env: small_policy("pomo soft-merging", env),
    ),
    "variants by attribute": (
        multi_task, variants, lambda env: small_policy("pomo attribute", env),
    ),
    "tsp travel": (tsp, lambda: mixed("tsp"), lambda env: small_policy("pomo travel", env)),
    "variants travel": (multi_task, variants, lambda env: small_policy("pomo travel", env)),
    "tsp rrnco": (tsp, lambda: mixed("tsp"), lambda env: small_policy("rrnco", env)),
    "variants rrnco": (multi_task, variants, lambda env: small_policy("rrnco", env)),
}  # fmt: skip
BOTH = ("cpu", "plain")


def starts_of(case: str, env: Environment, instance: Instance, count: int) -> Tensor | None:
    """None where the policy chooses the first node."""
    return None if case.endswith("am") else env.start_actions(instance, count)


@pytest.mark.parametrize("case", CASES)
def test_greedy_choices_are_those_of_the_plain_path(case: str) -> None:
    """And everything that is recorded on the way."""
    env, make, policy_for = CASES[case]
    instance, policy = make(), policy_for(env)
    ours, plain = (
        rollout(
            env, policy, instance, Greedy(), num_trajectories=6, record=True, kernel=kernel,
            starts=starts_of(case, env, instance, 6),
        )
        for kernel in BOTH
    )  # fmt: skip
    assert torch.equal(ours.actions, plain.actions)
    assert torch.equal(ours.costs, plain.costs)
    assert ours.decisions is not None
    assert plain.decisions is not None
    assert torch.equal(ours.decisions.mask, plain.decisions.mask)
    assert torch.equal(ours.decisions.features, plain.decisions.features)


def gradient(policy: Policy, loss: Tensor) -> Tensor:
    """Of all parameters, as one vector."""
    policy.zero_grad()
    loss.backward()
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in policy.parameters()]
    )


def close(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the length: before an instance norm, entries vanish but for rounding."""
    assert float((found - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.parametrize("case", CASES)
def test_likelihoods_and_gradients_are_those_of_the_plain_path(case: str) -> None:
    """For every parameter, in one pass with known weights and through the graph."""
    env, make, policy_for = CASES[case]
    instance, policy = make(), policy_for(env).train()
    trajectory: Trajectory = rollout(
        env, policy, instance, Sampling(), num_trajectories=6, record=True,
        starts=starts_of(case, env, instance, 6), generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    weights = torch.randn(trajectory.costs.shape, generator=torch.Generator().manual_seed(2))
    expected = log_likelihood(policy, env, instance, trajectory, kernel="plain")
    expected_gradient = gradient(policy, (weights * expected).sum())
    found = log_likelihood(policy, env, instance, trajectory, kernel="cpu")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    close(gradient(policy, (weights * found).sum()), expected_gradient)
    loss, scores = policy_gradient(policy, env, instance, trajectory, weights, kernel="cpu")
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    close(gradient(policy, loss), expected_gradient)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_draws_have_the_probabilities_of_the_softmax(temperature: float) -> None:
    """Each node's share of 20,000 draws from one state is within four standard errors."""
    instance, policy, count = instances("cvrp", 19, 1), small_policy("pomo", cvrp), 20_000
    with torch.no_grad():
        encoding = policy.encode(instance)
        state = cvrp.step(cvrp.reset(instance, count), torch.full((1, count), 3))
        seen = cvrp.observe(state)
        logits = policy.logits(encoding, seen)[0, 0].double() / temperature
    chance = logits.masked_fill(~seen.mask[0, 0], -torch.inf).softmax(0)
    choose = PointerChooser(encoding, 10.0, Sampling(temperature))
    drawn = choose(seen, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn[0], minlength=20) / count
    error = (chance * (1 - chance) / count).sqrt()
    # and one draw more, for nodes that hardly ever come
    assert bool(((share - chance).abs() <= 4 * error + 1 / count).all())
    assert float(chance.max()) < 0.95


def test_a_draw_changes_where_the_summed_probabilities_cross_the_number() -> None:
    """The same numbers give the draws of the plain path, but for rounding."""
    instance, policy = instances("tsp", 30, 4), small_policy("pomo", tsp)
    drawn = [
        rollout(
            tsp, policy, instance, Sampling(), num_trajectories=8, kernel=kernel,
            starts=tsp.start_actions(instance, 8), generator=torch.Generator().manual_seed(5),
        ).actions
        for kernel in BOTH
    ]  # fmt: skip
    assert float((drawn[0] == drawn[1]).float().mean()) > 0.9
    assert not torch.equal(drawn[0][:, 0], drawn[0][:, 1])


@pytest.mark.parametrize(
    ("count", "trajectories", "rows"), [(7, 5, 12), (1, 10, 1024), (3, 3, 1), (64, 50, 1024)]
)
def test_pieces_cover_every_instance_once(count: int, trajectories: int, rows: int) -> None:
    """In even shares, each within the limit unless one instance is more."""
    covered = torch.zeros(count)
    plan = pieces(count, trajectories, rows)
    for piece in plan:
        covered[piece] += 1
    assert bool((covered == 1).all())
    sizes = [trajectories * (piece.stop - piece.start) for piece in plan]
    assert max(sizes) <= max(rows, trajectories)
    assert max(sizes) - min(sizes) < len(plan) * trajectories


def test_what_the_kernels_cannot_do_is_refused_by_name_and_left_to_the_plain_path() -> None:
    instance = instances("cvrp", 6, 2)
    experts, pointer = small_policy("pomo noisy-top-k", cvrp), small_policy("pomo", cvrp)
    with pytest.raises(InputError, match="kernel is cpu, but the policy's decoder is no plain"):
        rollout(cvrp, experts, instance, Greedy(), kernel="cpu")
    rollout(cvrp, experts, instance, Greedy())
    few = Sampling(top_k=2)
    with pytest.raises(InputError, match="kernel is cpu, but the strategy has top_k or top_p"):
        rollout(cvrp, pointer, instance, few, kernel="cpu")
    rollout(cvrp, pointer, instance, few)
    many = instances("tsp", 2001, 1)
    with pytest.raises(InputError, match="2001 nodes; accepted: at most 2000"):
        rollout(tsp, small_policy("pomo", tsp), many, Greedy(), kernel="cpu")


def test_the_functions_of_a_vector_are_those_of_numpy() -> None:
    """To a few units in the last place of float32, where they are used."""

    @njit
    @no_type_check
    def apply(x, of_exp, of_tanh):
        for i in range(0, len(x), LANES):
            store(of_exp, i, exp(load(x, i)))
            store(of_tanh, i, tanh(load(x, i)))

    x = -np.geomspace(1e-6, 87, 1600).astype(np.float32)
    found = np.zeros_like(x), np.zeros_like(x)
    apply(x, *found)
    np.testing.assert_allclose(found[0], np.exp(x.astype(np.float64)), rtol=5e-7 * 87)
    np.testing.assert_allclose(found[0][x > -2], np.exp(x[x > -2].astype(np.float64)), rtol=5e-7)
    np.testing.assert_allclose(found[1], np.tanh(x.astype(np.float64)), atol=2e-7)
    apply(-x, *found)
    np.testing.assert_allclose(found[1], np.tanh(-x.astype(np.float64)), atol=2e-7)


def test_what_is_loaded_beforehand_is_what_choices_use() -> None:
    """No other version is compiled for real states."""
    compile_choices()
    versions = len(choose.signatures)
    instance, policy = instances("cvrp", 7, 2), small_policy("pomo", cvrp)
    with torch.inference_mode():
        rollout(cvrp, policy, instance, Greedy(), num_trajectories=2)
    rollout(cvrp, policy, instance, Sampling(), generator=torch.Generator().manual_seed(0))
    assert len(choose.signatures) == versions


def test_mixed_precision_ends_with_the_encoder() -> None:
    """Scores made under autocast are those made without it."""
    instance, policy = instances("cvrp", 12, 3), small_policy("pomo", cvrp)
    trajectory = rollout(
        cvrp, policy, instance, Sampling(), num_trajectories=4, record=True,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    encoding = policy.encode(instance)
    scores = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            scores.append(
                log_likelihood(policy, cvrp, instance, trajectory, encoding=encoding, kernel="cpu")
            )
    assert torch.equal(*scores)
