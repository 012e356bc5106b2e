"""Several tasks as one."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest

from optdsl.frontend import find_source, load
from optdsl.tasks import find_task, get_task, joint
from optdsl.tasks.evaluation import BytecodeEvaluator, evaluate_jitted, seed_data
from optdsl.tasks.task import TEST, VALIDATION

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_each_is_trained_as_alone() -> None:
    """SGD on the joint loss is SGD on each, and the score is the mean of theirs."""
    tasks = [get_task("rosenbrock"), get_task("rosenbrock")]
    both = joint("both", "the same twice", tasks, [1.0, 2.0])
    weights, plan = seed_data(both, 0)
    at = jax.tree.map(lambda leaf: leaf[3], plan)
    gradients = jax.grad(both.loss)(weights, at)
    for task, own, read, gradient in zip(tasks, weights, at, gradients, strict=True):
        alone = jax.grad(task.loss)(own, read)
        jax.tree.map(np.testing.assert_array_equal, gradient, alone)
    for part in (VALIDATION, TEST):
        scores = [task.score(own, part) for task, own in zip(tasks, weights, strict=True)]
        expected = np.mean([scores[0] / 1.0, scores[1] / 2.0])
        np.testing.assert_allclose(both.score(weights, part), expected, rtol=1e-6)


def test_the_keys_of_its_tasks_differ() -> None:
    tasks = [get_task("rosenbrock"), get_task("rosenbrock")]
    (first, second), _ = seed_data(joint("both", "twice", tasks, [1.0, 1.0]), 0)
    assert not np.array_equal(*(jax.tree.leaves(one)[0] for one in (first, second)))


def test_the_example_is_trained_by_both_evaluators() -> None:
    task = find_task(EXAMPLES / "joint_task.py")
    program = load(find_source("lion"))
    machine = BytecodeEvaluator(task, (0,)).evaluate(program, 0.01)
    jitted = evaluate_jitted(task, program, (0,), 0.01)
    assert machine.validation == pytest.approx(jitted.validation, rel=0.05)


def test_what_does_not_fit_together() -> None:
    tasks = [get_task("rosenbrock"), get_task("quadratic")]
    with pytest.raises(ValueError, match="as many steps: `rosenbrock` 200, `quadratic` 50"):
        joint("both", "of other lengths", tasks, [1.0, 1.0])
    for spreads in ([], [1.0], [1.0, 0.0], [1.0, -1.0], [1.0, math.nan], [1.0, math.inf]):
        with pytest.raises(ValueError, match="a positive and finite spread for each"):
            joint("both", "without spreads", tasks, spreads)
    with pytest.raises(ValueError, match="needs tasks"):
        joint("none", "nothing", [], [])
    with pytest.raises(TypeError, match=r"needs tasks, not 'quadratic'; `optdsl\.tasks\.get_task"):
        joint("names", "no tasks", ["quadratic"], [1.0])  # pyright: ignore[reportArgumentType]


def test_what_is_given_may_change_later() -> None:
    spreads = [1.0]
    task = joint("one", "of a generator", (get_task(name) for name in ("quadratic",)), spreads)
    spreads.clear()
    assert evaluate_jitted(task, load(find_source("sgd")), (0,), 0.01).validation[0] < 0
