"""Training runs, to compare an optimizer with another implementation of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

STEPS = 100

RTOL = 1e-6


class Run(NamedTuple):
    """What a run left: for each leaf, its weights and its updates in every step, stacked."""

    weights: list[np.ndarray]
    updates: list[np.ndarray]


def _weights(rng: np.random.Generator) -> dict[str, Any]:
    """0 to 4 dimensions, and a bias that starts at zero."""

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {
        "layers": [normal(3, 4), jnp.zeros(4, jnp.float32)],
        "scale_and_kernels": (normal(), normal(2, 3, 4), normal(2, 2, 3, 2)),
    }


_rng = np.random.default_rng(20230213)

WEIGHTS = _weights(_rng)

NOISE = [
    jax.tree.map(lambda w: jnp.asarray(_rng.normal(size=w.shape), w.dtype), WEIGHTS)
    for _ in range(STEPS)
]
for _noise in NOISE[:5]:
    _noise["layers"][1] = jnp.zeros_like(_noise["layers"][1])


@jax.jit
def _gradients(weights: Any, noise: Any) -> Any:
    """Of the nonconvex 0.5 (w - 0.3 n)^2 + 0.6 cos(1.5 w + n), another one in every step.

    Its curvature, from -0.35 to 2.35, is small enough that a difference in the last bit does not
    grow by orders of magnitude in 100 steps. Where there is no noise, the gradient is 0: so the
    bias begins with norms of 0, which trust ratios and denominators must bear.
    """

    def gradient(w: jax.Array, n: jax.Array) -> jax.Array:
        return jnp.where(n == 0, 0, w - 0.3 * n - 0.9 * jnp.sin(1.5 * w + n))

    return jax.tree.map(gradient, weights, noise)


_apply_updates = jax.jit(optax.apply_updates)


def _stack(history: Sequence[list[Any]]) -> list[np.ndarray]:
    return [np.stack(leaf) for leaf in zip(*history, strict=True)]


@pytest.fixture(scope="session")
def train() -> Callable[..., Run]:
    """`train(optimizer)` runs it on its own trajectory, `part` on one entry of the tree."""

    def run(
        optimizer: optax.GradientTransformation, part: str | None = None, jit: bool = True
    ) -> Run:
        update = jax.jit(optimizer.update) if jit else optimizer.update
        weights = WEIGHTS[part] if part else WEIGHTS
        state = optimizer.init(weights)
        history: list[tuple[Any, Any]] = []
        for noise in NOISE:
            gradients = _gradients(weights, noise[part] if part else noise)
            updates, state = update(gradients, state, weights)
            weights = _apply_updates(weights, updates)
            history.append((jax.tree.leaves(weights), jax.tree.leaves(updates)))
        weights_history, updates_history = zip(*history, strict=True)
        return Run(_stack(weights_history), _stack(updates_history))

    return run


@pytest.fixture(scope="session")
def assert_same() -> Callable[..., None]:
    """`assert_same(run, expected)` compares all weights and updates of two runs."""

    def compare(
        run: Run, expected: Run, updates_of_weights: bool = False, amplification: float = 1.0
    ) -> None:
        assert max(np.ptp(leaf, axis=0).max() for leaf in expected.weights) > 0.01, "nothing moved"
        for weights, wanted in zip(run.weights, expected.weights, strict=True):
            _assert_close(weights, wanted, np.abs(wanted).max(), amplification)
        for i, (updates, wanted) in enumerate(zip(run.updates, expected.updates, strict=True)):
            scaled = expected.weights[i] if updates_of_weights else wanted
            _assert_close(updates, wanted, np.abs(scaled).max(), amplification)

    return compare


def _assert_close(
    values: np.ndarray, expected: np.ndarray, scale: float, amplification: float
) -> None:
    """Equal to RTOL of each number, or of `scale`, the largest number of the tensor over the run;
    to so many times more where rounding errors are amplified.

    The second is for numbers that pass through zero, where rounding errors of the terms that cancel
    remain: float32 keeps about 6e-8 of the terms, not of their sum.
    """
    rtol = RTOL * amplification
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=rtol * float(scale))
