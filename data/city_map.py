"""City maps: points on the streets of a city with all durations and distances between them.

A map is a folder: ``points.npy``, ``distance.npy`` and ``duration.npy``, which load memory-mapped,
and ``city.json`` with the name and where it all comes from. A collection is a folder of maps with
``split.json``, which says for whole cities whether they are for training, for validation or held
out for tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final, get_args

import numpy as np
from jaxtyping import Float

from nco.data.errors import InputError
from nco.data.geography import to_metres
from nco.data.text_file import read_text, write_text

CITY = "city.json"
SPLIT = "split.json"
VERSION = 1
"""Of both files. A change that an older reader would misread raises it."""
Part = Literal["train", "validation", "test"]
"""Cities to train on, to watch a training with, and to report on."""


@final
@dataclass(frozen=True)
class CityMap:
    """n points, no two at one place, each of which can be reached from each.

    Raises:
        InputError: the arrays disagree, or there are fewer than two points.
    """

    name: str
    points: Float[np.ndarray, "n 2"]
    """Longitude and latitude in degrees."""
    distance: Float[np.ndarray, "n n"]
    """Metres of the fastest way from row to column, float32."""
    duration: Float[np.ndarray, "n n"]
    """Seconds, float32."""
    provenance: Mapping[str, Any]
    """Where it comes from, as JSON states it."""

    def __post_init__(self) -> None:
        n = len(self.points)
        shapes = self.points.shape, self.distance.shape, self.duration.shape
        if n < 2 or shapes != ((n, 2), (n, n), (n, n)):
            raise InputError(
                f"city {self.name!r} has points {shapes[0]}, distances {shapes[1]} and durations "
                f"{shapes[2]}; accepted: [n, 2], [n, n] and [n, n] with n of at least 2"
            )

    @property
    def coords(self) -> Float[np.ndarray, "n 2"]:
        """Metres east and north of the middle of the points' box."""
        box = np.stack((self.points.min(0), self.points.max(0)))
        return to_metres(np.asarray(self.points), box.mean(0))

    def save(self, folder: Path) -> None:
        """Write the map's folder, whole or not at all.

        Raises:
            InputError: there is something under this name, or it cannot be written.
        """
        with new_folder(folder) as draft:
            for name in ("points", "distance", "duration"):
                np.save(draft / f"{name}.npy", getattr(self, name))
            told = {
                "format": "nco-city",
                "version": VERSION,
                "name": self.name,
                "num_points": len(self.points),
                "provenance": self.provenance,
            }
            write_text(draft / CITY, json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> CityMap:
        """Read a map; its matrices stay on the disk until they are used.

        Raises:
            InputError: the folder is no map, or an array is missing, broken or another's.
        """
        if not (folder / CITY).is_file():
            raise InputError(
                f"{folder} is no city map (no {CITY}); accepted: a folder that nco data city wrote"
            )
        told = _document(folder / CITY, "nco-city", ("name", "num_points", "provenance"))
        n = told["num_points"]
        shapes = {
            "points": (np.float64, (n, 2)),
            "distance": (np.float32, (n, n)),
            "duration": (np.float32, (n, n)),
        }
        arrays = {name: _mapped(folder / f"{name}.npy", *shapes[name]) for name in shapes}
        return cls(name=told["name"], provenance=told["provenance"], **arrays)


def _document(path: Path, kind: str, keys: Sequence[str]) -> dict[str, Any]:
    try:
        told = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: {error}; accepted: {kind}") from error
    if not isinstance(told, dict) or told.get("format") != kind or told.get("version") != VERSION:
        raise InputError(
            f"{path} is no {kind} of version {VERSION}; accepted: one that nco data city wrote"
        )
    missing = [key for key in keys if key not in told]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; accepted: {', '.join(keys)}")
    return told


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; accepted: the arrays of a city map") from error
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path} is broken: {error}; accepted: an array of numpy") from error
    if array.dtype != dtype or array.shape != shape:
        raise InputError(
            f"{path} is {array.dtype} {array.shape}; accepted: {np.dtype(dtype)} {shape}, as "
            f"{CITY} beside it says"
        )
    return array


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A draft that gets this name when all of it is written, and is removed when that fails.

    Raises:
        InputError: there is something under this name, or it cannot be written.
    """
    refuse_taken(folder)
    draft = None
    try:
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        # temporary folders are private; the result gets the permissions of any new one
        mask = os.umask(0)
        os.umask(mask)
        draft.chmod(0o777 & ~mask)
        yield draft
        draft.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        if draft is not None and draft.exists():
            shutil.rmtree(draft)


def refuse_taken(folder: Path) -> None:
    """Raise `InputError` where `new_folder` would, as far as it shows before the work."""
    if folder.exists():
        raise InputError(f"{folder} is there already; accepted: the name of a new folder")
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent} is not a folder; accepted: a name in one that exists")


def split_by_name(
    names: Sequence[str], *, validation: float = 0.1, test: float = 0.2
) -> dict[Part, list[str]]:
    """Whole cities for each part: these shares of all, at least one each.

    Which ones, says the hash of the name, so that a city seldom changes its side when others come
    or go.

    Raises:
        InputError: there are fewer than three cities, two of one name, or the shares leave none to
            train on.
    """
    counts = [max(1, round(share * len(names))) for share in (validation, test)]
    if min(validation, test) < 0 or sum(counts) >= len(names) or len(set(names)) < len(names):
        raise InputError(
            f"{len(names)} cities with shares of {validation} for validation and {test} for tests; "
            "accepted: at least 3, each name once, and shares that leave one to train on"
        )
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    watched, held_out = order[: counts[0]], order[counts[0] : sum(counts)]
    return {
        "train": [name for name in names if name not in (*watched, *held_out)],
        "validation": sorted(watched),
        "test": sorted(held_out),
    }


def write_split(folder: Path, split: Mapping[Part, Sequence[str]]) -> None:
    """Write which cities of a collection are in which part."""
    told = {"format": "nco-cities", "version": VERSION} | {p: list(split[p]) for p in split}
    write_text(folder / SPLIT, json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def read_split(folder: Path) -> dict[Part, list[str]]:
    """The folders of a collection's cities, by part.

    Raises:
        InputError: the folder is no collection, or a city is in several parts.
    """
    if not (folder / SPLIT).is_file():
        raise InputError(
            f"{folder} is no collection of cities (no {SPLIT}); accepted: a folder that nco data "
            "city synthetic or nco data city split wrote"
        )
    told = _document(folder / SPLIT, "nco-cities", get_args(Part))
    split: dict[Part, list[str]] = {part: told[part] for part in get_args(Part)}
    names = [name for part in split.values() for name in part]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(
            f"{folder / SPLIT} has {', '.join(sorted(twice))} more than once; accepted: each city "
            "in one part"
        )
    return split


def part_by_name(name: str) -> Part | None:
    """The part of this name; None for "all".

    Raises:
        InputError: there is no such part.
    """
    for part in get_args(Part):
        if part == name:
            return part
    if name != "all":
        raise InputError(f"part is {name!r}; accepted: {', '.join(get_args(Part))}, all")
    return None


def load_cities(folder: Path, part: Part | None = None) -> list[CityMap]:
    """The maps of a part of a collection, of all of it, or the one map that the folder is.

    Raises:
        InputError: the folder is neither, a map is broken, or the part has no city.
    """
    if (folder / CITY).is_file():
        return [CityMap.load(folder)]
    if not folder.exists():
        raise InputError(
            f"{folder} does not exist; accepted: a city map, or a collection of them, as nco data "
            "city writes"
        )
    split = read_split(folder)
    names = [name for key, names in split.items() if part in (None, key) for name in names]
    if not names:
        raise InputError(f"{folder} has no city for {part or 'anything'}; accepted: at least one")
    return [CityMap.load(folder / name) for name in names]
