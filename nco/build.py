"""From names in a configuration to objects: the only place that chooses them."""

from __future__ import annotations

from dataclasses import replace

from nco.data.errors import InputError
from nco.data.noise import Scenarios
from nco.envs.a_priori import APriori
from nco.envs.environment import Environment
from nco.envs.fleet import FleetEnvironment, FleetVRP
from nco.envs.fleet_parallel import ParallelFleetVRP
from nco.envs.objective import Objective
from nco.envs.sampled_price import SampledPrice
from nco.envs.variants import environments, scenario_costs
from nco.models.attention_model import AttentionModel
from nco.models.fleet_policy import FleetPolicy
from nco.models.gates import (
    AttributeGate,
    GateFactory,
    Hierarchical,
    NoisyTopK,
    SharedSigmoid,
    SoftMerging,
)
from nco.models.heterogeneous_attention import HeterogeneousAttention
from nco.models.matnet import MatNet
from nco.models.policy import Policy
from nco.models.pomo import POMO
from nco.models.routefinder import RouteFinder
from nco.models.rrnco import RRNCO
from nco.policy_config import (
    AttentionModelConfig,
    AttributeGateConfig,
    CAMPConfig,
    ExpertsConfig,
    HeterogeneousAttentionConfig,
    HierarchicalConfig,
    MatNetConfig,
    NoisyTopKConfig,
    PolicyConfig,
    POMOConfig,
    RouteFinderConfig,
    RRNCOConfig,
    SharedSigmoidConfig,
    SoftMergingConfig,
)
from nco.problem_names import SIMULATED, Problem


def build_env(problem: Problem) -> Environment:
    """The environment of a problem."""
    return environments[problem]


def build_sampled_env(problem: Problem, scenarios: Scenarios, objective: Objective) -> Environment:
    """The environment of a problem whose price is an objective over scenarios.

    Raises:
        InputError: the problem's plans cannot be priced so.
    """
    env = environments[problem]
    if problem not in scenario_costs or not isinstance(env, APriori):
        raise InputError(
            f"problem {problem} has no scenarios for its plans; accepted: {', '.join(SIMULATED)}"
        )
    simulation = scenario_costs[problem]
    return replace(env, price=SampledPrice(env.price, simulation, scenarios, objective))


def build_gate(config: ExpertsConfig | None) -> GateFactory | None:
    """A gate for each layer that asks for one; None for dense layers."""
    match config:
        case None:
            return None
        case NoisyTopKConfig():
            return lambda dim, attributes: NoisyTopK(
                dim, num_experts=config.num_experts, active=config.active, balance=config.balance
            )
        case HierarchicalConfig():
            return lambda dim, attributes: Hierarchical(
                dim, num_experts=config.num_experts, active=config.active, balance=config.balance
            )
        case SharedSigmoidConfig():
            return lambda dim, attributes: SharedSigmoid(
                dim,
                shared=config.shared,
                routed=config.routed,
                active=config.active,
                rate=config.rate,
            )
        case SoftMergingConfig():
            return lambda dim, attributes: SoftMerging(dim, num_experts=config.num_experts)
        case AttributeGateConfig():
            return lambda dim, attributes: AttributeGate(attributes, num_experts=config.num_experts)


def build_policy(config: PolicyConfig, env: Environment) -> Policy:
    """A policy with fresh weights, drawn from torch's global generator as its layers are.

    Raises:
        InputError: the policy needs attributes that the problem does not have, or chooses nodes
            where vehicles have to be chosen too, or the reverse.
    """
    if isinstance(env, FleetEnvironment):
        return _fleet_policy(config)
    match config:
        case CAMPConfig() | HeterogeneousAttentionConfig():
            raise InputError(
                f"policy.type is {config.type} for a problem whose vehicles are alike; accepted "
                "for it: problems pvrp and pvrp-zones"
            )
        case AttentionModelConfig():
            return AttentionModel(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
            )
        case POMOConfig():
            return POMO(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                norm=config.norm,
                clip=config.clip,
                experts=build_gate(config.experts),
                decoder_experts=build_gate(config.decoder_experts),
                travel=config.travel,
            )
        case RouteFinderConfig():
            return RouteFinder(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
                decoder=config.decoder,
                experts=build_gate(config.experts),
                decoder_experts=build_gate(config.decoder_experts),
                film=config.film,
            )
        case RRNCOConfig():
            return RRNCO(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
                channels=config.channels,
                num_neighbours=config.num_neighbours,
                decoder=config.decoder,
            )
        case MatNetConfig():
            return MatNet(
                env,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
                score_hidden=config.score_hidden,
            )


def _fleet_policy(config: PolicyConfig) -> FleetPolicy:
    """A policy that chooses vehicles, in the environment that its decisions need."""
    match config:
        case CAMPConfig():
            # torch-geometric takes seconds to import
            from nco.models.camp import CAMP

            parallel = config.decisions == "parallel"
            one_at_a_time = FleetVRP(trip_by_trip=config.decisions == "trips")
            return CAMP(
                ParallelFleetVRP(config.priority) if parallel else one_at_a_time,
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
                bipartite=config.bipartite,
                communication=config.communication,
            )
        case HeterogeneousAttentionConfig():
            return HeterogeneousAttention(
                FleetVRP(trip_by_trip=config.decisions == "trips"),
                dim=config.dim,
                num_heads=config.num_heads,
                num_layers=config.num_layers,
                hidden=config.hidden,
                clip=config.clip,
            )
        case _:
            raise InputError(
                f"policy.type is {config.type} for a problem whose vehicles differ; accepted "
                "there: camp, heterogeneous_attention"
            )
