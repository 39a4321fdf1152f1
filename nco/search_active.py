"""Searches that learn on the instances they solve: active search, and efficient active search."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.envs.environment import unit_length
from nco.kernel_scope import pointer_clip
from nco.kernels import Kernel
from nco.likelihood import log_likelihood
from nco.models.pointer import ADAPTER, new_adapter
from nco.models.policy import Encoding, Policy
from nco.rollout import Trajectory, lengthened
from nco.search import Builder, Progress, Search, Task
from nco.strategies import Sampling

EMBEDDINGS = "pointer"
"""The table that efficient active search changes: the keys of the nodes that may be pointed at."""


@final
@dataclass(frozen=True)
class EAS(Search):
    """Efficient active search (Hottung et al. 2022, arXiv:2106.05126): parameters of their own for
    each instance are learned while it is solved; the model's weights stay as they are.

    Of kind "embedding" these are the pointer keys of the instance's nodes (the paper's EAS-Emb); of
    kind "layer" a layer with a residual connection between the glimpse and the pointer (EAS-Lay),
    which changes nothing at first. One iteration draws a solution from each start and takes one
    step of Adam along the policy gradient, with the mean as baseline, plus ``imitation`` times the
    gradient of the likelihood of the best solution so far. Costs are in units of the instance's
    extent, as those of instances in the unit square are.

    Differs from the paper in: one position of the instance, not eight; the layer comes before the
    glimpse's output projection, which is folded into the keys.
    """

    kind: Literal["embedding", "layer"] = "embedding"
    lr: float = 0.0032
    imitation: float = 0.006
    samples: int | None = None
    """Draws of an iteration; None is one from each start."""

    @property
    def name(self) -> str:
        return f"eas-{self.kind}"

    @property
    def first_step(self) -> float:
        return 4.0 if self.kind == "embedding" else 8.0

    def require(self, policy: Policy) -> None:
        if pointer_clip(policy) is None:
            raise InputError(
                f"{self.name} changes a plain pointer decoder, and {type(policy).__name__} has "
                "none; accepted: models whose decoder is one"
            )

    def init(self, task: Task) -> Progress:
        return _Efficient(task, self)


@final
@dataclass(frozen=True)
class ActiveSearch(Search):
    """Active search (Bello et al. 2016, arXiv:1611.09940): a copy of the whole model goes on
    learning on the one instance, by the policy gradient with the mean of the draws as baseline.

    Differs from the paper in: the baseline (theirs is a moving average), and that learning begins
    from the model's greedy solutions of all starts.
    """

    lr: float = 1e-4
    imitation: float = 0.0
    samples: int | None = None

    @property
    def name(self) -> str:
        return "active"

    @property
    def first_step(self) -> float:
        return 4.0

    def require(self, policy: Policy) -> None:
        if not any(p.requires_grad for p in policy.parameters()):
            raise InputError(
                f"active learns a model's weights, and {type(policy).__name__} has none; accepted: "
                "models with weights"
            )

    def init(self, task: Task) -> Progress:
        if task.instance.batch_size[0] > 1:
            raise InputError(
                f"active search got {task.instance.batch_size[0]} instances at once; accepted: 1, "
                "as all weights are learned for the one"
            )
        return _Active(task, self)


class _Learning(Progress, ABC):
    """Draw, compare, and take a step towards what was good.

    Args:
        plain: whether the tables are not those that kernels read.
    """

    def __init__(self, task: Task, search: EAS | ActiveSearch, plain: bool) -> None:
        super().__init__(task)
        self.search = search
        self.plain = plain
        count = search.samples or task.env.num_starts(task.instance)
        self.starts = task.env.start_actions(task.instance, count)
        self.greedy()
        self.optimiser = torch.optim.Adam(self.parameters(), lr=search.lr)

    @abstractmethod
    def parameters(self) -> list[Tensor]:
        """What is learned."""

    @abstractmethod
    def policy(self) -> Policy:
        """Whose decoder reads the tables."""

    @abstractmethod
    def tables(self) -> Encoding:
        """The tables, with gradients to the parameters."""

    def step(self) -> bool:
        task, policy = self.task, self.policy()
        with torch.enable_grad():
            tables = self.tables()
        detached = tables.with_leaves([leaf.detach() for leaf in tables.leaves()])
        task = replace(task, policy=policy)
        built = Builder(task, detached, Sampling(), self.plain).from_starts(self.starts)
        self.best.offer(built.actions, built.costs)
        actions, weights = self.lesson(built.actions, built.costs)
        kernel: Kernel = "plain" if self.plain else "auto"
        known = Trajectory(actions, weights, self.starts.shape[2], None)
        with torch.enable_grad():
            scores = log_likelihood(
                policy, task.env, task.instance, known, encoding=tables, kernel=kernel
            )
            loss = -(weights * scores).sum()
        self.optimiser.zero_grad()
        loss.backward(inputs=self.parameters())
        self.optimiser.step()
        return True

    def lesson(
        self,
        actions: Int[Tensor, "batch trajectory step"],
        costs: Float[Tensor, "batch trajectory"],
    ) -> tuple[Int[Tensor, "batch lesson longest"], Float[Tensor, "batch lesson"]]:
        """Solutions, the last one the best so far, and how much more likely each shall become."""
        best = [self.best.best(b).to(actions.device).unsqueeze(0) for b in range(len(actions))]
        steps = max(actions.shape[2], *(b.shape[1] for b in best))
        known = torch.stack([lengthened(b, steps) for b in best])
        unit = unit_length(self.task.instance).unsqueeze(1)
        gain = (costs.mean(1, keepdim=True) - costs) / unit / costs.shape[1]
        imitation = torch.full_like(gain[:, :1], self.search.imitation)
        return (
            torch.cat([lengthened(actions, steps), known], 1),
            torch.cat([gain, imitation], 1),
        )


@final
class _Efficient(_Learning):
    def __init__(self, task: Task, search: EAS) -> None:
        self.base = task.encoding()
        pointer = self.base.batched[EMBEDDINGS]
        if search.kind == "embedding":
            self.learned = {EMBEDDINGS: pointer.clone().requires_grad_()}
        else:
            layer = new_adapter(pointer, task.generator)
            self.learned = {name: table.requires_grad_() for name, table in layer.items()}
        super().__init__(task, search, plain=ADAPTER in self.learned)

    def parameters(self) -> list[Tensor]:
        return list(self.learned.values())

    def policy(self) -> Policy:
        return self.task.policy

    def tables(self) -> Encoding:
        return replace(self.base, batched={**self.base.batched, **self.learned})


@final
class _Active(_Learning):
    def __init__(self, task: Task, search: ActiveSearch) -> None:
        self.copied = copy.deepcopy(task.policy)
        super().__init__(task, search, plain=False)

    def parameters(self) -> list[Tensor]:
        return [p for p in self.copied.parameters() if p.requires_grad]

    def policy(self) -> Policy:
        return self.copied

    def tables(self) -> Encoding:
        return self.copied.encode(self.task.instance)
