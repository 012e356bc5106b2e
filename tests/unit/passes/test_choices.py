"""Of two numbers only the one that is chosen is computed, and it is the same as ever."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.parsed import program_of

import optdsl
from optdsl.backends.jax_lowering import apply_program
from optdsl.backends.reference import reference_step
from optdsl.ir import Program
from optdsl.passes.choices import choices
from optdsl.passes.pipeline import prepare

DISTANCE = "where(step == 1, global_norm(w), global_norm(w - g))"


def prepared(body: str) -> Program:
    return prepare(program_of("w, g, lr, step", body), {})


def left_to_choices(body: str) -> list[list[list[str]]]:
    """The functions of each choice's branches."""
    program = prepared(body)
    first = len(program.inputs)
    return [
        [[program.operations[v - first].op.name for v in sorted(branch)] for branch in branches]
        for branches in choices(program).values()
    ]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f"return g * {DISTANCE}", [[["global_norm"], ["-", "global_norm"]]]),
        ("return g * where(step == 1, 1, 2 * global_norm(w))", [[[], ["global_norm", "*"]]]),
        # Read elsewhere too: by the update, by both branches, by the comparison.
        ("n = global_norm(w)\n    return n * g * where(step == 1, n, 0)", []),
        ("n = global_norm(w)\n    return g * where(step == 1, n, n + 1)", []),
        ("n = global_norm(w)\n    return g * where(n > 1, n, 1)", []),
        # No sum over the tree is saved.
        ("return g * where(step == 1, lr, sqrt(lr))", []),
        ("return where(step == 1, g, g - w)", []),
        # One choice in another.
        (
            f"n = {DISTANCE}\n    return g * where(lr > 1, 1, n)",
            [
                [["global_norm"], ["-", "global_norm"]],
                [[], ["global_norm", "-", "global_norm", "where=="]],
            ],
        ),
    ],
)
def test_what_is_left_to_a_choice(body: str, found: list[list[list[str]]]) -> None:
    assert left_to_choices(body) == found


WEIGHTS = [np.float32([3.0, 4.0]), np.float32([[1.0, -2.0, 0.5]])]
GRADIENTS = [np.float32([1.0, 0.5]), np.float32([[-1.0, 2.0, 0.25]])]


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("rate", [0.5, 2.0, float("nan")])
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(
    "body",
    [
        f"return g * {DISTANCE}",
        f"n = {DISTANCE}\n    return g * where(lr > 1, 1, n)",
        f"n = {DISTANCE}\n    return g * where(lr <= 1, n, global_norm(g))",
    ],
)
def test_it_is_the_number_of_the_reference(body: str, step: int, rate: float, traced: bool) -> None:
    program = prepared(body)

    def run(weights: Any, gradients: Any, rate: Any, step: Any) -> Any:
        return apply_program(program, weights, gradients, {}, rate, step, {})[0]

    arrays = [list(map(jnp.asarray, tree)) for tree in (WEIGHTS, GRADIENTS)]
    found = (jax.jit(run) if traced else run)(*arrays, rate, step)
    expected = reference_step(program, WEIGHTS, GRADIENTS, None, rate, step).update
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


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
    arrays = list(map(jnp.asarray, GRADIENTS))
    update = jax.jit(tx.update) if traced else tx.update
    found, _ = update(arrays, tx.init(arrays), arrays)
    for mine, gradient in zip(found, GRADIENTS, strict=True):
        np.testing.assert_allclose(mine, -0.5 * factor * gradient, rtol=1e-6)


@pytest.mark.parametrize("other", ["0.5", "global_norm(w)"])
def test_in_a_shard_map_one_number_may_differ_between_devices(other: str) -> None:
    text = f"def train(w, g, step, lr):\n    d = where(step == 1, {other}, global_norm(g))\n"
    tx = optdsl.parse(text + "    return lr * d * g\n").optimizer(1.0)
    weights = jnp.asarray([3.0, 4.0])

    def step(gradient: jax.Array) -> jax.Array:
        return tx.update(gradient, tx.init(weights), weights)[0]

    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    along = jax.sharding.PartitionSpec("d")
    mapped = jax.shard_map(step, mesh=mesh, in_specs=along, out_specs=along)
    gradient = jnp.asarray([1.0, 2.0])
    np.testing.assert_allclose(jax.jit(mapped)(gradient), step(gradient), rtol=1e-6)


def test_one_sum_reads_its_arrays() -> None:
    program = prepared(f"return g * {DISTANCE}")

    def run(weights: jax.Array, gradients: jax.Array, step: jax.Array) -> jax.Array:
        return apply_program(program, [weights], [gradients], {}, 1.0, step, {})[0][0]

    array = jnp.ones(10_000)
    cost = jax.jit(run).lower(array, array, 1).compile().cost_analysis()
    # The weights and the gradients for the sum, the gradients for the update, which is written.
    assert cost["bytes accessed"] == pytest.approx(4 * array.nbytes, rel=0.01)
