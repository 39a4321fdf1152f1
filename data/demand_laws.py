"""Demands that are seen on arrival: their laws, and what they turn out to be.

A demand is a whole number from 0 to the capacity with mean ``linehaul``, up to what the limits cut
off (`nco.data.instance.DemandLaw`). Demands may hang together by one common factor: customer i's is
the quantile of its law at Phi(sqrt(c) F + sqrt(1 - c) e_i), with F the scenario's and e_i the
customer's own standard normal number and c the correlation of those numbers (a Gaussian copula).

Axes: B instances, N nodes, S scenarios, K demands from 0 up.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.batching import replace
from nco.data.errors import InputError
from nco.data.instance import DEMAND_FIELDS, DemandLaw, Instance
from nco.data.noise import Scenarios, Stream, draw_keys, nodes_as_entities, normals

DEMAND_PROBLEMS = ("vrpsd", "vrpsd-detour", "vrpsd-adaptive")
"""Plans whose vehicles may turn back before they are empty, plans whose vehicles turn back only
when they are, and decisions on the way."""
TAIL = 1e-12
"""Demands that are larger with less than this probability are left out of the tables."""
EVERYONE = -1
"""Names what is common to all nodes."""


def with_uncertain_demands(
    instance: Instance,
    generator: torch.Generator,
    *,
    law: DemandLaw = DemandLaw.POISSON,
    spread: float = 0.0,
    correlation: float = 0.0,
    restocking: bool,
) -> Instance:
    """The same instances with their demands as means of a law, and with keys.

    Args:
        spread: of every law, as a part of its mean.
    """
    one = instance.capacity
    return replace(
        instance,
        {
            "demand_law": torch.full_like(one, int(law), dtype=torch.int64),
            "demand_spread": instance.linehaul * spread,
            "demand_correlation": torch.full_like(one, correlation),
            "restocking": torch.full_like(one, restocking, dtype=torch.bool),
            "key": draw_keys(instance.batch_size[0], generator),
        },
    )


def certain_demands(instance: Instance) -> Instance:
    """The same instances with every demand as its mean.

    Raises:
        InputError: the demands are certain already.
    """
    require_laws(instance)
    return replace(instance, dict.fromkeys(DEMAND_FIELDS))


def require_laws(instance: Instance) -> Int[Tensor, " batch"]:
    """The laws of the demands.

    Raises:
        InputError: there are none.
    """
    if instance.demand_law is None:
        raise InputError(
            "the instance has no laws of demands; accepted: instances of "
            f"{', '.join(DEMAND_PROBLEMS)}, or with {', '.join(DEMAND_FIELDS)} given"
        )
    return instance.demand_law


def demand_cdf(instance: Instance) -> Float[Tensor, "batch node demand"]:
    """P(demand <= k) for k = 0, 1, ..., in float64; the last column is 1.

    Raises:
        InputError: there are no laws.
    """
    law = require_laws(instance).view(-1, 1, 1)
    assert instance.demand_spread is not None  # given together with the laws
    mean = instance.linehaul.double().unsqueeze(2)
    spread = instance.demand_spread.double().unsqueeze(2)
    k = torch.arange(int(instance.capacity.max()) + 1, dtype=torch.float64, device=mean.device)
    poisson = torch.special.gammaincc(k + 1, mean)
    # without spread the mean is certain
    normal = torch.special.ndtr((k + 0.5 - mean) / spread.clamp(min=1e-9))
    low, high = (mean - spread).round(), (mean + spread).round()
    uniform = ((k - low + 1) / (high - low + 1)).clamp(0, 1)
    cdf = torch.where(
        law == DemandLaw.POISSON, poisson, torch.where(law == DemandLaw.NORMAL, normal, uniform)
    )
    cdf = cdf.masked_fill(k >= instance.capacity.double().view(-1, 1, 1), 1)
    last = int((cdf < 1 - TAIL).any(1).any(0).sum())
    cdf = cdf[:, :, : last + 1].contiguous()
    cdf[:, :, last] = 1
    return cdf


def demand_pmf(
    cdf: Float[Tensor, "batch node demand"],
) -> Float[Tensor, "batch node demand"]:
    """P(demand = k)."""
    return torch.diff(cdf, dim=2, prepend=torch.zeros_like(cdf[:, :, :1]))


def demand_deviation(instance: Instance) -> Float[Tensor, "batch node"]:
    """The standard deviations, in the instance's dtype."""
    pmf = demand_pmf(demand_cdf(instance))
    k = torch.arange(pmf.shape[2], dtype=torch.float64, device=pmf.device)
    mean = (pmf * k).sum(2)
    return ((pmf * k * k).sum(2) - mean * mean).clamp(min=0).sqrt().to(instance.dtype)


def realised_demands(
    instance: Instance, scenarios: Scenarios
) -> Int[Tensor, "batch scenario node"]:
    """The demand of each node in each scenario.

    Raises:
        InputError: there are no laws or no keys.
    """
    cdf = demand_cdf(instance)
    assert instance.demand_correlation is not None
    tied = instance.demand_correlation.double().view(-1, 1, 1)
    own = normals(scenarios, instance, Stream.DEMAND, nodes_as_entities(instance))
    everyone = torch.full((1, 1, 1), EVERYONE, device=cdf.device)
    common = normals(scenarios, instance, Stream.DEMAND, everyone)
    level = torch.special.ndtr(tied.sqrt() * common + (1 - tied).sqrt() * own)
    found = torch.searchsorted(cdf, level.mT.contiguous())
    return found.clamp(max=cdf.shape[2] - 1).mT
