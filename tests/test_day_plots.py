"""Dispatching from Python, and drawings of days."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.lines import Line2D

import nco
from nco import cli
from nco.baselines.dispatch_routes import ChooseThenRoute
from nco.baselines.dispatching import Everyone
from nco.data.day_files import read_days
from nco.data.errors import InputError
from nco.data.json_format import write_json_instances
from nco.data.plot import colour_of
from nco.envs.dispatch import days
from nco.envs.dispatch_checker import check_days
from tests.days import drawn


def test_python_dispatches_as_the_command_does(tmp_path: Path) -> None:
    """The same days by name, by object and by the command, judged alike, one result an instance."""
    instance = drawn(batch=2, seed=3)
    found = nco.dispatch(instance, strategy="dispatch-greedy", scenarios=3, iterations=5)
    given = nco.dispatch(instance, strategy=ChooseThenRoute(Everyone()), scenarios=3, iterations=5)
    assert [one.days for one in found] == [one.days for one in given]
    write_json_instances(instance, tmp_path / "days.json")
    with pytest.raises(SystemExit):
        cli.main(["solve", str(tmp_path / "days.json"), "--solver", "dispatch-greedy", "-q",
                  "--iterations", "5", "--scenarios", "3", "-o", str(tmp_path / "out.json"),
                  "--plot", str(tmp_path / "{name}.html")])  # fmt: skip
    for one, stored, number in zip(found, read_days(tmp_path / "out.json"), (1, 2), strict=True):
        assert stored.mean == one.cost
        reports = check_days(one.instance, one.test.scenarios, one.days)
        assert one.cost == pytest.approx(sum(r.cost for r in reports) / 3, rel=1e-12)
        page = (tmp_path / f"days-{number}.html").read_text()
        for epoch, routes in enumerate(one.days[0]):
            for route in routes:
                assert f"<tr><td>{epoch}</td><td>{' '.join(map(str, route))}</td></tr>" in page


@pytest.mark.parametrize("strategy", ["dispatch-greedy", "dispatch-lazy"])
def test_a_panel_shows_what_leaves_in_its_epoch(strategy: str) -> None:
    """One for each epoch, a line for each route that leaves then, and a grey dot for each request
    that came in by then and waits."""
    (done,) = nco.dispatch(drawn(seed=5), strategy=strategy, scenarios=2, iterations=5)
    reports = days(done.instance, done.test.scenarios)
    for day in range(2):
        axes = done.plot(day).axes
        assert len(axes) == len(done.days[day]) == 4
        gone: set[int] = set()
        for epoch, (panel, routes) in enumerate(zip(axes, done.days[day], strict=True)):
            lines: list[Line2D] = list(panel.get_lines())
            drawn_routes = [line for line in lines if line.get_linestyle() == "-"]
            assert len(drawn_routes) == len(routes)
            assert [len(line.get_xdata()) - 2 for line in drawn_routes] == list(map(len, routes))  # type: ignore[arg-type]
            assert [line.get_color() for line in drawn_routes] == [
                colour_of(i) for i in range(len(routes))
            ]
            here = {r.number for r in reports[day].requests if r.epoch <= epoch} - gone
            gone |= {number for route in routes for number in route}
            waiting = [line for line in lines if line.get_color() == "0.75"]
            assert len(waiting) == len(here - gone)


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other instances, unknown names, no day, no limit, and a drawing of another kind."""
    instance = drawn()
    with pytest.raises(InputError, match="no strategy for days of requests"):
        nco.dispatch(instance, strategy="pyvrp", iterations=1)
    with pytest.raises(InputError, match="scenarios is 0; accepted: at least 1"):
        nco.dispatch(instance, strategy="dispatch-lazy", iterations=1, scenarios=0)
    with pytest.raises(InputError, match="no dispatch, which says how its day is cut"):
        nco.dispatch(nco.generate("vrptw", 5), strategy="dispatch-lazy", iterations=1)
    (done,) = nco.dispatch(instance, strategy="dispatch-lazy", iterations=1, scenarios=1)
    with pytest.raises(InputError, match="day is 1; accepted: 0 to 0"):
        done.plot(1)
    write_json_instances(instance, tmp_path / "d.json")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["solve", str(tmp_path / "d.json"), "--solver", "dispatch-lazy", "-q",
                  "--iterations", "1", "--plot", str(tmp_path / "d.pdf")])  # fmt: skip
    assert stopped.value.code == 2
    assert ".png, .html" in " ".join(capsys.readouterr().err.split())
