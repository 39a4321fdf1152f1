"""Distributions of coordinates against theory, and against draws repeated here."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from nco.data import distributions
from nco.data.distributions import DistributionName, by_name
from nco.data.errors import InputError
from tests.draws import nearest, seeded

NAMES = get_args(DistributionName)


@pytest.mark.parametrize("name", NAMES)
def test_distributions_stay_in_the_square(name) -> None:
    """Every coordinate is a number from 0 to 1, and instances of a batch differ."""
    for num_nodes in (1, 2, 3, 50):
        coords = by_name(name)(64, num_nodes, seeded())
        assert coords.shape == (64, num_nodes, 2)
        assert coords.isfinite().all()
        assert (coords >= 0).all()
        assert (coords <= 1).all()
    assert len(coords.flatten(1).unique(dim=0)) == 64


def test_uniform_moments() -> None:
    """Mean 1/2 and variance 1/12, within five standard errors of 400,000 draws."""
    coords = distributions.uniform(2000, 100, seeded()).double()
    n = coords.numel()
    assert abs(coords.mean() - 0.5) < 5 * math.sqrt(1 / 12 / n)
    assert abs(coords.var() - 1 / 12) < 5 * math.sqrt((1 / 80 - 1 / 144) / n)


@pytest.mark.parametrize("name", ["gaussian", "gaussian_mixture", "cluster", "mixed"])
def test_clustered_distributions_are_denser_than_uniform(name) -> None:
    """The mean nearest-neighbour distance is at least a tenth below that of uniform nodes."""
    uniform = nearest(distributions.uniform(200, 100, seeded(1))).mean()
    # 1 / (2 sqrt(n)) without a border (Clark and Evans 1954); the border adds a few per cent
    assert 0.05 < uniform < 0.055
    assert nearest(by_name(name)(200, 100, seeded(2))).mean() < 0.9 * uniform


def test_gaussian_mixture_fills_the_square_and_spreads_with_scale() -> None:
    """Each axis runs from 0 to 1; modes further apart, for the same spread, are denser."""
    near = distributions.gaussian_mixture(300, 60, seeded(), modes=3, scale=5.0)
    far = distributions.gaussian_mixture(300, 60, seeded(), modes=3, scale=50.0)
    for coords in (near, far):
        assert torch.equal(coords.amin(1), torch.zeros(300, 2))
        assert torch.allclose(coords.amax(1), torch.ones(300, 2))
    assert nearest(far).mean() < 0.6 * nearest(near).mean()
    for modes, scale in ((0, 10.0), (3, 0.0), (3, math.nan)):
        with pytest.raises(InputError, match="accepted"):
            distributions.gaussian_mixture(1, 5, seeded(), modes=modes, scale=scale)


def test_gaussian_is_scaled_alike_on_both_axes() -> None:
    """The longer axis fills the square, the shorter one is centred in it, and the correlation is
    that of a covariance from U(0, 1): 1/2 on average."""
    coords = distributions.gaussian(400, 200, seeded()).double()
    low, high = coords.amin(1), coords.amax(1)
    assert torch.allclose((high - low).amax(1), torch.ones(400).double(), atol=1e-6)
    assert torch.allclose(low + high, torch.ones(400, 2).double(), atol=1e-6)
    centred = coords - coords.mean(1, keepdim=True)
    covariance = (centred[..., 0] * centred[..., 1]).mean(1)
    correlation = covariance / centred.square().mean(1).prod(-1).sqrt()
    assert abs(correlation.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 400)


def test_cluster_groups_have_the_stated_spread() -> None:
    """Thirds of the nodes scatter by 0.07 around centres between 0.2 and 0.8."""
    groups = distributions.cluster(500, 90, seeded()).double().unflatten(1, (3, 30))
    centres = groups.mean(2)
    assert (centres > 0.2 - 5 * 0.07 / math.sqrt(30)).all()
    assert (centres < 0.8 + 5 * 0.07 / math.sqrt(30)).all()
    # clipping at the border, 2.9 deviations away from the outermost centre, costs next to nothing
    assert groups.std(2).mean() == pytest.approx(0.07, rel=0.02)
    with pytest.raises(InputError, match="clusters is 0"):
        distributions.cluster(1, 5, seeded(), clusters=0)


def test_mixed_moves_exactly_half() -> None:
    """Half of the nodes are the uniform ones drawn first; the others are new."""
    before = distributions.uniform(50, 21, seeded(3))
    moved = (distributions.mixed(50, 21, seeded(3)) != before).any(-1)
    assert moved.sum(1).tolist() == [10] * 50
    assert moved.any(0).all()


def drawn_ball(seed: int) -> tuple[Tensor, Tensor]:
    """Nodes and centre as the ball operators draw them."""
    generator = seeded(seed)
    coords = torch.rand(200, 80, 2, generator=generator)
    return coords.double(), torch.rand(200, 1, 2, generator=generator).double()


def test_explosion_empties_the_ball_along_its_rays() -> None:
    """Nodes outside of the ball stay; those inside leave it along their ray, by an exponential of
    rate 10, or are drawn again because they left the square."""
    before, centre = drawn_ball(4)
    after = distributions.explosion(200, 80, seeded(4)).double()
    offset, moved = before - centre, after - centre
    inside = offset.norm(dim=-1) < 0.3
    assert torch.equal(after[~inside], before[~inside])
    cosine = torch.nn.functional.cosine_similarity(offset, moved, dim=-1)
    on_ray = inside & (cosine > 1 - 1e-7)
    assert (moved.norm(dim=-1)[on_ray] > 0.3 - 1e-6).all()
    # balls 0.1 clear of the border, so that what left the square flew at least that far
    clear = ((centre > 0.4) & (centre < 0.6)).all(-1) & inside
    beyond = torch.where(on_ray, moved.norm(dim=-1) - 0.3, 0.1).clamp(max=0.1)[clear]
    assert len(beyond) > 100
    # E min(X, 0.1) of an exponential of rate 10
    expected = 0.1 * (1 - math.exp(-1))
    assert beyond.mean() == pytest.approx(expected, abs=5 * 0.05 / math.sqrt(len(beyond)))


def test_implosion_pulls_towards_the_centre() -> None:
    """Inside the ball every node keeps its ray and a share of its distance; |N| > 1, so 31.7 % of
    them, fall into the centre."""
    before, centre = drawn_ball(5)
    after = distributions.implosion(200, 80, seeded(5)).double()
    offset, moved = before - centre, after - centre
    distance = offset.norm(dim=-1)
    inside = distance < 0.3
    assert torch.equal(after[~inside], before[~inside])
    kept = moved.norm(dim=-1)[inside] / distance[inside]
    assert torch.allclose(moved[inside], kept.unsqueeze(-1) * offset[inside], atol=1e-6)
    assert (kept < 1 + 1e-5).all()
    expected = math.erfc(1 / math.sqrt(2))
    error = math.sqrt(expected * (1 - expected) / len(kept))
    assert (kept < 1e-4).double().mean() == pytest.approx(expected, abs=5 * error)


@pytest.mark.parametrize("name", ["expansion", "compression"])
def test_tube_operators_move_across_a_line(name) -> None:
    """Nodes within 0.3 of the line move at right angles to it: away beyond 0.3, or towards it;
    the others stay."""
    generator = seeded(6)
    before = torch.rand(200, 80, 2, generator=generator).double()
    intercept = torch.rand(200, 1, generator=generator).double()
    slope = 3 * torch.rand(200, 1, generator=generator).double()
    slope = torch.where(intercept < 0.5, slope, -slope)
    along = torch.stack((torch.ones_like(slope), slope), -1)
    along = along / along.norm(dim=-1, keepdim=True)
    start = torch.stack((torch.zeros_like(intercept), intercept), -1)

    def foot(coords: Tensor) -> Tensor:
        """Nearest points of the line."""
        return start + ((coords - start) * along).sum(-1, keepdim=True) * along

    after = by_name(name)(200, 80, seeded(6)).double()
    distance = (before - foot(before)).norm(dim=-1)
    inside = distance < 0.3
    assert inside.double().mean() > 0.2
    assert torch.equal(after[~inside], before[~inside])
    # those that were drawn again have another foot
    straight = inside & ((foot(after) - foot(before)).norm(dim=-1) < 1e-6)
    assert straight.sum() > 0.5 * inside.sum()
    new = (after - foot(after)).norm(dim=-1)
    same_side = ((after - foot(after)) * (before - foot(before))).sum(-1) > -1e-7
    assert same_side[straight].all()
    if name == "expansion":
        assert (new[straight] > 0.3 - 1e-6).all()
    else:
        assert (new[straight] <= distance[straight] + 1e-6).all()
        assert (new[straight] < 1e-6).double().mean() == pytest.approx(0.317, abs=0.03)


def test_grid_makes_a_square_lattice() -> None:
    """Of m nodes in the box, floor(sqrt(m))^2 form a lattice that spans it; the rest stay."""
    generator = seeded(7)
    before = torch.rand(100, 150, 2, generator=generator)
    anchor = 0.7 * torch.rand(100, 1, 2, generator=generator)
    after = distributions.grid(100, 150, seeded(7))
    for old, new, corner in zip(before, after, anchor[:, 0], strict=True):
        inside = ((old > corner) & (old <= corner + 0.3)).all(-1)
        rows = math.isqrt(int(inside.sum()))
        moved = (new != old).any(-1)
        assert not moved[~inside].any()
        if rows < 2:
            assert not moved.any()
            continue
        assert int(moved.sum()) == rows * rows
        cells = ((new[moved] - corner) / 0.3 * (rows - 1)).double()
        expected = torch.cartesian_prod(torch.arange(rows), torch.arange(rows))
        assert torch.allclose(cells, cells.round(), atol=1e-4)
        assert torch.equal(cells.round().long().unique(dim=0), expected)


def test_rotation_turns_a_share_rigidly() -> None:
    """The chosen nodes, about 40 %, are multiplied by one complex number and shifted by another;
    those that leave the square are drawn again, the others stay."""
    generator = seeded(8)
    before = torch.rand(200, 60, 2, generator=generator)
    chosen = torch.rand(200, 60, 1, generator=generator)[..., 0] < 0.4
    error = math.sqrt(0.4 * 0.6 / chosen.numel())
    assert chosen.double().mean() == pytest.approx(0.4, abs=5 * error)
    angle = 2 * math.pi * torch.rand(200, 1, generator=generator).double()
    shift = torch.view_as_complex(torch.rand(200, 1, 2, generator=generator).double())
    turned = torch.view_as_complex(before.double()) * torch.exp(1j * angle) + shift
    expected = torch.view_as_real(turned)
    after = distributions.rotation(200, 60, seeded(8))
    assert torch.equal(after[~chosen], before[~chosen])
    kept = chosen & ((expected > 1e-6) & (expected < 1 - 1e-6)).all(-1)
    assert kept.sum() > 500
    assert torch.allclose(after[kept].double(), expected[kept], atol=1e-6)
    gone = chosen & ((expected < -1e-6) | (expected > 1 + 1e-6)).any(-1)
    assert after[gone].mean() == pytest.approx(0.5, abs=5 / math.sqrt(12 * 2 * int(gone.sum())))
