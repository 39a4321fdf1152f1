"""What ``nco data`` does beside reading: writes one file or many, and tells what is inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nco.cli_files import NAME, output_paths
from nco.data.attributes import variant_names
from nco.data.batching import unbatch
from nco.data.files import INSTANCE_SUFFIXES, write
from nco.data.instance import Instance, Rounding, is_customer
from nco.data.request_stream import rules_of
from nco.data.writable import set_attributes
from nco.solve_files import number

SIDE_BY_SIDE = 3


def write_all(instance: Instance, names: Sequence[str], target: Path) -> list[Path]:
    """Write a batch: as one JSON file, or where ``{name}`` is in the path as a file each.

    Raises:
        InputError: the format cannot state an instance, several would go into one file that holds
            one, or a file cannot be written.
    """
    if target.suffix == ".json" and NAME not in str(target):
        (path,) = output_paths(target, names[:1], INSTANCE_SUFFIXES)
        write(instance, path)
        return [path]
    paths = output_paths(target, names, INSTANCE_SUFFIXES)
    for one, path in zip(unbatch(instance), paths, strict=True):
        write(one, path)
    return paths


def facts(one: Instance) -> dict[str, str]:
    """What one instance (B = 1, without padding) holds, in words."""
    customers = is_customer(one)[0]
    told = {
        "customers": str(int(customers.sum())),
        "depots": str(int(one.num_depots[0])),
        "geometry": _geometry(one),
        "variant": variant_names(one)[0],
        "attributes": ", ".join(set_attributes(one)) or "none",
    }
    capacity = one.capacity[0].item()
    for name, load in (("demand", one.linehaul[0]), ("backhaul", one.backhaul[0])):
        wanted = load[customers & (load > 0)]
        if len(wanted):
            total = wanted.double().sum().item()
            told[name] = (
                f"{number(wanted.min().item())} to {number(wanted.max().item())}, "
                f"total {number(total)}"
            )
            if math.isfinite(capacity):
                routes = math.ceil(total / capacity - 1e-9)
                told[name] += f", at least {routes} route" + ("" if routes == 1 else "s")
    if math.isfinite(capacity):
        told["capacity"] = number(capacity)
    if one.dispatch is not None:
        rules = rules_of(one)
        told["requests"] = (
            f"drawn from the customers: {rules.num_epochs} epochs of {number(rules.epoch)}, up to "
            f"{rules.candidates} in each; routes leave {number(rules.wait)} after it begins"
        )
    return told


def _geometry(one: Instance) -> str:
    """Where its distances come from."""
    if one.distance is not None:
        symmetric = bool(one.distance.isclose(one.distance.mT).all())
        kind = "symmetric" if symmetric else "asymmetric"
        return f"{kind} matrix" + (" with coords" if one.coords is not None else "")
    rounding = Rounding(int(one.rounding[0]))
    return "Euclidean" + ("" if rounding == Rounding.NONE else f", {rounding.name.lower()}")


def print_facts(named: Sequence[tuple[str, Instance]]) -> None:
    """Tables of a few instances each, side by side, so that no cell is cut on a narrow screen."""
    console = Console(markup=False, highlight=False)
    for first in range(0, len(named), SIDE_BY_SIDE):
        told = [(name, facts(one)) for name, one in named[first : first + SIDE_BY_SIDE]]
        table = Table("instance")
        for name, _ in told:
            table.add_column(name, overflow="fold")
        for fact in dict.fromkeys(fact for _, found in told for fact in found):
            table.add_row(fact, *(found.get(fact, "-") for _, found in told))
        console.print(table)
