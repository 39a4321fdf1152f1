"""The searches around a model by name: the only place where a search's name chooses code.

Each has one configuration class, told apart by ``type``. A search's module is imported only when it
is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, PositiveFloat, PositiveInt

from nco.baselines.solver import Solver
from nco.config_files import apply_overrides, parse
from nco.models.policy import Policy
from nco.strict import Strict


class _Search(Strict):
    at_once: PositiveInt = 1
    """Instances that are searched together and share their time limits; see
    `nco.search_solver.SearchSolver`."""


class SamplingConfig(_Search):
    """See `nco.search_sampling.SamplingSearch`."""

    type: Literal["sampling"]
    samples: PositiveInt = 64
    temperature: PositiveFloat = 1.0
    augment: Literal[1, 8] = 8


class LocalSearchConfig(_Search):
    """See `nco.search_sampling.LocalSearchOnSamples`."""

    type: Literal["local-search"]
    samples: PositiveInt = 16
    temperature: PositiveFloat = 1.0
    augment: Literal[1, 8] = 8
    num_neighbours: PositiveInt = 20
    moves: Literal["auto", "batched", "compiled"] = "auto"


class RuinRecreateConfig(_Search):
    """See `nco.search_ruins.RuinRecreateSearch`."""

    type: Literal["ruin-recreate"]
    starts: PositiveInt = 8
    hot: PositiveFloat = 1.0
    cold: PositiveFloat = 0.01
    num_neighbours: PositiveInt = 10


class SGBSConfig(_Search):
    """See `nco.search_beam.SGBS`."""

    type: Literal["sgbs"]
    beam: PositiveInt = 4
    expansion: PositiveInt = 4
    augment: Literal[1, 8] = 8
    multi_start: bool = True


class EASConfig(_Search):
    """See `nco.search_active.EAS`."""

    type: Literal["eas-embedding", "eas-layer"]
    lr: PositiveFloat = 0.0032
    imitation: Annotated[float, Field(ge=0)] = 0.006
    samples: PositiveInt | None = None


class ActiveConfig(Strict):
    """See `nco.search_active.ActiveSearch`."""

    type: Literal["active"]
    lr: PositiveFloat = 1e-4
    imitation: Annotated[float, Field(ge=0)] = 0.0
    samples: PositiveInt | None = None


class RRCConfig(Strict):
    """See `nco.search_rrc.RandomReconstruction`."""

    type: Literal["rrc"]
    samples: PositiveInt = 32
    longest: Annotated[int, Field(ge=3)] | None = 50
    temperature: PositiveFloat = 1.0


class WarmPyVRPConfig(Strict):
    """PyVRP from the model's greedy solution; see `nco.baselines.pyvrp_solver.PyVRPSolver`."""

    type: Literal["pyvrp"]
    augment: Literal[1, 8] = 1
    """Positions in which the model sees the instance first."""


SearchConfig: TypeAlias = Annotated[
    SamplingConfig
    | LocalSearchConfig
    | RuinRecreateConfig
    | SGBSConfig
    | EASConfig
    | ActiveConfig
    | RRCConfig
    | WarmPyVRPConfig,
    Field(discriminator="type"),
]
"""Any search's configuration, as it stands in a configuration file."""

SEARCH_NAMES: tuple[str, ...] = tuple(
    name
    for member in get_args(get_args(SearchConfig)[0])
    for name in get_args(member.model_fields["type"].annotation)
)
"""The names of the searches."""


class _Asked(Strict):
    search: SearchConfig


def search_config(search: str | Mapping[str, Any], options: Sequence[str] = ()) -> SearchConfig:
    """A search's configuration from its name or from plain values.

    Args:
        search: the name, or the values with ``type``.
        options: further values, each "name=value" as on the command line.

    Raises:
        InputError: there is no such search, it has no such option, or a value is out of range.
    """
    given = {"type": search} if isinstance(search, str) else dict(search)
    values = apply_overrides({"search": given}, [f"search.{option}" for option in options])
    return parse(_Asked, values, "search").search


def build_search(config: SearchConfig, policy: Policy, label: str, start: Solver) -> Solver:
    """The search around a policy as a solver.

    Args:
        label: what the policy is, for messages.
        start: the model alone: its name, and its greedy solution for a search that begins there.

    Raises:
        UnsupportedError: the search cannot be done around this policy.
    """
    if isinstance(config, WarmPyVRPConfig):
        from nco.baselines.pyvrp_solver import PyVRPSolver

        return PyVRPSolver(start=start)
    from nco.search_solver import SearchSolver

    match config:
        case SamplingConfig():
            from nco.search_sampling import SamplingSearch

            search = SamplingSearch(config.samples, config.temperature, config.augment)
        case LocalSearchConfig():
            from nco.search_sampling import LocalSearchOnSamples

            search = LocalSearchOnSamples(
                config.samples,
                config.temperature,
                config.augment,
                config.num_neighbours,
                config.moves,
            )
        case RuinRecreateConfig():
            from nco.search_ruins import RuinRecreateSearch

            search = RuinRecreateSearch(
                config.starts, config.hot, config.cold, config.num_neighbours
            )
        case SGBSConfig():
            from nco.search_beam import SGBS

            search = SGBS(config.beam, config.expansion, config.augment, config.multi_start)
        case EASConfig():
            from nco.search_active import EAS

            kind = "embedding" if config.type == "eas-embedding" else "layer"
            search = EAS(kind, config.lr, config.imitation, config.samples)
        case ActiveConfig():
            from nco.search_active import ActiveSearch

            search = ActiveSearch(config.lr, config.imitation, config.samples)
        case RRCConfig():
            from nco.search_rrc import RandomReconstruction

            search = RandomReconstruction(config.samples, config.longest, config.temperature)
    at_once = config.at_once if isinstance(config, _Search) else 1
    return SearchSolver(policy, label, f"{start.name} {search.name}", search, at_once)
