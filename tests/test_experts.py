"""Gates and experts against their plain definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nco.data.errors import InputError
from nco.models.experts import Activation, FeedForwardExperts, LinearExperts
from nco.models.gates import (
    AttributeGate,
    Gate,
    Hierarchical,
    NoisyTopK,
    SharedSigmoid,
    SoftMerging,
    Summary,
)

DIM = 8


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def summary(batch: int, seed: int | None = None, attributes: int = 3) -> Summary:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return Summary(drawn(1, batch, DIM), (drawn(2, batch, attributes) > 0).float(), generator)


def started(gate: Gate) -> Gate:
    """With weights that differ from their start, which may be zero."""
    for i, parameter in enumerate(gate.parameters()):
        parameter.data = 0.5 * drawn(10 + i, *parameter.shape)
    return gate


def noisy(num_experts: int = 5, active: int = 2) -> NoisyTopK:
    gate = started(NoisyTopK(DIM, num_experts=num_experts, active=active, balance=1.0))
    assert isinstance(gate, NoisyTopK)
    return gate


def one_expert(experts: FeedForwardExperts, e: int, x: Tensor) -> Tensor:
    if experts.gated:
        a, b = (x @ experts.up[e]).chunk(2, -1)
        return (F.silu(a) * b) @ experts.down[e]
    assert experts.up_bias is not None
    assert experts.down_bias is not None
    return (x @ experts.up[e] + experts.up_bias[e]).relu() @ experts.down[e] + experts.down_bias[e]


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_routed_experts_equal_a_loop(activation: Activation) -> None:
    """Values and gradients, with an expert that nobody asks, tokens with fewer experts than
    others, and one with none."""
    torch.manual_seed(0)
    experts = FeedForwardExperts(DIM, 16, 4, activation)
    x = drawn(0, 2, 5, DIM).requires_grad_()
    weights = noisy(4)(x, {}).weights.detach()
    weights[:, :, 3] = 0
    weights[0, 1] = torch.tensor([0, 0.7, 0, 0])
    weights[1, 4] = 0
    weights.requires_grad_()
    found = experts(x, weights, 2)
    each = torch.stack([one_expert(experts, e, x) for e in range(4)], 2)
    expected = (weights.unsqueeze(3) * each).sum(2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    target = drawn(3, *found.shape)
    inputs = [x, *experts.parameters()]
    for a, b in zip(
        torch.autograd.grad((found * target).sum(), [*inputs, weights]),
        torch.autograd.grad((expected * target).sum(), [*inputs, weights]),
        strict=True,
    ):
        if a.shape == weights.shape:
            # the gradient of experts that were not asked is not computed
            b = b.masked_fill(weights == 0, 0)
            a = a.masked_fill(weights == 0, 0)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_merged_experts_are_one_layer_of_mixed_weights(activation: Activation) -> None:
    """For each instance: the layer whose parameters are the weighted sums of the experts'."""
    torch.manual_seed(0)
    experts = FeedForwardExperts(DIM, 16, 3, activation)
    x, weights = drawn(0, 4, 5, DIM), drawn(1, 4, 1, 3).softmax(2)
    found = experts(x, weights, 3)
    for i in range(4):
        merged = FeedForwardExperts(DIM, 16, 1, activation)
        for name, parameter in merged.named_parameters():
            source = experts.get_parameter(name)
            mixture = (weights[i, 0].view(-1, *[1] * (source.dim() - 1)) * source).sum(0)
            parameter.data = mixture.unsqueeze(0)
        torch.testing.assert_close(found[i], one_expert(merged, 0, x[i]), rtol=1e-5, atol=1e-5)


def test_folded_keys_equal_experts_before_the_product() -> None:
    """o · fold(k) + bias = (o W + c) · k for each expert."""
    torch.manual_seed(0)
    experts = LinearExperts(DIM, 3)
    key, heads = drawn(0, 2, 6, DIM), drawn(1, 2, 4, DIM)
    weight, bias = experts.fold(key)
    for e in range(3):
        expected = (heads @ experts.weight[e] + experts.bias[e]) @ key.mT
        found = heads @ weight[:, e] + bias[:, e].unsqueeze(1)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_noisy_gate_takes_the_best_and_sums_to_one() -> None:
    """By the clean scores without a generator, by the noisy ones with it."""
    gate, x = noisy(), drawn(5, 3, 4, DIM)
    clean = x @ gate.score
    noise = gate.prepare(summary(3, seed=1), 4)
    spread = F.softplus(x @ gate.noise) + 0.01
    for prepared, scores in (({}, clean), (noise, clean + noise["noise"] * spread)):
        weights = gate(x, prepared).weights
        torch.testing.assert_close(weights.sum(2), torch.ones(3, 4))
        best = scores.topk(2, dim=2)
        assert bool((weights.gather(2, best.indices) > 0).all())
        torch.testing.assert_close(weights.gather(2, best.indices), best.values.softmax(2))


def test_smooth_load_is_the_chance_of_being_asked() -> None:
    """Drawing one expert's noise again, the others' held, it is among the best as often as the
    load says."""
    gate, x = noisy(), drawn(5, 1, 1, DIM)
    noise = gate.prepare(summary(1, seed=3), 1)["noise"]
    load = gate(x, {"noise": noise}).load[0, 0].detach()
    for e in range(5):
        many = noise.expand(20_000, 1, 5).clone()
        many[:, :, e] = drawn(20 + e, 20_000, 1)
        asked = gate(x.expand(20_000, 1, DIM), {"noise": many}).weights[:, 0, e] > 0
        assert float(asked.float().mean()) == pytest.approx(float(load[e]), abs=0.015)


def test_balance_loss_is_least_for_even_use() -> None:
    """Zero for even use, and following its gradient evens importance and load out."""
    gate = noisy(num_experts=4)
    assert float(gate.balance_loss(torch.ones(2, 4))) == 0
    by_hand = torch.tensor([1.0, 2, 3, 2])
    variation = float(by_hand.var() / by_hand.mean() ** 2)
    assert float(gate.balance_loss(torch.stack((by_hand, by_hand)))) == pytest.approx(2 * variation)
    # a mean that is not zero favours some experts
    x, optimizer = drawn(6, 1, 200, DIM) + 1, torch.optim.Adam(gate.parameters(), lr=0.05)
    losses = []
    for step in range(60):
        choice = gate(x, gate.prepare(summary(1, seed=step), 200))
        loss = gate.balance_loss(torch.stack(choice).sum((1, 2)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])


def test_one_expert_is_balanced() -> None:
    """A spread over one expert is none, and leaves no NaN in the gradient."""
    gate = noisy(num_experts=1, active=1)
    choice = gate(drawn(6, 2, 5, DIM), gate.prepare(summary(2, seed=0), 5))
    used = torch.stack(choice).sum((1, 2)).detach().requires_grad_()
    loss = gate.balance_loss(used) + used.sum()
    loss.backward()
    assert float(loss.detach()) == float(used.detach().sum())
    assert used.grad is not None
    assert bool(used.grad.isfinite().all())


def test_hierarchical_gate_draws_for_whole_instances() -> None:
    """All of an instance is dense or sparse; how often is what the first gate says, and that
    probability is in the weights. Without a generator the likelier one is taken."""
    gate = started(Hierarchical(DIM, num_experts=4, active=2, balance=1.0))
    assert isinstance(gate, Hierarchical)
    one = summary(1)
    chances = gate.choose(one.pooled).softmax(1)[0].detach()
    many = Summary(
        one.pooled.expand(4000, DIM),
        one.attributes.expand(4000, 3),
        torch.Generator().manual_seed(0),
    )
    choice = gate(drawn(5, 1, 3, DIM).expand(4000, 3, DIM), gate.prepare(many, 3))
    dense = choice.weights[:, :, 0] > 0
    assert torch.equal(dense.any(1), dense.all(1))
    assert float(dense.float().mean()) == pytest.approx(float(chances[0]), abs=0.03)
    torch.testing.assert_close(choice.weights[dense.all(1)][0, 0, 0], chances[0])
    torch.testing.assert_close(choice.weights[~dense.all(1)].sum(2)[0, 0], chances[1])
    assert not bool((choice.weights[dense.all(1)][:, :, 1:]).any())
    likelier = gate(drawn(5, 1, 3, DIM), gate.prepare(one, 3)).weights[0, 0, 0] > 0
    assert bool(likelier) == bool(chances[0] > chances[1])


def test_sigmoid_gate_normalises_and_balances_without_a_loss() -> None:
    """Shared experts always count 1; the chosen sum to 1 by their own affinity, whatever the bias;
    moving the bias evens the load out."""
    gate = started(SharedSigmoid(DIM, shared=1, routed=6, active=2, rate=0.02))
    assert isinstance(gate, SharedSigmoid)
    x = drawn(6, 4, 100, DIM)
    gate.bias += torch.tensor([0.0, 0.3, 0, 0, -0.2, 0])
    weights, load = gate(x, {})
    assert bool((weights[:, :, 0] == 1).all())
    torch.testing.assert_close(weights[:, :, 1:].sum(2), torch.ones(4, 100))
    affinity = (x @ gate.score).sigmoid()
    index = (affinity + gate.bias).topk(2, dim=2).indices
    kept = affinity.gather(2, index)
    torch.testing.assert_close(weights[:, :, 1:].gather(2, index), kept / kept.sum(2, keepdim=True))
    first = load.sum((0, 1))[1:]
    for _ in range(200):
        gate.rebalance(gate(x, {}).load.sum((0, 1)))
    last = gate(x, {}).load.sum((0, 1))[1:]
    assert float(last.max() - last.min()) < 0.2 * float(first.max() - first.min())


def test_instance_gates_read_what_they_say() -> None:
    """Soft merging depends on the nodes' mean and not on attributes; the attribute gate the other
    way round. Both mix all experts."""
    merging, attribute = (
        started(SoftMerging(DIM, num_experts=3)),
        started(AttributeGate(("a", "b", "c"), num_experts=3)),
    )
    given = summary(4)
    other_nodes = Summary(given.pooled + 1, given.attributes, None)
    other_attributes = Summary(given.pooled, 1 - given.attributes, None)
    for gate, moves, stays in (
        (merging, other_nodes, other_attributes),
        (attribute, other_attributes, other_nodes),
    ):
        assert gate.per_instance
        base = gate.prepare(given, 1)["weights"]
        torch.testing.assert_close(base.sum(2), torch.ones(4, 1))
        assert torch.equal(gate.prepare(stays, 1)["weights"], base)
        assert not torch.allclose(gate.prepare(moves, 1)["weights"], base, atol=0.01)


def test_more_active_experts_than_there_are_is_refused() -> None:
    """The message says what is accepted."""
    with pytest.raises(InputError, match="active is 5"):
        NoisyTopK(DIM, num_experts=4, active=5, balance=0.0)
    with pytest.raises(InputError, match="active is 0"):
        SharedSigmoid(DIM, shared=1, routed=4, active=0, rate=0.1)


@pytest.mark.parametrize(("dim", "hidden", "told"), [(12, 16, "dim is 12"), (16, 7, "hidden is 7")])
def test_widths_that_grouped_products_cannot_take_are_refused(
    dim: int, hidden: int, told: str
) -> None:
    """When the layer is made, and not by torch at the first batch."""
    with pytest.raises(InputError, match=f"{told}; accepted with experts: a multiple of 8"):
        FeedForwardExperts(dim, hidden, 4, "relu")
