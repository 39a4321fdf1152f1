"""Recompute what a result store or a solution file claims, from its routes alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nco.benchmark_config import BenchmarkConfig
from nco.data.batching import unbatch
from nco.data.day_files import is_days_file, read_days
from nco.data.errors import InputError, shortened
from nco.data.files import read, read_solution
from nco.data.instance import Instance, Rounding
from nco.data.json_format import read_json_solutions
from nco.data.solution_files import StoredSolution
from nco.data.text_file import read_text
from nco.data.walk_text import unpacked
from nco.day_results import days_result
from nco.envs.checker import check_routes
from nco.envs.variants import scenario_costs
from nco.scenario_results import ScenarioTestConfig, scenario_result
from nco.store import HEADER, InstanceEntry, Key, Record, checksum_of, open_store
from nco.suite_config import SingleSuite
from nco.walk_results import walks_result

TOLERANCE = 1e-9
"""Relative, between a stored cost and the recomputed one: both come from the same loops."""


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found."""

    checked: int
    """Solutions recomputed."""
    mismatches: list[str] = field(default_factory=list)
    """Each difference between what is stored and what is true, in words."""
    missing: int = 0
    """Runs that the benchmark asks for and the store does not hold."""

    @property
    def ok(self) -> bool:
        """True when nothing differs."""
        return not self.mismatches


def judged(record: Record, instance: Instance, suite: SingleSuite | None = None) -> Record:
    """The record with cost, feasibility, violations and status as our checker finds them, and with
    what a feasible plan comes to in the suite's test scenarios, where it has some.

    A run that was stopped or failed stays one, whatever its routes are worth.
    """
    if record.days is not None or record.walks is not None:
        return _judged_by_scenarios(record, instance, suite)
    facts: dict[str, object] = {
        "cost": None, "feasible": False, "violations": [], "scenarios": None
    }  # fmt: skip
    if record.routes is not None:
        try:
            report = check_routes(instance, record.routes, record.depots, vehicles=record.vehicles)
        except InputError as error:
            facts |= {"status": "infeasible", "violations": [str(error)]}
        else:
            facts |= {
                "cost": report.cost if math.isfinite(report.cost) else None,
                "feasible": report.feasible,
                "violations": report.violations,
                "status": "ok" if report.feasible else "infeasible",
            }
            if report.feasible and suite is not None and suite.scenarios and suite.problem:
                facts["scenarios"] = scenario_result(
                    scenario_costs[suite.problem], suite.scenarios, instance, record.routes,
                    record.depots,
                )  # fmt: skip
        if record.status not in ("ok", "infeasible"):
            facts["status"] = record.status
    return record.model_copy(update=facts)


def _judged_by_scenarios(record: Record, instance: Instance, suite: SingleSuite | None) -> Record:
    """As `judged`, of days of requests or of what was driven in each world; the cost is the mean
    over them."""
    facts: dict[str, object] = {"cost": None, "feasible": False, "scenarios": None}
    test = None if suite is None else suite.scenarios
    try:
        if test is None:
            raise InputError("there are scenarios gone through, but the suite has none")
        if record.walks is not None:
            found, broken = walks_result(test, instance, unpacked(record.walks))
        else:
            found, broken = days_result(test, instance, record.days or [])
    except InputError as error:
        facts |= {"status": "infeasible", "violations": [str(error)]}
    else:
        facts |= {"violations": broken, "status": "infeasible" if broken else "ok"}
        if not broken and found is not None:
            facts |= {"cost": found.mean, "feasible": True, "scenarios": found}
    if record.status not in ("ok", "infeasible"):
        facts["status"] = record.status
    return record.model_copy(update=facts)


def verify_store(path: Path) -> VerifyReport:
    """Recompute every stored cost, feasibility, violation, reference and checksum.

    Raises:
        InputError: the folder is no store, or a line of it is no record.
    """
    store = open_store(path)
    mismatches: list[str] = []
    # of the file's own words, which a later version of ours may give defaults beside
    if checksum_of(json.loads(read_text(path / HEADER))) != store.header.checksum:
        mismatches.append("benchmark.json: the checksum does not fit the contents")
    instances: dict[tuple[str, str], Instance] = {}
    for suite, entries in store.header.suites.items():
        for entry in entries:
            try:
                instance = store.instance(entry)
            except InputError as error:
                mismatches.append(str(error))
                continue
            instances[suite, entry.name] = instance
            mismatches += _reference_mismatches(suite, entry, instance)
    lines = store.lines()
    expected = {key for task in store.tasks() for key in task.keys}
    for number, record in enumerate(lines, start=1):
        for mismatch in _record_mismatches(store.header.config, instances, record, expected):
            mismatches.append(f"results.jsonl, line {number} ({_place(record)}): {mismatch}")
    there = {record.key for record in lines}
    checked = sum(record.answered for record in lines)
    return VerifyReport(checked, mismatches, len(expected - there))


def verify_solution(
    solution_file: Path, instance_file: Path | None = None, rounding: Rounding | str | None = None
) -> VerifyReport:
    """Recompute what a solution file claims.

    Args:
        solution_file: ``.sol``, ``.tour`` or our JSON, one solution or several.
        instance_file: one instance, or as many as there are solutions; None where the solutions
            carry their instances (our JSON).
        rounding: of the instance file's lengths, where it does not state it.

    Raises:
        InputError: a file cannot be read, or the instances do not fit the solutions.
    """
    if is_days_file(solution_file):
        return _verify_days(solution_file, instance_file)
    is_json = solution_file.suffix.lower() == ".json"
    stored = read_json_solutions(solution_file) if is_json else [read_solution(solution_file)]
    if instance_file is not None:
        instances = unbatch(read(instance_file, rounding=rounding))
        if len(instances) != len(stored):
            raise InputError(
                f"{instance_file} has {len(instances)} instances, {solution_file} has "
                f"{len(stored)} solutions; accepted: equally many"
            )
    else:
        instances = [solution.instance for solution in stored]
    mismatches = []
    for number, (solution, instance) in enumerate(zip(stored, instances, strict=True), start=1):
        if instance is None:
            raise InputError(
                f"{solution_file} does not hold the instance of solution {number}; accepted: give "
                "the instance file as well"
            )
        place = f"solution {number}: " if len(stored) > 1 else ""
        mismatches += [place + text for text in _solution_mismatches(solution, instance)]
    return VerifyReport(len(stored), mismatches)


def _verify_days(path: Path, instance_file: Path | None) -> VerifyReport:
    if instance_file is not None:
        raise InputError(f"{path} holds its instances; accepted: no --instance")
    stored = read_days(path)
    mismatches = []
    for number, entry in enumerate(stored, start=1):
        place = f"days {number}: " if len(stored) > 1 else ""
        test = ScenarioTestConfig(count=entry.scenarios, seed=entry.scenario_seed)
        found, broken = days_result(test, entry.instance, entry.dispatched)
        mismatches += [place + text for text in broken]
        if not _same(entry.mean, found.mean):
            mismatches.append(f"{place}mean cost is {entry.mean}, recomputed {found.mean}")
    return VerifyReport(len(stored), mismatches)


def _solution_mismatches(solution: StoredSolution, instance: Instance) -> Iterator[str]:
    report = check_routes(instance, solution.routes, solution.depots, vehicles=solution.vehicles)
    if solution.cost is not None and not _same(solution.cost, report.cost):
        yield f"cost is {solution.cost}, recomputed {report.cost}"
    if solution.feasible is not None and solution.feasible != report.feasible:
        yield f"feasible is {solution.feasible}, recomputed {report.feasible}"
    if solution.violations is not None and solution.violations != report.violations:
        yield f"violations are {solution.violations}, recomputed {report.violations}"
    # a file that does not say that it is infeasible says that it is feasible
    if solution.feasible is not False:
        yield from report.violations


def _place(record: Record) -> str:
    batch = "" if record.batch_size == 1 else f", batches of {record.batch_size}"
    return f"{record.suite}/{record.instance}, {record.solver}, seed {record.seed}{batch}"


def _record_mismatches(
    config: BenchmarkConfig,
    instances: dict[tuple[str, str], Instance],
    record: Record,
    expected: set[Key],
) -> Iterator[str]:
    if record.key not in expected:
        yield "the benchmark does not ask for this run"
        return
    instance = instances.get((record.suite, record.instance))
    if instance is None:
        yield "cannot be checked, its instance is missing or has changed"
        return
    if not record.answered and record.status in ("ok", "infeasible"):
        yield f"status is {record.status!r}, but there are no routes"
    true = judged(record, instance, config.suite(record.suite))
    if not _same(record.cost, true.cost):
        yield f"cost is {record.cost}, recomputed {true.cost}"
    for name in ("feasible", "violations", "status"):
        stored, found = getattr(record, name), getattr(true, name)
        if stored != found:
            yield f"{name} is {stored!r}, recomputed {found!r}"
    if record.scenarios is not None and true.scenarios is not None:
        yield from record.scenarios.differences(true.scenarios, TOLERANCE)
    elif record.scenarios is not true.scenarios:
        stored, found = ("there" if r.scenarios else "missing" for r in (record, true))
        yield f"what it came to in scenarios is {stored}, recomputed {found}"


def _reference_mismatches(suite: str, entry: InstanceEntry, instance: Instance) -> Iterator[str]:
    reference = entry.reference
    if reference is None or reference.routes is None:
        return
    report = check_routes(instance, reference.routes)
    if not report.feasible:
        yield f"{suite}/{entry.name}: the reference is infeasible: {shortened(report.violations)}"
    if not _same(reference.cost, report.cost):
        yield f"{suite}/{entry.name}: reference cost is {reference.cost}, recomputed {report.cost}"


def _same(stored: float | None, true: float | None) -> bool:
    if stored is None or true is None:
        return stored is true
    return math.isclose(stored, true, rel_tol=TOLERANCE)
