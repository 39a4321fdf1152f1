"""Our own JSON: instances with every field, and solutions.

Numbers are written with as many digits as it takes to read back the same float64; the number
infinity is the string "inf", since JSON has none. Every field that is left out of an instance is
neutral (no demand, window [0, "inf"], no limit), so that a file can be written by hand.

    {"format": "nco-instances", "version": 1, "instances": [
        {"coords": [[0, 0], [3, 4]], "linehaul": [0, 2], "capacity": 5, "num_depots": 1}]}
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, ValidationError
from torch import Tensor

from nco.data.batching import collate, unbatch
from nco.data.dispatch_rules import DISPATCH, DispatchRules
from nco.data.errors import InputError
from nco.data.fleet import PER_PAIR, Fleet, make_fleet
from nco.data.instance import FIELDS, UNLIMITED, Instance, Rounding
from nco.data.prices import PRICES, Prices
from nco.data.solution import Solution
from nco.data.solution_files import StoredSolution
from nco.data.text_file import read_text, write_text
from nco.data.traffic import CONSTANTS, Traffic

VERSION = 1
"""Of the schema. A change that an older reader would misread raises it."""
_NAMED_ROWS = {"traffic": CONSTANTS, "prices": PRICES, "dispatch": DISPATCH}
"""Rows of numbers that are written with their names."""


def _infinite(value: Any) -> Any:
    return math.inf if value == "inf" else value


def _unlimited(value: Any) -> Any:
    return UNLIMITED if value == "inf" else value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Bound = Annotated[float, BeforeValidator(_infinite), Field(strict=True)]
Node = Annotated[int, Field(strict=True)]


class StrictModel(BaseModel):
    """Refuses fields that it does not know."""

    # not strict as a whole: a JSON list must do for a tuple
    model_config = ConfigDict(extra="forbid")


_Model = TypeVar("_Model", bound=StrictModel)


class FleetModel(StrictModel):
    """The vehicles of one instance. Names, shapes and defaults are those of `make_fleet`; profiles
    and zones have a row for each vehicle and a column for each node."""

    capacity: Annotated[list[Bound], Field(min_length=1)]
    speed: list[Number] | None = None
    fixed_cost: list[Number] | None = None
    distance_cost: list[Number] | None = None
    depot: list[Node] | None = None
    shift: list[Bound] | None = None
    profile: list[list[Number]] | None = None
    allowed: list[list[StrictBool]] | None = None
    time_weight: Number | None = None
    preference_weight: Number | None = None
    min_max: StrictBool | None = None


class InstanceModel(StrictModel):
    """One instance. The names, shapes and defaults are those of `Instance`, without padding."""

    dtype: Literal["float32", "float64"] = "float64"
    num_depots: Node
    coords: list[tuple[Number, Number]] | None = None
    distance: list[list[Number]] | None = None
    duration: list[list[Number]] | None = None
    rounding: Literal[tuple(r.name for r in Rounding)] = "NONE"  # type: ignore[valid-type]
    linehaul: list[Number] | None = None
    backhaul: list[Number] | None = None
    mixed_backhaul: StrictBool = False
    capacity: Bound = math.inf
    time_window: list[tuple[Number, Bound]] | None = None
    service_time: list[Number] | None = None
    distance_limit: Bound = math.inf
    open_route: StrictBool = False
    num_vehicles: Annotated[Node, BeforeValidator(_unlimited)] = UNLIMITED
    key: Node | None = None
    fleet: FleetModel | None = None
    presence: list[Number] | None = None
    traffic: dict[str, Number] | None = None
    prices: dict[str, Number] | None = None
    zone: list[Node] | None = None
    kind: list[Literal[0, 1, 2]] | None = None
    prize: list[Number] | None = None
    penalty: list[Number] | None = None
    min_prize: Number | None = None
    realised_prize: list[Number] | None = None
    demand_law: Node | None = None
    demand_spread: list[Number] | None = None
    demand_correlation: Number | None = None
    restocking: StrictBool | None = None
    dispatch: dict[str, Number] | None = None


class SolutionModel(StrictModel):
    """One solution, see `Solution`; what is left out is unknown."""

    routes: list[list[Node]]
    depots: list[Node] | None = None
    vehicles: list[Node] | None = None
    cost: Bound | None = None
    feasible: StrictBool | None = None
    violations: list[str] | None = None
    seconds: Number | None = None
    solver: str | None = None
    trace: list[tuple[Number, Bound]] | None = None
    instance: InstanceModel | None = None


class InstancesFile(StrictModel):
    """A file of instances."""

    format: Literal["nco-instances"]
    version: Literal[1]
    instances: Annotated[list[InstanceModel], Field(min_length=1)]


class SolutionsFile(StrictModel):
    """A file of solutions."""

    format: Literal["nco-solutions"]
    version: Literal[1]
    solutions: Annotated[list[SolutionModel], Field(min_length=1)]


def read_json_instances(path: str | Path) -> Instance:
    """Read the instances of a file as one batch, padded to the largest.

    Raises:
        InputError: the file is not of this form, or a value is out of range.
    """
    path = Path(path)
    return parse_json_instances(path, read_text(path))


def parse_json_instances(path: Path, text: str) -> Instance:
    """As `read_json_instances`, from the text of the file."""
    model = validated(InstancesFile, path, text)
    return collate(
        [instance_of(m, f"{path}, instances[{i}]") for i, m in enumerate(model.instances)]
    )


def read_json_solutions(path: str | Path) -> list[StoredSolution]:
    """Read the solutions of a file; their claims are not checked.

    Raises:
        InputError: the file is not of this form.
    """
    path = Path(path)
    solutions = []
    for i, model in enumerate(validated(SolutionsFile, path, read_text(path)).solutions):
        fields = {name: getattr(model, name) for name in SolutionModel.model_fields}
        if model.instance is not None:
            where = f"{path}, solutions[{i}].instance"
            fields["instance"] = instance_of(model.instance, where)
        solutions.append(StoredSolution(**fields))
    return solutions


def write_json_instances(instance: Instance, path: str | Path) -> None:
    """Write a batch; it reads back the same to the last bit, padding aside.

    Raises:
        InputError: the file cannot be written.
    """
    data = [instance_to_dict(one) for one in unbatch(instance)]
    text = to_text({"format": "nco-instances", "version": VERSION, "instances": data})
    write_text(Path(path), text + "\n")


def write_json_solutions(solutions: list[Solution], path: str | Path) -> None:
    """Write solutions with their instances, so that the file can be verified by itself.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(Path(path), solutions_to_json(solutions) + "\n")


def solutions_to_json(solutions: list[Solution]) -> str:
    """The text that `write_json_solutions` writes."""
    data = [solution_to_dict(solution) for solution in solutions]
    return to_text({"format": "nco-solutions", "version": VERSION, "solutions": data})


def instance_to_dict(one: Instance) -> dict[str, Any]:
    """The JSON form of one instance without padding; see `InstanceModel`."""
    data: dict[str, Any] = {"dtype": str(one.dtype).removeprefix("torch.")}
    for name in FIELDS:
        value = getattr(one, name)
        if isinstance(value, Fleet):
            data[name] = _fleet_to_dict(value)
        elif name != "valid" and value is not None:
            data[name] = _plain(value[0].tolist())
    data["rounding"] = Rounding(data["rounding"]).name
    for name, columns in _NAMED_ROWS.items():
        if name in data:
            data[name] = dict(zip(columns, data[name], strict=True))
    if data["num_vehicles"] == UNLIMITED:
        data["num_vehicles"] = "inf"
    return data


def _fleet_to_dict(fleet: Fleet) -> dict[str, Any]:
    """The JSON form of the fleet of one instance without padding; see `FleetModel`."""
    return {name: _plain(getattr(fleet, name)[0].tolist()) for name in FleetModel.model_fields}


def solution_to_dict(solution: Solution) -> dict[str, Any]:
    """The JSON form of one solution; see `SolutionModel`."""
    names = [name for name in SolutionModel.model_fields if name != "instance"]
    data = {name: _plain(getattr(solution, name)) for name in names}
    return data | {"instance": instance_to_dict(unbatch(solution.instance)[0])}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return "inf" if value == math.inf else value


def to_text(data: dict[str, Any]) -> str:
    """JSON without NaN and infinity."""
    return json.dumps(data, allow_nan=False)


def validated(schema: type[_Model], path: Path, text: str) -> _Model:
    """The contents of a file by their schema.

    Raises:
        InputError: they are not JSON, or not of this form.
    """

    def refuse(word: str) -> None:
        raise InputError(f'{path}: {word} is not JSON; accepted: finite numbers, or "inf"')

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{path}: {twice!r} is given twice; accepted: every field once")
        return data

    try:
        data = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno}, column {error.colno}: no JSON ({error.msg}); the file "
            "may be cut short"
        ) from error
    except RecursionError as error:
        raise InputError(
            f"{path}: lists are nested too deep; accepted: {schema.__doc__}"
        ) from error
    except ValueError as error:
        # of Python itself: an integer of thousands of digits
        raise error if isinstance(error, InputError) else InputError(f"{path}: {error}") from error
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        more = f" ({error.error_count()} errors in all)" if error.error_count() > 1 else ""
        raise InputError(
            f"{path}: {place} is {str(first['input'])[:60]}; accepted: {first['msg']}{more}"
        ) from error


def instance_of(model: InstanceModel, where: str) -> Instance:
    """One instance (B = 1).

    Raises:
        InputError: a value is out of range; the message begins with ``where``.
    """
    fields = {name: getattr(model, name) for name in FIELDS if name not in ("valid", "linehaul")}
    fields["rounding"] = Rounding[model.rounding]
    fields["demand"] = model.linehaul
    dtype = getattr(torch, model.dtype)
    try:
        if model.traffic is not None:
            fields["traffic"] = Traffic.named(model.traffic).row()
        if model.prices is not None:
            fields["prices"] = Prices.named(model.prices).row()
        if model.dispatch is not None:
            fields["dispatch"] = DispatchRules.named(model.dispatch).row()
        for name in ("coords", "distance", "duration"):
            if fields[name] is not None:
                fields[name] = _matrix(name, fields[name], dtype)
        if model.fleet is not None:
            fields["fleet"] = _fleet_of(model.fleet, _num_nodes(model), dtype)
        return Instance.vrp(**fields)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _num_nodes(model: InstanceModel) -> int:
    return len(model.coords or model.distance or ())


def _fleet_of(model: FleetModel, num_nodes: int, dtype: torch.dtype) -> Fleet:
    given = {name: getattr(model, name) for name in FleetModel.model_fields}
    fields = {name: value for name, value in given.items() if value is not None}
    for name in PER_PAIR:
        if name in fields:
            kind = torch.bool if name == "allowed" else dtype
            fields[name] = _matrix(f"fleet.{name}", fields[name], kind)
    return make_fleet(num_nodes=num_nodes, dtype=dtype, **fields)


def _matrix(name: str, rows: list[Any], dtype: torch.dtype) -> Tensor:
    try:
        return torch.tensor(rows, dtype=dtype)
    except ValueError as error:
        raise InputError(f"{name} has rows of different lengths: {error}") from error
