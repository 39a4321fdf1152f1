"""Our JSON of dispatched days: the instance, the scenarios' name, and the routes of every epoch.

    {"format": "nco-days", "version": 1, "days": [
        {"solver": "greedy", "scenarios": 2, "scenario_seed": 0, "mean": 7.5,
         "dispatched": [[[[0, 2], [1]], []], [[], [[0]]]], "instance": {...}}]}

Requests are not stored: instance and scenario name them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nco.data.instance import Instance
from nco.data.json_format import (
    InstanceModel,
    Node,
    Number,
    StrictModel,
    instance_of,
    instance_to_dict,
    to_text,
    validated,
)
from nco.data.text_file import read_text, write_text


class DaysModel(StrictModel):
    """What one strategy did on the test scenarios of one instance."""

    solver: str
    scenarios: Annotated[int, Field(strict=True, ge=1)]
    scenario_seed: Annotated[int, Field(strict=True, ge=0)]
    mean: Number
    """Of the costs, as was claimed when the file was written."""
    dispatched: list[list[list[list[Node]]]]
    """By scenario, epoch and route: requests by their numbers."""
    instance: InstanceModel


class DaysFile(StrictModel):
    """A file of dispatched days."""

    format: Literal["nco-days"]
    version: Literal[1]
    days: Annotated[list[DaysModel], Field(min_length=1)]


@dataclass(frozen=True)
class StoredDays:
    """One entry of a file; its claims are not checked."""

    instance: Instance
    solver: str
    scenarios: int
    scenario_seed: int
    mean: float
    dispatched: Sequence[Sequence[Sequence[Sequence[int]]]]


def is_days_file(path: Path) -> bool:
    """Whether a JSON file says that it is one of these."""
    return path.suffix == ".json" and '"nco-days"' in read_text(path)[:200]


def write_days(entries: Sequence[StoredDays], path: Path) -> None:
    """Write a file that can be verified by itself.

    Raises:
        InputError: the file cannot be written.
    """
    told = [
        {
            "solver": entry.solver,
            "scenarios": entry.scenarios,
            "scenario_seed": entry.scenario_seed,
            "mean": entry.mean,
            "dispatched": entry.dispatched,
            "instance": instance_to_dict(entry.instance),
        }
        for entry in entries
    ]
    write_text(path, to_text({"format": "nco-days", "version": 1, "days": told}) + "\n")


def read_days(path: Path) -> list[StoredDays]:
    """Read a file of dispatched days.

    Raises:
        InputError: it is not of this form.
    """
    found = []
    for i, entry in enumerate(validated(DaysFile, path, read_text(path)).days):
        found.append(
            StoredDays(
                instance_of(entry.instance, f"{path}, days[{i}].instance"),
                entry.solver,
                entry.scenarios,
                entry.scenario_seed,
                entry.mean,
                entry.dispatched,
            )
        )
    return found
