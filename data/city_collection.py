"""Cities whose matrices lie on one device, to draw from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nco.data.city_map import CityMap, Part, load_cities
from nco.data.errors import InputError


@final
@dataclass(frozen=True)
class CityCollection:
    """Maps of cities, of any sizes; float32.

    Matrices lie one after the other, and a distance beside its duration: one gather takes both, at
    the memory traffic of one. A city of n points takes 8 n^2 bytes.
    """

    names: tuple[str, ...]
    num_points: tuple[int, ...]
    """Of each city."""
    coords: Float[Tensor, "point 2"]
    """Of all cities, in metres around each one's middle."""
    ways: Float[Tensor, "pair 2"]
    """Metres and seconds from each to each point of a city, row by row, for all cities."""

    @classmethod
    def of(cls, maps: Sequence[CityMap]) -> CityCollection:
        """These maps, on the CPU.

        Raises:
            InputError: there is none, or a value is negative, infinite or no number.
        """
        if not maps:
            raise InputError("there is no city to draw from; accepted: at least one")
        ways = []
        for city in maps:
            for name, matrix in (("distance", city.distance), ("duration", city.duration)):
                bad = ~(np.isfinite(matrix) & (matrix >= 0))
                if bad.any():
                    row, column = (int(i) for i in np.argwhere(bad)[0])
                    raise InputError(
                        f"city {city.name!r}: {name} from point {row} to point {column} is "
                        f"{matrix[row, column]}; accepted: finite numbers of at least 0"
                    )
            pair = np.stack((city.distance, city.duration), 2, dtype=np.float32)
            ways.append(torch.from_numpy(pair.reshape(-1, 2)))
        return cls(
            names=tuple(city.name for city in maps),
            num_points=tuple(len(city.points) for city in maps),
            coords=torch.cat([torch.from_numpy(city.coords).float() for city in maps]),
            ways=torch.cat(ways),
        )

    @classmethod
    def load(cls, folder: Path, part: Part | None = None) -> CityCollection:
        """The maps of a part of a collection, of all of it, or the one map that the folder is; on
        the CPU.

        Raises:
            InputError: the folder is neither, a map is broken, or the part has no city.
        """
        return cls.of(load_cities(folder, part))

    def to(self, device: torch.device | str) -> CityCollection:
        """The same on another device."""
        return CityCollection(
            self.names, self.num_points, self.coords.to(device), self.ways.to(device)
        )

    @property
    def device(self) -> torch.device:
        """Where the matrices are."""
        return self.ways.device

    @cached_property
    def sizes(self) -> Int[Tensor, " city"]:
        """`num_points`, where the matrices are."""
        return torch.tensor(self.num_points, device=self.device)

    def coords_of(
        self, city: Int[Tensor, " batch"], point: Int[Tensor, "batch node"]
    ) -> Float[Tensor, "batch node 2"]:
        """Of points of a city each."""
        before = self.sizes.cumsum(0) - self.sizes
        return self.coords[before[city].unsqueeze(1) + point]

    def ways_between(
        self,
        city: Int[Tensor, " batch"],
        start: Int[Tensor, "batch from"],
        end: Int[Tensor, "batch to"],
    ) -> tuple[Float[Tensor, "batch from to"], Float[Tensor, "batch from to"]]:
        """Distances and durations, each contiguous."""
        pairs = self.sizes**2
        row = (pairs.cumsum(0) - pairs)[city].unsqueeze(1) + start * self.sizes[city, None]
        index = row.unsqueeze(2) + end.unsqueeze(1)
        found = self.ways.index_select(0, index.view(-1)).view(*index.shape, 2)
        distance, duration = found.permute(3, 0, 1, 2).contiguous().unbind(0)
        return distance, duration
