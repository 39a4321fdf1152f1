"""Operations and bytes of POMO's network, counted by formula.

A product of [m, k] with [k, n] is 2·m·k·n operations. Bytes are those of its float32 operands, read
once, and of its result, written once: what a product moves when nothing stays in a cache. Not
counted: norms, biases, node and context features, masks and look-ups, each of which is small beside
the product that it belongs to.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nco.policy_config import POMOConfig

LINEAR = "linear layer"
SCORES = "attention scores"
VALUES = "attention values"
POINTER = "pointer"


@dataclass(frozen=True)
class Work:
    """What a part of a step does."""

    operations: Counter[str] = field(default_factory=Counter)
    """Of products, by their kind."""
    bytes: float = 0.0
    exponentials: float = 0.0
    """exp and tanh."""

    def __add__(self, other: Work) -> Work:
        return Work(
            self.operations + other.operations,
            self.bytes + other.bytes,
            self.exponentials + other.exponentials,
        )

    def __mul__(self, times: float) -> Work:
        scaled = Counter({kind: int(times * count) for kind, count in self.operations.items()})
        return Work(scaled, times * self.bytes, times * self.exponentials)

    @property
    def total(self) -> float:
        """Operations of all kinds."""
        return sum(self.operations.values())


def product(kind: str, batch: float, m: float, k: int, n: int, *, shared: bool = False) -> Work:
    """``batch`` products [m, k] · [k, n]; ``shared``: the second operand is one for all of them."""
    moved = batch * m * (k + n) + (1 if shared else batch) * k * n
    return Work(Counter({kind: int(2 * batch * m * k * n)}), 4 * moved)


def encoder(config: POMOConfig, batch: int, nodes: int, *, has_depot: bool) -> Work:
    """One forward pass, with the tables that the decoder reads."""
    d, h, hidden = config.dim, config.num_heads, config.hidden
    rows = batch * nodes

    def linear(inputs: int, outputs: int) -> Work:
        return product(LINEAR, 1, rows, inputs, outputs, shared=True)

    attention = (
        product(SCORES, batch * h, nodes, d // h, nodes)
        + product(VALUES, batch * h, nodes, nodes, d // h)
        + Work(exponentials=batch * h * nodes * nodes)
    )
    layer = linear(d, 3 * d) + attention + linear(d, d) + linear(d, hidden) + linear(hidden, d)
    # key, value, current node and folded pointer, and the first node where there is no depot
    tables = linear(d, d) * (4 if has_depot else 5)
    return layer * config.num_layers + tables


def decoder(config: POMOConfig, groups: float, states: float, nodes: int) -> Work:
    """Scores of ``states`` states of each of ``groups`` groups that are scored at once, e.g. of one
    step of an instance: glimpse, pointer, and one softmax over the nodes to choose or to score.

    As defined, over all nodes: the CPU's kernel does less, as it leaves out masked nodes and looks
    up the products of queries with keys.
    """
    d, h = config.dim, config.num_heads
    return (
        product(SCORES, groups * h, states, d // h, nodes)
        + product(VALUES, groups * h, states, nodes, d // h)
        + product(POINTER, groups, states, d, nodes)
        + Work(exponentials=groups * states * nodes * (h + 2))
    )


def with_backward(forward: Work) -> Work:
    """Two products for each one of the forward pass; exponentials are not taken again, but for the
    softmax of log-likelihoods, which is left out."""
    return forward + backward(forward)


def backward(forward: Work) -> Work:
    """Of the gradients alone."""
    twice = forward * 2
    return Work(twice.operations, twice.bytes)
