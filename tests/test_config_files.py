"""Configuration files: what is read, what is merged, what is refused and in which words."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nco import config_files
from nco.config_files import apply_overrides, load_yaml, merge, parse, preset_names
from nco.data.errors import InputError


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Attention(Section):
    type: Literal["attention-model"] = "attention-model"
    layers: int = Field(3, gt=0)


class Pomo(Section):
    type: Literal["pomo"] = "pomo"
    layers: int = Field(6, gt=0)
    clip: float = 10.0


Policy = Annotated[Attention | Pomo, Field(discriminator="type")]


class Config(Section):
    policy: Policy
    rate: float = Field(1e-4, gt=0)
    sizes: list[int] = [20]
    mode: Literal["train", "eval"] = "train"
    others: list[Policy] = []

    @model_validator(mode="after")
    def _rate_fits(self) -> "Config":
        if self.mode == "eval" and self.rate != 1e-4:
            raise ValueError("rate belongs to mode train; accepted: no rate in mode eval")
        return self


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(values: dict[str, object]) -> str:
    with pytest.raises(InputError) as caught:
        parse(Config, values, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("2E3", 2000.0),
        ("-1.5e2", -150.0),
        (".5e1", 5.0),
        ("3", 3),
        ("0.25", 0.25),
        ("true", True),
        ("no", "no"),
        ("off", "off"),
        ("1e", "1e"),
        ("e5", "e5"),
    ],
)
def test_scalars_mean_what_they_look_like(tmp_path: Path, text: str, value: object) -> None:
    """1e-4 is a number, and only true and false are truth values, in files and in overrides."""
    read = load_yaml(write(tmp_path, "a.yaml", f"key: {text}\n"))["key"]
    assert read == value
    assert type(read) is type(value)
    assert apply_overrides({}, [f"key={text}"]) == {"key": value}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", ["line 3", "'a'", "line 1"]),
        ("s:\n  a: 1\n  a: 2\n", ["line 3", "'a'", "line 2"]),
        ("a: [1, 2\n", ["not YAML", "line"]),
        ("a: b: c\n", ["line 1", "not YAML"]),
        ("", ["holds nothing", "accepted"]),
        ("- 1\n", ["holds a list", "accepted"]),
        ("1: a\n", ["line 1", "key 1"]),
        ("a: !!python/object:os.system x\n", ["not YAML"]),
        ("extends: [a, b]\n", ["extends is ['a', 'b']", "accepted"]),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, told: list[str]) -> None:
    """What cannot be read is refused, naming the file, the line and the fault."""
    path = write(tmp_path, "bad.yaml", text)
    with pytest.raises(InputError) as caught:
        load_yaml(path)
    for part in ["bad.yaml", *told]:
        assert part in str(caught.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are refused by the name of the file."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"key: \xff\xfe\n")
    with pytest.raises(InputError, match=r"a\.yaml cannot be read"):
        load_yaml(path)


@pytest.mark.parametrize("name", ["missing.yaml", "folder/missing", "no-such-preset", ""])
def test_a_missing_config_lists_the_presets(name: str) -> None:
    """A name that is neither file nor preset is refused with the presets that exist."""
    with pytest.raises(InputError) as caught:
        load_yaml(name)
    assert "presets" in str(caught.value)
    assert all(preset in str(caught.value) for preset in preset_names())


def test_extends_merges_over_the_base(tmp_path: Path) -> None:
    """A config keeps what it does not name, section by section, along a chain of bases."""
    write(tmp_path, "base/root.yaml", "policy: {type: pomo, layers: 6, clip: 5}\nrate: 1\n")
    write(tmp_path, "base/mid.yaml", "extends: root.yaml\npolicy: {layers: 2}\nsizes: [1, 2]\n")
    top = write(tmp_path, "top.yaml", "extends: base/mid.yaml\nsizes: [3]\n")
    assert load_yaml(top) == {
        "policy": {"type": "pomo", "layers": 2, "clip": 5},
        "rate": 1,
        "sizes": [3],
    }


def test_extends_drops_the_old_branch_of_a_union(tmp_path: Path) -> None:
    """A section whose type changes keeps no field of its old branch."""
    write(tmp_path, "base.yaml", "policy: {type: pomo, clip: 5}\n")
    top = write(tmp_path, "a.yaml", "extends: base.yaml\npolicy: {type: attention-model}\n")
    assert load_yaml(top) == {"policy": {"type": "attention-model"}}


def test_circular_extends_is_refused(tmp_path: Path) -> None:
    """A circle of bases is refused, naming the files on it, also where a file extends itself."""
    write(tmp_path, "b.yaml", "extends: ./a.yaml\n")
    path = write(tmp_path, "a.yaml", "extends: b.yaml\n")
    with pytest.raises(InputError, match=r"circular: .*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        load_yaml(path)
    with pytest.raises(InputError, match="circular"):
        load_yaml(write(tmp_path, "self.yaml", "extends: self.yaml\n"))


def test_a_missing_base_names_who_asked(tmp_path: Path) -> None:
    """The message tells both the missing base and the file that extends it."""
    path = write(tmp_path, "a.yaml", "extends: gone.yaml\n")
    with pytest.raises(InputError, match=r"gone\.yaml.*asked for by .*a\.yaml.*not exist"):
        load_yaml(path)


def test_presets_are_read_by_name_and_extend_presets_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A preset is found by name; a file of the same name in the working folder changes nothing."""
    shipped = tmp_path / "shipped"
    write(shipped, "small.yaml", "extends: base\nrate: 2\n")
    write(shipped, "base.yaml", "rate: 1\nmode: eval\n")
    monkeypatch.setattr(config_files.resources, "files", lambda _: shipped)
    work = tmp_path / "work"
    write(work, "base", "rate: 7\n")
    write(work, "small", "rate: 8\n")
    mine = write(work, "mine.yaml", "extends: small\nmode: train\n")
    monkeypatch.chdir(work)
    assert preset_names() == ["base", "small"]
    assert load_yaml("small") == {"rate": 2, "mode": "eval"}
    assert load_yaml(mine) == {"rate": 2, "mode": "train"}


def test_merge_modifies_neither_side() -> None:
    """Merging gives a new section and leaves both inputs as they were."""
    base, changes = {"a": {"b": 1}, "c": 2}, {"a": {"d": 3}}
    assert merge(base, changes) == {"a": {"b": 1, "d": 3}, "c": 2}
    assert (base, changes) == ({"a": {"b": 1}, "c": 2}, {"a": {"d": 3}})


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["rate=2"], {"policy": {"type": "pomo", "clip": 5}, "rate": 2}),
        (["policy.clip=6"], {"policy": {"type": "pomo", "clip": 6}, "rate": 1}),
        (["policy.type=pomo"], {"policy": {"type": "pomo", "clip": 5}, "rate": 1}),
        (["policy.type=attention-model"], {"policy": {"type": "attention-model"}, "rate": 1}),
        (
            ["policy.layers=2", "policy.type=attention-model"],
            {"policy": {"type": "attention-model", "layers": 2}, "rate": 1},
        ),
        (
            ["policy={type: attention-model, layers: 4}"],
            {"policy": {"type": "attention-model", "layers": 4}, "rate": 1},
        ),
        (["new.deep.key=[1, 2]"], {"policy": {"type": "pomo", "clip": 5}, "rate": 1,
                                   "new": {"deep": {"key": [1, 2]}}}),
        (["name=a=b"], {"policy": {"type": "pomo", "clip": 5}, "rate": 1, "name": "a=b"}),
        (["rate="], {"policy": {"type": "pomo", "clip": 5}, "rate": None}),
    ],
)  # fmt: skip
def test_overrides(overrides: list[str], expected: dict[str, object]) -> None:
    """Each override changes its own path; a new type drops the old branch, in any order."""
    values = {"policy": {"type": "pomo", "clip": 5}, "rate": 1}
    assert apply_overrides(values, overrides) == expected
    assert apply_overrides(values, overrides[::-1]) == expected
    assert values == {"policy": {"type": "pomo", "clip": 5}, "rate": 1}


def test_overrides_reach_entries_of_lists() -> None:
    """A number in the path names an entry; the other entries stay."""
    values = {"others": [{"type": "pomo", "clip": 5}, {"type": "pomo", "layers": 1}]}
    changed = apply_overrides(values, ["others.1.layers=3", "others.0.type=attention-model"])
    assert changed == {"others": [{"type": "attention-model"}, {"type": "pomo", "layers": 3}]}
    assert values["others"][0] == {"type": "pomo", "clip": 5}


def test_a_solver_is_told_by_its_name() -> None:
    """A section without a type is told apart by its solver; where there is a type, a solver is a
    field like any other, and a section called solver is none of both."""
    values = {
        "solver": {"solver": "pyvrp", "num_workers": 2},
        "reference": {"type": "solver", "solver": "pyvrp"},
    }
    assert apply_overrides(values, ["solver.solver=nearest", "reference.solver=nearest"]) == {
        "solver": {"solver": "nearest"},
        "reference": {"type": "solver", "solver": "nearest"},
    }


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["rate"], "'rate'; accepted: path.to.key=value"),
        (["=3"], "accepted: path.to.key=value"),
        (["a..b=3"], "accepted: path.to.key=value"),
        (["a=1", "a.b=2"], "below a value"),
        (["a.b=2", "a=1"], "contradicts"),
        (["a=[1"], "not YAML"),
        (["others.2.layers=1"], "entries 0 to 1"),
        (["others.first.layers=1"], "entries 0 to 1"),
    ],
)
def test_bad_overrides_are_refused(overrides: list[str], told: str) -> None:
    """What is not path=value, contradicts itself or names no entry is refused."""
    with pytest.raises(InputError) as caught:
        apply_overrides({"others": [{}, {}]}, overrides)
    assert told in str(caught.value)


def test_all_errors_are_told_at_once() -> None:
    """One message lists every error with path, value and what is accepted."""
    told = refusal(
        {
            "policy": {"type": "pomo", "layers": 0, "clipp": 3},
            "rate": "fast",
            "sizes": [1, "b"],
            "mode": "test",
            "others": [{"type": "attention-model", "clip": 1}],
            "epochs": 3,
        }
    ).splitlines()
    assert told[0] == "x.yaml: 7 errors"
    assert sorted(told[1:]) == [
        "  epochs: unknown key; accepted: policy, rate, sizes, mode, others",
        "  mode: value 'test'; accepted: 'train' or 'eval'",
        "  others.0.clip: unknown key; accepted: type, layers",
        "  policy.clipp: unknown key; accepted: type, layers, clip (did you mean clip?)",
        "  policy.layers: value 0; accepted: greater than 0",
        "  rate: value 'fast'; accepted: a valid number",
        "  sizes.1: value 'b'; accepted: a valid integer",
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "x.yaml: policy: missing; it has no default"),
        (
            {"policy": {"type": "pom"}},
            "x.yaml: policy.type: value 'pom'; accepted: attention-model, pomo",
        ),
        ({"policy": {}}, "x.yaml: policy.type: missing; accepted: attention-model, pomo"),
        ({"policy": 3}, "x.yaml: policy: value 3; accepted: a valid section of keys"),
        (
            {"policy": {"type": "pomo"}, "mode": "eval", "rate": 1},
            "x.yaml: rate belongs to mode train; accepted: no rate in mode eval",
        ),
    ],
)
def test_single_errors(values: dict[str, object], told: str) -> None:
    """A single error is one line: no list, no branch name of the union in the path."""
    assert refusal(values) == told


def test_good_values_become_the_model() -> None:
    """What fits is returned as the model, defaults filled in by the branch that the tag names."""
    config = parse(Config, {"policy": {"type": "pomo"}, "rate": "1e-3"}, "x.yaml")
    assert config.policy == Pomo(layers=6)
    assert config.rate == 1e-3


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name: str) -> None:
    """Every shipped configuration is valid YAML whose bases exist."""
    assert load_yaml(name)
