"""Several tasks as one, for searches whose finds should be good at all of them."""

import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from optdsl.tasks.task import Plan, PlanStep, Task, Weights


def joint(name: str, doc: str, tasks: Iterable[Task], spreads: Iterable[float]) -> Task:
    """A task whose weights are all of theirs, trained side by side by one program.

    Losses are added up, so each task's weights get the gradients that they get alone. Sums over the
    tree, such as a global norm, are over all of them. The score is the mean of the tasks' scores,
    each divided by its spread: what counts as much as the others' spreads. The learning rate and
    the schedule are the first task's.

    Args:
        name: of the task.
        doc: one line for lists of tasks.
        tasks: at least one, all of as many steps.
        spreads: a positive number for each.

    Raises:
        TypeError: if one is no task.
        ValueError: if steps differ, or the numbers are not as said.
    """
    tasks, spreads = tuple(tasks), tuple(spreads)
    for task in tasks:
        if not isinstance(task, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"a joint task needs tasks, not {task!r}; `optdsl.tasks.get_task(name)` gives one"
            )
    if not tasks or len(spreads) != len(tasks) or not all(0 < s < math.inf for s in spreads):
        raise ValueError("a joint task needs tasks, and a positive and finite spread for each")
    if len({task.steps for task in tasks}) > 1:
        told = ", ".join(f"`{task.name}` {task.steps}" for task in tasks)
        raise ValueError(f"the tasks of a joint task must have as many steps: {told}")

    def init(key: jax.Array) -> Weights:
        keys = jax.random.split(key, len(tasks))
        return [task.init(own) for task, own in zip(tasks, keys, strict=True)]

    def plan(key: jax.Array) -> Plan:
        keys = jax.random.split(key, len(tasks))
        return [task.plan(own) for task, own in zip(tasks, keys, strict=True)]

    def loss(weights: Weights, step: PlanStep) -> jax.Array:
        each = zip(tasks, weights, step, strict=True)
        return sum((task.loss(own, read) for task, own, read in each), start=jnp.zeros(()))

    def score(weights: Weights, part: str) -> jax.Array:
        each = zip(tasks, weights, spreads, strict=True)
        scores = [task.score(own, part) / spread for task, own, spread in each]
        return jnp.stack(scores).mean()

    first = tasks[0]
    return Task(
        name,
        doc,
        first.steps,
        init,
        plan,
        loss,
        score,
        first.learning_rate,
        first.schedule,
        max(task.explode for task in tasks),
    )
