"""The whole way from an OpenStreetMap extract to routes on a map, stage by stage, with a clock.

What a user does by commands is done by commands: training, solving, writing and verifying.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from nco import cli
from nco.data.city_build import build_city
from nco.data.city_collection import CityCollection
from nco.data.city_map import CityMap
from nco.data.generators import generate
from nco.data.instance import Instance
from nco.data.json_format import read_json_solutions
from nco.data.osm_reader import read_osm
from nco.data.osrm_answers import RouteLeg
from nco.data.osrm_client import OSRM
from nco.data.osrm_server import prepare, running
from nco.data.osrm_tools import OSRMTools
from nco.data.street_network import StreetNetwork
from tests.draws import seeded

POINTS = 80
CUSTOMERS = 15
PROBLEMS = ("atsp", "acvrp", "acvrptw")

MODEL = """\
name: chain-{problem}
problem: {problem}
data: {{num_customers: 12, cities: {cities}}}
policy:
  {{type: rrnco, dim: 32, num_heads: 4, num_layers: 2, hidden: 64, channels: 4, num_neighbours: 8}}
algorithm: {{type: pomo}}
training: {{epochs: 1, batches_per_epoch: {batches}, batch_size: 8, accelerator: cpu}}
validation: {{num_instances: 4}}
output: {output}
"""


@dataclass(frozen=True)
class Solved:
    """An instance that was drawn from the map, and what ``nco solve`` has written about it."""

    problem: str
    solver: str
    """Its name, or "model"."""
    drawn: Instance
    places: Float[np.ndarray, "node 2"]
    """Longitude and latitude of its nodes."""
    routes: list[list[int]]
    """As stored; a tour has all nodes, from any of them."""
    from_depot: list[list[int]]
    """The same without the depot, which for a tour is node 0."""
    cost: float
    """As stored."""
    features: list[dict[str, Any]]
    """Of the GeoJSON file."""
    page: str
    asked_again: list[list[RouteLeg]]
    """Of each route, from the server by its route service."""


@dataclass
class Chain:
    """What has come of it."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage, in order; stages that come again are added up."""
    solved: list[Solved] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Take the time."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run_chain(
    extract: Path, folder: Path, tools: OSRMTools, *, batches: int = 2
) -> tuple[Chain, StreetNetwork]:
    """From the extract to everything that a user gets, in an empty folder.

    Args:
        batches: of the models' training, 8 instances each.
    """
    chain = Chain()
    with chain.stage("prepare the extract (OSRM)"):
        prepared = prepare(extract, cache=folder / "prepared", tools=tools)
    with contextlib.ExitStack() as stack:
        with chain.stage("start the server"):
            server = stack.enter_context(running(prepared, tools=tools))
        client = stack.enter_context(server.client())
        with chain.stage("read the streets"):
            network = read_osm(extract)
        with chain.stage("city map, with its matrices"):
            source = {"file": extract.name}
            city = build_city("city", network, client, POINTS, 0, source)
            city.save(folder / "city")
        for problem in PROBLEMS:
            _solve(chain, problem, city, client, folder, batches)
    return chain, network


def _solve(
    chain: Chain, problem: str, city: CityMap, client: OSRM, folder: Path, batches: int
) -> None:
    with chain.stage("draw instances"):
        cities = CityCollection.load(folder / "city")
        drawn = generate(
            problem, num_customers=CUSTOMERS, batch=1, generator=seeded(1), cities=cities
        )
        assert drawn.coords is not None
        # the drawing does not say which points it took; no two are in one place
        nodes = KDTree(city.coords).query(drawn.coords[0].numpy())[1]
        places = np.asarray(city.points)[nodes]
        stops = folder / f"{problem}.csv"
        stops.write_text(stops_csv(drawn, places), encoding="utf-8")
    with chain.stage("train models, a few steps"):
        config = folder / f"{problem}.yaml"
        told = {"problem": problem, "cities": folder / "city", "output": folder / "runs"}
        config.write_text(MODEL.format(**told, batches=batches), encoding="utf-8")
        run = Path(command("train", config).splitlines()[-1])
    capacity = float(drawn.capacity[0])
    given = [] if math.isinf(capacity) else ["--capacity", capacity]
    for solver, name, budget in (
        ("pyvrp", "pyvrp", ["--iterations", 100]),
        ("ortools", "ortools", ["--time-limit", 0.5]),
        ("model", run, ["--augment", 1]),
    ):
        files = {
            kind: folder / f"{problem}-{solver}.{kind}" for kind in ("json", "geojson", "html")
        }
        with chain.stage(f"nco solve, {solver}: tables, routes, GeoJSON, page"):
            command(
                "solve", stops, "--osrm", client.address, *given, "--solver", name, *budget,
                "-o", files["json"], "--geojson", files["geojson"], "--map", files["html"],
            )  # fmt: skip
        with chain.stage("nco verify"):
            command("verify", files["json"])
        (stored,) = read_json_solutions(files["json"])
        assert stored.cost is not None
        with chain.stage("ask for every route again"):
            from_depot = [route[route.index(0) + 1 :] + route[: route.index(0)] if 0 in route
                          else route for route in stored.routes]  # fmt: skip
            legs = [client.route(places[[0, *route, 0]]) for route in from_depot]
        chain.solved.append(
            Solved(
                problem=problem,
                solver=solver,
                drawn=drawn,
                places=places,
                routes=stored.routes,
                from_depot=from_depot,
                cost=stored.cost,
                features=json.loads(files["geojson"].read_text())["features"],
                page=files["html"].read_text(),
                asked_again=legs,
            )
        )


def stops_csv(instance: Instance, places: Float[np.ndarray, "node 2"]) -> str:
    """A file of stops that says the same as an instance from a map, but for the capacity."""
    lines = ["name,lon,lat,demand,tw_start,tw_end,service"]
    for i, (lon, lat) in enumerate(places.tolist()):
        early, late = instance.time_window[0, i].tolist()
        told = instance.linehaul[0, i].item(), early, late, instance.service_time[0, i].item()
        numbers = ("" if math.isinf(value) else repr(value) for value in told)
        lines.append(",".join((f"P{i}", repr(lon), repr(lat), *numbers)))
    return "\n".join(lines) + "\n"


def command(*arguments: object) -> str:
    """What ``nco`` prints; it must succeed.

    Raises:
        RuntimeError: it exits with another code than 0.
    """
    code, out, err = None, io.StringIO(), io.StringIO()
    quiet = ["--quiet"] if arguments[0] in ("train", "solve") else []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main([*map(str, arguments), *quiet])
        except SystemExit as end:
            code = end.code
    if code:
        raise RuntimeError(
            f"nco {' '.join(map(str, arguments))} exits with {code}: {err.getvalue()}"
        )
    return out.getvalue()
