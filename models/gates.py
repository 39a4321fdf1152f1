"""Which experts a token goes to, and with which weight.

One contract for encoder (tokens = nodes, asked once an episode) and decoder (tokens = states, asked
at every step). A gate gives each expert a weight, exactly zero where the expert is not asked. Gates
that look at the whole instance give one weight vector for all of its tokens, so their experts can
be merged into one before they are applied.

Axes: B instances, K tokens of each, D width of a token, A attributes, E experts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nco.data.errors import InputError
from nco.models.named_inputs import NamedInputs


@dataclass(frozen=True, slots=True)
class Summary:
    """What a gate may know of instances before it sees a token."""

    pooled: Float[Tensor, "batch dim"]
    """The mean of the nodes."""
    attributes: Float[Tensor, "batch attribute"]
    """The constraint vector: `Environment.attribute_names`."""
    generator: torch.Generator | None
    """Draws noise, in training; None for a deterministic answer."""


class Choice(NamedTuple):
    """A gate's answer for K tokens of each instance; K = 1 where it is one for all of them."""

    weights: Float[Tensor, "batch #token expert"]
    load: Float[Tensor, "batch #token expert"]
    """How much of the token each expert has to do; a smooth estimate where one is trained on."""


class Gate(nn.Module, ABC):
    """Weights of experts. ``num_experts`` counts all that need weights of their own."""

    num_experts: int
    active: int
    """The most experts that a token goes to."""

    @property
    def per_instance(self) -> bool:
        """Whether all tokens of an instance share one answer, known from its summary alone."""
        return False

    @abstractmethod
    def prepare(self, summary: Summary, num_tokens: int) -> dict[str, Tensor]:
        """What is fixed for an episode, each [B, ...]: noise, and choices for whole instances.

        Args:
            num_tokens: K where each token has noise of its own, 1 where an instance's tokens are
                to share it (in decoding: a rollout and its scoring must see the same).
        """

    @abstractmethod
    def forward(
        self, tokens: Float[Tensor, "batch token dim"], prepared: dict[str, Tensor]
    ) -> Choice:
        """The weights of tokens."""

    def balance_loss(self, usage: Float[Tensor, "2 expert"]) -> Float[Tensor, ""]:
        """What uneven use costs, differentiable in the usage; nothing by default."""
        return usage.new_zeros(())

    def rebalance(self, load: Float[Tensor, " expert"]) -> None:
        """Learn from the load of a batch without a gradient; most gates do not."""


GateFactory = Callable[[int, tuple[str, ...]], Gate]
"""A fresh gate from the width of tokens and the names of attributes."""


def squared_variation(values: Float[Tensor, " expert"]) -> Float[Tensor, ""]:
    """Variance over squared mean; 0 for a single value."""
    if len(values) == 1:
        # torch's sample variance of one value is NaN
        return values.new_zeros(())
    return values.var() / (values.mean().square() + 1e-10)


@final
class NoisyTopK(Gate):
    """The k best of x W + ε · softplus(x V), ε normal in training; weights by softmax of those.

    Shazeer et al. 2017 (arXiv:1701.06538), section 2.1 and appendix A, as MVMoE uses it (Zhou et
    al. 2024, arXiv:2405.01029). The balance loss is the squared variation of importance (sums of
    weights) plus that of the smooth load. W and V start at zero, so the first choices are random.

    Differs from the papers in: where tokens are states of a decoder, ε is drawn once for an
    instance, so that what is scored is the policy that acted.
    """

    def __init__(self, dim: int, *, num_experts: int, active: int, balance: float) -> None:
        super().__init__()
        if not 0 < active <= num_experts:
            raise InputError(f"active is {active}; accepted: 1 to num_experts, {num_experts}")
        self.num_experts = num_experts
        self.active = active
        self.balance = balance
        self.score = nn.Parameter(torch.zeros(dim, num_experts))
        self.noise = nn.Parameter(torch.zeros(dim, num_experts))

    def prepare(self, summary: Summary, num_tokens: int) -> dict[str, Tensor]:
        if summary.generator is None:
            return {}
        shape = (len(summary.pooled), num_tokens, self.num_experts)
        device = summary.pooled.device
        return {"noise": torch.randn(shape, generator=summary.generator, device=device)}

    def forward(
        self, tokens: Float[Tensor, "batch token dim"], prepared: dict[str, Tensor]
    ) -> Choice:
        clean = tokens @ self.score
        if "noise" not in prepared:
            weights = _softmax_of_best(clean, self.active)
            return Choice(weights, (weights > 0).to(weights.dtype))
        spread = F.softplus(tokens @ self.noise) + 0.01
        noisy = clean + prepared["noise"] * spread
        weights = _softmax_of_best(noisy, self.active)
        if self.active == self.num_experts:
            return Choice(weights, torch.ones_like(weights))
        # the chance to be among the best if only this expert's noise were drawn again
        best = noisy.topk(self.active + 1, dim=2).values
        inside, outside = best[:, :, -1:], best[:, :, -2:-1]
        bar = torch.where(noisy > inside, inside, outside)
        return Choice(weights, torch.special.ndtr((clean - bar) / spread))

    def balance_loss(self, usage: Float[Tensor, "2 expert"]) -> Float[Tensor, ""]:
        return self.balance * (squared_variation(usage[0]) + squared_variation(usage[1]))


def _softmax_of_best(
    scores: Float[Tensor, "batch token expert"], active: int
) -> Float[Tensor, "batch token expert"]:
    values, index = scores.topk(active, dim=2)
    return torch.zeros_like(scores).scatter(2, index, values.softmax(2))


@final
class Hierarchical(Gate):
    """First dense or sparse for a whole instance, then `NoisyTopK` where sparse was chosen.

    MVMoE-L (Zhou et al. 2024, arXiv:2405.01029, section 4.3). Expert 0 is the dense one. The
    choice is drawn in training and the likelier one otherwise; its probability scales the output,
    which is how the first gate learns.

    Differs from the paper in: the choice is made for each instance from the mean of its nodes, not
    once for a batch from the mean over the batch, so that a solution does not depend on what else
    is solved beside it.
    """

    def __init__(self, dim: int, *, num_experts: int, active: int, balance: float) -> None:
        super().__init__()
        self.sparse = NoisyTopK(dim, num_experts=num_experts, active=active, balance=balance)
        self.choose = nn.Linear(dim, 2)
        self.num_experts = num_experts + 1
        self.active = active

    def prepare(self, summary: Summary, num_tokens: int) -> dict[str, Tensor]:
        chances = self.choose(summary.pooled).float().softmax(1)
        if summary.generator is None:
            chosen = chances.argmax(1, keepdim=True)
        else:
            chosen = chances.detach().multinomial(1, generator=summary.generator)
        share = torch.zeros_like(chances).scatter(1, chosen, chances.gather(1, chosen))
        return {"share": share, **self.sparse.prepare(summary, num_tokens)}

    def forward(
        self, tokens: Float[Tensor, "batch token dim"], prepared: dict[str, Tensor]
    ) -> Choice:
        sparse = self.sparse(tokens, prepared)
        dense, rest = prepared["share"].unsqueeze(1).chunk(2, 2)
        one = torch.ones_like(sparse.weights[:, :, :1])
        chosen = (rest > 0).to(rest.dtype)
        return Choice(
            torch.cat((dense * one, rest * sparse.weights), 2),
            torch.cat(((1 - chosen) * one, chosen * sparse.load), 2),
        )

    def balance_loss(self, usage: Float[Tensor, "2 expert"]) -> Float[Tensor, ""]:
        return self.sparse.balance_loss(usage[:, 1:])


@final
class SharedSigmoid(Gate):
    """Shared experts for every token, and the k best others by a normalised sigmoid.

    DeepSeekMoE (Dai et al. 2024, arXiv:2401.06066) with the gate of DeepSeek-V3 (arXiv:2412.19437,
    equations 12 to 16): s = sigmoid(x · e), chosen by s + b, weighted by s over the sum of the
    chosen. Balance comes without a loss (Wang et al. 2024, arXiv:2408.15664): after each batch
    b moves by ``rate`` towards the experts that had too little. Experts 0, 1, ... are the shared.
    """

    bias: Float[Tensor, " expert"]

    def __init__(self, dim: int, *, shared: int, routed: int, active: int, rate: float) -> None:
        super().__init__()
        if not 0 < active <= routed:
            raise InputError(f"active is {active}; accepted: 1 to the routed experts, {routed}")
        self.shared = shared
        self.num_experts = shared + routed
        self.active = shared + active
        self.rate = rate
        self.score = nn.Parameter(torch.empty(dim, routed).uniform_(-1, 1) / dim**0.5)
        self.register_buffer("bias", torch.zeros(routed))

    def prepare(self, summary: Summary, num_tokens: int) -> dict[str, Tensor]:
        return {}

    def forward(
        self, tokens: Float[Tensor, "batch token dim"], prepared: dict[str, Tensor]
    ) -> Choice:
        affinity = (tokens @ self.score).sigmoid()
        index = (affinity + self.bias).topk(self.active - self.shared, dim=2).indices
        kept = affinity.gather(2, index)
        routed = torch.zeros_like(affinity).scatter(2, index, kept / kept.sum(2, keepdim=True))
        always = torch.ones_like(affinity[:, :, :1]).expand(-1, -1, self.shared)
        chosen = torch.zeros_like(affinity).scatter(2, index, 1)
        return Choice(torch.cat((always, routed), 2), torch.cat((always, chosen), 2))

    def rebalance(self, load: Float[Tensor, " expert"]) -> None:
        routed = load[self.shared :]
        self.bias += self.rate * (routed.mean() - routed).sign()


class InstanceGate(Gate, ABC):
    """One mixture of all experts for each instance: `prepare` gives it as ``weights`` [B, 1, E]."""

    @property
    def per_instance(self) -> bool:
        return True

    def forward(
        self, tokens: Float[Tensor, "batch token dim"], prepared: dict[str, Tensor]
    ) -> Choice:
        return Choice(prepared["weights"], prepared["weights"])


@final
class SoftMerging(InstanceGate):
    """One soft mixture for each instance, from the mean of its tokens; experts are merged.

    SMEAR (Muqeeth, Liu and Raffel 2023, arXiv:2306.03745): softmax(W h), no discrete routing.
    """

    def __init__(self, dim: int, *, num_experts: int) -> None:
        super().__init__()
        self.num_experts = self.active = num_experts
        self.mix = nn.Linear(dim, num_experts)

    def prepare(self, summary: Summary, num_tokens: int) -> dict[str, Tensor]:
        return {"weights": self.mix(summary.pooled).float().softmax(1).unsqueeze(1)}


@final
class AttributeGate(InstanceGate, NamedInputs):
    """One soft mixture for each variant, softmax(W a + b) of its constraint vector a.

    Combinations that were never trained get a mixture from their attributes.
    """

    def __init__(self, attributes: tuple[str, ...], *, num_experts: int) -> None:
        super().__init__()
        if not attributes:
            raise InputError(
                "an attribute gate is asked for, and the problem has one variant only; accepted: "
                "problems whose instances differ in their attributes"
            )
        self.num_experts = self.active = num_experts
        self.attributes = attributes
        self.mix = nn.Linear(len(attributes), num_experts)

    @property
    def input_names(self) -> dict[str, tuple[int, tuple[str, ...]]]:
        return {"mix.weight": (1, self.attributes)}

    def prepare(self, summary: Summary, num_tokens: int) -> dict[str, Tensor]:
        return {"weights": self.mix(summary.attributes).float().softmax(1).unsqueeze(1)}
