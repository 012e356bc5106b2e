"""The curved valley."""

import jax
import jax.numpy as jnp
import pytest

from optdsl.tasks import get_task
from optdsl.tasks.rosenbrock import flat, valley


def test_the_valley_ends_at_ones() -> None:
    ones = {"head": jnp.ones(4), "tail": jnp.ones((2, 2))}
    assert valley(ones, 1.0) == 0
    assert jnp.all(flat(jax.grad(lambda w: valley(w, 1.0))(ones)) == 0)
    task = get_task("rosenbrock")
    for part in ("validation", "test"):
        assert task.score(ones, part) == pytest.approx(-7 * 0.01**2 / 100, rel=1e-3)


def test_it_is_rosenbrocks_function_divided_by_a_hundred() -> None:
    x = jnp.asarray([-1.2, 1, 0, 0, 0, 0, 0, 0])
    rest = (0 - 1**2) ** 2 + 5 / 100
    found = valley({"head": x[:4], "tail": x[4:].reshape(2, 2)}, 1.0)
    assert found == pytest.approx(24.2 / 100 + rest, rel=1e-5)
