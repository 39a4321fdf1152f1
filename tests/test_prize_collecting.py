"""The prize-collecting TSP, deterministic and stochastic: brute force, checker, publication."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from nco.algorithm import ValidationSet
from nco.baselines.attributes import Attribute, attributes
from nco.build import build_policy
from nco.data.batching import collate, replace, unbatch
from nco.data.errors import InputError
from nco.data.generators import generate
from nco.data.instance import Instance, distance_matrix, validate
from nco.data.json_format import read_json_instances, write_json_instances
from nco.data.kool import kool_instances
from nco.data.noise import Scenarios, Split
from nco.data.prize_instances import realised_prizes
from nco.decode import decode
from nco.envs.checker import check_routes, evaluate, routes_from_actions
from nco.envs.prize_collecting import PCTSP, SPCTSP
from nco.envs.variants import cvrp, environments
from nco.import_kool import import_kool
from nco.policy_config import AttentionModelConfig
from nco.rollout import rollout
from nco.strategies import Greedy
from nco.train_config import TrainConfig
from nco.training import build_algorithm
from tests.draws import seeded
from tests.small import random_rollout
from tests.test_environments import reachable_best

WORLDS = Scenarios(Split.TEST, 3, seed=5)


def draw(problem: str, num_customers: int, batch: int, seed: int = 0) -> Instance:
    """Instances by Kool's law."""
    return generate(problem, num_customers=num_customers, batch=batch, generator=seeded(seed))


def best_cost(instance: Instance) -> float:
    """Every subset of customers in every order, with nothing of the environment."""
    d = distance_matrix(instance)[0].double().tolist()
    assert instance.prize is not None
    assert instance.penalty is not None
    assert instance.min_prize is not None
    prize, penalty = instance.prize[0].tolist(), instance.penalty[0].tolist()
    customers = range(1, len(prize))
    best = float("inf")
    for size in range(1, len(prize)):
        for chosen in itertools.combinations(customers, size):
            enough = sum(prize[i] for i in chosen) >= float(instance.min_prize)
            if not enough and size < len(customers):
                continue
            left = sum(penalty[i] for i in customers if i not in chosen)
            for order in itertools.permutations(chosen):
                length = sum(d[a][b] for a, b in itertools.pairwise((0, *order, 0)))
                best = min(best, left + length)
    return best


@pytest.mark.parametrize("need", [0.4, 1.0, 1.5, 9.0])
def test_the_environment_reaches_the_optimum(need: float) -> None:
    """The best that it allows is the best of all subsets and orders; 9 asks for all customers."""
    instance = draw("pctsp", 5, 1, seed=2)
    # penalties small enough for leaving out to pay
    changed = replace(instance, {"min_prize": torch.tensor([need])})
    assert changed.penalty is not None
    changed = replace(changed, {"penalty": changed.penalty * 0.2})
    assert reachable_best(PCTSP(), changed) == pytest.approx(best_cost(changed), rel=1e-5)


@pytest.mark.parametrize("problem", ["pctsp", "spctsp"])
@pytest.mark.parametrize("size", [6, 20, 50])
def test_random_tours_are_what_the_checker_accepts(problem: str, size: int) -> None:
    """In every world the mask allows what the checker accepts with that world's prizes, and both
    compute the same cost. One node earlier the depot was not allowed, and the checker agrees."""
    batch = draw(problem, size, 4, seed=size)
    env = SPCTSP(WORLDS) if problem == "spctsp" else PCTSP()
    actions = random_rollout(env, batch, 6, seed=1)
    costs = env.cost(batch, actions)
    found = realised_prizes(batch, WORLDS) if problem == "spctsp" else None
    early = 0
    for i, one in enumerate(unbatch(batch)):
        for s in range(6):
            routes, _ = routes_from_actions(one, actions[i, s])
            prizes = None if found is None else found[i, s % 3].tolist()
            report = check_routes(one, routes, realised_prizes=prizes)
            assert report.feasible, report.violations
            assert float(costs[i, s]) == pytest.approx(report.cost, rel=1e-5)
            # a random walk goes home at some time after it may; cut to where it just could not
            assert one.prize is not None
            values = one.prize[0].tolist() if prizes is None else prizes
            sums = itertools.accumulate(values[n] for n in routes[0])
            kept = sum(1 for collected in sums if collected < 1 - 1e-5)
            if kept < size:
                cut = check_routes(one, [routes[0][:kept]], realised_prizes=prizes)
                assert not cut.feasible
                early += 1
    assert early > 12


def test_the_checker_tells_what_is_broken() -> None:
    """Too little prize, two tours and a customer visited twice, each in words."""
    instance = Instance.vrp(
        coords=[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]],
        prize=[0, 0.6, 0.5, 0.1],
        penalty=[0, 0.25, 0.5, 1],
        min_prize=1,
    )
    fine = check_routes(instance, [[1, 2]])
    assert (fine.feasible, fine.cost) == (True, pytest.approx(3 + 2**0.5))
    everything = check_routes(instance, [[1, 2, 3]])
    assert (everything.feasible, everything.cost) == (True, pytest.approx(4))
    poor = check_routes(instance, [[1, 3]])
    assert poor.cost == pytest.approx(2 + 2**0.5 + 0.5)
    assert "0.7 is collected, 0.3 below" in poor.violations[0]
    assert check_routes(instance, [[1, 3]], realised_prizes=[0.0, 0.6, 0.0, 0.4]).feasible
    assert "2 routes are given" in check_routes(instance, [[1], [2]]).violations[0]
    assert "customer 1 is visited 2 times" in check_routes(instance, [[1, 2, 1]]).violations[0]
    assert evaluate(instance, [[1, 2]], solver="x", seconds=0.0).cost == fine.cost


def test_worlds_are_shared_and_hidden() -> None:
    """Trajectories of one scenario find the same prizes, a policy sees the expected ones only, and
    what it sees changes with a world's prizes only once it has visited."""
    batch = draw("spctsp", 8, 2)
    tour = torch.tensor([3, 1, 7]).expand(2, 4, 3)

    def seen(worlds: Scenarios, trajectories: int) -> list[torch.Tensor]:
        env = SPCTSP(worlds)
        state = env.reset(batch, trajectories)
        features = [env.observe(state).features]
        for action in tour[:, :trajectories].unbind(2):
            state = env.step(state, action)
            features.append(env.observe(state).features)
        return features

    shared = seen(Scenarios(Split.TRAIN, 1), 4)[1]
    assert torch.equal(shared, shared[:, :1].expand(-1, 4, -1))
    own = seen(Scenarios(Split.TRAIN, 4), 4)[1]
    assert torch.equal(own[:, 0], shared[:, 0])
    assert len(own[0].unique()) == 4
    test, train = seen(Scenarios(Split.TEST, 1), 1), seen(Scenarios(Split.TRAIN, 1), 1)
    assert torch.equal(test[0], train[0])
    assert not torch.equal(test[1], train[1])
    nodes = [env.node_features(batch).values for env in (SPCTSP(WORLDS), PCTSP())]
    assert torch.equal(*nodes)


def test_realised_prizes_follow_their_law() -> None:
    """U(0, 2) times the expected prize, independent over nodes and scenarios."""
    batch = draw("spctsp", 50, 10)
    assert batch.prize is not None
    share = realised_prizes(batch, Scenarios(Split.TEST, 200))[:, :, 1:] / batch.prize[:, None, 1:]
    count = share.numel()
    assert float(share.mean()) == pytest.approx(1, abs=4 * 0.577 / count**0.5)
    assert float(share.var()) == pytest.approx(1 / 3, rel=0.02)
    pairs = torch.corrcoef(share.flatten(0, 1).T).fill_diagonal_(0)
    assert float(pairs.abs().max()) < 4.5 / (2000**0.5)


def test_generated_instances_follow_the_published_law() -> None:
    """Means of prizes and penalties, one prize to collect; the two problems share all but keys."""
    plain, noisy = draw("pctsp", 50, 400, seed=3), draw("spctsp", 50, 400, seed=3)
    validate(noisy)
    assert (plain.key, noisy.key is None) == (None, False)
    for ours, theirs in ((plain.coords, noisy.coords), (plain.prize, noisy.prize)):
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours, theirs)
    assert plain.prize is not None
    assert plain.penalty is not None
    assert plain.prize[:, 1:].mean() == pytest.approx(2 / 50, rel=0.02)
    assert float(plain.prize.max()) <= 4 / 50
    assert plain.penalty[:, 1:].mean() == pytest.approx(1.5 * 3 / 50, rel=0.02)
    assert float(plain.penalty.max()) <= 3 * 3 / 50
    assert not bool(plain.prize[:, 0].any() | plain.penalty[:, 0].any())


def test_published_set_and_weights_give_the_published_cost(shared: Path) -> None:
    """The Attention Model's own weights: 3.18 for greedy decoding (Kool et al. 2019, table 1)."""
    weights = shared / "references/attention_model/pctsp_det_20.safetensors"
    batch = kool_instances("pctsp", 20, 500)
    costs = rollout(PCTSP(), import_kool(weights, PCTSP()), batch, Greedy()).costs
    # over all 10,000: 3.186; the standard error of 500 is 0.02
    assert float(costs.mean()) == pytest.approx(3.186, abs=0.06)


def test_published_worlds_are_met_in_tests_alone(tmp_path: Path) -> None:
    """The published prizes are between 0 and twice the expected ones, and are what every test
    scenario finds; who chooses or trains gets draws of the law."""
    batch = kool_instances("spctsp", 20, 500)
    assert torch.equal(batch.coords, kool_instances("pctsp", 20, 500).coords)  # type: ignore[arg-type]
    assert batch.prize is not None
    assert batch.realised_prize is not None
    share = batch.realised_prize / batch.prize.clamp(min=1e-9)
    assert float(share[:, 1:].mean()) == pytest.approx(1, abs=0.03)
    assert float(share.max()) <= 2
    tested = realised_prizes(batch, Scenarios(Split.TEST, 2))
    assert torch.equal(tested, batch.realised_prize.unsqueeze(1).expand(-1, 2, -1))
    for split in (Split.TRAIN, Split.SELECTION):
        drawn = realised_prizes(batch, Scenarios(split, 2))
        assert bool((drawn[:, :, 1:] != batch.realised_prize[:, None, 1:]).all())
    write_json_instances(batch[3:5], tmp_path / "worlds.json")
    again = read_json_instances(tmp_path / "worlds.json").realised_prize
    assert torch.equal(again, batch.realised_prize[3:5])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="realised_prize is given without prize"):
        Instance.vrp(coords=[[0.0, 0.0], [1.0, 0.0]], realised_prize=[0, 1])


def test_padding_changes_nothing() -> None:
    """A small instance in a batch with a larger one has its own masks and costs."""
    singles = [draw("spctsp", size, 1, seed=size) for size in (5, 9)]
    batch, env = collate(singles), SPCTSP()
    actions = random_rollout(env, batch, 3, seed=2)
    costs = env.cost(batch, actions)
    for i, one in enumerate(singles):
        alone, padded = env.reset(one, 3), env.reset(batch[i : i + 1], 3)
        for action in actions[i : i + 1].unbind(2):
            n = one.num_nodes
            assert torch.equal(env.action_mask(padded)[:, :, :n], env.action_mask(alone))
            assert not bool(env.action_mask(padded)[:, :, n:].any())
            alone, padded = env.step(alone, action), env.step(padded, action)
        torch.testing.assert_close(costs[i : i + 1], env.cost(one, actions[i : i + 1]))


def test_bad_input_is_told() -> None:
    """What is missing, misplaced, out of range or not for this problem."""
    base = {"coords": [[0.0, 0.0], [1.0, 0.0]], "prize": [0, 1], "penalty": [0, 1], "min_prize": 1}
    for change, words in (
        ({"penalty": None}, "penalty is missing; accepted: all of prize, penalty, min_prize"),
        ({"prize": [1, 1]}, "prize .a depot's. of instance 0, node 0 is 1.0; accepted: 0"),
        ({"penalty": [0, -1]}, "penalty of instance 0, node 1 is -1.0"),
        ({"min_prize": float("nan")}, "min_prize of instance 0 is nan"),
    ):
        with pytest.raises(InputError, match=words):
            Instance.vrp(**{**base, **change})
    instance = Instance.vrp(**base)
    assert Attribute.PRIZES in attributes(instance)
    with pytest.raises(InputError, match="the instance has prizes and penalties"):
        cvrp.require(instance)
    with pytest.raises(InputError, match="the instance has no key"):
        SPCTSP().require(instance)
    with pytest.raises(InputError, match="no prizes"):
        PCTSP().require(generate("cvrp", num_customers=3, batch=1, generator=seeded()))
    with pytest.raises(InputError, match="some of the instances to collate have prize"):
        collate([instance, Instance.vrp(coords=base["coords"])])
    with pytest.raises(InputError, match="capacity"):
        generate("pctsp", num_customers=3, batch=1, generator=seeded(), capacity=3)


def test_choosing_among_trajectories_of_one_world_is_refused() -> None:
    """In decoding, and in a configuration before a run begins."""
    env = environments["spctsp"]
    small = AttentionModelConfig(
        type="attention_model", dim=16, num_heads=2, num_layers=1, hidden=16
    )
    policy = build_policy(small, env).eval()
    batch = draw("spctsp", 6, 3)
    found = decode(env, policy, batch, multi_start=False)
    assert torch.equal(found.costs, env.cost(batch, found.actions.unsqueeze(1))[:, 0])
    for options in ({"multi_start": True}, {"augment": 8}, {"samples": 2}):
        with pytest.raises(InputError, match="hindsight; accepted: multi_start false"):
            decode(env, policy, batch, **{"multi_start": False, **options})
    values = {
        "name": "x", "problem": "spctsp", "data": {"num_customers": 5},
        "policy": small.model_dump(), "algorithm": {"type": "pomo"},
        "training": {"epochs": 1, "batches_per_epoch": 1},
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"validation of spctsp.*hindsight"):
        TrainConfig.model_validate(values)
    reference = {"solver": {"solver": "ortools"}, "iterations": 10}
    with pytest.raises(ValueError, match=r"validation.reference: .*decided on the way"):
        TrainConfig.model_validate(
            {**values, "validation": {"multi_start": False, "reference": reference}}
        )
    values["validation"] = {"multi_start": False, "num_instances": 2}
    values["algorithm"] = {"type": "pomo", "num_starts": 6, "forced_starts": False}
    config = TrainConfig.model_validate(values)
    trained = build_algorithm(config, ValidationSet(batch, None))
    for env, split in ((trained.env, Split.TRAIN), (trained.validation_env, Split.SELECTION)):
        assert isinstance(env, SPCTSP)
        assert (env.scenarios.split, env.scenarios.count) == (split, 1)
    trajectory, _ = trained.rollout(batch, seeded())
    assert trajectory.num_forced == 0
    assert len(trajectory.actions[0, :, 0].unique()) > 1
    advantage = trained.advantage(batch, trajectory)
    torch.testing.assert_close(advantage, trajectory.costs.mean(1, keepdim=True) - trajectory.costs)
