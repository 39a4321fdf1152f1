"""From names in a configuration to objects: the only place that chooses them."""

from __future__ import annotations

from nco.envs.environment import Environment
from nco.envs.variants import cvrp, tsp
from nco.models.attention_model import AttentionModel
from nco.models.policy import Policy
from nco.models.pomo import POMO
from nco.train_config import AttentionModelConfig, PolicyConfig, POMOConfig, Problem


def build_env(problem: Problem) -> Environment:
    """The environment of a problem."""
    match problem:
        case "tsp":
            return tsp
        case "cvrp":
            return cvrp


def build_policy(config: PolicyConfig, env: Environment) -> Policy:
    """A policy with fresh weights, drawn from torch's global generator as its layers are."""
    match config:
        case AttentionModelConfig():
            return AttentionModel(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
            )
        case POMOConfig():
            return POMO(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                norm=config.norm,
                clip=config.clip,
            )
