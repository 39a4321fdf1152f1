"""The result store of a benchmark: append-only, resumable, complete enough to be checked again.

    benchmark.json   the configuration, provenance, and every instance with checksum and reference
    instances/       one JSON file an instance, the very data that the solvers were given
    results.jsonl    one line for each (suite, instance, solver, seed, batch size)

Of several lines with the same key the last one counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from nco.benchmark_config import BenchmarkConfig, SolverEntry
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.json_format import parse_json_instances, write_json_instances
from nco.data.text_file import read_text
from nco.declared import Part, Traits, outside
from nco.model_files import ModelCard
from nco.provenance import Provenance
from nco.scenario_results import ScenarioResult

SCHEMA_VERSION = 1
HEADER, RESULTS, INSTANCES = "benchmark.json", "results.jsonl", "instances"

Status = Literal["ok", "infeasible", "failed", "timeout", "out-of-memory", "unsupported"]
Key = tuple[str, str, str, int, int]
"""(suite, instance, solver, seed, batch size)"""


class Record(BaseModel):
    """One run of one solver on one instance: one line of the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    instance: str
    solver: str
    seed: int
    batch_size: int = 1
    """1: the instance was solved alone, for latency. More: as one of a batch, for throughput."""
    batch: int = 0
    """Which batch of the suite it was part of."""
    status: Status
    error: str | None = None
    routes: list[list[int]] | None = None
    depots: list[int] | None = None
    vehicles: list[int] | None = None
    """Of each route, with a fleet."""
    days: list[list[list[list[int]]]] | None = None
    """Of dvrptw in place of routes: by test scenario, epoch and route, requests by their numbers.
    Seconds are then those of one day."""
    walks: str | None = None
    """Of a problem that is decided on the way, in place of routes: what was driven in each test
    scenario (`nco.data.walk_text`). Seconds are then of what was prepared and of one scenario."""
    cost: float | None = None
    feasible: bool = False
    violations: list[str] = []
    scenarios: ScenarioResult | None = None
    """Of a feasible plan, where the suite has test scenarios."""
    wall_seconds: float
    """Of solving the instance, where it was solved alone; else of the whole batch."""
    setup_seconds: float
    """What came before: building the solver, imports, weights, starting processes."""
    cpu_seconds: float | None = None
    """Of the call, all processes together; None where the system does not tell, and for the first
    call in a process, which starts others."""
    trace: list[tuple[float, float]] = []
    """(seconds, cost) of each improvement, as the solver's adapter gave them."""
    plan_scenarios: int = 0
    """Prices of a plan in a selection scenario that the routes were chosen by, as the solver
    counted them."""
    solver_version: str
    finished: str
    """UTC, ISO 8601."""

    @property
    def answered(self) -> bool:
        """Whether there is something to recompute."""
        return not (self.routes is None and self.days is None and self.walks is None)

    @property
    def key(self) -> Key:
        """What makes the run the same run."""
        return (self.suite, self.instance, self.solver, self.seed, self.batch_size)


class Reference(BaseModel):
    """What gaps of an instance are relative to, where it does not come from a solver's runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    cost: float
    routes: list[list[int]] | None = None
    """Known where the reference is a solution; then the cost is recomputed from it."""


class InstanceEntry(BaseModel):
    """One instance of a suite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str
    """Relative to the store."""
    sha256: str
    source: str
    """The file or generator that it came from."""
    reference: Reference | None = None


class Header(BaseModel):
    """The contents of ``benchmark.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    config: BenchmarkConfig
    provenance: Provenance
    suites: dict[str, list[InstanceEntry]]
    left_out: dict[str, str] = {}
    """Suites and solvers that the configuration has and this machine had not, with the reason."""
    traits: dict[str, Traits] = {}
    """What is known of each suite's instances, for the marks of cells."""
    models: dict[str, ModelCard] = {}
    """The card of each solver that is a model, as it was when the benchmark began."""
    checksum: str
    """SHA-256 of all the rest."""

    def outside(self, solver: str, suite: str) -> dict[Part, str] | None:
        """What of a suite is outside of what a model was trained on; None where no model solves."""
        card = self.models.get(solver)
        return None if card is None else outside(card, self.traits[suite])


def checksum_of(content: dict[str, Any]) -> str:
    """What the ``checksum`` of a header's contents must be."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return sha256(json.dumps(rest, sort_keys=True).encode())


def sha256(data: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class NewInstance:
    """An instance on its way into a store."""

    suite: str
    name: str
    instance: Instance
    source: str
    reference: Reference | None


@dataclass(frozen=True)
class Store:
    """An existing result store."""

    folder: Path
    header: Header

    @property
    def results_file(self) -> Path:
        """One record a line."""
        return self.folder / RESULTS

    def entries(self, suite: str) -> list[SolverEntry]:
        """The solvers that run on a suite, without those that are left out."""
        asked = self.header.config.entries(suite)
        return [entry for entry in asked if entry.name not in self.header.left_out]

    def tasks(self) -> Iterator[Task]:
        """Every call of a solver that the configuration asks for."""
        for suite, instances in self.header.suites.items():
            for entry in self.entries(suite):
                sizes = [1]
                if entry.batch_size is not None and len(instances) > 1:
                    sizes.append(entry.batch_size)
                for seed in entry.seeds:
                    for size in sizes:
                        for first in range(0, len(instances), size):
                            part = tuple(instances[first : first + size])
                            yield Task(self, suite, part, entry, seed, size, first // size)

    def instance(self, entry: InstanceEntry) -> Instance:
        """The stored instance, B = 1.

        Raises:
            InputError: the file is missing, or differs from what was stored.
        """
        path = self.folder / entry.file
        text = read_text(path)
        found = sha256(text.encode())
        if found != entry.sha256:
            raise InputError(
                f"instance file {path} has changed since it was stored: its checksum is "
                f"{found[:12]}…, stored is {entry.sha256[:12]}…"
            )
        return parse_json_instances(path, text)

    def append(self, records: Iterable[Record]) -> None:
        """Write records at the end, on the disk when this returns."""
        text = "".join(record.model_dump_json() + "\n" for record in records)
        with self.results_file.open("a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def lines(self) -> list[Record]:
        """Every whole line; a torn last one, which a killed run leaves, is left out.

        Raises:
            InputError: a whole line is not a record.
        """
        records = []
        text = self.results_file.read_text(encoding="utf-8") if self.results_file.exists() else ""
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            try:
                records.append(Record.model_validate_json(line))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                raise InputError(
                    f"{self.results_file}, line {number}: {where or 'the line'}: {first['msg']}; "
                    "accepted: a record as the benchmark writes it"
                ) from None
        return records

    def records(self) -> dict[Key, Record]:
        """The record that counts for each key."""
        return {record.key: record for record in self.lines()}

    def drop_torn_line(self) -> bool:
        """Cut off what follows the last line end; True where there was something."""
        if not self.results_file.exists():
            return False
        data = self.results_file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return False
        with self.results_file.open("r+b") as file:
            file.truncate(whole)
        return True


@dataclass(frozen=True)
class Task:
    """One call of a solver: one instance, or one batch of a suite."""

    store: Store
    suite: str
    instances: tuple[InstanceEntry, ...]
    entry: SolverEntry
    seed: int
    batch_size: int
    """1, or the size of the batches that the suite was cut into."""
    batch: int
    """Counts the batches of the suite from 0."""

    @property
    def keys(self) -> list[Key]:
        """Of the records that the task makes."""
        return [
            (self.suite, instance.name, self.entry.name, self.seed, self.batch_size)
            for instance in self.instances
        ]


def open_store(folder: Path) -> Store:
    """Open a store for reading or for adding to it.

    Raises:
        InputError: the folder is no store, or its header is damaged.
    """
    path = folder / HEADER
    if not path.is_file():
        raise InputError(
            f"{folder} is no result store, it has no {HEADER}; accepted: a folder that nco "
            "benchmark wrote"
        )
    try:
        header = Header.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {where}: {first['msg']}") from None
    return Store(folder, header)


def create_store(
    config: BenchmarkConfig,
    provenance: Provenance,
    instances: Iterable[NewInstance],
    *,
    left_out: dict[str, str] | None = None,
    traits: dict[str, Traits] | None = None,
    models: dict[str, ModelCard] | None = None,
) -> Store:
    """Write a new store; it appears under its name when it is complete.

    Args:
        left_out, traits, models: as `Header` has them.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = config.store_folder
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        (draft / INSTANCES).mkdir(parents=True)
        suites: dict[str, list[InstanceEntry]] = {}
        for new in instances:
            file = Path(INSTANCES) / new.suite / f"{new.name}.json"
            (draft / file).parent.mkdir(exist_ok=True)
            write_json_instances(new.instance, draft / file)
            entry = InstanceEntry(
                name=new.name,
                file=file.as_posix(),
                sha256=sha256((draft / file).read_bytes()),
                source=new.source,
                reference=new.reference,
            )
            suites.setdefault(new.suite, []).append(entry)
        header = Header(
            schema_version=SCHEMA_VERSION,
            config=config,
            provenance=provenance,
            suites=suites,
            left_out=left_out or {},
            traits=traits or {},
            models=models or {},
            checksum="",
        )
        checksum = checksum_of(header.model_dump(mode="json"))
        header = header.model_copy(update={"checksum": checksum})
        (draft / HEADER).write_text(header.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (draft / RESULTS).touch()
        os.replace(draft, folder)
    except OSError as error:
        raise InputError(
            f"output {folder} cannot be written: {error.strerror}; accepted: a folder that does "
            "not exist yet or is empty, in a place that can be written, or a store of this config"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Store(folder, header)


EXECUTION_ONLY = ("output", "num_workers")
"""Keys of a configuration that do not change what is measured on which instance."""


def refuse_other_config(store: Store, config: BenchmarkConfig) -> None:
    """Raise where a store holds the results of another configuration.

    Raises:
        InputError: names every key that differs, with both values.
    """
    stored = store.header.config.model_dump(mode="json", exclude=set(EXECUTION_ONLY))
    given = config.model_dump(mode="json", exclude=set(EXECUTION_ONLY))
    found = list(_differences(stored, given, ""))
    if found:
        raise InputError(
            f"{store.folder} holds the results of another config: {'; '.join(found)}; accepted: "
            "the stored config, or another output folder"
        )


def _differences(stored: object, given: object, path: str) -> Iterable[str]:
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in sorted(stored.keys() | given.keys()):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(stored.get(key), given.get(key), inner)
    elif isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        for index, (old, new) in enumerate(zip(stored, given, strict=True)):
            yield from _differences(old, new, f"{path}.{index}")
    elif stored != given:
        yield f"{path} is {_short(given)}, stored is {_short(stored)}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
