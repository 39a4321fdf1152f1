"""The commands end to end: what they write is read again and judged by other code."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nco import api, benchmark, benchmark_tasks, cli, named_solvers, training
from nco.baselines.solver import Budget, SolveFailed
from nco.data.attributes import variant_names
from nco.data.batching import unbatch
from nco.data.files import read, read_solution
from nco.data.instance import Instance, Rounding, distance_matrix
from nco.data.json_format import instance_to_dict, read_json_solutions
from nco.data.solution import Solution
from nco.envs.checker import check_routes, evaluate
from nco.scenario_config import SCENARIO_SOLVERS
from nco.solver_config import SOLVER_NAMES
from tests.draws import same

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "data" / "samples"
TOWN = SAMPLES / "town16.vrp"
RING = SAMPLES / "ring12.tsp"

BENCHMARK = """
name: tiny
suites:
  - {type: generated, name: small, problem: cvrp, num_customers: 8, num_instances: 3,
     reference: {type: solver, solver: savings}}
solvers:
  - {name: savings, solver: {solver: savings}}
  - {name: nearest, solver: {solver: nearest}}
"""

TRAINING = """
name: tiny
problem: cvrp
data: {num_customers: 6}
policy: {type: pomo, dim: 16, num_heads: 2, num_layers: 1, hidden: 16}
algorithm: {type: pomo}
training: {epochs: 1, batches_per_epoch: 2, batch_size: 4, accelerator: cpu}
validation: {num_instances: 4}
"""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command in an empty working folder; tables are wide, so that no cell is folded."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, written.out, written.err)

    return call


def row(done: Done, name: str) -> list[str]:
    """The cells of a table's row that starts with ``name``."""
    rows = [[c.strip() for c in line.split("│")[1:-1]] for line in done.out.splitlines()]
    return next(cells for cells in rows if cells and cells[0] == name)


class Fixed:
    """A solver that gives the same routes for everything, or fails."""

    name = "fixed"

    def __init__(self, routes: list[list[int]] | None) -> None:
        self.routes = routes

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        if self.routes is None:
            raise SolveFailed("fixed found nothing")
        return [
            evaluate(one, self.routes, solver=self.name, seconds=0.0) for one in unbatch(instance)
        ]


def use(monkeypatch: pytest.MonkeyPatch, solver: Fixed) -> None:
    monkeypatch.setattr(named_solvers, "solver_by_name", lambda *_, **__: solver)


def test_help_is_light() -> None:
    """`python -m nco --help` names every command without importing torch."""
    code = (
        "import sys, runpy\nsys.argv = ['nco', '--help']\n"
        "try:\n    runpy.run_module('nco', run_name='__main__')\n"
        "except SystemExit as end:\n    print('code', end.code, 'torch' in sys.modules)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "code 0 False"
    names = [
        "benchmark", "data", "information", "model", "models", "report", "solve", "solvers",
        "train", "verify",
    ]  # fmt: skip
    assert sorted(re.findall(r"^  (\w+)  ", done.stdout, re.MULTILINE)) == names
    assert "..." not in done.stdout.partition("Commands:")[2]


def test_generate_repeats_by_seed(run: Run, tmp_path: Path) -> None:
    """The same seed writes the same bytes, another seed others; {name} writes the same instances
    one by one."""
    arguments = ("data", "generate", "cvrp", "-n", 7, "-b", 3, "--distribution", "cluster")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*arguments, "--seed", seed, "-o", f"{name}.json").code == 0
    a, b, c = ((tmp_path / f"{name}.json").read_bytes() for name in "abc")
    assert a == b != c
    done = run(*arguments, "--seed", 1, "-o", "{name}.json")
    paths = done.out.split()
    assert paths == [f"cvrp7-1-{i}.json" for i in (1, 2, 3)]
    for path, one in zip(paths, unbatch(read("a.json")), strict=True):
        assert json.loads(Path(path).read_text())["instances"] == [instance_to_dict(one)]


def test_generate_knows_the_variants(run: Run) -> None:
    """A file of one variant holds it; one of a mixed set draws from those asked for, as the API
    does."""
    done = run("data", "generate", "vrptw", "-n", 6, "-b", 2, "-o", "tw.json")
    assert done.code == 0, done.err
    assert variant_names(read("tw.json")) == ["vrptw"] * 2
    several = ("--variant", "vrpl", "--variant", "mdovrp")
    run("data", "generate", "mtvrp-48", "-n", 6, "-b", 20, *several, "-o", "mixed.json")
    run("data", "generate", "cvrp", "-n", 6, "--capacity", 11, "-o", "small.json")
    assert same(read("small.json"), api.generate("cvrp", 6, capacity=11))
    mixed = read("mixed.json")
    assert set(variant_names(mixed)) == {"vrpl", "mdovrp"}
    assert same(mixed, api.generate("mtvrp-48", 6, 20, variants=("vrpl", "mdovrp")))


def test_convert_keeps_every_distance(run: Run) -> None:
    """A batch goes to single VRPLIB files and back with the same demands and distances."""
    run("data", "generate", "cvrp", "-n", 5, "-b", 2, "-o", "a.json")
    assert run("data", "convert", "a.json", "{name}.vrp").out.split() == ["a-1.vrp", "a-2.vrp"]
    for number, one in enumerate(unbatch(read("a.json")), start=1):
        back = read(f"a-{number}.vrp")
        assert distance_matrix(back).equal(distance_matrix(one).double())
        assert back.linehaul.equal(one.linehaul.double())


def test_inspect_counts(run: Run) -> None:
    """Counts and totals are those that a reader of the sample file adds up by hand."""
    done = run("data", "inspect", TOWN, RING)
    assert row(done, "customers")[1:] == ["16", "12"]
    assert row(done, "depots")[1:] == ["1", "0"]
    assert row(done, "geometry")[1:] == ["Euclidean, nearest"] * 2
    # 7+4+9+6+3+8+5+10+7+4+6+9+3+8+5+6 = 100, and 100 / 30 needs 4 vehicles
    assert row(done, "demand")[1:] == ["3 to 10, total 100, at least 4 routes", "-"]
    assert row(done, "capacity")[1:] == ["30", "-"]


def test_inspect_names_the_variant_of_each_instance(run: Run) -> None:
    """Of every instance of a mixed file."""
    run("data", "generate", "mtvrp-48", "-n", 6, "-b", 3, "--seed", 4, "-o", "mixed.json")
    names = variant_names(read("mixed.json"))
    assert len(set(names)) == 3
    assert row(run("data", "inspect", "mixed.json"), "variant")[1:] == names


def test_inspect_cuts_nothing_on_a_narrow_screen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attribute of four files stays whole in 80 columns, a few files to a table."""
    monkeypatch.setenv("COLUMNS", "80")
    windows = [SAMPLES / "windows12.txt"] * 4
    done = run("data", "inspect", *windows, "--rounding", "none")
    for word in ("time_window", "service_time", "num_vehicles", "windows12"):
        assert done.out.count(word) == 4
    assert "…" not in done.out


def test_rounding_reaches_the_reader(run: Run) -> None:
    """A Solomon file needs --rounding, which then decides."""
    windows = SAMPLES / "windows12.txt"
    assert "Euclidean, dimacs" in run("data", "inspect", windows, "--rounding", "dimacs").out
    assert "Euclidean, dimacs" in run("data", "inspect", windows, "--rounding", "DIMACS").out
    assert run("data", "inspect", windows).code == 2
    told = " ".join(run("data", "inspect", "--help").out.split())
    assert all(rounding.name.lower() in told for rounding in Rounding)


@pytest.mark.parametrize("suffix", ["json", "sol"])
def test_a_solution_is_written_and_verified(run: Run, suffix: str) -> None:
    """The cost in the table is that of the routes in the file; a changed cost fails to verify."""
    target = Path(f"out.{suffix}")
    done = run("solve", TOWN, "--solver", "savings", "-o", target, "--quiet")
    assert (done.code, done.err) == (0, "")
    stored = read_solution(target)
    report = check_routes(read(TOWN), stored.routes)
    assert report.feasible
    _, solver, cost, routes, feasible, _ = row(done, "town16")
    assert (solver, feasible) == ("savings", "yes")
    assert (float(cost), int(routes)) == (report.cost, len(stored.routes))
    given = ("--instance", TOWN) if suffix == "sol" else ()
    fine = run("verify", target, *given)
    assert (fine.code, fine.out) == (0, "1 solution recomputed: all as stored\n")
    shown = f"{report.cost:.0f}"
    target.write_text(target.read_text().replace(shown, str(int(shown) - 1)))
    wrong = run("verify", target, *given)
    assert wrong.code == 1
    assert f"recomputed {report.cost}" in wrong.err


def test_geojson_and_tour(run: Run) -> None:
    """A tour is written as TSPLIB's and as GeoJSON, from the same solution."""
    assert run("solve", RING, "--solver", "nearest", "-o", "a.tour", "-q").code == 0
    assert run("solve", RING, "--solver", "nearest", "-o", "a.geojson", "-q").code == 0
    (tour,) = read_solution("a.tour").routes
    lines = [
        feature["properties"]["customers"]
        for feature in json.loads(Path("a.geojson").read_text())["features"]
        if (feature["geometry"] or {})["type"] == "LineString"
    ]
    assert lines == [tour]


def test_gap_only_to_a_given_reference(run: Run) -> None:
    """Without --reference there is no gap; with one it is to the recomputed cost of its routes,
    whatever cost the file claims."""
    done = run("solve", TOWN, "--solver", "savings", "-o", "best.sol", "-q")
    assert "gap" not in done.out
    assert "%" not in done.out
    best = read_solution("best.sol")
    assert best.cost is not None
    text = re.sub(r"Cost .*", "Cost 1", Path("best.sol").read_text())
    Path("claims.sol").write_text(text)
    nearest = run("solve", TOWN, "--solver", "nearest", "--reference", "claims.sol", "-q")
    cells = row(nearest, "town16")
    assert cells[-1] == f"{100 * (float(cells[2]) / best.cost - 1):.2f} %"


def test_several_files_each_get_theirs(run: Run) -> None:
    """{name} gives every instance a file of its own, also those of a batch."""
    run("data", "generate", "cvrp", "-n", 5, "-b", 2, "-o", "a.json")
    done = run("solve", TOWN, "a.json", "--solver", "nearest", "-o", "{name}.sol", "-q")
    assert done.code == 0
    instances = {"town16": read(TOWN)} | dict(
        zip(("a-1", "a-2"), unbatch(read("a.json")), strict=True)
    )
    for name, instance in instances.items():
        assert check_routes(instance, read_solution(f"{name}.sol").routes).feasible
        assert row(done, name)[4] == "yes"


def test_drawings(run: Run) -> None:
    """The page holds its drawing and loads nothing; the picture is a PNG."""
    assert run("solve", TOWN, "--solver", "savings", "--plot", "a.html", "-q").code == 0
    page = Path("a.html").read_text()
    assert "<svg" in page
    assert "savings: cost" in page
    assert not re.search(r"(src|href)=[\"'](?!#)", page.replace("xlink:href", "href"))
    assert run("solve", TOWN, "--solver", "savings", "--plot", "a.png", "-q").code == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_failed_solver_exits_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that finds nothing is one message and code 1, and no output file."""
    use(monkeypatch, Fixed(None))
    done = run("solve", TOWN, "--solver", "fixed", "-o", "a.json", "-q")
    assert (done.code, done.err) == (1, "error: town16: fixed found nothing\n")
    assert not Path("a.json").exists()


def test_an_infeasible_solution_exits_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table says no, the message says why, the file says infeasible."""
    use(monkeypatch, Fixed([[1, 2], [3]]))
    done = run("solve", TOWN, "--solver", "fixed", "-o", "a.json", "-q")
    assert done.code == 1
    assert row(done, "town16")[4] == "no"
    assert done.err.startswith("error: town16: the solution is infeasible: ")
    (stored,) = read_json_solutions("a.json")
    assert stored.feasible is False
    assert stored.violations is not None
    assert len(stored.violations) == 13


def test_one_failure_does_not_lose_the_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instances that were solved are printed and written; the code tells of the other."""
    use(monkeypatch, Fixed([list(range(12))]))
    done = run("solve", RING, TOWN, "--solver", "fixed", "-o", "{name}.json", "-q")
    assert done.code == 1
    assert row(done, "ring12")[4] == "yes"
    assert row(done, "town16")[4] == "no"
    assert "ring12" not in done.err


def test_solvers_are_listed(run: Run) -> None:
    """Every name that --solver accepts has a row."""
    done = run("solvers")
    assert done.code == 0
    for name in (*SOLVER_NAMES, *SCENARIO_SOLVERS):
        assert row(done, name)[1] == "yes" or "pip install" in row(done, name)[1]


def test_models_are_listed(run: Run) -> None:
    """Every shipped model has a row, or the list says that there is none."""
    from nco.model_files import shipped_models

    done = run("models")
    assert done.code == 0
    for card in shipped_models():
        assert row(done, card.name)[1] == card.problem
    assert bool(shipped_models()) != ("no models" in done.out)


def test_benchmark_report_verify(run: Run) -> None:
    """A benchmark's store verifies, a changed cost in it does not, and a report can be written
    anew; an override changes what is run."""
    Path("b.yaml").write_text(BENCHMARK)
    overrides = ("output=store", "suites.0.num_instances=2")
    done = run("benchmark", "b.yaml", *overrides, "-q")
    assert done.code == 0, done.err
    assert [Path(line).is_file() for line in done.out.split()] == [True, True]
    fine = run("verify", "store")
    assert (fine.code, fine.out) == (0, "4 solutions recomputed: all as stored\n")
    assert run("report", "store", "-o", "elsewhere").code == 0
    assert (Path("elsewhere") / "report.html").is_file()
    results = Path("store") / "results.jsonl"
    text = results.read_text()
    results.write_text(re.sub(r'"cost":\d', '"cost":9', text, count=1))
    assert results.read_text() != text
    wrong = run("verify", "store")
    assert wrong.code == 1
    assert "cost is 9" in wrong.err


@pytest.mark.slow
@pytest.mark.parametrize("problem", ["cvrp", "vrptw", "mtvrp-48"])
def test_train_solve_verify(run: Run, problem: str) -> None:
    """A trained model is a solver whose solution verifies; a resumed run keeps its folder."""
    Path("t.yaml").write_text(TRAINING)
    changes = (f"problem={problem}", "output=here", "training.epochs=2", "-q")
    done = run("train", "t.yaml", *changes)
    assert done.code == 0, done.err
    folder = Path(done.out.splitlines()[-1])
    assert folder.is_relative_to("here")
    run("data", "generate", problem, "-n", 6, "-b", 2, "-o", "a.json")
    for extra in ((), ("--samples", 4, "--augment", 8)):
        solved = run(
            "solve", "a.json", "--solver", folder / "model", "-o", "{name}-s.json", "-q", *extra
        )
        assert solved.code == 0, solved.err
        for name in ("a-1", "a-2"):
            assert run("verify", f"{name}-s.json").code == 0
    again = run("train", "t.yaml", *changes, "--resume", folder)
    assert again.code == 0, again.err
    assert Path(again.out.splitlines()[-1]) == folder


def test_failed_runs_of_a_benchmark_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 1, the report is there, and standard error says who failed how often and why."""
    fixed = Fixed([[1, 2]])
    monkeypatch.setattr(benchmark_tasks, "build_any_solver", lambda _: fixed)
    benchmark_tasks.built.cache_clear()
    Path("b.yaml").write_text(BENCHMARK)
    done = run("benchmark", "b.yaml", "output=store", "-q")
    benchmark_tasks.built.cache_clear()
    assert done.code == 1
    assert len(done.out.split()) == 2
    assert "savings: 3 infeasible: customer 3 is" in done.err
    assert "and 3 more" in done.err
    assert done.err.endswith("6 of 6 runs gave no feasible solution\n")


def test_ctrl_c_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 130 as shells have it, and one line without a traceback."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "run_all", interrupted)
    Path("b.yaml").write_text(BENCHMARK)
    done = run("benchmark", "b.yaml", "output=store", "-q")
    assert (done.code, done.out) == (130, "")
    assert done.err == "interrupted; the same command goes on with what is missing\n"
    monkeypatch.setattr(training, "validation_set", interrupted)
    Path("t.yaml").write_text(TRAINING)
    done = run("train", "t.yaml", "-q")
    assert (done.code, done.out) == (130, "")
    assert done.err == "interrupted; before the first epoch\n"
