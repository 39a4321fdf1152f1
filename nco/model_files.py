"""A trained model on disk: ``model.safetensors`` and ``card.json``, nothing that runs code."""

from __future__ import annotations

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from nco.adapters import NewColumns
from nco.build import build_env, build_policy
from nco.config_errors import describe_errors
from nco.data.errors import InputError
from nco.models.policy import Policy
from nco.policy_config import PolicyConfig
from nco.problem_names import Problem
from nco.strict import Strict

Card = TypeVar("Card", bound=BaseModel)
WEIGHTS = "model.safetensors"
CARD = "card.json"
SHIPPED = Path(str(resources.files("nco.models")))
"""Where the models are that come with the package, a folder each."""


class TrainedOn(Strict):
    """The declared training distribution: what counts as inside it."""

    num_customers: PositiveInt | tuple[PositiveInt, PositiveInt]
    distribution: str
    variants: tuple[str, ...] | None = None
    """Of a mixed problem; None is all of it."""
    cities: tuple[str, ...] | None = None
    """The names of the cities whose maps instances came from, if any."""
    capacity: PositiveInt | None = None
    """Of a vehicle; None is the published one of the number of customers."""
    instances: int
    """How many instances the weights have seen, since the model that they started from if any."""
    hardware: str
    seconds: float
    """Wall time of the training."""


class StartedFrom(Strict):
    """The model that a training began with."""

    name: str
    problem: Problem
    new_columns: NewColumns
    """What became of inputs that the model did not know."""
    trained_on: TrainedOn
    started_from: StartedFrom | None = None
    """The model before that one."""


class Score(Strict):
    """How a model does on fresh instances, costed by our checker."""

    on: str
    """What was drawn."""
    num_instances: PositiveInt
    decoding: str
    mean_cost: float
    gap_percent: float | None = None
    """Mean over the instances of cost / reference - 1."""
    reference: str | None = None
    """Whose costs the gap is relative to, with its budget."""


class Export(Strict):
    """How a model was made ready to be shipped."""

    precision: Literal["float32", "bfloat16"]
    """Of the weights on the disk; they are read into float32."""
    cost_change: float
    """What bfloat16 changes the mean greedy cost by, relative."""
    bound: float
    """What it may change for the weights to be stored so."""
    instances: PositiveInt
    """That this was measured on."""


class ModelCard(Strict):
    """What a model is, what it was trained on, and how it scores."""

    schema_version: Literal[1] = 1
    name: str
    problem: Problem
    policy: PolicyConfig
    trained_on: TrainedOn
    started_from: StartedFrom | None = None
    """None: from fresh weights."""
    metrics: dict[str, float]
    """Validation figures by name, with ``reference`` saying against what."""
    reference: str | None = None
    scores: tuple[Score, ...] = ()
    """On fresh instances, after the training."""
    export: Export | None = None
    """Of a model that is ready to be shipped."""
    versions: dict[str, str]


def save_model(
    folder: Path, policy: nn.Module, card: BaseModel, dtype: torch.dtype = torch.float32
) -> None:
    """Write a model folder; each file appears whole or not at all.

    Args:
        dtype: of float32 weights in the file; they are float32 again when they are read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: (value.to(dtype) if value.dtype == torch.float32 else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in policy.state_dict().items()
    }
    partial = folder / f"{WEIGHTS}.partial"
    # save_file would let nobody else read what comes with an installation
    partial.write_bytes(save(weights))
    os.replace(partial, folder / WEIGHTS)
    partial = folder / f"{CARD}.partial"
    partial.write_text(json.dumps(card.model_dump(mode="json"), indent=2) + "\n")
    os.replace(partial, folder / CARD)


def shipped_folders() -> dict[str, Path]:
    """The models that come with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(SHIPPED.glob(f"*/{CARD}"))}


def shipped_models() -> list[ModelCard]:
    """The cards of the models that come with the package."""
    return [load_card(folder) for folder in shipped_folders().values()]


def model_folder(path: str | Path) -> Path:
    """The folder that a model's weights are in.

    Args:
        path: a model folder, a run's folder (its ``model/`` is taken), or a shipped model's name.

    Raises:
        InputError: there is no such model.
    """
    folder = Path(path)
    if not folder.exists():
        shipped = shipped_folders()
        if str(path) not in shipped:
            raise InputError(
                f"{path}: no such model; accepted: a model folder, or a shipped model "
                f"({', '.join(shipped) or 'none'})"
            )
        return shipped[str(path)]
    if not (folder / CARD).is_file() and (folder / "model" / CARD).is_file():
        return folder / "model"
    return folder


def load_card(folder: Path) -> ModelCard:
    """Read and check a model's card.

    Raises:
        InputError: the folder holds no model, or its card is not one of ours.
    """
    if not holds_model(folder):
        raise InputError(
            f"{folder}: no model here; accepted: a folder with {WEIGHTS} and {CARD}, as a training "
            "run writes it to model/"
        )
    return parse_card(folder, ModelCard)


def holds_model(folder: Path) -> bool:
    """Whether a folder has weights and a card, right or wrong."""
    return (folder / CARD).is_file() and (folder / WEIGHTS).is_file()


def parse_card(folder: Path, schema: type[Card]) -> Card:
    """Read a card of this kind.

    Raises:
        InputError: it is not one.
    """
    path = folder / CARD
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        lines = describe_errors(schema, values, error)
        raise InputError(f"{path}: " + "; ".join(lines)) from error


def load_weights(module: nn.Module, folder: Path) -> None:
    """Fill a network with the weights of a model folder.

    Raises:
        InputError: they are not its own.
    """
    path = folder / WEIGHTS
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        # torch's first line only says that there are errors
        message = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(f"{path}: the weights do not fit the card ({message})") from error


def load_model(folder: Path) -> tuple[Policy, ModelCard]:
    """A trained policy in eval mode, with its card.

    Raises:
        InputError: the folder holds no model, or weights and card do not fit each other.
    """
    card = load_card(folder)
    # the fresh weights are replaced; drawing them must not move the caller's random numbers
    with torch.random.fork_rng(devices=[]):
        policy = build_policy(card.policy, build_env(card.problem))
    load_weights(policy, folder)
    return policy.eval(), card
