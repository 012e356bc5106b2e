"""The source that `optdsl compile` writes gives the updates of the library's transformation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optdsl
from optdsl.backends.emit import emit_source
from optdsl.diagnostics import Source
from optdsl.frontend import load

PROGRAMS = {
    "an average with a state in half precision": """
def train(w, g, m: bfloat16, v: bfloat16, lr, b1=0.9, b2=0.999):
    m = interp(g, m, b1)
    v = interp(square(g), v, b2)
    return lr * m / (sqrt(v) + 1e-8), m, v
""",
    "a number is stored in a state like the weights, and read": """
def train(g, s, lr):
    y = mean(g + s)
    return lr * (g + y), y
""",
    "a rule by leaf in a sum over the first weights": """
def train(w, g, lr, step):
    n = where(step == 1, global_norm(where(rank(w) == 2, w, 0)), 3)
    return lr * n * g
""",
    "rows where some leaves have no other state": """
def train(w, g, v, lr):
    if rank(w) == 2:
        u = g + v
    else:
        u = g
    return lr * u, row_mean(square(g))
""",
}


def trained(tx: Any, steps: int) -> list[Any]:
    """The updates of each step, and the last state."""
    random = np.random.RandomState(0)
    weights = [jnp.asarray(random.standard_normal(shape), jnp.float32) for shape in ((2, 3), (4,))]
    state, update, found = tx.init(weights), jax.jit(tx.update), list[Any]()
    for _ in range(steps):
        gradients = [jnp.asarray(random.standard_normal(w.shape), jnp.float32) for w in weights]
        updates, state = update(gradients, state, weights)
        found.extend(updates)
    return [*found, *jax.tree.leaves(state)]


@pytest.mark.parametrize("what", PROGRAMS)
def test_updates_are_the_same(what: str) -> None:
    module: dict[str, Any] = {}
    exec(emit_source(load(Source("<string>", PROGRAMS[what])), "emitted"), module)
    found = trained(module["emitted"](0.1), 300)
    expected = trained(optdsl.parse(PROGRAMS[what]).optimizer(0.1), 300)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(*(np.asarray(x, np.float64) for x in (a, b)), rtol=0.01)
