"""A training run from its configuration to a model folder; what Lightning needs and no more."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import lightning as pl
import torch
import yaml
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from nco.adapters import widen
from nco.algorithm import Algorithm, ValidationSet, seeded_weights
from nco.build import build_env, build_policy
from nco.config_files import load_yaml, parse
from nco.data.batching import collate
from nco.data.city_collection import CityCollection
from nco.data.city_map import Part, load_cities
from nco.data.errors import InputError
from nco.data.generators import generate, road_nodes
from nco.data.instance import Instance
from nco.data.multi_task import ROAD_PROBLEMS, VARIANT_SETS, variants_of
from nco.data.road_instances import require_points
from nco.data.text_file import write_text
from nco.model_files import StartedFrom, load_card
from nco.models.policy import Policy
from nco.neural_solver import load
from nco.pomo_training import SharedBaseline
from nco.references import reference_costs
from nco.reinforce_critic import CriticBaseline
from nco.reinforce_exponential import ExponentialBaseline
from nco.reinforce_rollout import RolloutBaseline
from nco.train_config import (
    CriticBaselineConfig,
    ExponentialBaselineConfig,
    LoopConfig,
    RolloutBaselineConfig,
    SharedBaselineConfig,
    TrainConfig,
)
from nco.training_callbacks import MetricsFile, ModelSaver, ProgressBar

CONFIG = "config.yaml"
METRICS = "metrics.csv"
LAST = "last.ckpt"
MODEL = "model"


def fresh_policy(config: TrainConfig) -> Policy:
    """A run's policy before it learns anything."""
    with seeded_weights(config.seed, 0):
        return build_policy(config.policy, build_env(config.problem))


def build_algorithm(
    config: TrainConfig, validation: ValidationSet, policy: Policy | None = None
) -> Algorithm:
    """The Lightning module that a configuration asks for.

    Args:
        config: the whole run.
        validation: what it is measured on.
        policy: what it trains; by default `fresh_policy`.
    """
    policy = policy or fresh_policy(config)
    match config.algorithm:
        case SharedBaselineConfig():
            return SharedBaseline(config, validation, policy)
        case RolloutBaselineConfig():
            return RolloutBaseline(config, validation, policy)
        case ExponentialBaselineConfig():
            return ExponentialBaseline(config, validation, policy)
        case CriticBaselineConfig():
            return CriticBaseline(config, validation, policy)


def validation_instances(config: TrainConfig) -> Instance:
    """The fixed instances of a run; a mixed problem has as many of each variant, or one more of
    the first ones."""
    size = config.validation.num_customers or config.data.num_customers
    if isinstance(size, tuple):
        size = sum(size) // 2
    generator = torch.Generator().manual_seed(config.validation.seed)
    folder = config.data.cities
    cities = None if folder is None else CityCollection.load(folder, "validation")

    def draw(batch: int, variants: tuple[str, ...] | None) -> Instance:
        return generate(
            config.problem,
            num_customers=size,
            batch=batch,
            generator=generator,
            distribution=config.data.distribution,
            capacity=config.data.capacity,
            variants=variants,
            cities=cities,
            fleet=config.data.fleet,
        )

    total = config.validation.num_instances
    problem = ROAD_PROBLEMS.get(config.problem, config.problem)
    if problem not in VARIANT_SETS:
        return draw(total, None)
    names = [variant.name for variant in variants_of(problem, config.data.variants)]
    each, more = divmod(total, len(names))
    counts = {name: each + (i < more) for i, name in enumerate(names)}
    return collate([draw(count, (name,)) for name, count in counts.items() if count])


def validation_set(config: TrainConfig, store: Path) -> tuple[ValidationSet, str | None]:
    """The fixed instances of a run, their reference costs, and what made those."""
    instance = validation_instances(config)
    if config.validation.reference is None:
        return ValidationSet(instance, None), None
    costs, made_by = reference_costs(instance, config.validation.reference, store)
    return ValidationSet(instance, costs), made_by


def new_run_folder(config: TrainConfig) -> Path:
    """Make ``<output>/<name>/<time>`` now: what cannot be written is told before the work.

    Of several processes that each run this, only the first one writes, so only it makes a folder.
    """
    folder = config.output / config.name / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    # Lightning keeps the rank on its decorator
    if rank_zero_only.rank != 0:  # pyright: ignore[reportFunctionMemberAccess]
        return folder
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"output {config.output}: cannot be written ({error.strerror}); give a folder that can"
        ) from error
    return folder


def stored_config(run: Path) -> TrainConfig:
    """The configuration of a run that is there already.

    Raises:
        InputError: the folder is not a run, its configuration is broken, or it has no checkpoint to
            go on from.
    """
    path = run / CONFIG
    if not path.is_file():
        raise InputError(f"{run}: not a training run (no {CONFIG}); accepted: runs/<name>/<time>")
    if not (run / "checkpoints" / LAST).is_file():
        raise InputError(f"{run}: has no checkpoint yet (checkpoints/{LAST}); start the run anew")
    return parse(TrainConfig, load_yaml(path), str(path))


def _differences(
    ours: dict[str, Any], theirs: dict[str, Any], other: str, path: str = ""
) -> list[str]:
    """Dotted paths with both values; ``other`` says whose theirs are."""
    found: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, other, f"{path}{key}.")
        elif a != b:
            found.append(f"{path}{key} ({b} in the {other}, {a} now)")
    return found


def _require_same(config: TrainConfig, run: Path) -> None:
    """A resumed run may train longer; whatever else differs would make it another run."""
    stored = stored_config(run)
    ours, theirs = config.model_dump(mode="json"), stored.model_dump(mode="json")
    longer = config.training.epochs > stored.training.epochs
    free = ("output ", "training.epochs ") if longer else ("output ",)
    different = [d for d in _differences(ours, theirs, "run") if not d.startswith(free)]
    if different:
        raise InputError(
            f"--resume {run}: the configuration is not that of the run: {'; '.join(different)}; "
            "accepted: the same, or with more training.epochs"
        )


def starting_policy(config: TrainConfig) -> tuple[Policy, StartedFrom | None]:
    """The policy that a new run begins with, and which model its weights are from.

    Raises:
        InputError: there is no such model, it is not built as the configuration's policy, or it
            reads features that the problem does not have.
    """
    policy, start = fresh_policy(config), config.start
    if start is None:
        return policy, None
    try:
        model = load(start.model)
    except InputError as error:
        raise InputError(f"start.model {error}") from error
    card = model.card
    ours, theirs = config.policy.model_dump(mode="json"), card.policy.model_dump(mode="json")
    different = _differences(ours, theirs, "model", "policy.")
    if different:
        raise InputError(
            f"start.model {start.model}: is built otherwise than this run's policy: "
            f"{'; '.join(different)}; accepted: the same"
        )
    try:
        widen(policy, model.policy, start.new_columns)
    except InputError as error:
        raise InputError(f"start.model {start.model}: {error}") from error
    return policy, StartedFrom(
        name=card.name,
        problem=card.problem,
        new_columns=start.new_columns,
        trained_on=card.trained_on,
        started_from=card.started_from,
    )


def _require_devices(loop: LoopConfig) -> None:
    if loop.accelerator == "cuda" and not torch.cuda.is_available():
        raise InputError("training.accelerator is cuda and no CUDA device is there; accepted: cpu")
    if loop.kernel in ("captured", "triton") and not _on_gpu(loop):
        raise InputError(
            f"training.kernel is {loop.kernel}, which needs a CUDA device; accepted on a CPU: "
            "auto, plain or cpu"
        )
    there = torch.cuda.device_count()
    if _on_gpu(loop) and loop.devices > there:
        raise InputError(
            f"training.devices is {loop.devices}; accepted: at most {there}, the CUDA devices here"
        )


def train(config: TrainConfig, *, resume: Path | None = None, progress: bool = True) -> Path:
    """Train a policy and write its run folder.

    The folder holds the resolved ``config.yaml``, ``metrics.csv``, TensorBoard events,
    ``checkpoints/last.ckpt`` and, after every epoch, ``model/`` with the current weights.

    Args:
        config: the whole run.
        resume: the folder of a run to go on with, from its last finished epoch.
        progress: show a progress bar.

    Returns:
        The run's folder.

    Raises:
        InputError: the output cannot be written, the devices or the cities are not there,
            ``resume`` is not this configuration's run, or the model to start from does not fit.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    _require_devices(config.training)
    _require_cities(config)
    if resume is None:
        policy, started_from = starting_policy(config)
    else:
        _require_same(config, resume)
        # the checkpoint has all weights: the model that they started from may be gone
        policy = fresh_policy(config)
        started_from = None if config.start is None else load_card(resume / MODEL).started_from
    run = resume or new_run_folder(config)
    # the reference solver may take minutes, the first time
    with Console(stderr=True).status("validation set") if progress else contextlib.nullcontext():
        validation, made_by = validation_set(config, config.output / "references")
    module = build_algorithm(config, validation, policy)
    metrics = MetricsFile(run / METRICS, validation)
    saver = ModelSaver(run / MODEL, config, metrics, made_by, started_from)
    # Lightning greets and advertises at level INFO
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    trainer = _trainer(config, run, metrics, saver, progress=progress)
    if trainer.is_global_zero:
        values = config.model_dump(mode="json")
        write_text(run / CONFIG, yaml.safe_dump(values, sort_keys=False))
    checkpoint = run / "checkpoints" / LAST if resume is not None else None
    with warnings.catch_warnings():
        # the loader only counts batches: workers would have nothing to do
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # a frozen baseline is meant to stay in eval mode
        warnings.filterwarnings("ignore", message=".*module.s. in eval mode at the start.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*number of training batches.*log_every.*")
        # a resumed run goes on in the same folder
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* is not empty.*")
        _fit(trainer, module, checkpoint, run)
    return run


def _require_cities(config: TrainConfig) -> None:
    """Raise `InputError` where the cities are not there, or too small for the largest instances."""
    data = config.data
    if data.cities is None:
        return
    drawn = max(data.num_customers) if isinstance(data.num_customers, tuple) else data.num_customers
    sizes: dict[Part, int] = {
        "train": drawn,
        "validation": config.validation.num_customers or drawn,
    }
    for part, size in sizes.items():
        points = [len(city.points) for city in load_cities(data.cities, part)]
        require_points(road_nodes(config.problem, size, data.variants), points)


def _fit(trainer: pl.Trainer, module: Algorithm, checkpoint: Path | None, run: Path) -> None:
    """Train, with the progress bar on standard error.

    Raises:
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning's answer to Ctrl-C, which it ignores from then on
        signal.signal(signal.SIGINT, interrupt)
        if (run / "checkpoints" / LAST).is_file():
            raise KeyboardInterrupt(
                f"go on with: nco train {run / CONFIG} --resume {run}"
            ) from None
        raise KeyboardInterrupt(f"no epoch of {run} was finished, start anew") from None


def _on_gpu(loop: LoopConfig) -> bool:
    return loop.accelerator != "cpu" and torch.cuda.is_available()


def _strategy(loop: LoopConfig) -> str:
    """Data-parallel where there are several processes.

    On a CPU they are forked, which needs no main-guard in the user's script; CUDA forbids that.
    """
    if loop.devices * loop.nodes == 1:
        return "auto"
    return "ddp" if _on_gpu(loop) or loop.nodes > 1 else "ddp_fork"


def _trainer(
    config: TrainConfig, run: Path, metrics: MetricsFile, saver: ModelSaver, *, progress: bool
) -> pl.Trainer:
    loop = config.training
    callbacks: list[Callback] = [
        metrics,
        saver,
        # after every epoch, over the one before; save_last alone would write at the very end only
        ModelCheckpoint(
            run / "checkpoints",
            filename=Path(LAST).stem,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
    if progress:
        # a file or a pipe gets few lines, a terminal a live bar; to show a number of a GPU is to
        # wait for it
        live = 20 if _on_gpu(loop) else 1
        callbacks.append(ProgressBar(refresh_rate=live if sys.stderr.isatty() else 50))
    return pl.Trainer(
        default_root_dir=run,
        accelerator=loop.accelerator,
        devices=loop.devices,
        num_nodes=loop.nodes,
        strategy=_strategy(loop),
        precision=loop.precision,
        max_epochs=loop.epochs,
        accumulate_grad_batches=loop.accumulate,
        gradient_clip_val=loop.gradient_clip,
        callbacks=callbacks,
        logger=TensorBoardLogger(run, name="", version="tensorboard"),
        log_every_n_steps=loop.log_every,
        num_sanity_val_steps=0,
        enable_progress_bar=progress,
        enable_model_summary=False,
        deterministic=False,
        use_distributed_sampler=False,
    )
