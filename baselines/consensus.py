"""What sampled futures agree on: scenario-based dispatching.

Source: Lan, van Doorn, Wouda, Rijal and Bhulai 2024, iterative conditional dispatch (arXiv
2308.14476): futures are sampled and solved, what most of them postpone is postponed in the next
round's. Where it differs: only postponements are fixed between rounds, since PyVRP has release
times and no latest departures; what is left after the last round leaves where enough futures send
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from nco.baselines.dispatch_routes import routes_now, solved
from nco.baselines.dispatching import Dispatcher
from nco.baselines.solver import Budget
from nco.data.errors import InputError
from nco.data.noise import Scenarios, Split, hash_words
from nco.data.request_stream import draw_requests
from nco.envs.dispatch import Epoch, Request, Routes, requests_by_scenario


@final
@dataclass(frozen=True)
class Consensus(Dispatcher):
    """A request leaves now where enough sampled futures have it in a route without later requests.

    Args:
        num_futures: of each round, drawn from the selection scenarios of the instance, never from
            those of a test; PyVRP solves each with the budget of the epoch, so that the epoch
            costs ``num_rounds * num_futures + 1`` times as much.
        num_rounds: in each but the last, what fewer futures send than ``threshold`` is postponed.
        threshold: the share of futures from which a request leaves.

    Raises:
        InputError: a number is out of range.
    """

    num_futures: int = 8
    num_rounds: int = 2
    threshold: float = 0.5

    def __post_init__(self) -> None:
        for name in ("num_futures", "num_rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; accepted: at least 1")
        if not 0 < self.threshold <= 1:
            raise InputError(f"threshold is {self.threshold}; accepted: above 0, up to 1")

    @property
    def name(self) -> str:
        return f"consensus of {self.num_futures}"

    def routes(self, epoch: Epoch, budget: Budget, seed: int) -> Routes:
        waiting: frozenset[int] = frozenset()
        last = epoch.setting.rules.num_epochs - 1
        if epoch.free and epoch.number < last:
            for part in range(self.num_rounds):
                share = self._shares(epoch, waiting, budget, hash_words(seed, part) % 2**62)
                rare = (r.number for r in epoch.free if share[r.number] < self.threshold)
                waiting = waiting.union(rare)
        sent = [request for request in epoch.open if request.number not in waiting]
        return routes_now(epoch.setting, sent, epoch.departure, budget, seed)

    def _shares(
        self, epoch: Epoch, waiting: frozenset[int], budget: Budget, seed: int
    ) -> dict[int, float]:
        """Of each open request the share of futures that send it now."""
        setting = epoch.setting
        sent = dict.fromkeys((request.number for request in epoch.open), 0)
        for number, future in enumerate(self._futures(epoch, seed)):
            everyone = [*epoch.open, *future]
            soonest = [setting.departure(max(r.epoch, epoch.number)) for r in everyone]
            for place, request in enumerate(epoch.open):
                if request.number in waiting:
                    soonest[place] = setting.departure(epoch.number + 1)
            own_seed = hash_words(seed, number) % 2**31
            routes = solved(setting, everyone, epoch.departure, budget, own_seed, release=soonest)
            when = {r.number: time for r, time in zip(everyone, soonest, strict=True)}
            for route in routes:
                if max(when[n] for n in route) <= epoch.departure:
                    for n in route:
                        sent[n] += 1
        return {number: times / self.num_futures for number, times in sent.items()}

    def _futures(self, epoch: Epoch, seed: int) -> list[list[Request]]:
        """Requests that may come later, numbered behind all that are open."""
        setting = epoch.setting
        scenarios = Scenarios(Split.SELECTION, self.num_futures, seed)
        drawn = draw_requests(setting.instance, setting.rules, scenarios)
        behind = 1 + max(request.number for request in epoch.open)
        found = []
        for requests in requests_by_scenario(drawn):
            later = [r for r in requests if r.epoch > epoch.number]
            found.append([replace(r, number=behind + i) for i, r in enumerate(later)])
        return found
