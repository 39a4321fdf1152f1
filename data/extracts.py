"""Names of OpenStreetMap extracts, for all that reads them."""

from __future__ import annotations

from pathlib import Path

from nco.data.errors import InputError

SUFFIXES = (".osm.pbf", ".osm.bz2", ".osm")


def extract_suffix(path: Path) -> str:
    """The one of `SUFFIXES` that the name ends in.

    Raises:
        InputError: it ends in none of them.
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise InputError(f"{path} is no map; accepted: {', '.join(SUFFIXES)}")
