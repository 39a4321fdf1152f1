"""The pointer decoder on a CPU, state by state: kernels that numba compiles for `nco.cpu_pointer`.

A state reads only the nodes that it may choose, which in a tour are half of them on average, and
all its numbers stay in the first cache. The scores of the glimpse are not products but sums of rows
of tables that hold them for every pair of nodes (a state's query is a sum of queries of nodes), so
what is left of a choice is N · D multiplications for the glimpse's values and N · D for the
pointer, each of the N nodes allowed.

Types are not checked at run time: numba reads the functions themselves.

Shapes: B instances, S trajectories of each, T steps, N nodes (N' padded to whole vectors), R rows
of queries, H heads, W' padded width of a head, D' = H · W', F features.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from nco.cpu_vectors import LANES, exp, largest, load, maximum, splat, store, tanh, total

ZERO, ONE = np.float32(0), np.float32(1)
NEVER = np.float32(-1e30)
"""Added to the score of a node that the mask forbids."""


class Tables(NamedTuple):
    """What a state reads of its instance; float32 and contiguous."""

    current: np.ndarray
    """[B, H, R, N'], the glimpse's scores from the query of the current node; R is 1 where there is
    one query for all."""
    first: np.ndarray
    """[B, H, R, N'], the same for the first node; R is 1 where that gives no query."""
    features: np.ndarray
    """[B, F, H, N'], the same for each context feature."""
    value: np.ndarray
    """[B, H, N, W']"""
    pointer: np.ndarray
    """[B, N, D']"""
    bias: np.ndarray
    """[B, R, N], added to the compatibility by the current node; R is 1 where it is one for all."""


class Scratch(NamedTuple):
    """What a state needs beside the tables."""

    allowed: np.ndarray
    """[N'], the nodes that the mask allows; as many as `read_mask` says."""
    forbidden: np.ndarray
    """[N'], 0 or `NEVER`."""
    weight: np.ndarray
    """[H, N'], of the glimpse, summing to ``sums``."""
    sums: np.ndarray
    """[H]"""
    heads: np.ndarray
    """[D'], what the glimpse gathers."""
    scores: np.ndarray
    """[N'], tanh of the compatibility with the allowed nodes."""
    share: np.ndarray
    """[N'], their probabilities."""
    back: np.ndarray
    """[D'], the gradient of ``heads``."""
    slope: np.ndarray
    """[N'], the gradient of a head's weights."""


@njit
@no_type_check
def new_scratch(heads, nodes, width):
    """For one thread."""
    return Scratch(
        np.zeros(nodes, np.int64),
        np.full(nodes, NEVER, np.float32),
        np.zeros((heads, nodes), np.float32),
        np.zeros(heads, np.float32),
        np.zeros(heads * width, np.float32),
        np.zeros(nodes, np.float32),
        np.zeros(nodes, np.float32),
        np.zeros(heads * width, np.float32),
        np.zeros(nodes, np.float32),
    )


@njit(fastmath=True)
@no_type_check
def read_mask(mask, scratch):
    """How many nodes are allowed; the nodes and the penalties of the others are written."""
    count = 0
    for n in range(mask.shape[0]):
        allowed = mask[n]
        scratch.forbidden[n] = ZERO if allowed else NEVER
        # without a branch: whether the next node is allowed cannot be foretold
        scratch.allowed[count] = n
        count += 1 if allowed else 0
    return count


@njit
@no_type_check
def row_of(node, rows):
    """Where a table with a row for each node, or one for all, has that of a node."""
    return node if rows > 1 else 0


@njit(fastmath=True)
@no_type_check
def weigh(tables, b, current, first, features, scratch):
    """The glimpse's weights of all nodes, exp of the scores, and their sums."""
    _, heads, rows, nodes = tables.current.shape
    first_rows = tables.first.shape[2]
    current, first = row_of(current, rows), row_of(first, first_rows)
    for h in range(heads):
        a = ((b * heads + h) * rows + current) * nodes
        c = ((b * heads + h) * first_rows + first) * nodes
        most = splat(NEVER)
        for n in range(0, nodes, LANES):
            score = load(tables.current, a + n) + load(tables.first, c + n)
            score = score + load(scratch.forbidden, n)
            for f in range(len(features)):
                row = ((b * len(features) + f) * heads + h) * nodes
                score = score + splat(features[f]) * load(tables.features, row + n)
            most = maximum(most, score)
            store(scratch.weight, h * nodes + n, score)
        top, sums = splat(largest(most)), splat(ZERO)
        for n in range(0, nodes, LANES):
            weight = exp(load(scratch.weight, h * nodes + n) - top)
            # exp ends at 1e-38; a forbidden node has no weight at all
            sums = sums + weight
            store(scratch.weight, h * nodes + n, weight)
        scratch.sums[h] = total(sums)


@njit(fastmath=True)
@no_type_check
def gather(tables, b, count, scratch):
    """What the weights gather from the values of the allowed nodes."""
    _, heads, nodes, width = tables.value.shape
    allowed = scratch.allowed
    for h in range(heads):
        share = splat(ONE / scratch.sums[h])
        base = (b * heads + h) * nodes * width
        for d in range(0, width, LANES):
            s0 = s1 = s2 = s3 = splat(ZERO)
            j = 0
            # four sums: one alone would wait for each addition before the next
            while j + 4 <= count:
                n0, n1, n2, n3 = allowed[j], allowed[j + 1], allowed[j + 2], allowed[j + 3]
                s0 = s0 + splat(scratch.weight[h, n0]) * load(tables.value, base + n0 * width + d)
                s1 = s1 + splat(scratch.weight[h, n1]) * load(tables.value, base + n1 * width + d)
                s2 = s2 + splat(scratch.weight[h, n2]) * load(tables.value, base + n2 * width + d)
                s3 = s3 + splat(scratch.weight[h, n3]) * load(tables.value, base + n3 * width + d)
                j += 4
            while j < count:
                n0 = allowed[j]
                s0 = s0 + splat(scratch.weight[h, n0]) * load(tables.value, base + n0 * width + d)
                j += 1
            store(scratch.heads, h * width + d, ((s0 + s1) + (s2 + s3)) * share)


@njit(fastmath=True)
@no_type_check
def compare(tables, b, current, count, scratch):
    """tanh of the compatibility with the allowed nodes, in their order."""
    _, nodes, dim = tables.pointer.shape
    from_here = row_of(current, tables.bias.shape[1])
    for j in range(count):
        n = scratch.allowed[j]
        row = (b * nodes + n) * dim
        s0 = s1 = splat(ZERO)
        for d in range(0, dim - LANES, 2 * LANES):
            s0 = s0 + load(scratch.heads, d) * load(tables.pointer, row + d)
            s1 = s1 + load(scratch.heads, d + LANES) * load(tables.pointer, row + d + LANES)
        if dim % (2 * LANES):
            d = dim - LANES
            s0 = s0 + load(scratch.heads, d) * load(tables.pointer, row + d)
        scratch.scores[j] = total(s0 + s1) + tables.bias[b, from_here, n]
    for j in range(0, count, LANES):
        store(scratch.scores, j, tanh(load(scratch.scores, j)))


@njit(fastmath=True)
@no_type_check
def pick(count, scratch, scale, uniform, sampling):
    """The best of the allowed nodes, or the first whose summed probability exceeds a number."""
    scores, best = scratch.scores, 0
    if not sampling:
        for j in range(1, count):
            if scores[j] > scores[best]:
                best = j
        return scratch.allowed[best]
    # tanh is at most 1, so exp of the difference cannot overflow
    for j in range(0, count, LANES):
        store(scores, j, exp((load(scores, j) - splat(ONE)) * splat(scale)))
    end = ZERO
    for j in range(count):
        end += scores[j]
    below, best = ZERO, count - 1
    for j in range(count):
        below += scores[j]
        if below > uniform * end:
            best = j
            break
    return scratch.allowed[best]


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
@no_type_check
def choose(tables, current, first, features, mask, uniform, scale, sampling, action):
    """The next node of every trajectory of some instances.

    Args:
        current, first: [B, S], int64.
        features: [B, S, F], float32.
        mask: [B, S, N], bool.
        uniform: [B, S], float32 in [0, 1); read only when sampling.
        scale: the clip of the compatibility over the temperature.
        action: [B, S], int64; written.
    """
    scratch = new_scratch(tables.current.shape[1], tables.current.shape[3], tables.value.shape[3])
    for b in range(current.shape[0]):
        for s in range(current.shape[1]):
            count = read_mask(mask[b, s], scratch)
            if count == 1:
                action[b, s] = scratch.allowed[0]
                continue
            weigh(tables, b, current[b, s], first[b, s], features[b, s], scratch)
            gather(tables, b, count, scratch)
            compare(tables, b, current[b, s], count, scratch)
            number = uniform[b, s] if sampling else ZERO
            action[b, s] = pick(count, scratch, scale, number, sampling)


@njit(fastmath=True)
@no_type_check
def position(scratch, node, count):
    """Where a node stands among the allowed ones."""
    for j in range(count):
        if scratch.allowed[j] == node:
            return j
    return 0


@njit(fastmath=True)
@no_type_check
def log_probability(count, scratch, clip, chosen):
    """Of the chosen node (by its position); the probabilities of all are written."""
    share, end = scratch.share, splat(ZERO)
    last = count - count % LANES
    for j in range(0, count, LANES):
        weight = exp((load(scratch.scores, j) - splat(ONE)) * splat(clip))
        store(share, j, weight)
        if j < last:
            end = end + weight
    sums = total(end)
    for j in range(last, count):
        sums += share[j]
    for j in range(0, count, LANES):
        store(share, j, load(share, j) * splat(ONE / sums))
    return (scratch.scores[chosen] - ONE) * clip - np.log(sums)


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
@no_type_check
def score(
    tables, gradients, transposed, first_instance, current, first, features, mask, action,
    weight, clip, likelihood,
):  # fmt: skip
    """The log-likelihood of trajectories, and its gradient times ``weight``.

    Args:
        tables: of the instances from ``first_instance`` on.
        gradients: as ``tables``; added to. Empty arrays where no gradient is wanted.
        transposed: [B, H, W', N'], the values with nodes last; likewise.
        current, first, action: [T, B', S], int64, of a batch that holds the instances.
        features: [T, B', S, F], float32.
        mask: [T, B', S, N], bool.
        weight: [B, S]; of each trajectory.
        likelihood: [B, S], float64; written.
    """
    count_instances, heads, _, nodes = tables.current.shape
    width = tables.value.shape[3]
    scratch = new_scratch(heads, nodes, width)
    wanted = transposed.shape[0] > 0
    for b in range(count_instances):
        row = first_instance + b
        for s in range(current.shape[2]):
            likelihood[b, s] = 0.0
        for t in range(current.shape[0]):
            for s in range(current.shape[2]):
                count = read_mask(mask[t, row, s], scratch)
                if count == 1:
                    continue
                here, start = current[t, row, s], first[t, row, s]
                seen = features[t, row, s]
                weigh(tables, b, here, start, seen, scratch)
                gather(tables, b, count, scratch)
                compare(tables, b, here, count, scratch)
                chosen = position(scratch, action[t, row, s], count)
                likelihood[b, s] += log_probability(count, scratch, clip, chosen)
                if wanted:
                    pass_back_pointer(
                        tables, gradients, b, here, count, scratch, clip, chosen, weight[b, s]
                    )
                    pass_back_glimpse(gradients, transposed, b, here, start, seen, count, scratch)


@njit(fastmath=True)
@no_type_check
def pass_back_pointer(tables, gradients, b, current, count, scratch, clip, chosen, weight):
    """Gradients of the pointer keys and biases, and of what the glimpse gathered."""
    _, nodes, dim = tables.pointer.shape
    from_here = row_of(current, tables.bias.shape[1])
    share = scratch.share
    for j in range(count):
        slope = clip * (ONE - scratch.scores[j] * scratch.scores[j])
        share[j] = weight * ((ONE if j == chosen else ZERO) - share[j]) * slope
        gradients.bias[b, from_here, scratch.allowed[j]] += share[j]
    for d in range(0, dim, LANES):
        back, head = splat(ZERO), load(scratch.heads, d)
        for j in range(count):
            at = (b * nodes + scratch.allowed[j]) * dim + d
            given = splat(share[j])
            back = back + given * load(tables.pointer, at)
            store(gradients.pointer, at, load(gradients.pointer, at) + given * head)
        store(scratch.back, d, back)


@njit(fastmath=True)
@no_type_check
def pass_back_glimpse(gradients, transposed, b, current, first, features, count, scratch):
    """Gradients of the values and of the tables of scores."""
    _, heads, rows, nodes = gradients.current.shape
    real, width = gradients.value.shape[2], gradients.value.shape[3]
    first_rows = gradients.first.shape[2]
    backward = scratch.back
    current, first = row_of(current, rows), row_of(first, first_rows)
    for h in range(heads):
        share = ONE / scratch.sums[h]
        for d in range(0, width, LANES):
            back = load(backward, h * width + d) * splat(share)
            for j in range(count):
                n = scratch.allowed[j]
                at = ((b * heads + h) * real + n) * width + d
                given = splat(scratch.weight[h, n]) * back
                store(gradients.value, at, load(gradients.value, at) + given)
        mean = splat(ZERO)
        for n in range(0, nodes, LANES):
            s0 = s1 = splat(ZERO)
            for d in range(0, width, 2):
                at = ((b * heads + h) * width + d) * nodes + n
                s0 = s0 + splat(backward[h * width + d]) * load(transposed, at)
                s1 = s1 + splat(backward[h * width + d + 1]) * load(transposed, at + nodes)
            weight = load(scratch.weight, h * nodes + n) * splat(share)
            store(scratch.weight, h * nodes + n, weight)
            store(scratch.slope, n, s0 + s1)
            mean = mean + weight * (s0 + s1)
        shift = splat(total(mean))
        a = ((b * heads + h) * rows + current) * nodes
        c = ((b * heads + h) * first_rows + first) * nodes
        for n in range(0, nodes, LANES):
            back = load(scratch.weight, h * nodes + n) * (load(scratch.slope, n) - shift)
            store(gradients.current, a + n, load(gradients.current, a + n) + back)
            store(gradients.first, c + n, load(gradients.first, c + n) + back)
            for f in range(len(features)):
                at = ((b * len(features) + f) * heads + h) * nodes + n
                given = splat(features[f]) * back
                store(gradients.features, at, load(gradients.features, at) + given)
