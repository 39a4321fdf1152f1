"""Routes as GeoJSON, for maps.

Source: RFC 7946.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.data.text_file import write_text

NO_COORDS = "GeoJSON needs coords, and the instance has only a distance matrix"


def require_coords(instance: Instance, path: Path) -> None:
    """Raise `InputError` where the instance has no place on a map."""
    if instance.coords is None:
        raise InputError(f"{path}: {NO_COORDS}; accepted: .json")


def solution_to_geojson(solution: Solution) -> dict[str, Any]:
    """One LineString for each route and one Point for each node, as a FeatureCollection.

    Coordinates are written as the instance has them. RFC 7946 takes them for longitude and
    latitude, in this order; others are drawn somewhere else.

    Raises:
        InputError: the instance has no coordinates.
    """
    one = unbatch(solution.instance)[0]
    if one.coords is None:
        raise InputError(NO_COORDS)
    places = one.coords[0].tolist()
    num_depots, is_open = int(one.num_depots[0]), bool(one.open_route[0])
    features = []
    for number, (route, depot) in enumerate(
        zip(solution.routes, solution.depots, strict=True), start=1
    ):
        start = [depot] if depot >= 0 else route[:1]
        path = [*([depot] if depot >= 0 else []), *route, *([] if is_open else start)]
        line = {"type": "LineString", "coordinates": [places[node] for node in path]}
        told = {"route": number, "customers": route, "depot": depot if depot >= 0 else None}
        if solution.vehicles:
            told["vehicle"] = solution.vehicles[number - 1]
        # a LineString has at least two positions; a vehicle that stays at home has no geometry
        features.append(_feature(line if len(path) > 1 else None, told))
    for node, place in enumerate(places):
        told = {
            "node": node,
            "kind": "depot" if node < num_depots else "customer",
            "linehaul": one.linehaul[0, node].item(),
            "backhaul": one.backhaul[0, node].item(),
        }
        features.append(_feature({"type": "Point", "coordinates": place}, told))
    return {"type": "FeatureCollection", "features": features}


def write_geojson(solution: Solution, path: str | Path) -> None:
    """Write `solution_to_geojson` to a file.

    Raises:
        InputError: the instance has no coordinates, or the file cannot be written.
    """
    write_text(Path(path), json.dumps(solution_to_geojson(solution), allow_nan=False) + "\n")


def _feature(geometry: dict[str, Any] | None, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}
