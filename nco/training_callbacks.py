"""What a training run writes and shows after each epoch: metrics, the model, the progress bar."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any

import lightning as pl
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

from nco.algorithm import GAP, Algorithm, ValidationSet
from nco.model_files import ModelCard, StartedFrom, TrainedOn, save_model
from nco.provenance import hardware, versions
from nco.train_config import TrainConfig


class MetricsFile(Callback):
    """Appends one row to ``metrics.csv`` after each epoch; a resumed run goes on in the same file.

    Rows of epochs after the checkpoint that a run resumes from are dropped first.
    """

    COLUMNS: tuple[str, ...] = ("epoch", "step", "seconds", "train/instances", "train/cost",
               "train/instances_per_second", "val/cost", GAP)  # fmt: skip

    def __init__(self, path: Path, validation: ValidationSet) -> None:
        self.path = path
        self.columns = (*self.COLUMNS, *(f"{GAP}/{name}" for name in validation.by_variant))
        self.seconds = 0.0
        self._start = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()
        if not trainer.is_global_zero:
            return
        kept: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                kept = [r for r in csv.DictReader(file) if int(r["epoch"]) < trainer.current_epoch]
        if kept:
            self.seconds = float(kept[-1]["seconds"])
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(partial, self.path)

    def total_seconds(self) -> float:
        """Wall seconds of training, those before a resume included."""
        return self.seconds + time.perf_counter() - self._start

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        values = {k: v.item() for k, v in trainer.callback_metrics.items() if k in self.columns}
        row: dict[str, Any] = values | {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": round(self.total_seconds(), 2),
        }
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)


class ModelSaver(Callback):
    """Writes ``model/`` after every validation, so that an interrupted run leaves a model too."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        metrics: MetricsFile,
        reference: str | None,
        started_from: StartedFrom | None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.metrics = metrics
        self.reference = reference
        self.started_from = started_from

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Algorithm)
        shown = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        card = ModelCard(
            name=self.config.name,
            problem=self.config.problem,
            policy=self.config.policy,
            trained_on=TrainedOn(
                num_customers=self.config.data.num_customers,
                distribution=self.config.data.distribution,
                variants=self.config.data.variants,
                cities=None if pl_module.cities is None else pl_module.cities.names,
                capacity=self.config.data.capacity,
                instances=pl_module.instances_seen,
                hardware=", ".join(f"{k} {v}" for k, v in hardware().items()),
                seconds=round(self.metrics.total_seconds(), 1),
            ),
            started_from=self.started_from,
            metrics=shown,
            reference=self.reference,
            versions=versions(),
        )
        save_model(self.folder, pl_module.policy, card)


class ProgressBar(TQDMProgressBar):
    """Lightning's bar without the name of the logger's folder."""

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        shown = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in shown.items() if name != "v_num"}
