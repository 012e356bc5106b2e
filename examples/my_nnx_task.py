"""A task with a model of flax's `nnx`:  optdsl train lion --task examples/my_nnx_task.py."""

import jax
import numpy as np
from flax import nnx

import optdsl.tasks

random = np.random.RandomState(0)
x = random.uniform(-2, 2, (600, 2)).astype(np.float32)
y = (np.hypot(*x.T) + random.normal(0, 0.1, 600) > 1.3).astype(int)


class Model(nnx.Module):
    """Whether a point lies outside of a circle."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(2, 16, rngs=rngs)
        self.output = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, points: jax.Array) -> jax.Array:
        """Logits of shape (n, 2) for points of shape (n, 2)."""
        return self.output(nnx.tanh(self.hidden(points)))


task = optdsl.tasks.supervised(
    "circle", "which points lie outside of a circle", *optdsl.tasks.from_nnx(Model),
    batch_size=32, steps=200,
    train=(x[:400], y[:400]), validation=(x[400:500], y[400:500]), test=(x[500:], y[500:]),
)  # fmt: skip
