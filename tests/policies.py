"""Small policies of every kind, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from nco.build import build_env, build_policy
from nco.envs.environment import Environment
from nco.model_files import ModelCard, TrainedOn, save_model
from nco.models.policy import Policy
from nco.policy_config import (
    AttributeGateConfig,
    CAMPConfig,
    ExpertsConfig,
    HeterogeneousAttentionConfig,
    HierarchicalConfig,
    MatNetConfig,
    NoisyTopKConfig,
    PolicyConfig,
    POMOConfig,
    RouteFinderConfig,
    RRNCOConfig,
    SharedSigmoidConfig,
    SoftMergingConfig,
)
from nco.problem_names import Problem

GATES: dict[str, ExpertsConfig] = {
    "noisy-top-k": NoisyTopKConfig(type="noisy-top-k", num_experts=3, active=2, balance=0.5),
    "hierarchical": HierarchicalConfig(type="hierarchical", num_experts=3, active=2, balance=0.5),
    "shared-sigmoid": SharedSigmoidConfig(type="shared-sigmoid", routed=4, rate=0.01),
    "soft-merging": SoftMergingConfig(type="soft-merging", num_experts=3),
    "attribute": AttributeGateConfig(type="attribute", num_experts=3),
}


def _pomo(experts: ExpertsConfig | None) -> POMOConfig:
    return POMOConfig(
        type="pomo", dim=16, num_heads=2, num_layers=2, hidden=24,
        experts=experts, decoder_experts=experts,
    )  # fmt: skip


def _routefinder(**options: object) -> RouteFinderConfig:
    sizes = {"type": "routefinder", "dim": 16, "num_heads": 2, "num_layers": 2, "hidden": 24}
    return RouteFinderConfig.model_validate({**sizes, **options})


def _rrnco(decoder: Literal["pointer", "reld"]) -> RRNCOConfig:
    return RRNCOConfig(
        type="rrnco", dim=16, num_heads=2, num_layers=2, hidden=24, channels=4, num_neighbours=4,
        decoder=decoder,
    )  # fmt: skip


POLICIES: dict[str, PolicyConfig] = {
    "pomo": _pomo(None),
    "pomo travel": _pomo(None).model_copy(update={"travel": True}),
    **{f"pomo {name}": _pomo(gate) for name, gate in GATES.items()},
    "routefinder": _routefinder(),
    **{f"routefinder {name}": _routefinder(experts=gate) for name, gate in GATES.items()},
    "routefinder film": _routefinder(film=True),
    "routefinder reld": _routefinder(decoder="reld"),
    "rrnco": _rrnco("pointer"),
    "rrnco reld": _rrnco("reld"),
    "matnet": MatNetConfig(
        type="matnet", dim=16, num_heads=2, num_layers=2, hidden=24, score_hidden=4
    ),
}
FLEET_POLICIES: dict[str, PolicyConfig] = {
    "camp": CAMPConfig(type="camp", dim=16, num_heads=2, num_layers=2, hidden=24),
    "camp parallel": CAMPConfig(
        type="camp", dim=16, num_heads=2, num_layers=2, hidden=24, decisions="parallel"
    ),
    "camp without communication": CAMPConfig(
        type="camp", dim=16, num_heads=2, num_layers=2, hidden=24, communication="none"
    ),
    "heterogeneous attention": HeterogeneousAttentionConfig(
        type="heterogeneous_attention", dim=16, num_heads=2, num_layers=2, hidden=24
    ),
}
"""For vehicles that differ."""


def small_policy(name: str, env: Environment, seed: int = 0) -> Policy:
    """A policy in eval mode whose parameters are all drawn, also those that start at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = build_policy((POLICIES | FLEET_POLICIES)[name], env)
        for parameter in policy.parameters():
            if not bool(parameter.any()):
                torch.nn.init.uniform_(parameter, -0.3, 0.3)
    return policy.eval()


def save_fresh(folder: Path, problem: Problem, name: str) -> None:
    """The model folder of a small policy that nobody has trained; called as the folder."""
    trained = TrainedOn(
        num_customers=8, distribution="uniform", instances=0, hardware="none", seconds=0.0
    )
    card = ModelCard(
        name=folder.name, problem=problem, policy=(POLICIES | FLEET_POLICIES)[name],
        trained_on=trained, metrics={}, versions={},
    )  # fmt: skip
    save_model(folder, small_policy(name, build_env(problem)), card)
