"""The overview of many suites: its cells are the suites' own figures, its last row their mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nco.api import generate
from nco.benchmark_config import BenchmarkConfig
from nco.config_files import parse
from nco.data.batching import unbatch
from nco.envs.checker import check_routes
from nco.provenance import collect
from nco.report import write_report
from nco.report_overview import overview_blocks
from nco.report_page import Picture, markdown_page
from nco.store import NewInstance, Reference, Store, create_store
from nco.summary import summarise
from tests.test_report import make_record

EACH, PAIR = [[1], [2], [3]], [[1, 2], [3]]
INSTANCES = unbatch(generate("cvrp", 3, 2, seed=5))
GAPS = [check_routes(one, EACH).cost / check_routes(one, PAIR).cost - 1 for one in INSTANCES]
MEAN = f"{50 * sum(GAPS):+.2f} %"


def make_store(folder: Path, suites: str, unreferenced: str = "") -> Store:
    """Suites of the same two instances, called by a letter each; the reference is ``pairs``.

    ``each`` drives to every customer alone. ``picky`` does as ``pairs``, but refuses suite b, and
    on c leaves customers out in the second instance, on d in both. ``guest`` runs on a alone, as
    ``each`` does. The best costs of suites in ``unreferenced`` are not known.
    """
    names = ("pairs", "each", "picky", "guest")
    entries: list[dict[str, Any]] = [{"name": n, "solver": {"solver": "nearest"}} for n in names]
    entries[-1]["suites"] = ["a"]
    kept = {"type": "solver", "solver": "pairs"}
    config = {
        "name": "many",
        "output": folder / f"store-{suites}",
        "suites": [{"type": "files", "name": s, "paths": []}
                   | ({} if s in unreferenced else {"reference": kept}) for s in suites],
        "solvers": entries,
    }  # fmt: skip
    new, records = [], []
    for suite in suites:
        for index, one in enumerate(INSTANCES):
            new.append(NewInstance(suite, f"{index}", one, "made up", None))
            lost = suite == "d" or (suite == "c" and index == 1)
            routes = {"pairs": PAIR, "each": EACH, "picky": [[1]] if lost else PAIR}
            if suite == "a":
                routes["guest"] = EACH
            for name, asked in routes.items():
                changes: dict[str, Any] = {"suite": suite, "routes": asked,
                                           "depots": [0] * len(asked)}  # fmt: skip
                if name == "picky" and suite == "b":
                    changes = {"suite": suite, "status": "unsupported", "error": "no b",
                               "routes": None, "depots": None}  # fmt: skip
                records.append(make_record(name, index, one, **changes))
    store = create_store(parse(BenchmarkConfig, config, "test"), collect(), new)
    store.append(records)
    return store


def overview(markdown: str) -> list[list[str]]:
    """The cells of the table under the heading, the head first."""
    text = markdown.partition("## Overview")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "---" not in line]


def test_cells_and_means_by_hand(tmp_path: Path) -> None:
    """Gaps of complete solvers alone are the best of their row; refusals and failures are told;
    a solver without a gap on every suite has no mean, only their number."""
    markdown, page = write_report(make_store(tmp_path, "abcde", unreferenced="e").folder)
    assert overview(markdown.read_text()) == [
        ["Suite", "each", "picky", "guest"],
        ["[a](#a)", MEAN, "**0 %**", MEAN],
        ["[b](#b)", f"**{MEAN}**", "unsupported", "–"],
        ["[c](#c)", f"**{MEAN}**", "0 % (over 1 of 2)", "–"],
        ["[d](#d)", f"**{MEAN}**", "infeasible", "–"],
        ["mean of 4 suites", f"**{MEAN}**", "– (2 of 4 suites)", "– (1 of 4 suites)"],
    ]
    for path in (markdown, page):
        text = path.read_text()
        assert text.count("relative to pairs (test 1.2.3, ") == 1 + 4
        assert "so without gaps: e." in text
    linked = re.findall(r'<a href="#([^"]*)"', page.read_text())
    assert linked == list("abcd")
    assert all(f'<h2 id="{name}">' in page.read_text() for name in linked)
    assert (markdown.parent / "report-plots" / "overview.svg").is_file()


def test_a_mean_over_some_instances_says_so(tmp_path: Path) -> None:
    """A solver with a gap on every suite, but not of every instance: its mean is not the best."""
    blocks = overview_blocks(summarise(make_store(tmp_path, "acfg")))
    assert overview(markdown_page(blocks, "plots"))[-1] == [
        "mean of 4 suites", f"**{MEAN}**", "0 % (over 7 of 8)", "– (1 of 4 suites)",
    ]  # fmt: skip


def test_no_overview_of_few_suites_or_without_references(tmp_path: Path) -> None:
    """Three tables need none, and where there is no gap there is nothing to look over."""
    for suites, unreferenced in (("abc", ""), ("abcd", "abcd")):
        store = make_store(tmp_path, suites, unreferenced)
        assert overview_blocks(summarise(store)) == []


def test_no_overview_where_each_suite_has_solvers_of_its_own(tmp_path: Path) -> None:
    """A table with one figure in a column compares nothing."""
    entries = [
        {"name": f"only-{s}", "solver": {"solver": "nearest"}, "suites": [s]} for s in "abcd"
    ]
    config = {
        "name": "apart",
        "output": tmp_path / "apart",
        "suites": [{"type": "files", "name": s, "paths": [],
                    "reference": {"type": "solver", "solver": f"only-{s}"}} for s in "abcd"],
        "solvers": entries,
    }  # fmt: skip
    new = [NewInstance(s, "0", INSTANCES[0], "made up", None) for s in "abcd"]
    store = create_store(parse(BenchmarkConfig, config, "test"), collect(), new)
    store.append(
        [make_record(f"only-{s}", 0, INSTANCES[0], suite=s, routes=PAIR, depots=[0, 0])
         for s in "abcd"]
    )  # fmt: skip
    summaries = summarise(store)
    assert all(summary.references for summary in summaries)
    assert overview_blocks(summaries) == []


def test_different_references_stand_in_a_column(tmp_path: Path) -> None:
    """Where suites differ in what gaps are relative to, each row names its own, and the solver
    that is the reference of some has a column."""
    singles = [make_record("pairs", 0, INSTANCES[0], suite=s, routes=PAIR, depots=[0, 0])
               for s in "abcd"]  # fmt: skip
    kept = {"type": "solver", "solver": "pairs"}
    config = {
        "name": "mixed",
        "output": tmp_path / "mixed",
        "suites": [{"type": "files", "name": s, "paths": []}
                   | ({"reference": kept} if s in "ab" else {}) for s in "abcd"],
        "solvers": [{"name": "pairs", "solver": {"solver": "nearest"}}],
    }  # fmt: skip
    known = Reference(source="a book", cost=check_routes(INSTANCES[0], EACH).cost)
    new = [NewInstance(s, "0", INSTANCES[0], "made up", known if s in "cd" else None)
           for s in "abcd"]  # fmt: skip
    store = create_store(parse(BenchmarkConfig, config, "test"), collect(), new)
    store.append(singles)
    table = overview(markdown_page(overview_blocks(summarise(store)), "plots"))
    below = 100 * (1 / (1 + GAPS[0]) - 1)
    told = f"{below:+.2f} %".replace("-", "−")
    assert table[0] == ["Suite", "pairs", "Reference"]
    assert [row[1] for row in table[1:3]] == ["**reference**"] * 2
    assert [row[1] for row in table[3:5]] == [f"**{told}**"] * 2
    assert [row[2].split(" (")[0] for row in table[1:5]] == ["pairs", "pairs", "a book", "a book"]
    assert table[5][1:] == [f"**{below / 2:+.2f} %**".replace("-", "−"), ""]


def test_the_plot_has_a_line_for_each_suite(tmp_path: Path) -> None:
    """Every suite's name and every solver's but the reference's are in the drawing."""
    blocks = overview_blocks(summarise(make_store(tmp_path, "abcdfghijkl")))
    (picture,) = (block for block in blocks if isinstance(block, Picture))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
    assert [t for t in texts if t in "abcdfghijkl"] == list("abcdfghijkl")
    assert {"each", "picky", "guest"} <= set(texts)
    assert "pairs" not in texts
