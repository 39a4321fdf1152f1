"""A trained model as a benchmark's configuration asks for it."""

from __future__ import annotations

from nco.benchmark_config import ModelConfig
from nco.neural_solver import NeuralSolver, load


def model_solver(config: ModelConfig) -> NeuralSolver:
    """The model, without the search around it.

    Raises:
        InputError: as `nco.neural_solver.load`.
    """
    return load(
        config.path,
        samples=config.samples,
        augment=config.augment,
        multi_start=config.multi_start,
        kernel=config.kernel,
        device=config.device,
        selection=config.selection,
    )
