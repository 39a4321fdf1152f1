"""Instances of dvrptw: their law, their files, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nco import cli
from nco.api import generate, solve
from nco.baselines.solver import UnsupportedError
from nco.data.attributes import variant_names
from nco.data.batching import collate, replace, unbatch, with_dtype
from nco.data.dispatch_rules import DISPATCH
from nco.data.dynamic_requests import RequestLaw, with_requests
from nco.data.errors import InputError
from nco.data.files import read, write
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.request_stream import draw_requests, rules_of
from nco.envs.checker import check_routes
from nco.envs.variants import environments
from tests.days import drawn
from tests.draws import same, seeded

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "samples" / "windows12.txt"


def test_the_law_of_a_day() -> None:
    """By default the day holds two more epochs than have requests, and twice as many candidates as
    customers; windows are of the length asked for."""
    batch = generate("dvrptw", 20, 16, 3)
    assert batch.dispatch is not None
    rules = rules_of(batch)
    assert (rules.num_epochs, rules.candidates) == (5, 8)
    assert rules.epoch == rules.wait == pytest.approx(4.6 / 7)
    early, late = batch.time_window[:, 1:].unbind(2)
    assert 0.5 <= float((late - early).min()) < 0.6
    assert 1.4 < float((late - early).max()) <= 1.5 + 1e-6
    law = RequestLaw(num_epochs=3, rate=2, epoch=0.5, margin=0.1, windows=(0.2, 0.2))
    other = generate("dvrptw", 20, 2, 3, requests=law)
    assert rules_of(other).row() == pytest.approx([3, 0.5, 2, 0.1])
    early, late = other.time_window[:, 1:].unbind(2)
    assert torch.allclose(late - early, torch.tensor(0.2))
    assert variant_names(batch) == ["dvrptw"] * 16


def test_late_candidates_are_dropped() -> None:
    """All of a day's first epoch can hardly be too late, and most of the last are."""
    batch = generate("dvrptw", 20, 32, 1)
    real = draw_requests(batch, rules_of(batch), Scenarios(Split.TEST, 20)).real.double()
    share = real.mean((0, 1, 3)).tolist()
    assert share == sorted(share, reverse=True)
    assert share[0] > 0.9 > 0.3 > share[-1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_days_read_back_the_same(tmp_path: Path, dtype: torch.dtype) -> None:
    """To the last bit, so that the days are those of before the file."""
    floats = drawn(3, seed=1)
    batch = in_precision(floats, dtype)
    write(batch, tmp_path / "d.json")
    again = read(tmp_path / "d.json")
    assert same(batch, again)
    first, second = (
        draw_requests(one, rules_of(one), Scenarios(Split.TEST, 3)) for one in (batch, again)
    )
    assert torch.equal(first.window, second.window)
    assert torch.equal(first.real, second.real)
    assert same(collate(unbatch(batch)), batch)


def in_precision(batch: Instance, dtype: torch.dtype) -> Instance:
    """The same in another precision, with numbers that need it."""
    wide = with_dtype(batch, dtype)
    assert wide.dispatch is not None
    return replace(wide, {"dispatch": wide.dispatch * wide.dispatch.new_tensor([1, 0.7, 1, 1.3])})


def test_a_static_file_becomes_days(tmp_path: Path) -> None:
    """On the command line; customers, windows and capacity are the file's, and so are requests."""
    target = tmp_path / "days.json"
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "requests", str(SAMPLE), str(target), "--rounding", "trunc",
                  "--epochs", "3", "--rate", "4"])  # fmt: skip
    assert stop.value.code == 0
    days, static = read(target), read(SAMPLE, rounding="trunc")
    assert torch.equal(days.time_window, static.time_window)
    assert torch.equal(days.linehaul, static.linehaul)
    opens, closes = static.time_window[0, 0].tolist()
    rules = rules_of(days)
    assert (rules.num_epochs, rules.candidates) == (3, 4)
    assert rules.epoch == pytest.approx((closes - opens) / 5)
    found = draw_requests(days, rules, Scenarios(Split.TEST, 2))
    assert found.place.min() >= 1
    assert found.place.max() <= days.num_nodes - 1


def test_hand_written_files(tmp_path: Path) -> None:
    """Every number of a day by its name; what is missing, wrong or broken is named."""
    one = drawn()
    write(one, tmp_path / "d.json")
    data = json.loads((tmp_path / "d.json").read_text())
    told = data["instances"][0]["dispatch"]
    assert tuple(told) == DISPATCH
    for change, words in (
        ({"epoch": 0}, "an epoch takes 0.0"),
        ({"num_epochs": 2.5}, "num_epochs is 2.5; accepted: a whole number"),
        ({"candidates": 0}, "accepted: at least 1 of both"),
        ({"wait": 1}, "wait too much or too little"),
        ({"margin": -1}, "its margin is -1"),
    ):
        data["instances"][0]["dispatch"] = told | change
        (tmp_path / "bad.json").write_text(json.dumps(data))
        with pytest.raises(InputError, match=words):
            read(tmp_path / "bad.json")


def test_what_days_refuse(tmp_path: Path) -> None:
    """Laws out of range, options of other problems, and whatever would take the customers for
    stops to visit."""
    one = drawn()
    laws: list[tuple[dict[str, Any], str]] = [
        ({"num_epochs": 0}, "num_epochs is 0; accepted: at least 1"),
        ({"rate": 0}, "rate is 0"),
        ({"epoch": 0.0}, "epoch is 0.0; accepted: a finite number above 0"),
        ({"margin": -1.0}, "margin is -1.0; accepted: a finite number of at least 0"),
        ({"windows": (2.0, 1.0)}, "accepted: 0 <= shortest <= longest"),
        ({"windows": (0.1, 3.0)}, "windows is"),
        ({"epoch": 2.0}, "end after the depot closes"),
    ]
    for law, words in laws:
        with pytest.raises(InputError, match=words):
            generate("dvrptw", 5, requests=RequestLaw(**law))
    with pytest.raises(InputError, match="requests are given for cvrp; accepted for: dvrptw"):
        generate("cvrp", 5, requests=RequestLaw())
    with pytest.raises(InputError, match="never closes"):
        with_requests(generate("cvrp", 5), RequestLaw(), seeded())
    with pytest.raises(InputError, match="from one depot"):
        with_requests(generate("mdvrptw", 5), RequestLaw(), seeded())
    with pytest.raises(InputError, match="which says how its day is cut"):
        rules_of(generate("vrptw", 5))
    with pytest.raises(InputError, match="2 kinds of dispatch"):
        rules_of(collate([one, drawn(rate=5)]))
    with pytest.raises(InputError, match="no routes over them solve it"):
        check_routes(one, [[1]])
    with pytest.raises(InputError, match="cannot state"):
        write(one, tmp_path / "d.txt")
    with pytest.raises(UnsupportedError, match="requests that come over the day"):
        solve(one, solver="pyvrp", iterations=1, progress=False)
    with pytest.raises(InputError, match="requests that come over the day"):
        environments["vrptw"].require(one)
    with pytest.raises(InputError, match="some of the instances"):
        collate([one, generate("vrptw", 8)])
