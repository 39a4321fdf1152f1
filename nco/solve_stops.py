"""``nco solve`` for stops on the globe: from a file of stops to jobs whose solutions are maps."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

from nco import solve_files
from nco.cli_files import output_paths
from nco.data.city_map import CityMap
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.osrm_client import OSRM
from nco.data.solution import Solution
from nco.data.stop_files import Stop, read_stops
from nco.data.street_ways import (
    MappedStreets,
    ServedStreets,
    Streets,
    closed_tour,
    stops_instance,
)
from nco.data.text_file import write_text
from nco.envs.checker import evaluate
from nco.map_features import solution_features
from nco.map_page import page

RADIUS = 500.0
"""Metres within which a stop must have a street, where nothing else is said."""

SUFFIXES = (".csv", ".geojson")
"""Of files that can only be of stops; with streets, stops may be in files of any name."""

TOUR_HINT = (
    "; stops without demand and hours are one closed tour (atsp), with --vehicles K up to K routes"
)


@final
@dataclass(frozen=True)
class StopOptions:
    """What ``nco solve`` is told about stops; None where it is told nothing."""

    osrm: str | None
    city: Path | None
    capacity: float | None
    vehicles: int | None
    radius: float | None
    geojson: Path | None
    map: Path | None

    def wanted_for(self, files: Sequence[Path]) -> bool:
        """Whether the files hold stops.

        Raises:
            InputError: both sources of streets are given, or none but an option or a file that
                needs one.
        """
        if self.osrm is not None and self.city is not None:
            raise InputError("--osrm and --city are given; accepted: one of them")
        if self.osrm is not None or self.city is not None:
            return True
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                raise InputError(
                    f"--{field.name} is given without streets; accepted: --osrm ADDRESS or --city "
                    "FOLDER with it"
                )
        for path in files:
            if path.suffix.lower() in SUFFIXES:
                raise InputError(
                    f"{path} holds stops and no streets are given; accepted: --osrm ADDRESS or "
                    "--city FOLDER with it"
                )
        return False


@final
@dataclass(frozen=True)
class MapWriter:
    """Writes a solution of stops as GeoJSON and as a page."""

    name: str
    stops: Sequence[Stop]
    instance: Instance
    """Of the stops, with a depot also where a TSP of them is solved."""
    streets: Streets
    geojson: Path | None
    page: Path | None

    def __call__(self, solution: Solution) -> None:
        """Write what is asked for.

        Raises:
            InputError: a file cannot be written.
            OSRMError: the server fails on the routes' lines.
        """
        # routes through nodes that do not exist have no place on a map; the checker tells of them
        if (self.geojson is None and self.page is None) or math.isinf(solution.cost):
            return
        if int(solution.instance.num_depots[0]) == 0:
            solution = self._from_the_depot(solution)
        features = solution_features(solution, self.stops, self.streets)
        if self.geojson is not None:
            write_text(self.geojson, json.dumps(features, allow_nan=False) + "\n")
        if self.page is not None:
            write_text(self.page, page(self.name, solution, features))

    def _from_the_depot(self, tour: Solution) -> Solution:
        """The route that a closed tour is, seen from its first stop."""
        (nodes,) = tour.routes
        first = nodes.index(0) if 0 in nodes else 0
        route = [node for node in nodes[first:] + nodes[:first] if node != 0]
        return evaluate(self.instance, [route], solver=tour.solver, seconds=tour.seconds)


@contextmanager
def plan(
    files: Sequence[Path],
    options: StopOptions,
    *,
    rounding: str | None = None,
    references: Sequence[Path] = (),
    output: Path | None = None,
    plot: Path | None = None,
) -> Iterator[list[solve_files.Job]]:
    """Jobs of files of stops; the connection to a server is open meanwhile.

    Stops of which nothing is asked but a visit are a TSP from the first of them and back.

    Raises:
        InputError: a file, a stop or an option is not accepted; nothing is solved yet.
        OSRMError: the server fails.
    """
    if output is not None and output.suffix.lower() == ".geojson":
        raise InputError(f"output {output} of stops; accepted: --geojson {output}")
    if rounding is not None:
        raise InputError(f"rounding {rounding} of stops; accepted: none, streets have lengths")
    names = [path.stem for path in files]
    lines = _paths(options.geojson, names, ".geojson", ".json")
    pages = _paths(options.map, names, ".html")
    read = [read_stops(path) for path in files]
    with _streets(options) as streets:
        routed = [
            stops_instance(
                stops,
                streets,
                capacity=options.capacity,
                num_vehicles=options.vehicles,
                radius=RADIUS if options.radius is None else options.radius,
            )
            for stops in read
        ]
        # who names a number of vehicles wants to know what so many can do
        tours = [closed_tour(one) if options.vehicles in (None, 1) else None for one in routed]
        named = [
            (name, routes if tour is None else tour)
            for name, routes, tour in zip(names, routed, tours, strict=True)
        ]
        jobs = solve_files.jobs_of(named, references=references, output=output, plot=plot)
        yield [
            dataclasses.replace(
                job,
                hint="" if tours[i] is None else TOUR_HINT,
                write_map=MapWriter(job.name, read[i], routed[i], streets, lines[i], pages[i]),
            )
            for i, job in enumerate(jobs)
        ]


def _paths(pattern: Path | None, names: Sequence[str], *suffixes: str) -> Sequence[Path | None]:
    return [None] * len(names) if pattern is None else output_paths(pattern, names, suffixes)


@contextmanager
def _streets(options: StopOptions) -> Iterator[Streets]:
    if options.osrm is None:
        assert options.city is not None
        yield MappedStreets(CityMap.load(options.city))
        return
    with OSRM(options.osrm) as server:
        yield ServedStreets(server)
