"""What the kernel of `nco.fused_kernel` reads of a policy and of an environment's resources.

Shapes: B instances, S trajectories of each, N nodes, D embedding, H heads, P depots, F features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nco.envs.environment import Environment, State
from nco.envs.loads import BackhaulLoad, Load, Precedence
from nco.envs.travel import Distance, Time
from nco.envs.vrp import VRP
from nco.models.policy import Encoding

RESOURCES = (Load, BackhaulLoad, Precedence, Time, Distance)
"""Those that the kernel knows."""


class DecoderTables(NamedTuple):
    """What a pointer decoder reads; as `nco.models.pointer.pointer_tables` lays it out."""

    query_current: Tensor
    """[B, N, D], context features that are constant included."""
    query_first: Tensor | None
    """[B, N, D]"""
    query_start: Tensor | None
    """[B, D], the query of the first step; None where it is `query_current`'s."""
    query_features: Tensor
    """[F, D]"""
    key: Tensor
    """[B, H, D / H, N]"""
    value: Tensor
    """[B, H, N, D / H]"""
    pointer: Tensor
    """[B, D, N]"""
    pointer_bias: Tensor | None
    """[B, 1, N]"""


class Rules(NamedTuple):
    """What the resources read, as their `tables` prepare it; None for one that is neutral."""

    demand: Tensor | None
    """[B, N], with goods' limit and capacity [B]."""
    load_limit: Tensor | None
    capacity: Tensor | None
    pickup: Tensor | None
    """[B, N]"""
    order: Tensor | None
    """[B, N], with the most pickups that a customer allows [B, N]."""
    order_most: Tensor | None
    travel: Tensor | None
    """[B, N, N], with windows' starts [B, N], latest arrivals [B, P, N] and the horizon [B]."""
    early: Tensor | None
    latest: Tensor | None
    horizon: Tensor | None
    arc: Tensor | None
    """[B, N, N], with the most at a customer [B, P, N] and the limit [B]."""
    arc_most: Tensor | None
    distance_limit: Tensor | None
    homes: Tensor | None
    """[B, P, 2], coordinates of the depots."""
    num_depots: Tensor | None
    """[B]; None where no instance has several."""
    serves: Tensor | None
    """[B, P, N], whether a fresh vehicle at a depot can serve a customer; None where it always
    can."""


class Columns(NamedTuple):
    """Where the context features stand in `DecoderTables.query_features`; the first of several."""

    load: int
    order: int
    time: int
    distance: int
    home: int


class Values(NamedTuple):
    """The running values of the resources, each [B, S]; any number where one is neutral."""

    load: Tensor
    picked: Tensor
    order: Tensor
    time: Tensor
    distance: Tensor


class Start(NamedTuple):
    """The state from which the episode goes on."""

    current: Tensor
    """[B, S]"""
    first: Tensor
    """[B, S]"""
    unvisited: Tensor
    """[B, S, N]"""
    used: Values


def decoder_tables(encoding: Encoding, constant: list[float], started: bool) -> DecoderTables:
    """The policy's tables, with the features that are constant multiplied in."""
    tables = {name: table.contiguous() for name, table in encoding.batched.items()}
    features = encoding.shared["query_features"].contiguous()
    current = tables["query_current"]
    if any(constant):
        current = current + torch.tensor(constant, device=features.device) @ features
    return DecoderTables(
        query_current=current,
        query_first=tables.get("query_first"),
        query_start=None if started else tables["query_start"],
        query_features=features,
        key=tables["key"],
        value=tables["value"],
        pointer=tables["pointer"],
        pointer_bias=tables.get("pointer_bias"),
    )


def rules_of(env: Environment, state: State) -> tuple[Rules, Columns, Values, list[float]]:
    """What the kernel reads of the resources: tables, where their features stand, and values; and
    the features that are constant, 0 for those that the kernel computes."""
    problem = state.problem
    resources = env.resources if isinstance(env, VRP) else ()
    tables: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}
    columns: dict[str, int] = {}
    constant: list[float] = []
    for r, given, used in zip(resources, problem.tables, state.used, strict=True):
        at = len(constant)
        constant += [0.0] * len(r.feature_names) if given is not None else r.neutral_features
        if given is None:
            continue
        match r:
            case Load() | BackhaulLoad():
                names = ("demand", "load_limit", "capacity", "pickup")
                values |= dict(zip(("load", "picked"), used, strict=False))
                columns["load"] = at
                if len(given) == 3:
                    # no pickups: all of the room for them is left
                    constant[at + 1 :] = r.neutral_features[1:]
            case Precedence():
                names = ("order", "order_most")
                values["order"], columns["order"] = used[0], at
            case Time():
                names = ("travel", "early", "latest", "horizon")
                values["time"], columns["time"] = used[0], at
            case Distance():
                names = ("arc", "arc_most", "distance_limit")
                values["distance"], columns["distance"] = used[0], at
            case _:
                raise AssertionError("why_not_fused asks")
        tables |= dict(zip(names, given, strict=False))
    if problem.homes is not None:
        columns["home"] = len(constant)
        constant += [0.0, 0.0]
        tables["homes"] = problem.homes
    if problem.depots is not None:
        tables["num_depots"] = problem.num_depots
        if problem.depots.serves is not None:
            tables["serves"] = problem.depots.serves
    none = torch.zeros(state.current.shape, device=state.current.device)
    return (
        Rules(*(tables[name].contiguous() if name in tables else None for name in Rules._fields)),
        Columns(*(columns.get(name, 0) for name in Columns._fields)),
        Values(*(values.get(name, none).contiguous() for name in Values._fields)),
        constant,
    )
