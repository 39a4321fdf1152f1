"""What is driven where a vehicle decides on the way: judged, told in text, followed from plans."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch

from nco.api import generate
from nco.baselines.ortools_solver import ORToolsSolver
from nco.baselines.reoptimisation import Reoptimisation
from nco.baselines.solver import Budget
from nco.baselines.walkers import (
    Follower,
    PlannedRoutes,
    RecourseRoutes,
    Replanning,
)
from nco.data.batching import replace, unbatch
from nco.data.demand_laws import realised_demands
from nco.data.errors import InputError
from nco.data.instance import DemandLaw, Instance
from nco.data.noise import Scenarios, Split
from nco.data.prize_instances import realised_prizes
from nco.data.walk_text import packed, unpacked
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.objective import MEAN
from nco.envs.plans import stacked
from nco.envs.recourse import recourse
from nco.envs.scenario_cost import ScenarioCost
from nco.envs.variants import environments, scenario_costs
from nco.envs.walk_checker import check_walks
from nco.policy_walker import Choices, PolicyWalker, Selection
from nco.problem_names import ON_THE_WAY
from tests.policies import small_policy
from tests.small import random_rollout

WORLDS = Scenarios(Split.TEST, 12)


def drawn(problem: str, num_customers: int, batch: int, seed: int = 0) -> Instance:
    """Random instances; days with noise that is shared."""
    days = "svrptw" in problem
    return generate(
        problem, num_customers, batch, seed, distribution="correlated" if days else "uniform"
    )


def environment(problem: str, worlds: Scenarios) -> AdaptiveEnvironment:
    """Its rules in these worlds."""
    env = environments[problem]
    assert isinstance(env, AdaptiveEnvironment)
    return env.in_scenarios(worlds)


@pytest.mark.parametrize("problem", ON_THE_WAY)
def test_the_judge_agrees_with_the_environment(problem: str) -> None:
    """Random decisions break no rule, and cost what the environment says, world by world."""
    instance = drawn(problem, 9, 3, seed=4)
    env = environment(problem, WORLDS)
    actions = random_rollout(env, instance, WORLDS.count, seed=1)
    costs = env.cost(instance, actions).double()
    for one, walks, expected in zip(unbatch(instance), actions.tolist(), costs, strict=True):
        reports = list(check_walks(one, WORLDS, walks))
        assert [r.violations for r in reports] == [[]] * WORLDS.count
        assert [r.cost for r in reports] == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
@pytest.mark.parametrize("restocking", [True, False])
def test_a_plan_that_is_followed_comes_to_what_its_simulation_says(
    correlation: float, restocking: bool
) -> None:
    """Demands: in every world the same length and as many vehicles found empty, though the judge
    knows nothing of plans."""
    instance = drawn("vrpsd-adaptive", 10, 3, seed=2)
    assert instance.demand_correlation is not None
    changes = {
        "demand_correlation": instance.demand_correlation + correlation,
        "restocking": torch.full_like(instance.capacity, restocking, dtype=torch.bool),
    }
    for i, one in enumerate(unbatch(replace(instance, changes))):
        order = torch.randperm(10, generator=torch.Generator().manual_seed(i)) + 1
        plan = stacked(one, [([order[:6].tolist(), order[6:].tolist()], None)])
        walks = RecourseRoutes(one, recourse(one, plan)).walks(WORLDS)
        simulation = scenario_costs["vrpsd"]
        found = simulation.outcomes(one, plan, WORLDS)
        reports = list(check_walks(one, WORLDS, walks))
        assert [r.violations for r in reports] == [[]] * WORLDS.count
        assert [r.cost for r in reports] == pytest.approx(found.cost[0, 0].tolist(), rel=1e-9)
        _same_measure(simulation, found.measures[0, 0], "failures", reports)


def _same_measure(
    simulation: ScenarioCost, measures: torch.Tensor, name: str, reports: Sequence[object]
) -> None:
    column = measures[:, simulation.measure_names.index(name)].tolist()
    assert [r.measures[name] for r in reports] == pytest.approx(column, rel=1e-9)  # type: ignore[attr-defined]


@pytest.mark.parametrize("problem", ["svrptw-adaptive", "mdsvrptw-adaptive"])
def test_routes_that_are_driven_come_to_what_their_simulation_says(problem: str) -> None:
    """Days: every part of the cost and every measure, and the failures of the scenarios."""
    instance = drawn(problem, 9, 2, seed=3)
    simulation = scenario_costs["svrptw"]
    for one in unbatch(instance):
        depots, n = int(one.num_depots[0]), one.num_nodes
        customers = list(range(depots, n))
        routes = [customers[:4], customers[4:]]
        plan = stacked(one, [(routes, [0, depots - 1])])
        walks = PlannedRoutes(plan[0, 0].tolist()).walks(WORLDS)
        found = simulation.outcomes(one, plan, WORLDS)
        reports = list(check_walks(one, WORLDS, walks))
        for place, report in enumerate(reports):
            assert not report.violations
            parts = found.parts[0, 0, place].tolist()
            assert list(report.parts.values()) == pytest.approx(parts, rel=1e-9, abs=1e-9)
            assert tuple(report.parts) == simulation.part_names
            late = report.measures["late_customers"] > 0
            assert report.failed == late
        for name in simulation.measure_names:
            _same_measure(simulation, found.measures[0, 0], name, reports)


@pytest.mark.parametrize(
    ("problem", "walk", "words"),
    [
        ("vrpsd-adaptive", [1, 2], "customer 3 is not visited"),
        ("vrpsd-adaptive", [1, 2, 3, 1], "customer 1 is visited again and wants nothing"),
        ("vrpsd-adaptive", [1, 2, 3, 9], "node 9 does not exist; nodes are 0 to 3"),
        ("spctsp", [], "below the 1 that a tour must collect"),
        ("spctsp", [1, 2, 1], "customer 1 is visited 2 times, not once"),
        ("spctsp", [1, 0, 2], "2 routes are given; a prize-collecting tour is one"),
        ("svrptw-adaptive", [1, 0, 2], "customer 3 is not visited"),
        ("svrptw-adaptive", [1, 2, 3, 0, 2], "customer 2 is visited 2 times, not once"),
    ],
)
def test_broken_rules_are_told(problem: str, walk: list[int], words: str) -> None:
    """Each by name, and none where the walk is a right one."""
    one = drawn(problem, 3, 1, seed=1)
    (report,) = check_walks(one, Scenarios(Split.TEST, 1), [walk])
    assert any(words in told for told in report.violations), report.violations


def test_loads_are_kept() -> None:
    """A demand that is not all delivered is told with what is left of it, and more than the
    capacity on one trip of a day."""
    one = replace(
        drawn("vrpsd-adaptive", 2, 1),
        {
            "capacity": torch.tensor([30.0]),
            "linehaul": torch.tensor([[0.0, 20.0, 20.0]]),
            "demand_law": torch.tensor([int(DemandLaw.UNIFORM)]),
        },
    )
    world = Scenarios(Split.TEST, 1)
    (report,) = check_walks(one, world, [[1, 2]])
    assert report.violations == ["customer 2 is left without 10 of its demand"]
    assert (report.failed, report.measures) == (True, {"trips": 1.0, "failures": 1.0})
    (report,) = check_walks(one, world, [[1, 2, 0, 2]])
    assert report.violations == []
    day = drawn("svrptw-adaptive", 3, 1)
    heavy = replace(day, {"linehaul": day.linehaul * 0 + torch.tensor([0.0, 300.0, 300.0, 300.0])})
    (report,) = check_walks(heavy, world, [[1, 2, 3]])
    assert report.violations == ["a trip delivers 900, the capacity is 500"]


def test_as_many_walks_as_worlds() -> None:
    """And an instance with noise that is seen on the way."""
    with pytest.raises(InputError, match="1 walks are told; accepted: one for each of 12"):
        list(check_walks(drawn("spctsp", 3, 1), WORLDS, [[1]]))
    with pytest.raises(InputError, match="no noise that is seen on the way"):
        list(check_walks(drawn("ptsp", 3, 1), Scenarios(Split.TEST, 1), [[1]]))


def test_text_keeps_walks() -> None:
    """Also empty ones; what is not such text is refused, and so are numbers beyond 16 bits."""
    walks = [[1, 0, 2], [], [65_535], list(range(500))]
    assert unpacked(packed(walks)) == walks
    assert unpacked(packed([])) == []
    assert len(packed([list(range(100))] * 1000)) < 2000
    for text in ("?", "abcd", packed(walks)[:-8] + "AAAAAAA="):
        with pytest.raises(InputError, match="walks "):
            unpacked(text)
    with pytest.raises(InputError, match="out of range; accepted: 0 to 65535"):
        packed([[65_536]])


def test_an_optimal_policy_is_never_worse_than_the_best_plan() -> None:
    """Three customers, some worlds: every decision on the way is enumerated, each seeing only what
    was met so far. It costs at most what the best of all plans does, and sometimes less."""
    gains = []
    for seed in range(3):
        one = replace(drawn("vrpsd-adaptive", 3, 1, seed), {"capacity": torch.tensor([8.0])})
        worlds = Scenarios(Split.TEST, 6, seed)
        demands: list[list[int]] = realised_demands(one, worlds)[0].tolist()
        best = _best_on_the_way(one, demands)
        plans = [_mean_of_plan(one, worlds, routes) for routes in _all_plans([1, 2, 3])]
        assert best <= min(plans) + 1e-9
        gains.append(min(plans) / best - 1)
    assert max(gains) > 1e-3


def _all_plans(customers: list[int]) -> list[list[list[int]]]:
    plans = []
    for order in itertools.permutations(customers):
        for cuts in itertools.product((False, True), repeat=len(customers) - 1):
            routes = [[order[0]]]
            for node, cut in zip(order[1:], cuts, strict=True):
                if cut:
                    routes.append([node])
                else:
                    routes[-1].append(node)
            plans.append(routes)
    return plans


def _mean_of_plan(one: Instance, worlds: Scenarios, routes: list[list[int]]) -> float:
    plan = stacked(one, [(routes, None)])
    walks = RecourseRoutes(one, recourse(one, plan)).walks(worlds)
    costs = [report.cost for report in check_walks(one, worlds, walks)]
    return sum(costs) / len(costs)


def _best_on_the_way(one: Instance, demands: list[list[int]]) -> float:
    """The least mean cost over equally likely worlds, by trying everything at every step."""
    assert one.coords is not None
    length = torch.cdist(one.coords[0].double(), one.coords[0].double()).tolist()
    capacity = int(one.capacity[0])
    known: dict[object, float] = {}

    def least(worlds: tuple[int, ...], here: int, load: int, rest: tuple[int | None, ...]) -> float:
        """Of what is left, summed over these worlds; ``rest``: None where a demand is not seen."""
        if all(left == 0 for left in rest):
            return len(worlds) * length[here][0]
        state = worlds, here, load, rest
        if state in known:
            return known[state]
        found = []
        if here != 0:
            found.append(len(worlds) * length[here][0] + least(worlds, 0, capacity, rest))
        for index, left in enumerate(rest):
            node = index + 1
            if left == 0 or (left is not None and load == 0):
                continue
            total = len(worlds) * length[here][node]
            asked = {w: demands[w][node] if left is None else left for w in worlds}
            for amount in set(asked.values()):
                same = tuple(w for w in worlds if asked[w] == amount)
                given = min(load, amount)
                after = (*rest[:index], amount - given, *rest[index + 1 :])
                total += least(same, node, load - given, after)
            found.append(total)
        known[state] = min(found)
        return known[state]

    customers = one.num_nodes - 1
    every = tuple(range(len(demands)))
    return least(every, 0, capacity, (None,) * customers) / len(demands)


def policy_walker(problem: str, **options: object) -> PolicyWalker:
    """Of a network that nobody has trained."""
    env = environments[problem]
    assert isinstance(env, AdaptiveEnvironment)
    selection = Selection(Scenarios(Split.SELECTION, 6), MEAN, None)
    values = {"augment": 1, "multi_start": False, "selection": selection} | options
    return PolicyWalker("policy", env, small_policy("pomo", env), **values)  # type: ignore[arg-type]


def _followers(one: Instance) -> list[Follower]:
    """Of demands: a policy, chosen among some, and a plan."""
    plan = stacked(one, [([list(range(1, one.num_nodes))], None)])
    chosen = policy_walker("vrpsd-adaptive", multi_start=True).prepared(one, Budget(), 0)
    return [chosen, RecourseRoutes(one, recourse(one, plan))]


def test_worlds_are_seen_on_the_way_only() -> None:
    """Two worlds are walked alike until what was met in them differs; and they do differ."""
    one = drawn("vrpsd-adaptive", 8, 1, seed=5)
    demands = realised_demands(one, WORLDS)[0].tolist()
    for follower in _followers(one):
        _seen_before_decided(follower.walks(WORLDS), demands)
    prize = drawn("spctsp", 8, 1, seed=5)
    prizes = realised_prizes(prize, WORLDS)[0].tolist()
    again = Replanning(Reoptimisation(ORToolsSolver(), "first"), prize, Budget(iterations=20), 0)
    _seen_before_decided(again.walks(WORLDS), prizes)
    policy = policy_walker("spctsp", augment=8).prepared(prize, Budget(), 0)
    _seen_before_decided(policy.walks(WORLDS), prizes)


def _seen_before_decided(walks: list[list[int]], met: list[list[float]]) -> None:
    assert len({tuple(walk) for walk in walks}) > 1
    for (walk, mine), (other, theirs) in itertools.combinations(zip(walks, met, strict=True), 2):
        for step, (a, b) in enumerate(zip(walk, other, strict=False)):
            if a != b:
                assert any(mine[node] != theirs[node] for node in walk[:step])
                break


def test_the_policy_of_lowest_mean_on_selection_scenarios_is_followed() -> None:
    """Every position and every start is tried, or the first of them; the one chosen is the best of
    those tried, and does in the selection scenarios what it was chosen for."""
    one = drawn("vrpsd-adaptive", 6, 1, seed=7)
    walker = policy_walker("vrpsd-adaptive", augment=8, multi_start=True)
    groups: list[Choices] = list(walker._choices(one))  # noqa: SLF001
    values = torch.cat([walker.values(one, group) for group in groups])
    assert [g.count for g in groups] == [1] * 8 + [6] * 8
    assert len(values) == 56
    selection = walker.selection.scenarios
    for most, tried in ((None, 56), (1, 1), (10, 10)):
        limited = policy_walker(
            "vrpsd-adaptive",
            augment=8,
            multi_start=True,
            selection=Selection(selection, MEAN, most),
        )
        follower = limited.prepared(one, Budget(), 0)
        assert follower.plan_scenarios == 6 * tried
        costs = [report.cost for report in check_walks(one, selection, follower.walks(selection))]
        assert sum(costs) / 6 == pytest.approx(float(values[:tried].min()), rel=1e-5)
