"""Requests over a day: streams, rules by hand, and what every dispatcher must keep."""

from __future__ import annotations

import pytest
import torch

from nco.baselines.dispatching import (
    Chance,
    ChooseThenRoute,
    Everyone,
    Nobody,
    PrizeDispatch,
    hindsight,
    hindsight_cost,
    serve,
)
from nco.baselines.pyvrp_solver import PyVRPSolver
from nco.baselines.solver import Budget
from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.request_stream import DispatchRules, draw_requests
from nco.envs.dispatch import Day, Request
from tests.draws import seeded

BUDGET = Budget(iterations=10)
RULES = DispatchRules(num_epochs=4, epoch=0.6, candidates=4)
TEST = Scenarios(Split.TEST, 2, seed=4)


def static() -> Instance:
    """Two instances with windows within a horizon of 4.6."""
    instance = generate("vrptw", num_customers=15, batch=2, generator=seeded(3))
    return replace(instance, {"key": torch.tensor([8, 9])})


def a_day() -> Day:
    """One day of a static instance."""
    instance = static()
    return Day.of(instance, RULES, draw_requests(instance, RULES, TEST), 0, 1)


def test_streams_are_drawn_from_the_instance_and_can_be_served() -> None:
    """Each quantity comes from the customers' lists, independently; whoever is dropped could not be
    served alone by plain arithmetic, and all others could; the same name gives the same day."""
    instance, rules = static(), DispatchRules(num_epochs=5, epoch=0.7, candidates=300)
    drawn = draw_requests(instance, rules, TEST)
    assert instance.coords is not None
    for b in range(2):
        assert set(drawn.place[b].unique().tolist()) == set(range(1, 16))
        assert set(drawn.demand[b].unique().tolist()) == set(instance.linehaul[b, 1:].tolist())
        closes = float(instance.time_window[b, 0, 1])
        way = (instance.coords[b] - instance.coords[b, 0]).norm(dim=1).tolist()
        for e in range(5):
            for c in range(300):
                at = b, 1, e, c
                early, late = drawn.window[at].tolist()
                there = 0.7 * (e + 1) + way[int(drawn.place[at])]
                home = max(there, early) + float(drawn.service[at]) + way[int(drawn.place[at])]
                if min(abs(there - late), abs(home - closes)) > 1e-5:
                    assert bool(drawn.real[at]) == (there <= late and home <= closes)
    # a place says nothing about the window that it gets
    pairs = torch.stack((drawn.place[0].flatten().double(), drawn.window[0, ..., 0].flatten()))
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 5 / pairs.shape[1] ** 0.5
    alone = draw_requests(instance[1:], rules, TEST.part(1, 2))
    assert torch.equal(alone.place[0, 0], drawn.place[1, 1])
    assert torch.equal(alone.real[0, 0], drawn.real[1, 1])


def by_hand() -> Day:
    """On a line, epochs of 10 that dispatch 10 later; three requests at 5 on the first day."""
    static = Instance.vrp(
        coords=[[0.0, 0.0], [5.0, 0.0]],
        demand=[0.0, 1.0],
        capacity=2.0,
        time_window=[[0.0, 100.0], [0.0, 100.0]],
        key=1,
    )
    requests = (
        Request(0, 0, 1, 1.0, 0.0, (0.0, 24.0)),
        Request(1, 0, 1, 1.0, 0.0, (0.0, 25.0)),
        Request(2, 1, 1, 1.0, 0.0, (0.0, 100.0)),
    )
    return Day(static, DispatchRules(num_epochs=3, epoch=10.0), requests)


def test_who_must_leave() -> None:
    """0 would be reached at 25, a unit late, if it waited; 1 just in time; in the last epoch all
    must leave."""
    day = by_hand()
    first = day.start()
    assert first.open == (0, 1)
    assert day.must_leave(first) == (0,)
    second = day.dispatch(first, [[0]])
    assert second.open == (1, 2)
    assert second.cost == pytest.approx(10)
    assert day.must_leave(second) == (1,)
    third = day.dispatch(second, [[1]])
    assert day.must_leave(third) == (2,)
    last = day.dispatch(third, [[2]])
    assert last.open == ()
    assert last.sent == (1, 1, 1)
    assert last.cost == pytest.approx(30)


def test_dispatches_that_are_refused() -> None:
    """Who must leave is left, who is not open leaves, twice, or beyond the capacity."""
    day = by_hand()
    first = day.start()
    for routes, words in (
        ([[1]], r"requests \[0\] must leave in epoch 0"),
        ([[0, 2]], "accepted: open ones"),
        ([[0], [0]], "each once"),
    ):
        with pytest.raises(InputError, match=words):
            day.dispatch(first, routes)
    second = day.dispatch(first, [[0]])
    day.dispatch(second, [[1, 2]])
    narrow = Day(replace(day.instance, {"capacity": torch.tensor([1.0]).double()}), day.rules,
                 day.requests)  # fmt: skip
    with pytest.raises(InputError, match="above the capacity"):
        narrow.dispatch(second, [[1, 2]])


def test_waiting_pays_where_requests_can_share_a_way() -> None:
    """By hand: greedy drives to the place twice (both of the first epoch share a route), lazy
    drives for 0 alone, then for 1 and 2 together; hindsight does as well as the best."""
    day, solver = by_hand(), PyVRPSolver()
    greedy = serve(day, ChooseThenRoute(Everyone(), solver), BUDGET, 0)
    lazy = serve(day, ChooseThenRoute(Nobody(), solver), BUDGET, 0)
    assert (greedy.sent, greedy.cost) == ((2, 1, 0), pytest.approx(20))
    assert (lazy.sent, lazy.cost) == ((1, 1, 1), pytest.approx(30))
    # a prize that does not pay for a way, but for who lies on it
    shared = serve(day, PrizeDispatch(1.0, PyVRPSolver()), BUDGET, 0)
    assert (shared.sent, shared.cost) == ((2, 0, 1), pytest.approx(20))
    best = hindsight(day, BUDGET, 0)
    assert hindsight_cost(day, best) == pytest.approx(20)
    with pytest.raises(InputError, match="every request of the day once"):
        hindsight_cost(day, best[:1])


@pytest.mark.parametrize(
    "dispatcher",
    [
        ChooseThenRoute(Everyone(), PyVRPSolver()),
        ChooseThenRoute(Chance(0.5), PyVRPSolver()),
        PrizeDispatch(0.1, PyVRPSolver()),
    ],
)
def test_every_request_is_served(dispatcher) -> None:
    """By the end of the day, each once, by routes that the checker accepts; the same seed gives
    the same day."""
    day = a_day()
    end = serve(day, dispatcher, BUDGET, 5)
    assert end.open == ()
    assert sum(end.sent) == len(day.requests) > 3
    assert serve(day, dispatcher, BUDGET, 5) == end


def test_a_prize_of_nothing_is_lazy_and_a_great_one_greedy() -> None:
    """By whom they send in each epoch; hindsight serves all of a drawn day."""
    day = a_day()
    pairs = ((0.0, Nobody()), (1e3, Everyone()))
    for prize, choice in pairs:
        chosen = serve(day, PrizeDispatch(prize, PyVRPSolver()), BUDGET, 2)
        assert chosen.sent == serve(day, ChooseThenRoute(choice, PyVRPSolver()), BUDGET, 2).sent
    routes = hindsight(day, Budget(iterations=40), 0)
    assert hindsight_cost(day, routes) > 0


def test_what_is_refused() -> None:
    """Days without end, probabilities and prizes out of range."""
    open_end = generate("cvrp", num_customers=4, batch=1, generator=seeded())
    with pytest.raises(InputError, match="never closes"):
        draw_requests(replace(open_end, {"key": torch.tensor([1])}), RULES, TEST)
    with pytest.raises(InputError, match="at least 1 of both"):
        DispatchRules(num_epochs=0, epoch=1.0)
    with pytest.raises(InputError, match="a probability"):
        Chance(1.5)
    with pytest.raises(InputError, match="prize is -1"):
        PrizeDispatch(-1.0, PyVRPSolver())
