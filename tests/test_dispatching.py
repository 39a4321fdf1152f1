"""Requests over a day: streams, rules by hand, and what every dispatcher must keep."""

from __future__ import annotations

import itertools
from dataclasses import astuple, fields
from dataclasses import replace as replace_request
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nco.baselines.consensus import Consensus
from nco.baselines.dispatch_routes import ChooseThenRoute, Hindsight, PrizeDispatch
from nco.baselines.dispatching import Chance, Dispatcher, Everyone, Nobody, serve
from nco.baselines.solver import Budget
from nco.data.batching import replace, unbatch
from nco.data.dispatch_rules import DispatchRules
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.request_stream import draw_requests, rules_of
from nco.envs.dispatch import Day, Request, Setting, days
from nco.envs.dispatch_checker import Asked, DayJudge, asked, check_days
from tests.days import best_in_hindsight, drawn
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
    instance = replace(static(), {"dispatch": torch.tensor([RULES.row()] * 2)})
    return days(instance[:1], TEST)[1]


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
        Request(1, 0, 1, 1.0, 0.0, (0.0, 25.01)),
        Request(2, 1, 1, 1.0, 0.0, (0.0, 100.0)),
    )
    return Day(Setting(static, DispatchRules(num_epochs=3, epoch=10.0)), requests)


def test_who_must_leave() -> None:
    """0 would be reached at 25, a unit late, if it waited; 1 in time; in the last epoch all
    must leave."""
    day = by_hand()
    first = day.start()
    assert first.open == (0, 1)
    assert day.known(first).must == {0}
    second = day.dispatch(first, [[0]])
    assert second.open == (1, 2)
    assert second.cost == pytest.approx(10)
    assert day.known(second).must == {1}
    third = day.dispatch(second, [[1]])
    assert day.known(third).must == {2}
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
    one = replace(day.setting.instance, {"capacity": torch.tensor([1.0]).double()})
    narrow = Day(Setting(one, day.setting.rules), day.requests)
    with pytest.raises(InputError, match="beyond the capacity"):
        narrow.dispatch(second, [[1, 2]])


def test_waiting_pays_where_requests_can_share_a_way() -> None:
    """By hand: greedy drives to the place twice (both of the first epoch share a route), lazy
    drives for 0 alone, then for 1 and 2 together; hindsight does as well as the best."""
    day = by_hand()
    greedy = serve(day, ChooseThenRoute(Everyone()), BUDGET, 0)
    lazy = serve(day, ChooseThenRoute(Nobody()), BUDGET, 0)
    assert (greedy.sent, greedy.cost) == ((2, 1, 0), pytest.approx(20))
    assert (lazy.sent, lazy.cost) == ((1, 1, 1), pytest.approx(30))
    # a prize that does not pay for a way, but for who lies on it
    shared = serve(day, PrizeDispatch(1.0), BUDGET, 0)
    assert (shared.sent, shared.cost) == ((2, 0, 1), pytest.approx(20))
    best = Hindsight().dispatches(day, BUDGET, 0)
    assert sum(len(routes) for routes in best) == 2


@pytest.mark.parametrize(
    "dispatcher",
    [
        ChooseThenRoute(Everyone()),
        ChooseThenRoute(Chance(0.5)),
        PrizeDispatch(0.1),
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
    """By whom they send in each epoch."""
    day = a_day()
    pairs = ((0.0, Nobody()), (1e3, Everyone()))
    for prize, choice in pairs:
        chosen = serve(day, PrizeDispatch(prize), BUDGET, 2)
        assert chosen.sent == serve(day, ChooseThenRoute(choice), BUDGET, 2).sent


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
        PrizeDispatch(-1.0)


STRATEGIES = [
    ChooseThenRoute(Everyone()),
    ChooseThenRoute(Nobody()),
    ChooseThenRoute(Chance(0.3)),
    PrizeDispatch(0.2),
    Consensus(num_futures=2, num_rounds=2),
]


def tiny_days(count: int) -> list[Day]:
    """Days of at most 7 requests, and of at least 3."""
    found = days(drawn(1, seed=5), Scenarios(Split.TEST, 4 * count))
    return [day for day in found if 3 <= len(day.requests) <= 7][:count]


def test_nobody_beats_who_knows_the_day() -> None:
    """By trying every plan of tiny days: hindsight finds the best, and strategies are never below
    it; some day costs each of them more, so that there is something to know."""
    found = tiny_days(4)
    assert len(found) == 4
    best = [best_in_hindsight(day) for day in found]
    for day, least in zip(found, best, strict=True):
        routes = Hindsight().dispatches(day, Budget(iterations=60), 0)
        lengths = [
            day.setting.route_length([day.requests[n] for n in route])
            for epoch in routes
            for route in epoch
        ]
        assert sum(lengths) == pytest.approx(least, abs=1e-6)
    for strategy in STRATEGIES:
        costs = [serve(day, strategy, BUDGET, 1).cost for day in found]
        assert all(c >= least - 1e-6 for c, least in zip(costs, best, strict=True)), strategy.name
    lazy = [serve(day, STRATEGIES[1], BUDGET, 1).cost for day in found]
    assert sum(lazy) > sum(best) + 0.1


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_the_judge_agrees_with_the_simulator(strategy: Dispatcher) -> None:
    """On days that the judge draws for itself: no rule is broken, and the costs are the same."""
    for one in unbatch(drawn(2, seed=9)):
        found = days(one, TEST)
        ends = [serve(day, strategy, BUDGET, 3) for day in found]
        reports = check_days(one, TEST, [end.dispatched for end in ends])
        for end, report, day in zip(ends, reports, found, strict=True):
            assert report.violations == []
            assert report.cost == pytest.approx(end.cost, rel=1e-6)
            assert report.routes == sum(map(len, end.dispatched))
            assert report.requests == len(day.requests)


@settings(max_examples=15)
@given(
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    law=st.fixed_dictionaries(
        {
            "num_epochs": st.integers(1, 6),
            "rate": st.integers(1, 4),
            "windows": st.sampled_from([(0.0, 0.1), (0.2, 1.5)]),
        }
    ),
)
def test_whatever_is_drawn_the_judge_accepts(share: float, seed: int, law: dict[str, Any]) -> None:
    """Days of every cut, any share of requests sent early: no rule is broken, costs agree."""
    one = drawn(1, seed=seed % 1000, **law)
    scenarios = Scenarios(Split.TEST, 1, seed)
    (day,) = days(one, scenarios)
    end = serve(day, ChooseThenRoute(Chance(share)), Budget(iterations=3), seed)
    (report,) = check_days(one, scenarios, [end.dispatched])
    assert report.violations == []
    assert report.cost == pytest.approx(end.cost, rel=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_what_is_still_to_come_is_not_seen(strategy: Dispatcher) -> None:
    """With other requests from an epoch on, or none, all dispatches before it are the same."""
    one = drawn(1, seed=2)
    day, other = days(one, TEST)
    for epoch in (1, 3):
        before = [r for r in day.requests if r.epoch < epoch]
        later = [r for r in other.requests if r.epoch >= epoch]
        renumbered = [replace_request(r, number=len(before) + i) for i, r in enumerate(later)]
        expected = serve(day, strategy, BUDGET, 7).dispatched[:epoch]
        for future in (renumbered, []):
            changed = Day(day.setting, (*before, *future))
            assert serve(changed, strategy, BUDGET, 7).dispatched[:epoch] == expected


def test_a_dispatcher_is_given_no_day() -> None:
    """What it is handed holds the open requests and what was known before the day, and neither is
    the simulator or leads to it."""
    day = a_day()
    epoch = day.known(day.start())
    assert {r.epoch for r in epoch.open} == {0}
    assert {field.name for field in fields(epoch)} == {"setting", "number", "open", "must"}
    assert {field.name for field in fields(epoch.setting)} == {"instance", "rules"}


def test_days_are_the_same_for_everyone_and_differ_by_split() -> None:
    """To the bit, alone or in a batch, for the simulator and the judge; training, selection and
    test days have no request in common."""
    batch = drawn(2, seed=4)
    for one in unbatch(batch):
        assert [d.requests for d in days(one, TEST)] == [d.requests for d in days(one, TEST)]
        for day, told in zip(days(one, TEST), asked(one, TEST), strict=True):
            pairs = zip(day.requests, told, strict=True)
            for request, seen in pairs:
                assert astuple(request)[1:-1] == (
                    seen.epoch, seen.place, seen.demand, seen.service
                )  # fmt: skip
                assert request.window == (seen.early, seen.late)
    whole = draw_requests(batch, rules_of(batch), TEST)
    alone = draw_requests(batch[1:], rules_of(batch), TEST)
    assert torch.equal(whole.window[1], alone.window[0])
    streams = [days(drawn(1, rate=40), Scenarios(split, 1))[0].requests for split in Split]
    for first, second in itertools.combinations(streams, 2):
        # as many are equal by chance as of two lists of independent draws, from 8 places each
        pairs = list(zip(first, second, strict=False))
        equal = sum(a.place == b.place for a, b in pairs)
        assert equal < 0.4 * len(pairs)
        assert len(pairs) > 40


def broken_days() -> list[tuple[list[list[list[int]]], str]]:
    """What the judge must find in the day by hand, where all is well with [[0, 1]], [], [[2]]."""
    return [
        ([[[0, 1]], [], []], "request 2 is not served"),
        ([[[0, 1]], [[1]], [[2]]], "request 1 is served 2 times"),
        ([[[0, 1], [2]], [], []], "request 2 comes in epoch 1 only"),
        ([[[1]], [[0]], [[2]]], "request 0 is reached at 25, late after 24"),
        ([[], [[2, 1]], [[0]]], "request 0 is reached at 35, late after 24"),
        ([[[0, 1]], [], [[2, 3]]], "request 3 does not exist"),
        ([[[0, 1]], [[2]]], "2 epochs are told; a day has 3"),
    ]


@pytest.mark.parametrize(("told", "words"), broken_days())
def test_the_judge_finds_each_broken_rule(told: list[list[list[int]]], words: str) -> None:
    """By hand; capacity and closing time below."""
    day = by_hand()
    one = replace(day.setting.instance, {"dispatch": torch.tensor([day.setting.rules.row()])})
    requests = [Asked(r.epoch, r.place, r.demand, r.service, *r.window) for r in day.requests]
    fine = DayJudge(one).report(requests, [[[0, 1]], [], [[2]]])
    assert (fine.violations, fine.cost, fine.unserved, fine.late) == ([], 20, 0, 0)
    report = DayJudge(one).report(requests, told)
    assert any(words in text for text in report.violations), report.violations
    assert (report.unserved > 0) == ("not served" in " ".join(report.violations))
    assert (report.late > 0) == ("late" in " ".join(report.violations))


def test_the_judge_finds_too_full_and_too_late_routes() -> None:
    """Three of demand 1 where 2 fit; and a depot that closes at 34, when the last route is back at
    40."""
    day = by_hand()
    one = replace(day.setting.instance, {"dispatch": torch.tensor([day.setting.rules.row()])})
    requests = [Asked(0, 1, 1.0, 0.0, 0.0, 100.0)] * 3
    full = DayJudge(one).report(requests, [[[0, 1, 2]], [], []])
    assert full.violations == ["epoch 0: a route carries 3, the capacity is 2"]
    window = torch.tensor([[[0.0, 34.0], [0.0, 34.0]]], dtype=torch.float64)
    shut = DayJudge(replace(one, {"time_window": window})).report(requests[:1], [[], [], [[0]]])
    assert shut.violations == ["epoch 2: a route is back at 40, the depot closes at 34"]
    assert shut.late == 1


def test_what_strategies_refuse() -> None:
    """Shares, numbers of futures, days that are not told."""
    with pytest.raises(InputError, match=r"threshold is 0.0; accepted: above 0"):
        Consensus(threshold=0.0)
    with pytest.raises(InputError, match="num_futures is 0"):
        Consensus(num_futures=0)
    with pytest.raises(InputError, match="needs a time limit or an iteration limit"):
        serve(a_day(), ChooseThenRoute(Everyone()), Budget(), 0)
    with pytest.raises(InputError, match="one for each of 2"):
        check_days(drawn(), TEST, [])


def test_routes_are_found_however_short_the_search_is() -> None:
    """PyVRP may end a search of one iteration without feasible routes: then each request has one
    of its own to begin with. So no day fails, with releases and without."""
    found = days(drawn(1, seed=3, customers=20, rate=8, windows=(0.1, 0.1)), TEST)
    for day in found:
        for strategy in (Hindsight(), ChooseThenRoute(Everyone()), PrizeDispatch(0.1)):
            routes = strategy.dispatches(day, Budget(time_limit=1e-9), 0)
            sent = sorted(n for epoch in routes for route in epoch for n in route)
            assert sent == [request.number for request in day.requests]
