"""Scores that begin with what the way costs."""

import pytest
import torch

from nco.data.batching import collate, unbatch
from nco.data.instance import Instance, distance_matrix
from nco.data.multi_task import variant_by_name
from nco.decode import decode
from nco.envs.variants import environments
from nco.models.arcs import TravelRule, arcs_of
from nco.models.pomo import POMO
from tests.multi_task import small
from tests.small import instances


def by_hand(one: Instance, way: float, home: float) -> torch.Tensor:
    """The rule, node by node; the coordinates drawn are in the unit square."""
    d = distance_matrix(one)[0].tolist()
    depots = range(int(one.num_depots[0]))
    back = [min((d[j][k] for k in depots), default=0.0) for j in range(len(d))]
    return torch.tensor([
        [way * d[i][j] + home * back[j] for j in range(len(d))] for i in range(len(d))
    ])  # fmt: skip


@pytest.mark.parametrize("problem", ["tsp", "cvrp", "mdcvrp"])
def test_the_rule_is_the_way_there_and_the_way_home(problem: str) -> None:
    """Also of instances that are padded."""
    if problem == "mdcvrp":
        parts = [small(variant_by_name(problem), n, 2, n) for n in (4, 7)]
    else:
        parts = [instances(problem, n, 2, n) for n in (4, 7)]
    rule = TravelRule()
    batch = collate(parts)
    found = rule(arcs_of(batch))
    for i, one in enumerate(one for part in parts for one in unbatch(part)):
        n = one.num_nodes
        truth = by_hand(one, *rule.weight.tolist())
        torch.testing.assert_close(found[i, :n, :n], truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("problem", ["tsp", "cvrp"])
def test_an_untrained_policy_decides_by_the_rule(problem: str) -> None:
    """Its tours are much shorter than those of drawn weights alone."""
    env, batch = environments[problem], instances(problem, 20, 16, seed=3)
    costs = {}
    for travel in (False, True):
        torch.manual_seed(0)
        policy = POMO(env, dim=32, num_heads=4, num_layers=2, hidden=64, travel=travel).eval()
        costs[travel] = float(decode(env, policy, batch).costs.mean())
    assert costs[True] < 0.75 * costs[False]
