"""How flat the loss is where training ends (appendix G of the paper, Table 10).

L_train is the loss on the training data, L_train^N its mean over weights with Gaussian noise (Chen
et al., 2022): the smaller their difference, the flatter the landscape.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from optdsl.comparison.tune import REPORT_SEEDS, Tuned
from optdsl.tasks.evaluation import seed_data
from optdsl.tasks.task import Task

NOISES = 100
"""How many times noise is drawn for each run; the paper draws 1,000 times for one."""


@dataclass(frozen=True)
class Flatness:
    """Training losses of a tuned program's runs, one for each seed."""

    deviation: float
    """The noise's standard deviation."""
    loss: tuple[float, ...]
    noisy_loss: tuple[float, ...]

    @property
    def sharpness(self) -> tuple[float, ...]:
        """What noise costs, seed by seed."""
        return tuple(n - loss for n, loss in zip(self.noisy_loss, self.loss, strict=True))


def flatness(tuned: Tuned, deviation: float, noises: int = NOISES) -> Flatness:
    """Measure the flatness at the ends of a tuned program's runs on fresh seeds.

    Args:
        tuned: its runs hold the trained weights.
        deviation: the noise's standard deviation.
        noises: how many times it is drawn.
    """
    measure = jax.jit(partial(_losses, tuned.task, noises))
    pairs = [
        measure(run.weights, seed_data(tuned.task, seed).plan, jax.random.key(seed), deviation)
        for seed, run in zip(REPORT_SEEDS, tuned.runs, strict=False)
    ]
    loss, noisy = zip(*((float(a), float(b)) for a, b in pairs), strict=True)
    return Flatness(deviation, loss, noisy)


def _losses(
    task: Task, noises: int, weights: Any, plan: Any, key: jax.Array, deviation: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The mean loss over a plan's steps: of the weights, and of noisy ones."""
    leaves, structure = jax.tree.flatten(weights)

    def loss(leaves: list[jax.Array]) -> jax.Array:
        tree = jax.tree.unflatten(structure, leaves)
        return jnp.mean(lax.map(lambda step: task.loss(tree, step), plan))

    def noisy(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(leaves))
        pairs = zip(leaves, keys, strict=True)
        return loss([x + deviation * jax.random.normal(k, x.shape, x.dtype) for x, k in pairs])

    return loss(leaves), jnp.mean(lax.map(noisy, jax.random.split(key, noises)))
