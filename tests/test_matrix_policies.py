"""Policies that read matrices: with and without coordinates, in any order, size, padding, unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nco.data.batching import PER_ARC, PER_NODE, collate, replace, unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, duration_matrix
from nco.decode import decode
from nco.envs.environment import Environment
from nco.envs.symmetries import augmented
from nco.envs.variants import cvrp, environments, tsp, vrp_variants
from nco.likelihood import log_likelihood
from nco.models.matnet import MatNet
from nco.models.policy import Policy
from nco.models.rrnco import RRNCO, attention_free, neighbour_distances
from nco.rollout import Trajectory, rollout
from nco.strategies import Greedy, Sampling
from tests.draws import seeded
from tests.policies import small_policy
from tests.small import best_tour_length, instances

vrptw = vrp_variants["vrptw"]
ENVIRONMENTS: dict[str, Environment] = {"atsp": tsp, "acvrp": cvrp, "acvrptw": vrptw}
KINDS = ["rrnco", "rrnco reld", "matnet"]
EACH = pytest.mark.parametrize("kind", KINDS)
ALL = pytest.mark.parametrize(
    ("kind", "problem", "located"),
    [(kind, p, located) for kind in KINDS for p in ENVIRONMENTS for located in (False, True)],
)


def matrices(size: int, batch: int, seed: int) -> Tensor:
    """Asymmetric, with the triangle inequality, in some unit of length."""
    found = instances("atsp", size, batch, seed).distance
    assert found is not None
    return 3000 * found


def roads(
    problem: str, customers: int, batch: int, seed: int = 0, *, located: bool = False
) -> Instance:
    """Instances of matrices; distances and durations differ."""
    n = customers + (problem != "atsp")
    generator = seeded(seed)
    coords = torch.rand(batch, n, 2, generator=generator) * 4000 if located else None
    distance = matrices(n, batch, seed)
    if problem == "atsp":
        return Instance.tsp(distance=distance, coords=coords)
    demand = torch.randint(1, 10, (batch, n), generator=generator).float()
    demand[:, 0] = 0
    duration = matrices(n, batch, seed + 100) / 5
    early = torch.rand(batch, n, generator=generator) * 300
    late = early + 900
    early[:, 0], late[:, 0] = 0, 4000
    timed = problem == "acvrptw"
    return Instance.vrp(
        distance=distance,
        duration=duration,
        coords=coords,
        demand=demand,
        capacity=torch.full((batch,), 20.0),
        time_window=torch.stack((early, late), 2) if timed else None,
        service_time=torch.where(demand > 0, 20.0, 0.0) if timed else None,
    )


def scores(policy: Policy, instance: Instance, starts: Sequence[int] = (1,)) -> Tensor:
    """Of all nodes, from states that stand at each of some nodes, [B, S, N]."""
    env = policy.env
    state = env.reset(instance, len(starts))
    first = torch.tensor(starts).expand(instance.batch_size[0], -1)
    seen = env.observe(env.step(state, first))
    return policy.logits(policy.encode(instance), seen).detach()


def reordered(instance: Instance, order: Tensor) -> Instance:
    """The same instances with their nodes in another order."""
    changes: dict[str, Tensor | None] = {}
    for name in (*PER_NODE, *PER_ARC):
        value = getattr(instance, name)
        if value is not None:
            value = value[:, order]
            changes[name] = value[:, :, order] if name in PER_ARC else value
    return replace(instance, changes)


def soiled(instance: Instance) -> Instance:
    """The same instances with nonsense in their padding."""
    changes: dict[str, Tensor | None] = {}
    for name in PER_ARC:
        value = getattr(instance, name)
        if value is not None:
            pair = instance.valid.unsqueeze(2) & instance.valid.unsqueeze(1)
            changes[name] = torch.where(pair, value, 1e6)
    if instance.coords is not None:
        changes["coords"] = torch.where(instance.valid.unsqueeze(2), instance.coords, -7e5)
    return replace(instance, changes)


@ALL
def test_nodes_in_another_order_score_the_same(kind: str, problem: str, located: bool) -> None:
    """Permuting the customers permutes the scores; they are not all alike, or it would say
    nothing."""
    policy = small_policy(kind, ENVIRONMENTS[problem])
    batch = roads(problem, 9, 3, located=located)
    depots = int(problem != "atsp")
    order = torch.cat([torch.arange(depots), depots + torch.randperm(9, generator=seeded(1))])
    back = order.argsort().tolist()
    at = scores(policy, batch, [2, 5])
    other = scores(policy, reordered(batch, order), [back[2], back[5]])
    torch.testing.assert_close(other, at[:, :, order], rtol=1e-4, atol=1e-4)
    assert float(at.std(2).min()) > 1e-3


@ALL
def test_padding_never_matters(kind: str, problem: str, located: bool) -> None:
    """An instance among larger ones scores as it does alone, whatever lies in the padding."""
    policy = small_policy(kind, ENVIRONMENTS[problem])
    sizes = (3, 11, 6)
    batch = collate([roads(problem, n, 1, seed=n, located=located) for n in sizes])
    for padded in (batch, soiled(batch)):
        together = scores(policy, padded, [1, 2])
        for i, one in enumerate(unbatch(batch)):
            alone = scores(policy, one, [1, 2])
            torch.testing.assert_close(
                together[i, :, : one.num_nodes], alone[0], rtol=1e-4, atol=1e-4
            )


@ALL
def test_the_unit_does_not_matter(kind: str, problem: str, located: bool) -> None:
    """Metres or kilometres, seconds or hours: the scores are the same."""
    policy = small_policy(kind, ENVIRONMENTS[problem])
    batch = roads(problem, 8, 3, located=located)
    assert batch.distance is not None
    changes: dict[str, Tensor | None] = {"distance": batch.distance / 1000}
    if batch.duration is not None:
        changes["duration"] = batch.duration / 3600
        changes["time_window"] = batch.time_window / 3600
        changes["service_time"] = batch.service_time / 3600
    if batch.coords is not None:
        changes["coords"] = batch.coords / 1000
    torch.testing.assert_close(
        scores(policy, replace(batch, changes)), scores(policy, batch), rtol=1e-4, atol=1e-4
    )


@ALL
def test_the_smallest_instances_can_be_solved(kind: str, problem: str, located: bool) -> None:
    """Two nodes, three, and two in the same place; every solution of three nodes is the best."""
    env = ENVIRONMENTS[problem]
    policy = small_policy(kind, env)
    depots = int(problem != "atsp")
    for n in (2, 3):
        batch = roads(problem, n - depots, 2, seed=n, located=located)
        assert batch.distance is not None
        for one in (batch, replace(batch, {"distance": torch.zeros_like(batch.distance)})):
            found = decode(env, policy, one)
            assert bool(found.costs.isfinite().all())
            assert bool(scores(policy, one).isfinite().all())
            if problem == "atsp":
                best = [best_tour_length(d.tolist()) for d in one.distance]  # type: ignore[union-attr]
                torch.testing.assert_close(found.costs, torch.tensor(best))


@EACH
@pytest.mark.parametrize("problem", ENVIRONMENTS)
def test_scoring_at_once_equals_step_by_step(kind: str, problem: str) -> None:
    """Of mixed sizes; the look-up of the current node's arcs is part of every step."""
    env = ENVIRONMENTS[problem]
    policy = small_policy(kind, env)
    batch = collate([roads(problem, 6, 2, seed=1), roads(problem, 4, 2, seed=2)])
    starts = env.start_actions(batch, 4)
    given = rollout(
        env, policy, batch, Sampling(), num_trajectories=4, starts=starts, generator=seeded(3)
    )
    encoding, state = policy.encode(batch), env.reset(batch, 4)
    total = torch.zeros_like(given.costs)
    for i, action in enumerate(given.actions.unbind(2)):
        if i >= given.num_forced:
            seen = env.observe(state)
            chances = policy.logits(encoding, seen).masked_fill(~seen.mask, -torch.inf)
            total = total + chances.log_softmax(2).gather(2, action.unsqueeze(2)).squeeze(2)
        state = env.step(state, action)
    unrecorded = Trajectory(given.actions, given.costs, given.num_forced, None)
    for budget in (1.0, 1e9):
        found = log_likelihood(policy, env, batch, unrecorded, budget=budget, kernel="plain")
        torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-5)


@EACH
def test_directions_and_durations_are_read(kind: str) -> None:
    """Asymmetry always matters; durations do; coordinates do for RRNCO and never for MatNet."""
    policy = small_policy(kind, cvrp)
    batch = roads("acvrp", 7, 2, located=True)
    assert batch.distance is not None
    assert batch.duration is not None
    assert batch.coords is not None
    base = scores(policy, batch)

    def change(**fields: Tensor) -> float:
        return float((scores(policy, replace(batch, {**fields})) - base).abs().amax((1, 2)).min())

    assert change(distance=batch.distance.mT.contiguous()) > 1e-3
    assert change(duration=batch.duration.mT.contiguous()) > 1e-3
    assert (change(coords=batch.coords.flip(1)) > 1e-3) == (kind != "matnet")


@EACH
def test_durations_that_equal_distances_are_no_news(kind: str) -> None:
    """Leaving them out says the same."""
    policy = small_policy(kind, cvrp)
    batch = replace(roads("acvrp", 7, 2), {"duration": None})
    given = replace(batch, {"duration": duration_matrix(batch)})
    torch.testing.assert_close(scores(policy, given), scores(policy, batch))


def naive(bias: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The definition, in float64 and with a tensor of all three axes."""
    weights = (bias.double().unsqueeze(3) + key.double().unsqueeze(1)).softmax(2)
    return (weights * value.double().unsqueeze(1)).sum(2)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_stable_form_is_the_definition(scale: float) -> None:
    """Values and gradients, against a softmax over sources for each channel."""
    generator = seeded(4)
    shapes = ((3, 7, 7), (3, 7, 5), (3, 7, 5))
    given = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    given[0], given[1] = scale * given[0], scale * given[1]
    mine = [g.float().requires_grad_() for g in given]
    exact = [g.requires_grad_() for g in given]
    found = attention_free(mine[0], mine[1], mine[2], None)
    expected = naive(exact[0], exact[1], exact[2])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    towards = torch.randn(found.shape, generator=generator)
    grads = torch.autograd.grad((found * towards).sum(), mine)
    wanted = torch.autograd.grad((expected * towards).sum(), exact)
    for a, b in zip(grads, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-4)


def test_large_values_leave_the_stable_form_finite() -> None:
    """Up to a million; the result stays within the values, and gradients are finite."""
    generator = seeded(5)
    for scale in (1e2, 1e4, 1e6):
        bias, key = (scale * torch.randn(2, 6, 6, generator=generator) for _ in range(2))
        value = torch.randn(2, 6, 6, generator=generator)
        leaves = [t.requires_grad_() for t in (bias, key, value)]
        found = attention_free(bias, key, value, None)
        assert bool((found <= value.amax(1, keepdim=True) + 1e-5).all())
        assert bool((found >= value.amin(1, keepdim=True) - 1e-5).all())
        for grad in torch.autograd.grad(found.sum(), leaves):
            assert bool(grad.isfinite().all())


def test_neighbours_are_the_nearest_in_ascending_order() -> None:
    """Without a generator; what is missing is 1, and padding is nobody's neighbour."""
    distance = torch.tensor([[[0.0, 0.3, 0.1, 0.7], [0.2, 0, 0.9, 0.4], [0.5, 0.6, 0, 0.8],
                              [0.0, 0.0, 0.0, 0.0]]])  # fmt: skip
    found = neighbour_distances(distance, None, 2, None)[0]
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.3], [0.2, 0.4], [0.5, 0.6], [0, 0]]))
    valid = torch.tensor([[True, True, True, False]])
    for generator in (None, seeded(0)):
        found = neighbour_distances(distance, valid, 4, generator)[0, :3]
        expected = torch.tensor([[0.1, 0.3, 1, 1], [0.2, 0.9, 1, 1], [0.5, 0.6, 1, 1]])
        torch.testing.assert_close(found, expected)


def test_neighbours_are_drawn_with_chances_inverse_to_their_distance() -> None:
    """The frequency of one neighbour of a node, over many draws."""
    rates = torch.tensor([0.2, 0.4, 0.8])
    distance = torch.zeros(1, 4, 4)
    distance[0, 0, 1:] = rates
    many = neighbour_distances(distance.expand(20_000, -1, -1), None, 1, seeded(1))[:, 0, 0]
    expected = (1 / rates) / (1 / rates).sum()
    for rate, chance in zip(rates, expected, strict=True):
        assert float((many == rate).float().mean()) == pytest.approx(float(chance), abs=0.015)


class Largest(TorchDispatchMode):
    """Records how many numbers the largest tensor has that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.untyped_storage().nbytes() // 4)
        return made


@pytest.mark.parametrize("decoder", ["pointer", "reld"])
def test_arcs_take_few_channels(decoder: Any) -> None:
    """Forward and backward, no tensor is larger than the gate's input, [B, N, N, 3 C]."""
    torch.manual_seed(0)
    policy = RRNCO(tsp, dim=128, num_layers=2, channels=16, decoder=decoder)
    batch = roads("atsp", 40, 2, located=True)
    with Largest() as largest:
        leaves = policy.encode(batch, seeded(1)).leaves()
        sum(leaf.square().mean() for leaf in leaves).backward()  # type: ignore[union-attr]
    assert 2 * 40 * 40 * 16 <= largest.numbers <= 2 * 40 * 40 * 3 * 16


def test_matnet_refuses_more_nodes_than_it_is_wide() -> None:
    """Up to its width it works; above, one message, by encoding and by the solver's question."""
    torch.manual_seed(0)
    policy = MatNet(tsp, dim=8, num_heads=2, num_layers=1, hidden=8)
    assert bool(scores(policy, roads("atsp", 8, 1)).isfinite().all())
    with pytest.raises(InputError, match="9 nodes; accepted for this MatNet: at most 8"):
        policy.encode(roads("atsp", 9, 1))
    # padding is not counted
    padded = collate([roads("atsp", 8, 1), roads("atsp", 9, 1)])[:1]
    assert bool(scores(policy, padded)[:, :, :8].isfinite().all())


def test_matnets_columns_are_drawn_without_repetition() -> None:
    """Each draw is another one, and no two nodes of an instance share a vector."""
    policy = small_policy("matnet", tsp)
    assert isinstance(policy, MatNet)
    batch = roads("atsp", 9, 2)
    tables = [policy.encode(batch, seeded(s)).batched["pointer"] for s in (1, 1, 2)]
    assert torch.equal(tables[0], tables[1])
    assert not torch.allclose(tables[0], tables[2])


@EACH
def test_augmentation_without_coordinates_is_one_copy(kind: str) -> None:
    """All 8 views are one, and it is decoded once, but by MatNet, which draws the places of its
    columns anew; with coordinates, depot and customers move and the matrices stay."""
    policy = small_policy(kind, cvrp)
    batch = roads("acvrp", 6, 2)
    calls: list[Instance] = []
    encode = policy.encode
    policy.encode = lambda instance, generator=None: (  # type: ignore[method-assign]
        calls.append(instance), encode(instance, generator)
    )[1]  # fmt: skip
    found = decode(cvrp, policy, batch, augment=8)
    alone = decode(cvrp, policy, batch).costs
    if kind == "matnet":
        assert len(calls) == 8 + 1
        assert bool((found.costs <= alone).all())
        first, second = (policy.encode_view(batch, view).leaves()[0] for view in (1, 2))
        assert not torch.allclose(first, second)
        assert torch.equal(first, policy.encode_view(batch, 1).leaves()[0])
    else:
        assert len(calls) == 1 + 1
        torch.testing.assert_close(found.costs, alone)
    located = roads("acvrp", 6, 2, located=True)
    assert located.coords is not None
    for index in range(1, 8):
        seen = augmented(located, index)
        assert seen.distance is located.distance
        assert seen.duration is located.duration
        assert seen.coords is not None
        pairs, truth = (torch.cdist(xy, xy) for xy in (seen.coords, located.coords))
        # one scale for all nodes of an instance
        scale = truth.amax((1, 2), keepdim=True) / pairs.amax((1, 2), keepdim=True)
        torch.testing.assert_close(pairs * scale, truth, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("problem", ENVIRONMENTS)
def test_node_features_need_no_coordinates(problem: str) -> None:
    """Without them they are 0, and the other columns are what they are with them; policies that
    read coordinates refuse the instance."""
    env = ENVIRONMENTS[problem]
    batch = roads(problem, 5, 2, located=True)
    bare = replace(batch, {"coords": None})
    features, without = env.node_features(batch), env.node_features(bare)
    assert float(without.values[:, :, :2].abs().max()) == 0
    torch.testing.assert_close(without.values[:, :, 2:], features.values[:, :, 2:])
    policy = small_policy("pomo", env)
    for ask in (policy.encode, policy.require):
        with pytest.raises(InputError, match="reads coordinates and the instance has only"):
            ask(bare)
    assert environments["atsp"] is tsp


@EACH
def test_greedy_solutions_are_the_same_every_time(kind: str) -> None:
    """Nothing is drawn at test time, in train or eval mode, before or after other work."""
    policy = small_policy(kind, tsp)
    batch = roads("atsp", 12, 3)
    first = rollout(tsp, policy, batch, Greedy(), num_trajectories=3)
    torch.rand(7)
    again = rollout(tsp, policy.train(), batch, Greedy(), num_trajectories=3)
    assert torch.equal(first.actions, again.actions)
