"""Searches around policies: what all of them keep, and what each does."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import nco.search
from nco.baselines.local_search import LocalSearch
from nco.baselines.pyvrp_solver import PyVRPSolver, problem_of
from nco.baselines.pyvrp_solver import search as pyvrp_search
from nco.baselines.solver import Budget, UnsupportedError
from nco.baselines.workers import Routes
from nco.baselines.workers import Search as Asked
from nco.benchmark_config import ModelConfig
from nco.cli import main
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.files import write
from nco.data.instance import Instance
from nco.data.multi_task import multi_task_instances, variant_by_name
from nco.decode import decode
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.environment import Environment
from nco.envs.variants import cvrp, environments, multi_task, tsp
from nco.likelihood import log_likelihood
from nco.models.distance_rule import DistanceRule
from nco.models.policy import Encoding, Policy
from nco.named_solvers import solver_by_name
from nco.neural_solver import load
from nco.rollout import Trajectory
from nco.search import Clock, Progress, Search, Task, run
from nco.search_active import EAS, ActiveSearch
from nco.search_beam import SGBS
from nco.search_config import SEARCH_NAMES, search_config
from nco.search_rrc import RandomReconstruction
from nco.search_ruins import RuinRecreateSearch
from nco.search_sampling import LocalSearchOnSamples, SamplingSearch
from nco.search_solver import SearchSolver
from nco.solver_config import SOLVER_NAMES
from tests.multi_task import TIGHT, best_route_sets_cost, small
from tests.policies import small_policy
from tests.small import best_cvrp_cost, best_tour_length, instances
from tests.test_neural_solver import stored_model

SEARCHES: dict[str, Search] = {
    "sampling": SamplingSearch(samples=8),
    "local-search": LocalSearchOnSamples(samples=4),
    "ruin-recreate": RuinRecreateSearch(),
    "sgbs": SGBS(beam=2, expansion=3, augment=1),
    "eas-embedding": EAS(),
    "eas-layer": EAS(kind="layer"),
    "active": ActiveSearch(),
    "rrc": RandomReconstruction(samples=6),
}
ENVIRONMENTS = {"tsp": tsp, "cvrp": cvrp, "mixed": multi_task}
POLICIES = {name: small_policy("pomo", env) for name, env in ENVIRONMENTS.items()}


def batch_of(problem: str, count: int, size: int = 10) -> Instance:
    """Instances of one problem, or of many variants that bind."""
    if problem == "mixed":
        return multi_task_instances(count, size, torch.Generator().manual_seed(3), tightness=TIGHT)
    return instances(problem, size, count, seed=4)


def task_of(policy: Policy, instance: Instance, seed: int = 0) -> Task:
    """Without a limit."""
    return Task(policy, instance, torch.Generator().manual_seed(seed), Clock(None))


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("problem", ENVIRONMENTS)
def test_feasible_never_worse_and_the_same_again(name: str, problem: str) -> None:
    """On tours, routes and mixed variants: the checker accepts every solution, none costs more
    than the greedy one, the trace falls to the cost, and a seed with an iteration limit repeats."""
    policy, batch = POLICIES[problem], batch_of(problem, 2 if problem == "mixed" else 1)
    solver = SearchSolver(policy, "small", "small", SEARCHES[name])
    found = solver.solve(batch, Budget(iterations=2), seed=1)
    again = solver.solve(batch, Budget(iterations=2), seed=1)
    assert [s.routes for s in found] == [s.routes for s in again]
    greedy = decode(policy.env, policy, batch).costs
    for solution, start in zip(found, greedy.tolist(), strict=True):
        assert solution.feasible, solution.violations
        assert solution.cost <= start * (1 + 1e-5)
        costs = [cost for _, cost in solution.trace]
        assert costs == sorted(costs, reverse=True)
        assert costs[-1] == solution.cost
        assert 0 < solution.trace[-1][0] <= solution.seconds


@pytest.mark.parametrize(
    "name", ["sampling", "local-search", "ruin-recreate", "sgbs", "eas-embedding"]
)
def test_several_are_searched_together(name: str) -> None:
    """Instances of several variants at once: each feasible, and no worse than its greedy
    solution."""
    batch = batch_of("mixed", 4)
    solver = SearchSolver(POLICIES["mixed"], "small", "small", SEARCHES[name], at_once=4)
    found = solver.solve(batch, Budget(iterations=2), seed=0)
    greedy = decode(multi_task, POLICIES["mixed"], batch).costs.tolist()
    for one, start in zip(found, greedy, strict=True):
        assert one.feasible, one.violations
        assert one.cost <= start * (1 + 1e-5)


class _Steps(Progress):
    """Every step takes a while of a clock that only steps move."""

    def __init__(self, task: Task, now: list[float], lasts: float) -> None:
        super().__init__(task)
        self.now, self.lasts, self.taken = now, lasts, 0
        now[0] += 0.1
        self.greedy()

    def step(self) -> bool:
        self.now[0] += self.lasts
        self.taken += 1
        return True


class _Slow(Search):
    @property
    def name(self) -> str:
        return "slow"

    @property
    def ends(self) -> bool:
        return False

    def __init__(self, now: list[float], lasts: float) -> None:
        self.now, self.lasts = now, lasts
        self.progress: _Steps | None = None

    def init(self, task: Task) -> Progress:
        self.progress = _Steps(task, self.now, self.lasts)
        return self.progress


@pytest.mark.parametrize(("limit", "steps"), [(1.0, 3), (0.39, 1), (0.15, 0)])
def test_no_step_begins_that_would_end_too_late(
    limit: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first solutions take 0.1 s, each step 0.29 s: as many as end before the limit."""
    now = [5.0]
    monkeypatch.setattr(nco.search.time, "perf_counter", lambda: now[0])
    search = _Slow(now, 0.29)
    task = Task(POLICIES["tsp"], batch_of("tsp", 1), torch.Generator(), Clock(limit))
    run(search, task, Budget(time_limit=limit))
    assert search.progress is not None
    assert search.progress.taken == steps
    if steps:
        assert task.clock.spent <= limit


def test_a_search_that_never_ends_wants_a_limit() -> None:
    """And the beam, which ends, does not."""
    batch = batch_of("tsp", 1, size=6)
    for name, search in SEARCHES.items():
        solver = SearchSolver(POLICIES["tsp"], "small", name, search)
        if search.ends:
            solver.solve(batch, Budget(), 0)
        else:
            with pytest.raises(InputError, match="needs a time limit or an iteration limit"):
                solver.solve(batch, Budget(), 0)


@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_a_beam_of_one_is_the_greedy_solution(problem: str) -> None:
    """With beam 1 and expansion 1 the tree adds nothing to the best start; a wider one does."""
    policy, batch = POLICIES[problem], batch_of(problem, 6, size=12)
    greedy = decode(policy.env, policy, batch).costs
    narrow = run(SGBS(1, 1, 1), task_of(policy, batch), Budget()).costs
    torch.testing.assert_close(torch.tensor(narrow), greedy)
    alone = run(SGBS(1, 1, 1, multi_start=False), task_of(policy, batch), Budget()).costs
    one_start = decode(policy.env, policy, batch, multi_start=False).costs
    torch.testing.assert_close(torch.tensor(alone), one_start)
    wide = run(SGBS(6, 4, 1), task_of(policy, batch), Budget()).costs
    assert all(a <= b * (1 + 1e-6) for a, b in zip(wide, narrow, strict=True))
    assert sum(wide) < sum(narrow) - 1e-3


def test_a_wide_enough_beam_is_exact() -> None:
    """With room for every partial solution all tours are tried."""
    policy, batch = POLICIES["tsp"], batch_of("tsp", 3, size=6)
    found = run(SGBS(720, 6, 1), task_of(policy, batch), Budget()).costs
    for one, cost in zip(unbatch(batch), found, strict=True):
        assert one.coords is not None
        best = best_tour_length(torch.cdist(one.coords[0], one.coords[0]).tolist())
        assert cost == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("search", [
    EAS(lr=0.01, imitation=100.0), EAS(kind="layer", lr=0.01, imitation=100.0),
    ActiveSearch(lr=1e-3, imitation=100.0),
])  # fmt: skip
@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_a_step_of_learning_makes_the_best_likelier(
    search: EAS | ActiveSearch, problem: str
) -> None:
    """Imitation raises the likelihood of the best solution under the instance's own parameters; the
    model's weights are as they were."""
    policy, batch = POLICIES[problem], batch_of(problem, 1)
    before = copy.deepcopy(policy.state_dict())
    progress: Any = search.init(task_of(policy, batch))

    def likelihood(whose: Policy, encoding: Encoding) -> float:
        best = progress.best.best(0).view(1, 1, -1)
        known = Trajectory(best, torch.zeros(1, 1), 1, None)
        with torch.no_grad():
            scores = log_likelihood(
                whose, policy.env, batch, known, encoding=encoding, kernel="plain"
            )
        return float(scores)

    with torch.no_grad():
        same = likelihood(progress.policy(), progress.tables())
        assert same == pytest.approx(likelihood(policy, policy.encode(batch)), abs=1e-4)
        # the draws of a step may find a better one: that is the one to imitate
        progress.step()
        learned = likelihood(progress.policy(), progress.tables())
        assert learned > likelihood(policy, policy.encode(batch)) + 1e-3
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in policy.parameters())


def test_learning_pushes_towards_cheaper_solutions() -> None:
    """Without imitation, after forty steps the mean of what is drawn is lower."""
    policy, batch = POLICIES["cvrp"], batch_of("cvrp", 1, size=10)
    progress: Any = EAS(lr=0.05, imitation=0.0).init(task_of(policy, batch))
    means: list[float] = []
    offer = progress.best.offer

    def noted(actions: torch.Tensor, costs: torch.Tensor) -> None:
        means.append(float(costs.mean()))
        offer(actions, costs)

    progress.best.offer = noted
    for _ in range(40):
        progress.step()
    assert sum(means[-10:]) < sum(means[:10]) * 0.97


@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdovrpmbltw", "vrpbtw"])
def test_reconstruction_reaches_the_optimum_of_tiny_instances(problem: str) -> None:
    """A random policy, parts of up to all nodes: brute force finds nothing better."""
    env: Environment = {"tsp": tsp, "cvrp": cvrp}.get(problem, multi_task)
    policy = DistanceRule(env, 4.0)
    for seed in (0,):
        if problem in ("tsp", "cvrp"):
            one = instances(problem, 6, 1, seed=seed)
        else:
            one = small(variant_by_name(problem), 5, 1, seed=seed)
        found = SearchSolver(policy, "rule", "rule", RandomReconstruction(samples=16)).solve(
            one, Budget(iterations=30), seed=0
        )[0]
        match problem:
            case "tsp":
                assert one.coords is not None
                best = best_tour_length(torch.cdist(one.coords[0], one.coords[0]).tolist())
            case "cvrp":
                best = best_cvrp_cost(one)
            case _:
                best = best_route_sets_cost(one)
        assert found.cost == pytest.approx(best, rel=1e-5)


def test_reconstruction_keeps_what_it_does_not_build() -> None:
    """One iteration changes no more routes than belong to parts, and no customer is lost."""
    policy, batch = POLICIES["cvrp"], batch_of("cvrp", 1, size=30)
    progress: Any = RandomReconstruction(samples=8, longest=6).init(task_of(policy, batch))
    for _ in range(10):
        progress.step()
    costs = [math.inf]
    for _, actions in progress.best.found[0]:
        report = check_routes(batch, *routes_from_actions(batch, actions))
        assert report.feasible, report.violations
        assert report.cost < costs[-1]
        costs.append(report.cost)


@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdovrpmbltw", "vrpbtw"])
def test_pyvrp_begins_with_the_start(problem: str) -> None:
    """Its first incumbent is the given solution, route by route, and the answer is no worse."""
    env: Environment = {"tsp": tsp, "cvrp": cvrp}.get(problem, multi_task)
    start = SearchSolver(DistanceRule(env), "rule", "rule", SGBS(1, 1, 1))
    if problem in ("tsp", "cvrp"):
        one = instances(problem, 12, 1)
    else:
        one = small(variant_by_name(problem), 9, 1, seed=0)
    (first,) = start.solve(one, Budget(), 0)
    problem_ = dataclasses.replace(problem_of(one), start=Routes(first.routes, first.depots))
    began = pyvrp_search(problem_, Asked(None, 1, 0)).improvements[0][1]
    if problem == "tsp":
        at = first.routes[0].index(0)
        assert began.routes[0] == first.routes[0][at:] + first.routes[0][:at]
    else:
        assert began.depots is not None
        assert sorted(zip(began.depots, began.routes, strict=True)) == sorted(
            zip(first.depots, first.routes, strict=True)
        )
    (found,) = PyVRPSolver(start=start).solve(one, Budget(iterations=20), 0)
    assert found.feasible
    assert found.cost <= first.cost * (1 + 1e-6)
    assert found.solver == "pyvrp from rule"


def test_what_a_search_cannot_do_is_refused_by_name() -> None:
    """A policy without weights or keys, several instances for one's weights, unknown attributes."""
    rule = DistanceRule(cvrp)
    with pytest.raises(UnsupportedError, match=r"eas-layer .*DistanceRule"):
        SearchSolver(rule, "rule", "rule", EAS(kind="layer"))
    with pytest.raises(UnsupportedError, match="active learns a model's weights"):
        SearchSolver(rule, "rule", "rule", ActiveSearch())
    gates = small_policy("pomo noisy-top-k", cvrp)
    with pytest.raises(UnsupportedError, match=r"eas-embedding changes .*POMO"):
        SearchSolver(gates, "gates", "gates", EAS())
    some = Instance.vrp(coords=[[0, 0], [0, 1], [1, 0]], presence=[1, 0.5, 1])
    with pytest.raises(UnsupportedError, match="customers that may not ask"):
        SearchSolver(DistanceRule(environments["pcvrp"]), "rule", "rule", SGBS()).solve(
            some, Budget(), 0
        )
    with pytest.raises(InputError, match="customers that may not ask; accepted: tours"):
        LocalSearch(some)
    two = batch_of("cvrp", 2)
    for search in (ActiveSearch(), RandomReconstruction()):
        solver = SearchSolver(POLICIES["cvrp"], "small", "small", search, at_once=2)
        with pytest.raises(InputError, match="2 instances at once; accepted: 1"):
            solver.solve(two, Budget(iterations=1), 0)
    windows = small(variant_by_name("vrptw"), 5, 1, seed=0)
    with pytest.raises(UnsupportedError, match=r"small does not fit: .*time windows"):
        SearchSolver(POLICIES["cvrp"], "small", "small", SGBS()).solve(windows, Budget(), 0)


def test_every_search_by_name(tmp_path: Path) -> None:
    """From a stored model, by the Python API and as the command line asks for it."""
    folder = stored_model(tmp_path / "model")
    model, batch = load(folder), batch_of("cvrp", 1)
    for name in SEARCH_NAMES:
        (found,) = model.solve(batch, Budget(iterations=2), search=name)
        assert found.feasible
        assert ("pyvrp from small" if name == "pyvrp" else f"small {name}") == found.solver
    asked = solver_by_name(folder, search="sgbs", search_options=["beam=2", "augment=1"])
    assert isinstance(asked, SearchSolver)
    assert asked.search == SGBS(beam=2, augment=1)
    config = ModelConfig.model_validate(
        {"solver": "model", "path": str(folder), "search": {"type": "rrc", "longest": 9}}
    )
    assert config.search == search_config("rrc", ["longest=9"])
    assert "local-search" in SOLVER_NAMES


def test_the_command_line_searches_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A solution by name and options is written and verifies; a wrong option exits with 2."""
    folder = stored_model(tmp_path / "model")
    path, out = tmp_path / "a.json", tmp_path / "s.json"
    write(batch_of("cvrp", 1), path)
    asked = ["solve", str(path), "--solver", str(folder), "--search", "sgbs", "-q"]
    with pytest.raises(SystemExit) as done:
        main([*asked, "--search-option", "augment=1", "-o", str(out)])
    assert done.value.code == 0
    with pytest.raises(SystemExit) as done:
        main(["verify", str(out)])
    assert done.value.code == 0
    assert "small sgbs" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        main([*asked, "--search-option", "beam=none"])
    assert done.value.code == 2
    assert "search.beam" in capsys.readouterr().err


def test_wrong_options_of_searches_are_named(tmp_path: Path) -> None:
    """Unknown searches and options, values out of range, options that belong elsewhere."""
    folder = stored_model(tmp_path / "model")
    with pytest.raises(InputError, match=r"value 'hunt'; accepted: .*sgbs.*pyvrp"):
        search_config("hunt")
    with pytest.raises(InputError, match=r"search\.beam: value 0; accepted: greater than 0"):
        search_config("sgbs", ["beam=0"])
    with pytest.raises(InputError, match=r"search\.lr: unknown key"):
        search_config("sgbs", ["lr=1"])
    with pytest.raises(InputError, match="samples and augment are given with a search"):
        solver_by_name(folder, search="sgbs", samples=4)
    with pytest.raises(InputError, match="samples and augment are given with a search"):
        load(folder).solve(batch_of("cvrp", 1), search="sgbs", augment=8)
    with pytest.raises(InputError, match="search is sgbs, but savings is no model"):
        solver_by_name("savings", search="sgbs")
    with pytest.raises(InputError, match="given without a search"):
        solver_by_name(folder, search_options=["beam=2"])
    with pytest.raises(ValueError, match="augment given with a search"):
        ModelConfig.model_validate(
            {"solver": "model", "path": "m", "augment": 1, "search": {"type": "sgbs"}}
        )
