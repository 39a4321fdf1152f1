"""What a policy that sees noise on the way costs, scenario by scenario."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.instance import Instance
from nco.data.noise import Scenarios
from nco.envs.adaptive import AdaptiveEnvironment
from nco.models.policy import Policy
from nco.rollout import rollout
from nco.strategies import Greedy

AT_ONCE = 256
"""Scenarios of each instance that are walked through together."""


def costs_in_scenarios(
    env: AdaptiveEnvironment, policy: Policy, instance: Instance, scenarios: Scenarios
) -> Float[Tensor, "batch scenario"]:
    """The cost of the one greedy trajectory of each scenario, in the instance's units.

    Args:
        env: its own scenarios are not looked at.
        policy: in eval mode.
    """
    with torch.no_grad():
        encoding = policy.encode(instance)
    costs = []
    for start in range(0, scenarios.count, AT_ONCE):
        part = scenarios.part(start, min(start + AT_ONCE, scenarios.count))
        found = rollout(
            env.in_scenarios(part),
            policy,
            instance,
            Greedy(),
            num_trajectories=part.count,
            encoding=encoding,
        )
        costs.append(found.costs)
    return torch.cat(costs, 1)
