"""`quadratic`: a noisy, ill-conditioned quadratic, small enough for tests.

Its 18 weights lie in a nested tree with a matrix, a vector and a single number. Each has its own
curvature, from 0.1 to 10. A step's gradient is the exact one plus noise from the plan.
"""

import jax
import jax.numpy as jnp
import numpy as np

from optdsl.tasks.task import TEST, VALIDATION, PlanStep, Task, Weights, held_out

SIZE = 18
CURVATURE = np.logspace(-1, 1, SIZE)
NOISE = 0.1
"""Standard deviation of each number of the gradient."""

TARGET = np.cos(np.arange(SIZE))
"""Where the training loss is least. The parts' targets lie beside it, as held-out data does."""
TARGETS = {
    VALIDATION: TARGET + 0.05 * np.sin(np.arange(SIZE)),
    TEST: TARGET + 0.05 * np.sin(2 * np.arange(SIZE)),
}


def tree(vector: jax.Array) -> Weights:
    """18 numbers as `{"inner": {"kernel": (3, 4), "bias": (5,)}, "scale": ()}`, float32."""
    numbers = jnp.asarray(vector, jnp.float32)
    inner = {"kernel": numbers[:12].reshape(3, 4), "bias": numbers[12:17]}
    return {"inner": inner, "scale": numbers[17]}


def flat(weights: Weights) -> jax.Array:
    """The inverse of `tree`: float32 of shape (18,)."""
    inner = weights["inner"]
    return jnp.concatenate([inner["kernel"].ravel(), inner["bias"], weights["scale"][None]])


def distance(weights: Weights, target: jax.Array) -> jax.Array:
    """Half the squared distance to the target, weighted by curvature: a scalar."""
    off = flat(weights) - jnp.asarray(target, jnp.float32)
    return jnp.sum(jnp.asarray(CURVATURE, jnp.float32) * off**2) / 2


def init(key: jax.Array) -> Weights:
    """Standard normal weights."""
    return tree(jax.random.normal(key, (SIZE,), jnp.float32))


def loss(weights: Weights, noise: PlanStep) -> jax.Array:
    """The distance to the training target, tilted by the step's noise."""
    return distance(weights, jnp.asarray(TARGET)) + jnp.dot(noise, flat(weights))


def score(weights: Weights, part: str) -> jax.Array:
    """Minus the distance to the part's target."""
    return -distance(weights, jnp.asarray(held_out(TARGETS, part)))


def quadratic(name: str, doc: str, steps: int) -> Task:
    """The task, with the name, line and size of the table."""

    def plan(key: jax.Array) -> jax.Array:
        """Each step's gradient noise: float32 of shape (steps, 18)."""
        return NOISE * jax.random.normal(key, (steps, SIZE), jnp.float32)

    return Task(name, doc, steps, init, plan, loss, score, learning_rate=0.1)
