"""Few inputs matter, a seed has few examples, and a sparse answer is the better one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.parsed import program_of

from optdsl.tasks import Task, get_task
from optdsl.tasks.evaluation import compiled_program
from optdsl.tasks.sparse import BATCH, POOL, truth


@pytest.fixture(scope="module")
def task() -> Task:
    return get_task("sparse_regression")


def test_the_truth_is_sparse() -> None:
    weights = truth(100)
    assert np.flatnonzero(weights).tolist() == list(range(8))
    assert (np.sign(weights[:8]) == [1, -1] * 4).all()
    assert (np.abs(weights[0]), np.abs(weights[7])) == pytest.approx((2.0, 0.5))
    assert np.count_nonzero(truth(400)) == 32


def test_a_score_is_how_near_the_truth_is(task: Task) -> None:
    """Inputs are independent: the error is the squared distance."""
    off = jnp.zeros(100).at[50].set(0.1)
    weights = {"kernel": jnp.asarray(truth(100), jnp.float32) + off}
    for part in ("validation", "test"):
        assert task.score(weights, part) == pytest.approx(2.0, abs=0.05)


def test_each_seed_has_examples_of_its_own(task: Task) -> None:
    plans = [task.plan(jax.random.key(seed)) for seed in (0, 1)]
    assert plans[0].shape == (task.steps, BATCH)
    assert plans[0].dtype == jnp.int32
    seen = [set(np.unique(plan).tolist()) for plan in plans]
    assert [len(examples) for examples in seen] == [60, 60]
    assert len(seen[0] & seen[1]) < 10
    assert max(seen[0] | seen[1]) < POOL


def test_shrinking_by_the_sign_beats_shrinking_in_proportion(task: Task) -> None:
    """The lasso's step beside ridge regression's, each with the best of its strengths."""

    def score(penalty: str) -> float:
        program = program_of("w, g, lr, c=0", f"return lr * (g + c * {penalty})")
        tests = [
            compiled_program(task, program, 0.05, {"c": strength})(0)[1]
            for strength in (0.03, 0.1, 0.3, 1.0)
        ]
        return max(tests)

    assert score("sign(w)") > score("w") + 0.5
