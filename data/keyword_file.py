"""The grammar that TSPLIB and VRPLIB share: ``KEY : value`` lines and ``..._SECTION`` tables.

Source: G. Reinelt, TSPLIB 95, University of Heidelberg, 1995; CVRPLIB uses the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nco.data.errors import InputError
from nco.data.text_file import to_float, to_int

_SECTION = re.compile(r"([A-Za-z_]+_SECTION)\s*:?$")
_HEADER = re.compile(r"([A-Za-z_]+)\s*:\s*(.*)$")


@dataclass(frozen=True)
class Header:
    """The value of one ``KEY : value`` line."""

    line: int
    value: str


@dataclass(frozen=True)
class Row:
    """The words of one line in a section."""

    line: int
    tokens: list[str]


@dataclass(frozen=True)
class Section:
    """A section with its rows; ``line`` is that of its title."""

    name: str
    line: int
    rows: list[Row]


@dataclass(frozen=True)
class Document:
    """A parsed file. Every look-up raises `InputError` with the file and the line."""

    path: Path
    headers: dict[str, Header]
    sections: dict[str, Section]

    def where(self, line: int, what: str) -> str:
        """How a message about a place in the file begins."""
        return f"{self.path}, line {line} ({what})"

    def refuse_unknown(self, headers: Iterable[str], sections: Iterable[str]) -> None:
        """Refuse what could change the problem without us knowing."""
        for kind, found, known in (
            ("keyword", {k: h.line for k, h in self.headers.items()}, sorted(headers)),
            ("section", {k: s.line for k, s in self.sections.items()}, sorted(sections)),
        ):
            for name, line in found.items():
                if name not in known:
                    raise InputError(
                        f"{self.where(line, name)}: this {kind} is not supported; "
                        f"accepted: {', '.join(known)}"
                    )

    def header(self, key: str) -> Header:
        """The line of a keyword that must be there."""
        if key not in self.headers:
            raise InputError(f"{self.path}: {key} is missing; accepted: a line '{key} : value'")
        return self.headers[key]

    def section(self, name: str) -> Section:
        """A section that must be there."""
        if name not in self.sections:
            raise InputError(f"{self.path}: {name} is missing; the file may be cut short")
        return self.sections[name]

    def word(self, key: str, accepted: Iterable[str]) -> str:
        """The first word of a keyword's value, one of ``accepted``."""
        header = self.header(key)
        word = header.value.split()[0].upper() if header.value else ""
        known = list(accepted)
        if word not in known:
            raise InputError(
                f"{self.where(header.line, key)}: {word!r} is not supported; "
                f"accepted: {', '.join(known)}"
            )
        return word

    def integer(self, key: str, minimum: int) -> int:
        """The whole number that a keyword states."""
        header = self.header(key)
        return to_int(header.value, self.where(header.line, key), minimum)

    def real(self, key: str, minimum: float) -> float:
        """The number that a keyword states."""
        header = self.header(key)
        return to_float(header.value, self.where(header.line, key), minimum)

    def table(
        self, name: str, columns: Sequence[str], minimum: float = float("-inf")
    ) -> dict[int, tuple[int, list[float]]]:
        """Rows ``id value ...`` of a section, in file order: id to (line, values)."""
        table: dict[int, tuple[int, list[float]]] = {}
        for row in self.section(name).rows:
            where = self.where(row.line, name)
            if len(row.tokens) != 1 + len(columns):
                raise InputError(
                    f"{where}: {' '.join(row.tokens)!r} has {len(row.tokens)} values; "
                    f"accepted: a node and its {', '.join(columns)}"
                )
            node = to_int(row.tokens[0], where)
            if node in table:
                raise InputError(
                    f"{where}: node {node} stands here again, first in line {table[node][0]}; "
                    "accepted: every node once"
                )
            table[node] = (row.line, [to_float(t, where, minimum) for t in row.tokens[1:]])
        return table

    def node_values(
        self, name: str, ids: Sequence[int], columns: Sequence[str]
    ) -> dict[int, tuple[int, list[float]]]:
        """As `table`, with values of at least 0 for exactly the nodes ``ids``."""
        table = self.table(name, columns, 0.0)
        known = set(ids)
        for node, (line, _) in table.items():
            if node not in known:
                raise InputError(
                    f"{self.where(line, name)}: there is no node {node}; "
                    f"accepted: the {len(ids)} nodes of the file, {min(ids)} to {max(ids)}"
                )
        for node in ids:
            if node not in table:
                raise InputError(
                    f"{self.where(self.section(name).line, name)}: node {node} has no "
                    f"{columns[0]}; accepted: one row for each of the {len(ids)} nodes"
                )
        return table


def parse(path: Path, text: str) -> Document:
    """Split a text into keywords and sections.

    Raises:
        InputError: a line is neither, a keyword or section comes twice, or the last line has no
            end.
    """
    headers: dict[str, Header] = {}
    sections: dict[str, Section] = {}
    current: Section | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line:
            continue
        if line == "EOF":
            return Document(path, headers, sections)
        title, keyword = _SECTION.match(line), _HEADER.match(line)
        if title or keyword:
            key = (title or keyword).group(1).upper()  # type: ignore[union-attr]
            if key in headers or key in sections:
                raise InputError(
                    f"{path}, line {number}: {key} comes a second time; accepted: once"
                )
        if title:
            current = Section(title.group(1).upper(), number, [])
            sections[current.name] = current
        elif keyword:
            current = None
            headers[keyword.group(1).upper()] = Header(number, keyword.group(2).strip())
        elif current is None:
            raise InputError(
                f"{path}, line {number}: {line[:60]!r} is not understood; accepted: "
                "'KEY : value', the title of a section, or EOF"
            )
        else:
            current.rows.append(Row(number, line.split()))
    # TSPLIB lets EOF be left out, but then a number that is cut in two must not pass for another
    if not text.endswith("\n"):
        raise InputError(
            f"{path}: the file stops within its last line, it may be cut short; accepted: EOF or "
            "the end of a line at the end"
        )
    return Document(path, headers, sections)
