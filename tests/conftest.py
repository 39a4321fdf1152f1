"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from nco.data.osrm_errors import ToolsMissing
from nco.data.osrm_setup import SAMPLES
from nco.data.osrm_tools import OSRMTools, find_tools, osrm_folder
from tests.fake_osrm import FakeOSRM, fake_osrm

# read when triton is imported, whoever does that first: without a GPU its kernels are interpreted
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# the same examples in every run, so that a suite which passed passes again, also on a busy machine;
# other ones on demand
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("fresh", derandomize=False, deadline=None)
settings.load_profile("fresh" if os.environ.get("NCO_THOROUGH") else "same")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public instances and reference results, which is no part of the project.

    It is ``../shared`` beside the checkout, or where the variable NCO_SHARED points.
    """
    folder = Path(os.environ.get("NCO_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the public instances: {folder} is not there; NCO_SHARED can name them")
    return folder


@pytest.fixture(name="fake")
def fake_osrm_server() -> Iterator[FakeOSRM]:
    """A server that speaks as OSRM does, for one test."""
    with fake_osrm() as server:
        yield server


@pytest.fixture(scope="session")
def osrm_tools() -> OSRMTools:
    """OSRM's executables, where they are set up: `make osrm`."""
    try:
        return find_tools()
    except ToolsMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def osm_samples(osrm_tools: OSRMTools) -> dict[str, Path]:
    """The real maps that `make osrm` fetches, by their names without suffixes, in lower case."""
    paths = [osrm_folder() / "samples" / sample.name for sample in SAMPLES]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not there; `nco data osrm samples` fetches them")
    return {path.name.partition(".")[0].lower(): path for path in paths}
