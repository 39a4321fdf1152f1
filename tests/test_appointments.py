"""Appointments: the quantile of the newsvendor, and no better ones near by."""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist

import pytest
import torch

from nco.appointments import appointments, best_quantile
from nco.data.errors import InputError
from nco.data.instance import Instance
from nco.data.noise import Scenarios, Split
from nco.data.prices import Prices
from nco.data.traffic import CORRELATED, PAPER, Traffic
from tests.day_oracle import Day

MANY = Scenarios(Split.SELECTION, 20_000)


def line(traffic: Traffic) -> Instance:
    """Three customers in a row, from 480 on."""
    return Instance.vrp(
        coords=[[0.0, 0.0], [30.0, 0.0], [60.0, 10.0], [60.0, 40.0]],
        time_window=[[480.0, 1200.0]] + [[0.0, 1440.0]] * 3,
        service_time=[0.0, 20.0, 30.0, 10.0],
        traffic=traffic.row(),
        prices=Prices().row(),
        key=4,
    )


def test_one_customer_is_told_the_two_thirds_quantile() -> None:
    """With 5 for a customer's minute and 2.5 for a vehicle's, in closed form."""
    calm = dataclasses.replace(PAPER, accidents=0.0)
    assert best_quantile(5.0, 2.5) == pytest.approx(2 / 3)
    told = appointments(line(calm), [1], MANY, customer_waits=5.0, vehicle_waits=2.5)
    clock = torch.tensor(480.0).double()
    delay = calm.delay_at(torch.tensor(30.0).double(), clock, NormalDist().inv_cdf(2 / 3))
    assert float(told.appointments[0]) == pytest.approx(480 + 30 + float(delay), abs=0.05)


def test_no_single_shift_of_the_last_is_better() -> None:
    """On the scenarios that it was set by, a minute or a second more or less costs more."""
    one, scenarios = line(CORRELATED), dataclasses.replace(MANY, count=100)
    found = appointments(one, [1, 2, 3], scenarios, customer_waits=5.0, vehicle_waits=2.5)
    told = found.appointments.tolist()
    days = [Day(one, 0, scenarios, s) for s in range(100)]

    def cost(plan: list[float]) -> float:
        return sum(walked(day, plan)[0] for day in days) / 100

    assert cost(told) == pytest.approx(float(found.cost.mean()), rel=1e-9)
    for shift in (-1.0, -0.02, 0.02, 1.0):
        assert cost([*told[:2], told[2] + shift]) > cost(told)
    home = [walked(day, told)[1] for day in days]
    assert float(found.home.mean()) == pytest.approx(sum(home) / 100, rel=1e-9)


def walked(day: Day, told: list[float]) -> tuple[float, float]:
    """What waiting costs on the route 1, 2, 3, and the return, by plain Python."""
    clock, here, cost = 480.0, 0, 0.0
    for node, appointment in zip((1, 2, 3), told, strict=True):
        clock += day.time(here, node, clock)
        cost += 2.5 * max(0.0, appointment - clock) + 5.0 * max(0.0, clock - appointment)
        clock = max(clock, appointment) + (20.0, 30.0, 10.0)[node - 1]
        here = node
    return cost, clock + day.time(3, 0, clock)


def test_sure_arrivals_are_told_to_the_minute() -> None:
    """Without chance nobody waits; a route of nobody is home at once."""
    sure = line(Traffic(delay=0.0, accidents=0.0))
    plan = appointments(sure, [1, 2], MANY.part(0, 5), customer_waits=1.0, vehicle_waits=1.0)
    there = 480 + 30 + 20 + math.hypot(30, 10)
    assert plan.appointments.tolist() == pytest.approx([510.0, there])
    assert float(plan.cost.abs().max()) == pytest.approx(0, abs=1e-9)
    nobody = appointments(sure, [], MANY.part(0, 5), customer_waits=1.0, vehicle_waits=1.0)
    assert nobody.home.tolist() == [480.0] * 5
    with pytest.raises(InputError, match="not both 0"):
        best_quantile(0.0, 0.0)
