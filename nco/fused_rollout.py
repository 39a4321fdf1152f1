"""Whole episodes in one launch of a Triton kernel, for pointer decoders over resources.

Greedy choices are those of the plain path (ties apart); draws have the same distribution and are
other draws. The kernel is `nco.fused_kernel`, imported only when it is used: triton comes with
torch on machines that have a GPU.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from jaxtyping import Int
from torch import Tensor

from nco.envs.environment import Environment, State
from nco.envs.tsp import TSP
from nco.envs.vrp import VRP
from nco.fused_tables import RESOURCES, Start, decoder_tables, rules_of
from nco.kernel_scope import pointer_clip, why_no_choice, why_no_pointer
from nco.models.encoder_decoder import NodePointer
from nco.models.policy import Encoding, Policy
from nco.strategies import Sampling, Strategy

MOST_NODES = 256
"""A block of trajectories keeps several numbers for each node in registers."""
LEAST_CAPABILITY = (8, 0)
"""Of a GPU; what Triton supports."""
LEAST_BLOCK = 16
"""What a product of blocks takes in each direction."""
MOST_TRAJECTORIES = 32
"""Of one program; each reads the tables once a step for all of its trajectories."""
MOST_ENTRIES = 4096
"""Of a trajectories × nodes block: more do not fit the registers of 8 warps (as compiled for
compute capability 9.0)."""


def interpreted() -> bool:
    """Whether Triton is told, by its own variable, to interpret kernels on a CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def why_not_fused(
    env: Environment, policy: Policy, num_nodes: int, device: torch.device, strategy: Strategy
) -> str | None:
    """What keeps a rollout from the kernel, in words; None where nothing does."""
    if device.type != "cuda" and not interpreted():
        return f"the device is {device.type}; accepted: cuda"
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        return "the GPU is too old for Triton; accepted: compute capability 8.0 or more"
    if not isinstance(env, TSP | VRP):
        return f"the environment is {type(env).__name__}; accepted: TSP, VRP"
    if isinstance(env, VRP):
        for resource in env.resources:
            if not isinstance(resource, RESOURCES):
                return f"the kernel does not know the resource {type(resource).__name__}"
    if isinstance(policy, NodePointer) and policy.travel is not None:
        return "the kernel does not know what the policy adds to scores for the way to a node"
    if num_nodes > MOST_NODES:
        return f"the instances have {num_nodes} nodes; accepted: at most {MOST_NODES}"
    return why_no_pointer(policy) or why_no_choice(strategy)


def fused_actions(
    env: Environment,
    policy: Policy,
    encoding: Encoding,
    state: State,
    strategy: Strategy,
    most: int,
    generator: torch.Generator | None,
) -> Int[Tensor, "batch trajectory step"]:
    """The actions from given states until all trajectories are done.

    Call it only where `why_not_fused` has nothing to say.

    Args:
        policy: its decoder's settings are read; what it knows of the instances is ``encoding``.
        state: as `Environment.reset` gives it, or after forced actions.
        most: no trajectory takes more actions.
        generator: gives one seed for the episode to a strategy that draws.
    """
    from nco.fused_kernel import episode

    b, s, n = state.unvisited.shape
    device = state.current.device
    clip = pointer_clip(policy)
    assert clip is not None  # why_not_fused asks
    if isinstance(strategy, Sampling):
        temperature = strategy.temperature
        seed = torch.randint(2**62, (1,), generator=generator, device=device)
    else:
        temperature = 1.0
        seed = torch.zeros(1, dtype=torch.int64, device=device)
    rules, columns, used, constant = rules_of(env, state)
    decoder = decoder_tables(encoding, constant, env.has_depot or state.steps > 0)
    heads, width = decoder.key.shape[1:3]
    node_block = _block(n)
    trajectory_block = min(_block(s), MOST_TRAJECTORIES, MOST_ENTRIES // node_block)
    programs = b * -(-s // trajectory_block)
    actions = torch.empty(b, s, most, dtype=torch.int32, device=device)
    taken = torch.empty(programs, dtype=torch.int32, device=device)
    episode[(programs,)](
        decoder,
        rules,
        columns,
        Start(
            state.current.contiguous(),
            state.first.contiguous(),
            state.unvisited.contiguous(),
            used,
        ),
        seed,
        actions,
        taken,
        s,
        n,
        most,
        state.steps,
        clip,
        temperature,
        H=heads,
        W=width,
        P=1 if state.problem.homes is None else state.problem.homes.shape[1],
        HAS_DEPOT=env.has_depot,
        SAMPLING=isinstance(strategy, Sampling),
        S_BLOCK=trajectory_block,
        N_BLOCK=node_block,
        W_BLOCK=_block(width),
        # an option of Triton's, which its types do not show
        num_warps=4 if node_block <= 64 else 8,  # pyright: ignore[reportCallIssue]
    )
    return actions[:, :, : int(taken.max())].long()


def _block(size: int) -> int:
    """What holds ``size``: a power of two, and at least what a product of blocks takes."""
    return max(LEAST_BLOCK, 1 << (size - 1).bit_length())
