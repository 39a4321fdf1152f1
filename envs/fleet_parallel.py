"""Profiled vehicle routing, all vehicles at once: joint decisions whose likelihood is exact.

A policy scores all vehicles and nodes once; then each vehicle chooses, in an order of priority,
from the softmax over the nodes that it may go to and that no vehicle before it has taken. The order
depends on scores and state only, never on what is chosen. So the likelihood of the joint decision
that is executed is the product of those probabilities: nothing is chosen and then overruled, and
the joint decisions that are possible have probabilities that sum to one.

In PARCO and CAMP all vehicles choose independently, the losers of a conflict wait, and the
likelihood is that of what they had chosen (Berto et al. 2024, arXiv 2409.03811; Hua et al. 2025,
arXiv 2501.02977). The orders here are named after their conflict rules.

A vehicle may wait, where it is. At least one vehicle moves at each step: the last in the order that
has a move must take one if all before it wait. So an episode has at most 2n - 1 steps for n
customers, and no mask is empty.

Axes: B instances, S trajectories of each, M vehicles, N nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.instance import Instance
from nco.envs.environment import State, mask_bias
from nco.envs.fleet import FleetEnvironment, tables_in, values_in
from nco.envs.fleet_rules import require_fleet, travel_times

Priority = Literal["highest-probability", "first", "random", "closest", "shortest-path"]
"""Who chooses first:

- highest-probability: whose best node has the highest probability;
- first: vehicle 0, then 1, ...;
- random: an order from a generator; the likelihood is given the order, which no policy influences;
- closest: whose best node is nearest, in its time;
- shortest-path: whose trips took the least time so far.
"""
Choice = Callable[
    [int, Int[Tensor, "batch trajectory"], Bool[Tensor, "batch trajectory node"]], Tensor
]
"""(rank, vehicle, allowed nodes) -> node, of the vehicles whose turn it is."""


class Joint(NamedTuple):
    """A joint decision, in the order in which vehicles chose."""

    actions: Int[Tensor, "batch trajectory vehicle"]
    """``vehicle * N + node``."""
    allowed: Bool[Tensor, "batch trajectory vehicle node"]
    """What each could choose from when its turn came."""


@final
@dataclass(frozen=True)
class ParallelFleetVRP(FleetEnvironment):
    """Profiled vehicle routing with joint decisions.

    A trajectory's actions are those of its joint decisions in a row, M for each, in the order in
    which vehicles chose; the mask has what each vehicle could choose if it were the first.

    Args:
        priority: who chooses first.
    """

    priority: Priority = "highest-probability"

    def action_mask(self, state: State) -> Bool[Tensor, "batch trajectory node"]:
        place = values_in(state).place.unsqueeze(3)
        allowed = self.moves(state) & ~self.done(state)[:, :, None, None]
        return allowed.scatter(3, place, True).flatten(2)

    def max_steps(self, instance: Instance) -> int:
        return require_fleet(instance).num_vehicles * self.max_joint_steps(instance)

    def max_joint_steps(self, instance: Instance) -> int:
        """No trajectory takes more joint decisions than this."""
        # a vehicle returns only after it has served a customer, and each joint decision has a move
        return 2 * self.num_starts(instance) - 1

    def min_steps(self, instance: Instance) -> int:
        return self.num_starts(instance)

    def order(
        self,
        state: State,
        logits: Float[Tensor, "batch trajectory vehicle node"],
        mask: Bool[Tensor, "batch trajectory vehicle node"],
        generator: torch.Generator | None,
    ) -> Int[Tensor, "batch trajectory vehicle"]:
        """The vehicles in the order in which they choose.

        Args:
            mask: `action_mask`, with an axis for the vehicles.
            generator: for the priority random.
        """
        b, s, m, _ = logits.shape
        device = logits.device
        match self.priority:
            case "highest-probability":
                scores = logits + mask_bias(mask.flatten(1, 2), logits.dtype).view_as(logits)
                return scores.softmax(3).amax(3).argsort(dim=2, descending=True, stable=True)
            case "first":
                return torch.arange(m, device=device).expand(b, s, m)
            case "random":
                return torch.rand(b, s, m, generator=generator, device=device).argsort(dim=2)
            case "closest":
                scores = logits + mask_bias(mask.flatten(1, 2), logits.dtype).view_as(logits)
                best = scores.argmax(3, keepdim=True)
                times = travel_times(tables_in(state.problem)[0], values_in(state).place)
                return times.gather(3, best).squeeze(3).argsort(dim=2, stable=True)
            case "shortest-path":
                return values_in(state).clock.argsort(dim=2, stable=True)
            case _:
                assert_never(self.priority)

    def decide(
        self,
        state: State,
        mask: Bool[Tensor, "batch trajectory vehicle node"],
        order: Int[Tensor, "batch trajectory vehicle"],
        choose: Choice,
    ) -> Joint:
        """Let the vehicles choose in an order."""
        b, s, m, n = mask.shape
        place, depots = values_in(state).place, state.problem.num_depots
        waits = torch.zeros_like(mask).scatter(3, place.unsqueeze(3), True)
        can_move = (mask & ~waits).any(3).gather(2, order)
        rank = torch.arange(m, device=order.device)
        last = (can_move * (rank + 1)).amax(2) - 1
        taken = torch.zeros(b, s, n, dtype=torch.bool, device=mask.device)
        moved = torch.zeros(b, s, dtype=torch.bool, device=mask.device)
        actions, allowed = [], []
        for turn, vehicle in enumerate(order.unbind(2)):
            index = vehicle.view(b, s, 1, 1).expand(b, s, 1, n)
            at = place.gather(2, vehicle.unsqueeze(2))
            may = mask.gather(2, index).squeeze(2) & ~taken
            must = ((last == turn) & ~moved).unsqueeze(2)
            may = may.scatter(2, at, may.gather(2, at) & ~must)
            node = choose(turn, vehicle, may).unsqueeze(2)
            # depots are there for all, and nobody else goes where a vehicle waits
            served = (node != at) & (node >= depots.unsqueeze(2))
            taken = taken.scatter(2, node, taken.gather(2, node) | served)
            moved = moved | (node != at).squeeze(2)
            actions.append(vehicle * n + node.squeeze(2))
            allowed.append(may)
        return Joint(torch.stack(actions, 2), torch.stack(allowed, 2))

    def join(self, state: State, joint: Int[Tensor, "batch trajectory vehicle"]) -> State:
        """The state after a joint decision, whose actions are ``vehicle * N + node``."""
        n = state.unvisited.shape[2]
        vehicle, node = joint // n, joint % n
        to = values_in(state).place.scatter(2, vehicle, node)
        return self.go(state, to, last=vehicle[:, :, -1])
