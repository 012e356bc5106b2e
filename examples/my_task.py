"""A task of one's own: `optdsl evolve --task examples/my_task.py`."""

import jax
import jax.numpy as jnp
import numpy as np

import optdsl.tasks

random = np.random.RandomState(0)
x = random.standard_normal((600, 8)).astype(np.float32)
y = np.argmax(x @ random.standard_normal((8, 3)) + random.gumbel(size=(600, 3)), axis=1)


def init(key):
    """A linear classifier's weights."""
    return {"w": 0.1 * jax.random.normal(key, (8, 3)), "b": jnp.zeros(3)}


def apply(weights, inputs):
    """Its logits."""
    return inputs @ weights["w"] + weights["b"]


task = optdsl.tasks.supervised(
    "mine", "Softmax regression.", init, apply, batch_size=32, steps=200,
    train=(x[:400], y[:400]), validation=(x[400:500], y[400:500]), test=(x[500:], y[500:]),
)  # fmt: skip
