"""Strategies: what they may choose, and with what probability."""

from __future__ import annotations

import pytest
import torch

from nco.data.errors import InputError
from nco.strategies import Greedy, Sampling, draw, race

LOGITS = torch.log(torch.tensor([[[0.4, 0.3, 0.2, 0.1]]]))
ALL = torch.ones(1, 1, 4, dtype=torch.bool)


def frequencies(strategy: Sampling, mask: torch.Tensor, count: int = 20_000) -> torch.Tensor:
    """How often each node is chosen."""
    generator = torch.Generator().manual_seed(0)
    chosen = strategy(LOGITS.expand(1, count, 4), mask.expand(1, count, 4), generator)
    return chosen.flatten().bincount(minlength=4) / count


def test_sampling_follows_the_softmax_of_what_is_allowed() -> None:
    """0.4 : 0.3 : 0.2 : 0.1, and 0.4 : 0.2 : 0.1 renormalised without the second."""
    torch.testing.assert_close(
        frequencies(Sampling(), ALL), torch.tensor([0.4, 0.3, 0.2, 0.1]), atol=0.015, rtol=0
    )
    mask = torch.tensor([[[True, False, True, True]]])
    expected = torch.tensor([4 / 7, 0, 2 / 7, 1 / 7])
    torch.testing.assert_close(frequencies(Sampling(), mask), expected, atol=0.015, rtol=0)


def test_temperature_top_k_and_top_p_by_hand() -> None:
    """Temperature 0.5 squares the odds; top-k 2 keeps 0.4 and 0.3; top-p 0.6 keeps the same."""
    odds = torch.tensor([16.0, 9, 4, 1]) / 30
    torch.testing.assert_close(frequencies(Sampling(0.5), ALL), odds, atol=0.015, rtol=0)
    two = torch.tensor([4 / 7, 3 / 7, 0, 0])
    torch.testing.assert_close(frequencies(Sampling(top_k=2), ALL), two, atol=0.015, rtol=0)
    torch.testing.assert_close(frequencies(Sampling(top_p=0.6), ALL), two, atol=0.015, rtol=0)
    one = torch.tensor([1.0, 0, 0, 0])
    assert torch.equal(frequencies(Sampling(top_k=1), ALL), one)
    assert torch.equal(frequencies(Sampling(top_p=0.4), ALL), one)
    assert torch.equal(frequencies(Sampling(top_p=1e-9), ALL), one)


def test_no_strategy_chooses_what_the_mask_forbids() -> None:
    """Whatever the scores, extreme ones included."""
    generator = torch.Generator().manual_seed(1)
    logits = 30 * torch.randn(64, 8, 12, generator=generator)
    mask = torch.rand(64, 8, 12, generator=generator) > 0.8
    mask[:, :, 5] |= ~mask.any(2)
    for strategy in (Greedy(), Sampling(), Sampling(0.1), Sampling(top_k=3), Sampling(top_p=0.5)):
        action = strategy(logits, mask, generator)
        assert bool(mask.gather(2, action.unsqueeze(2)).all())
    greedy = Greedy()(logits, mask, None)
    assert torch.equal(greedy, logits.masked_fill(~mask, -torch.inf).argmax(2))


def test_a_draw_never_takes_an_index_of_weight_zero() -> None:
    """Not even at the two ends of the uniform number's range."""
    weights = torch.tensor([[[0.0, 0.5, 0.0, 0.5, 0.0]]]).expand(1, 200_000, 5)
    chosen = draw(weights, torch.Generator().manual_seed(2))
    assert set(chosen.unique().tolist()) == {1, 3}


def test_a_race_draws_with_the_given_probabilities() -> None:
    """What GPUs draw by: 0.1 : 0.2 : 0.7, and nothing of probability 0."""
    weights = torch.tensor([[[0.1, 0.0, 0.2, 0.7, 0.0]]]).expand(1, 50_000, 5)
    chosen = race(weights, torch.Generator().manual_seed(2)).flatten()
    shares = chosen.bincount(minlength=5) / 50_000
    torch.testing.assert_close(shares, weights[0, 0], atol=0.01, rtol=0)
    assert set(chosen.unique().tolist()) == {0, 2, 3}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_never_draws_an_index_of_weight_zero() -> None:
    """Its parallel sums are not monotone, so many draws from long rows must show it."""
    generator = torch.Generator("cuda").manual_seed(0)
    weights = torch.rand(64, 1000, 100, generator=generator, device="cuda")
    weights = weights.masked_fill(weights < 0.9, 0)
    weights[:, :, 0] += 0.1
    weights /= weights.sum(2, keepdim=True)
    for _ in range(200):
        chosen = draw(weights, generator)
        assert bool((weights.gather(2, chosen.unsqueeze(2)) > 0).all())


def test_same_seed_same_choice() -> None:
    """The generator is the only source of randomness."""
    logits = torch.randn(4, 5, 6)
    mask = torch.ones(4, 5, 6, dtype=torch.bool)
    a = Sampling()(logits, mask, torch.Generator().manual_seed(3))
    b = Sampling()(logits, mask, torch.Generator().manual_seed(3))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "arguments",
    [{"temperature": 0.0}, {"temperature": 1e-9}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, float]) -> None:
    """The message names the argument."""
    with pytest.raises(InputError, match=next(iter(arguments))):
        Sampling(**arguments)  # type: ignore[arg-type]
