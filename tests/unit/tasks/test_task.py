"""The contract, the schedule, and tasks made of labelled arrays."""

import math
from dataclasses import FrozenInstanceError
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optdsl.tasks.task import Task, batches, cosine, log_likelihood, supervised


def made(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "tiny",
        "doc": "a single weight",
        "steps": 10,
        "init": lambda key: jnp.zeros(()),
        "plan": lambda key: jnp.zeros(10),
        "loss": lambda weights, step: weights**2 + step,
        "score": lambda weights, part: -(weights**2),
        "learning_rate": 0.1,
    }
    return Task(**{**fields, **changes})


def linear(**changes: Any) -> Task:
    """Two classes, told apart by the sign of one number."""
    x = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
    labels = (x[:, 0] > 0).astype(np.int64)
    train, held = np.arange(12) % 6 != 2, np.arange(12) % 6 == 2
    fields: dict[str, Any] = {
        "name": "sign",
        "doc": "the sign of a number",
        "init": lambda key: {"kernel": jnp.zeros((1, 2))},
        "apply": lambda weights, x: x @ weights["kernel"],
        "train": (x[train], labels[train]),
        "validation": (x[held], labels[held]),
        "test": (x[held], labels[held]),
        "batch_size": 4,
        "steps": 7,
    }
    return supervised(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "a task needs a name"),
        ({"steps": 0}, "steps of task `tiny` must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "must be finite and positive, not 0.0"),
        ({"learning_rate": math.inf}, "must be finite and positive, not inf"),
        ({"learning_rate": math.nan}, "must be finite and positive, not nan"),
        ({"explode": -1.0}, "explode of task `tiny` must be positive"),
    ],
)
def test_a_task_checks_its_fields(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_a_task_is_frozen_and_its_own_key() -> None:
    task = made()
    with pytest.raises(FrozenInstanceError):
        task.steps = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert task != made()
    assert {task: 1}[task] == 1


def test_the_default_schedule_spans_the_steps() -> None:
    steps = jnp.arange(11)
    assert jnp.array_equal(made().schedule(steps), cosine(10)(steps))
    assert made(schedule=jnp.ones_like).schedule(jnp.asarray(3.0)) == 1.0


def test_cosine_warms_up_and_decays() -> None:
    schedule = cosine(100, warmup=4)
    np.testing.assert_allclose(schedule(jnp.arange(5)), [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    values = np.asarray(schedule(jnp.arange(4, 101)))
    assert (np.diff(values) < 0).all()
    assert schedule(jnp.asarray(52)) == pytest.approx(0.5)
    assert values[-1] == pytest.approx(0, abs=1e-6)
    assert schedule(jnp.asarray(200)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 300])
def test_cosine_lies_between_0_and_1_and_never_wastes_a_step(steps: int) -> None:
    values = cosine(steps)(jnp.arange(steps))
    assert values.dtype == jnp.float32
    assert not values.weak_type
    assert ((values > 0) & (values <= 1)).all()
    assert jnp.array_equal(jax.jit(cosine(steps))(jnp.arange(steps, dtype=jnp.float32)), values)


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_cosine_refuses_a_warmup_that_does_not_fit(warmup: int) -> None:
    with pytest.raises(ValueError, match="warmup must be at least 0 and below the 10 steps"):
        cosine(10, warmup)


@pytest.mark.parametrize(("examples", "batch_size", "steps"), [(10, 4, 7), (12, 4, 9), (3, 8, 5)])
def test_batches_cover_each_epoch_without_repeats(
    examples: int, batch_size: int, steps: int
) -> None:
    plan = batches(jax.random.key(0), examples, batch_size, steps)
    assert plan.shape == (steps, batch_size)
    assert plan.dtype == jnp.int32
    drawn = np.asarray(plan).reshape(-1)
    for start in range(0, len(drawn), examples):
        epoch = drawn[start : start + examples]
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(range(examples))


def test_each_epoch_has_its_own_order() -> None:
    first, second = batches(jax.random.key(0), 50, 50, 2)
    assert not jnp.array_equal(first, second)


def test_the_plan_is_a_function_of_the_key() -> None:
    task = linear()
    plan = task.plan(jax.random.key(3))
    assert jnp.array_equal(plan, task.plan(jax.random.key(3)))
    assert jnp.array_equal(plan, jax.jit(task.plan)(jax.random.key(3)))
    assert not jnp.array_equal(plan, task.plan(jax.random.key(4)))


def test_log_likelihood_is_the_mean_log_probability() -> None:
    logits = jnp.log(jnp.asarray([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    expected = (math.log(0.25) + math.log(0.8)) / 2
    assert log_likelihood(logits, jnp.asarray([1, 2])) == pytest.approx(expected)


def test_log_likelihood_allows_impossible_classes() -> None:
    value, slope = jax.value_and_grad(log_likelihood)(
        jnp.asarray([[0.0, 0.0, -jnp.inf]]), jnp.asarray([0])
    )
    assert value == pytest.approx(math.log(0.5))
    np.testing.assert_allclose(slope, [[0.5, -0.5, 0.0]])


def test_supervised_trains_and_scores() -> None:
    task = linear()
    weights, plan = task.init(jax.random.key(0)), task.plan(jax.random.key(1))
    assert task.score(weights, "validation") == pytest.approx(math.log(0.5))
    assert task.loss(weights, plan[0]) == pytest.approx(-math.log(0.5))
    for step in plan:
        slope = jax.grad(task.loss)(weights, step)
        weights = jax.tree.map(lambda w, g: w - g, weights, slope)
    for part in ("validation", "test"):
        score = task.score(weights, part)
        assert score.shape == ()
        assert score > -0.5


def test_supervised_takes_labels_of_any_rank() -> None:
    tokens = np.arange(12).reshape(3, 4) % 5
    part, other = (tokens, (tokens + 1) % 5), (tokens, (tokens + 2) % 5)
    task = linear(
        init=lambda key: jnp.zeros((5, 5)),
        apply=lambda weights, x: weights[x],
        train=part,
        validation=other,
        test=other,
    )
    weights = task.init(jax.random.key(0))
    assert task.loss(weights, jnp.asarray([0, 2])) == pytest.approx(math.log(5))


def test_a_score_is_of_a_held_out_part() -> None:
    task = linear()
    with pytest.raises(ValueError, match="`validation` or `test`, not `train`"):
        task.score(task.init(jax.random.key(0)), "train")


X, Y = np.ones((3, 1), np.float32), np.asarray([0, 1, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": (X, Y[:2])}, r"the train part must have as many inputs as labels.*\(2,\)"),
        ({"test": (X[:0], Y[:0])}, "the test part must have .* at least one"),
        ({"test": (X, Y.astype(np.float32))}, "the test part must be integers, not float32"),
        ({"validation": (X, Y + 1)}, r"the validation part must lie in 0\.\.1.*1\.\.2"),
        ({"train": (X, Y - 1)}, r"the train part must lie in 0\.\.1.*-1\.\.0"),
        ({"apply": lambda weights, x: x[:, 0]}, r"logits of shape \(10?,\) for the train part"),
        (
            {"train": (X * math.nan, Y)},
            "the inputs of the train part must be finite: number 0 is not",
        ),
        ({"train": (X, Y), "test": (X[1:], Y[1:])}, "the test part lies in the training part"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"steps": 0}, "steps of task `sign` must be at least 1"),
    ],
)
def test_supervised_checks_what_it_is_given(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear(**changes)
