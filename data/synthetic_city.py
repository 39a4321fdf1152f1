"""Street networks of made-up cities, from a seed.

Streets are drawn as lines that go straight on over intersections; the longest are main roads, and
one-way streets keep their direction all along. A river leaves few bridges, a ring road is fast,
main roads cross at traffic lights, some turns to the left are forbidden. From each street each
other one can be reached.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from nco.data.errors import InputError
from nco.data.geography import DECIMALS, to_lonlat
from nco.data.street_lines import lines, ring
from nco.data.street_network import ROAD_CLASSES, SPEED_OF_LIMIT, StreetNetwork
from nco.data.street_patterns import Pattern, intersections, streets

LIMITS = {"trunk": 80, "primary": 60, "secondary": 50, "tertiary": 40, "residential": 30}
"""Posted, in km/h."""
_SHARES = {"primary": 0.08, "secondary": 0.12, "tertiary": 0.2}
"""Of the length of all streets, from the longest street on; the rest is residential."""
_RIVER_WIDTH = 90.0


@dataclass(frozen=True)
class CityPlan:
    """What a city is like.

    Raises:
        InputError: a number is out of range.
    """

    pattern: Pattern = "mixed"
    side: float = 3000.0
    """Metres, of the square."""
    block: float = 105.0
    """Metres from one intersection to the next, about."""
    missing: float = 0.08
    """The share of streets that a full pattern has and this city has not."""
    one_way: float = 0.3
    """The share of residential and tertiary streets."""
    bridges: int = 0
    """Over the river; 0 where there is none."""
    ring: bool = False
    """A fast road around the middle."""
    forbidden_turns: float = 0.05
    """The share of turns to the left."""
    centre: tuple[float, float] = (10.0, 50.0)
    """Longitude and latitude, where traffic keeps to the right."""

    def __post_init__(self) -> None:
        if self.pattern not in get_args(Pattern):
            raise InputError(
                f"pattern is {self.pattern!r}; accepted: {', '.join(get_args(Pattern))}"
            )
        for name in ("missing", "one_way", "forbidden_turns"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}; accepted: 0 to 1")
        if self.bridges < 0:
            raise InputError(f"bridges is {self.bridges}; accepted: at least 0")
        if not 0 < 6 * self.block <= self.side:
            raise InputError(
                f"side is {self.side} with blocks of {self.block}; accepted: at least 6 blocks"
            )


def draw_plan(pattern: Pattern, generator: np.random.Generator) -> CityPlan:
    """A plan of this pattern; about half of the cities have a river, two of three a ring road.

    From a quarter to a town, and from few one-way streets to nearly all small ones: what policies
    learn on cities like each other does not carry far.
    """
    return CityPlan(
        pattern=pattern,
        side=float(1000 * 4 ** generator.random()),
        block=float(generator.uniform(85, 125)),
        missing=float(generator.uniform(0.03, 0.3)),
        one_way=float(generator.uniform(0.1, 0.9)),
        bridges=int(generator.integers(2, 6)) if generator.random() < 0.5 else 0,
        ring=bool(generator.random() < 2 / 3),
        forbidden_turns=float(generator.uniform(0, 0.1)),
    )


def synthetic_network(plan: CityPlan, generator: np.random.Generator) -> StreetNetwork:
    """The streets of a city with this plan; all of them can reach each other."""
    places = intersections(plan.pattern, generator, plan.side, plan.block)
    river = _River.draw(plan, generator) if plan.bridges else None
    if river is not None:
        places = places[np.abs(river.side_of(places)) > _RIVER_WIDTH / 2]

    def barred(start: np.ndarray, end: np.ndarray) -> Bool[np.ndarray, " street"]:
        if river is None:
            return np.zeros(len(start), dtype=bool)
        return river.without_bridge(start, end, plan.bridges)

    pairs = streets(places, generator, plan.block, missing=plan.missing, barred=barred)
    length = np.linalg.norm(places[pairs[:, 1]] - places[pairs[:, 0]], axis=1)
    line, along = lines(places, pairs)
    kind = _classes(line, length)
    if plan.ring:
        kind[ring(places, pairs, plan.side / 3)] = ROAD_CLASSES.index("trunk")
    small = np.isin(kind, [ROAD_CLASSES.index(name) for name in ("tertiary", "residential")])
    flips = generator.random((2, line.max() + 1))
    single = small & (flips[0][line] < plan.one_way)
    # a one-way street runs as its line was walked, or against it
    forward = np.where((flips[1][line] < 0.5)[:, None], along, along[:, ::-1])
    both = ~single
    kinds = np.concatenate((kind, kind[both]))
    limits = np.array([LIMITS.get(name, 0) for name in ROAD_CLASSES], dtype=np.float64)
    network = StreetNetwork(
        nodes=np.round(to_lonlat(places, np.array(plan.centre)), DECIMALS),
        edges=np.concatenate((forward, forward[both][:, ::-1])),
        speed=limits[kinds] * SPEED_OF_LIMIT,
        road_class=kinds,
        restrictions=np.empty((0, 2), dtype=np.int64),
        signals=_crossings_of_main_roads(pairs, kind, line, len(places)),
    )
    network = _forbid_turns(network, plan.forbidden_turns, generator)
    return network.restricted_to(network.mutually_reachable)


@dataclass(frozen=True)
class _River:
    """A wave through the square, turned by an angle."""

    angle: float
    shift: float
    swing: float
    phase: float
    side: float

    @classmethod
    def draw(cls, plan: CityPlan, generator: np.random.Generator) -> _River:
        return cls(
            angle=generator.uniform(0, np.pi),
            shift=plan.side * generator.uniform(-0.2, 0.2),
            swing=plan.side * generator.uniform(0.02, 0.1),
            phase=generator.uniform(0, 2 * np.pi),
            side=plan.side,
        )

    def along(self, places: np.ndarray) -> Float[np.ndarray, " place"]:
        """Metres downstream."""
        return places @ np.array([np.cos(self.angle), np.sin(self.angle)])

    def side_of(self, places: np.ndarray) -> Float[np.ndarray, " place"]:
        """Metres from the river, about; negative on one of its sides."""
        across = places @ np.array([-np.sin(self.angle), np.cos(self.angle)])
        wave = np.sin(2 * np.pi * self.along(places) / self.side + self.phase)
        return across - self.shift - self.swing * wave

    def without_bridge(
        self, start: np.ndarray, end: np.ndarray, bridges: int
    ) -> Bool[np.ndarray, " street"]:
        """Streets across that are none of so many bridges, which are spread along the river; short
        streets are the likelier bridges."""
        across = np.flatnonzero(self.side_of(start) * self.side_of(end) < 0)
        barred = np.zeros(len(start), dtype=bool)
        barred[across] = True
        order = across[np.argsort(self.along(start[across]))]
        for part in np.array_split(order, min(bridges, max(len(order), 1))):
            if len(part):
                length = np.linalg.norm(end[part] - start[part], axis=1)
                barred[part[length.argmin()]] = False
        return barred


def _classes(
    line: Int[np.ndarray, " street"], length: Float[np.ndarray, " street"]
) -> Int[np.ndarray, " street"]:
    """The class of each street by the length of its line."""
    total = np.bincount(line, weights=length)
    order = np.argsort(-total)
    before = np.cumsum(total[order]) - total[order]
    names = [*_SHARES, "residential"]
    bounds = np.cumsum(list(_SHARES.values())) * total.sum()
    rank = np.empty(len(total), dtype=np.int64)
    rank[order] = np.searchsorted(bounds, before, side="right")
    return np.array([ROAD_CLASSES.index(name) for name in names])[rank][line]


def _crossings_of_main_roads(
    pairs: Int[np.ndarray, "street 2"],
    kind: Int[np.ndarray, " street"],
    line: Int[np.ndarray, " street"],
    num_nodes: int,
) -> Bool[np.ndarray, " node"]:
    """Nodes where streets of two main roads or more meet; they have traffic lights."""
    main = kind < ROAD_CLASSES.index("tertiary")
    met = np.stack((pairs[main].ravel(), np.repeat(line[main], 2)), 1)
    return np.bincount(np.unique(met, axis=0)[:, 0], minlength=num_nodes) > 1


def _forbid_turns(
    network: StreetNetwork, share: float, generator: np.random.Generator
) -> StreetNetwork:
    """The same with this share of turns to the left forbidden, where three streets meet or
    more."""
    left = network.turn_angles < -45
    junction = network.num_roads[network.edges[network.turns[:, 0], 1]] > 2
    drawn = left & junction & (generator.random(len(left)) < share)
    return replace(network, restrictions=network.turns[drawn])
