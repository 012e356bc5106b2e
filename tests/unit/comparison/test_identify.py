"""Which known optimizer a program is."""

from pathlib import Path

import pytest

from optdsl.comparison.identify import CANONICAL, CONSTANTS, STRUCTURAL, Identified, identify
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.ir import Program

PAPER = Path(__file__).parents[3] / "examples" / "paper"

LION = """
def train(weight, idle, old, gradient, lr, p={p}, q={q}, r={r}):
    new = interp(gradient, old, q)
    way = sign(interp(gradient, old, r))
    return lr * (weight * p + way), idle, new
"""

ALGEBRA = """
def train(weight, old, gradient, lr):
    new = 0.99 * old + 0.01 * gradient
    way = sign(0.9 * old + 0.1 * gradient)
    return (0.001 * weight + way) * lr, new
"""

ADAMW = """
def train(w, g, m, v, lr, step, b1=0.9, b2=0.999, eps={eps}, weight_decay=1e-4):
    m = interp(g, m, b1)
    v = interp(square(g), v, b2)
    m_hat = m / (1 - b1 ** step)
    v_hat = v / (1 - b2 ** step)
    update = {function}(m_hat / (sqrt(v_hat) + eps))
    return lr * (update + weight_decay * w), m, v
"""


def identified(text: str, **values: object) -> Identified:
    return identify(program(text.format(**values)))


def program(text: str) -> Program:
    return load(Source("test.opt", text))


def test_renamed_and_reordered_lion_is_lion() -> None:
    found = identified(LION, p=0.001, q=0.99, r=0.9)
    assert (found.name, found.equal) == ("lion", STRUCTURAL)
    assert found.nearest[0].distance == 0.0
    assert found.difference.only_program == found.difference.only_known == ()
    assert found.difference.constants == {}


def test_lion_by_algebra_is_lion() -> None:
    found = identified(ALGEBRA)
    assert (found.name, found.equal) == ("lion", CANONICAL)


def test_lion_with_other_constants_is_lion_with_these() -> None:
    found = identified(LION, p=0.3, q=0.97, r=0.95)
    assert (found.name, found.equal) == ("lion", CONSTANTS)
    assert found.nearest[0].distance == 0.0
    assert found.difference.constants == {
        "b1": (0.9, 0.95),
        "b2": (0.99, 0.97),
        "weight_decay": (0.001, 0.3),
    }


def test_constants_that_the_updates_do_not_show_are_told() -> None:
    found = identified(ADAMW, eps="1e-6", function="")
    assert (found.name, found.equal) == ("adamw", CONSTANTS)
    assert found.difference.constants == {"eps": (1e-8, 1e-6)}


def test_a_mutated_adamw_is_nearest_to_adamw_and_says_where_it_differs() -> None:
    found = identified(ADAMW, eps="1e-8", function="tanh")
    assert (found.name, found.equal) == ("adamw", None)
    assert 0.0 < found.nearest[0].distance < 1.0
    (statement,) = found.difference.only_program
    assert "tanh(" in statement


def test_program_8_is_nearest_to_lion() -> None:
    found = identify(load(find_source(str(PAPER / "program_8.opt"))))
    assert (found.name, found.equal) == ("lion", None)
    assert found.nearest[0].distance < 0.2
    constants = found.nearest[0].constants
    # by its text v is kept by 1.109 * 0.9, which is 0.998, and the decay is 0.46
    assert constants["b2"] == pytest.approx(0.998, abs=1.5e-3)
    assert constants["weight_decay"] == pytest.approx(0.46, rel=0.1)
    assert found.nearest[0].factor == pytest.approx(0.000217, rel=0.05)


def test_two_names_of_one_program_are_both_there() -> None:
    found = identify(load(find_source("signum")))
    assert found.equal == STRUCTURAL
    assert {near.name for near in found.nearest[:2]} == {"signum", "ablation_sign"}
