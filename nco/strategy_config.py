"""Strategies for days of requests by name: what dvrptw has in the place of solvers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveInt, TypeAdapter

from nco.baselines.dispatching import Chance, DayStrategy, Everyone, Nobody
from nco.data.dynamic_requests import DYNAMIC_PROBLEMS
from nco.data.errors import InputError
from nco.solver_config import BaseSolverConfig, SolverInfo, named, solver_rows


class _StrategyConfig(BaseSolverConfig):
    """PyVRP makes the routes of all of them; the budget is of an epoch."""

    package: ClassVar[str | None] = "pyvrp"
    problems: ClassVar[tuple[str, ...]] = DYNAMIC_PROBLEMS


class GreedyConfig(_StrategyConfig):
    """See `nco.baselines.dispatching.Everyone`."""

    note: ClassVar[str] = "every request leaves at once"
    solver: Literal["dispatch-greedy"]


class LazyConfig(_StrategyConfig):
    """See `nco.baselines.dispatching.Nobody`."""

    note: ClassVar[str] = "every request waits as long as it can"
    solver: Literal["dispatch-lazy"]


class RandomConfig(_StrategyConfig):
    """See `nco.baselines.dispatching.Chance`."""

    note: ClassVar[str] = "who can wait leaves with a probability"
    solver: Literal["dispatch-random"]
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


class PrizeConfig(_StrategyConfig):
    """See `nco.baselines.dispatch_routes.PrizeDispatch`."""

    note: ClassVar[str] = "PyVRP takes along who can wait for one prize each"
    solver: Literal["dispatch-prize"]
    prize: NonNegativeFloat = 0.2
    """In units of length."""


class ConsensusConfig(_StrategyConfig):
    """See `nco.baselines.consensus.Consensus`."""

    note: ClassVar[str] = "what sampled futures agree on; many times the budget of an epoch"
    solver: Literal["dispatch-consensus"]
    num_futures: PositiveInt = 8
    num_rounds: PositiveInt = 2
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5


class HindsightConfig(_StrategyConfig):
    """See `nco.baselines.dispatch_routes.Hindsight`."""

    note: ClassVar[str] = "knows the whole day, so no strategy: what costs compare with"
    solver: Literal["dispatch-hindsight"]


class LearnedConfig(_StrategyConfig):
    """See `nco.dispatch_model.LearnedChoice`."""

    note: ClassVar[str] = "a policy of nco train dvrptw20 says who leaves"
    solver: Literal["dispatch-model"]
    path: Path
    """A model folder, or the folder of a training run."""


StrategyConfig = (
    GreedyConfig
    | LazyConfig
    | RandomConfig
    | PrizeConfig
    | ConsensusConfig
    | HindsightConfig
    | LearnedConfig
)
STRATEGIES = named(get_args(StrategyConfig))
"""By the names that configurations and the command line know them by."""


def available_strategies() -> list[SolverInfo]:
    """Every strategy, as `nco.solver_config.available_solvers` tells of solvers."""
    return solver_rows(STRATEGIES)


def build_strategy(config: StrategyConfig) -> DayStrategy:
    """The strategy that a configuration describes.

    Raises:
        InputError: there is no such model.
    """
    # PyVRP is imported only when something is built
    from nco.baselines.dispatch_routes import ChooseThenRoute, Hindsight, PrizeDispatch

    match config:
        case GreedyConfig():
            return ChooseThenRoute(Everyone())
        case LazyConfig():
            return ChooseThenRoute(Nobody())
        case RandomConfig():
            return ChooseThenRoute(Chance(config.share))
        case PrizeConfig():
            return PrizeDispatch(config.prize)
        case ConsensusConfig():
            from nco.baselines.consensus import Consensus

            return Consensus(config.num_futures, config.num_rounds, config.threshold)
        case HindsightConfig():
            return Hindsight()
        case LearnedConfig():
            from nco.dispatch_model import load_dispatcher

            return ChooseThenRoute(load_dispatcher(config.path))


def strategy_by_name(name: str) -> DayStrategy:
    """The strategy of this name with its default options, or the model in this folder.

    Raises:
        InputError: it is neither.
    """
    if name in STRATEGIES and name != "dispatch-model":
        adapter = TypeAdapter[StrategyConfig](
            Annotated[StrategyConfig, Field(discriminator="solver")]
        )
        return build_strategy(adapter.validate_python({"solver": name}))
    if not Path(name).is_dir():
        known = ", ".join(name for name in STRATEGIES if name != "dispatch-model")
        raise InputError(
            f"solver {name!r} is no strategy for days of requests; accepted: {known}, or the "
            "folder of a model of nco train dvrptw20"
        )
    return build_strategy(LearnedConfig(solver="dispatch-model", path=Path(name)))
