"""Distances and durations between points on real streets, and which of the points are usable."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nco.data.errors import InputError
from nco.data.text_file import write_bytes

_ARRAYS = ("points", "duration", "distance", "snapped", "offset", "sources", "destinations")


@final
@dataclass(frozen=True)
class RoadProvenance:
    """Where a table comes from; None where the server does not tell and nobody else knows."""

    address: str
    """Of the server."""
    profile: str
    """The kind of vehicle as asked for. Servers ignore the name; what counts is their data."""
    created: str
    """UTC, ISO 8601."""
    version: str | None
    """Of OSRM."""
    algorithm: str | None
    """CH or MLD."""
    data_version: str | None
    """Date of the OpenStreetMap data."""
    options: Mapping[str, str | float | None]
    """What the request asked for beside the points, such as the radius in metres."""

    def to_json(self) -> str:
        """As a JSON object."""
        return json.dumps(asdict(self), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> RoadProvenance:
        """What `to_json` has written.

        Raises:
            InputError: the text is something else.
        """
        try:
            return RoadProvenance(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(f"not the provenance of a road table: {error}") from error


@final
@dataclass(frozen=True)
class RoadTable:
    """From each source to each destination by the fastest route, in metres and seconds.

    ``sources`` (S) and ``destinations`` (D) are indices of ``points``; by default both are all of
    them. Distance is the length of the fastest route, not of the shortest. NaN where there is no
    way.
    """

    points: Float[np.ndarray, "n 2"]
    """As asked for: longitude, latitude in degrees."""
    duration: Float[np.ndarray, "S D"]
    """Seconds, float32."""
    distance: Float[np.ndarray, "S D"]
    """Metres, float32."""
    snapped: Float[np.ndarray, "n 2"]
    """Places on streets that the points were joined to; NaN for a point that nobody asked for."""
    offset: Float[np.ndarray, " n"]
    """Metres from a point to its place on a street; NaN as above."""
    sources: Int[np.ndarray, " S"]
    destinations: Int[np.ndarray, " D"]
    provenance: RoadProvenance

    @property
    def reachable(self) -> Bool[np.ndarray, "S D"]:
        """Where there is a way."""
        return ~np.isnan(self.duration)

    def save(self, path: str | Path) -> None:
        """Write a ``.npz`` file, whole or not at all.

        Raises:
            InputError: the file cannot be written, or has another suffix.
        """
        path = Path(path)
        require_npz(path)
        content = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(content, provenance=np.array(self.provenance.to_json()), **arrays)
        write_bytes(path, content.getvalue())

    @staticmethod
    def load(path: str | Path) -> RoadTable:
        """Read what `save` has written.

        Raises:
            InputError: there is no such file, or it holds something else.
        """
        path = Path(path)
        require_npz(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in _ARRAYS}
                told = str(file["provenance"])
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist; accepted: a file") from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is no road table: {error}") from error
        return RoadTable(**arrays, provenance=RoadProvenance.from_json(told))


@final
@dataclass(frozen=True)
class ReachablePoints:
    """Which points of a table can be used together, and why the others cannot."""

    index: Int[np.ndarray, " k"]
    """Points of which each reaches each, ascending; no two at one place."""
    far: Int[np.ndarray, " a"]
    """Points whose street is too far away."""
    duplicate: Int[np.ndarray, " b"]
    """Points joined to the same place as an earlier one."""
    unreachable: Int[np.ndarray, " c"]
    """Points outside the largest set that is joined in both directions."""

    def __str__(self) -> str:
        total = sum(map(len, (self.index, self.far, self.duplicate, self.unreachable)))
        return (
            f"{len(self.index)} of {total} points kept; dropped: {len(self.far)} far from any "
            f"street, {len(self.duplicate)} at the place of another, {len(self.unreachable)} not "
            "reachable to and fro"
        )


def reachable_points(table: RoadTable, max_offset: float | None = None) -> ReachablePoints:
    """The largest set of points that all reach each other, each place once.

    Points far from a street go first, then those at the place of an earlier point, then those
    outside the largest strongly connected component of the finite cells. Reachability on streets
    with turn restrictions is not quite transitive, so pairs without a way may be left in it: then
    the point with the most of them goes, until there are none.

    Args:
        table: square, of all its points.
        max_offset: metres from a point to its street that are accepted; None accepts all.

    Raises:
        InputError: the table is not of all points, or no point is near a street.
    """
    n = len(table.points)
    everything = np.arange(n)
    if not (
        np.array_equal(table.sources, everything) and np.array_equal(table.destinations, everything)
    ):
        raise InputError(
            f"a table of {table.duration.shape[0]} x {table.duration.shape[1]} cells between "
            f"{n} points; accepted: all points in both directions, in their order"
        )
    near = np.ones(n, dtype=bool) if max_offset is None else table.offset <= max_offset
    if not near.any():
        raise InputError(
            f"no point is within {max_offset} m of a street, the nearest is "
            f"{table.offset.min():.0f} m away; accepted: points in the area of the server's map"
        )
    candidates = everything[near]
    _, first = np.unique(table.snapped[candidates], axis=0, return_index=True)
    distinct = candidates[np.sort(first)]
    kept = distinct[_mutual(table.reachable[np.ix_(distinct, distinct)])]
    return ReachablePoints(
        index=kept,
        far=everything[~near],
        duplicate=np.setdiff1d(candidates, distinct),
        unreachable=np.setdiff1d(distinct, kept),
    )


def _mutual(reachable: Bool[np.ndarray, "n n"]) -> Int[np.ndarray, " k"]:
    """Positions of a set with all pairs reachable: the largest component, then greedily."""
    _, label = connected_components(csr_array(reachable), directed=True, connection="strong")
    sizes = np.bincount(label)
    # of equal components the one with the earliest point, whatever the labels are
    kept = np.flatnonzero(label == label[np.argmax(sizes[label])])
    while True:
        cut = ~reachable[np.ix_(kept, kept)]
        missing = cut.sum(0) + cut.sum(1)
        if not missing.any():
            return kept
        kept = np.delete(kept, np.argmax(missing))


def require_npz(path: Path) -> None:
    """Raise `InputError` where the name is not that of a table's file."""
    if path.suffix != ".npz":
        raise InputError(f"{path} has suffix {path.suffix!r}; accepted: .npz")
