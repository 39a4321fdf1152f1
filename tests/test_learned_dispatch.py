"""Learned dispatchers: the batched days against the simulator, routes by insertion against all
orders, the policy, its training and its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nco import cli
from nco.baselines.dispatch_routes import ChooseThenRoute
from nco.baselines.dispatching import serve
from nco.baselines.request_insertion import Work, insertion_routes
from nco.baselines.solver import Budget
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.dispatch_config import DispatchPolicyConfig, DispatchTrainConfig
from nco.dispatch_model import build_dispatch_policy, load_dispatcher
from nco.dispatch_routes import insertion_price, margins
from nco.dispatch_training import Passes, loss, passes, train_dispatcher
from nco.envs.dispatch import Day, days
from nco.envs.dispatch_batch import Days, DaysState, drawn_days, first_epoch, open_days
from nco.models.dispatch_policy import DispatchPolicy
from tests.days import drawn, partitions, shortest
from tests.draws import seeded

TRAIN = Scenarios(Split.TRAIN, 2)
SMALL = DispatchPolicyConfig(type="dispatch", dim=16, num_heads=2, num_layers=2, hidden=16)


def policy(seed: int = 0) -> DispatchPolicy:
    """Fresh weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_dispatch_policy(SMALL)


def works(batch: Days, departure: float) -> list[Work]:
    """The days of a batch for the routes of insertion."""
    demand, service, early, late = (
        torch.nn.functional.pad(column, (1, 0)).numpy()
        for column in (batch.demand, batch.service, *batch.window.unbind(2))
    )
    way, time = batch.distance.numpy(), batch.duration.numpy()
    return [
        Work(way[b], time[b], demand[b], service[b], early[b], late[b], float(batch.capacity[b]),
             float(batch.hours[b, 1]), departure)
        for b in range(len(batch.capacity))
    ]  # fmt: skip


def routed(work: Work, numbers: list[int]) -> list[list[int]]:
    """Insertion's routes over requests, by their numbers."""
    rows, sizes = insertion_routes(work, torch.tensor(numbers).numpy() + 1)
    return [(rows[r, :size] - 1).tolist() for r, size in enumerate(sizes) if size]


def test_batched_days_are_those_of_the_simulator() -> None:
    """With decisions at random: what is open, what must leave and the cost are the same at every
    epoch of every day; the simulator accepts the routes."""
    batch = drawn(2, seed=3, rate=5)
    together = drawn_days(batch, TRAIN)
    singles = [day for one in unbatch(batch) for day in days(one, TRAIN)]
    state = first_epoch(together, 1)
    states = [day.start() for day in singles]
    for number in range(4):
        leaving = torch.rand(state.open.shape, generator=seeded(number)) < 0.4
        must = state.must
        leave = [day.setting.departure(number) for day in singles]
        assert len(set(leave)) == 1
        for b, work in enumerate(works(together, leave[0])):
            day = singles[b]
            assert state.open[b, 0].nonzero().flatten().tolist() == list(states[b].open)
            assert set(must[b, 0].nonzero().flatten().tolist()) == day.known(states[b]).must
            sent = (must | (leaving & state.open))[b, 0].nonzero().flatten().tolist()
            states[b] = day.dispatch(states[b], routed(work, sent) if sent else [])
        state = state.after(leaving, insertion_price)
        assert state.cost[:, 0].tolist() == pytest.approx([s.cost for s in states], rel=1e-9)
    assert not bool(state.open.any())


def test_routes_by_insertion_are_kept_and_near_the_best() -> None:
    """Of up to 6 requests that leave together, against every partition in every order: never
    below the best, and 3 % above on the mean at most."""
    found: list[tuple[float, float]] = []
    for one in unbatch(drawn(4, seed=1, rate=6)):
        for day in days(one, TRAIN):
            first = [r for r in day.requests if r.epoch == 0]
            (work,) = works(drawn_days_of(day), day.setting.departure(0))
            routes = routed(work, [r.number for r in first])
            visits = [[day.requests[n] for n in route] for route in routes]
            leaves = day.setting.departure(0)
            assert sorted(r.number for v in visits for r in v) == [r.number for r in first]
            assert all(day.setting.route_is_kept(v, leaves) for v in visits)
            best = min(
                sum(shortest(day, [first[i] for i in part], leaves) for part in parts)
                for parts in partitions(range(len(first)))
            )
            found.append((sum(map(day.setting.route_length, visits)), best))
    assert all(length >= best - 1e-9 for length, best in found)
    assert sum(length for length, _ in found) <= 1.03 * sum(best for _, best in found)
    assert len(found) == 8


def drawn_days_of(day: Day) -> Days:
    """The open requests of the first epoch of a day."""
    return open_days(day.known(day.start()))


def test_one_epoch_looks_as_in_a_batch() -> None:
    """What a policy sees of the open requests of a day that is dispatched in earnest is what it
    saw in training, and it scores them the same."""
    batch = drawn(2, seed=6, rate=5)
    together, state = drawn_days(batch, TRAIN), None
    singles = [day for one in unbatch(batch) for day in days(one, TRAIN)]
    state, states = first_epoch(together, 1), [day.start() for day in singles]
    net = policy()
    for number in range(3):
        nodes, pairs = together.features(number)
        scores = net(nodes, pairs, margins(state), state.open)
        for b, day in enumerate(singles):
            alone = open_days(day.known(states[b]))
            here = state.open[b, 0].nonzero().flatten()
            own_nodes, own_pairs = alone.features(number)
            assert torch.allclose(own_nodes[0], nodes[b, here], atol=1e-6)
            assert torch.allclose(own_pairs[0], pairs[b][here][:, here], atol=1e-6)
            everyone = torch.ones(1, 1, len(here), dtype=torch.bool)
            here_state = DaysState(alone, number, everyone, state.cost[:1])
            own = net(own_nodes, own_pairs, margins(here_state), everyone)[0, 0]
            assert torch.allclose(own, scores[b, 0, here], atol=1e-5)
            sent = day.known(states[b]).must
            states[b] = day.dispatch(states[b], [[n] for n in sorted(sent)])
        state = state.after(torch.zeros_like(state.open), insertion_price)


def test_scores_do_not_see_what_is_not_open() -> None:
    """Requests that have not come in, or have left, change no score: with other numbers the
    scores are the same to the bit."""
    batch = drawn_days(drawn(2, seed=8, rate=5), TRAIN)
    state = first_epoch(batch, 3)
    is_open, told = state.open, margins(state)
    nodes, pairs = batch.features(0)
    net = policy(1)
    scores = net(nodes, pairs, told, is_open)
    closed = ~is_open[:, 0]
    assert bool((told[~is_open] == 0).all())
    nodes[closed], told[~is_open] = 7.0, 5.0
    pairs[closed.unsqueeze(2) | closed.unsqueeze(1)] = -3.0
    assert torch.equal(net(nodes, pairs, told, is_open), scores)
    assert bool((scores[~is_open] == 0).all())


def test_margins_are_differences_of_lengths() -> None:
    """Of each open request that can wait, with one request more and one less, one at a time."""
    batch = drawn_days(drawn(1, seed=7, rate=6), TRAIN)
    state = first_epoch(batch, 1)
    told, unit = margins(state), float(batch.length_unit[0])
    must, everyone = state.must, state.open
    assert bool((everyone & ~must).any())
    for b, _, i in (everyone & ~must).nonzero().tolist():
        one = torch.zeros_like(everyone)
        one[b, 0, i] = True
        added = insertion_price(batch, 0, must | one) - insertion_price(batch, 0, must)
        saved = insertion_price(batch, 0, everyone) - insertion_price(batch, 0, everyone & ~one)
        expected = [float(added[b, 0]) / unit, float(saved[b, 0]) / unit]
        assert told[b, 0, i].tolist() == pytest.approx(expected, abs=1e-6)
    assert bool((told[must] == 0).all())


def test_likelihood_and_entropy_are_those_of_the_decisions() -> None:
    """By enumeration of all decisions of one epoch: probabilities of the passes' own formula add up
    to 1, and the mean of the negative logs is the entropy."""
    batch = drawn_days(drawn(1, seed=12, rate=4, num_epochs=2), Scenarios(Split.TRAIN, 1))
    state = first_epoch(batch, 1)
    free = (state.open & ~state.must)[0, 0].nonzero().flatten().tolist()
    assert len(free) >= 2
    net = policy(2)
    with torch.no_grad():
        scores = net(*batch.features(0), margins(state), state.open)[0, 0]
        logs: list[Tensor] = []
        for choice in range(2 ** len(free)):
            taken = torch.tensor([bool(choice >> i & 1) for i in range(len(free))])
            signed = torch.where(taken, scores[free], -scores[free])
            logs.append(torch.nn.functional.logsigmoid(signed).sum())
        log = torch.stack(logs).double()
        drawn_passes = passes(net, batch, 400, seeded(3))
    assert float(log.exp().sum()) == pytest.approx(1, abs=1e-6)
    entropy = float(-(log.exp() * log).sum())
    assert drawn_passes.entropy[0].tolist() == pytest.approx([entropy] * 400, rel=1e-5)
    # the frequencies of what was drawn are the probabilities that are claimed
    claimed = drawn_passes.log_likelihood[0].exp()
    for value in claimed.unique():
        share = float((claimed == value).double().mean())
        same = int((log.exp() - float(value)).abs().lt(1e-6).sum())
        assert share == pytest.approx(same * float(value), abs=0.12)


def test_the_loss_prefers_the_cheaper_pass() -> None:
    """By hand: of two passes the dearer one's likelihood falls, and the advantage compares with
    the others of the day alone."""
    likelihood = torch.zeros(2, 2, requires_grad=True)
    cost = torch.tensor([[3.0, 1.0], [5.0, 5.0]], dtype=torch.float64)
    found = Passes(cost, likelihood, torch.zeros(2, 2))
    loss(found, torch.tensor([1.0, 2.0], dtype=torch.float64), 0.1).backward()
    assert likelihood.grad is not None
    assert likelihood.grad.tolist() == [[0.5, -0.5], [0.0, 0.0]]


def config(folder: Path, **changes: Any) -> DispatchTrainConfig:
    """A run of seconds."""
    values: dict[str, Any] = {
        "name": "tiny",
        "problem": "dvrptw",
        "data": {"num_customers": 8, "requests": {"num_epochs": 3, "rate": 4}},
        "policy": SMALL.model_dump(mode="json"),
        "optimizer": {"lr": 3e-3},
        "training": {"epochs": 2, "batches_per_epoch": 3, "batch_size": 8, "num_times": 4},
        "validation": {"num_instances": 8},
        "output": str(folder),
    }
    return parse(DispatchTrainConfig, values | changes, "test")


def test_a_resumed_run_is_the_run(tmp_path: Path) -> None:
    """To the bit; its folder has a model that dispatches whole days, and figures of every epoch."""
    whole = train_dispatcher(config(tmp_path / "a"), progress=False)
    short = {"epochs": 1, "batches_per_epoch": 3, "batch_size": 8, "num_times": 4}
    begun = train_dispatcher(config(tmp_path / "b", training=short), progress=False)
    text = (begun / "config.yaml").read_text().replace("epochs: 1\n", "epochs: 2\n", 1)
    (begun / "config.yaml").write_text(text)
    train_dispatcher(config(tmp_path / "b"), resume=begun, progress=False)
    first, second = (load_dispatcher(folder) for folder in (whole, begun))
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    with (begun / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[-1]["val/cost"]) == first.card.metrics["val/cost"]
    assert first.card.days == 48
    (day,) = days(drawn(1, seed=2), Scenarios(Split.TEST, 1))
    end = serve(day, ChooseThenRoute(first), Budget(iterations=5), 0)
    assert sum(end.sent) == len(day.requests)
    with pytest.raises(InputError, match="not that of the run: seed differ"):
        train_dispatcher(config(tmp_path / "b", seed=3), resume=begun, progress=False)
    with pytest.raises(InputError, match="no run of a dispatcher"):
        train_dispatcher(config(tmp_path / "b"), resume=tmp_path, progress=False)


def test_training_learns_to_wait_where_waiting_pays() -> None:
    """Every day has the same two requests at one place, one in each of two epochs, and the first
    can wait: after a few steps it does."""
    batch = drawn_days(drawn(8, seed=1, num_epochs=2, rate=1, windows=(1.5, 1.5)), TRAIN)
    both = (batch.epoch < 2).all(1)
    from dataclasses import replace

    place = batch.distance[both][:, :2, :2]
    stops = [0, 1, 1]
    same = place[:, stops][:, :, stops] * torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    count = len(place)
    assert count >= 3
    one_place = replace(
        batch, epoch=torch.tensor([[0, 1]] * count), demand=batch.demand[both],
        service=batch.service[both], window=torch.tensor([[[2.0, 3.5]] * 2] * count).double(),
        distance=same, duration=same, near=batch.near[both], hours=batch.hours[both],
        capacity=batch.capacity[both], length_unit=batch.length_unit[both],
        time_unit=batch.time_unit[both],
    )  # fmt: skip
    net = policy(4)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    state: DaysState = first_epoch(one_place, 1)
    assert not bool(state.must.any())
    for step in range(40):
        found = passes(net, one_place, 8, seeded(step))
        optimizer.zero_grad()
        loss(found, one_place.length_unit, 0.02).backward()
        optimizer.step()
    with torch.no_grad():
        decided = passes(net, one_place, 1, None)
    assert decided.cost[:, 0].tolist() == pytest.approx((2 * same[:, 0, 1]).tolist())


def test_the_command_trains_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`nco train` of dvrptw, then `nco solve` with what it wrote; wrong values are named."""
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(config(tmp_path / "runs").model_dump(mode="json")))

    def call(*words: str) -> int:
        with pytest.raises(SystemExit) as stop:
            cli.main(list(words))
        return int(stop.value.code or 0)

    assert call("train", str(path), "-q") == 0
    run = capsys.readouterr().out.strip()
    instance = tmp_path / "d.json"
    assert call("data", "generate", "dvrptw", "-n", "6", "--epochs", "3", "--rate", "3",
                "-o", str(instance)) == 0  # fmt: skip
    out = tmp_path / "out.json"
    assert call("solve", str(instance), "--solver", run, "--iterations", "5", "--scenarios", "2",
                "-q", "-o", str(out)) == 0  # fmt: skip
    assert call("verify", str(out)) == 0
    stored = json.loads(out.read_text())
    stored["days"][0]["mean"] += 0.5
    out.write_text(json.dumps(stored))
    assert call("verify", str(out)) == 1
    assert "mean cost is" in capsys.readouterr().err
    assert call("train", str(path), "policy.dim=15", "-q") == 2
    assert "dim 15 must be a multiple of num_heads 2" in capsys.readouterr().err
    assert call("train", str(path), "training.num_times=1", "-q") == 2
    assert "num_times" in capsys.readouterr().err
    for words, told in (
        (("--solver", "dispatch-lazy", "--map", "x.html"), "--map given with dispatch-lazy"),
        (("--solver", "dispatch-lazy", "--iterations", "1", "--scenarios", "0"), "at least 1"),
        (("--solver", "pyvrp", "--iterations", "1", "--scenarios", "3"), "--scenarios is 3"),
        (("--solver", "pyvrp", "--iterations", "1"), "such days are for dispatch-greedy"),
    ):
        assert call("solve", str(instance), *words) == 2
        assert told in " ".join(capsys.readouterr().err.split())
    (Path(run) / "model" / "model.safetensors").write_bytes(b"no weights")
    assert call("solve", str(instance), "--solver", run, "--iterations", "5") == 2
    assert "the weights do not fit the card" in capsys.readouterr().err
