"""The comparison with stored ratios that `make benchmark` fails by."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.regression import Expected, judge, read, write

STORED = Expected(2.5, "a machine", "2026-01-01T00:00:00Z", None, "a command")


@pytest.mark.parametrize(
    ("change", "passed"), [(-0.21, False), (-0.19, True), (0.0, True), (0.5, True), (-0.9, False)]
)
def test_a_ratio_may_fall_by_a_fifth(change: float, passed: bool) -> None:
    """21 % less fails, 19 % less and any rise pass; the line names the case and both ratios."""
    (verdict,) = judge({"train CVRP50": 2.5 * (1 + change)}, {"train CVRP50": STORED})
    assert (verdict.passed, verdict.fallen) == (passed, not passed)
    assert verdict.line.startswith("passed train CVRP50" if passed else "FAILED train CVRP50")
    assert f"{2.5 * (1 + change):.2f}" in verdict.line
    assert "2.50" in verdict.line


def test_a_case_that_is_not_stored_is_told() -> None:
    """It neither passes silently nor counts as fallen; others are judged as without it."""
    first, second = judge({"new": 9.0, "old": 2.5}, {"old": STORED, "not measured": STORED})
    assert (first.passed, first.fallen, second.passed) == (False, False, True)
    assert "new" in first.line
    assert "none is stored" in first.line


def test_stored_ratios_are_read_back_and_merged(tmp_path: Path) -> None:
    """Measured cases replace their own, the rest stays; no file is no cases."""
    path = tmp_path / "ratios.json"
    assert read(path) == {}
    write(path, {"a": STORED, "b": STORED})
    better = replace(STORED, ratio=4.0)
    write(path, {"b": better})
    assert read(path) == {"a": STORED, "b": better}
    assert [file.name for file in tmp_path.iterdir()] == ["ratios.json"]
