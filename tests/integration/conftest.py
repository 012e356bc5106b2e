"""Training runs around a transformation, to compare it with the same around one of optax."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optdsl

STEPS = 12

HERE = Path(__file__).parent


class Run(NamedTuple):
    """The weights and updates after each step, stacked, and the last state."""

    weights: Any
    updates: Any
    state: Any


def _weights() -> dict[str, Any]:
    random = np.random.default_rng(1)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    return {"dense": {"kernel": normal(4, 3), "bias": jnp.zeros(3)}, "scale": normal()}


WEIGHTS = _weights()


def loss(weights: Any, noise: Any, factor: Any) -> jax.Array:
    """A nonconvex loss, another one in every step."""
    terms = jax.tree.map(
        lambda w, n: jnp.sum(0.5 * (w - 0.3 * n) ** 2 + 0.6 * jnp.cos(1.5 * w + n)), weights, noise
    )
    return factor * sum(jax.tree.leaves(terms), start=jnp.zeros(()))


# Compiled once for all transformations: a compilation takes longer than a run.
value_and_gradient = jax.jit(jax.value_and_grad(loss))


def noise_like(weights: Any, step: int) -> Any:
    """The step's random numbers, of the weights' shapes and dtypes."""
    random = np.random.default_rng((7, step))
    return jax.tree.map(lambda w: jnp.asarray(random.normal(size=w.shape), w.dtype), weights)


@pytest.fixture
def weights() -> dict[str, Any]:
    """A small tree: a matrix, a vector that starts at zero, a number."""
    return jax.tree.map(jnp.copy, WEIGHTS)


@pytest.fixture(scope="session")
def gradient() -> Callable[..., Any]:
    """`gradient(weights, step)` of a loss that is another one in every step."""
    return lambda weights, step: value_and_gradient(weights, noise_like(weights, step), 1.0)[1]


@pytest.fixture(scope="session")
def train() -> Callable[..., Run]:
    """`train(tx)` takes 12 steps on a trajectory of its own.

    `spoiled` steps have a NaN in each gradient; `value=True` gives the loss as an extra argument;
    `between(step, state)` may change the state before a step.
    """

    def run(
        tx: Any,
        weights: Any = WEIGHTS,
        steps: int = STEPS,
        spoiled: tuple[int, ...] = (),
        value: bool = False,
        between: Callable[[int, Any], Any] = lambda step, state: state,
    ) -> Run:
        @jax.jit
        def update(gradients: Any, state: Any, weights: Any, **extra: Any) -> Any:
            updates, state = tx.update(gradients, state, weights, **extra)
            return optax.apply_updates(weights, updates), updates, state

        state = tx.init(weights)
        history: list[Any] = []
        for number in range(steps):
            state = between(number, state)
            found, gradients = value_and_gradient(
                weights, noise_like(weights, number), jnp.nan if number in spoiled else 1.0
            )
            extra = {"value": found} if value else {}
            weights, updates, state = update(gradients, state, weights, **extra)
            history.append((weights, updates))
        assert update._cache_size() == 1, "compiled again"
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *history)
        return Run(*stacked, state)

    return run


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """`assert_close(tree, expected)`: same structure, dtypes, and numbers up to rounding.

    Equal to `rtol` of each number or of the largest one in its array: where terms cancel, the
    rounding errors of the terms remain.
    """

    def compare(tree: Any, expected: Any, rtol: float = 1e-5) -> None:
        assert jax.tree.structure(tree) == jax.tree.structure(expected)
        for found, wanted in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
            assert jnp.asarray(found).dtype == jnp.asarray(wanted).dtype
            found, wanted = (np.asarray(leaf, np.float64) for leaf in (found, wanted))
            scale = np.nanmax(np.abs(wanted), initial=0.0)
            np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * scale)

    return compare


@pytest.fixture(scope="session")
def assert_equal() -> Callable[[Any, Any], None]:
    """`assert_equal(tree, expected)`: same structure, dtypes, and bits."""

    def compare(tree: Any, expected: Any) -> None:
        assert jax.tree.structure(tree) == jax.tree.structure(expected)
        for found, wanted in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
            assert jnp.asarray(found).dtype == jnp.asarray(wanted).dtype
            np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))

    return compare


@pytest.fixture(scope="session")
def run_script() -> Callable[..., None]:
    """`run_script(name, **environment)` runs a script of this folder in a process of its own."""

    def run(name: str, **environment: str) -> None:
        package = str(Path(optdsl.__file__).parents[1])
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
        environment = inherited | {"PYTHONPATH": package, "JAX_PLATFORMS": "cpu"} | environment
        command = [sys.executable, "-W", "error", str(HERE / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    return run
