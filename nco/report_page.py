"""A page of headings, texts, tables and pictures, as Markdown and as HTML."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

MANY_COLUMNS = 8
"""From more on a table is set smaller."""
STYLE = """
:root { color-scheme: light; --ink: #1c2530; --soft: #5b6773; --line: #dde3e8; --tint: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 28px 72px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin: 40px 0 6px; padding-top: 18px; border-top: 2px solid var(--ink); }
h3 { font-size: 16px; margin: 30px 0 6px; }
p { margin: 6px 0 10px; max-width: 92ch; }
p.soft, figcaption, .note { color: var(--soft); font-size: 13.5px; }
.wide { overflow-x: auto; margin: 14px 0 8px; }
table { border-collapse: collapse; min-width: 68%; font-variant-numeric: tabular-nums; }
th { font-size: 12.5px; font-weight: 600; color: var(--soft); text-align: right;
  vertical-align: bottom; padding: 6px 12px; border-bottom: 1.5px solid var(--ink); }
td { padding: 8px 12px; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; white-space: nowrap; }
th.left, td.left { text-align: left; }
td.text { white-space: normal; text-align: left; overflow-wrap: anywhere; }
td small { display: block; color: var(--soft); font-size: 12.5px; }
table.many { font-size: 13px; } table.many th, table.many td { padding: 6px 7px; }
table.many td small { font-size: 11px; }
tbody tr:hover { background: var(--tint); }
td.best { font-weight: 650; }
tr.total td { border-top: 2px solid var(--ink); border-bottom: 0; }
a { color: inherit; text-decoration-color: #aab4be; text-underline-offset: 3px; }
figure { margin: 18px 0 26px; }
figure img { max-width: 100%; height: auto; display: block; }
.notice { border-left: 4px solid #d55e00; background: #fdf4ee; padding: 10px 14px; margin: 16px 0; }
ul { padding-left: 20px; } li { margin: 3px 0; max-width: 92ch; }
details { margin: 12px 0; } summary { cursor: pointer; color: var(--soft); }
pre { background: var(--tint); padding: 14px 16px; overflow-x: auto; font-size: 12.5px;
  line-height: 1.45; border-radius: 4px; }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Heading:
    """``level`` 1 to 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; ``soft`` ones step back."""

    text: str
    soft: bool = False


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be overlooked."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    note: str = ""
    """A second, smaller line."""
    best: bool = False
    heading: str = ""
    """The text of a heading of the page that the cell leads to."""

    @property
    def line(self) -> str:
        """Both on one line."""
        return f"{self.text} ({self.note})" if self.note else self.text


@dataclass(frozen=True)
class Column:
    """The head of a column; ``align`` is right, left, or text (left, with line breaks)."""

    title: str
    align: str = "right"


@dataclass(frozen=True)
class Table:
    """Rows of cells; one with a ``fold`` is folded away in HTML, under that title. With ``total``
    the last row stands apart."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    fold: str = ""
    total: bool = False


@dataclass(frozen=True)
class Picture:
    """An SVG; ``name`` is the file that Markdown links to."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Details:
    """Preformatted text, folded away in HTML."""

    title: str
    text: str


Block = Heading | Text | Notice | Items | Table | Picture | Details


def _anchor(heading: str) -> str:
    """A heading's name in links, as the readers of Markdown make it."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """One self-contained page: style and pictures are inside."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f'<h{level} id="{_anchor(text)}">{html.escape(text)}</h{level}>'
        case Text(text, soft):
            return f"<p{' class=soft' if soft else ''}>{html.escape(text)}</p>"
        case Notice(text):
            return f'<p class="notice">{html.escape(text)}</p>'
        case Items(items):
            return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"
        case Table():
            return _html_table(block)
        case Picture(_, svg, caption):
            data = base64.b64encode(svg.encode()).decode()
            return (
                f'<figure><img alt="{html.escape(caption)}" '
                f'src="data:image/svg+xml;base64,{data}">'
                f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            )
        case Details(title, text):
            return (
                f"<details><summary>{html.escape(title)}</summary>"
                f"<pre>{html.escape(text)}</pre></details>"
            )


def _html_table(table: Table) -> str:
    head = "".join(
        f'<th class="{"right" if c.align == "right" else "left"}">{html.escape(c.title)}</th>'
        for c in table.columns
    )
    rows = []
    for row in table.rows:
        cells = []
        for column, cell in zip(table.columns, row, strict=True):
            note = f"<small>{html.escape(cell.note)}</small>" if cell.note else ""
            kind = f"{column.align} best" if cell.best else column.align
            text = html.escape(cell.text)
            if cell.heading:
                text = f'<a href="#{_anchor(cell.heading)}">{text}</a>'
            cells.append(f'<td class="{kind}">{text}{note}</td>')
        kind = " class=total" if table.total and row is table.rows[-1] else ""
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    many = " class=many" if len(table.columns) > MANY_COLUMNS else ""
    body = (
        f'<div class="wide"><table{many}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    if not table.fold:
        return body
    return f"<details><summary>{html.escape(table.fold)}</summary>{body}</details>"


def markdown_page(blocks: Sequence[Block], picture_folder: str) -> str:
    """The same in Markdown; pictures are linked as files of a folder beside it."""
    return "\n\n".join(_markdown(block, picture_folder) for block in blocks) + "\n"


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Notice(text):
            return f"> **Note:** {text}"
        case Items(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(columns, rows, fold, _):
            lines = [
                [column.title for column in columns],
                ["---:" if column.align == "right" else ":---" for column in columns],
                *([_markdown_cell(cell) for cell in row] for row in rows),
            ]
            title = f"{fold}:\n\n" if fold else ""
            return title + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Picture(name, _, caption):
            return f"![{caption}]({folder}/{name})"
        case Details(title, text):
            return f"{title}:\n\n```\n{text.rstrip()}\n```"


def _markdown_cell(cell: Cell) -> str:
    text = cell.line.replace("|", "\\|").replace("\n", " ")
    if cell.heading:
        text = f"[{text}](#{_anchor(cell.heading)})"
    return f"**{text}**" if cell.best else text
