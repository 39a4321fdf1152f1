"""From a training run to a model that can be shipped: small, with a card that is filled."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from nco.api import generate
from nco.baselines.solver import Budget
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.declared import sizes_of, ways_of
from nco.model_files import (
    CARD,
    WEIGHTS,
    Export,
    ModelCard,
    Score,
    load_model,
    model_folder,
    save_model,
)
from nco.models.policy import Policy
from nco.neural_solver import NeuralSolver
from nco.solver_config import solver_from_name
from nco.statistics import gap

MOST_BYTES = 10_000_000
BOUND = 1e-4
"""Of the mean greedy cost, relative: what bfloat16 weights may change it by, either way."""
CHECKED = 256
"""Instances that this is checked on."""
SCORED = 32
SEED = 20_000
"""Of these instances: neither training nor validation draws them."""


def export_model(
    source: str | Path,
    folder: Path,
    *,
    reference_seconds: float | None = 2.0,
    cities: Path | None = None,
) -> ModelCard:
    """Write a shippable model; the folder's name is the model's.

    Weights become bfloat16 where greedy solutions of `CHECKED` instances of the model's declared
    training distribution then cost the same on average, up to `BOUND`; else they stay float32. The
    scores on the card are costs of greedy solutions in eight positions, by our checker, on
    `SCORED` of the instances, and gaps to PyVRP.

    Args:
        source: as `nco.model_files.model_folder` takes it.
        folder: that is not there yet.
        reference_seconds: of PyVRP for each instance; None gives no gap.
        cities: of a model that was trained on streets, the maps to check it on.

    Raises:
        InputError: the folder is there, the card does not say what the model was trained on, the
            instances cannot be had, or the weights are too large.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; accepted: a name that is not taken")
    policy, card = load_model(model_folder(source))
    _require_filled(card)
    check = instances_of(card, CHECKED, cities)
    plain = _greedy_cost(policy, card, check)
    small = bfloat16_weights(policy)
    change = _greedy_cost(small, card, check) / plain - 1
    halved = abs(change) <= BOUND
    chosen = small if halved else policy
    count = max(sizes_of(card))
    score = _score(chosen, card, check[:SCORED], count, reference_seconds)
    card = card.model_copy(
        update={
            "name": folder.name,
            "scores": (*card.scores, score),
            "export": Export(
                precision="bfloat16" if halved else "float32",
                cost_change=change,
                bound=BOUND,
                instances=CHECKED,
            ),
        }
    )
    save_model(folder, chosen, card, torch.bfloat16 if halved else torch.float32)
    size = (folder / WEIGHTS).stat().st_size
    if size > MOST_BYTES:
        shutil.rmtree(folder)
        raise InputError(
            f"{WEIGHTS} of {source} has {size:,} bytes in {'bfloat16' if halved else 'float32'} "
            f"(bfloat16 changes the mean cost by {change:+.4%}); accepted: {MOST_BYTES:,} at most"
        )
    return card


def _require_filled(card: ModelCard) -> None:
    trained = card.trained_on
    if trained.instances < 1 or not trained.hardware.strip() or not trained.seconds > 0:
        raise InputError(
            f"{CARD} of {card.name} tells {trained.instances} instances, hardware "
            f"{trained.hardware!r} and {trained.seconds} s; accepted: how many instances it was "
            "trained on, on what, and for how long"
        )


def instances_of(card: ModelCard, count: int, cities: Path | None) -> Instance:
    """Fresh instances of a model's declared training distribution, of its largest size.

    Raises:
        InputError: the model was trained on streets and there are no maps, or the problem cannot
            be drawn.
    """
    trained = card.trained_on
    if ways_of(card.problem, trained.cities is not None) == "streets" and cities is None:
        raise InputError(f"{card.name} was trained on streets; accepted: --cities FOLDER of maps")
    return generate(
        card.problem,
        max(sizes_of(card)),
        count,
        SEED,
        trained.distribution,
        trained.capacity,
        trained.variants,
        cities,
    )


def bfloat16_weights(policy: Policy) -> Policy:
    """A copy that computes in its own precision with weights that bfloat16 can hold."""
    rounded = copy.deepcopy(policy)
    with torch.no_grad():
        for value in rounded.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.to(torch.bfloat16))
    return rounded


def _greedy_cost(policy: Policy, card: ModelCard, instances: Instance) -> float:
    """The mean cost of greedy solutions from all starts, by our checker."""
    solutions = NeuralSolver(policy, card, augment=1).solve(instances)
    _require_feasible([s.feasible for s in solutions], card)
    return sum(s.cost for s in solutions) / len(solutions)


def _require_feasible(feasible: Sequence[bool], card: ModelCard) -> None:
    if not all(feasible):
        raise InputError(
            f"{card.name} solves {sum(feasible)} of {len(feasible)} instances of what it was "
            "trained on; accepted: all"
        )


def _score(
    policy: Policy, card: ModelCard, instances: Instance, size: int, seconds: float | None
) -> Score:
    solutions = NeuralSolver(policy, card, augment=8).solve(instances)
    _require_feasible([s.feasible for s in solutions], card)
    costs = [s.cost for s in solutions]
    score = Score(
        on=f"{card.problem}, {size} customers, {card.trained_on.distribution}, seed {SEED}",
        num_instances=len(costs),
        decoding="greedy from all starts, 8 positions",
        mean_cost=sum(costs) / len(costs),
    )
    if seconds is None:
        return score
    solver = solver_from_name("pyvrp")
    best = solver.solve(instances, Budget(time_limit=seconds), 0)
    gaps = [gap(cost, s.cost) for cost, s in zip(costs, best, strict=True)]
    reference = f"{solver.name}, {seconds:g} s"
    return score.model_copy(
        update={"gap_percent": 100 * sum(gaps) / len(gaps), "reference": reference}
    )
