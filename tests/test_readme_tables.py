"""Tables of documents are what the stored figures say; the README's are up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from nco.cli import main
from nco.data.errors import InputError
from nco.readme_tables import fill
from nco.stored_results import read_results, write_results
from nco.summary import summarise
from tests.conftest import ROOT
from tests.test_report_overview import MEAN, make_store

EMPTY = """before
<!-- table: many -->
<!-- end of table -->
between
<!-- table: many a -->
anything
<!-- end of table -->
after
"""


def document(folder: Path, text: str = EMPTY) -> Path:
    """A document beside the figures of a small benchmark."""
    store = make_store(folder, "abcd")
    write_results(store, folder / "docs" / "results" / "many.json")
    path = folder / "README.md"
    path.write_text(text)
    return path


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_readme_is_up_to_date() -> None:
    """Every table that says so is the stored figures'."""
    readme = ROOT / "README.md"
    assert fill(readme) == readme.read_text(encoding="utf-8")


def test_figures_on_the_disk_are_the_stores(tmp_path: Path) -> None:
    """To the last digit, refusals and failures too."""
    store = make_store(tmp_path, "abcd")
    write_results(store, tmp_path / "r.json")
    found = read_results(tmp_path / "r.json")
    assert found.checksum == store.header.checksum
    for suite, summary in zip(found.suites, summarise(store), strict=True):
        assert suite.name == summary.name
        for stored, row in zip(suite.rows, summary.rows, strict=True):
            assert stored.cost == (None if row.cost is None else row.cost.mean)
            assert (stored.gap and stored.gap.mean) == (row.gap and row.gap.mean)
            assert stored.statuses == dict(row.statuses)


def test_tables_by_hand(tmp_path: Path) -> None:
    """All suites, and one; the text around stays, what was between is gone; a second time nothing
    changes."""
    path = document(tmp_path)
    text = fill(path)
    overview, _, suite = text.partition("between")
    assert cells(overview) == [
        ["", "instances", "each", "picky", "guest"],
        ["a", "2", MEAN, "0 %", MEAN],
        ["b", "2", MEAN, "unsupported", "–"],
        ["c", "2", MEAN, "0 % (over 1 of 2)", "–"],
        ["d", "2", MEAN, "infeasible", "–"],
    ]
    rows = {row[0]: row for row in cells(suite)[1:]}
    assert rows["pairs"][3:5] == ["reference", "2 / 2"]
    assert rows["each"][3:5] == [MEAN, "2 / 2"]
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "anything" not in text
    path.write_text(text)
    assert fill(path) == text


def test_the_command_checks_and_fills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 where all is as the figures say, 1 where not, and then the file is as it was."""

    def run(*arguments: object) -> object:
        with pytest.raises(SystemExit) as done:
            main(["report", *map(str, arguments)])
        return done.value.code

    path = document(tmp_path)
    assert run("--readme", path, "--check") == 1
    assert path.read_text() == EMPTY
    assert run("--readme", path) == 0
    assert run("--readme", path, "--check") == 0
    path.write_text(path.read_text().replace(MEAN, "0.01 %"))
    assert run("--readme", path, "--check") == 1
    summary = tmp_path / "new" / "s.json"
    assert run(tmp_path / "store-abcd", "--summary", summary) == 0
    assert summary.read_text() == (tmp_path / "docs" / "results" / "many.json").read_text()
    capsys.readouterr()
    for wrong in ([], ["--check", tmp_path], ["--summary", summary]):
        assert run(*wrong) == 2
        assert "accepted" in capsys.readouterr().err or wrong


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<!-- table: none -->\n<!-- end of table -->\n", "line 1: .* has no none.json; .* many"),
        ("<!-- table: many z -->\n<!-- end of table -->\n", "has no suite z; accepted: a, b, c, d"),
        ("x\n<!-- table: many -->\n", "line 2: the table has no end"),
        ("<!-- table: many -->\n<!-- table: many a -->\n", "the table of line 1 has no end"),
    ],
)
def test_tables_that_cannot_be_filled_are_named(tmp_path: Path, text: str, told: str) -> None:
    """With the line."""
    with pytest.raises(InputError, match=told):
        fill(document(tmp_path, text))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """Not read as if it were figures."""
    path = document(tmp_path)
    (tmp_path / "docs" / "results" / "many.json").write_text('{"name": "x"}')
    with pytest.raises(InputError, match="nco report --summary"):
        fill(path)
