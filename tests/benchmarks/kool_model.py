"""The weights that Kool et al. 2019 publish for the prize-collecting TSP, as a model folder.

    python tests/benchmarks/kool_model.py pctsp_det_20.safetensors models/kool-pctsp20

`nco benchmark benchmark-spctsp-kool` takes it from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nco.envs.prize_collecting import PCTSP
from nco.import_kool import import_kool
from nco.model_files import ModelCard, TrainedOn, save_model
from nco.policy_config import AttentionModelConfig
from nco.provenance import versions


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path, help="safetensors with their names of parameters")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    trained = TrainedOn(
        num_customers=20,
        distribution="uniform",
        instances=128_000_000,
        hardware="as published: 100 epochs of 1,280,000 instances",
        seconds=0.0,
    )
    card = ModelCard(
        name=given.folder.name,
        problem="pctsp",
        policy=AttentionModelConfig(type="attention_model"),
        trained_on=trained,
        metrics={},
        versions=versions(),
    )
    save_model(given.folder, import_kool(given.weights, PCTSP()), card)


if __name__ == "__main__":
    main()
