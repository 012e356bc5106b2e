"""What compiled programs do without because weights are finite."""

import jax.numpy as jnp
import numpy as np
import pytest
from support.parsed import body_of, program_of

import optdsl
from optdsl.passes.finite_weights import without_zero_decay
from optdsl.passes.fold import bind, fold_constants


@pytest.mark.parametrize(
    ("update", "left"),
    [
        ("g + d * w", ["return g"]),
        ("d * w + g", ["return g"]),
        ("g - w * d", ["return g"]),
        ("lr * (sign(g) + d * w)", ["t = sign(g)", "t = lr * t", "return t"]),
        ("d * w - g", ["t = 0.0 * w", "t = t - g", "return t"]),  # the zeros are not neutral here
        ("lr + d * w", ["t = 0.0 * w", "t = lr + t", "return t"]),  # an array because of w
        ("g + d * g", ["t = 0.0 * g", "t = g + t", "return t"]),  # a gradient may be infinite
        ("d * w", ["t = 0.0 * w", "return t"]),
    ],
)
def test_a_weight_decay_of_zero_leaves_nothing(update: str, left: list[str]) -> None:
    program = fold_constants(bind(program_of("w, g, lr, d=0.0", f"return {update}"), {"d": 0.0}))
    assert body_of(without_zero_decay(program)) == left


def test_a_program_with_states_of_their_own_dtypes_keeps_its_zeros() -> None:
    body = "m = m + 0.0 * w\n    return m + g, m"  # the sum is of the weights' dtype, not m's
    program = program_of("w, g, m: bfloat16", body)
    assert without_zero_decay(program) is program


def test_gradients_of_a_narrower_dtype_keep_the_zeros() -> None:
    tx = optdsl.load("madgrad").optimizer(0.1)
    weights, gradients = jnp.ones(2), jnp.array([300.0, 1e-4], jnp.float16)
    update, state = tx.update(gradients, tx.init(weights), weights)
    assert np.all(np.isfinite(state.state["v"])), "the square of 300 is beyond float16's range"
    assert np.all(np.asarray(update) < 0)


def test_a_weight_decay_that_is_not_known_stays() -> None:
    program = program_of("w, g, d=0.0", "return g + d * w")
    assert without_zero_decay(program) is program


def test_the_weights_are_not_asked_for_where_they_decay_by_zero() -> None:
    tx = optdsl.load("adadelta").optimizer(0.1)
    gradients = jnp.ones(3)
    updates, _ = tx.update(gradients, tx.init(gradients))
    assert np.all(np.isfinite(updates))
