"""The report says what the store holds, and the HTML page needs nothing else."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nco.api import generate
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.envs.checker import check_routes
from nco.provenance import collect
from nco.report import write_report
from nco.store import NewInstance, Record, Reference, Store, create_store, open_store
from nco.summary import mean_curve, summarise
from nco.verify import judged

NAMES = ("steady", "fails <once>", "never")


def make_record(solver: str, index: int, instance: Instance, **changes: Any) -> Record:
    last = instance.num_nodes
    values = {
        "suite": "s",
        "instance": f"{index}",
        "solver": solver,
        "seed": 0,
        "status": "ok",
        "routes": [[c] for c in range(1, last)],
        "depots": [0] * (last - 1),
        "wall_seconds": 0.25,
        "setup_seconds": 0.0,
        "solver_version": "test 1.2.3",
        "finished": "2020-01-01T00:00:00Z",
    }
    return judged(Record.model_validate(values | changes), instance)


def make_store(folder: Path, with_reference: bool = True) -> Store:
    """Six instances, each reference 80 % of the cost of a route for each customer.

    ``steady`` solves them so, alone, in batches of 4, and with a trace; ``fails <once>`` puts
    customers 1 and 2 into one route and breaks down on instance 5; ``never`` leaves some out.
    """
    config = {
        "name": "made-up",
        "output": folder / "store",
        "suites": [{"type": "files", "name": "s", "paths": []}],
        "solvers": [{"name": n, "solver": {"solver": "nearest"}, "budget": {"time_limit": 2}}
                    for n in NAMES],
    }  # fmt: skip
    config["solvers"][0]["batch_size"] = 4
    singles = unbatch(generate("cvrp", 5, 6, seed=3))
    new, records = [], []
    for index, one in enumerate(singles):
        cost = make_record("steady", index, one).cost
        assert cost is not None
        reference = Reference(source="half a guess", cost=0.8 * cost) if with_reference else None
        new.append(NewInstance("s", f"{index}", one, "made up", reference))
        steady = make_record("steady", index, one, trace=[(0.1, 2 * cost), (0.2, cost)])
        batch = make_record("steady", index, one, batch_size=4, batch=index // 4, wall_seconds=0.5)
        broken: dict[str, Any] = {"status": "failed", "error": "KeyError: <5>", "routes": None}
        paired: dict[str, Any] = {"routes": [[1, 2], [3], [4], [5]], "depots": [0] * 4}
        fails = make_record(NAMES[1], index, one, **(broken if index == 5 else paired))
        never = make_record(NAMES[2], index, one, routes=[[1]], depots=[0])
        records += [steady, batch, fails, never]
    store = create_store(parse(BenchmarkConfig, config, "test"), collect(), new)
    store.append(records)
    return store


def test_figures_by_hand(tmp_path: Path) -> None:
    """Gap 25 % for all of ``steady``; the others over what they solved; failures in no mean."""
    summary = summarise(make_store(tmp_path))[0]
    steady, fails, never = summary.rows
    assert steady.gap is not None
    assert steady.gap.mean == pytest.approx(0.25)
    assert (steady.gap.low, steady.gap.high) == (pytest.approx(0.25), pytest.approx(0.25))
    assert steady.throughput is not None
    assert steady.throughput.per_second == pytest.approx(6 / (0.5 + 0.5))
    assert steady.curve == [(0.1, pytest.approx(1.5)), (0.2, pytest.approx(0.25))]
    singles = unbatch(generate("cvrp", 5, 6, seed=3))
    costs = [check_routes(one, [[1, 2], [3], [4], [5]]).cost for one in singles[:5]]
    single = [check_routes(one, [[c] for c in range(1, 6)]).cost for one in singles[:5]]
    assert fails.cost is not None
    assert fails.cost.mean == pytest.approx(sum(costs) / 5)
    assert fails.gap is not None
    assert fails.gap.count == 5
    expected = sum(c / (0.8 * s) - 1 for c, s in zip(costs, single, strict=True)) / 5
    assert fails.gap.mean == pytest.approx(expected)
    assert fails.failures == 1
    assert (never.cost, never.gap, never.failures) == (None, None, 6)
    assert never.statuses["infeasible"] == 6


def test_no_reference_no_gap(tmp_path: Path) -> None:
    """Without references every gap is a dash, in the words of the report too."""
    store = make_store(tmp_path, with_reference=False)
    assert all(row.gap is None for row in summarise(store)[0].rows)
    markdown, _ = write_report(store.folder)
    text = markdown.read_text()
    assert "no reference, so there are no gaps" in text
    line = next(line for line in text.splitlines() if line.startswith("| steady"))
    assert [cell.strip() for cell in line.split("|")][4] == "–"


def test_both_reports_hold_the_figures_of_the_store(tmp_path: Path) -> None:
    """Mean cost, gap, count, failures, seconds, throughput, reference and versions, by value."""
    store = make_store(tmp_path)
    markdown, page = write_report(store.folder, tmp_path / "out")
    assert (markdown.parent, page.parent) == (tmp_path / "out", tmp_path / "out")
    steady, fails, _ = summarise(store)[0].rows
    assert steady.cost is not None
    assert fails.gap is not None
    told = [f"{steady.cost.mean:.4f}", "+25.00 %", f"{100 * fails.gap.mean:+.2f} %", "over 5 of 6",
            "6 / 6", "5 / 6", "6 infeasible", "1 failed", "0.25", "6 / s", "batches of 4",
            "half a guess", "test 1.2.3", "2 s", store.header.checksum]  # fmt: skip
    for path in (markdown, page):
        text = path.read_text()
        assert [words for words in told if words not in text] == []


def test_names_and_errors_are_text_not_markup(tmp_path: Path) -> None:
    """A solver called ``fails <once>`` and its error appear escaped in the page."""
    _, page = write_report(make_store(tmp_path).folder)
    text = page.read_text()
    assert "fails &lt;once&gt;" in text
    assert "KeyError: &lt;5&gt;" in text
    assert "<once>" not in text


def test_the_page_refers_to_nothing_outside(tmp_path: Path) -> None:
    """No address, script, link or file; every image is inside, and is an SVG that parses."""
    _, page = write_report(make_store(tmp_path).folder)
    text = page.read_text()
    assert not re.search(r"https?:|//[a-z]|<script|<link|<iframe|@import|url\(", text)
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 3
    for source in sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        drawing = base64.b64decode(data).decode()
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
        hrefs = re.findall(r'href="([^"]*)"', drawing)
        assert all(href.startswith("#") for href in hrefs)


def test_markdown_links_to_pictures_that_are_there(tmp_path: Path) -> None:
    """Every picture that the Markdown names is a file beside it; old ones are gone."""
    store = make_store(tmp_path)
    (store.folder / "report-plots").mkdir()
    (store.folder / "report-plots" / "old.svg").write_text("")
    markdown, _ = write_report(store.folder)
    linked = set(re.findall(r"\]\((report-plots/[^)]*)\)", markdown.read_text()))
    there = {f"report-plots/{p.name}" for p in (store.folder / "report-plots").iterdir()}
    assert linked == there
    assert len(linked) == 3


def test_an_incomplete_store_says_so(tmp_path: Path) -> None:
    """With two lines lost the report opens with how many runs are missing."""
    store = make_store(tmp_path)
    lines = store.results_file.read_text().splitlines(keepends=True)
    store.results_file.write_text("".join(lines[:-2]))
    markdown, _ = write_report(store.folder)
    assert "2 of 24 runs are not in the store" in markdown.read_text()


def test_a_store_without_results_has_a_report(tmp_path: Path) -> None:
    """Nothing solved yet: dashes, no pictures but no error."""
    store = make_store(tmp_path)
    store.results_file.write_text("")
    markdown, _ = write_report(store.folder)
    assert "24 of 24 runs" in markdown.read_text()


def test_report_of_no_store_or_into_no_folder(tmp_path: Path) -> None:
    """One clear message each."""
    with pytest.raises(InputError, match="is no result store"):
        write_report(tmp_path)
    store = make_store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(store.folder, tmp_path / "file")
    assert open_store(store.folder).lines()


def test_mean_of_curves_by_hand() -> None:
    """From 2 s, where both are known: (8 + 6) / 2, then 3 s: (4 + 6) / 2, then 5 s: (4 + 2) / 2.
    Thinned to a few points, it keeps its ends."""
    runs = [[(1.0, 8.0), (3.0, 4.0)], [(2.0, 6.0), (5.0, 2.0)]]
    assert mean_curve(runs) == [(2.0, 7.0), (3.0, 5.0), (5.0, 3.0)]
    assert mean_curve([]) == []
    many = [[(0.01 * t, 1000.0 - t) for t in range(1, 1000)]]
    thin = mean_curve(many, points=20)
    assert len(thin) == 20
    assert thin[0] == (0.01, 999.0)
    assert thin[-1][1] == 1.0
