"""Reference costs for validation: solved once, stored with their routes, checked when read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nco.baselines.solver import Budget
from nco.data.batching import unbatch
from nco.data.errors import InputError
from nco.data.instance import Instance, Rounding
from nco.data.text_file import write_text
from nco.envs.checker import check_routes
from nco.provenance import package_version
from nco.scenario_config import build_any_solver
from nco.train_config import ReferenceConfig

SEED = 0
"""Of every reference solver."""


def fingerprint(instance: Instance) -> str:
    """A checksum of everything that makes the instances what they are."""
    digest = hashlib.sha256()
    for name, value in sorted(instance.to_tensordict().items()):
        if isinstance(value, Tensor):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def reference_costs(
    instance: Instance, config: ReferenceConfig, folder: Path
) -> tuple[Float[Tensor, "instance"], str]:
    """The costs of a reference solver, from the store where they are there, and what made them.

    Every cost, stored or new, is recomputed from its routes.

    Args:
        instance: the validation set.
        config: solver and budget.
        folder: of the store; the file's name is a checksum of instances, solver and budget.

    Raises:
        InputError: a stored file is broken or its routes are not feasible.
    """
    key = json.dumps(config.model_dump(mode="json"), sort_keys=True) + fingerprint(instance)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        _solve(instance, config, path)
    try:
        stored: dict[str, Any] = json.loads(path.read_text())
        costs = []
        singles = unbatch(instance)
        routes_and_depots = stored["routes"], stored["depots"]
        # files from before there were fleets do not name vehicles
        drivers = stored.get("vehicles", [None] * len(singles))
        entries = zip(singles, *routes_and_depots, drivers, strict=True)
        for one, routes, depots, vehicles in entries:
            report = check_routes(one, routes, depots, vehicles=vehicles)
            if not report.feasible:
                raise InputError(f"{path}: a stored route is not feasible: {report.violations[0]}")
            costs.append(report.cost)
        return torch.tensor(costs, dtype=torch.float64), str(stored["made_by"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: broken reference file ({error}); delete it") from error


def _solve(instance: Instance, config: ReferenceConfig, path: Path) -> None:
    solver = build_any_solver(config.solver)
    budget = Budget(time_limit=config.time_limit, iterations=config.iterations)
    solutions = solver.solve(instance, budget, SEED)
    limits = [f"{config.time_limit:g} s"] if config.time_limit is not None else []
    limits += [f"{config.iterations} iterations"] if config.iterations is not None else []
    rules = {Rounding(int(rule)).name for rule in instance.rounding}
    package = config.solver.package or "nco-routing"
    made_by = (
        f"{package} {package_version(package)}, {' or '.join(limits)} an instance, "
        f"rounding {' and '.join(sorted(rules))}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "made_by": made_by,
        "routes": [s.routes for s in solutions],
        "depots": [s.depots for s in solutions],
        "vehicles": [s.vehicles for s in solutions],
        "costs": [s.cost for s in solutions],
    }
    # under a temporary name of its own: several runs may solve the same reference at once
    write_text(path, json.dumps(content))
