"""From YAML to a checked configuration: files, presets, `extends`, overrides, readable errors.

Knows nothing of what is configured: the pydantic model given to `parse` says what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from nco.config_errors import describe_errors
from nco.data.errors import InputError

Model = TypeVar("Model", bound=BaseModel)

TAGS = ("type", "solver")
"""The keys that can say which branch of a union a section is; the first one there does."""

SUFFIXES = (".yaml", ".yml")


class _Loader(yaml.SafeLoader):
    """YAML with 1e-4 a number, only true and false as truth values, and every key once.

    PyYAML follows YAML 1.1, where 1e-4 is a string and ``no`` is False.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own attribute)
        first: [(tag, regexp) for tag, regexp in found if tag != "tag:yaml.org,2002:bool"]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise InputError(f"line {line}: key {key!r} is not a name; quote it if it is one")
            if key in seen:
                raise InputError(
                    f"line {line}: key {key!r} was already given in line {seen[key]}; "
                    "accepted: each key once"
                )
            seen[key] = line
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def preset_names() -> list[str]:
    """The configurations shipped with the package, in order of name."""
    files = resources.files("nco.configs").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load_yaml(path_or_preset: str | Path) -> dict[str, Any]:
    """Read a configuration, merged over what it ``extends``.

    Args:
        path_or_preset: a YAML file, or the name of a shipped preset. ``extends:`` names a base
            in the same way, a file being relative to the one that names it.

    Raises:
        InputError: the file is missing, unreadable or not YAML; a key is given twice; the chain
            of bases is circular.
    """
    return _load(str(path_or_preset), Path(), ())


def _load(name: str, folder: Path | None, chain: tuple[str, ...]) -> dict[str, Any]:
    source, text, home = _read(name, folder, chain[-1] if chain else None)
    if source in chain:
        circle = " -> ".join((*chain[chain.index(source) :], source))
        raise InputError(f"extends is circular: {circle}")
    values = _parse_yaml(text, source)
    if not isinstance(values, dict):
        raise InputError(f"{source}: the file holds {_kind(values)}; accepted: keys with values")
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise InputError(f"{source}: extends is {base!r}; accepted: one file or preset name")
    return merge(_load(base, home, (*chain, source)), values)


def _read(name: str, folder: Path | None, asked_by: str | None) -> tuple[str, str, Path | None]:
    """The name to show, the text, and the folder that names inside are relative to.

    A preset has no folder and names presets only: nothing that lies on the disk by chance may
    change what it means.
    """
    told = f" (asked for by {asked_by})" if asked_by else ""
    accepted = f"accepted: a .yaml file, or one of the presets {', '.join(preset_names())}"
    if folder is None or (Path(name).suffix not in SUFFIXES and Path(name).name == name):
        if name not in preset_names():
            raise InputError(f"config {name!r}{told} is no file and no preset; {accepted}")
        preset = resources.files("nco.configs") / f"{name}.yaml"
        return f"preset {name}", preset.read_text(encoding="utf-8"), None
    path = (folder / name).resolve()
    try:
        return str(path), path.read_text(encoding="utf-8-sig"), path.parent
    except FileNotFoundError:
        raise InputError(f"config {path}{told} does not exist; {accepted}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"config {path}{told} cannot be read: {error}") from error


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a safe loader
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{source}{line}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{source}: not YAML: {error}") from None


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, section by section; neither is modified.

    A section whose tag changes starts from nothing: the fields of its old branch mean nothing to
    the new one. Lists are replaced as a whole.
    """
    tag = next((key for key in TAGS if isinstance(base.get(key), str)), None)
    if tag in changes and changes[tag] != base[tag]:
        return dict(changes)
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merge(old, value)
        merged[key] = value
    return merged


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``values`` with each ``a.b=value`` applied; the values are read as YAML.

    A number in a path is an entry of a list, counted from 0: ``solvers.0.time_limit=2``. All
    overrides are collected before they are applied, so their order does not matter: an override
    of a tag drops the fields of the old branch and keeps those that other overrides give.

    Raises:
        InputError: an override is not ``path=value``, contradicts another one or names an entry
            that a list does not have.
    """
    changes: dict[str, Any] = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise InputError(f"override {override!r}; accepted: path.to.key=value")
        section = changes
        for key in keys[:-1]:
            section = section.setdefault(key, {})
            if not isinstance(section, dict):
                raise InputError(f"override {override!r} goes below a value set by another one")
        if isinstance(section.get(keys[-1]), dict):
            raise InputError(f"override {override!r} contradicts another one that goes below it")
        section[keys[-1]] = _parse_yaml(text, f"override {override!r}")
    return merge(values, {key: _enter(values.get(key), new, key) for key, new in changes.items()})


def _enter(old: Any, new: Any, path: str) -> Any:
    """``new`` with numbered entries written into copies of the lists that they belong to."""
    if not isinstance(new, dict):
        return new
    if not isinstance(old, list):
        below = old if isinstance(old, dict) else {}
        return {key: _enter(below.get(key), value, f"{path}.{key}") for key, value in new.items()}
    entries = list(old)
    for key, value in new.items():
        if not key.isdecimal() or int(key) >= len(entries):
            raise InputError(
                f"override of {path}.{key}: {path} is a list of {len(entries)}; accepted: "
                f"entries 0 to {len(entries) - 1}"
            )
        entry = entries[int(key)]
        inner = _enter(entry, value, f"{path}.{key}")
        if isinstance(entry, dict) and isinstance(inner, dict):
            inner = merge(entry, inner)
        entries[int(key)] = inner
    return entries


def parse(model: type[Model], values: dict[str, Any], source: str) -> Model:
    """``values`` as a checked ``model``.

    Raises:
        InputError: lists every error at once, each with its dotted path, the value and what is
            accepted. ``source`` says where the values come from.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = describe_errors(model, values, error)
    if len(lines) == 1:
        raise InputError(f"{source}: {lines[0]}")
    raise InputError(f"{source}: {len(lines)} errors\n" + "\n".join(f"  {line}" for line in lines))
