"""From the suites of a configuration to instances with their references."""

from __future__ import annotations

import glob
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import torch

from nco.api import generate
from nco.benchmark_config import BenchmarkConfig
from nco.data.batching import unbatch
from nco.data.errors import InputError, shortened
from nco.data.files import read
from nco.data.instance import Instance
from nco.data.kool import KoolProblem, kool_instances
from nco.data.multi_task import VARIANTS, accepted_names, variant_by_name
from nco.data.routefinder import SETS, routefinder_set
from nco.data.solution_files import read_sol
from nco.data.text_file import read_text
from nco.declared import Traits, joined, problems_of, traits_of, ways_of
from nco.envs.checker import check_routes
from nco.store import NewInstance, Reference
from nco.suite_config import (
    BestKnownReference,
    FileSuite,
    GeneratedSuite,
    OptimalReference,
    SingleSuite,
)


def new_instances(config: BenchmarkConfig) -> list[NewInstance]:
    """The instances of every suite, generated or read.

    Raises:
        InputError: a file or reference is missing or wrong, a generator does not know what is
            asked of it, or there is no instance at all.
    """
    found = []
    for suite in config.single_suites():
        if missing_variable(suite) is not None:
            continue
        found += _generated(suite) if isinstance(suite, GeneratedSuite) else _from_files(suite)
    if not found:
        raise InputError(f"benchmark {config.name!r} has no instance; accepted: at least one")
    return found


def missing_variable(suite: SingleSuite) -> str | None:
    """The variable of the environment that a suite's places begin with and that is not set; it is
    left out then. None where nothing is missing."""
    places = suite.paths if isinstance(suite, FileSuite) else [str(suite.cities or "")]
    return next((n for n in map(_variable, places) if n and not os.environ.get(n)), None)


def _variable(place: str) -> str | None:
    head = place.partition("/")[0]
    return head.removeprefix("$") if head.startswith("$") else None


def _placed(place: str) -> str:
    """With the variable that it begins with replaced by its value."""
    name = _variable(place)
    return place if name is None else os.environ[name] + place.removeprefix(f"${name}")


def suite_traits(suite: SingleSuite, instances: Iterable[Instance]) -> Traits:
    """What is known of a suite's instances."""
    if isinstance(suite, FileSuite):
        return joined([traits_of(one) for one in instances])
    shift = suite.shift
    asymmetric = shift is not None and bool(shift.asymmetry)
    ways = ways_of(suite.problem, suite.cities is not None)
    tight = shift is not None and (shift.windows is not None or shift.capacity is not None)
    return Traits(
        problems_of(suite.problem),
        "asymmetric" if asymmetric else ways,
        (suite.num_customers, suite.num_customers),
        suite.distribution,
        capacity=suite.capacity,
        demands=str(shift) if shift is not None and shift.demands is not None else None,
        tightness=str(shift) if tight else None,
    )


def _generated(suite: GeneratedSuite) -> list[NewInstance]:
    size, count, capacity = suite.num_customers, suite.num_instances, suite.capacity
    if suite.protocol != "default" and suite.cities is not None:
        raise InputError(
            f"suite {suite.name!r} asks for cities {suite.cities} by the protocol "
            f"{suite.protocol}; accepted: none, published instances are in the unit square"
        )
    if suite.protocol != "default" and capacity is not None:
        raise InputError(
            f"suite {suite.name!r} asks for capacity {capacity} by the protocol {suite.protocol}; "
            "accepted: none, published instances have theirs"
        )
    if suite.protocol != "default" and suite.shift is not None:
        raise InputError(
            f"suite {suite.name!r} asks for a shift by the protocol {suite.protocol}; accepted: "
            "none, published instances are as they are"
        )
    match suite.protocol:
        case "default":
            cities = None if suite.cities is None else Path(_placed(str(suite.cities)))
            batch = generate(
                suite.problem,
                size,
                count,
                suite.seed,
                suite.distribution,
                capacity,
                cities=cities,
                fleet=suite.fleet,
                requests=suite.requests,
            )
            given = "" if capacity is None else f", capacity {capacity}"
            given += "" if cities is None else f", test cities of {cities.name}"
            given += "" if suite.fleet is None else f", {suite.fleet}"
            given += "" if suite.requests is None else f", {suite.requests}"
            if suite.shift is not None:
                try:
                    batch = suite.shift.apply(batch, torch.Generator().manual_seed(suite.seed))
                except InputError as error:
                    raise InputError(f"suite {suite.name!r}: {error}") from error
                given += f", {suite.shift}"
            source = (
                f"generated, {suite.problem}{size} {suite.distribution}{given}, seed {suite.seed}"
            )
        case "kool":
            batch = _kool(suite)
            source = (
                f"published test set of Kool et al. 2019, {suite.problem}{size}, seed {suite.seed}"
            )
        case "routefinder":
            batch = _routefinder(suite)
            source = f"RouteFinder's published {SETS[suite.seed]} set, {suite.problem}{size}"
    digits = len(str(count - 1))
    return [
        NewInstance(suite.name, f"{index:0{digits}d}", one, f"{source}, instance {index}", None)
        for index, one in enumerate(unbatch(batch))
    ]


def _kool(suite: GeneratedSuite) -> Instance:
    problem = next((name for name in get_args(KoolProblem) if name == suite.problem), None)
    if problem is None or suite.distribution != "uniform":
        raise InputError(
            f"suite {suite.name!r} asks for {suite.problem} {suite.distribution} by the protocol "
            f"kool; accepted: {', '.join(get_args(KoolProblem))}, uniform"
        )
    test = suite.scenarios
    if problem == "spctsp" and test is not None and test.count != 1:
        raise InputError(
            f"suite {suite.name!r} asks for {test.count} scenarios by the protocol kool, which has "
            "the prizes of one; accepted: {count: 1}"
        )
    return kool_instances(problem, suite.num_customers, suite.num_instances, suite.seed)


def _routefinder(suite: GeneratedSuite) -> Instance:
    names = [variant.name for variant in VARIANTS]
    if suite.problem not in names or suite.distribution != "uniform":
        raise InputError(
            f"suite {suite.name!r} asks for {suite.problem} {suite.distribution} by the protocol "
            f"routefinder; {accepted_names(suite.problem, names)}, uniform"
        )
    variant = variant_by_name(suite.problem)
    return routefinder_set(variant, suite.num_customers, suite.num_instances, suite.seed)


def _from_files(suite: FileSuite) -> list[NewInstance]:
    optima = _optima(suite)
    found: list[NewInstance] = []
    for path in _files(suite):
        singles = unbatch(read(path, rounding=suite.rounding))
        for index, one in enumerate(singles):
            name = path.stem if len(singles) == 1 else f"{path.stem}-{index}"
            reference = _reference(suite, path, name, one, optima)
            found.append(NewInstance(suite.name, name, one, path.name, reference))
    names = [new.name.lower() for new in found]
    for new in found:
        if names.count(new.name.lower()) > 1:
            raise InputError(
                f"suite {suite.name!r} has several instances called {new.name}; accepted: each "
                "file name once in a suite"
            )
    return found


def _files(suite: FileSuite) -> list[Path]:
    paths: list[Path] = []
    for pattern in map(_placed, suite.paths):
        # a name with brackets in it is a name where there is such a file
        matches = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))
        if not matches:
            raise InputError(
                f"suite {suite.name!r}: no file fits {pattern!r}; accepted: a file or a pattern, "
                f"relative to {Path.cwd()}"
            )
        paths += [Path(match) for match in matches]
    return paths


def _optima(suite: FileSuite) -> dict[str, float]:
    if not isinstance(suite.reference, OptimalReference) or not suite.paths:
        return {}
    path = Path(_placed(str(suite.reference.file)))
    accepted = 'accepted: {"instance name": cost, ...}'
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno}: no JSON ({error.msg}); {accepted}"
        ) from None
    if not isinstance(data, dict):
        raise InputError(f"{path} holds a {type(data).__name__}; {accepted}")
    for name, cost in data.items():
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 < cost < math.inf:
            raise InputError(f"{path}: {name} is {cost!r}; accepted: a number above 0")
    return {name: float(cost) for name, cost in data.items()}


def _reference(
    suite: FileSuite, path: Path, name: str, instance: Instance, optima: dict[str, float]
) -> Reference | None:
    if isinstance(suite.reference, OptimalReference):
        if name not in optima:
            raise InputError(
                f"{suite.reference.file} has no optimum of {name}; accepted: one for each instance "
                f"of suite {suite.name!r}"
            )
        return Reference(source=f"optimal costs of {suite.reference.file.name}", cost=optima[name])
    if isinstance(suite.reference, BestKnownReference):
        return _best_known(path.with_suffix(".sol"), instance)
    return None


def _best_known(path: Path, instance: Instance) -> Reference:
    """The cost of the routes by our checker; the file must claim the same.

    A difference means another rounding or objective, and a gap to it would be false.
    """
    if not path.is_file():
        raise InputError(
            f"best-known solution {path} does not exist; accepted: one beside each file"
        )
    stored = read_sol(path)
    report = check_routes(instance, stored.routes)
    if not report.feasible:
        raise InputError(
            f"best-known solution {path} is infeasible: {shortened(report.violations)}"
        )
    if stored.cost is None or not math.isclose(stored.cost, report.cost, rel_tol=1e-6):
        raise InputError(
            f"best-known solution {path} claims cost {stored.cost}, its routes cost {report.cost}; "
            "accepted: a file of the same objective and rounding"
        )
    return Reference(
        source="best-known solutions beside the files, costed anew",
        cost=report.cost,
        routes=stored.routes,
    )
