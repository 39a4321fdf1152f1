"""Where a number comes from: versions, hardware and the state of the source code."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from nco.data.clock import utc_now

PACKAGES = ("nco-routing", "torch", "tensordict", "numpy", "scipy", "pyvrp", "ortools", "hybgensea",
            "fast-tsp", "elkai", "joblib")  # fmt: skip
"""Packages that can change a result; those that are not installed are left out."""


class Provenance(BaseModel):
    """The circumstances of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    created: str
    """UTC, ISO 8601, to the second."""
    versions: dict[str, str]
    """Of Python and of the installed `PACKAGES`."""
    hardware: dict[str, str]
    """Processor, cores, memory, accelerator, operating system."""
    git_commit: str | None
    """Of the source code, with ``-dirty`` where a tracked file differs; None without a checkout."""


def collect() -> Provenance:
    """The circumstances of this process."""
    return Provenance(
        created=utc_now(), versions=versions(), hardware=hardware(), git_commit=git_commit()
    )


def versions() -> dict[str, str]:
    """Of Python and of the installed `PACKAGES`."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        version = package_version(package)
        if version is not None:
            found[package] = version
    return found


def package_version(package: str) -> str | None:
    """The installed version of a distribution; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def hardware() -> dict[str, str]:
    """Processor, cores, memory, accelerator, operating system."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        found["memory"] = f"{gigabytes:.1f} GiB"
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of the checkout that this file is tracked in; None where there is none."""
    here = Path(__file__).resolve()
    # a checkout that merely surrounds the installation says nothing about this code
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git(here.parent, "rev-parse", "HEAD")
    dirty = _git(here.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if commit and dirty else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
