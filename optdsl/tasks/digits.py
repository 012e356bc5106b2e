"""`digits_mlp`: 8x8 handwritten digits and a multilayer perceptron.

The data set is a file of the package; `data/README.md` names its source and licence.
"""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from optdsl.tasks.task import Part, Task, Weights, supervised

EXAMPLES = 1797
PIXELS = 64
CLASSES = 10
BATCH = 32

PARTS = {"train": 1077, "validation": 360, "test": 360}
"""How many examples each part takes of `permutation()`, in this order."""


@cache
def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images, uint8 of shape (1797, 8, 8) with values 0 to 16, and labels, uint8 of shape (1797,).

    Read once. From the UCI Machine Learning Repository (Alpaydin & Kaynak, 1998).
    """
    with (files("optdsl.tasks") / "data" / "digits.npz").open("rb") as file, np.load(file) as data:
        return data["images"], data["labels"]


def permutation() -> list[int]:
    """The order in which the examples go to the parts, by the hash of their numbers.

    The data set's own order is by writer. A hash and not a random generator: the same on every
    machine and in every release of NumPy.
    """
    return sorted(range(EXAMPLES), key=lambda i: hashlib.sha256(f"digits {i}".encode()).digest())


def part_indices() -> dict[str, list[int]]:
    """Which examples belong to which part."""
    order, start, indices = permutation(), 0, dict[str, list[int]]()
    for part, count in PARTS.items():
        indices[part] = order[start : start + count]
        start += count
    return indices


class Labelled(TypedDict):
    """What `supervised` takes of a data set."""

    train: Part
    validation: Part
    test: Part


def labelled(inputs: np.ndarray[Any, Any]) -> Labelled:
    """The parts, with what a model sees of each example: inputs of shape (1797, ...)."""
    _, labels = digits()
    targets = labels.astype(np.int32)
    indices = part_indices()
    train, validation, test = ((inputs[rows], targets[rows]) for rows in indices.values())
    return Labelled(train=train, validation=validation, test=test)


def mlp(key: jax.Array, inputs: int, hidden: int, outputs: int) -> Weights:
    """Float32 weights for `apply`: He-normal kernels (He et al., 2015) and zero biases."""
    first, second = jax.random.split(key)
    return {"hidden": _layer(first, inputs, hidden), "output": _layer(second, hidden, outputs)}


def _layer(key: jax.Array, inputs: int, outputs: int) -> Weights:
    kernel = jax.nn.initializers.he_normal()(key, (inputs, outputs), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros(outputs, jnp.float32)}


def apply(weights: Weights, images: jax.Array) -> jax.Array:
    """An MLP's outputs: inputs of shape (n, inputs) give (n, outputs)."""
    hidden, output = weights["hidden"], weights["output"]
    active = jax.nn.relu(images @ hidden["kernel"] + hidden["bias"])
    return active @ output["kernel"] + output["bias"]


def digits_mlp(name: str, doc: str, hidden: int, steps: int) -> Task:
    """Classification by the MLP 64-hidden-10, with the name, line and size of the table."""
    images, _ = digits()
    inputs = images.reshape(EXAMPLES, PIXELS).astype(np.float32) / 16
    return supervised(
        name,
        doc,
        lambda key: mlp(key, PIXELS, hidden, CLASSES),
        apply,
        **labelled(inputs),
        batch_size=BATCH,
        steps=steps,
    )
