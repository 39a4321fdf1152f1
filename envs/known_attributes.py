"""Which attributes the rules of `nco.envs.route_rules` state; apart from them, as numba, which
compiles them, takes a second to import."""

from __future__ import annotations

from nco.data.attributes import (
    CAPACITY,
    FLEET_LIMIT,
    NO_DEPOT,
    VARIANT_ATTRIBUTES,
    attributes_by_name,
)
from nco.data.errors import InputError
from nco.data.instance import Instance

KNOWN = frozenset({NO_DEPOT, CAPACITY, FLEET_LIMIT, *VARIANT_ATTRIBUTES})
"""What the rules state; a variant with more would be solved as another problem."""


def require_known(instance: Instance) -> None:
    """Raise `InputError` where an instance has an attribute beyond `KNOWN`."""
    held = [name for name, present in attributes_by_name(instance).items() if bool(present.any())]
    more = [name for name in held if name not in KNOWN]
    if more:
        raise InputError(
            f"the instance has {', '.join(more)}; accepted: tours, and routes with "
            f"{', '.join(sorted(KNOWN - {NO_DEPOT}))}"
        )
