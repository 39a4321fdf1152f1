"""Problems as a configuration names them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from pydantic import AfterValidator

from nco.data.generators import ADAPTIVE, PROBLEMS
from nco.data.multi_task import ROAD_PROBLEMS, accepted_names
from nco.envs.a_priori import APriori
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.variants import environments, scenario_costs


def _among(known: Collection[str]) -> AfterValidator:
    def refuse_others(problem: str) -> str:
        if problem not in known:
            raise ValueError(accepted_names(problem, known))
        return problem

    return AfterValidator(refuse_others)


Problem = Annotated[str, _among(environments)]
"""One that there is an environment for."""
GeneratedProblem = Annotated[str, _among((*PROBLEMS, *ROAD_PROBLEMS))]
"""One that there is a generator for."""
SIMULATED = tuple(name for name in scenario_costs if isinstance(environments[name], APriori))
"""Those whose plans can be priced in scenarios."""
ON_THE_WAY = tuple(n for n, env in environments.items() if isinstance(env, AdaptiveEnvironment))
"""Those that are decided on the way, as noise is seen."""
PLANNED = {name: name.removesuffix(ADAPTIVE) for name in ON_THE_WAY if name.endswith(ADAPTIVE)}
"""The problem of their plans, for those that can be planned."""
