"""The multi-task generator, RouteFinder's sets, and the stored solutions of all variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import ks_2samp

from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.instance import Instance, distance_matrix, is_customer, validate
from nco.data.multi_task import (
    VARIANTS,
    Tightness,
    Variant,
    multi_task_capacity,
    multi_task_instances,
    variant_by_name,
)
from nco.data.routefinder import routefinder_instances
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.variants import multi_task, vrp_variants
from tests.multi_task import reference

BASE = VARIANTS[:16]
SETS = [(v, 50) for v in VARIANTS] + [(v, 100) for v in BASE]
EACH_SET = pytest.mark.parametrize(
    ("variant", "size"), SETS, ids=[f"{v.name}-{n}" for v, n in SETS]
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@EACH_SET
def test_published_sets_are_drawn_again(shared: Path, variant: Variant, size: int) -> None:
    """The first 64 instances from the validation seed equal the stored ones to the bit."""
    stored, _ = reference(shared, variant, size)
    drawn = routefinder_instances(variant, size)[:64]
    for name in ("coords", "linehaul", "backhaul", "time_window", "service_time",
                 "distance_limit", "capacity", "open_route", "num_depots"):  # fmt: skip
        assert torch.equal(getattr(drawn, name), getattr(stored, name)), name


def reference_actions(stored: Any, instance: Instance) -> torch.Tensor:
    """The stored giant tours; the padding behind the last customer becomes the way home."""
    actions = torch.from_numpy(stored["reference_actions"].astype("int64"))
    depots = int(instance.num_depots[0])
    at_depot = actions < depots
    index = torch.arange(actions.shape[1])
    last_customer = (index * ~at_depot).amax(1, keepdim=True)
    before_it = at_depot & (index < last_customer)
    last_depot = (index * before_it).amax(1, keepdim=True)
    home = torch.where(before_it.any(1, keepdim=True), actions.gather(1, last_depot), 0)
    actions = torch.where(index > last_customer, home, actions)
    return torch.cat((actions, actions.where(at_depot, home)[:, -1:]), 1)


@EACH_SET
def test_stored_solutions_replay(shared: Path, variant: Variant, size: int) -> None:
    """Each action of PyVRP's solutions is allowed, by the variant's own rules and by the full
    environment, and the cost is the stored one. PyVRP saw times and lengths rounded to 1e-3."""
    given, stored = reference(shared, variant, size)
    relaxed = replace(
        given,
        {
            "time_window": given.time_window + torch.tensor([0, 1e-2]),
            "distance_limit": given.distance_limit + 1e-2,
        },
    )
    actions = reference_actions(stored, given).unsqueeze(1)
    expected = torch.from_numpy(stored["reference_cost"]).float().unsqueeze(1)
    for env in (vrp_variants[variant.name], multi_task):
        state = env.reset(relaxed, 1)
        for action in actions.unbind(2):
            allowed = env.action_mask(state).gather(2, action.unsqueeze(2))
            assert bool(allowed.all()), f"instances {(~allowed).nonzero()[:, 0].tolist()}"
            state = env.step(state, action)
        assert bool(env.done(state).all())
        torch.testing.assert_close(env.cost(given, actions), expected, rtol=1e-5, atol=0)
    routes, depots = routes_from_actions(given[:1], actions[0, 0])
    assert check_routes(relaxed[:1], routes, depots).feasible


def test_mixed_batches_hold_every_variant_alike() -> None:
    """Each of the 48 variants comes up about equally often, valid and servable; the same seed
    gives the same batch."""
    batch = multi_task_instances(4800, 10, generator(1))
    validate(batch)
    multi_task.require(batch)
    pickups = (batch.backhaul > 0).any(1)
    # ten customers without a pickup among them (0.8 ** 10) cannot be told from none
    assert abs(float(pickups.float().mean()) - 2 / 3 * (1 - 0.8**10)) < 0.03
    for present in (
        batch.open_route,
        batch.num_depots == 3,
        batch.distance_limit.isfinite(),
        batch.time_window[:, 0, 1].isfinite(),
    ):
        assert abs(float(present.float().mean()) - 1 / 2) < 0.03
    assert abs(float(batch.mixed_backhaul.float().mean()) - 1 / 3) < 0.03
    bits = torch.stack(
        (batch.open_route, batch.num_depots == 3, batch.distance_limit.isfinite(),
         batch.time_window[:, 0, 1].isfinite(), batch.mixed_backhaul), 1
    )  # fmt: skip
    assert len(bits.unique(dim=0)) == 32
    again = multi_task_instances(4800, 10, generator(1))
    assert all(torch.equal(getattr(batch, k), getattr(again, k)) for k in ("coords", "linehaul"))


def test_customers_close_up_where_there_is_one_depot() -> None:
    """In a mixed batch every instance has its depots, then all its customers, then padding."""
    batch = multi_task_instances(64, 5, generator(2))
    assert bool((is_customer(batch).sum(1) == 5).all())
    one = batch.num_depots == 1
    assert batch.valid[one].tolist() == [[True] * 6 + [False] * 2] * int(one.sum())
    goods = batch.linehaul + batch.backhaul
    assert torch.equal(goods > 0, is_customer(batch))
    assert bool((batch.time_window[~batch.valid] == 0).all())


@pytest.mark.parametrize("name", ["vrpbltw", "vrpl", "mdvrpltw"])
def test_the_generator_has_the_published_distribution(name: str) -> None:
    """Demands, windows, service times and limits are distributed as in the published sets, which
    come from other code (Kolmogorov and Smirnov's test). With several depots only what does not
    depend on which depot the published code took."""
    variant = variant_by_name(name)
    ours = multi_task_instances(1000, 50, generator(3), [variant])
    theirs = routefinder_instances(variant, 50, num_instances=1000)
    assert torch.equal(ours.capacity, theirs.capacity)
    late, customer = 1, is_customer(ours)
    for field in (
        lambda i: i.linehaul[customer],
        lambda i: i.backhaul[customer],
        lambda i: i.service_time[customer],
        lambda i: i.coords.flatten(),
        lambda i: i.time_window[customer].diff(dim=1).flatten().nan_to_num(),
        *(
            (lambda i: i.time_window[..., late][customer], lambda i: i.distance_limit)
            if not variant.several_depots
            else ()
        ),
    ):
        result: Any = ks_2samp(field(ours).numpy(), field(theirs).numpy())
        assert result.pvalue > 1e-3


def test_several_depots_reach_every_customer() -> None:
    """Windows can be kept from each depot, and the limit suffices from at least one."""
    batch = multi_task_instances(500, 20, generator(4), [variant_by_name("mdvrptw")])
    reach = distance_matrix(batch)[:, :3, 3:]
    early, late = batch.time_window[:, 3:].unbind(2)
    assert bool((early.unsqueeze(1) >= reach - 1e-5).all())
    back = early + batch.service_time[:, 3:] + late - early
    assert bool((back.unsqueeze(1) + reach <= 4.6 + 1e-5).all())
    batch = multi_task_instances(500, 20, generator(5), [variant_by_name("mdvrpl")])
    farthest = distance_matrix(batch)[:, :3, 3:].amax(2)
    assert bool((batch.distance_limit >= 2 * farthest.amin(1)).all())
    assert not bool((batch.distance_limit >= 2 * farthest.amax(1)).all())


def test_capacity_by_size() -> None:
    """RouteFinder's rule at its corners."""
    sizes = {10: 30, 20: 30, 21: 34, 50: 40, 100: 50, 1000: 230, 1100: 233}
    assert {n: multi_task_capacity(n) for n in sizes} == sizes


@pytest.mark.parametrize(
    "changes",
    [
        {"capacity": 8},
        {"demand": (0, 9)},
        {"demand": (5, 4)},
        {"backhaul_share": 1.5},
        {"num_depots": 1},
        {"horizon": 3.0},
        {"window_length": (0.3, 0.2)},
    ],
    ids=str,
)
def test_impossible_tightness_is_refused(changes: dict[str, Any]) -> None:
    """The message names the field and its value."""
    ((name, value),) = changes.items()
    with pytest.raises(InputError, match=name) as caught:
        Tightness(**changes)
    assert str(value).strip("()") in str(caught.value)


def test_tightness_is_kept() -> None:
    """Parameters reach the instances."""
    tightness = Tightness(
        capacity=99, demand=(2, 3), backhaul_share=1.0, horizon=9.0, service_time=(1.0, 1.0),
        window_length=(0.5, 0.5), longest_limit=50.0, num_depots=2,
    )  # fmt: skip
    batch = multi_task_instances(
        200, 10, generator(6), [variant_by_name("mdvrpbltw")], tightness=tightness
    )
    assert batch.num_nodes == 12
    assert set(batch.backhaul[:, 2:].unique().tolist()) == {2, 3}
    assert bool((batch.linehaul == 0).all() & (batch.capacity == 99).all())
    assert bool((batch.service_time[:, 2:] == 1).all())
    assert bool((batch.time_window[:, :2, 1] == 9).all())
    torch.testing.assert_close(batch.time_window[:, 2:].diff(dim=2), torch.full((200, 10, 1), 0.5))
    assert float(batch.distance_limit.max()) > 40
    with pytest.raises(InputError, match="at least 1"):
        multi_task_instances(4, 10, generator(0), [])
