"""The Triton kernel of a whole episode; `nco.fused_rollout` prepares its tables and launches it.

One program advances a block of trajectories of one instance from its start to its end. The tables
of an instance, 3 · N · D numbers for keys, values and pointer keys, are read again at every step by
all of its programs, so they stay in the caches; the state stays in registers, and all that a step
writes is one action a trajectory. Products are in full float32, so that the choices are those of
the plain path.

The lines of `extended` and `within` say what `nco.envs.loads` and `nco.envs.travel` say, in the
same precision, over the tables that those prepare. A resource whose table is None does not exist in
the compiled kernel. Types are not checked at run time: a checker's wrapper would hide a function
from Triton.

Shapes: B instances, S trajectories of each, N nodes, D embedding, H heads, P depots, T steps. In
the kernel a vector has one entry for each trajectory of the block, a matrix a column for each node.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from nco.fused_tables import Values


@triton.jit
@no_type_check
def extended(values, rules, b, origin, to, N):
    """The values after going to ``to``: one node of each trajectory, or all nodes."""
    load, picked, order, time, distance = values
    if rules.demand is not None:
        load = load + tl.load(rules.demand + b * N + to)
        if rules.pickup is not None:
            picked = tl.maximum(picked + tl.load(rules.pickup + b * N + to), 0.0)
            load = tl.maximum(load, picked)
        else:
            load = tl.maximum(load, 0.0)
    if rules.order is not None:
        order = tl.maximum(order + tl.load(rules.order + b * N + to), 0.0)
    if rules.travel is not None:
        ready = time + tl.load(rules.travel + (b * N + origin) * N + to)
        time = tl.maximum(ready, tl.load(rules.early + b * N + to))
    if rules.arc is not None:
        distance = tl.maximum(distance + tl.load(rules.arc + (b * N + origin) * N + to), 0.0)
    return Values(load, picked, order, time, distance)


@triton.jit
@no_type_check
def within(values, rules, b, home, to, allowed, N, P: tl.constexpr):
    """Which of the allowed customers keep every constraint, from the values on reaching them."""
    if rules.demand is not None:
        allowed = allowed & (values.load <= tl.load(rules.load_limit + b))
    if rules.order is not None:
        allowed = allowed & (values.order <= tl.load(rules.order_most + b * N + to))
    if rules.travel is not None:
        allowed = allowed & (values.time <= tl.load(rules.latest + (b * P + home) * N + to))
    if rules.arc is not None:
        allowed = allowed & (values.distance <= tl.load(rules.arc_most + (b * P + home) * N + to))
    return allowed


@triton.jit
@no_type_check
def add_depots(allowed, unvisited, rules, b, current, home, nodes, step, N, P: tl.constexpr):
    """Depots that can serve a customer that is left, or else the trajectory's own; see
    `nco.envs.vrp.VRP`."""
    number = tl.load(rules.num_depots + b)
    allowed = allowed & ((step > 0) | (number == 1))
    leave = (current >= number) | (tl.sum(allowed.to(tl.int32), 1) == 0)
    useful = unvisited & False
    for depot in range(P):
        reached = unvisited
        if rules.serves is not None:
            row = (b * P + depot) * N + tl.minimum(nodes, N - 1)
            reached = reached & (tl.load(rules.serves + row) != 0)[None, :]
        any_left = (tl.sum(reached.to(tl.int32), 1) > 0) & (depot < number)
        useful = useful | (any_left[:, None] & (nodes == depot)[None, :])
    stay = tl.sum(useful.to(tl.int32), 1) == 0
    own = stay[:, None] & (nodes[None, :] == home[:, None])
    return allowed | ((useful | own) & leave[:, None])


@triton.jit
@no_type_check
def action_mask(
    values, unvisited, rules, b, current, home, nodes, step, N,
    HAS_DEPOT: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """The nodes that may come next; as the environments' function of this name."""
    if not HAS_DEPOT:
        stay = tl.sum(unvisited.to(tl.int32), 1) == 0
        return unvisited | (stay[:, None] & (nodes[None, :] == current[:, None]))
    load, picked, order, time, distance = values
    columns = Values(
        load[:, None], picked[:, None], order[:, None], time[:, None], distance[:, None]
    )
    # columns beyond the last node read its entries; they are never unvisited
    to = tl.minimum(nodes, N - 1)[None, :]
    reached = extended(columns, rules, b, current[:, None], to, N)
    allowed = within(reached, rules, b, home[:, None], to, unvisited, N, P)
    if rules.num_depots is not None:
        return add_depots(allowed, unvisited, rules, b, current, home, nodes, step, N, P)
    nothing = tl.sum(allowed.to(tl.int32), 1) == 0
    return allowed | (((current != 0) | nothing)[:, None] & (nodes == 0)[None, :])


@triton.jit
@no_type_check
def add_features(query, values, decoder, rules, columns, b, home, at, real, D, P: tl.constexpr):
    """The part of the queries that the context features give, by the resources' `features`."""
    table = decoder.query_features + at
    if rules.demand is not None:
        capacity = tl.load(rules.capacity + b)
        left = (1.0 - values.load / capacity).to(tl.float32)
        row = tl.load(table + columns.load * D, mask=real, other=0.0)
        query += left[:, None] * row[None, :]
        if rules.pickup is not None:
            left = (1.0 - values.picked / capacity).to(tl.float32)
            row = tl.load(table + (columns.load + 1) * D, mask=real, other=0.0)
            query += left[:, None] * row[None, :]
    if rules.order is not None:
        over = tl.minimum(values.order, 1.0).to(tl.float32)
        row = tl.load(table + columns.order * D, mask=real, other=0.0)
        query += over[:, None] * row[None, :]
    if rules.travel is not None:
        share = (values.time / tl.load(rules.horizon + b)).to(tl.float32)
        row = tl.load(table + columns.time * D, mask=real, other=0.0)
        query += share[:, None] * row[None, :]
    if rules.arc is not None:
        left = (1.0 - values.distance / tl.load(rules.distance_limit + b)).to(tl.float32)
        row = tl.load(table + columns.distance * D, mask=real, other=0.0)
        query += left[:, None] * row[None, :]
    if rules.homes is not None:
        for axis in tl.static_range(2):
            where = tl.load(rules.homes + (b * P + home) * 2 + axis)
            row = tl.load(table + (columns.home + axis) * D, mask=real, other=0.0)
            query += where[:, None] * row[None, :]
    return query


@triton.jit
@no_type_check
def scores(
    decoder, rules, columns, values, b, current, first, allowed, nodes, step, clip, N,
    H: tl.constexpr, W: tl.constexpr, W_BLOCK: tl.constexpr, P: tl.constexpr,
):  # fmt: skip
    """Clipped compatibility with every node. Each head's glimpse goes straight into the pointer
    product, so heads are never joined."""
    D: tl.constexpr = H * W
    width = tl.arange(0, W_BLOCK)
    inside = nodes < N
    compatibility = tl.zeros(allowed.shape, tl.float32)
    for head in range(H):
        at = head * W + width
        real = width < W
        rows = (b * N + current) * D
        query = tl.load(
            decoder.query_current + rows[:, None] + at[None, :], mask=real[None, :], other=0.0
        )
        if decoder.query_first is not None:
            rows = (b * N + first) * D
            query += tl.load(
                decoder.query_first + rows[:, None] + at[None, :], mask=real[None, :], other=0.0
            )
        if decoder.query_start is not None:
            start = tl.load(decoder.query_start + b * D + at, mask=real, other=0.0)
            query = tl.where(step > 0, query, start[None, :])
        query = add_features(query, values, decoder, rules, columns, b, first, at, real, D, P)

        table = real[:, None] & inside[None, :]
        offset = (b * D + at)[:, None] * N + nodes[None, :]
        key = tl.load(decoder.key + offset, mask=table, other=0.0)
        glimpse = tl.where(allowed, tl.dot(query, key, input_precision="ieee"), float("-inf"))
        weight = tl.exp(glimpse - tl.max(glimpse, 1)[:, None])
        value = tl.load(
            decoder.value + ((b * H + head) * N + nodes)[:, None] * W + width[None, :],
            mask=inside[:, None] & real[None, :],
            other=0.0,
        )
        gathered = tl.dot(weight, value, input_precision="ieee") / tl.sum(weight, 1)[:, None]
        pointer = tl.load(decoder.pointer + offset, mask=table, other=0.0)
        compatibility = tl.dot(gathered, pointer, compatibility, input_precision="ieee")
    if decoder.pointer_bias is not None:
        bias = tl.load(decoder.pointer_bias + b * N + nodes, mask=inside, other=0.0)
        compatibility += bias[None, :]
    # tanh, which the interpreter does not know
    small = tl.exp(-2 * tl.abs(compatibility))
    tanh = (1 - small) / (1 + small)
    return clip * tl.where(compatibility < 0, -tanh, tanh)


@triton.jit
@no_type_check
def chosen(
    logits, allowed, nodes, seed, row, step, temperature,
    N_BLOCK: tl.constexpr, SAMPLING: tl.constexpr,
):  # fmt: skip
    """The best node, or a draw by cumulative sums from a uniform number that belongs to the
    trajectory and the step, so that draws do not depend on the blocks."""
    logits = tl.where(allowed, logits, float("-inf"))
    if not SAMPLING:
        return tl.argmax(logits, 1).to(tl.int32)
    weight = tl.exp((logits - tl.max(logits, 1)[:, None]) / temperature)
    threshold = tl.rand(seed, (row << 32) + step) * tl.sum(weight, 1)
    # sums are made in parallel, so they need not rise: take no node of weight 0, whatever they say
    real = weight > 0
    reached = real & (tl.cumsum(weight, 1) > threshold[:, None])
    first = tl.min(tl.where(reached, nodes[None, :], N_BLOCK), 1)
    last = tl.max(tl.where(real, nodes[None, :], 0), 1)
    return tl.minimum(first, last)


# not compiled anew for every number of trajectories, steps and forced actions
@triton.jit(do_not_specialize=["S", "T", "step"])
@no_type_check
def episode(
    decoder, rules, columns: tl.constexpr, start, seeds, actions, taken,
    S, N, T, step, clip, temperature,
    H: tl.constexpr, W: tl.constexpr, P: tl.constexpr,
    HAS_DEPOT: tl.constexpr, SAMPLING: tl.constexpr,
    S_BLOCK: tl.constexpr, N_BLOCK: tl.constexpr, W_BLOCK: tl.constexpr,
):  # fmt: skip
    """Advance a block of trajectories until all are done, or for T steps.

    Args:
        start: the states, all after ``step`` actions.
        seeds: [1], int64.
        actions: [B, S, T], int32; written. A trajectory that is done stays where it is.
        taken: one number for each program; written: the steps until its block was done.
        clip: of the compatibility.
        W: D / H.
    """
    blocks = tl.cdiv(S, S_BLOCK)
    b = (tl.program_id(0) // blocks).to(tl.int64)
    index = (tl.program_id(0) % blocks) * S_BLOCK + tl.arange(0, S_BLOCK)
    exists = index < S
    row = b * S + index
    nodes = tl.arange(0, N_BLOCK)
    seed = tl.load(seeds)

    # rows beyond the last trajectory are done from the start
    current = tl.load(start.current + row, mask=exists, other=0).to(tl.int32)
    first = tl.load(start.first + row, mask=exists, other=0).to(tl.int32)
    unvisited = tl.load(
        start.unvisited + row[:, None] * N + nodes[None, :],
        mask=exists[:, None] & (nodes < N)[None, :],
        other=0,
    ).to(tl.int1)
    values = Values(
        tl.load(start.used.load + row, mask=exists, other=0.0),
        tl.load(start.used.picked + row, mask=exists, other=0.0),
        tl.load(start.used.order + row, mask=exists, other=0.0),
        tl.load(start.used.time + row, mask=exists, other=0.0),
        tl.load(start.used.distance + row, mask=exists, other=0.0),
    )
    number = 1
    if rules.num_depots is not None:
        number = tl.load(rules.num_depots + b).to(tl.int32)
    t = 0
    running = 1
    while (t < T) & (running > 0):
        allowed = action_mask(
            values, unvisited, rules, b, current, first, nodes, step + t, N, HAS_DEPOT, P
        )
        logits = scores(
            decoder, rules, columns, values, b, current, first, allowed, nodes, step + t, clip, N,
            H, W, W_BLOCK, P,
        )  # fmt: skip
        action = chosen(logits, allowed, nodes, seed, row, step + t, temperature, N_BLOCK, SAMPLING)
        tl.store(actions + row * T + t, action, mask=exists)
        values = extended(values, rules, b, current, action, N)
        unvisited = unvisited & (nodes[None, :] != action[:, None])
        if HAS_DEPOT:
            if rules.num_depots is not None:
                first = tl.where(action < number, action, first)
        else:
            first = tl.where(step + t == 0, action, first)
        current = action
        left = tl.sum(unvisited.to(tl.int32), 1)
        if HAS_DEPOT:
            left += (current >= number).to(tl.int32)
        running = tl.sum(left, 0)
        t += 1
    tl.store(taken + tl.program_id(0), t)
    while t < T:
        tl.store(actions + row * T + t, current, mask=exists)
        t += 1
