"""What a model was trained on, and what of an instance or a suite is outside of it: one rule.

The marks of a benchmark's cells and the choice of a shipped model both come from `outside`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nco.data.attributes import UNCERTAIN_CUSTOMERS, attributes_by_name, variant_names
from nco.data.generators import ADAPTIVE, DEMAND_PROBLEMS, cvrp_capacity
from nco.data.instance import Instance, is_customer
from nco.data.multi_task import ROAD_PROBLEMS, VARIANT_SETS, multi_task_capacity, variants_of
from nco.model_files import ModelCard

Part: TypeAlias = Literal["problem", "ways", "size", "distribution", "demands", "tightness"]
"""What of an instance can be outside."""
Ways: TypeAlias = Literal["plane", "asymmetric", "matrix", "streets"]
"""Straight lines between coordinates; the same with a shift of asymmetry; a matrix of any other
origin; the streets of a city map."""

UNKNOWN = "unknown"
"""The distribution of what comes from files."""
LARGEST_STRETCH = 2.0
"""A model is chosen for instances of so many times its largest size, or so small a part of its
smallest, at most."""


@dataclass(frozen=True)
class Traits:
    """What is known of instances."""

    problems: frozenset[str]
    """By the literature's names of what is to be solved, as `variant_names` gives them."""
    ways: Ways
    sizes: tuple[int, int]
    """Fewest and most customers; for a TSP, nodes."""
    distribution: str = UNKNOWN
    capacity: int | None = None
    """Of a vehicle; None is the published one of the number of customers, or not known."""
    demands: str | None = None
    """Their law, where it is not the published one."""
    tightness: str | None = None
    """What else is tighter or looser than published."""


def plain_problem(problem: str) -> str:
    """The name of a problem's rules, without what says how plans are made and on what ways."""
    plain = ROAD_PROBLEMS.get(problem, problem).removesuffix(ADAPTIVE)
    # uncertain demands and prizes differ in what is known, which instances do not tell
    return {"spctsp": "pctsp", "vrpsd-detour": "vrpsd"}.get(plain, plain)


def problems_of(problem: str, variants: tuple[str, ...] | None = None) -> frozenset[str]:
    """The problems that a configured one stands for: those of a mixed set, or itself.

    Raises:
        InputError: a variant is not in the set.
    """
    plain = plain_problem(problem)
    if plain in VARIANT_SETS:
        return frozenset(variant.name for variant in variants_of(plain, variants))
    return frozenset([plain])


def traits_of(instance: Instance) -> Traits:
    """What instances themselves tell; not what they were drawn from."""
    unsure = attributes_by_name(instance)[UNCERTAIN_CUSTOMERS].tolist()
    names = [f"p{n}" if p else n for n, p in zip(variant_names(instance), unsure, strict=True)]
    sizes = is_customer(instance).sum(1)
    ways: Ways = "plane" if instance.distance is None else "matrix"
    return Traits(frozenset(names), ways, (int(sizes.min()), int(sizes.max())))


def joined(traits: Sequence[Traits]) -> Traits:
    """What is known of instances of files that are taken together.

    Args:
        traits: of at least one, as `traits_of` gives them.
    """
    ways: set[Ways] = {one.ways for one in traits}
    return Traits(
        frozenset().union(*(one.problems for one in traits)),
        ways.pop() if len(ways) == 1 else "matrix",
        (min(one.sizes[0] for one in traits), max(one.sizes[1] for one in traits)),
    )


def sizes_of(card: ModelCard) -> tuple[int, int]:
    """Fewest and most customers that a model was trained on."""
    sizes = card.trained_on.num_customers
    return sizes if isinstance(sizes, tuple) else (sizes, sizes)


def sizes_text(sizes: tuple[int, int]) -> str:
    """ "20", or "20 to 100"."""
    return str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]}"


def ways_of(problem: str, on_streets: bool) -> Ways:
    """The ways of a configured problem's instances."""
    return "streets" if on_streets else "matrix" if problem in ROAD_PROBLEMS else "plane"


def outside(card: ModelCard, traits: Traits) -> dict[Part, str]:
    """What lies outside of a model's declared training distribution, each with the reason.

    Nothing: the cell is in distribution. What is not known counts as outside.
    """
    trained = card.trained_on
    found: dict[Part, str] = {}
    known = problems_of(card.problem, trained.variants)
    if not traits.problems <= known:
        told = ", ".join(sorted(traits.problems - known))
        found["problem"] = f"{told}; trained on {_several(known)}"
    ways = ways_of(card.problem, trained.cities is not None)
    # a matrix from a file may well be one of streets
    if traits.ways != ways and (traits.ways, ways) != ("matrix", "streets"):
        found["ways"] = f"{_WAYS[traits.ways]}; trained on {_WAYS[ways]}"
    low, high = sizes_of(card)
    if not low <= traits.sizes[0] <= traits.sizes[1] <= high:
        found["size"] = (
            f"{sizes_text(traits.sizes)} customers; trained on {sizes_text((low, high))}"
        )
    if traits.distribution != trained.distribution:
        found["distribution"] = f"{traits.distribution}; trained on {trained.distribution}"
    if traits.demands is not None:
        found["demands"] = traits.demands
    loads = None if "problem" in found else _loads(card, traits)
    if traits.tightness is not None or loads is not None:
        found["tightness"] = "; ".join(filter(None, (traits.tightness, loads)))
    return found


_WAYS: dict[Ways, str] = {
    "plane": "straight lines",
    "asymmetric": "straight lines made asymmetric",
    "matrix": "a matrix",
    "streets": "streets",
}


def _several(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) if len(names) <= 4 else f"{len(names)} others"


def _loads(card: ModelCard, traits: Traits) -> str | None:
    """How capacities differ; None where they do not, or one of them is not known."""
    # of X-type instances each has its own
    if not traits.problems <= _VEHICLES or traits.distribution in (UNKNOWN, "x"):
        return None
    size = traits.sizes[0]
    name = next(iter(traits.problems)) if len(traits.problems) == 1 else "mtvrp-16"
    asked = traits.capacity or _published_capacity(name, size)
    known = card.trained_on.capacity or _published_capacity(plain_problem(card.problem), size)
    return None if asked == known else f"capacity {asked}; trained on {known} at {size} customers"


def _published_capacity(problem: str, num_customers: int) -> int:
    if problem in ("cvrp", "pcvrp", *DEMAND_PROBLEMS):
        return cvrp_capacity(num_customers)
    return multi_task_capacity(num_customers)


_VEHICLES = problems_of("mtvrp-48") | {"pcvrp", "vrpsd"}
"""Problems whose instances are drawn with a published capacity, or one that is asked for."""


def stretch(card: ModelCard, size: int) -> float:
    """How many times larger than a model's largest size, or smaller than its smallest, an instance
    is; 1 inside of the range."""
    low, high = sizes_of(card)
    return max(low / size, size / high, 1.0)
