"""Choices and likelihoods of pointer decoders on a CPU, by the kernels of `nco.cpu_kernel`.

The kernels compute what `nco.models.pointer.pointer_logits` and a softmax compute, state by state
and without tables of all states. They are compiled at their first use, for some seconds, and kept
on disk from then on.

Axes: as in `nco.models.policy`; N' nodes padded to whole vectors, W' likewise a head's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from nco.cpu_kernel import Tables, choose, score
from nco.cpu_vectors import LANES
from nco.envs.environment import Observation
from nco.episode import Decisions
from nco.models.policy import Encoding
from nco.strategies import Greedy, Sampling

CHUNK = 16
"""Instances that are scored together, where their tables fit."""
CHUNK_BYTES = 1e8
HEADS = 8


def padded(size: int) -> int:
    """The next multiple of a vector's length."""
    return -(-size // LANES) * LANES


def pair_tables(encoding: Encoding, started: bool) -> list[Tensor]:
    """What `Tables` names, as tensors that the encoding's gradient passes through.

    Args:
        started: as in an observation; before the start the one query is that of the start.
    """
    # mixed precision is for the encoder
    with torch.autocast("cpu", enabled=False):
        return _pair_tables(encoding, started)


def _pair_tables(encoding: Encoding, started: bool) -> list[Tensor]:
    tables = encoding.batched
    key = tables["key"]
    b, h, w, n = key.shape
    key = F.pad(key, (0, padded(n) - n))

    def products(query: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch head row padded"]:
        return query.reshape(b, -1, h, w).transpose(1, 2) @ key

    if started:
        current = products(tables["query_current"])
        first = tables.get("query_first")
    else:
        current, first = products(tables["query_start"].unsqueeze(1)), None
    features = encoding.shared["query_features"]
    # [H, F, W] · [B, H, W, N'] -> [B, F, H, N']
    scores = (features.view(-1, h, w).transpose(0, 1) @ key).transpose(1, 2)
    pointer = F.pad(tables["pointer"].view(b, h, w, n), (0, 0, 0, padded(w) - w))
    # what nodes add to the score, and what the way to them adds
    biases = [tables[name] for name in ("pointer_bias", "travel") if name in tables]
    found = [
        current,
        key.new_zeros(b, h, 1, key.shape[3]) if first is None else products(first),
        scores,
        F.pad(tables["value"], (0, padded(w) - w)),
        pointer.permute(0, 3, 1, 2).reshape(b, n, -1),
        sum(biases, start=key.new_zeros(b, 1, n)),
    ]
    return [table.contiguous() for table in found]


def as_arrays(tables: list[Tensor]) -> Tables:
    """The same memory, as the kernels read it."""
    return Tables(*(table.detach().numpy() for table in tables))


@final
class PointerChooser:
    """Chooses the next nodes of a batch of instances, greedily or by draws.

    Args:
        encoding: of B instances; its tables are laid out anew, once.
        clip: of the compatibility.
        strategy: draws are by cumulative sums and one uniform number a state, as
            `nco.strategies.draw` makes them.
    """

    def __init__(self, encoding: Encoding, clip: float, strategy: Greedy | Sampling) -> None:
        with torch.no_grad():
            self.tables = as_arrays(pair_tables(encoding, started=True))
        self.sampling = isinstance(strategy, Sampling)
        temperature = strategy.temperature if isinstance(strategy, Sampling) else 1.0
        self.scale = np.float32(clip / temperature)

    def __call__(
        self, observation: Observation, generator: torch.Generator | None
    ) -> Int[Tensor, "batch state"]:
        """The nodes chosen for states that are started."""
        current = observation.current.contiguous()
        uniform = torch.rand(current.shape, generator=generator) if self.sampling else _NOTHING
        action = torch.empty_like(current)
        choose(
            self.tables,
            current.numpy(),
            observation.first.contiguous().numpy(),
            observation.features.contiguous().numpy(),
            observation.mask.contiguous().numpy(),
            uniform.numpy(),
            self.scale,
            self.sampling,
            action.numpy(),
        )
        return action


_NOTHING = torch.zeros(0, 0)


def compile_choices() -> None:
    """Compile the kernel of choices, or read what was compiled before: a choice for no state."""
    pointer, bias = torch.zeros(0, 1, LANES), torch.zeros(0, 1, 1)
    tables = as_arrays([torch.zeros(0, 1, 1, LANES)] * 4 + [pointer, bias])
    nodes, mask = torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0, 1, dtype=torch.bool)
    choose(
        tables, nodes.numpy(), nodes.numpy(), torch.zeros(0, 0, 0).numpy(), mask.numpy(),
        _NOTHING.numpy(), np.float32(1), False, nodes.numpy(),
    )  # fmt: skip


@final
@dataclass(frozen=True)
class Steps:
    """The decisions of some instances at some steps."""

    decisions: Decisions
    instances: slice
    """Of the decisions' batch."""
    steps: slice
    clip: float
    """Of the compatibility."""

    @property
    def started(self) -> bool:
        """Whether a first node was known, as in an observation."""
        return not (self.decisions.unstarted and self.steps.start == 0)

    def array(self, name: str) -> np.ndarray:
        """A field of the decisions at these steps, of all instances."""
        value: Tensor = getattr(self.decisions, name)
        return value[self.steps].contiguous().numpy()


def spans(decisions: Decisions, instances: slice, clip: float) -> list[Steps]:
    """All decisions of some instances; a choice before any node is known is one by itself."""
    last = decisions.action.shape[0]
    cuts = [0, 1, last] if decisions.unstarted else [0, last]
    return [Steps(decisions, instances, slice(a, b), clip) for a, b in pairwise(cuts) if a < b]


def chunks(decisions: Decisions) -> list[slice]:
    """Instances that are scored together: enough for their tables to be made in few operations,
    few enough for all threads to have some, and for their memory."""
    _, count, _, n = decisions.mask.shape
    # two tables of scores and their gradients, of a typical policy; the rest is small beside them
    fitting = int(CHUNK_BYTES / (4 * 4 * HEADS * n * padded(n)))
    size = max(1, min(CHUNK, fitting))
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def score_steps(
    steps: Steps, tables: list[Tensor], weight: Float[Tensor, "batch trajectory"] | None
) -> tuple[Float[Tensor, "batch trajectory"], list[Tensor]]:
    """The log-likelihood of trajectories, and the gradients of ``(weight * likelihood).sum()``
    with respect to the tables of `pair_tables`, where a weight is given."""
    arrays = as_arrays(tables)
    scores = torch.empty(len(arrays.bias), steps.decisions.action.shape[2], dtype=torch.float64)
    if weight is None:
        # never read, but the kernel's types want them
        found, gradients, transposed = [], arrays, arrays.value[:0]
        weight = scores.float()
    else:
        found = [torch.zeros_like(table) for table in tables]
        gradients = as_arrays(found)
        values = tables[3].detach().transpose(2, 3)
        more = padded(values.shape[3]) - values.shape[3]
        transposed = F.pad(values, (0, more)).contiguous().numpy()
    score(
        arrays, gradients, transposed, steps.instances.start, steps.array("current"),
        steps.array("first"), steps.array("features"), steps.array("mask"), steps.array("action"),
        weight.contiguous().numpy(), np.float32(steps.clip), scores.numpy(),
    )  # fmt: skip
    return scores.float(), found


def graded(
    encoding: Encoding,
    decisions: Decisions,
    instances: slice,
    clip: float,
    weight: Float[Tensor, "batch trajectory"],
) -> tuple[Float[Tensor, "batch trajectory"], list[Tensor | None]]:
    """The log-likelihood of the trajectories of some instances, and the gradients of
    ``(weight * likelihood).sum()`` with respect to the leaves of an encoding, which is theirs."""
    leaves = [leaf.detach().requires_grad_() for leaf in encoding.leaves()]
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []
    total = torch.zeros_like(weight)
    for steps in spans(decisions, instances, clip):
        with torch.enable_grad():
            tables = pair_tables(encoding.with_leaves(leaves), steps.started)
        found, grads = score_steps(steps, tables, weight)
        total += found
        pairs = zip(tables, grads, strict=True)
        reached = [(table, grad) for table, grad in pairs if table.requires_grad]
        outputs += [table for table, _ in reached]
        gradients += [grad for _, grad in reached]
    return total, list(torch.autograd.grad(outputs, leaves, gradients, allow_unused=True))


def likelihood(
    encoding: Encoding, decisions: Decisions, clip: float
) -> Float[Tensor, "batch trajectory"]:
    """Of all trajectories, differentiable with respect to the encoding."""
    scores = []
    for instances in chunks(decisions):
        part = encoding.part(instances.start, instances.stop)
        found = [
            StepScores.apply(steps, *pair_tables(part, steps.started))
            for steps in spans(decisions, instances, clip)
        ]
        scores.append(torch.stack(found).sum(0))
    return torch.cat(scores)


@final
class StepScores(torch.autograd.Function):
    """`score_steps` for any use of the likelihoods: the backward pass computes the states again."""

    @staticmethod
    def forward(ctx: Any, steps: Steps, *tables: Tensor) -> Tensor:
        ctx.steps = steps
        ctx.save_for_backward(*tables)
        return score_steps(steps, list(tables), None)[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        _, gradients = score_steps(ctx.steps, list(ctx.saved_tensors), grad_outputs[0])
        return None, *gradients
