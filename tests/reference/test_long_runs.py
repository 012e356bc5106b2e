"""A thousand steps beside optax, in single and half precision; and a run that a checkpoint cuts."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import optdsl

STEPS = 1000

TREES: dict[str, tuple[Any, Any]] = {
    "float32": (jnp.float32, jnp.float32),
    "bfloat16": (jnp.bfloat16, jnp.bfloat16),
    "mixed": (jnp.bfloat16, jnp.float32),
}


def weights_of(dtypes: tuple[Any, Any]) -> dict[str, jax.Array]:
    random = np.random.RandomState(0)
    shapes = {"a": (4, 3), "b": (5,)}
    pairs = zip(shapes.items(), dtypes, strict=True)
    return {k: jnp.asarray(random.standard_normal(s), dtype) for (k, s), dtype in pairs}


def train(tx: Any, weights: Any, state: Any, first: int, last: int) -> Any:
    """The steps of a noisy quadratic, in one compiled loop."""

    def step(carry: Any, t: jax.Array) -> Any:
        weights, state = carry
        noise = jnp.sin(12.9898 * t.astype(jnp.float32))
        gradients = jax.tree.map(lambda w: w - jnp.asarray(0.3 * noise, w.dtype), weights)
        updates, state = tx.update(gradients, state, weights)
        return (optax.apply_updates(weights, updates), state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(first, last))[0])
    return run((weights, state))


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_a_thousand_steps(name: str, tree: str) -> None:
    weights = weights_of(TREES[tree])
    runs = []
    for tx in (optdsl.load(name).optimizer(0.01), getattr(optax, name)(0.01)):
        runs.append(train(tx, weights, tx.init(weights), 0, STEPS)[0])
    for ours, theirs in zip(*map(jax.tree.leaves, runs), strict=True):
        assert ours.dtype == theirs.dtype
        ulp = float(jnp.finfo(ours.dtype).eps)
        wide = [np.asarray(leaf, np.float64) for leaf in (ours, theirs)]
        np.testing.assert_allclose(*wide, rtol=8 * ulp, atol=8 * ulp)


def test_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    tx = optdsl.load("adamw").optimizer(0.01)
    weights = weights_of(TREES["mixed"])
    half = train(tx, weights, tx.init(weights), 0, 50)
    path = tmp_path / "checkpoint"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, half)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(path, jax.tree.map(ocp.utils.to_shape_dtype_struct, half))
    resumed = jax.tree.leaves(train(tx, *restored, 50, 100))
    for one, other in zip(resumed, jax.tree.leaves(train(tx, *half, 50, 100)), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
