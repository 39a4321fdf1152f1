"""Which open requests leave now: a score for each, from attention among those that are open.

A small set transformer whose attention has a bias from what two requests have to do with each
other (`PAIR_FEATURES`), so that a request sees who could share its route; what it would add to the
routes of those that must leave, and save where all leave, is told (`MARGINS`). Trained by REINFORCE
(Williams 1992) with the mean over several passes through the same day as the baseline.

Axes: B days, K times, R requests.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nco.envs.dispatch_batch import MARGINS, NODE_FEATURES, PAIR_FEATURES
from nco.envs.environment import FORBIDDEN


class _Layer(nn.Module):
    """Attention with a bias for each pair and head, then a feed-forward; norms come first."""

    def __init__(self, dim: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, 3 * dim)
        self.join = nn.Linear(dim, dim)
        self.bias = nn.Sequential(
            nn.Linear(len(PAIR_FEATURES), 16), nn.ReLU(), nn.Linear(16, num_heads)
        )
        self.feed = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def forward(
        self,
        x: Float[Tensor, "state request dim"],
        pairs: Float[Tensor, "state request request pair"],
        absent: Float[Tensor, "state 1 1 request"],
    ) -> Float[Tensor, "state request dim"]:
        states, count, dim = x.shape
        heads = self.project(self.before(x)).view(states, count, 3, self.num_heads, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.mT / query.shape[3] ** 0.5
        scores = scores + self.bias(pairs).permute(0, 3, 1, 2) + absent
        mixed = (scores.softmax(3) @ value).transpose(1, 2).reshape(states, count, dim)
        x = x + self.join(mixed)
        return x + self.feed(x)


@final
class DispatchPolicy(nn.Module):
    """Scores of open requests: above 0 a request is more likely to leave than to wait."""

    def __init__(self, *, dim: int, num_heads: int, num_layers: int, hidden: int) -> None:
        """With fresh weights from torch's global generator; ``dim`` is a multiple of
        ``num_heads``."""
        super().__init__()
        self.embed = nn.Linear(len(NODE_FEATURES) + len(MARGINS), dim)
        self.layers = nn.ModuleList(_Layer(dim, num_heads, hidden) for _ in range(num_layers))
        self.score = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 1))

    def forward(
        self,
        nodes: Float[Tensor, "batch request feature"],
        pairs: Float[Tensor, "batch request request pair"],
        margins: Float[Tensor, "batch time request margin"],
        is_open: Bool[Tensor, "batch time request"],
    ) -> Float[Tensor, "batch time request"]:
        """The scores; 0 for requests that are not open, which change no other's."""
        b, k, r = is_open.shape
        # only open requests are worked on, as many places as the fullest state has
        most = max(1, int(is_open.sum(2).max()))
        flat = is_open.reshape(b * k, r)
        place = (~flat).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
        there = flat.gather(1, place)
        day = torch.arange(b, device=nodes.device).repeat_interleave(k).unsqueeze(1)
        state = torch.arange(b * k, device=nodes.device).unsqueeze(1)
        x = self.embed(torch.cat((nodes[day, place], margins.flatten(0, 1)[state, place]), 2))
        between = pairs[day.unsqueeze(2), place.unsqueeze(2), place.unsqueeze(1)]
        absent = (~there).to(x.dtype).mul(FORBIDDEN).view(b * k, 1, 1, most)
        for layer in self.layers:
            x = layer(x, between, absent)
        scores = self.score(x).squeeze(2).masked_fill(~there, 0)
        return torch.zeros_like(flat, dtype=x.dtype).scatter(1, place, scores).view(b, k, r)
