"""From the configuration of a benchmark's solver to what decides on the way."""

from __future__ import annotations

from nco.baselines.reoptimisation import Reoptimisation
from nco.baselines.walkers import PlanWalker, ReplanningWalker, Walker
from nco.benchmark_config import ModelConfig, WalkingConfig
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.objective import Objective
from nco.envs.variants import environments
from nco.model_files import load_card, load_model, model_folder
from nco.model_solver import model_solver
from nco.policy_walker import PolicyWalker, Selection
from nco.problem_names import PLANNED
from nco.scenario_config import SelectionConfig, build_scenario_solver
from nco.solver_config import build_solver
from nco.walker_config import ReoptimisationConfig

SAME_RULES = {"spctsp": ("pctsp",)}
"""Problems whose policies see and choose the same, and were trained on what is certain."""


def build_walker(config: WalkingConfig, problem: str) -> Walker:
    """What a configuration describes, for a problem that is decided on the way.

    Raises:
        InputError: a package is not installed, there is no such model, or it is of another problem.
    """
    match config:
        case ModelConfig():
            return _of_model(config, problem)
        case ReoptimisationConfig():
            return ReplanningWalker(Reoptimisation(build_solver(config.by), config.share))
        case _:
            return PlanWalker(build_scenario_solver(config))


def _of_model(config: ModelConfig, problem: str) -> Walker:
    card = load_card(model_folder(config.path))
    plans = PLANNED.get(problem)
    if card.problem == plans:
        return PlanWalker(model_solver(config))
    env = environments[problem]
    assert isinstance(env, AdaptiveEnvironment)  # the suite says so
    deciding = (problem, *SAME_RULES.get(problem, ()))
    if card.problem not in deciding:
        accepted = (*deciding, *(() if plans is None else (plans,)))
        raise InputError(
            f"model {config.path} is of {card.problem} and runs on a suite of {problem}; accepted "
            f"there: models of {', '.join(accepted)}"
        )
    if config.samples is not None:
        raise InputError(
            f"samples is {config.samples} for model {config.path}, which decides on the way: the "
            "cheapest of several trajectories of one world is hindsight; accepted: none"
        )
    policy, _ = load_model(model_folder(config.path))
    chosen = config.selection or SelectionConfig()
    return PolicyWalker(
        card.name,
        env,
        policy.to(config.device),
        config.augment,
        config.multi_start,
        Selection(
            Scenarios(Split.SELECTION, chosen.scenarios, chosen.seed),
            Objective(chosen.cvar),
            chosen.plans,
        ),
        config.kernel,
    )
