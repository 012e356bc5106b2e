"""Denoising digits: what is added is what is to be found, and it can be learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optdsl.tasks import Task, get_task
from optdsl.tasks.diffusion import BATCH, NOISES, TIMES, error, noisy


@pytest.fixture(scope="module")
def task() -> Task:
    return get_task("digits_diffusion")


def test_noise_comes_in_as_the_image_goes() -> None:
    images, noise = jnp.full((3, 64), 2.0), jnp.full((3, 64), -4.0)
    found = noisy(images, noise, jnp.asarray([0.0, 0.5, 1.0]))
    expected = np.asarray([2.0, (2.0 - 4.0) / np.sqrt(2), -4.0])[:, None]
    np.testing.assert_allclose(found, np.broadcast_to(expected, (3, 64)), rtol=1e-6, atol=1e-6)


def test_without_weights_it_is_the_best_guess_for_independent_pixels(task: Task) -> None:
    """Whose error is cos², the share of the image in the variance of what is seen."""
    weights = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0)))
    images, noise = jax.random.normal(jax.random.key(1), (2, 2000, 64))
    for time in (0.0, 0.5, 0.9):
        found = error(weights, images, noise, jnp.full(2000, time))
        np.testing.assert_allclose(found, np.cos(np.pi / 2 * time) ** 2, rtol=0.02)


def test_the_plan_draws_from_everything(task: Task) -> None:
    plan = task.plan(jax.random.key(0))
    assert (plan.shape, plan.dtype) == ((task.steps, 3, BATCH), jnp.int32)
    assert plan.min(axis=(0, 2)).tolist() == [0, 0, 0]
    assert (plan.max(axis=(0, 2)) >= jnp.asarray([1070, NOISES - 5, len(TIMES) - 1])).all()
    assert (plan.max(axis=(0, 2)) < jnp.asarray([1077, NOISES, len(TIMES)])).all()


def test_it_is_learned(task: Task) -> None:
    tx = optax.adamw(lambda step: 0.01 * task.schedule(step))

    @jax.jit
    def train(weights: object, plan: jax.Array) -> object:
        def step(carry: tuple[object, object], batch: jax.Array) -> tuple[object, None]:
            weights, state = carry
            updates, state = tx.update(jax.grad(task.loss)(weights, batch), state, weights)
            return (optax.apply_updates(weights, updates), state), None

        (weights, _), _ = jax.lax.scan(step, (weights, tx.init(weights)), plan)
        return weights

    start = task.init(jax.random.key(0))
    end = train(start, task.plan(jax.random.key(1)))
    guess = jax.tree.map(jnp.zeros_like, start)
    for part in ("validation", "test"):
        assert task.score(start, part) < task.score(guess, part) < task.score(end, part) - 0.03
