"""What is added to the weights is the update times -1."""

import jax
import numpy as np
import pytest
from support.parsed import body_of, program_of

from optdsl.backends.reference import reference_step
from optdsl.frontend import find_source, load, stdlib
from optdsl.passes.descent import descent
from optdsl.passes.fold import default_values, fold_constants
from optdsl.passes.pipeline import prepare


@pytest.mark.parametrize(
    ("update", "left"),
    [
        ("lr * sign(g)", ["t = sign(g)", "t_2 = -1.0 * lr", "t = t_2 * t", "return t"]),
        ("sign(g) * 0.5", ["t = sign(g)", "t = -0.5 * t", "return t"]),
        ("norm(g) * g", ["t = norm(g)", "t = -1.0 * t", "t = t * g", "return t"]),
        ("g", ["descent = -1.0 * g", "return descent"]),
        ("g * w", ["t = g * w", "descent = -1.0 * t", "return descent"]),
    ],
)
def test_the_sign_is_in_the_number_where_there_is_one(update: str, left: list[str]) -> None:
    assert body_of(descent(fold_constants(program_of("w, g, lr", f"return {update}")))) == left


def test_an_update_that_is_stored_too_stays() -> None:
    program = fold_constants(program_of("w, g, m, lr", "m = lr * g\n    return m, m"))
    assert body_of(descent(program)) == ["m = lr * g", "descent = -1.0 * m", "return descent, m"]


@pytest.mark.parametrize("name", stdlib())
def test_it_is_the_same_bit_for_bit(name: str) -> None:
    program = load(find_source(name))
    prepared = prepare(program, default_values(program))
    draw = np.random.default_rng(0).standard_normal
    weights, gradients = ([draw(s, np.float32) for s in ((3, 4), (5,))] for _ in range(2))
    gradients[1][0] = 0.0  # whose update may be a zero, with a sign
    state = None
    for step in (1, 2):
        added = reference_step(descent(prepared), weights, gradients, state, 0.1, step)
        taken = reference_step(prepared, weights, gradients, state, 0.1, step)
        for mine, other in zip(added.update, taken.update, strict=True):
            assert mine.tobytes() == (-other).tobytes()
        jax.tree.map(np.testing.assert_array_equal, added.state, taken.state)
        state = taken.state
