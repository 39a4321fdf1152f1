"""Where OSRM's executables and profiles are on this machine. Nothing is fetched here."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import final

from nco.data.errors import InputError
from nco.data.osrm_errors import ToolFailed, ToolsMissing

VARIABLE = "NCO_OSRM"
"""Of the environment: the folder of the executables, samples and prepared maps."""

RELEASE = "26.10.0"
"""Of the package osrm-bindings that the set-up fetches; a folder of this name holds it."""

EXECUTABLES = ("osrm-extract", "osrm-partition", "osrm-customize", "osrm-contract", "osrm-routed")

_PROFILES = ("share/profiles", "share/osrm/profiles")
"""Where the package, and an installation from source, keep them."""

_LAST_LINES = 5


@final
@dataclass(frozen=True)
class OSRMTools:
    """One installation of OSRM."""

    bin: Path
    profiles: Path
    version: str
    """As it tells, without the v."""

    def profile(self, name: str) -> Path:
        """The file of a shipped profile (car, bicycle, foot), or of one's own by its path.

        Raises:
            InputError: there is no such profile.
        """
        path = Path(name) if name.endswith(".lua") else self.profiles / f"{name}.lua"
        if not path.is_file():
            raise InputError(
                f"profile {name!r}: {path} does not exist; accepted: car, bicycle, foot, or the "
                "path of a .lua file"
            )
        return path.resolve()

    def run(self, tool: str, *arguments: str | Path, about: Path, folder: Path) -> None:
        """Run a tool in a folder, to its end.

        Raises:
            ToolFailed: it fails; the message names the file ``about`` that it worked on.
        """
        done = subprocess.run(
            [self.bin / tool, *arguments],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ToolFailed(
                f"{tool} failed on {about} with exit status {done.returncode}: "
                f"{last_words(done.stdout)}"
            )


def last_words(output: str) -> str:
    """The end of a tool's output in one line, its complaints if it has made any."""
    lines = [re.sub(r"^\[[^]]*T[^]]*\] ", "", line) for line in output.splitlines() if line.strip()]
    complaints = [line for line in lines if not line.startswith("[info]")]
    return " / ".join((complaints or lines)[-_LAST_LINES:]) or "no output"


def osrm_folder() -> Path:
    """The folder for what is fetched and prepared: NCO_OSRM, or one in the user's cache."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "nco" / "osrm"


def find_tools(folder: Path | None = None) -> OSRMTools:
    """The executables: in ``folder``, in NCO_OSRM, in an installed osrm-bindings, in the cache.

    A folder that is named, as an argument or by the variable, is the only one to be looked at.

    Raises:
        ToolsMissing: they are in none of these places, or do not run on this machine.
    """
    if folder is None and VARIABLE in os.environ:
        folder = osrm_folder()
    places = [osrm_folder() / RELEASE] if folder is None else [folder, folder / RELEASE]
    package = util.find_spec("osrm") if folder is None else None
    if package is not None and package.submodule_search_locations:
        places = [*map(Path, package.submodule_search_locations), *places]
    for place in places:
        profiles = [place / name for name in _PROFILES if (place / name).is_dir()]
        if profiles and all((place / "bin" / name).is_file() for name in EXECUTABLES):
            return OSRMTools(place / "bin", profiles[0], _version(place / "bin" / EXECUTABLES[-1]))
    raise ToolsMissing(
        f"OSRM's executables are not in {' or '.join(map(str, places))}; accepted: a folder with "
        f"bin/ and share/profiles/, named by {VARIABLE}; `nco data osrm setup` makes one"
    )


def _version(routed: Path) -> str:
    try:
        done = subprocess.run(
            [routed, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolsMissing(f"{routed} does not run: {error}; accepted: an executable") from error
    found = re.match(r"v?(\d[\w.+-]*)", done.stdout.strip())
    if done.returncode != 0 or found is None:
        told = last_words(done.stdout + done.stderr)
        raise ToolsMissing(f"{routed} does not tell its version: {told}; accepted: OSRM 5 or later")
    return found[1]
