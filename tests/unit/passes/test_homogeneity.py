"""Degrees of updates in the gradients: proved ones, and what scaled gradients show."""

from fractions import Fraction

import numpy as np
import pytest

from optdsl.backends.reference import reference_step
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.passes.fold import default_values
from optdsl.passes.homogeneity import update_degree
from optdsl.passes.pipeline import prepare


def degree(name: str, without_small: bool = False) -> object:
    program = load(find_source(name))
    return update_degree(prepare(program, default_values(program)), without_small)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return g", 1),
        ("return 0 * g", "any"),
        ("return g * g", 2),
        ("return sqrt(abs(g))", Fraction(1, 2)),
        ("return g ** -2", -2),
        ("return g + 1", "none"),
        ("return g / norm(g)", 0),
        ("return sin(g)", "none"),
        ("return sin(sign(g))", 0),
        ("return where(g < 0, g, 2 * g)", 1),
        ("return where(g < 1, g, 2 * g)", "none"),
        ("return clip(g, 1.0)", "none"),
        ("return g / (0 * g)", "none"),
    ],
)
def test_functions(body: str, expected: object) -> None:
    program = load(Source("<test>", f"def train(g):\n    {body}\n"))
    assert update_degree(prepare(program, {})) == expected


def test_known_optimizers() -> None:
    assert degree("lion") == degree("signum") == 0
    assert degree("momentum") == degree("addsign") == 1
    assert (degree("adamw"), degree("adamw", without_small=True)) == ("none", 0)


@pytest.mark.parametrize("name", ["lion", "signum", "momentum", "addsign", "rprop", "nesterov"])
def test_a_proved_degree_holds_bit_for_bit_for_a_power_of_two(name: str) -> None:
    power = degree(name)
    assert isinstance(power, Fraction)
    program, c = load(find_source(name)), 4.0
    random = np.random.RandomState(0)
    weights = [np.float32(random.standard_normal((3, 2)))]
    states = [None, None]
    for step in range(1, 5):
        gradient = np.float32(random.standard_normal((3, 2)))
        updates = []
        for i, scale in enumerate((1.0, c)):
            scaled = [np.float32(scale) * gradient]
            found = reference_step(program, weights, scaled, states[i], 0.1, step)
            states[i] = found.state
            updates.append(found.update[0])
        np.testing.assert_array_equal(updates[1], np.float32(c ** float(power)) * updates[0])


def test_every_program_has_an_answer() -> None:
    for name in stdlib():
        assert isinstance(degree(name), Fraction | str)
