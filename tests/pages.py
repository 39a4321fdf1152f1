"""What a page of HTML would load."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import final

_LOADING_TAGS = frozenset(
    ("audio", "base", "embed", "frame", "iframe", "image", "img", "link", "object", "source", "use",
     "video")
)  # fmt: skip
_LOADING_ATTRIBUTES = frozenset(
    ("action", "background", "data", "href", "poster", "src", "srcset", "xlink:href")
)
_LOADING_WORDS = re.compile(
    r"@import|url\(|\bfetch\b|\bimport\b|XMLHttpRequest|WebSocket|EventSource|sendBeacon|https?:|//\w"
)


def loaded(page: str) -> list[str]:
    """All that a browser might fetch, or follow on a click: a page that stands alone has none."""
    parser = _Parser()
    parser.feed(page)
    parser.close()
    return parser.found


@final
class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        if tag in _LOADING_TAGS:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name in _LOADING_ATTRIBUTES or name.startswith("on"):
                self.found.append(f"<{tag} {name}>")
            if name == "style":
                self.found += _LOADING_WORDS.findall(value or "")

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style"):
            self.found += _LOADING_WORDS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""
