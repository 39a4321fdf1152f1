"""Text files: reading, writing whole or not at all, and numbers that name their place.

The formats have parsers of their own, not the package vrplib's: that one knows no line numbers,
reads a word in a Solomon table as the number -1 without a sound, and fails on half of TSPLIB's
matrix formats. The tests compare with it where both can read.
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

from nco.data.errors import InputError


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: there is no such file, it is a folder, cannot be read, is empty or not text.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; accepted: a file")
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; accepted: a file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text: byte {error.start} is 0x{raw[error.start]:02x}; accepted: UTF-8"
        ) from error
    if "\0" in text:
        raise InputError(f"{path} is not text: it has a zero byte; accepted: UTF-8")
    if not text.strip():
        raise InputError(f"{path} is empty; accepted: a file with content")
    return text


def write_text(path: Path, text: str) -> None:
    """`write_bytes` with the text in UTF-8, its line ends as they are."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under its final name only when all of it is on the disk.

    Raises:
        InputError: the folder does not exist or cannot be written, or the path is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; accepted: the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; accepted: a name in a folder that exists")
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(content)
        # temporary files are private; the result gets the permissions of any new file
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def to_float(token: str, where: str, minimum: float = -math.inf) -> float:
    """The finite number that ``token`` stands for; ``where`` opens the message if it is none."""
    accepted = "a finite number" + (f" of at least {minimum:g}" if minimum > -math.inf else "")
    try:
        value = float(token)
    except ValueError:
        value = math.nan
    # Python takes 1_000 for a number; no routing format does
    if not math.isfinite(value) or value < minimum or "_" in token:
        raise InputError(f"{where}: {token!r} is not accepted; accepted: {accepted}")
    return value


def to_int(token: str, where: str, minimum: int | None = None) -> int:
    """The whole number that ``token`` stands for; ``where`` opens the message if it is none."""
    accepted = "a whole number" + (f" of at least {minimum}" if minimum is not None else "")
    try:
        value = int(token)
    except ValueError as error:
        raise InputError(f"{where}: {token!r} is not accepted; accepted: {accepted}") from error
    if "_" in token or (minimum is not None and value < minimum):
        raise InputError(f"{where}: {token!r} is not accepted; accepted: {accepted}")
    return value


def show(value: float) -> str:
    """The shortest text that reads back as exactly ``value``."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
