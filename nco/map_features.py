"""Routes of stops on the globe as GeoJSON (RFC 7946), with their timetable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nco.data.solution import Solution
from nco.data.stop_files import Stop, places_of
from nco.data.street_ways import Streets
from nco.envs.checker import Visit, check_routes, timetable


def solution_features(
    solution: Solution, stops: Sequence[Stop], streets: Streets
) -> dict[str, Any]:
    """One LineString for each route and one Point for each visit, as a FeatureCollection.

    Lines go along the streets from the depot to the depot, or to the last stop of an open route.
    The points of a route are its depot (sequence 0) and its stops; where the vehicle comes back,
    the route tells in ``end``. Metres, seconds, and the stops' own unit of demand.

    Args:
        stops: in the order of the instance's nodes.
    """
    places = places_of(list(stops))
    features = []
    for number, visits in enumerate(timetable(solution.instance, solution), start=1):
        nodes = [visit.node for visit in visits]
        line = _joined(streets.lines(places[nodes]))
        route = {
            "route": number,
            "depot": stops[nodes[0]].name,
            "num_stops": sum(not stops[node].is_depot for node in nodes),
            "distance": _length(solution, number - 1),
            "start": visits[0].departure,
            "end": visits[-1].departure,
            "load": visits[0].load,
        }
        features.append(_feature("LineString", line, route))
        for sequence, visit in enumerate(visits):
            if sequence == 0 or not stops[visit.node].is_depot:
                features.append(_point(number, sequence, visit, stops[visit.node]))
    return {"type": "FeatureCollection", "credit": streets.credit, "features": features}


def _joined(lines: Sequence[np.ndarray]) -> list[list[float]]:
    """One line of several, each place once where one ends and the next begins."""
    places = np.concatenate(lines)
    fresh = np.append(True, (np.diff(places, axis=0) != 0).any(1))
    kept = places[fresh] if fresh.sum() > 1 else places[[0, -1]]
    return kept.tolist()


def _length(solution: Solution, index: int) -> float:
    """Of one route, by the checker."""
    alone = check_routes(solution.instance, [solution.routes[index]], [solution.depots[index]])
    return alone.cost


def _point(number: int, sequence: int, visit: Visit, stop: Stop) -> dict[str, Any]:
    told = {
        "route": number,
        "sequence": sequence,
        "node": visit.node,
        "name": stop.name,
        "kind": "depot" if stop.is_depot else "stop",
        "demand": stop.demand,
        "arrival": visit.arrival,
        "waiting": visit.start - visit.arrival,
        "service_start": visit.start,
        "departure": visit.departure,
        "load": visit.load,
    }
    return _feature("Point", list(stop.place), told)


def _feature(kind: str, coordinates: list[Any], told: dict[str, Any]) -> dict[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": told}
