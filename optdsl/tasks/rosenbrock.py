"""`rosenbrock`: a curved valley (Rosenbrock, 1960) of eight weights, for tests.

f(x) = sum of (x[i+1] - x[i]²)² + (a - x[i])² / 100, in the chained form and divided by a hundred.
Training is on a = 1 with noise in the gradient from the plan, the held-out parts on an a beside it.
"""

import jax
import jax.numpy as jnp

from optdsl.tasks.task import TEST, VALIDATION, PlanStep, Task, Weights, held_out

SIZE = 8
NOISE = 0.01
"""Standard deviation of each number of the gradient."""

ENDS = {VALIDATION: 1.01, TEST: 0.99}
"""The parts' a: where their valley ends."""


def valley(weights: Weights, end: float) -> jax.Array:
    """The height at the weights, a scalar; 0 at its end, where all are 1 if `end` is 1."""
    x = flat(weights)
    return jnp.sum((x[1:] - x[:-1] ** 2) ** 2 + (end - x[:-1]) ** 2 / 100)


def flat(weights: Weights) -> jax.Array:
    """The eight numbers in order: float32 of shape (8,)."""
    return jnp.concatenate([weights["head"], weights["tail"].ravel()])


def init(key: jax.Array) -> Weights:
    """Weights about (-1.2, 1, -1.2, 1, ...), the usual start, as a vector and a 2x2 matrix."""
    x = jnp.tile(jnp.asarray([-1.2, 1.0]), SIZE // 2) + 0.1 * jax.random.normal(key, (SIZE,))
    return {"head": x[:4], "tail": x[4:].reshape(2, 2)}


def score(weights: Weights, part: str) -> jax.Array:
    """Minus the height in the part's valley."""
    return -valley(weights, held_out(ENDS, part))


def rosenbrock(name: str, doc: str, steps: int) -> Task:
    """The task, with the name, line and size of the table."""

    def plan(key: jax.Array) -> jax.Array:
        """Each step's gradient noise: float32 of shape (steps, 8)."""
        return NOISE * jax.random.normal(key, (steps, SIZE))

    def loss(weights: Weights, noise: PlanStep) -> jax.Array:
        return valley(weights, 1.0) + jnp.dot(noise, flat(weights))

    return Task(name, doc, steps, init, plan, loss, score, learning_rate=0.1)
