"""Random instances whose customers ask with a probability: the probabilistic TSP and CVRP.

Half of the instances of a batch have one probability for all their customers, as those of Jaillet
1988 (doi:10.1287/opre.36.6.929), the others one for each customer; both are U(0.1, 0.9).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from nco.data.batching import replace
from nco.data.distributions import rand
from nco.data.instance import Instance
from nco.data.noise import draw_keys

LEAST, MOST = 0.1, 0.9


def with_presence(instance: Instance, generator: torch.Generator) -> Instance:
    """The same instances with probabilities, and with keys, which name their noise.

    Node 0 is certain: the depot, or where there is none (a TSP) the home of the tour.
    """
    b, n = instance.valid.shape
    each = rand(generator, b, n)
    common = rand(generator, b, 1).expand(b, n)
    alike = rand(generator, b, 1) < 0.5
    presence = LEAST + (MOST - LEAST) * torch.where(alike, common, each)
    return replace(
        instance,
        {"presence": _certain_home(presence), "key": draw_keys(b, generator)},
    )


def _certain_home(presence: Float[Tensor, "batch node"]) -> Float[Tensor, "batch node"]:
    presence[:, 0] = 1
    return presence
