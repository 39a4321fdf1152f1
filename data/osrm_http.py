"""One connection to an OSRM server: requests out, JSON or a typed error back.

http.client rather than a package: what has to be decided here (which failures are tried again,
which mean that a request is too long) no package decides, and keep-alive is all else that is
needed. Proxies are not used.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, final
from urllib.parse import urlsplit

from nco.data.errors import InputError
from nco.data.osrm_errors import (
    BadAnswer,
    NoConnection,
    NoRoute,
    NoSegment,
    OSRMError,
    Refused,
    ServerFailure,
    TimedOut,
    TooBig,
)

ACCEPTED = "an address such as http://127.0.0.1:5000"

_TOO_LONG = (
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
)

_HINTS = {
    "InvalidOptions": "coordinates in degrees, indices of these, one radius for each",
    "InvalidService": "a server with this service",
    "InvalidUrl": "the address of osrm-routed, with no more than a path that leads to it",
    "InvalidVersion": "a server of OSRM 5 or later",
    "NotImplemented": "a server whose algorithm can do this; contraction hierarchies (CH) can",
    "NoTable": "points that the server can join to its streets",
}
"""What would be accepted where the server's own message does not say it."""


@final
class Dropped(OSRMError):
    """The server ended a fresh connection without an answer; the caller decides what it means."""


@final
class Connection:
    """Keeps one HTTP connection alive; not for several threads.

    Args:
        address: ``http://host:port`` or https, with a path where a proxy needs one.
        timeout: seconds that any one answer may take.
        retries: how often a request is repeated after a dropped connection or a 5xx answer.
        backoff: seconds before the first repetition; doubles each time.
    """

    def __init__(self, address: str, *, timeout: float, retries: int, backoff: float) -> None:
        if not (math.isfinite(timeout) and timeout > 0):
            raise InputError(f"timeout {timeout} is not accepted; accepted: seconds above 0")
        if retries < 0 or not (math.isfinite(backoff) and backoff >= 0):
            raise InputError(
                f"{retries} retries with a back-off of {backoff} are not accepted; accepted: "
                "whole number from 0, seconds from 0"
            )
        self.address, self._host, self._secure, self._path = _parse(address)
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, target: str) -> dict[str, Any]:
        """The JSON object that the server gives for ``target``, which begins with the service.

        Raises:
            OSRMError: one of its subclasses; `Dropped` where the server hangs up on us.
        """
        return self._insist("GET", target, None)

    def post(self, target: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """The same with a JSON object as the body."""
        return self._insist("POST", target, json.dumps(content, allow_nan=False).encode())

    def _insist(self, method: str, target: str, body: bytes | None) -> dict[str, Any]:
        attempt = 0
        while True:
            try:
                return self._ask(method, target, body)
            except (NoConnection, Dropped, ServerFailure) as error:
                # what is dropped twice is too long rather than unlucky, and shortened by the caller
                most = min(self._retries, 1) if isinstance(error, Dropped) else self._retries
                if attempt >= most:
                    raise
            time.sleep(self._backoff * 2**attempt)
            attempt += 1

    def _ask(self, method: str, target: str, body: bytes | None) -> dict[str, Any]:
        where = f"{self.address} /{target.partition('/')[0]}"
        status, raw = self._exchange(method, f"{self._path}/{target}", body, where)
        if status in _TOO_LONG:
            raise TooBig(f"{where}: HTTP {status}, the request is too long; accepted: fewer points")
        # 501 is no failure: the server does not take the method
        if status >= 500 and status != HTTPStatus.NOT_IMPLEMENTED:
            raise ServerFailure(f"{where}: HTTP {status}: {_shown(raw)}")
        answer = _decode(raw)
        if status >= 400 or (answer is not None and answer.get("code", "Ok") != "Ok"):
            raise _refusal(where, status, raw, answer)
        if status != 200 or answer is None or "code" not in answer:
            raise BadAnswer(f"{where}: HTTP {status} without OSRM's JSON: {_shown(raw)}")
        return answer

    def _exchange(
        self, method: str, path: str, body: bytes | None, where: str
    ) -> tuple[int, bytes]:
        """Status and body; a connection that was kept is replaced once where it has ended."""
        kept = self._connection is not None
        try:
            return self._send(method, path, body)
        except TimeoutError as error:
            self.close()
            raise TimedOut(
                f"{where}: no answer within {self._timeout:g} s; accepted: a longer timeout, or "
                "fewer cells in a request"
            ) from error
        # includes RemoteDisconnected; a broken pipe is a server that hung up while we sent
        except (
            ConnectionResetError,
            ConnectionAbortedError,
            BrokenPipeError,
            http.client.IncompleteRead,
        ) as error:
            self.close()
            # idle connections end after some seconds or requests: no sign of a fault
            if kept:
                return self._exchange(method, path, body, where)
            raise Dropped(f"{where}: the connection was dropped without an answer") from error
        except OSError as error:
            self.close()
            raise NoConnection(
                f"{where}: no connection ({error.strerror or error}); accepted: the address of a "
                "running server"
            ) from error
        except http.client.HTTPException as error:
            self.close()
            raise BadAnswer(f"{where}: not an HTTP answer ({error!r})") from error

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, timeout=self._timeout)
        headers = {"Accept": "application/json", "User-Agent": "nco-routing"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        answer = response.status, response.read()
        # a server that did not read a body would take it for the next request
        if body is not None and response.status != 200:
            self.close()
        return answer


def _parse(address: str) -> tuple[str, str, bool, str]:
    """Address without trailing slash, host with port, whether TLS, path."""
    full = address.strip()
    full = full if "://" in full else f"http://{full}"
    try:
        parts = urlsplit(full)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"OSRM address {address!r}: {error}; accepted: {ACCEPTED}") from error
    plain = not (parts.query or parts.fragment or parts.username or re.search(r"\s", full))
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise InputError(f"OSRM address {address!r} is not accepted; accepted: {ACCEPTED}")
    return full.rstrip("/"), parts.netloc, parts.scheme == "https", parts.path.rstrip("/")


def _decode(raw: bytes) -> dict[str, Any] | None:
    def no_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    try:
        answer = json.loads(raw, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(where: str, status: int, raw: bytes, answer: dict[str, Any] | None) -> OSRMError:
    if answer is None:
        return Refused(
            f"{where}: HTTP {status}: {_shown(raw)}; accepted: the address of an OSRM server",
            str(status),
        )
    code, message = str(answer.get("code", status)), str(answer.get("message", ""))
    told = f"{where}: {code}" + (f": {message}" if message else "")
    if code == "TooBig":
        return TooBig(f"{told}; accepted: fewer points, or a server with higher limits")
    if code == "NoSegment":
        index = re.search(r"coordinate (\d+)", message)
        return NoSegment(told, int(index[1]) if index else None)
    if code == "NoRoute":
        return NoRoute(f"{told}; accepted: points that streets join in this order")
    hint = _HINTS.get(code, "what the server's documentation allows")
    return Refused(f"{told}; accepted: {hint}", code)


def _shown(raw: bytes) -> str:
    """The beginning of an answer, in one line."""
    text = " ".join(raw[:200].decode("utf-8", "replace").split())
    return repr(text) if text else "an empty answer"
