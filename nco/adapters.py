"""Adapter layers: a trained policy learns attributes that it was not made for.

Efficient adapter layers (EAL) and plain adapter layers (AL) of Berto et al. 2024, "RouteFinder:
Towards foundation models for vehicle routing problems", arXiv:2406.15007.
"""

from __future__ import annotations

from typing import Literal

import torch

from nco.data.errors import InputError
from nco.models.named_inputs import input_names
from nco.models.policy import Policy

NewColumns = Literal["zero", "random"]
"""What a layer does at first with inputs that the trained one did not have."""


@torch.no_grad()
def widen(policy: Policy, trained: Policy, new_columns: NewColumns) -> None:
    """Give a fresh policy what a trained one of the same build has learnt, in place.

    Columns of named inputs are taken over by their names, so the two environments may differ in
    their features as long as none is lost.

    Args:
        policy: with fresh weights, for the new environment.
        trained: of the same build, for an environment with the same features or fewer.
        new_columns: "zero" (EAL): a layer ignores its new inputs, so that the policy computes what
            the trained one did. "random" (AL): a layer with new inputs keeps all of its fresh
            weights, and the rest is taken over.

    Raises:
        InputError: the policies differ in more than their inputs, or the new environment does not
            offer a feature that the trained policy reads.
    """
    _require_same_build(policy, trained)
    values, learnt = policy.state_dict(), trained.state_dict()
    inputs, known = input_names(policy), input_names(trained)
    for name, (_, read) in known.items():
        lost = [feature for feature in read if feature not in inputs[name][1]]
        if lost:
            raise InputError(
                f"the trained policy reads {', '.join(lost)} ({name}), which the new problem does "
                f"not have; accepted: problems with all of {', '.join(read)}"
            )
    for name, value in values.items():
        if name not in inputs:
            value.copy_(learnt[name])
            continue
        axis, offered = inputs[name]
        read = known[name][1]
        if len(read) < len(offered):
            if new_columns == "random":
                continue
            value.zero_()
        places = torch.tensor([offered.index(feature) for feature in read], dtype=torch.long)
        value.index_copy_(axis, places, learnt[name])


def _require_same_build(policy: Policy, trained: Policy) -> None:
    """All parameters are there in both, with the same shape except along named inputs."""
    ours, theirs = _fixed_shapes(policy), _fixed_shapes(trained)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise InputError(
                f"{name} is {theirs.get(name, 'missing')} in the trained policy and "
                f"{ours.get(name, 'missing')} in the new one; accepted: policies that differ in "
                "nothing but the features of their problems"
            )


def _fixed_shapes(policy: Policy) -> dict[str, list[int]]:
    """The shape of every parameter and running value, without the axis of named inputs."""
    inputs = input_names(policy)
    return {
        name: [size for axis, size in enumerate(value.shape) if axis != inputs.get(name, (-1,))[0]]
        for name, value in policy.state_dict().items()
    }
