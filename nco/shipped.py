"""Which of the models that come with the package solves an instance, where none is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from nco import named_solvers
from nco.baselines.solver import Budget, Solver
from nco.build import build_env
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.declared import (
    LARGEST_STRETCH,
    Part,
    outside,
    problems_of,
    sizes_of,
    sizes_text,
    stretch,
    traits_of,
)
from nco.envs.known_attributes import require_known
from nco.model_files import ModelCard, load_card, shipped_folders

SEARCH = "ruin-recreate"
"""Around the model, or without one."""
SECONDS = 2.0
"""For each instance, where no other limit is given."""
CLASSICAL = "--solver pyvrp, --solver ortools or another name of nco solvers"
"""Accepted where no solver is made for just this problem."""


@dataclass(frozen=True)
class Choice:
    """The model for an instance."""

    card: ModelCard
    folder: Path
    size: str | None
    """How the instance's size is outside of the model's; None where it is not."""

    def told(self) -> str:
        """For the user: what the model is."""
        trained = self.card.trained_on
        told = (
            f"model {self.card.name} ({self.card.policy.type}, {self.card.problem}, trained on "
            f"{sizes_text(sizes_of(self.card))} customers, {trained.distribution})"
        )
        return told if self.size is None else f"{told}, outside of its sizes: {self.size}"


@final
class Solvers:
    """The solver of each instance: the one that is named, or the shipped model that fits.

    Without a name or any option of models, the search is `SEARCH`, for `SECONDS` where the budget
    has no limit; where no model fits it is the same search without a network, and that is told.

    Args:
        solver: a name or folder as `nco.named_solvers.solver_by_name` takes it; None leaves the
            choice to `choose`.
        budget: as given; see ``self.budget`` for what is to be kept.
        samples, augment, search, search_options, problem: as `nco.named_solvers.solver_by_name`
            explains.
        tell: is told of every choice.

    Raises:
        InputError: as `nco.named_solvers.solver_by_name`, where a solver is named.
    """

    def __init__(
        self,
        solver: str | None,
        budget: Budget,
        *,
        samples: int | None = None,
        augment: int | None = None,
        search: str | Mapping[str, Any] | None = None,
        search_options: Sequence[str] = (),
        problem: str | None = None,
        tell: Callable[[str], None],
    ) -> None:
        self._free = solver is None and samples is None and augment is None and search is None
        if self._free:
            search = SEARCH
        if solver is None and search is not None and budget == Budget():
            budget = Budget(time_limit=SECONDS)
        self.budget = budget
        self._build = lambda name: named_solvers.solver_by_name(
            name,
            samples=samples,
            augment=augment,
            search=search,
            search_options=search_options,
            problem=problem,
        )
        self._search = str(search.get("type")) if isinstance(search, Mapping) else search
        self._tell = tell
        self._named = None if solver is None else self._build(solver)
        self._chosen: dict[Path | None, Solver] = {}

    @cached_property
    def cards(self) -> dict[Path, ModelCard]:
        """Of all shipped models, read once."""
        return shipped_cards()

    def solver_for(self, name: str, instance: Instance) -> Solver:
        """The solver of one instance (B = 1).

        Args:
            name: of the instance, for messages.

        Raises:
            InputError: none is named, no shipped model fits, and the instance is beyond the search
                or options of models are given.
        """
        if self._named is not None:
            return self._named
        limit = self.budget.time_limit
        spent = "" if limit is None else f" for {limit:g} s"
        try:
            choice = choose(instance, self.cards)
        except InputError as error:
            if not self._free or beyond(instance):
                raise InputError(f"{name}: {error}") from error
            self._tell(f"{name}: {error}; taken: {SEARCH} without a model{spent}")
            if None not in self._chosen:
                self._chosen[None] = named_solvers.solver_by_name(SEARCH)
            return self._chosen[None]
        if choice.folder not in self._chosen:
            self._chosen[choice.folder] = self._build(str(choice.folder))
        how = "" if self._search is None else f"; search: {self._search}{spent}"
        self._tell(f"{name}: {choice.told()}{how}; --solver pyvrp takes a classical solver")
        return self._chosen[choice.folder]


def beyond(instance: Instance) -> bool:
    """Whether an instance has attributes that searches know nothing of."""
    try:
        require_known(instance)
    except InputError:
        return True
    return False


def shipped_cards() -> dict[Path, ModelCard]:
    """The cards of the models that come with the package, by their folders."""
    return {folder: load_card(folder) for folder in shipped_folders().values()}


def choose(instance: Instance, cards: Mapping[Path, ModelCard] | None = None) -> Choice:
    """The shipped model that fits an instance best: of those for its problem and ways, one whose
    sizes include it, or the nearest up to twice as far; of several the most special one, then the
    one that has seen most.

    Args:
        instance: one, B = 1.
        cards: as `shipped_cards` reads them, which it does where they are not given.

    Raises:
        InputError: no model fits; the message says what is accepted.
    """
    traits = traits_of(instance)
    size = traits.sizes[1]
    cards = shipped_cards() if cards is None else cards
    refused: list[str] = []
    fitting: list[tuple[tuple[float, ...], Path]] = []
    for folder, card in cards.items():
        reason = _refusal(card, instance, outside(card, traits), size)
        if reason is not None:
            refused.append(f"{card.name} ({reason})")
            continue
        problems = problems_of(card.problem, card.trained_on.variants)
        low, high = sizes_of(card)
        rank = (stretch(card, size), len(problems), high / low, -card.trained_on.instances)
        fitting.append((rank, folder))
    if not fitting:
        known = "; ".join(refused) or "no model comes with this installation"
        raise InputError(
            f"no shipped model solves {', '.join(sorted(traits.problems))} with {size} customers: "
            f"{known}; accepted: {_named(traits.problems)}, or the folder of a model of your own"
        )
    folder = min(fitting)[1]
    return Choice(cards[folder], folder, outside(cards[folder], traits).get("size"))


def _named(problems: frozenset[str]) -> str:
    """Solvers for problems, as one can ask for them."""
    # imported where something is wrong only
    from nco.scenario_config import available_scenario_solvers
    from nco.strategy_config import available_strategies

    special = [*available_scenario_solvers(), *available_strategies()]
    names = [info.name for info in special if problems <= set(info.problems)]
    return f"--solver {' or '.join(names)}, see nco solvers" if names else CLASSICAL


def _refusal(card: ModelCard, instance: Instance, found: dict[Part, str], size: int) -> str | None:
    """Why a model is not for an instance; None where it is."""
    for part in ("problem", "ways"):
        if part in found:
            return found[part]
    if stretch(card, size) > LARGEST_STRETCH:
        return found["size"]
    try:
        build_env(card.problem).require(instance)
    except InputError as error:
        return str(error)
    return None
