"""The quadratic: a tree with every rank of leaf, deterministic, and soon solved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optdsl.tasks import Task, get_task
from optdsl.tasks.quadratic import CURVATURE, TARGET, flat, tree


@pytest.fixture(scope="module")
def task() -> Task:
    return get_task("quadratic")


def test_the_tree_has_leaves_of_every_rank(task: Task) -> None:
    leaves = jax.tree.leaves(task.init(jax.random.key(0)))
    assert sorted(leaf.shape for leaf in leaves) == [(), (3, 4), (5,)]
    assert all(leaf.dtype == jnp.float32 and not leaf.weak_type for leaf in leaves)
    assert jnp.array_equal(flat(tree(jnp.arange(18))), jnp.arange(18))


def test_the_same_key_gives_the_same_run(task: Task) -> None:
    for made in (task.init, task.plan):
        same, other = made(jax.random.key(1)), made(jax.random.key(2))
        assert jax.tree.all(jax.tree.map(jnp.array_equal, same, made(jax.random.key(1))))
        assert not jax.tree.all(jax.tree.map(jnp.array_equal, same, other))


def test_the_gradient_is_exact_but_for_the_noise(task: Task) -> None:
    weights, plan = task.init(jax.random.key(0)), task.plan(jax.random.key(1))
    assert plan.shape == (task.steps, 18)
    exact = CURVATURE * (np.asarray(flat(weights)) - TARGET)
    slope = flat(jax.grad(task.loss)(weights, plan[0]))
    np.testing.assert_allclose(slope, exact + plan[0], rtol=1e-4, atol=1e-5)


def test_sgd_converges(task: Task) -> None:
    def step(weights: object, at: tuple[jax.Array, jax.Array]) -> tuple[object, None]:
        t, noise = at
        rate = task.learning_rate * task.schedule(t)
        slope = jax.grad(task.loss)(weights, noise)
        return jax.tree.map(lambda w, g: w - rate * g, weights, slope), None

    start = task.init(jax.random.key(0))
    plan = task.plan(jax.random.key(1))
    end, _ = jax.lax.scan(step, start, (jnp.arange(task.steps), plan))
    for part in ("validation", "test"):
        assert task.score(start, part) < -10
        assert -0.5 < task.score(end, part) < 0


def test_the_parts_differ_slightly(task: Task) -> None:
    weights = tree(jnp.asarray(TARGET))
    validation, test = (task.score(weights, part) for part in ("validation", "test"))
    assert validation != test
    assert -0.1 < validation < 0
    assert -0.1 < test < 0
    with pytest.raises(ValueError, match="not `train`"):
        task.score(weights, "train")
