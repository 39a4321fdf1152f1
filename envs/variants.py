"""The named problems: each one line, a composition of resources."""

from __future__ import annotations

from nco.envs.resources import Load
from nco.envs.tsp import TSP
from nco.envs.vrp import VRP

tsp = TSP()
cvrp = VRP((Load(),))
