"""Solvers that choose among plans, with equal means to choose by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from nco.api import generate
from nco.baselines.solver import Budget
from nco.benchmark import run_benchmark
from nco.benchmark_config import BenchmarkConfig, ModelConfig
from nco.config_files import parse
from nco.data.errors import InputError
from nco.data.json_format import write_json_instances
from nco.envs.plans import plan_key, stacked
from nco.model_files import load_model
from nco.neural_solver import load
from nco.report import write_report
from nco.scenario_config import SelectionConfig, scenario_solver_from_name
from nco.statistics import clustered_frequency, frequency
from nco.store import open_store
from nco.verify import verify_store
from tests.policies import save_fresh

POOL = {"problem": "pcvrp", "levels": [0.0, 0.3, 0.6], "by": [{"solver": "random-insertion"}]}


def config(folder: Path, *solvers: dict[str, Any], **changes: Any) -> BenchmarkConfig:
    """Solvers that may each price four plans in 30 scenarios, on two tiny instances."""
    suite = {
        "type": "generated",
        "name": "p",
        "problem": "pcvrp",
        "num_customers": 6,
        "num_instances": 2,
        "capacity": 15,
        "scenarios": {"count": 50},
        "selection": {"scenarios": 30, "plans": 4},
    }
    entries = [
        {"name": f"s{i}", "solver": solver, "budget": {"iterations": 1} if "by" in solver else {}}
        for i, solver in enumerate(solvers)
    ]
    values = {
        "name": "equal",
        "output": folder / "store",
        "suites": [suite | changes],
        "solvers": entries,
    }
    return parse(BenchmarkConfig, values, "test")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fresh weights: what they find is one of many plans."""
    folder = tmp_path_factory.mktemp("models") / "fresh"
    save_fresh(folder, "pcvrp", "pomo")
    return folder


def test_a_model_chooses_by_scenarios_among_the_first_plans(model: Path) -> None:
    """The plan of lowest mean on the selection scenarios among the first four different ones, and
    among all of them: by pricing each of the greedy trajectories of all positions by itself."""
    instance = generate("pcvrp", 6, 3, 5, capacity=15)
    for most in (4, None):
        selection = SelectionConfig(scenarios=30, seed=2, plans=most)
        value = selection.value("pcvrp")
        for one, solution in zip(
            (instance[i : i + 1] for i in range(3)),
            load(model, selection=selection).solve(instance),
            strict=True,
        ):
            # one position at a time is the same policy on a turned instance
            plans: dict[object, list[list[int]]] = {}
            for number in range(8):
                for start in range(6):
                    routes = greedy_routes(model, one, number, start)
                    plans.setdefault(plan_key(one, routes, None), routes)
            among = list(plans.values())[:most]
            costs = [float(value.of(one, stacked(one, [(routes, None)]))) for routes in among]
            best = among[costs.index(min(costs))]
            assert plan_key(one, solution.routes, None) == plan_key(one, best, None)
            assert solution.plan_scenarios == 30 * len(among)


def greedy_routes(model: Path, one: Any, view: int, start: int) -> list[list[int]]:
    """One greedy trajectory from one start, step by step."""
    from nco.envs.checker import routes_from_actions
    from nco.rollout import rollout
    from nco.strategies import Greedy

    policy, _ = load_model(model)
    env = policy.env
    with torch.no_grad():
        encoding = policy.encode_view(one, view)
    starts = env.start_actions(one, 6)[:, start : start + 1]
    found = rollout(env, policy, one, Greedy(), starts=starts, encoding=encoding)
    return routes_from_actions(one, found.actions[0, 0])[0]


def test_every_solver_keeps_to_the_means_of_the_suite(model: Path, tmp_path: Path) -> None:
    """No solver prices more than four plans in 30 scenarios, those that could price more price as
    many; the report says so, and all is verified."""
    solvers = [
        {"solver": "model", "path": str(model)},
        {"solver": "candidate-pool", **POOL, "num_seeds": 5},
        {"solver": "scenario-search", **POOL, "levels": [0.0], "num_seeds": 1},
        {"solver": "set-partitioning", **POOL, "num_seeds": 5},
        {"solver": "equivalent", "problem": "pcvrp", "by": {"solver": "savings"}},
    ]
    store = open_store(run_benchmark(config(tmp_path, *solvers), progress=False))
    priced = {key[2]: record.plan_scenarios for key, record in store.records().items()}
    assert all(record.status == "ok" for record in store.records().values())
    assert priced == {"s0": 120, "s1": 120, "s2": 120, "s3": 120, "s4": 0}
    assert verify_store(store.folder).mismatches == []
    text = write_report(store.folder)[0].read_text()
    assert "may price 4 plans in 30 scenarios of seed 0, the same for all: 120 prices" in text


def test_other_means_are_refused(model: Path, tmp_path: Path) -> None:
    """By name; another objective with the same means is not."""
    own = {"solver": "candidate-pool", **POOL}
    for selection, told in (
        ({"scenarios": 31, "plans": 4}, "by 4 plans in 31 scenarios of seed 0; accepted: 4 plans"),
        ({"scenarios": 30}, "any number of plans in 30 scenarios of seed 0; accepted: 4 plans"),
    ):
        with pytest.raises(InputError, match=told):
            config(tmp_path, own | {"selection": selection})
    config(tmp_path, own | {"selection": {"scenarios": 30, "plans": 4, "cvar": 0.9}})
    learned = {"solver": "model", "path": str(model)}
    with pytest.raises(InputError, match="a search chooses by its own price"):
        config(tmp_path, learned | {"search": {"type": "sgbs"}})
    with pytest.raises(InputError, match="enumeration prices every plan"):
        config(tmp_path, {"solver": "enumeration", "problem": "pcvrp"})
    with pytest.raises(InputError, match="is for ptsp and runs on suite 'p'; accepted there: pcvr"):
        config(tmp_path, own | {"problem": "ptsp"})
    with pytest.raises(InputError, match="selection is given without scenarios"):
        config(tmp_path, own, scenarios=None)
    with pytest.raises(InputError, match="selection is given for cvrp, whose plans have no scen"):
        SelectionConfig().value("cvrp")


def test_a_search_around_a_model_is_read_back_as_it_was_written(model: Path) -> None:
    """A store holds every field, also those that a search must not be given."""
    searching = ModelConfig.model_validate(
        {"solver": "model", "path": str(model), "search": {"type": "sgbs"}}
    )
    assert ModelConfig.model_validate_json(searching.model_dump_json()) == searching
    with pytest.raises(ValueError, match="samples given with a search"):
        ModelConfig.model_validate(searching.model_dump() | {"samples": 4})


def test_files_may_have_scenarios(model: Path, tmp_path: Path) -> None:
    """Where the suite says of which problem they are; the figures are those of the same instances
    generated."""
    instances = generate("pcvrp", 6, 2, 1234, capacity=15)
    write_json_instances(instances, tmp_path / "days.json")
    learned = {"solver": "model", "path": str(model)}
    drawn = config(tmp_path / "drawn", learned)
    values = config(tmp_path / "read", learned).model_dump(mode="json")
    values["suites"] = [{
        "type": "files", "name": "p", "paths": [str(tmp_path / "days.json")], "problem": "pcvrp",
        "scenarios": {"count": 50}, "selection": {"scenarios": 30, "plans": 4},
    }]  # fmt: skip
    read = parse(BenchmarkConfig, values, "test")
    found = [
        [record.scenarios for record in open_store(run_benchmark(each, progress=False)).lines()]
        for each in (drawn, read)
    ]
    assert found[0] == found[1]
    assert None not in found[0]
    values["suites"][0]["problem"] = None
    with pytest.raises(InputError, match="scenarios are given for no problem; accepted for: ptsp"):
        parse(BenchmarkConfig, values, "test")


def test_a_scenario_solver_by_name_needs_its_problem() -> None:
    """With it, it solves by PyVRP."""
    one = generate("pcvrp", 4, 1, 0)
    (solution,) = scenario_solver_from_name("candidate-pool", "pcvrp").solve(
        one, Budget(iterations=2), 0
    )
    assert solution.feasible
    assert solution.plan_scenarios > 0
    with pytest.raises(InputError, match="candidate-pool is asked for with problem none; accepted"):
        scenario_solver_from_name("candidate-pool", None)
    with pytest.raises(InputError, match="set-partitioning is asked for with problem ptsp"):
        scenario_solver_from_name("set-partitioning", "ptsp")


def test_plans_are_told_apart() -> None:
    """The order of routes makes no other plan, nor a tour's begin; a route's direction does."""
    tour, routes = generate("ptsp", 5, 1, 0), generate("pcvrp", 5, 1, 0)
    assert plan_key(tour, [[2, 3, 0, 1, 4]], None) == plan_key(tour, [[0, 1, 4, 2, 3]], [-1])
    assert plan_key(tour, [[0, 1, 2, 3, 4]], None) != plan_key(tour, [[0, 4, 3, 2, 1]], None)
    assert plan_key(routes, [[1, 2], [3]], None) == plan_key(routes, [[3], [], [1, 2]], [0, 0, 0])
    assert plan_key(routes, [[1, 2], [3]], None) != plan_key(routes, [[2, 1], [3]], None)


def test_trials_of_a_cluster_are_alike() -> None:
    """Wilson's interval of all trials where clusters do not differ; that of the clusters where
    each is all or nothing, or there is nothing to see; in between otherwise."""
    of_all, of_ten = frequency(300, 1000), frequency(3, 10)
    assert of_all is not None
    assert of_ten is not None
    same = clustered_frequency([30] * 10, [100] * 10)
    assert same is not None
    assert (same.low, same.high) == pytest.approx((of_all.low, of_all.high))
    split = clustered_frequency([100] * 3 + [0] * 7, [100] * 10)
    assert split is not None
    # 9 in the place of 10: one degree of freedom is spent on the mean
    nine = frequency(27, 90)
    assert nine is not None
    assert split.share == 0.3
    assert split.low < of_ten.low < nine.low
    assert split.high > of_ten.high > nine.high
    always = clustered_frequency([50, 50], [50, 50])
    two = frequency(2, 2)
    assert always is not None
    assert two is not None
    assert (always.share, always.low, always.high) == (1.0, two.low, 1.0)
    mixed = clustered_frequency([20, 30, 40, 30], [100] * 4)
    assert mixed is not None
    assert of_ten.low < mixed.low < 0.3 < mixed.high < of_ten.high
    assert clustered_frequency([], []) is None
    with pytest.raises(ValueError, match="accepted: from 0"):
        clustered_frequency([3], [2])
