"""Learned dispatchers on disk, and at work: ``model.safetensors`` and ``card.json``."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from nco.baselines.dispatching import Choice
from nco.data.errors import InputError
from nco.dispatch_config import DispatchCard, DispatchPolicyConfig
from nco.envs.dispatch import Epoch
from nco.envs.dispatch_batch import DaysState, open_days
from nco.model_files import CARD, WEIGHTS, holds_model, load_weights, parse_card
from nco.models.dispatch_policy import DispatchPolicy


def build_dispatch_policy(config: DispatchPolicyConfig) -> DispatchPolicy:
    """A policy with fresh weights, drawn from torch's global generator as its layers are."""
    return DispatchPolicy(
        dim=config.dim,
        num_heads=config.num_heads,
        num_layers=config.num_layers,
        hidden=config.hidden,
    )


def is_dispatcher(folder: Path) -> bool:
    """Whether a model folder holds a dispatcher by its card, right or wrong otherwise."""
    try:
        values = json.loads((folder / CARD).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("problem") == "dvrptw"


def load_dispatcher(path: Path) -> LearnedChoice:
    """The choice of a trained model.

    Args:
        path: the model's folder, or that of a training run.

    Raises:
        InputError: there is none, or weights and card do not fit each other.
    """
    folder = path / "model" if (path / "model" / CARD).is_file() else path
    if not holds_model(folder):
        raise InputError(
            f"{path}: no dispatcher here; accepted: a folder with {WEIGHTS} and {CARD}, as nco "
            "train dvrptw20 writes it to model/"
        )
    card = parse_card(folder, DispatchCard)
    with torch.random.fork_rng(devices=[]):
        policy = build_dispatch_policy(card.policy)
    load_weights(policy, folder)
    return LearnedChoice(policy.eval(), card)


@final
@dataclass(frozen=True)
class LearnedChoice(Choice):
    """What a policy finds more likely to leave than to wait leaves."""

    policy: DispatchPolicy
    card: DispatchCard

    @property
    def name(self) -> str:
        return self.card.name

    def leaves(self, epoch: Epoch, seed: int) -> Collection[int]:
        if not epoch.free:
            return ()
        # compiled by numba, which takes a second to import
        from nco.dispatch_routes import margins

        days = open_days(epoch)
        everyone = torch.ones(1, 1, len(epoch.open), dtype=torch.bool)
        state = DaysState(days, epoch.number, everyone, torch.zeros(1, 1, dtype=torch.float64))
        with torch.no_grad():
            seen = (*days.features(epoch.number), margins(state), everyone)
            scores = self.policy(*seen)[0, 0].tolist()
        pairs = zip(epoch.open, scores, strict=True)
        return [r.number for r, score in pairs if score > 0 and r.number not in epoch.must]
