"""The stream of gradients, and distances between updates."""

import numpy as np
import pytest

from optdsl.comparison.fit import fit, moved, rounded
from optdsl.comparison.stream import STEPS, distance, updates
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.ir import Program


def program(text: str) -> Program:
    return load(Source("test.opt", text))


def test_a_scaled_copy_is_at_no_distance() -> None:
    u = np.random.default_rng(0).normal(size=(STEPS, 5))
    gap, factor = distance(u, 4 * u)
    assert (gap, factor) == (pytest.approx(0.0, abs=1e-7), pytest.approx(0.25))
    assert distance(u * 1e-200, u * 1e200)[0] == pytest.approx(0.0, abs=1e-7)


def test_the_distance_is_the_sine_of_the_angle() -> None:
    u, v = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
    assert distance(u, v) == (pytest.approx(np.sqrt(0.5)), pytest.approx(0.5))
    assert distance(v, u)[0] == pytest.approx(np.sqrt(0.5))
    assert distance(u, -u) == (1.0, 0.0)
    assert distance(u, np.array([[0.0, 1.0]])) == (1.0, 0.0)


def test_what_is_not_finite_must_be_so_in_the_same_places() -> None:
    u = np.array([[1.0, np.nan, 2.0]])
    assert distance(u, np.array([[2.0, np.nan, 4.0]])) == (0.0, 0.5)
    assert distance(u, np.array([[2.0, 1.0, 4.0]])) == (1.0, 0.0)
    zero = np.zeros((1, 3))
    assert distance(zero, zero) == (0.0, 0.0)
    assert distance(zero, np.ones((1, 3))) == (1.0, 0.0)


def test_a_program_that_does_something_else_each_time_is_far_from_all() -> None:
    lion, sgd = (updates(load(find_source(name))) for name in ("lion", "sgd"))
    assert lion.shape == sgd.shape == (STEPS, 29)
    assert 0.4 < distance(lion, sgd)[0] < 1.0
    diverging = updates(program("def train(g, lr):\n    return lr * log(g - g)\n"))
    assert distance(diverging, sgd) == (1.0, 0.0)


def test_constants_are_found() -> None:
    momentum = load(find_source("momentum"))
    text = "def train(g, m, lr):\n    m = g + 0.8 * m\n    return 5 * lr * m, m\n"
    found = fit(updates(program(text)), momentum)
    assert found.distance < 1e-3
    assert found.factor == pytest.approx(5.0, rel=0.01)
    assert found.constants["momentum"] == pytest.approx(0.8, rel=0.01)


def test_constants_that_do_not_help_keep_their_defaults() -> None:
    lion = load(find_source("lion"))
    assert fit(updates(lion), lion).constants == {}


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [(0.9, 0.99, 0.0), (0.1, 1.0, 0.01), (0.0, 0.01, 0.0001), (4.0, 40.0, 0.4)],
)
def test_moves_are_by_powers_of_ten(value: float, up: float, down: float) -> None:
    assert moved(value, 1.0) == pytest.approx(up)
    assert moved(value, -1.0) == pytest.approx(down)


def test_rounding_keeps_three_digits_of_the_distance_from_one() -> None:
    assert rounded(0.99876543) == pytest.approx(0.99877, abs=1e-9)
    assert rounded(0.123456) == 0.123
    assert rounded(12345.0) == 12300.0
