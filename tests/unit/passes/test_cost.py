"""Bytes and arithmetic per weight, by hand and against XLA's own account."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import optdsl
from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.passes.cost import Bytes, Cost, cost_per_weight, leaf_bytes
from optdsl.passes.fold import default_values
from optdsl.passes.pipeline import prepare
from optdsl.passes.shapes import Leaf

N = 1 << 16


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("def train(g, lr):\n    return lr * g\n", Cost(8, 4, 0, 2)),
        ("def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n    return lr * (m + w), m\n",
         Cost(12, 8, 4, 6)),
        ("def train(g, m: bfloat16):\n    return g, m + g\n", Cost(8, 4, 0, 1)),  # m is dead
        ("def train(g, m: bfloat16):\n    return m, m + g\n", Cost(10, 6, 2, 2)),
        ("def train(w):\n    return where(w < 0, w, 2 * w)\n", Cost(4, 4, 0, 4)),
        ("def train(g):\n    return g / global_norm(g)\n", Cost(8, 4, 0, 4)),
        ("def train(w, g, z, step):\n    z = where(step == 1, w, z)\n    return g * (w - z), z\n",
         Cost(12, 4, 4, 3)),
        ("def train(g, c: scalar, lr):\n    return lr * c * g, c + 1\n", Cost(8, 4, 0, 2)),
    ],
)  # fmt: skip
def test_by_hand(text: str, cost: Cost) -> None:
    assert cost_per_weight(load(Source("<test>", text)), "float32") == cost


@pytest.mark.parametrize("name", ["sgd", "lion", "adamw", "adabelief", "rprop", "yogi", "adan"])
def test_arithmetic_is_what_xla_counts(name: str) -> None:
    program = load(find_source(name))
    prepared = prepare(program, default_values(program))

    def step(weights: Any, gradients: Any, state: Any) -> Any:
        return apply_program(prepared, weights, gradients, state, 1e-3, 2, {})

    leaves = [jnp.ones(N)]
    found = jax.jit(step).lower(leaves, leaves, first_state(prepared, leaves)).cost_analysis()
    counted = round((found["flops"] + found.get("transcendentals", 0)) / N)
    assert counted + 1 == cost_per_weight(program, "float32").arithmetic


BY_RANK = """
def train(w, g, m, v: per_row, x: rows_by_rows, k: scalar, lr):
    if rank(w) == 2:
        v = v + row_mean(g)
        update = v * matmul(x, g)
        x = x + 1
    else:
        if rank(w) == 1:
            m = m + k * g
            update = m
        else:
            update = w
    return lr * update, m, v, x, k + 1
"""


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((3, 5), "float32", Bytes(120 + 52, 60 + 52, 52)),
        ((3, 5), "bfloat16", Bytes(60 + 52, 30 + 52, 52)),  # rows and matrices are sums: float32
        ((7,), "float32", Bytes(56 + 32, 28 + 32, 32)),
        ((7,), "bfloat16", Bytes(28 + 18, 14 + 18, 18)),
        ((2, 3, 5), "float32", Bytes(120 + 4, 120 + 4, 4)),  # no gradient is read
        ((), "float32", Bytes(4 + 4, 4 + 4, 4)),
    ],
)
def test_a_leafs_bytes_by_hand(shape: tuple[int, ...], dtype: str, found: Bytes) -> None:
    assert leaf_bytes(load(Source("<test>", BY_RANK)), Leaf(shape, dtype)) == found


@pytest.mark.parametrize("name", stdlib())
def test_a_leafs_state_is_what_init_allocates(name: str) -> None:
    """On matrices small and large (Adafactor tells them apart), vectors, numbers and more."""
    program = load(find_source(name))
    for shape in ((160, 130), (24, 40), (40, 24), (7,), (2, 3, 4, 5), ()):
        for dtype in ("float32", "bfloat16"):
            state = optdsl.load(name).optimizer(1e-3).init([jnp.ones(shape, dtype)])
            allocated = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) - state.count.nbytes
            assert leaf_bytes(program, Leaf(shape, dtype)).bytes_kept == allocated, (shape, dtype)


@pytest.mark.parametrize("name", ["lion", "adamw", "adafactor", "muon", "shampoo", "sm3", "soap"])
@pytest.mark.parametrize("shape", [(160, 130), (160,)])
def test_a_leafs_bytes_are_those_of_the_compiled_step(name: str, shape: tuple[int, ...]) -> None:
    memory, _ = compiled_memory(name, jnp.ones(shape))
    found = leaf_bytes(load(find_source(name)), Leaf(shape, "float32"))
    count = 4
    assert memory.argument_size_in_bytes == found.bytes_read + count
    assert memory.alias_size_in_bytes == found.bytes_written + count


@pytest.mark.parametrize("name", ["lion", "adamw"])
def test_bytes_are_those_of_the_compiled_step(name: str) -> None:
    memory, state = compiled_memory(name, jnp.ones(N))
    cost = cost_per_weight(load(find_source(name)), "float32")
    count = 4
    assert memory.argument_size_in_bytes == cost.bytes_read * N + count
    assert memory.alias_size_in_bytes == cost.bytes_written * N + count
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state)) == cost.bytes_kept * N + count


def compiled_memory(name: str, weights: jax.Array) -> tuple[Any, Any]:
    """XLA's account of a step that overwrites weights and state, and the state."""
    tx = optdsl.load(name).optimizer(1e-3)

    def step(weights: Any, state: Any, gradients: Any) -> Any:
        updates, state = tx.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    state = tx.init(weights)
    jitted = jax.jit(step, donate_argnums=(0, 1))
    return jitted.lower(weights, state, weights).compile().memory_analysis(), state
