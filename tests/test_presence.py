"""Customers that may not ask: closed form, simulation, brute force over subsets, checker."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from nco.data.batching import collate, replace, unbatch, with_dtype
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance, distance_matrix
from nco.data.json_format import read_json_instances, write_json_instances
from nco.data.noise import (
    Scenarios,
    Split,
    Stream,
    nodes_as_entities,
    require_key,
    uniforms,
)
from nco.data.probabilistic import LEAST, MOST
from nco.envs.checker import check_routes, routes_from_actions
from nco.envs.presence import PresenceSimulation, expected_length, require_presence
from nco.envs.scenario_cost import outcomes_in_parts
from nco.envs.variants import cvrp, environments, scenario_costs, tsp
from tests.draws import same, seeded
from tests.small import random_rollout

PROBLEMS = ("ptsp", "pcvrp")


def drawn(problem: str, num_customers: int, batch: int, seed: int = 0) -> Instance:
    """In float64, with customers that never and that always ask among them."""
    instance = generate(problem, num_customers=num_customers, batch=batch, generator=seeded(seed))
    presence = require_presence(instance).clone()
    presence[0, 1], presence[0, 2] = 0, 1
    if problem == "ptsp":
        # without a certain home
        presence[-1, 0] = 0.3
    return with_dtype(replace(instance, {"presence": presence}), torch.float64)


def by_subsets(one: Instance, actions: list[int]) -> float:
    """Every set of customers with its probability, and the walk past those of the set."""
    distance, presence = distance_matrix(one)[0].tolist(), require_presence(one)[0].tolist()
    tour = int(one.num_depots) == 0
    stops = actions if tour else [0, *actions, 0]
    nodes = [node for node in range(one.num_nodes) if node > 0 or tour]
    total = 0.0
    for asks in itertools.product((False, True), repeat=len(nodes)):
        chance = math.prod(
            presence[v] if a else 1 - presence[v] for v, a in zip(nodes, asks, strict=True)
        )
        there = {v for v, a in zip(nodes, asks, strict=True) if a} | (set() if tour else {0})
        walk = [v for v in stops if v in there]
        if walk:
            total += chance * sum(distance[a][b] for a, b in itertools.pairwise([*walk, walk[0]]))
    return total


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_closed_form_is_the_mean_over_all_subsets(problem: str) -> None:
    """For plans of seven nodes, padded and not, by environment and by checker."""
    env, small, large = environments[problem], drawn(problem, 5, 2), drawn(problem, 7, 2, seed=1)
    batch = collate([small, large])
    plans = random_rollout(env, batch, 4, seed=3)
    costs = env.cost(batch, plans)
    for b, one in enumerate(unbatch(batch)):
        env.require(one)
        for s in range(4):
            routes, depots = routes_from_actions(one, plans[b, s])
            stops = routes[0] if problem == "ptsp" else plans[b, s].tolist()
            mean = by_subsets(one, stops)
            assert costs[b, s].item() == pytest.approx(mean, rel=1e-12)
            report = check_routes(one, routes, depots)
            assert report.feasible
            assert report.cost == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_simulation_has_the_mean_of_the_closed_form(problem: str) -> None:
    """Within four standard errors for each of 6 plans; the mean share of customers likewise."""
    batch, count = drawn(problem, 7, 2), 2000
    env = environments[problem]
    plans = random_rollout(env, batch, 3, seed=1)
    found = outcomes_in_parts(
        scenario_costs[problem], batch, plans, Scenarios(Split.TEST, count), most=100_000
    )
    error = found.cost.std(2) / math.sqrt(count)
    off = (found.cost.mean(2) - env.cost(batch, plans)) / error
    assert float(off.abs().max()) < 4
    served = found.measures[..., 0]
    asked = require_presence(batch).sum(1, keepdim=True) - batch.num_depots.unsqueeze(1)
    assert float(((served.mean(2) - asked) * math.sqrt(count) / served.std(2)).abs().max()) < 4
    # all plans of an instance meet the same customers
    assert torch.equal(served, served[:, :1].expand_as(served))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_scenario_costs_what_a_plain_walk_costs(problem: str) -> None:
    """Lengths, customers and routes of each scenario by loops, with the same customers."""
    batch = drawn(problem, 6, 2)
    plans = random_rollout(environments[problem], batch, 3, seed=2)
    scenarios = Scenarios(Split.SELECTION, 30, seed=5)
    found = PresenceSimulation().outcomes(batch, plans, scenarios)
    draws = uniforms(scenarios, batch, Stream.PRESENCE, nodes_as_entities(batch))
    asks = draws < require_presence(batch).unsqueeze(1)
    distance = distance_matrix(batch).tolist()
    home = [] if problem == "ptsp" else [0]
    for b, one in enumerate(unbatch(batch)):
        for p, s in itertools.product(range(3), range(30)):
            routes, _ = routes_from_actions(one, plans[b, p])
            kept = [[v for v in route if asks[b, s, v]] for route in routes]
            kept = [route for route in kept if route]
            length = sum(
                distance[b][i][j]
                for route in kept
                for i, j in itertools.pairwise([*home, *route, *(home or route[:1])])
            )
            assert found.cost[b, p, s].item() == pytest.approx(length, abs=1e-12)
            assert found.measures[b, p, s].tolist() == [sum(map(len, kept)), len(kept)]


def test_certain_customers_cost_what_they_do_without_probabilities() -> None:
    """All probabilities 1: the length, in every scenario and in the mean."""
    for problem, rules in (("ptsp", tsp), ("pcvrp", cvrp)):
        instance = drawn(problem, 6, 3)
        certain = replace(instance, {"presence": torch.ones_like(require_presence(instance))})
        plans = random_rollout(rules, certain, 4, seed=0)
        length = rules.cost(certain, plans)
        assert torch.allclose(expected_length(certain, plans), length)
        found = PresenceSimulation().outcomes(certain, plans, Scenarios(Split.TEST, 3))
        assert torch.allclose(found.cost, length.unsqueeze(2))


def test_generated_probabilities_are_in_range_and_half_of_the_instances_have_one() -> None:
    """Within five standard errors; the home is certain and keys differ."""
    batch = generate("pcvrp", num_customers=20, batch=2000, generator=seeded())
    presence, key = require_presence(batch)[:, 1:], require_key(batch)
    assert bool((require_presence(batch)[:, 0] == 1).all())
    assert LEAST <= float(presence.min()) < float(presence.max()) <= MOST
    alike = (presence == presence[:, :1]).all(1)
    assert abs(float(alike.double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(2000)
    for part in (presence[alike][:, 0], presence[~alike].flatten()):
        spread = (MOST - LEAST) / math.sqrt(12 * len(part))
        assert abs(float(part.double().mean()) - 0.5) < 5 * spread
    assert len(key.unique()) == 2000


def test_files_keep_probabilities_and_batches_fill_them_up(tmp_path: Path) -> None:
    """JSON reads back the same; beside certain instances the others have probability 1."""
    batch = generate("ptsp", num_customers=6, batch=3, generator=seeded())
    write_json_instances(batch, tmp_path / "a.json")
    assert same(read_json_instances(tmp_path / "a.json"), batch)
    plain = generate("tsp", num_customers=8, batch=1, generator=seeded())
    mixed = collate([batch, plain])
    presence = require_presence(mixed)
    assert presence[:3, :6].equal(require_presence(batch))
    assert presence[3].tolist() == [1] * 8
    assert mixed.key is None


def test_a_policy_sees_the_probabilities() -> None:
    """One column more than of the certain problem, which it leaves as it is."""
    batch = generate("pcvrp", num_customers=6, batch=3, generator=seeded())
    env = environments["pcvrp"]
    seen, plain = env.node_features(batch).values, cvrp.node_features(batch).values
    assert env.node_feature_names == (*cvrp.node_feature_names, "presence")
    assert torch.equal(seen[..., :-1], plain)
    assert torch.equal(seen[..., -1], require_presence(batch))


def test_what_is_refused() -> None:
    """Certain rules for uncertain customers and the reverse, wrong probabilities, open routes."""
    uncertain = generate("pcvrp", num_customers=6, batch=1, generator=seeded())
    tour = generate("ptsp", num_customers=6, batch=1, generator=seeded())
    with pytest.raises(InputError, match="customers that may not ask"):
        cvrp.require(uncertain)
    with pytest.raises(InputError, match="customers that may not ask"):
        tsp.require(tour)
    with pytest.raises(InputError, match="has no presence"):
        environments["ptsp"].require(replace(tour, {"presence": None}))
    with pytest.raises(InputError, match="has a depot"):
        environments["ptsp"].require(uncertain)
    with pytest.raises(InputError, match="open routes"):
        expected_length(
            replace(uncertain, {"open_route": torch.tensor([True])}), torch.tensor([[[1]]])
        )
    xy = [[0.0, 0.0], [1.0, 0.0]]
    with pytest.raises(InputError, match=r"presence of instance 0, node 1 is 1\.5"):
        Instance.tsp(coords=xy, presence=[1, 1.5])
    with pytest.raises(InputError, match=r"presence \(a depot's\) .* is 0\.5; accepted: 1"):
        Instance.vrp(coords=xy, presence=[0.5, 0.5])
