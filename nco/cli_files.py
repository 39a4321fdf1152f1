"""What commands that write files share: names from a pattern, and a look before the work."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from nco.data.errors import InputError

NAME = "{name}"
"""Stands for the name of an instance in an output path."""


def output_paths(pattern: Path, names: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """One path to write for each name, all different, each in a folder that can be written.

    Called before the work begins: an hour of solving must not end at a wrong suffix.

    Raises:
        InputError: the suffix is not one of ``suffixes``, several names would share a path, or a
            path cannot be written.
    """
    if pattern.suffix not in suffixes:
        raise InputError(
            f"output {pattern} has suffix {pattern.suffix!r}; accepted: {', '.join(suffixes)}"
        )
    paths = [Path(str(pattern).replace(NAME, name)) for name in names]
    if len(set(paths)) < len(paths):
        raise InputError(
            f"{len(names)} results would be written to {len(set(paths))} files by {pattern}; "
            f"accepted: {NAME} in the path, and different names: {', '.join(names)}"
        )
    for path in paths:
        require_writable(path)
    return paths


def require_writable(path: Path) -> None:
    """Raise `InputError` where no file can be written under this name."""
    if path.is_dir():
        raise InputError(f"output {path} is a folder; accepted: the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"output folder {path.parent} does not exist; accepted: one that does")
    try:
        # permissions alone do not tell: the superuser has them all
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise InputError(
            f"output folder {path.parent} cannot be written ({error.strerror}); accepted: one that "
            "can"
        ) from error
