"""Simulation-guided beam search (Choo et al. 2022, arXiv:2207.06190)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.envs.environment import State, mask_bias
from nco.search import Builder, Progress, Search, Task, all_starts, started
from nco.strategies import Greedy


@final
@dataclass(frozen=True)
class SGBS(Search):
    """A beam whose nodes are judged by the greedy solutions that follow from them.

    One iteration is one level of the tree: each of ``beam`` partial solutions is extended by its
    ``expansion`` most probable nodes, each child is completed greedily, and the children with the
    cheapest completions stay. The first level are the starts of multi-start. When the tree is done
    the next symmetric position is searched, ``augment`` in all.

    With beam 1 and expansion 1 the tree is the greedy solution.

    Args:
        multi_start: take the best of all starts for the beam; False takes one start, and the beam
            grows from it.
    """

    beam: int = 4
    expansion: int = 4
    augment: int = 8
    multi_start: bool = True

    @property
    def name(self) -> str:
        return "sgbs"

    @property
    def ends(self) -> bool:
        return True

    def init(self, task: Task) -> Progress:
        return _Beam(task, self)


@dataclass
class _Tree:
    """The beam of one symmetric position."""

    builder: Builder
    state: State
    taken: list[Int[Tensor, "batch trajectory"]] = field(default_factory=list)


@final
class _Beam(Progress):
    def __init__(self, task: Task, search: SGBS) -> None:
        super().__init__(task)
        self.search = search
        self.views = task.num_views(search.augment)
        self.view = 0
        self.tree = self.plant(0)

    def plant(self, view: int) -> _Tree:
        """The best starts of a position."""
        task = self.task
        builder = Builder(task, task.encoding(view), Greedy())
        one = None if not task.policy.needs_start else task.env.start_actions(task.instance, 1)
        state, taken = started(task, all_starts(task) if self.search.multi_start else one)
        built = builder.complete(state, taken)
        self.best.offer(built.actions, built.costs)
        return self.pruned(_Tree(builder, state, taken), built.costs)

    def pruned(self, tree: _Tree, costs: Float[Tensor, "batch trajectory"]) -> _Tree:
        """The cheapest partial solutions."""
        width = min(self.search.beam, costs.shape[1])
        index = costs.topk(width, dim=1, largest=False, sorted=True).indices
        taken = [action.gather(1, index) for action in tree.taken]
        return _Tree(tree.builder, tree.state.select(index), taken)

    def step(self) -> bool:
        task, tree = self.task, self.tree
        if bool(task.env.done(tree.state).all()):
            self.view += 1
            if self.view == self.views:
                return False
            self.tree = self.plant(self.view)
            return True
        parents, action, allowed = self.children(tree)
        taken = [a.gather(1, parents) for a in tree.taken] + [action]
        state = task.env.step(tree.state.select(parents), action)
        built = tree.builder.complete(state, taken)
        # a place in the tree without a node is no solution
        costs = built.costs.masked_fill(~allowed, torch.inf)
        self.best.offer(built.actions, costs)
        self.tree = self.pruned(_Tree(tree.builder, state, taken), costs)
        return True

    def children(self, tree: _Tree) -> tuple[Tensor, Tensor, Tensor]:
        """Of each instance beam · expansion: the parent's index, the node, and whether it is
        allowed. The node of one that is not is the parent's best."""
        task, policy = self.task, self.task.policy
        with torch.no_grad():
            seen = task.env.observe(tree.state)
            logits = policy.scores(tree.builder.encoding, seen).logits
            scores = logits + mask_bias(seen.mask, logits.dtype)
        width = min(self.search.expansion, scores.shape[2])
        node = scores.topk(width, dim=2).indices
        allowed = seen.mask.gather(2, node)
        node = torch.where(allowed, node, node[:, :, :1])
        parents = torch.arange(node.shape[1], device=node.device).view(1, -1, 1).expand_as(node)
        return parents.flatten(1), node.flatten(1), allowed.flatten(1)
