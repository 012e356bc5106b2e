"""What compiled programs do without because weights are finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.parsed import body_of, program_of

import optdsl
from optdsl.ir import print_program
from optdsl.passes.finite_weights import begun_with_weights, without_zero_decay
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


@pytest.mark.parametrize(
    ("body", "begun"),
    [
        ("s = where(step == 1, w, s)\n    return g * s, s", True),
        ("z = where(step == 1, w, s)\n    return g * z, z - g", True),
        ("z = where(step == 1, w, s)\n    return g * s, z", False),  # what is read at first is 0
        ("z = where(step == 1, w, s)\n    return g * z, s", False),
        ("s = where(step == 2, w, s)\n    return g * s, s", False),
        ("s = where(step == 1, g, s)\n    return w * s, s", False),
        ("s = where(step == 1, w, w)\n    return g * s, s", False),
        ("s = where(step == lr, w, s)\n    return g * s, s", False),
    ],
)
def test_a_state_begins_as_the_weights_if_only_that_is_read(body: str, begun: bool) -> None:
    program = begun_with_weights(program_of("w, g, s, lr, step", body))
    assert [i.name for i in program.inputs if i.begins_as_weights] == ["s"] * begun
    assert ("where" in print_program(program)) != begun


def test_a_state_of_its_own_dtype_begins_as_zeros() -> None:
    body = "s = where(step == 1, w, s)\n    return w - s, s"
    program = begun_with_weights(program_of("w, g, s: bfloat16, step", body))
    assert not any(entry.begins_as_weights for entry in program.inputs)


def test_two_states_begin_as_the_weights() -> None:
    body = "a = where(step == 1, w, a)\n    b = where(step == 1, w, b)\n    return a - b, b, a"
    program = begun_with_weights(program_of("w, g, a, b, step", body))
    assert body_of(program) == ["t = a - b", "return t, b, a"]


def test_the_state_is_a_copy_since_both_are_donated() -> None:
    tx = optdsl.load("madgrad").optimizer(0.1)
    weights = [jnp.arange(4.0), jnp.ones((2, 2), jnp.bfloat16)]
    state = tx.init(weights)
    assert [np.array_equal(*pair) for pair in zip(state.state["w0"], weights, strict=True)]
    assert [w.dtype for w in state.state["w0"]] == [jnp.float32, jnp.bfloat16]
    step = jax.jit(lambda w, s: tx.update(w, s, w), donate_argnums=(0, 1))
    step(weights, state)
