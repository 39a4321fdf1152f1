"""Which way decoding is computed: plainly, or by one of the kernels."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from nco.data.errors import InputError
from nco.envs.environment import Environment
from nco.fused_rollout import why_not_fused
from nco.kernel_scope import pointer_clip, why_no_choice, why_no_pointer
from nco.models.policy import Policy
from nco.strategies import Strategy

Kernel = Literal["auto", "plain", "cpu", "captured", "triton"]
"""How decoding is computed.

- plain: by the policy and the strategy, in torch;
- cpu: state by state, by kernels compiled for the CPU (`nco.cpu_pointer`);
- captured: as plain, one step captured as a CUDA graph and replayed (`nco.captured_rollout`);
- triton: whole episodes in one launch on a GPU (`nco.fused_rollout`);
- auto: cpu on a CPU, where policy and strategy allow; else plain. The two for GPUs have run in an
  interpreter and on a CPU only, so they are taken only when asked for.
"""

CPU_MOST_NODES = 2000
"""The CPU kernels' tables grow with the square: 128 MB for each of two at 2,000 nodes."""


def _why_not_on_cpu(policy: Policy, num_nodes: int, device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"the device is {device.type}; accepted: cpu"
    if num_nodes > CPU_MOST_NODES:
        return f"the instances have {num_nodes} nodes; accepted: at most {CPU_MOST_NODES}"
    return why_no_pointer(policy)


def rollout_kernel(
    env: Environment,
    policy: Policy,
    num_nodes: int,
    device: torch.device,
    strategy: Strategy,
    asked: Kernel,
) -> Kernel:
    """What to roll out by; never "auto". Whether steps can be captured is not asked here.

    Raises:
        InputError: something keeps the rollout from the kernel that is asked for.
    """
    match asked:
        case "plain" | "captured":
            return asked
        case "auto" | "cpu":
            obstacle = _why_not_on_cpu(policy, num_nodes, device) or why_no_choice(strategy)
            if asked == "auto":
                return "cpu" if obstacle is None else "plain"
        case "triton":
            obstacle = why_not_fused(env, policy, num_nodes, device, strategy)
    if obstacle is not None:
        raise InputError(f"kernel is {asked}, but {obstacle}")
    return asked


def load_kernel(policy: Policy, device: torch.device, asked: Kernel) -> None:
    """Load now what a policy's first choice would load, some seconds the very first time, so that
    the clock of a first solution does not show it."""
    if asked in ("auto", "cpu") and _why_not_on_cpu(policy, 0, device) is None:
        from nco.cpu_pointer import compile_choices

        compile_choices()


def scoring_clip(
    policy: Policy, mask: Bool[Tensor, "step batch trajectory node"], asked: Kernel
) -> float | None:
    """The clip by which the CPU's kernel scores states with such masks; None where torch does, as
    the other kernels only roll out."""
    if asked not in ("auto", "cpu") or _why_not_on_cpu(policy, mask.shape[3], mask.device):
        return None
    return pointer_clip(policy)
