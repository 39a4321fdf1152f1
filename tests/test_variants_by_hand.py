"""The 48 VRP variants on instances that a person can check."""

from __future__ import annotations

import pytest
import torch

from nco.data.batching import collate, replace
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.multi_task import variant_by_name
from nco.envs.checker import check_routes
from nco.envs.environment import State
from nco.envs.variants import multi_task, vrp_variants
from nco.envs.vrp import VRP
from tests.multi_task import small


def walk(env: VRP, instance: Instance, *nodes: int) -> State:
    """The state after these actions of one trajectory."""
    state = env.reset(instance, 1)
    for node in nodes:
        state = env.step(state, torch.tensor([[node]]))
    return state


def allowed(env: VRP, state: State) -> list[int]:
    """The nodes that the mask of one trajectory allows."""
    return env.action_mask(state)[0, 0].nonzero().flatten().tolist()


SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]


def test_the_peak_load_of_mixed_backhauls() -> None:
    """Capacity 10: with a pickup of 5 on board one delivery of 5 fits, which was loaded at the
    depot; a second one would have made 15 after the pickup. Delivering first, all three fit."""
    instance = Instance.vrp(
        coords=SQUARE,
        demand=[0, 0, 5, 5],
        backhaul=[0, 5, 0, 0],
        mixed_backhaul=True,
        capacity=10,
    )
    for env in (vrp_variants["vrpmb"], multi_task):
        assert allowed(env, walk(env, instance, 1)) == [0, 2, 3]
        assert allowed(env, walk(env, instance, 1, 2)) == [0]
        assert allowed(env, walk(env, instance, 2)) == [0, 1, 3]
        assert allowed(env, walk(env, instance, 2, 3)) == [0, 1]
        assert allowed(env, walk(env, instance, 2, 1)) == [0, 3]
    assert not check_routes(instance, [[1, 2, 3]]).feasible
    assert check_routes(instance, [[2, 3, 1]]).feasible


def test_classical_backhauls_come_last() -> None:
    """After a pickup no delivery, until the depot; a route may begin with a pickup."""
    instance = Instance.vrp(coords=SQUARE, demand=[0, 3, 3, 0], backhaul=[0, 0, 0, 4], capacity=10)
    for env in (vrp_variants["vrpb"], multi_task):
        assert allowed(env, walk(env, instance)) == [1, 2, 3]
        assert allowed(env, walk(env, instance, 3)) == [0]
        assert allowed(env, walk(env, instance, 1, 3)) == [0]
        assert allowed(env, walk(env, instance, 1, 3, 0)) == [2]


def test_a_customer_with_delivery_and_pickup_gets_the_delivery_first() -> None:
    """Delivering 6 and picking up 7 fits into 10. Classical: it may follow deliveries and pickups
    may follow it, and not the other way round."""
    both = {"coords": SQUARE, "demand": [0, 6, 3, 0], "backhaul": [0, 7, 0, 2], "capacity": 10}
    classical = Instance.vrp(**both)
    assert allowed(multi_task, walk(multi_task, classical)) == [1, 2, 3]
    assert allowed(multi_task, walk(multi_task, classical, 1)) == [0, 3]
    assert allowed(multi_task, walk(multi_task, classical, 2)) == [0, 1, 3]
    assert allowed(multi_task, walk(multi_task, classical, 3)) == [0]
    mixed = Instance.vrp(**both, mixed_backhaul=True)
    assert allowed(multi_task, walk(multi_task, mixed, 1)) == [0, 2, 3]
    assert allowed(multi_task, walk(multi_task, mixed, 1, 2)) == [0, 3]
    assert allowed(multi_task, walk(multi_task, mixed, 1, 3)) == [0]


def test_windows_and_limits_hold_to_the_point() -> None:
    """A customer at distance 5: a window that ends at 5, a depot that closes at 12 after a service
    of 2, a limit of 10 are enough; a thousandth less is not, unless the route is open."""
    coords = torch.tensor([[0.0, 0.0], [3.0, 4.0]])

    def instance(
        late: float = 5, closes: float = 12, limit: float = 10, open_route: bool = False
    ) -> Instance:
        return Instance.vrp(
            coords=coords,
            time_window=[[0, closes], [0, late]],
            service_time=[0, 2],
            distance_limit=limit,
            open_route=open_route,
        )

    multi_task.require(instance())
    for tight in (instance(late=4.999), instance(closes=11.999), instance(limit=9.999)):
        with pytest.raises(InputError, match="customer 1 of instance 0 cannot be served"):
            multi_task.require(tight)
    multi_task.require(instance(closes=5, limit=5, open_route=True))


def test_waiting_and_service_take_time() -> None:
    """Arriving at 1, waiting until 4, serving for 2 and driving 1: service at 7, not at 6.9."""
    for late, expected in ((7.0, [0, 2]), (6.9, [0])):
        instance = Instance.vrp(
            coords=[[0, 0], [1, 0], [2, 0]],
            time_window=[[0, 100], [4, 9], [0, late]],
            service_time=[0, 2, 0],
        )
        assert allowed(multi_task, walk(multi_task, instance, 1)) == expected


@pytest.mark.parametrize("attribute", ["distance_limit", "time_window"])
def test_sums_of_long_routes_stay_within_the_checkers_tolerance(attribute: str) -> None:
    """At limits within rounding of a route of 200 arcs, the mask accepts the last customer only
    where the checker does, and does accept it where the limit is the exact length."""
    coords = torch.rand(1, 201, 2, generator=torch.Generator().manual_seed(18))
    order = list(range(1, 201))
    plain = Instance.vrp(coords=coords, open_route=True)
    length = check_routes(plain, [order]).cost
    for share in torch.linspace(-2e-6, 2e-6, 41, dtype=torch.float64).tolist():
        limit = torch.tensor([length * (1 + share)])
        window = plain.time_window.clone()
        window[0, 200, 1] = limit
        one = replace(plain, {attribute: limit if attribute == "distance_limit" else window})
        accepted = bool(multi_task.action_mask(walk(multi_task, one, *order[:-1]))[0, 0, 200])
        feasible = check_routes(one, [order]).feasible
        assert feasible or not accepted
        if share >= 0:
            assert accepted


def test_routes_return_to_the_depot_that_they_began_at() -> None:
    """Depots at 0 and 10 on a line, customers at 1 and 9: from depot 0 to 1 and back is 2, however
    the next depot is chosen; then from depot 1 to 9 and back is 2."""
    instance = Instance.vrp(
        coords=[[0, 0], [10, 0], [1, 0], [9, 0]], demand=[0, 0, 1, 1], capacity=1, num_depots=2
    )
    state = multi_task.reset(instance, 1)
    assert allowed(multi_task, state) == [0, 1]
    assert allowed(multi_task, walk(multi_task, instance, 0)) == [2, 3]
    assert allowed(multi_task, walk(multi_task, instance, 0, 2)) == [0, 1]
    assert allowed(multi_task, walk(multi_task, instance, 0, 2, 1)) == [3]
    assert allowed(multi_task, walk(multi_task, instance, 0, 2, 1, 3)) == [1]
    end = walk(multi_task, instance, 0, 2, 1, 3, 1)
    assert bool(multi_task.done(end))
    assert allowed(multi_task, end) == [1]
    for actions, cost in (([0, 2, 1, 3, 1, 1], 4.0), ([1, 2, 0, 3, 0, 0], 36.0)):
        assert float(multi_task.cost(instance, torch.tensor([[actions]]))) == cost
        opened = replace(instance, {"open_route": torch.tensor([True])})
        assert float(multi_task.cost(opened, torch.tensor([[actions]]))) == cost / 2


def test_a_depot_that_can_serve_nobody_is_not_offered() -> None:
    """The limit lets depot 0 reach customer 2 only and depot 1 customer 3 only: each is offered
    while its customer is left."""
    instance = Instance.vrp(
        coords=[[0, 0], [10, 0], [1, 0], [9, 0]], distance_limit=2.0, num_depots=2
    )
    multi_task.require(instance)
    assert allowed(multi_task, walk(multi_task, instance, 0)) == [2]
    assert allowed(multi_task, walk(multi_task, instance, 0, 2)) == [1]
    assert allowed(multi_task, walk(multi_task, instance, 1, 3)) == [0]


def test_each_depot_has_its_own_hours() -> None:
    """Customers at distance 1 of both depots. Depot 0 is open until 3: a service at 4 is too late.
    Depot 1 opens at 5: its vehicle comes at 6, too late for a window that ends at 5.5."""
    instance = Instance.vrp(
        coords=[[0, 0], [2, 0], [1, 0], [1, 0]],
        time_window=[[0, 3], [5, 20], [4, 10], [0, 5.5]],
        num_depots=2,
    )
    multi_task.require(instance)
    assert allowed(multi_task, walk(multi_task, instance, 0)) == [3]
    assert allowed(multi_task, walk(multi_task, instance, 1)) == [2]
    assert allowed(multi_task, walk(multi_task, instance, 0, 3)) == [1]
    seen = multi_task.context_features(walk(multi_task, instance, 0, 3, 1))[0, 0]
    assert float(seen[multi_task.context_feature_names.index("service_start")]) == 5 / 20
    assert check_routes(instance, [[3], [2]], [0, 1]).feasible


def test_a_limited_fleet_is_refused() -> None:
    """One vehicle fewer than customers is a limit, as many is none."""
    demand = [0, 1, 1, 1]
    with pytest.raises(InputError, match="limited fleet"):
        multi_task.require(Instance.vrp(coords=SQUARE, demand=demand, capacity=9, num_vehicles=2))
    multi_task.require(Instance.vrp(coords=SQUARE, demand=demand, capacity=9, num_vehicles=3))


def test_starts_are_pairs_where_an_instance_has_several_depots() -> None:
    """Customers in turn, each time round with the next depot; from the one depot of another
    instance of the batch after a step that stays there. Alone that has customers only."""
    batch = collate(
        [small(variant_by_name("vrptw"), 4, 1, 0), small(variant_by_name("mdvrptw"), 3, 1, 0)]
    )
    single, several = multi_task.start_actions(batch, 6).tolist()
    assert single == [[0, 1], [0, 2], [0, 3], [0, 4], [0, 1], [0, 2]]
    assert several == [[0, 2], [1, 3], [0, 4], [1, 2], [0, 3], [1, 4]]
    assert multi_task.start_actions(batch[:1], 4).tolist() == [[[1], [2], [3], [4]]]
    assert (multi_task.num_starts(batch), multi_task.num_starts(batch[1:])) == (4, 3)


def test_a_start_is_at_a_depot_that_serves_its_customer() -> None:
    """Within the limit of 2, customer 2 is served from depot 0 only, 3 from 1 only, 4 from both;
    so only 4 has a second pair."""
    instance = Instance.vrp(
        coords=[[0, 0], [2, 0], [0, 1], [2, 1], [1, 0]], distance_limit=2.0, num_depots=2
    )
    starts = multi_task.start_actions(instance, 6)[0].tolist()
    assert starts == [[0, 2], [1, 3], [0, 4], [0, 2], [1, 3], [1, 4]]


def test_feature_columns_by_hand() -> None:
    """Names and values of what a policy sees: times as shares of the horizon, loads as shares of
    the capacity; attributes of the whole instance at depots only."""
    instance = Instance.vrp(
        coords=SQUARE,
        demand=[0, 3, 4, 0],
        backhaul=[0, 0, 0, 5],
        mixed_backhaul=True,
        capacity=10,
        time_window=[[0, 10], [2, 4], [0, torch.inf], [0, 8]],
        service_time=[0, 1, 0, 0],
        distance_limit=4.0,
        open_route=True,
    )
    assert multi_task.node_feature_names == (
        "x", "y", "linehaul", "backhaul", "mixed_backhaul", "window_start", "window_end",
        "service_time", "inverse_horizon", "inverse_limit", "open_route",
    )  # fmt: skip
    assert multi_task.depot_feature_names == (
        "x", "y", "mixed_backhaul", "window_start", "window_end", "inverse_horizon",
        "inverse_limit", "open_route",
    )  # fmt: skip
    expected = torch.tensor(
        [
            [0, 0, 0, 0, 1, 0, 1, 0, 0.1, 0.25, 1],
            [1, 0, 0.3, 0, 0, 0.2, 0.4, 0.1, 0, 0, 0],
            [1, 1, 0.4, 0, 0, 0, 1, 0, 0, 0, 0],
            [0, 1, 0, 0.5, 0, 0, 0.8, 0, 0, 0, 0],
        ]
    )
    torch.testing.assert_close(multi_task.node_features(instance).values[0], expected)
    assert multi_task.context_feature_names == (
        "remaining_capacity", "remaining_pickup_capacity", "deliveries_over", "service_start",
        "remaining_distance", "home_x", "home_y",
    )  # fmt: skip
    seen = multi_task.context_features(walk(multi_task, instance, 1, 3))[0, 0]
    # the peak of [deliver 3, pick up 5] is 5; from 1 after service at 3, diagonally to 3
    way = 2**0.5
    torch.testing.assert_close(
        seen, torch.tensor([0.5, 0.5, 0, (3 + way) / 10, 1 - (1 + way) / 4, 0, 0])
    )
