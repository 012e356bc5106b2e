"""`sparse_regression`: linear regression from fewer examples than inputs, of which few matter.

What the lasso is for (Tibshirani, 1996): least squares fits the noise, and shrinking all weights
alike (ridge regression, AdamW's decay) shrinks those that matter too. Each seed has examples of its
own, so a program can't learn them by heart.
"""

import jax
import jax.numpy as jnp
import numpy as np

from optdsl.tasks.task import TEST, VALIDATION, PlanStep, Task, Weights, batches, held_out

BATCH = 20
POOL, HELD_OUT = 4096, 1000
"""A seed's examples are drawn from so many; so many are in each held-out part."""

MATTER, EXAMPLES = 0.08, 0.6
"""For each input."""

LARGEST, SMALLEST = 2.0, 0.5
"""The true weights that are not 0, whose signs alternate."""

NOISE = 0.3
"""Standard deviation of what is added to the training part's outputs."""


def truth(inputs: int) -> np.ndarray:
    """The true weights: shape (inputs,), 0 but for the first 8 % of them."""
    count = round(MATTER * inputs)
    sizes = np.geomspace(LARGEST, SMALLEST, count) * (-1.0) ** np.arange(count)
    return np.pad(sizes, (0, inputs - count))


def error(weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean squared error for x of shape (n, inputs) and y of shape (n,): a scalar."""
    return jnp.mean((x @ weights["kernel"] - y) ** 2)


def sparse_regression(name: str, doc: str, inputs: int, steps: int) -> Task:
    """The task, with the name, line and size of the table.

    The inputs are independent and standard normal; a plan has each step's examples, int32 of shape
    (steps, 20). A score is minus the decimal logarithm of the error on outputs without noise.
    """
    true = jnp.asarray(truth(inputs), jnp.float32)

    def examples(seed: int, count: int, noise: float) -> tuple[jax.Array, jax.Array]:
        for_x, for_noise = jax.random.split(jax.random.key(seed))
        x = jax.random.normal(for_x, (count, inputs))
        return x, x @ true + noise * jax.random.normal(for_noise, (count,))

    pool = examples(0, POOL, NOISE)
    parts = {part: examples(seed, HELD_OUT, 0.0) for part, seed in ((VALIDATION, 1), (TEST, 2))}

    def init(key: jax.Array) -> Weights:
        return {"kernel": jax.random.normal(key, (inputs,)) / 10}

    def plan(key: jax.Array) -> jax.Array:
        for_examples, for_batches = jax.random.split(key)
        count = round(EXAMPLES * inputs)
        own = jax.random.permutation(for_examples, POOL)[:count].astype(jnp.int32)
        return own[batches(for_batches, count, BATCH, steps)]

    def loss(weights: Weights, batch: PlanStep) -> jax.Array:
        x, y = pool
        return error(weights, x[batch], y[batch])

    def score(weights: Weights, part: str) -> jax.Array:
        return -jnp.log10(error(weights, *held_out(parts, part)))

    return Task(name, doc, steps, init, plan, loss, score, learning_rate=0.1)
