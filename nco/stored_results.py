"""The figures of a benchmark in one small file, which documents are filled from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt, ValidationError

from nco.data.errors import InputError
from nco.data.text_file import read_text, write_text
from nco.report import core_share
from nco.report_axes import declared, mark
from nco.statistics import Estimate
from nco.store import Store
from nco.strict import Strict
from nco.summary import Row, SuiteSummary, summarise


class StoredGap(Strict):
    """A mean gap as a fraction, with its 95 % interval where there is one."""

    mean: float
    low: float | None
    high: float | None
    count: PositiveInt
    """Instances that it is over."""


class StoredRow(Strict):
    """One solver on one suite; see `nco.summary.Row`."""

    solver: str
    version: str | None
    budget: str
    mark: str
    """Of a model: in or out of what it declares to be trained on."""
    cost: float | None
    cost_count: NonNegativeInt
    gap: StoredGap | None
    is_reference: bool
    gaps_at: tuple[float | None, ...]
    """At the benchmark's times; empty without a reference."""
    primal_integral: float | None
    """In per cent."""
    solved: NonNegativeInt
    runs: NonNegativeInt
    statuses: dict[str, int]
    wall_seconds: float | None
    per_second: float | None
    """Instances, in batches."""


class StoredSuite(Strict):
    """One suite."""

    name: str
    axis: str | None
    instances: PositiveInt
    source: str
    reference: str | None
    rows: tuple[StoredRow, ...]


class StoredResults(Strict):
    """A whole benchmark."""

    schema_version: Literal[1] = 1
    name: str
    checksum: str
    """Of the result store that these are the figures of."""
    created: str
    git_commit: str | None
    hardware: dict[str, str]
    core_share: float | None
    """CPU over wall seconds of the runs; below 1 where other work was running."""
    versions: dict[str, str]
    times: tuple[float, ...]
    models: dict[str, str]
    """What each model declares to be trained on."""
    suites: tuple[StoredSuite, ...]

    def suite(self, name: str) -> StoredSuite | None:
        """The one of this name."""
        return next((suite for suite in self.suites if suite.name == name), None)


def stored_results(store: Store) -> StoredResults:
    """The figures of a result store.

    Raises:
        InputError: the store is damaged.
    """
    header = store.header
    return StoredResults(
        name=header.config.name,
        checksum=header.checksum,
        created=header.provenance.created,
        git_commit=header.provenance.git_commit,
        hardware=header.provenance.hardware,
        core_share=core_share(list(store.records().values())),
        versions=header.provenance.versions,
        times=header.config.times,
        models={name: declared(card) for name, card in header.models.items()},
        suites=tuple(_suite(summary) for summary in summarise(store)),
    )


def _suite(summary: SuiteSummary) -> StoredSuite:
    sources = {i.source.rpartition(", instance")[0] or i.source for i in summary.instances}
    return StoredSuite(
        name=summary.name,
        axis=summary.store.header.config.suite(summary.name).axis,
        instances=len(summary.instances),
        source="; ".join(sorted(sources)) if len(sources) <= 3 else f"{len(sources)} files",
        reference=summary.reference,
        rows=tuple(_row(summary, row) for row in summary.rows),
    )


def _row(summary: SuiteSummary, row: Row) -> StoredRow:
    found = row.anytime
    integral = None if found is None else found.integral
    return StoredRow(
        solver=row.entry.name,
        version=row.version,
        budget=str(row.entry.budget),
        mark=mark(row.outside),
        cost=None if row.cost is None else row.cost.mean,
        cost_count=len(row.costs),
        gap=_gap(row.gap),
        is_reference=summary.is_reference(row),
        gaps_at=tuple(None if g is None else g.mean for g in (found.gaps if found else [])),
        primal_integral=None if integral is None else integral.mean,
        solved=row.statuses["ok"],
        runs=row.expected_runs,
        statuses=dict(row.statuses),
        wall_seconds=row.wall_seconds,
        per_second=None if row.throughput is None else row.throughput.per_second,
    )


def _gap(found: Estimate | None) -> StoredGap | None:
    if found is None:
        return None
    return StoredGap(mean=found.mean, low=found.low, high=found.high, count=found.count)


def write_results(store: Store, path: Path) -> None:
    """Write the figures of a result store as JSON.

    Raises:
        InputError: the store is damaged, or the file cannot be written.
    """
    content = stored_results(store).model_dump(mode="json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def read_results(path: Path) -> StoredResults:
    """Read what `write_results` wrote.

    Raises:
        InputError: there is no such file, or it is another one.
    """
    try:
        return StoredResults.model_validate_json(read_text(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(
            f"{path}: {where}: {first['msg']}; accepted: a file as nco report --summary writes it"
        ) from None
