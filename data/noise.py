"""Noise by a stateless hash: every random number of a scenario is a function of its name.

The name is (seed, split, stream, instance, scenario, entity ...), where an entity is a node, an arc
(two numbers) or a draw. So every solver, every trajectory and every augmented copy of an instance
meets the same world whatever it visits first, numbers are made only where they are read, and a CPU
and a GPU make the same ones: hashes and uniforms to the bit (integers, and a product with a power
of two), what is computed from uniforms to the last digits of float64.

Hash: splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195), one round a word.

Axes: B instances, S scenarios; what entities add comes behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.errors import InputError
from nco.data.instance import Instance

_STEP = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST = 31


class Split(IntEnum):
    """What scenarios are for; those of two splits have no number in common."""

    TRAIN = 1
    SELECTION = 2
    """For choosing among candidates, and for tuning."""
    TEST = 3


class Stream(IntEnum):
    """What a number is for; streams are independent of each other."""

    PRESENCE = 1
    DEMAND = 2
    PRIZE = 3
    TRAVEL_ARC = 4
    TRAVEL_ZONE = 5
    TRAVEL_DAY = 6
    ACCIDENT_COUNT = 7
    ACCIDENT_LENGTH = 8
    SERVICE = 9
    REQUEST = 10
    REQUEST_PLACE = 11
    REQUEST_DEMAND = 12
    REQUEST_SERVICE = 13
    REQUEST_WINDOW = 14


@final
@dataclass(frozen=True)
class Scenarios:
    """Some scenarios of each instance, named and not stored.

    Raises:
        InputError: there is none, or the seed is none.
    """

    split: Split
    count: int
    seed: int = 0
    first: int = 0
    """The number of the first one."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.first < 0:
            raise InputError(
                f"scenarios are {self.count} from number {self.first} on; accepted: at least 1, "
                "from 0 on"
            )
        if not 0 <= self.seed < 2**63:
            raise InputError(f"the scenarios' seed is {self.seed}; accepted: 0 to 2^63 - 1")

    def part(self, start: int, stop: int) -> Scenarios:
        """Those with places ``start`` to ``stop`` - 1 among these."""
        return replace(self, first=self.first + start, count=stop - start)

    def parts(self, most: int) -> Iterator[Scenarios]:
        """All of these, so many at a time."""
        for start in range(0, self.count, most):
            yield self.part(start, min(start + most, self.count))

    def require_each(self, told: int, what: str) -> None:
        """Raise `InputError` unless so many things of a kind are one for each."""
        if told != self.count:
            raise InputError(
                f"{told} {what} are told; accepted: one for each of {self.count} scenarios"
            )


def hash_words(seed: int, *words: int) -> int:
    """64 bits that depend on the seed and on every word and its place; unsigned."""
    mixed = seed % 2**64
    for word in words:
        mixed = (mixed + _STEP * (word + 1)) % 2**64
        for shift, factor in _ROUNDS:
            mixed = ((mixed ^ (mixed >> shift)) * factor) % 2**64
        mixed ^= mixed >> _LAST
    return mixed


def _signed(value: int) -> int:
    """The int64 with these 64 bits."""
    return value - 2**64 if value >= 2**63 else value


def _without_low(bits: Int[Tensor, "*shape"], shift: int) -> Int[Tensor, "*shape"]:
    """A shift to the right that brings in zeros: int64's own repeats the sign."""
    return (bits >> shift) & (2 ** (64 - shift) - 1)


def _absorb(bits: Int[Tensor, "*a"], word: Int[Tensor, "*b"]) -> Int[Tensor, "*c"]:
    """One word more; int64 products and sums are modulo 2^64."""
    mixed = bits + (word + 1) * _signed(_STEP)
    for shift, factor in _ROUNDS:
        mixed = (mixed ^ _without_low(mixed, shift)) * _signed(factor)
    return mixed ^ _without_low(mixed, _LAST)


@final
@dataclass(frozen=True)
class Worlds:
    """Scenarios of a batch of instances, named one by one: trajectories that are in a scenario
    each, in any order, ask for the noise of their own."""

    scenarios: Scenarios
    """Whose split and seed they are of; how many and from which on is not read."""
    key: Int[Tensor, " batch"]
    number: Int[Tensor, "#batch scenario"]

    @classmethod
    def of(cls, scenarios: Scenarios, instance: Instance) -> Worlds:
        """All of the scenarios, the same for each instance.

        Raises:
            InputError: the instance has no ``key``.
        """
        key = require_key(instance)
        number = torch.arange(scenarios.count, device=key.device) + scenarios.first
        return cls(scenarios, key, number.unsqueeze(0))

    def hashed(
        self, stream: Stream, *entity: Int[Tensor, "..."]
    ) -> Int[Tensor, "batch scenario ..."]:
        """64 bits for each instance, scenario and entity; as `hashed`."""
        root = hash_words(self.scenarios.seed, int(self.scenarios.split), int(stream))
        of_instance = _absorb(torch.full_like(self.key, _signed(root)), self.key)
        bits = _absorb(of_instance.unsqueeze(1), self.number)
        for word in entity:
            bits = bits.view(*bits.shape, *[1] * (word.dim() - bits.dim()))
            bits = _absorb(bits, word)
        return bits

    def uniforms(
        self, stream: Stream, *entity: Int[Tensor, "..."]
    ) -> Float[Tensor, "batch scenario ..."]:
        """As `uniforms`."""
        bits = self.hashed(stream, *entity)
        return _without_low(bits, 12).double().mul_(2.0**-52).add_(2.0**-53)

    def normals(
        self, stream: Stream, *entity: Int[Tensor, "..."]
    ) -> Float[Tensor, "batch scenario ..."]:
        """As `normals`."""
        return torch.special.ndtri(self.uniforms(stream, *entity))


def hashed(
    scenarios: Scenarios, instance: Instance, stream: Stream, *entity: Int[Tensor, "..."]
) -> Int[Tensor, "batch scenario ..."]:
    """64 bits for each instance, scenario and entity.

    Args:
        entity: words of the entity's name, broadcast against each other; each is [B or 1, S or 1,
            ...] with the same number of axes.

    Raises:
        InputError: the instance has no ``key``.
    """
    return Worlds.of(scenarios, instance).hashed(stream, *entity)


def uniforms(
    scenarios: Scenarios, instance: Instance, stream: Stream, *entity: Int[Tensor, "..."]
) -> Float[Tensor, "batch scenario ..."]:
    """Numbers within (0, 1), float64: odd multiples of 2^-53; see `hashed`."""
    return Worlds.of(scenarios, instance).uniforms(stream, *entity)


def normals(
    scenarios: Scenarios, instance: Instance, stream: Stream, *entity: Int[Tensor, "..."]
) -> Float[Tensor, "batch scenario ..."]:
    """Standard normal numbers, float64, by the inverse of the distribution function; see
    `hashed`."""
    return Worlds.of(scenarios, instance).normals(stream, *entity)


def uniform_number(scenarios: Scenarios, stream: Stream, *words: int) -> float:
    """One of the numbers of `uniforms`, in plain Python.

    Args:
        words: the instance's key, the scenario's number and the entity.
    """
    root = hash_words(scenarios.seed, int(scenarios.split), int(stream))
    return (hash_words(root, *words) >> 12) * 2.0**-52 + 2.0**-53


def nodes_as_entities(instance: Instance) -> Int[Tensor, "1 1 node"]:
    """The nodes' numbers, to name the noise of all nodes."""
    return torch.arange(instance.num_nodes, device=instance.valid.device).view(1, 1, -1)


def require_key(instance: Instance) -> Int[Tensor, " batch"]:
    """The instances' identities.

    Raises:
        InputError: they have none.
    """
    if instance.key is None:
        raise InputError(
            "the instance has no key, which names its noise; accepted: instances of a stochastic "
            "problem's generator or file, or with a key given"
        )
    return instance.key


def draw_keys(batch: int, generator: torch.Generator) -> Int[Tensor, " batch"]:
    """Fresh identities of instances, on the generator's device."""
    return torch.randint(2**63 - 1, (batch,), generator=generator, device=generator.device)
