"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest
import torch

# read when triton is imported, whoever does that first: without a GPU its kernels are interpreted
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

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
