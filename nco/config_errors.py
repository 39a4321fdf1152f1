"""pydantic's validation errors in the words of the configuration file.

Each line names the dotted path as it stands in the file (without the branch names that pydantic
puts in), the value, and what is accepted there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_SHOWN = 60
"""Characters of a value that a message shows."""


def describe_errors(
    model: type[BaseModel], values: dict[str, Any], error: ValidationError
) -> list[str]:
    """One line for each path that is wrong, in the order in which pydantic found them."""
    found: dict[str, list[str]] = {}
    for entry in error.errors(include_url=False):
        if entry["type"] == "too_short" and len(entry["input"]) >= _context(entry)["min_length"]:
            # pydantic does not count the items that are wrong themselves
            continue
        path, told = _describe(model, values, entry)
        lines = found.setdefault(".".join(map(str, path)), [])
        if told not in lines:
            lines.append(told)
    return [
        ": ".join(filter(None, (path, lines[0])))
        # a union complains once for each of its members
        + "".join(" or " + line.partition("accepted: ")[2] for line in lines[1:])
        for path, lines in found.items()
    ]


def _describe(
    model: type[BaseModel], values: dict[str, Any], entry: ErrorDetails
) -> tuple[list[int | str], str]:
    """Where one error is, and what it says there."""
    kind, message = entry["type"], entry["msg"]
    path, value = _locate(values, entry["loc"], missing=kind == "missing")
    if kind == "missing":
        return path, "missing; it has no default"
    if kind == "extra_forbidden":
        return path, f"unknown key; accepted: {_accepted_keys(model, values, path)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = str(_context(entry)["discriminator"]).strip("'")
        head = f"value {_shown(value[tag])}" if kind == "union_tag_invalid" else "missing"
        return [*path, tag], f"{head}; accepted: {_accepted_tags(model, values, path, tag)}"
    if kind == "value_error":
        told = message.removeprefix("Value error, ")
        return path, told if isinstance(value, Mapping) else f"value {_shown(value)}; {told}"
    return path, f"value {_shown(value)}; accepted: {_accepted(message)}"


def _context(entry: ErrorDetails) -> dict[str, Any]:
    return entry.get("ctx", {})


def _locate(
    values: dict[str, Any], loc: Sequence[int | str], *, missing: bool
) -> tuple[list[int | str], Any]:
    """The part of ``loc`` that exists in ``values``, and the value there."""
    path: list[int | str] = []
    value: Any = values
    for i, key in enumerate(loc):
        entries = _entries(value)
        if key in entries:
            value = entries[key]
            path.append(key)
        elif missing and i == len(loc) - 1:
            path.append(key)
    return path, value


def _entries(value: Any) -> Mapping[Any, Any]:
    """The entries of a section or a list; nothing for other values."""
    if isinstance(value, list):
        return dict(enumerate(value))
    return value if isinstance(value, Mapping) else {}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _accepted(message: str) -> str:
    """What pydantic's message asks for."""
    for start in ("Input should be ", "Input should ", "Field "):
        message = message.removeprefix(start)
    message = message.partition(", unable to parse")[0]
    return message.replace("dictionary or object to extract fields from", "section of keys")


def _accepted_keys(model: type[BaseModel], values: dict[str, Any], path: list[int | str]) -> str:
    """The keys of the section that ``path`` lies in, and the likely one."""
    keys = [key for branch in _branches_at(model, values, path[:-1]) for key in _fields(branch)]
    close = difflib.get_close_matches(str(path[-1]), keys, n=1)
    listed = ", ".join(dict.fromkeys(keys)) or "no key"
    return f"{listed} (did you mean {close[0]}?)" if close else listed


def _accepted_tags(
    model: type[BaseModel], values: dict[str, Any], path: list[int | str], tag: str
) -> str:
    """Every tag of the union at ``path``."""
    fields = [_fields(branch).get(tag) for branch in _branches_at(model, values, path)]
    return ", ".join(str(name) for field in fields for name in get_args(field))


def _fields(branch: Any) -> dict[str, Any]:
    """Annotation of each field under the name that the file uses; none if not a section."""
    if not (isinstance(branch, type) and issubclass(branch, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in branch.model_fields.items()}


def _branches_at(model: type[BaseModel], values: Any, path: Sequence[int | str]) -> list[Any]:
    """What the value at ``path`` may be; unions are settled by the tags in ``values``."""
    branches: list[Any] = [model]
    for key in path:
        below = [_child(branch, key) for branch in _settled(branches, values)]
        branches = [branch for annotation in below for branch in _branches(annotation)]
        values = _entries(values).get(key)
    return _settled(branches, values)


def _child(branch: Any, key: int | str) -> Any:
    """The annotation of the field or entry ``key`` of a section, list or mapping."""
    fields = _fields(branch)
    if key in fields:
        return fields[str(key)]
    arguments = [a for a in get_args(branch) if a is not Ellipsis]
    return arguments[-1] if arguments and get_origin(branch) is not Literal else None


def _branches(annotation: Any) -> list[Any]:
    """The members of a union, seen through Annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _branches(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [branch for a in get_args(annotation) for branch in _branches(a)]
    return [annotation]


def _settled(branches: list[Any], value: Any) -> list[Any]:
    """The branches that ``value`` can be by its tags; all of them where no tag tells."""
    if not isinstance(value, Mapping):
        return branches
    fitting = [
        branch
        for branch in branches
        if any(
            get_origin(annotation) is Literal and value.get(key) in get_args(annotation)
            for key, annotation in _fields(branch).items()
        )
    ]
    return fitting or branches
