"""`digits_diffusion`: an MLP that finds the noise in noisy digits (Ho et al., 2020).

An image x and standard normal noise e of its shape give x_t = cos(πt/2) x + sin(πt/2) e, the cosine
schedule (Nichol & Dhariwal, 2021) without its offset. From x_t and t the network predicts e.
"""

import jax
import jax.numpy as jnp
import numpy as np

from optdsl.tasks.digits import EXAMPLES, PIXELS, apply, digits, mlp, part_indices
from optdsl.tasks.task import TEST, VALIDATION, PlanStep, Task, Weights, held_out

BATCH = 32

TIMES = np.linspace(0.02, 0.98, 49)
"""The times t; at 0 there would be nothing to find, at 1 nothing to find it by."""

NOISES = 4096
"""Training draws from so many noises, so that a plan is three small integers an example."""

FREQUENCIES = (0.5, 1.0, 2.0)
FEATURES = 2 * len(FREQUENCIES)


def features(times: jax.Array) -> jax.Array:
    """What the network sees of the times: shape (n,) gives (n, 6)."""
    angles = jnp.pi * times[:, None] * jnp.asarray(FREQUENCIES)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=1)


def noisy(images: jax.Array, noise: jax.Array, times: jax.Array) -> jax.Array:
    """x_t of shape (n, 64), for images and noise of that shape and times of shape (n,)."""
    angle = jnp.pi / 2 * times[:, None]
    return jnp.cos(angle) * images + jnp.sin(angle) * noise


def predict(weights: Weights, inputs: jax.Array, times: jax.Array) -> jax.Array:
    """The noise in x_t: shapes (n, 64) and (n,) give (n, 64).

    The network adds to sin(πt/2) x_t, the best guess where pixels were independent of each other
    and standard normal as the noise is.
    """
    seen = jnp.concatenate([inputs, features(times)], axis=1)
    guess = jnp.sin(jnp.pi / 2 * times[:, None]) * inputs
    return guess + apply(weights, seen)


def error(weights: Weights, images: jax.Array, noise: jax.Array, times: jax.Array) -> jax.Array:
    """The mean squared error of the predicted noise: a scalar."""
    return jnp.mean((predict(weights, noisy(images, noise, times), times) - noise) ** 2)


def digits_diffusion(name: str, doc: str, hidden: int, steps: int) -> Task:
    """Denoising by the MLP 70-hidden-64, with the name, line and size of the table.

    For each step, a plan has 32 numbers of images, noises and times: int32 of shape (steps, 3, 32).
    """
    pixels, _ = digits()
    images = jnp.asarray(pixels.reshape(EXAMPLES, PIXELS), jnp.float32) / 8 - 1
    rows = {part: jnp.asarray(found) for part, found in part_indices().items()}
    train, times = images[rows["train"]], jnp.asarray(TIMES, jnp.float32)
    noises = jax.random.normal(jax.random.key(0), (NOISES, PIXELS))
    parts = {
        part: _held_out(jax.random.key(seed), images[rows[part]])
        for seed, part in enumerate((VALIDATION, TEST), start=1)
    }

    def init(key: jax.Array) -> Weights:
        return mlp(key, PIXELS + FEATURES, hidden, PIXELS)

    def plan(key: jax.Array) -> jax.Array:
        bounds = jnp.asarray([[len(train)], [NOISES], [len(TIMES)]])
        return jax.random.randint(key, (steps, 3, BATCH), 0, bounds, jnp.int32)

    def loss(weights: Weights, batch: PlanStep) -> jax.Array:
        image, noise, time = batch
        return error(weights, train[image], noises[noise], times[time])

    def score(weights: Weights, part: str) -> jax.Array:
        return -error(weights, *held_out(parts, part))

    return Task(name, doc, steps, init, plan, loss, score, learning_rate=0.01)


def _held_out(key: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A part's images, with noises of their own and all times in turn."""
    times = jnp.asarray(np.resize(TIMES, len(images)), jnp.float32)
    return images, jax.random.normal(key, images.shape), times
