"""A local OSRM server: a map prepared from an OpenStreetMap extract, and what serves it.

with running(prepare(Path("town.osm.pbf"))) as server, server.client() as osrm:
    table = osrm.table(points)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal, final

from nco.data.clock import utc_now
from nco.data.errors import InputError
from nco.data.extracts import extract_suffix
from nco.data.osrm_client import OSRM
from nco.data.osrm_errors import BadAnswer, OSRMError, Refused, ToolFailed
from nco.data.osrm_http import Connection
from nco.data.osrm_tools import OSRMTools, find_tools, last_words, osrm_folder

Algorithm = Literal["ch", "mld"]
"""Contraction hierarchies: large tables fast. Multi-level Dijkstra: large maps prepared fast."""

_STEPS = {"ch": ("osrm-contract",), "mld": ("osrm-partition", "osrm-customize")}
_CARD = "prepared.json"
"""Written last: a folder that has it is complete."""
_NAME = "map"


@final
@dataclass(frozen=True)
class PreparedMap:
    """A map that can be served, in a folder of its own."""

    folder: Path
    extract: str
    """Name of the file."""
    sha256: str
    """Of the extract."""
    profile: str
    algorithm: Algorithm
    version: str
    """Of OSRM."""
    created: str
    """UTC, ISO 8601."""
    seconds: dict[str, float]
    """Of each tool, by its name."""


def prepare(
    extract: Path,
    *,
    profile: str = "car",
    algorithm: Algorithm = "ch",
    tools: OSRMTools | None = None,
    cache: Path | None = None,
    threads: int = 1,
) -> PreparedMap:
    """Prepare an extract, once: what was prepared before is taken from the cache.

    Args:
        extract: a file ``.osm.pbf``, ``.osm.bz2`` or ``.osm``.
        profile: car, bicycle, foot, or the path of a ``.lua`` file.
        algorithm: see `Algorithm`.
        tools: the executables; by default those that `find_tools` finds.
        cache: folder; by default ``prepared`` in `osrm_folder`. A map's name in it is made of the
            contents of extract and profile, the algorithm and OSRM's version.
        threads: for the tools.

    Raises:
        InputError: the extract or the profile is not there or not accepted, or a tool fails.
    """
    suffix = extract_suffix(extract)
    tools = tools or find_tools()
    lua, sha256 = tools.profile(profile), _sha256(extract)
    key = f"{sha256[:16]}-{lua.stem}-{_sha256(lua)[:8]}-{algorithm}-{tools.version}"
    folder = (cache or osrm_folder() / "prepared").absolute() / key
    if (folder / _CARD).is_file():
        return _read_card(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder.parent} cannot be made: {error.strerror}") from error
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{key}.") as name:
        draft = Path(name) / key
        draft.mkdir()
        link = draft / f"{_NAME}{suffix}"
        link.symlink_to(extract.resolve())
        steps = [("osrm-extract", ["-p", lua, "-d", "osmosis", link.name])]
        steps += [(tool, [f"{_NAME}.osrm"]) for tool in _STEPS[algorithm]]
        seconds = {}
        for tool, arguments in steps:
            start = time.perf_counter()
            tools.run(tool, *arguments, "-t", str(threads), about=extract, folder=draft)
            seconds[tool] = round(time.perf_counter() - start, 3)
        link.unlink()
        made = PreparedMap(
            folder, extract.name, sha256, profile, algorithm, tools.version, utc_now(), seconds
        )
        card = asdict(made)
        del card["folder"]
        (draft / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        # another process may have been faster: then its map, which is the same, stays
        with contextlib.suppress(OSError):
            os.rename(draft, folder)
    return _read_card(folder)


@final
@dataclass(frozen=True)
class RunningServer:
    """A server of this machine, as long as `running` has not ended."""

    address: str
    prepared: PreparedMap
    max_cells: int
    """Of one request for a table."""
    data_version: str | None
    """Date of the map's data, where the extract has one."""

    def client(self, *, radius: float | None = None, timeout: float = 60.0) -> OSRM:
        """A client that knows what the server can do and what it is."""
        return OSRM(
            self.address,
            profile=self.prepared.profile,
            timeout=timeout,
            radius=radius,
            max_cells=self.max_cells,
            version=self.prepared.version,
            algorithm=self.prepared.algorithm,
            data_version=self.data_version,
        )


@contextlib.contextmanager
def running(
    prepared: PreparedMap,
    *,
    tools: OSRMTools | None = None,
    port: int = 0,
    max_table_size: int = 1000,
    threads: int = 1,
    patience: float = 60.0,
) -> Iterator[RunningServer]:
    """Serve a map on this machine only; the server is ended with the ``with``, whatever happens.

    Args:
        prepared: by `prepare`.
        tools: the executables; by default those that `find_tools` finds.
        port: 0 takes a free one.
        max_table_size: the square root of the largest number of cells of one request.
        threads: of the server.
        patience: seconds that it may take until it answers.

    Raises:
        InputError: the port is taken or a value is not accepted.
        ToolFailed: the server ends, or does not answer in time.
    """
    if max_table_size < 2 or threads < 1:
        raise InputError(
            f"max_table_size {max_table_size} and {threads} threads are not accepted; accepted: at "
            "least 2, at least 1"
        )
    tools = tools or find_tools()
    with _reserved(port) as number, tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(
            [
                tools.bin / "osrm-routed", "-i", "127.0.0.1", "-p", str(number),
                "-a", prepared.algorithm.upper(), "-t", str(threads),
                "--max-table-size", str(max_table_size), prepared.folder / f"{_NAME}.osrm",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=os.environ | {"DISABLE_ACCESS_LOGGING": "1"},
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{number}"
            told = _wait(process, address, log, patience)
            yield RunningServer(address, prepared, max_table_size**2, told)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(
    process: subprocess.Popen[bytes], address: str, log: IO[str], patience: float
) -> str | None:
    """Until the server answers; the date of its data."""
    connection = Connection(address, timeout=patience, retries=0, backoff=0.0)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            log.seek(0)
            raise ToolFailed(
                f"osrm-routed ended with exit status {process.returncode}: {last_words(log.read())}"
            )
        try:
            answer = connection.get("nearest/v1/driving/0,0")
        except (Refused, BadAnswer) as error:
            raise ToolFailed(f"osrm-routed does not work: {error}") from error
        except OSRMError:
            time.sleep(0.02)
        else:
            return answer.get("data_version") or None
        finally:
            connection.close()
    raise ToolFailed(f"osrm-routed did not answer within {patience:g} s")


@contextlib.contextmanager
def _reserved(port: int) -> Iterator[int]:
    """Hold a port while a server uses it.

    osrm-routed shares its port with any other process of the user that asks for the same, and the
    two then answer in turns. A bound socket that does not listen keeps the port from being given
    out as a free one, and tells a port that is taken.
    """
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder,
    ):
        # the sharing kind of socket would not notice a server; this one does, and forgives a port
        # that one has just left
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            if port != 0:
                probe.bind(("127.0.0.1", port))
                probe.close()
            holder.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise InputError(
                f"port {port} cannot be used ({error}); accepted: a free port, or 0 for any"
            ) from error
        yield holder.getsockname()[1]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; accepted: a file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _read_card(folder: Path) -> PreparedMap:
    return PreparedMap(folder=folder, **json.loads((folder / _CARD).read_text(encoding="utf-8")))
