"""REINFORCE against the greedy rollout of the best policy so far.

Kool et al. 2019, arXiv:1803.08475, algorithm 1.
"""

from __future__ import annotations

import copy
from typing import final

import torch
from jaxtyping import Float
from scipy.stats import ttest_rel
from torch import Tensor

from nco.algorithm import Algorithm, ValidationSet, stream_seed
from nco.data.instance import Instance
from nco.decode import decode
from nco.models.policy import Encoding, Policy
from nco.reinforce import moving_average, sample_one
from nco.rollout import Trajectory
from nco.train_config import RolloutBaselineConfig, TrainConfig


@final
class RolloutBaseline(Algorithm):
    """A frozen copy decodes greedily, in eval mode; it is renewed when the policy beats it.

    The first epochs use an exponential average. After each epoch the two are compared on a fixed
    set; where the policy's mean is lower and a one-sided paired t-test agrees, the copy is renewed
    and a new set is drawn. With several processes the first one's comparison holds for all: the
    running values of their batch norms differ a little.

    Differs from the paper in: the copy decodes each batch as it comes, instead of an epoch's
    instances beforehand; the values are the same.
    """

    def __init__(self, config: TrainConfig, validation: ValidationSet, policy: Policy) -> None:
        super().__init__(config, validation, policy)
        self.register_buffer("average", torch.tensor(torch.nan))
        self.register_buffer("eval_round", torch.tensor(0))
        self.frozen: Policy = copy.deepcopy(self.policy).requires_grad_(False)
        self.frozen.eval()

    @property
    def settings(self) -> RolloutBaselineConfig:
        """The algorithm's own section of the configuration."""
        settings = self.config.algorithm
        assert isinstance(settings, RolloutBaselineConfig)
        return settings

    def train(self, mode: bool = True) -> RolloutBaseline:
        """Switch the policy's mode; the frozen copy always stays in eval mode, with the running
        values of its batch norms."""
        super().train(mode)
        self.frozen.eval()
        return self

    def rollout(
        self, instance: Instance, generator: torch.Generator
    ) -> tuple[Trajectory, Encoding]:
        return sample_one(self.env, self.policy, instance, generator, self.kernel)

    def advantage(
        self, instance: Instance, trajectory: Trajectory
    ) -> Float[Tensor, "batch trajectory"]:
        if self.current_epoch < self.settings.warmup_epochs:
            self.average = moving_average(
                self.get_buffer("average"),
                trajectory.costs,
                self.settings.beta,
                self.trainer.world_size,
            )
            return self.average - trajectory.costs
        return self._greedy(self.frozen, instance).unsqueeze(1) - trajectory.costs

    def extra_loss(self, instance: Instance, trajectory: Trajectory) -> Tensor | None:
        return None

    def on_train_epoch_end(self) -> None:
        instance = self._evaluation_set()
        was_training = self.policy.training
        self.policy.eval()
        ours = self._greedy(self.policy, instance).double().cpu().numpy()
        # training must go on in train mode, or batch norm would learn with frozen statistics
        self.policy.train(was_training)
        theirs = self._greedy(self.frozen, instance).double().cpu().numpy()
        settings, renewals = self.settings, self.get_buffer("eval_round")
        better = bool(
            ours.mean() < theirs.mean()
            and ttest_rel(ours, theirs, alternative="less").pvalue < settings.significance
        )
        if self.trainer.strategy.broadcast(better):
            self.frozen.load_state_dict(self.policy.state_dict())
            renewals += 1
        self.log("train/baseline_cost", float(theirs.mean()), batch_size=1)
        self.log("train/baseline_renewals", renewals.float(), batch_size=1)

    def _evaluation_set(self) -> Instance:
        """The current set: a function of the seed and of how often the copy was renewed."""
        round_number = int(self.get_buffer("eval_round"))
        seed = stream_seed(self.config.seed, "evaluation", 0, round_number)
        generator = torch.Generator(device=self.device).manual_seed(seed)
        return self.draw(self.settings.eval_instances, generator)

    def _greedy(self, policy: Policy, instance: Instance) -> Float[Tensor, "batch"]:
        return decode(self.env, policy, instance, multi_start=False, kernel=self.kernel).costs
