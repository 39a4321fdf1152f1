"""The folders, the links, the wheel and the import directions agree with each other."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {
    package.removeprefix("nco."): folder
    for package, folder in PYPROJECT["tool"]["setuptools"]["package-dir"].items()
    if package != "nco"
}


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python module's command line in ``cwd``, which alone is put on the import path."""
    env = os.environ | {"PYTHONPATH": str(cwd)}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def package_files(root: Path) -> set[str]:
    """Every file of the package in a checkout, by its name in a wheel."""
    files = {f"nco/{path.name}" for path in (root / "nco").iterdir() if path.is_file()}
    for name, folder in FOLDERS.items():
        base = root / folder
        files |= {f"nco/{name}/{p.relative_to(base)}" for p in base.rglob("*") if p.is_file()}
    return {file for file in files if "__pycache__" not in file and "/." not in file}


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A checkout with our settings and links and next to nothing in its modules."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "nco").mkdir()
    for name, folder in FOLDERS.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / "first.py").write_text("x = 1\n")
        (tmp_path / "nco" / name).symlink_to(Path("..") / folder)
    for name in ("__init__", "cli", "brand_new"):
        (tmp_path / "nco" / f"{name}.py").write_text("x = 1\n")
    return tmp_path


def test_links_and_package_table_name_the_same_folders() -> None:
    """Each folder has one relative link inside nco/ and one line in pyproject.toml, no more."""
    links = {path.name: path.readlink() for path in (ROOT / "nco").iterdir() if path.is_symlink()}
    assert links == {name: Path("..") / folder for name, folder in FOLDERS.items()}
    table = PYPROJECT["tool"]["setuptools"]
    assert set(table["packages"]) == set(table["package-dir"])


def test_folders_are_flat() -> None:
    """No module lies in a subfolder, where neither the package table nor a wheel would see it."""
    deep = [file for file in package_files(ROOT) if file.endswith(".py") and file.count("/") > 2]
    assert deep == []


def test_import_nco_is_light() -> None:
    """`import nco` loads neither a trainer nor somebody else's solver."""
    heavy = ["lightning", "pytorch_lightning", "ortools", "pyvrp", "hybgensea", "elkai", "fast_tsp"]
    code = f"import sys, nco; print([name for name in {heavy} if name in sys.modules])"
    done = run("-c", code, cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """A wheel has all modules, configurations, data files and py.typed, and nothing else."""
    checkout = tmp_path / "checkout"
    unwanted = shutil.ignore_patterns(
        ".?*", "__pycache__", "*.egg-info", "build", "dist", "runs", "results", "tests"
    )
    shutil.copytree(ROOT, checkout, symlinks=True, ignore=unwanted)
    done = run(
        *("-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index"),
        *("--disable-pip-version-check", "--wheel-dir", str(tmp_path)),
        cwd=checkout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == package_files(ROOT)
    assert {"nco/py.typed", "nco/data/instance.py"} <= packed
    assert {f"nco/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= packed


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_importing_a_folder_by_its_bare_name_is_refused(folder: str, skeleton: Path) -> None:
    """`import envs` would make a second copy of every class; the style check bans it."""
    planted = skeleton / "nco" / "planted.py"
    planted.write_text(f"from {folder} import x\nimport {folder}\nfrom nco.{folder} import y\n")
    command = ("-m", "ruff", "check", "--select", "TID251", "--output-format", "concise")
    done = run(*command, "nco/planted.py", cwd=skeleton)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.findall(r"planted\.py:(\d+)", done.stdout) == ["1", "2"]


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("data/planted.py", "from nco.envs import x", "the five folders"),
        ("envs/planted.py", "from nco.brand_new import x", "the five folders"),
        ("models/planted.py", "from nco.baselines.first import x", "the five folders"),
        ("baselines/planted.py", "from nco.models import x", "the five folders"),
        ("baselines/planted.py", "import nco", "public names"),
        ("nco/brand_new.py", "from nco.cli import x", "the command line"),
        ("models/planted.py", "import lightning", "no solver and no trainer"),
        ("data/first.py", "from nco.data.planted import y", "no import cycles"),
        ("baselines/planted.py", "from nco.envs.first import x", None),
        ("nco/brand_new.py", "from nco.models.first import x", None),
    ],
)
def test_imports_go_downhill_only(
    file: str, line: str, contract: str | None, skeleton: Path
) -> None:
    """An import uphill breaks its contract, also to a module that no list names; downhill none."""
    (skeleton / "data" / "planted.py").write_text("from nco.data.first import x\n")
    with (skeleton / file).open("a") as planted:
        planted.write(f"{line}\n")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run("-c", code, "--no-cache", cwd=skeleton)
    broken = re.findall(r"^(.*) BROKEN", done.stdout, flags=re.MULTILINE)
    if contract is None:
        assert (broken, done.returncode) == ([], 0), done.stdout + done.stderr
    else:
        assert any(contract in name for name in broken), done.stdout + done.stderr
        assert done.returncode == 1


def test_constraints_pin_every_dependency() -> None:
    """Each requirement of the project, extras too, has one exact version that it accepts."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = PYPROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for text in itertools.chain.from_iterable(groups):
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{text} has no exact version in constraints.txt"
        assert requirement.specifier.contains(version), f"{text} refuses {version}"
