"""Episodes of joint decisions: all vehicles are scored at once, and choose in order.

Axes: B instances, S trajectories of each, M vehicles, N nodes, T joint decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.envs.environment import Observation, State, mask_bias
from nco.envs.fleet_parallel import Joint, ParallelFleetVRP
from nco.episode import LOOK_EVERY, Decisions, Episode, decided, summed, usage_of
from nco.models.policy import Encoding, Policy, Usage
from nco.strategies import Strategy


def joint_decision(
    env: ParallelFleetVRP,
    state: State,
    observation: Observation,
    logits: Float[Tensor, "batch trajectory action"],
    strategy: Strategy,
    generator: torch.Generator | None,
) -> Joint:
    """Let a strategy choose for each vehicle in turn.

    Args:
        observation: of the state.
        logits: of all vehicles and nodes, M·N for each state.
    """
    m, n = _sizes(state)
    scores = logits.unflatten(2, (m, n))
    mask = observation.mask.unflatten(2, (m, n))

    def choose(turn: int, vehicle: Tensor, allowed: Tensor) -> Tensor:
        index = vehicle[:, :, None, None].expand(-1, -1, 1, n)
        return strategy(scores.gather(2, index).squeeze(2), allowed, generator)

    return env.decide(state, mask, env.order(state, scores, mask, generator), choose)


def joint_episode(
    env: ParallelFleetVRP,
    policy: Policy,
    strategy: Strategy,
    encoding: Encoding,
    state: State,
    generator: torch.Generator | None,
    most: int,
    *,
    record: bool,
) -> Episode:
    """Joint decisions from a state to the end.

    Args:
        most: joint decisions at most.
        record: keep what `nco.likelihood` needs to score the episode.
    """
    joints: list[Joint] = []
    seen: list[Observation] = []
    usage: list[Usage] = []
    every = 1 if state.current.device.type == "cpu" else LOOK_EVERY
    for taken in range(most):
        if taken % every == 0 and bool(env.done(state).all()):
            break
        observation = env.observe(state)
        scores = policy.scores(encoding, observation)
        joint = joint_decision(env, state, observation, scores.logits, strategy, generator)
        state = env.join(state, joint.actions)
        joints.append(joint)
        if record:
            seen.append(observation)
            usage.append(usage_of(scores, observation.mask))
    actions = [action for joint in joints for action in joint.actions.unbind(2)]
    return Episode(actions, _decided(seen, joints) if record else None, summed(usage))


def joint_replay(
    env: ParallelFleetVRP, state: State, actions: Int[Tensor, "batch trajectory action"]
) -> Decisions:
    """The states that given joint decisions pass through.

    Args:
        actions: M for each joint decision, in the order in which vehicles chose.

    Raises:
        InputError: the actions are not whole joint decisions, or one was not allowed.
    """
    m, n = _sizes(state)
    if actions.shape[2] % m:
        raise InputError(
            f"there are {actions.shape[2]} actions of {m} vehicles; accepted: a multiple of {m}"
        )
    seen: list[Observation] = []
    joints: list[Joint] = []
    for joint in actions.unflatten(2, (-1, m)).unbind(2):
        observation = env.observe(state)
        nodes = joint % n

        def given(turn: int, vehicle: Tensor, allowed: Tensor, nodes: Tensor = nodes) -> Tensor:
            return nodes[:, :, turn]

        mask = observation.mask.unflatten(2, (m, n))
        found = env.decide(state, mask, joint // n, given)
        if not bool(found.allowed.gather(3, nodes.unsqueeze(3)).all()):
            raise InputError("a joint decision is not allowed; accepted: those of an episode")
        seen.append(observation)
        joints.append(found)
        state = env.join(state, joint)
    return _decided(seen, joints)


def joint_log_likelihood(
    logits: Float[Tensor, "batch state action"],
    actions: Int[Tensor, "batch state vehicle"],
    allowed: Bool[Tensor, "batch state vehicle node"],
) -> Float[Tensor, "batch state"]:
    """The log-likelihood of joint decisions as they were executed.

    Args:
        logits: M·N for each state.
        actions, allowed: as in `Joint`.
    """
    m, n = allowed.shape[2:]
    index = (actions // n).unsqueeze(3).expand(-1, -1, m, n)
    rows = logits.unflatten(2, (m, n)).gather(2, index)
    masked = rows + mask_bias(allowed.flatten(1, 2), rows.dtype).view_as(rows)
    return masked.log_softmax(3).gather(3, (actions % n).unsqueeze(3)).sum((2, 3))


def _decided(seen: Sequence[Observation], joints: Sequence[Joint]) -> Decisions:
    decisions = decided(seen, [joint.actions for joint in joints])
    return replace(decisions, allowed=torch.stack([joint.allowed for joint in joints]))


def _sizes(state: State) -> tuple[int, int]:
    """M and N."""
    fleet = state.problem.instance.fleet
    assert fleet is not None  # the environment has made the state from one
    return fleet.num_vehicles, state.unvisited.shape[2]
