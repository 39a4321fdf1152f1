"""An OSRM server for tests: real HTTP on the loopback, made-up streets, and faults on demand.

It takes requests apart with code of its own, so that the client's way of writing them is tested.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

Point = tuple[int, int]
"""Millionths of a degree of longitude and latitude."""

DROP = 0
"""In place of an HTTP status: hang up without an answer."""


@dataclass(frozen=True)
class Asked:
    """A request as the server has understood it."""

    method: str
    prefix: str
    """Of the path, before the service."""
    service: str
    profile: str
    length: int
    """Of the path."""
    points: list[Point]
    options: dict[str, list[str]]
    """The values of each option as text."""

    @property
    def sources(self) -> list[int]:
        return [int(i) for i in self.options.get("sources", range(len(self.points)))]

    @property
    def destinations(self) -> list[int]:
        return [int(i) for i in self.options.get("destinations", range(len(self.points)))]

    @property
    def cells(self) -> int:
        return len(self.sources) * len(self.destinations)


Fault = Callable[[Asked], tuple[int, object] | None]
"""Status and body (text as it is, else JSON) in place of the answer; None answers."""


def refusal(code: str, message: str = "", status: int = 400) -> Fault:
    """OSRM's way to refuse."""
    return lambda asked: (status, {"code": code, "message": message})


def snap(point: Point) -> Point:
    """Streets pass through every hundredth of a thousandth of a degree."""
    return round(point[0], -1), round(point[1], -1)


def duration(a: Point, b: Point) -> float:
    """Seconds; eastwards is slower than westwards."""
    east, north = b[0] - a[0], b[1] - a[1]
    return round((abs(east) + max(east, 0) + 3 * abs(north)) / 1000, 1)


def distance(a: Point, b: Point) -> float:
    """Metres; southwards is longer than northwards."""
    east, north = b[0] - a[0], b[1] - a[1]
    return round((abs(east) + abs(north) + max(-north, 0)) / 10, 1)


@dataclass
class FakeOSRM:
    """What was asked, and what shall happen."""

    address: str
    once: list[Fault] = field(default_factory=list)
    """One for each of the next requests."""
    always: list[Fault] = field(default_factory=list)
    """The first that gives something is the answer."""
    change: Callable[[Asked, dict[str, Any]], object] = lambda asked, answer: None
    """What is changed in every answer."""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def answer(self, asked: Asked) -> tuple[int, object]:
        self.asked.append(asked)
        faults = [self.once.pop(0)] if self.once else self.always
        for fault in faults:
            given = fault(asked)
            if given is not None:
                return given
        answer = {
            "code": "Ok",
            **{"table": table, "nearest": nearest, "route": route}[asked.service](asked),
        }
        self.change(asked, answer)
        return 200, answer


def waypoint(point: Point) -> dict[str, Any]:
    place = snap(point)
    off = abs(place[0] - point[0]) + abs(place[1] - point[1])
    return {"location": [place[0] / 1e6, place[1] / 1e6], "distance": off / 10, "name": "street"}


def table(asked: Asked) -> dict[str, Any]:
    rows = [snap(asked.points[i]) for i in asked.sources]
    columns = [snap(asked.points[i]) for i in asked.destinations]
    return {
        "durations": [[duration(a, b) for b in columns] for a in rows],
        "distances": [[distance(a, b) for b in columns] for a in rows],
        "sources": [waypoint(asked.points[i]) for i in asked.sources],
        "destinations": [waypoint(asked.points[i]) for i in asked.destinations],
    }


def nearest(asked: Asked) -> dict[str, Any]:
    return {"data_version": "2024-05-06", "waypoints": [waypoint(asked.points[0])]}


def route(asked: Asked) -> dict[str, Any]:
    places = [snap(point) for point in asked.points]
    return {"routes": [{"legs": [leg(a, b) for a, b in itertools.pairwise(places)]}]}


def leg(a: Point, b: Point) -> dict[str, Any]:
    """First along the parallel, then along the meridian, then the step of arriving."""
    corner = b[0], a[1]
    steps = [[a, corner], [corner, b], [b, b]]
    line = [[[x / 1e6, y / 1e6] for x, y in step] for step in steps]
    return {
        "distance": distance(a, b),
        "duration": duration(a, b),
        "steps": [{"geometry": {"type": "LineString", "coordinates": c}} for c in line],
    }


def decode_polyline6(text: str) -> list[Point]:
    """Longitude and latitude from Google's format: base 64 in groups of five bits, zigzag."""
    numbers, bits, shift = [], 0, 0
    for letter in text:
        bits |= ((ord(letter) - 63) & 31) << shift
        shift += 5
        if ord(letter) - 63 < 32:
            numbers.append(bits // 2 if bits % 2 == 0 else -(bits + 1) // 2)
            bits, shift = 0, 0
    latitudes = itertools.accumulate(numbers[0::2])
    longitudes = itertools.accumulate(numbers[1::2])
    return list(zip(longitudes, latitudes, strict=True))


def parse(method: str, target: str, body: bytes) -> Asked:
    path, _, query = target.partition("?")
    before, _, after = path.partition("/v1/")
    prefix, _, service = before.rpartition("/")
    profile, _, coded = after.partition("/")
    if method == "POST":
        content = json.loads(body)
        points = [(round(x * 1e6), round(y * 1e6)) for x, y in content.pop("coordinates")]
        options = {
            k: [str(x) for x in (v if isinstance(v, list) else [v])] for k, v in content.items()
        }
    else:
        coded = unquote(coded)
        assert coded.startswith("polyline6(")
        assert coded.endswith(")")
        points = decode_polyline6(coded[10:-1])
        separators = {"annotations": ","}
        options = {k: v.split(separators.get(k, ";")) for k, [v] in parse_qs(query).items()}
    return Asked(method, prefix, service, unquote(profile), len(target), points, options)


@contextlib.contextmanager
def fake_osrm() -> Iterator[FakeOSRM]:
    """The server in a thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # head and body in one packet: two would wait for the client's delayed acknowledgement
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            fake.connections += 1

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = fake.answer(parse(self.command, self.path, body))
            if status == DROP:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            raw = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(raw)

        do_POST = do_GET

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        fake = FakeOSRM(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def slow(seconds: float) -> Fault:
    """Answers, but late."""

    def wait(asked: Asked) -> None:
        time.sleep(seconds)

    return wait
