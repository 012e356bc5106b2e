"""Bytes and arithmetic per weight, by hand and against XLA's own account."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import optdsl
from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.passes.cost import Cost, cost_per_weight
from optdsl.passes.fold import default_values
from optdsl.passes.pipeline import prepare

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


@pytest.mark.parametrize("name", ["lion", "adamw"])
def test_bytes_are_those_of_the_compiled_step(name: str) -> None:
    tx = optdsl.load(name).optimizer(1e-3)

    def step(weights: Any, state: Any, gradients: Any) -> Any:
        updates, state = tx.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    weights = jnp.ones(N)
    jitted = jax.jit(step, donate_argnums=(0, 1))
    memory = jitted.lower(weights, tx.init(weights), weights).compile().memory_analysis()
    cost = cost_per_weight(load(find_source(name)), "float32")
    count = 4
    assert memory.argument_size_in_bytes == cost.bytes_read * N + count
    assert memory.alias_size_in_bytes == cost.bytes_written * N + count
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(tx.init(weights)))
    assert state == cost.bytes_kept * N + count
