"""`Task`: what a program's fitness is measured on.

A task is initial weights, a loss to train on, a plan of what each training step's loss reads, and a
score. All four are pure JAX functions, so that an evaluator may trace, scan and batch them as it
likes; all randomness comes from the two keys. A run with an update rule `update` is

    weights, plan = task.init(key_a), task.plan(key_b)
    for t in range(task.steps):
        step = jax.tree.map(lambda leaf: leaf[t], plan)
        weights = update(weights, jax.grad(task.loss)(weights, step))
    fitness = task.score(weights, "validation")

`supervised` makes a task of arrays with integer labels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

Weights: TypeAlias = Any
"""Any pytree of float arrays."""

Plan: TypeAlias = Any
"""A pytree whose leaves have a leading axis of length `Task.steps`."""

PlanStep: TypeAlias = Any
"""One step's slice of a plan: the same pytree, without the leading axis."""

Schedule: TypeAlias = Callable[[jax.Array], jax.Array]
"""From the 0-based step to the learning rate's multiplier, in [0, 1]."""

OVER_ALL_STEPS = cast(Schedule, None)
"""Stands for `cosine(steps)` where a task is made; no task that is made has it."""

Part: TypeAlias = tuple[Any, Any]
"""Inputs of shape (n, ...) and integer labels of shape (n,) or (n, ...)."""

T = TypeVar("T")

VALIDATION = "validation"
"""The part that fitness is measured on."""

TEST = "test"
"""The part that no search sees: only for reporting."""


@dataclass(frozen=True, eq=False)
class Task:
    """A training problem with a fixed budget.

    Compared and hashed by identity, so that a task can be a static argument of `jax.jit`.
    Raises `ValueError` for an empty name, `steps` below 1, or a `learning_rate` or `explode` that
    is not a positive number.
    """

    name: str
    doc: str
    """One line for lists of tasks."""
    steps: int
    """Training steps of one run."""
    init: Callable[[jax.Array], Weights]
    """From a PRNG key to initial weights."""
    plan: Callable[[jax.Array], Plan]
    """From a PRNG key to what each step's loss reads: batch indices, noise, ..."""
    loss: Callable[[Weights, PlanStep], jax.Array]
    """The differentiable training loss of one step, a scalar."""
    score: Callable[[Weights, str], jax.Array]
    """A scalar for the part `"validation"` or `"test"`; higher is better, NaN if weights are."""
    learning_rate: float
    """The peak learning rate of a program that brings none of its own."""
    schedule: Schedule = OVER_ALL_STEPS
    """Multiplier of the peak learning rate; by default `cosine(steps)`."""
    explode: float = 1e4
    """A run with a weight above this in absolute value has diverged."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a task needs a name")
        _require(f"steps of task `{self.name}`", self.steps, self.steps >= 1, "at least 1")
        rate = self.learning_rate
        positive = math.isfinite(rate) and rate > 0
        _require(f"learning_rate of task `{self.name}`", rate, positive, "finite and positive")
        _require(f"explode of task `{self.name}`", self.explode, self.explode > 0, "positive")
        # A default that depends on another field has no other place in a frozen dataclass.
        if self.schedule is OVER_ALL_STEPS:
            object.__setattr__(self, "schedule", cosine(self.steps))


def cosine(steps: int, warmup: int | None = None) -> Schedule:
    """A linear warm-up to 1, then half a cosine wave down to 0 at `steps` (Loshchilov & Hutter,
    2017).

    The warm-up takes `warmup` steps, by default a twentieth of `steps`, and starts above 0, so that
    the first step counts. The schedule takes integer or float arrays of any shape and gives float32
    of that shape. Raises `ValueError` unless 0 <= warmup < steps.
    """
    ramp = steps // 20 if warmup is None else warmup
    _require("warmup", ramp, 0 <= ramp < steps, f"at least 0 and below the {steps} steps")

    def schedule(step: jax.Array) -> jax.Array:
        at = jnp.asarray(step, jnp.float32)
        decayed = jnp.clip((at - ramp) / (steps - ramp), 0, 1)
        return jnp.minimum((at + 1) / (ramp + 1), 1) * (1 + jnp.cos(jnp.pi * decayed)) / 2

    return schedule


def supervised(
    name: str,
    doc: str,
    init: Callable[[jax.Array], Weights],
    apply: Callable[[Weights, jax.Array], jax.Array],
    *,
    train: Part,
    validation: Part,
    test: Part,
    batch_size: int,
    steps: int,
    learning_rate: float = 0.01,
    schedule: Schedule = OVER_ALL_STEPS,
    explode: float = 1e4,
) -> Task:
    """A classification task over arrays held in memory.

    `init` maps a PRNG key to weights; `apply` maps weights and inputs of shape (n, ...) to logits
    of the labels' shape and one more axis, the classes. Each part is inputs and integer labels,
    NumPy or JAX. The loss is the mean softmax cross entropy of a batch in nats, the score the mean
    log-likelihood of a whole part. The plan is int32 indices of shape (steps, batch_size).

    Raises `ValueError` for parts, logits or numbers that don't fit together, for inputs that are
    not finite, and for a held-out part that lies in the training part.
    """
    parts = {
        part: _checked(part, inputs, labels)
        for part, (inputs, labels) in (("train", train), (VALIDATION, validation), (TEST, test))
    }
    _require("batch_size", batch_size, batch_size >= 1, "at least 1")
    for part, (inputs, labels) in parts.items():
        _check_logits(part, init, apply, inputs, labels)
    for part in (VALIDATION, TEST):
        _check_apart(part, parts[part], parts["train"])
    train_inputs, train_labels = parts["train"]

    def plan(key: jax.Array) -> jax.Array:
        return batches(key, len(train_labels), batch_size, steps)

    def loss(weights: Weights, batch: jax.Array) -> jax.Array:
        return -log_likelihood(apply(weights, train_inputs[batch]), train_labels[batch])

    def score(weights: Weights, part: str) -> jax.Array:
        inputs, labels = held_out(parts, part)
        return log_likelihood(apply(weights, inputs), labels)

    return Task(
        name=name,
        doc=doc,
        steps=steps,
        init=init,
        plan=plan,
        loss=loss,
        score=score,
        learning_rate=learning_rate,
        schedule=schedule,
        explode=explode,
    )


def batches(key: jax.Array, examples: int, batch_size: int, steps: int) -> jax.Array:
    """Indices below `examples` for each step, drawn epoch by epoch without replacement.

    A fresh permutation for each epoch, one after the other, cut into rows: int32 of shape (steps,
    batch_size). Every run of `examples` indices that starts at a multiple of `examples` is a
    permutation, so a batch may reach from one epoch into the next.
    """
    epochs = math.ceil(steps * batch_size / examples)
    keys = jax.random.split(key, epochs)
    order = jax.vmap(lambda epoch: jax.random.permutation(epoch, examples))(keys)
    return order.reshape(-1)[: steps * batch_size].reshape(steps, batch_size).astype(jnp.int32)


def log_likelihood(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean log-probability of the labels, in nats: a scalar.

    `logits` has the shape of the integer `labels` and one more axis, the classes.
    """
    # Not a gather, whose gradient is a scatter; and no product, where 0 times -inf would be NaN.
    chosen = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.mean(jnp.sum(jax.nn.log_softmax(logits), axis=-1, where=chosen))


def held_out(values: Mapping[str, T], part: str) -> T:
    """The value of the part that a score is asked for; `ValueError` if it is another part."""
    if part not in (VALIDATION, TEST):
        raise ValueError(f"a score is of the part `{VALIDATION}` or `{TEST}`, not `{part}`")
    return values[part]


def _checked(part: str, inputs: Any, labels: Any) -> tuple[jax.Array, jax.Array]:
    """A part as JAX arrays."""
    x, y = np.asarray(inputs), np.asarray(labels)
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"the labels of the {part} part must be integers, not {y.dtype}")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(y) == 0:
        raise ValueError(
            f"the {part} part must have as many inputs as labels, and at least one: "
            f"its shapes are {x.shape} and {y.shape}"
        )
    if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        raise ValueError(f"the inputs of the {part} part must be finite: number {bad} is not")
    return jnp.asarray(x), jnp.asarray(y, jnp.int32)


def _check_apart(part: str, held: tuple[Any, Any], train: tuple[Any, Any]) -> None:
    """Raises where every example of a part is in the training part too."""
    if _digests(held) <= _digests(train):
        raise ValueError(
            f"the {part} part lies in the training part: hold out examples that are not trained on"
        )


def _digests(part: tuple[Any, Any]) -> set[int]:
    """One number for each example, the same for the same inputs and labels."""
    inputs, labels = map(np.asarray, part)
    return {hash(x.tobytes() + y.tobytes()) for x, y in zip(inputs, labels, strict=True)}


def _check_logits(
    part: str,
    init: Callable[[jax.Array], Weights],
    apply: Callable[[Weights, jax.Array], jax.Array],
    inputs: jax.Array,
    labels: jax.Array,
) -> None:
    """Raises unless `apply` gives logits that the part's labels can index; computes nothing."""
    logits = jax.eval_shape(lambda x: apply(init(jax.random.key(0)), x), inputs)
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"`apply` gives logits of shape {logits.shape} for the {part} part; they must have the "
            f"labels' shape, {labels.shape}, and one more axis, the classes"
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= logits.shape[-1]:
        raise ValueError(
            f"the labels of the {part} part must lie in 0..{logits.shape[-1] - 1}, one for each "
            f"of `apply`'s logits: they lie in {lowest}..{highest}"
        )


def _require(what: str, value: float, holds: bool, rule: str) -> None:
    """Raises `ValueError` where a number breaks its rule."""
    if not holds:
        raise ValueError(f"{what} must be {rule}, not {value}")
