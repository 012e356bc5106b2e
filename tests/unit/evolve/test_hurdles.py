"""Hurdles let the same share of programs through, whatever the population looks like."""

import math
import random

from optdsl.evolve.hurdles import Hurdles


def test_a_rung_that_none_has_reached_has_no_floor() -> None:
    """Else none would ever reach it."""
    hurdles = Hurdles((0.5, 0.5), 10)
    assert hurdles.floors() == (-math.inf, -math.inf)
    hurdles.add((1.0,))
    assert hurdles.floors() == (1.0, -math.inf)
    hurdles.add((2.0, 3.0, 4.0))
    assert hurdles.floors() == (2.0, 3.0)
    assert Hurdles((), 10).floors() == ()


def test_floors_are_quantiles_of_the_last_estimates_on_their_rung() -> None:
    values = [3.0, -math.inf, 1.0, 2.0]
    for share, floor in ((0.0, -math.inf), (0.25, 1.0), (0.5, 2.0), (0.74, 2.0), (0.75, 3.0),
                         (0.99, 3.0)):  # fmt: skip
        hurdles = Hurdles((share,), 4)
        for value in (9.0, 9.0, *values):
            hurdles.add((value,))
        assert hurdles.floors() == (floor,)
        assert sum(value < floor for value in values) <= share * 4


def test_the_share_alone_says_how_many_go_on() -> None:
    """Also of programs that are all as good, and only as lucky."""
    for spread in (1e-6, 1.0, 1e6):
        rng, hurdles = random.Random(0), Hurdles((0.75, 0.75), 200)
        reached = [0, 0, 0]
        hurdles.add((0.0, 0.0, 0.0))
        for _ in range(20_000):
            floors, estimates = hurdles.floors(), [rng.gauss(0, spread)]
            while len(estimates) < 3 and estimates[-1] >= floors[len(estimates) - 1]:
                estimates.append(rng.gauss(0, spread))
            hurdles.add(estimates)
            for rung in range(len(estimates)):
                reached[rung] += 1
        assert reached[0] == 20_000
        assert 0.24 < reached[1] / reached[0] < 0.26
        assert 0.23 < reached[2] / reached[1] < 0.27


def test_where_more_went_on_than_should_have_fewer_are_let_through() -> None:
    """Programs that get better quickly all beat what came before."""
    for went_on, floor in ((0, 15.0), (5, 15.0), (6, 16.0), (10, 18.0), (20, 19.0)):
        hurdles = Hurdles((0.75,), 20)
        for value in range(20):
            hurdles.add((float(value), 0.0) if value < went_on else (float(value),))
        assert hurdles.floors() == (floor,)
