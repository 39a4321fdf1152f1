"""A search around a policy behind the protocol of every solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from nco.baselines.solver import Budget, UnsupportedError, require_limit, require_seed
from nco.baselines.workers import Outcome, Routes, judge
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.solution import Solution
from nco.envs.adaptive import AdaptiveEnvironment
from nco.envs.checker import routes_from_actions
from nco.envs.known_attributes import require_known
from nco.models.policy import Policy
from nco.search import Clock, Incumbent, Search, Task, run


def require_fit(policy: Policy, name: str, instance: Instance) -> None:
    """Raise `UnsupportedError` where a policy cannot see an attribute of the instance.

    Args:
        name: of the model, for the message.
    """
    if isinstance(policy.env, AdaptiveEnvironment):
        raise UnsupportedError(
            f"{name} decides as it sees more, so it has no plan to give; accepted: models of "
            "problems whose solution is a plan"
        )
    try:
        policy.env.require(instance)
        policy.require(instance)
    except InputError as error:
        raise UnsupportedError(f"{name} does not fit: {error}") from error


def found_by(
    name: str, one: Instance, best: Incumbent, which: int, seconds: float, shared: int = 1
) -> Solution:
    """The best solution of one instance by our checker, and when each better one came.

    Args:
        which: of the incumbents it is.
        seconds: that it took.
        shared: by so many instances, whose search was one.
    """
    steps = [
        (at / shared, Routes(*routes_from_actions(one, actions)))
        for at, actions in best.found[which]
    ]
    return judge(name, one, Outcome(steps[-1][1], steps, seconds))


@final
@dataclass(frozen=True)
class SearchSolver:
    """Searches instance by instance; the trace of a solution tells when it got better.

    For tours and the 48 variants of routes; what is beyond (`nco.envs.known_attributes.KNOWN`) is
    refused by name, as a search would take it for another problem.

    A budget's iterations are the search's own (see its class), and with them alone the answer
    repeats. The time limit counts from the instance's encoding on; the first greedy solutions are
    always found.

    Args:
        policy: in eval mode.
        label: what the policy is, for messages.
        name: as it stands in tables.
        search: the way to search.
        at_once: instances that are searched together, which share their time limits: on a GPU
            several keep it busy. Active search and rrc accept 1.
    """

    policy: Policy
    label: str
    name: str
    search: Search
    at_once: int = 1

    def __post_init__(self) -> None:
        try:
            self.search.require(self.policy)
        except InputError as error:
            raise UnsupportedError(f"{self.label} does not fit: {error}") from error

    @property
    def device(self) -> torch.device:
        """Where the policy is."""
        policy = self.policy
        return next(policy.buffers(), next(policy.parameters(), torch.zeros(0))).device

    def solve(self, instance: Instance, budget: Budget, seed: int) -> list[Solution]:
        """See `nco.baselines.solver.Solver`.

        Raises:
            InputError: no limit is given to a search that does not end by itself.
        """
        if not self.search.ends:
            require_limit(self.name, budget)
        require_fit(self.policy, self.label, instance)
        try:
            require_known(instance)
        except InputError as error:
            raise UnsupportedError(f"{self.name} does not search here: {error}") from error
        self.search.prepare(self.device)
        found: list[Solution] = []
        for begin in range(0, instance.batch_size[0], self.at_once):
            found += self._together(instance[begin : begin + self.at_once], budget, seed)
        return found

    def _together(self, part: Instance, budget: Budget, seed: int) -> list[Solution]:
        count = part.batch_size[0]
        limit = None if budget.time_limit is None else budget.time_limit * count
        clock = Clock(limit)
        generator = torch.Generator(self.device).manual_seed(require_seed(seed))
        task = Task(self.policy, part.to(self.device), generator, clock, budget.iterations)
        best = run(self.search, task, budget)
        seconds = clock.spent / count
        solutions = []
        for b, one in enumerate(unbatch(part.cpu())):
            solutions.append(found_by(self.name, one, best, b, seconds, count))
        return solutions
