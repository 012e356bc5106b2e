"""The NumPy reference against numbers worked out by hand."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from optdsl.backends.reference import reference_step
from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program

F32 = np.float32


def parse(text: str) -> Program:
    return load(Source("<test>", text))


def floats(*values: Any) -> list[Any]:
    return [np.asarray(value, F32) for value in values]


WEIGHTS = floats([1.0, -2.0], 4.0)
GRADIENTS = floats([0.5, 3.0], -1.0)


def step(text: str, **options: Any) -> Any:
    return reference_step(parse(text), WEIGHTS, GRADIENTS, options.pop("state", None), **options)


def assert_blocks(found: list[Any], *expected: Any) -> None:
    assert len(found) == len(expected)
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, np.asarray(wanted), rtol=1e-6)
        assert np.shape(one) == np.shape(wanted)


def test_lion() -> None:
    text = (
        "def train(w, g, m, lr, b1=0.9, b2=0.75, wd=0.5):\n"
        "    u = sign(interp(g, m, b1)) + wd * w\n    m = interp(g, m, b2)\n    return lr * u, m\n"
    )
    first = step(text, learning_rate=0.1)
    assert_blocks(first.update, [0.15, 0.0], 0.1)
    assert_blocks(first.state["m"], [0.125, 0.75], -0.25)
    gradients = floats([-4.0, 0.0], 1.0)
    second = reference_step(parse(text), WEIGHTS, gradients, first.state, 0.1, 2)
    # interp(g, m, 0.9): -0.4 + 0.1125 < 0; 0.675 > 0; 0.1 - 0.225 < 0
    assert_blocks(second.update, [-0.05, 0.0], 0.1)
    assert_blocks(second.state["m"], [-0.90625, 0.5625], 0.0625)
    assert all(block.dtype == F32 for block in (*second.update, *second.state["m"]))


def test_the_inputs() -> None:
    text = "def train(w, g, lr, step, c=2.0):\n    return w + lr * g + step * c\n"
    done = step(text, learning_rate=0.5, step=3)
    assert_blocks(done.update, [7.25, 5.5], 9.5)
    assert_blocks(step(text, learning_rate=0.5, step=3, hyperparameters={"c": 0.0}).update,
                  [1.25, -0.5], 3.5)  # fmt: skip


def test_kinds_and_reductions() -> None:
    text = (
        "def train(w, g, n: per_array, s: scalar):\n"
        "    n = norm(g) + n\n    s = dot(w, g) + s\n    return g / n + 0 * s, n, s\n"
    )
    done = step(text)
    length = np.sqrt(9.25)
    assert_blocks(done.update, np.array([0.5, 3.0]) / length, -1.0)
    assert_blocks(done.state["n"], length, 1.0)
    assert_blocks(done.state["s"], 0.5 - 6 - 4)
    again = step(text, state=done.state)
    assert_blocks(again.state["n"], 2 * length, 2.0)
    assert_blocks(again.state["s"], -19.0)


@pytest.mark.parametrize(
    ("expression", "first", "second"),
    [
        ("global_norm(w) * g", np.sqrt(21) * np.array([0.5, 3.0]), -np.sqrt(21)),
        ("global_norm(norm(w)) * g", np.sqrt(21) * np.array([0.5, 3.0]), -np.sqrt(21)),
        ("global_norm(-2) * g", [1.0, 6.0], -2.0),
        ("clip(g, 100)", [0.5, 3.0], -1.0),
        ("clip(g, 1)", np.array([0.5, 3.0]) / np.sqrt(10.25), -1 / np.sqrt(10.25)),
        ("cosine_sim(g, 2 * g) * w", [1.0, -2.0], 4.0),
        ("sum(w) * g", [1.5, 9.0], -3.0),
        ("mean(w) * g", [0.5, 3.0], -1.0),
        ("sum(1) * g", [0.5, 3.0], -1.0),
        ("sum(0 * w + 1) * g", [1.5, 9.0], -3.0),
        ("row_mean(w) * g", [-0.25, -1.5], -4.0),
        ("column_mean(w) * g", [0.5, -6.0], -4.0),
        ("where(g > 0, w, -w)", [1.0, -2.0], -4.0),
        ("maximum(w, g)", [1.0, 3.0], 4.0),
        ("g ** 2 - cube(w)", [-0.75, 17.0], -63.0),
    ],
)
def test_functions_of_trees(expression: str, first: Any, second: float) -> None:
    assert_blocks(step(f"def train(w, g):\n    return {expression}\n").update, first, second)


def test_states_begin_at_zero_in_their_own_shapes_and_dtypes() -> None:
    text = (
        "def train(w, g, a: bfloat16, b: float64, c: scalar[float16], d: per_array):\n"
        "    return g + a + b + c + d, a + 1, b + 1, c + 1, d + 1\n"
    )
    done = step(text)
    assert_blocks(done.update, GRADIENTS[0], GRADIENTS[1])
    dtypes = {name: {str(block.dtype) for block in blocks} for name, blocks in done.state.items()}
    assert dtypes == {"a": {"bfloat16"}, "b": {"float64"}, "c": {"float16"}, "d": {"float32"}}
    shapes = {name: [b.shape for b in blocks] for name, blocks in done.state.items()}
    assert shapes == {"a": [(2,), ()], "b": [(2,), ()], "c": [()], "d": [(), ()]}


def test_a_stored_dtype_rounds() -> None:
    done = step("def train(g, m: bfloat16):\n    m = m + 0.1 * g\n    return g + m, m\n")
    wide = F32(0.1) * GRADIENTS[0]
    assert list(done.state["m"][0]) == list(wide.astype(ml_dtypes.bfloat16))


def test_dead_state_is_left_out() -> None:
    done = step("def train(g, m, dead):\n    m = m + g\n    return m, m, cos(dead)\n")
    assert set(done.state) == {"m"}


def test_numbers_below_the_smallest_normal_one_are_zero() -> None:
    done = step("def train(g):\n    return g * 1e-30 * 1e-9 * 1e30\n")
    assert_blocks(done.update, [0.0, 0.0], 0.0)
    assert np.signbit(done.update[1])


def test_constants_are_folded_in_double_precision() -> None:
    done = step("def train(g):\n    return (1 - 0.999) * g\n")
    assert done.update[0][0] == F32(1 - 0.999) * F32(0.5)


def test_an_empty_tree_and_infinite_numbers_do_no_harm() -> None:
    program = parse("def train(g):\n    return g / global_norm(g)\n")
    assert reference_step(program, [], [], None).update == []
    done = step("def train(g):\n    return g / 0 + log(-abs(g))\n")
    assert all(np.all(np.isnan(block)) for block in done.update)


def test_the_given_arrays_are_not_changed() -> None:
    state = {"m": floats([1.0, 2.0], 3.0)}
    copies = [block.copy() for block in state["m"]]
    text = "def train(g, m):\n    return m, m + g\n"
    done = step(text, state=state)
    done.state["m"][0][...] = 7
    for block, copy in zip(state["m"], copies, strict=True):
        assert np.array_equal(block, copy)
    assert np.array_equal(GRADIENTS[0], [0.5, 3.0])
