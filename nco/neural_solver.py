"""A trained model behind the protocol of every solver."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from nco.baselines.candidate_pool import SOLVING, Chosen, best_plan, solved_singly
from nco.baselines.solver import Budget, Solver, UnsupportedError, require_device, require_seed
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.decode import decode, decoded_plans
from nco.envs.checker import evaluate, routes_from_actions
from nco.envs.fleet_checker import routes_of_vehicles
from nco.envs.plans import PlanValue
from nco.kernels import Kernel, load_kernel
from nco.model_files import ModelCard, load_model, model_folder
from nco.models.policy import Policy
from nco.scenario_config import SelectionConfig
from nco.search_config import SearchConfig, WarmPyVRPConfig, build_search, search_config
from nco.search_solver import require_fit
from nco.strategies import Greedy, Sampling, Strategy


@final
@dataclass(frozen=True)
class NeuralSolver:
    """Decodes a trained policy, many times, and keeps each instance's cheapest solution.

    Args:
        policy: in eval mode.
        card: what the policy is.
        samples: drawn trajectories from each start; None decodes greedily.
        augment: 1, or 8 for the symmetries of the square.
        multi_start: one trajectory from every first customer (Kwon et al. 2020).
        temperature, top_k, top_p: of the draws, as `nco.strategies.Sampling` explains.
        memory: bytes that one step's attention weights may take.
        kernel: how steps are computed, as `nco.kernels.Kernel` explains.
        value: what is chosen by among the plans that are decoded; None is the environment's own
            price, which for plans of uncertain problems is exact or an estimate.
    """

    policy: Policy
    card: ModelCard
    samples: int | None = None
    augment: int = 8
    multi_start: bool = True
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    memory: float | None = None
    kernel: Kernel = "auto"
    value: PlanValue | None = None

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise InputError(f"samples is {self.samples}; accepted: 1 or more, or none for greedy")
        # now, and not when samples are first asked for
        Sampling(self.temperature, self.top_k, self.top_p)

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.card.name

    @property
    def strategy(self) -> Strategy:
        """Greedy, or sampling where samples are asked for."""
        if self.samples is None:
            return Greedy()
        return Sampling(self.temperature, self.top_k, self.top_p)

    def require(self, instance: Instance) -> None:
        """Raise where the model cannot see an attribute of the instance."""
        require_fit(self.policy, self._label, instance)

    @property
    def _label(self) -> str:
        return f"model {self.name} ({self.card.problem})"

    def searching(self, search: str | Mapping[str, Any] | SearchConfig) -> Solver:
        """The solver that searches around the model.

        Args:
            search: a name of `nco.search_config.SEARCH_NAMES`, its values with ``type``, or a
                configuration. The model's own options of decoding are not used, but by "pyvrp",
                which begins with the greedy solution of one position.

        Raises:
            InputError: the search is unknown or its values are wrong, or it cannot be done around
                this model.
        """
        config = search_config(search) if isinstance(search, str | Mapping) else search
        augment = config.augment if isinstance(config, WarmPyVRPConfig) else 1
        start = dataclasses.replace(self, samples=None, augment=augment)
        return build_search(config, self.policy, self._label, start)

    def solve(
        self,
        instance: Instance,
        budget: Budget | None = None,
        seed: int = 0,
        *,
        samples: int | None = None,
        augment: int | None = None,
        search: str | Mapping[str, Any] | SearchConfig | None = None,
        time_limit: float | None = None,
    ) -> list[Solution]:
        """One solution for each instance of the batch, in batches that fit memory.

        Args:
            instance: of the model's problem, any size; padding allowed.
            budget: the time limit bounds the augmented copies, as `nco.decode.decode` explains;
                iterations mean nothing here and are refused.
            seed: of the draws; greedy decoding does not use it.
            samples, augment: override the solver's own for this call.
            search: search around the model, as `searching` explains.
            time_limit: stands for a budget of so many seconds.

        Raises:
            UnsupportedError: the model does not fit the instance's attributes.
            InputError: a search is given samples or augment, which are options of its own; or both
                a budget and a time limit are given.
        """
        if budget is not None and time_limit is not None:
            raise InputError("both a budget and a time_limit are given; accepted: one of them")
        budget = budget or Budget(time_limit=time_limit)
        if search is not None:
            if samples is not None or augment is not None:
                raise InputError(
                    "samples and augment are given with a search; accepted: options of the search"
                )
            return self.searching(search).solve(instance, budget, seed)
        if budget.iterations is not None:
            raise UnsupportedError(
                f"model {self.name} has no iterations; give samples and augment instead"
            )
        solver = dataclasses.replace(
            self,
            samples=self.samples if samples is None else samples,
            augment=self.augment if augment is None else augment,
        )
        if solver.value is not None:
            return _chosen(solver, solver.value, instance, seed, budget.time_limit)
        return _solved(solver, instance, seed, budget.time_limit)


def _solved(
    solver: NeuralSolver, instance: Instance, seed: int, time_limit: float | None
) -> list[Solution]:
    solver.require(instance)
    device = next(solver.policy.parameters()).device
    generator = torch.Generator(device=device).manual_seed(require_seed(seed))
    start = time.perf_counter()
    best = decode(
        solver.policy.env,
        solver.policy,
        instance.to(device),
        strategy=solver.strategy,
        multi_start=solver.multi_start,
        samples=solver.samples or 1,
        augment=solver.augment,
        generator=generator,
        memory=solver.memory,
        kernel=solver.kernel,
        time_limit=time_limit,
    )
    actions = best.actions.cpu()
    seconds = (time.perf_counter() - start) / instance.batch_size[0]
    solutions = []
    for i, one in enumerate(unbatch(instance.cpu())):
        depots = vehicles = None
        if one.fleet is None:
            routes, depots = routes_from_actions(one, actions[i])
        else:
            taken = actions[i].tolist()
            routes, vehicles = routes_of_vehicles(taken, instance.num_nodes, int(one.num_depots[0]))
        solutions.append(
            evaluate(one, routes, depots=depots, vehicles=vehicles, solver=solver.name,
                     seconds=seconds)
        )  # fmt: skip
    return solutions


def _chosen(
    solver: NeuralSolver, value: PlanValue, instance: Instance, seed: int, time_limit: float | None
) -> list[Solution]:
    """As `_solved`, each instance by itself, with the plan of lowest value."""
    solver.require(instance)
    device = next(solver.policy.parameters()).device

    def best(one: Instance) -> Chosen:
        generator = torch.Generator(device=device).manual_seed(require_seed(seed))
        begun = time.perf_counter()
        plans = decoded_plans(
            solver.policy,
            one.to(device),
            solver.strategy,
            multi_start=solver.multi_start,
            samples=solver.samples or 1,
            augment=solver.augment,
            most=value.most,
            generator=generator,
            kernel=solver.kernel,
            seconds=None if time_limit is None else SOLVING * time_limit,
        )
        chosen = best_plan(value, one, plans)
        priced = len(plans) * value.scenarios.count
        return Chosen(chosen, time.perf_counter() - begun, priced)

    return solved_singly(solver.name, instance.cpu(), best)


def load(
    path: str | Path,
    *,
    samples: int | None = None,
    augment: int = 8,
    multi_start: bool = True,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    kernel: Kernel = "auto",
    device: str = "cpu",
    selection: SelectionConfig | None = None,
) -> NeuralSolver:
    """A trained model as a solver.

    Args:
        path: a model folder, a run's folder (its ``model/`` is taken), or a shipped model's name.
        samples, augment, multi_start, temperature, top_k, top_p, kernel: as `NeuralSolver`
            explains.
        device: where it runs, e.g. ``cuda``.
        selection: scenarios to choose by among plans, for uncertain problems.

    Raises:
        InputError: there is no such model or device, the model cannot be read, or an option is out
            of range or not for the model's problem.
    """
    place = require_device(device)
    policy, card = load_model(model_folder(path))
    load_kernel(policy, place, kernel)
    return NeuralSolver(
        policy.to(place),
        card,
        samples=samples,
        augment=augment,
        multi_start=multi_start,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        kernel=kernel,
        value=None if selection is None else selection.value(card.problem),
    )
