"""What ``nco data city`` does: builds maps from extracts or plans, splits them, tells of them."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import util
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from nco.baselines.solver import require_seed
from nco.data.city_build import build_city
from nco.data.city_map import (
    CITY,
    SPLIT,
    CityMap,
    Part,
    new_folder,
    refuse_taken,
    split_by_name,
    write_split,
)
from nco.data.errors import InputError
from nco.data.osm_writer import write_osm
from nco.data.osrm_client import OSRM
from nco.data.osrm_server import prepare, running
from nco.data.osrm_tools import find_tools
from nco.data.road_source import Progress, RoadSource
from nco.data.street_network import StreetNetwork
from nco.data.street_patterns import Pattern
from nco.data.street_routing import StreetRouter
from nco.data.synthetic_city import draw_plan, synthetic_network

Roads = Literal["osrm", "scipy"]
Box = tuple[float, float, float, float]


def build(
    extract: Path,
    num_points: int,
    output: Path,
    name: str | None,
    roads: Roads,
    address: str | None,
    box: str | None,
    seed: int,
    progress: bool,
) -> CityMap:
    """Build a map from an extract and write it; see the command.

    Raises:
        InputError: an argument is not accepted, or what it needs is not installed.
        OSRMError: the server fails.
    """
    refuse_taken(output)
    require_seed(seed)
    if address is not None and roads != "osrm":
        raise InputError(f"osrm is {address} with roads {roads}; accepted: only with roads osrm")
    area = None if box is None else _box(box)
    network = _read(extract)
    source = {"file": extract.name, "sha256": hashlib.sha256(extract.read_bytes()).hexdigest()}
    name = name or output.name
    with _roads(roads, network, address, extract) as found, _bar(progress) as bar:
        city = build_city(
            name, network, found, num_points, seed, source, box=area, progress=_told(bar, name)
        )
    city.save(output)
    return city


def _read(extract: Path) -> StreetNetwork:
    if util.find_spec("osmium") is None:
        raise InputError(
            "reading OpenStreetMap files needs the package osmium; install nco-routing[roads]"
        )
    from nco.data.osm_reader import read_osm

    return read_osm(extract)


def _box(text: str) -> Box:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
        if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise ValueError
    except ValueError as error:
        raise InputError(
            f"box is {text!r}; accepted: west,south,east,north in degrees, west before east and "
            "south before north"
        ) from error
    return west, south, east, north


@contextlib.contextmanager
def _roads(
    kind: Roads, network: StreetNetwork, address: str | None, extract: Path | None
) -> Iterator[RoadSource]:
    """What computes tables, a server of our own included as long as it is needed.

    Without an extract one is written from the network.
    """
    if kind == "scipy":
        yield StreetRouter(network)
    elif address is not None:
        with OSRM(address) as client:
            yield client
    else:
        tools = find_tools()
        with contextlib.ExitStack() as stack:
            cache = None
            if extract is None:
                cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                extract = cache / "city.osm"
                write_osm(network, extract)
            prepared = prepare(extract, tools=tools, cache=cache)
            server = stack.enter_context(running(prepared, tools=tools))
            yield stack.enter_context(server.client())


def synthetic(
    output: Path,
    kind: Literal["grid", "radial", "organic", "mixed", "all"],
    count: int,
    num_points: int,
    seed: int,
    roads: Roads,
    validation_share: float,
    test_share: float,
    progress: bool,
) -> list[CityMap]:
    """Make up cities and write their collection; see the command.

    Raises:
        InputError: an argument is not accepted.
        OSRMError: the server fails.
    """
    refuse_taken(output)
    require_seed(seed)
    if count < 3:
        raise InputError(f"count is {count}; accepted: at least 3, one for each part")
    patterns: tuple[Pattern, ...] = get_args(Pattern) if kind == "all" else (kind,)
    names = [f"{patterns[i % len(patterns)]}-{seed}-{i:03}" for i in range(count)]
    split_cities = split_by_name(names, validation=validation_share, test=test_share)
    cities = []
    with new_folder(output) as draft, _bar(progress) as bar:
        total = bar.add_task("cities", total=count)
        for i, name in enumerate(names):
            generator = np.random.default_rng((seed, i))
            plan = draw_plan(patterns[i % len(patterns)], generator)
            network = synthetic_network(plan, generator)
            source = {"generator": "nco synthetic city", "plan": asdict(plan), "seed": [seed, i]}
            with _roads(roads, network, None, None) as found:
                city = build_city(name, network, found, num_points, seed, source)
            city.save(draft / name)
            cities.append(city)
            bar.advance(total)
        write_split(draft, split_cities)
    return cities


def split(folder: Path, validation_share: float, test_share: float) -> dict[Part, list[str]]:
    """Write the parts of a folder of maps, and return them.

    Raises:
        InputError: there are fewer than three maps, a share is not accepted, or there are parts
            already.
    """
    if (folder / SPLIT).exists():
        raise InputError(
            f"{folder / SPLIT} is there already; accepted: a folder without, so that no city "
            "changes its side unseen"
        )
    names = sorted(path.parent.name for path in folder.glob(f"*/{CITY}"))
    parts = split_by_name(names, validation=validation_share, test=test_share)
    write_split(folder, parts)
    return parts


def facts(city: CityMap) -> dict[str, str]:
    """What a map holds, in words."""
    n = len(city.points)
    off = ~np.eye(n, dtype=bool)
    width, height = np.ptp(city.coords, axis=0) / 1000
    seconds, metres = city.duration[off].astype(float), city.distance[off].astype(float)
    air = np.linalg.norm(city.coords[:, None] - city.coords[None], axis=2)[off]
    return {
        "points": str(n),
        "box, km": f"{width:.1f} x {height:.1f}",
        "mean way, km": f"{metres.mean() / 1000:.2f}",
        "min": f"{seconds.mean() / 60:.1f}",
        "detour": f"{metres.sum() / air.sum():.2f}",
        "asymmetry": f"{_asymmetry(city.duration):.3f}",
    }


def origin(city: CityMap) -> dict[str, str]:
    """Where a map comes from, in words."""
    roads: Mapping[str, Any] = city.provenance.get("roads", {})
    source: Mapping[str, Any] = city.provenance.get("source", {})
    points: Mapping[str, Any] = city.provenance.get("points", {})
    return {
        "roads": " ".join(str(roads[key]) for key in ("version", "algorithm") if roads.get(key)),
        "source": str(source.get("file") or source.get("generator") or "unknown"),
        "created": str(roads.get("created", "unknown")),
    } | {f"points {name.replace('_', ' ')}": str(value) for name, value in points.items()}


def _asymmetry(matrix: np.ndarray) -> float:
    """The mean difference of both directions, as a share of the longer one."""
    both = np.maximum(matrix, matrix.T)
    return float((np.abs(matrix - matrix.T)[both > 0] / both[both > 0]).mean())


def print_facts(cities: Sequence[CityMap]) -> None:
    """One city with where it comes from; several in a row each.

    The detour is the sum of all ways over that of the straight lines.
    """
    console = Console(markup=False, highlight=False)
    if len(cities) == 1:
        table = Table("city", cities[0].name)
        for name, value in (facts(cities[0]) | origin(cities[0])).items():
            table.add_row(name, value)
    else:
        told = [facts(city) for city in cities]
        table = Table("city", *told[0])
        for city, found in zip(cities, told, strict=True):
            table.add_row(city.name, *found.values())
    console.print(table)


def _bar(shown: bool) -> Bar:
    return Bar(console=Console(stderr=True), disable=not shown, transient=True)


def _told(bar: Bar, name: str) -> Progress:
    task = bar.add_task(name, total=None)

    def advance(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    return advance
