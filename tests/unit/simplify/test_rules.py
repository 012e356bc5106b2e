"""The rule table, the reductions across steps and the rounding of constants."""

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program
from optdsl.passes.algebra import RULES, Level, Rule, simplify_algebra
from optdsl.passes.live import remove_dead_state
from optdsl.simplify.check import TOLERANCE, difference
from optdsl.simplify.rounding import rounder


def program(text: str) -> Program:
    return load(Source("<test>", text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.text)
def test_each_rule_holds_where_the_left_side_is_finite(rule: Rule) -> None:
    head = "def train(g, w):\n    x = g * 0.9\n    y = w\n    a = 0.3\n    b = 0.6\n"
    head += "    p = 0.4\n    q = 0.7\n"
    left = program(f"{head}    return w * ({rule.left})\n")
    right = program(f"{head}    return w * ({rule.right})\n")
    gap = difference(left, right, Level.APPROX)
    # Some left sides are finite for x >= 1 only: there is nothing to compare here.
    assert gap is None or gap <= TOLERANCE


@pytest.mark.parametrize(
    ("statements", "states"),
    [
        ("m = 0.9 * m + g\n    v = 0.9 * v + 3 * g\n    u = m + v", 1),
        ("m = interp(g, m, 0.9)\n    v = tanh(m)\n    u = m + v", 1),
        ("v = v * m\n    m = interp(g, m, 0.9)\n    u = m + v", 1),
        ("m = 0.9 * m + g\n    v = 0.9 * v + w * w\n    u = m + 2 * v", 1),
        ("m = 0.9 * m + g\n    v = 0.8 * v + w * w\n    u = m + 2 * v", 2),
        ("m = 0.9 * m + g\n    v = 0.9 * v + w * w\n    u = m * v", 2),
    ],
)
def test_states_that_another_makes_superfluous(statements: str, states: int) -> None:
    before = program(f"def train(w, g, m, v):\n    {statements}\n    return u, m, v\n")
    after, _ = simplify_algebra(remove_dead_state(before))
    assert len(after.states) == states
    gap = difference(before, after, Level.APPROX)
    assert gap is not None
    assert gap <= TOLERANCE


def test_a_bound_that_may_be_negative_is_no_bound() -> None:
    text = "def train(g):\n    return sign(clip(g, {}))\n"
    assert len(simplify_algebra(program(text.format("1")))[0].operations) == 1
    assert len(simplify_algebra(program(text.format("-1")))[0].operations) == 2


@pytest.mark.parametrize(
    ("value", "first"),
    [(0.8999999761581421, 0.9), (0.9982196781841992, 0.998), (0.4601978, 0.5), (-0.0203, -0.02)],
)
def test_the_roundest_is_tried_first(value: float, first: float) -> None:
    assert rounder(value)[0] == first


@pytest.mark.parametrize("value", [0.0, 0.9, 0.5, 0.99, 2.0, 1e-8])
def test_what_is_round_stays(value: float) -> None:
    assert rounder(value) == []
