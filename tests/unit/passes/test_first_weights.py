"""What compiled programs know of the first step's weights before it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.parsed import body_of, program_of

import optdsl
from optdsl.backends.emit import emit_source
from optdsl.backends.reference import reference_step
from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import print_program
from optdsl.passes.first_weights import begun_with_weights, with_first_sums
from optdsl.passes.pipeline import prepare


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


@pytest.mark.parametrize(
    ("body", "left", "begin_as"),
    [
        (
            "return g * where(step == 1, global_norm(w), global_norm(w - g))",
            ["t_2 = w - g", "t_3 = global_norm(t_2)",
             "t = where(step == 1.0, first_t, t_3)"],
            {"first_t": "global_norm"},
        ),
        (
            "n = where(step == 1, 2 * global_norm(w), 0)\n    return g * n",
            ["n = where(step == 1.0, first_n, 0.0)"],
            {"first_n": "*"},
        ),
        (
            "first_n = where(step == 1, mean(w), 3)\n"
            "    n = where(step == 1, sum(w * w), first_n)\n    return g * n",
            ["first_n = where(step == 1.0, first_first_n, 3.0)",
             "n = where(step == 1.0, first_n_, first_n)"],
            {"first_first_n": "mean", "first_n_": "sum"},
        ),
        # Computed in each step anyhow: read by the update, by both arguments, or by two choices.
        ("n = global_norm(w)\n    return n * g * where(step == 1, n, 0)", None, {}),
        ("n = global_norm(w)\n    return g * where(step == 1, n, n + 1)", None, {}),
        # Not of the weights alone, not at the first step alone, no sum, or no number.
        ("return g * where(step == 1, global_norm(w - g), 1)", None, {}),
        ("return g * where(step == 1, lr * global_norm(w), 1)", None, {}),
        ("return g * where(step == 2, global_norm(w), 1)", None, {}),
        ("return g * where(lr == 1, global_norm(w), 1)", None, {}),
        ("return g * where(step > 1, global_norm(w), 1)", None, {}),
        ("return g * where(step == 1, 1, global_norm(w))", None, {}),
        ("return g * where(step == 1, lr, 1)", None, {}),
        ("return where(step == 1, w, g)", None, {}),
    ],
)  # fmt: skip
def test_sums_that_the_first_step_alone_needs(
    body: str, left: list[str] | None, begin_as: dict[str, str]
) -> None:
    program = prepare(program_of("w, g, lr, step", body), {})
    found = with_first_sums(program)
    assert {n: total.operations[-1].op.name for n, total in found.sums.items()} == begin_as
    if left is None:
        assert found.program is program
    else:
        assert body_of(found.program)[: len(left)] == left


def test_dog_keeps_no_second_sum() -> None:
    state = optdsl.load("dog").optimizer(1.0).init([jnp.full(4, 1.5)])
    assert state.state["first_length"] == 3.0


SUMS = """def train(w, g, first_n, n0: scalar, lr, step, w_2=3.0):
    n = where(step == 1, global_norm(2 * w), n0)
    k = where(step == 1, mean(w * w) + sum(abs(w)), 2)
    r = where(step == 1, dot(row_mean(w), column_mean(w)), 1)
    z = where(step == 1, sum(w * label(w)), 1)
    first_n = interp(g, first_n, 0.9)
    return lr * (n + k + r + z + w_2) * first_n, first_n, n
"""


def compiled_sums() -> Any:
    return optdsl.parse(SUMS).optimizer(0.1, labels=[1, 2])


def emitted_sums() -> Any:
    space: dict[str, Any] = {}
    exec(emit_source(load(Source("<string>", SUMS)), "emitted"), space)
    return space["emitted"](0.1, labels=[1, 2])


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("make", [compiled_sums, emitted_sums])
def test_several_sums_beside_names_that_clash(make: Any, eager: bool) -> None:
    tx, program = make(), load(Source("<string>", SUMS))
    weights = [jnp.arange(6.0).reshape(2, 3), jnp.ones(4)]
    state = tx.init(weights)
    known: dict[str, Any] | None = None
    update = tx.update if eager else jax.jit(tx.update)
    for step in (1, 2, 3):
        gradients = [w + step for w in weights]
        wanted = reference_step(program, weights, gradients, known, 0.1, step, labels=[1, 2])
        known = wanted.state
        updates, state = update(gradients, state, weights)
        for mine, other in zip(updates, wanted.update, strict=True):
            np.testing.assert_allclose(mine, -other, rtol=1e-5)
        weights = [w + u for w, u in zip(weights, updates, strict=True)]


CLIPPED = """def train(w, g, lr, clip_at=0.0):
    c = 1
    if clip_at > 0:
        c = min(1, clip_at / global_norm(g))
    return lr * c * g
"""


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize(("clip_at", "factor"), [(0.0, 1.0), (0.5, 0.5 / np.sqrt(6.3125))])
def test_a_sum_that_constants_switch_off(clip_at: float, factor: float, traced: bool) -> None:
    tx = optdsl.parse(CLIPPED).optimizer(0.5, clip_at=clip_at)
    arrays = [jnp.asarray([1.0, 0.5]), jnp.asarray([[-1.0, 2.0, 0.25]])]
    update = jax.jit(tx.update) if traced else tx.update
    found, _ = update(arrays, tx.init(arrays), arrays)
    for mine, gradient in zip(found, arrays, strict=True):
        np.testing.assert_allclose(mine, -0.5 * factor * gradient, rtol=1e-6)


@pytest.mark.parametrize("other", ["0.5", "global_norm(w)"])
def test_in_a_shard_map_a_number_may_differ_between_devices(other: str) -> None:
    text = f"def train(w, g, step, lr):\n    d = where(step == 1, {other}, global_norm(g))\n"
    tx = optdsl.parse(text + "    return lr * d * g\n").optimizer(1.0)
    weights = jnp.asarray([3.0, 4.0])

    def step(gradient: jax.Array) -> Any:
        return tx.update(gradient, tx.init(weights), weights)[0]

    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    along = jax.sharding.PartitionSpec("d")
    mapped = jax.shard_map(step, mesh=mesh, in_specs=along, out_specs=along)
    gradient = jnp.asarray([1.0, 2.0])
    np.testing.assert_allclose(jax.jit(mapped)(gradient), step(gradient), rtol=1e-6)
