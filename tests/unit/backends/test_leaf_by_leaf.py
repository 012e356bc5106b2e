"""A step that is one on each leaf is traced once for each shape, with the same bits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optdsl.backends import optax_transform, tracer
from optdsl.backends.jax_lowering import is_by_leaf
from optdsl.backends.optax_transform import optimizer_factory
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load
from optdsl.passes.fold import default_values
from optdsl.passes.pipeline import prepare

SHAPES = {"a": (3, 4), "b": (3, 4), "c": (5,), "d": (), "e": (2, 3, 4), "f": (5,)}


def arrays(seed: int, dtype: Any = jnp.float32) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


def program(name: str) -> Any:
    loaded = load(find_source(name))
    return prepare(loaded, default_values(loaded))


def steps(tx: optax.GradientTransformation) -> list[Any]:
    """Weights and states along three jitted steps."""

    @jax.jit
    def step(weights: Any, state: Any, gradients: Any) -> Any:
        update, state = tx.update(gradients, state, weights)
        return optax.apply_updates(weights, update), state

    weights, found = arrays(0), list[Any]()
    state = tx.init(weights)
    for i in range(3):
        weights, state = step(weights, state, arrays(i + 1))
        found += jax.tree.leaves((weights, state))
    return found


@pytest.mark.parametrize("name", ["lion", "adamw", "amsgrad", "adafactor", "sm3", "cocob", "muon"])
def test_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # XLA fuses into products of matrices what stands near them in the whole step.
    ulps = 4 if name == "muon" else 0
    assert is_by_leaf(program(name), *[list(arrays(0).values())] * 2)
    by_leaf = steps(optimizer_factory(load(find_source(name)))(0.01))
    monkeypatch.setattr(optax_transform, "is_by_leaf", lambda *_: False)
    whole = steps(optimizer_factory(load(find_source(name)))(0.01))
    for mine, other in zip(by_leaf, whole, strict=True):
        np.testing.assert_array_max_ulp(mine, other, ulps)


def traced_operations(count: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many functions are applied to array values while a step for equal leaves is traced."""
    calls: list[int] = []
    original = tracer.Tracer.apply

    def recording(self: Any, value: int, *args: Any) -> Any:
        calls.append(len(self.shapes))
        return original(self, value, *args)

    tx = optimizer_factory(load(find_source("adamw")))(0.01)
    leaves = [jnp.ones((3, 4))] * count
    state = tx.init(leaves)
    with monkeypatch.context() as patch:
        patch.setattr(tracer.Tracer, "apply", recording)
        jax.jit(tx.update).trace(leaves, state, leaves)
    return sum(calls)


def test_leaves_of_one_shape_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ten, twenty = (traced_operations(count, monkeypatch) for count in (10, 20))
    scalars = 5  # the bias corrections and the learning rate, which see all leaves
    assert twenty - ten == 10 * scalars


def test_eager_steps_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimizer made anew at each step, as by `inject_hyperparams`, would compile each time."""
    calls: list[object] = []
    original = optax_transform.each_leaf
    monkeypatch.setattr(
        optax_transform, "each_leaf", lambda *args: calls.append(args) or original(*args)
    )
    tx = optimizer_factory(load(find_source("lion")))(0.01)
    weights = arrays(0)
    state = tx.init(weights)
    tx.update(arrays(1), state, weights)
    assert not calls
    jax.jit(tx.update)(arrays(1), state, weights)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "def train(w, g, lr):\n    return lr * clip_by_global_norm(g, 1.0)\n",
            "a sum over the tree",
        ),
        ("def train(w, g, d: scalar, lr):\n    return lr * g, d + 1\n", "a scalar state"),
    ],
)
def test_what_is_not_by_leaf(text: str, reason: str) -> None:
    whole = load(Source("<test>", text))
    leaves = list(arrays(0).values())
    assert not is_by_leaf(whole, leaves, leaves), reason


def test_scalars_of_two_dtypes_are_not_by_leaf() -> None:
    """A scalar is a float64 for the whole tree where one of the leaves is."""
    with jax.enable_x64(True):
        mixed = [jnp.ones(3, jnp.float32), jnp.ones(3, jnp.float64)]
        assert not is_by_leaf(program("adamw"), mixed, mixed)
        same = [jnp.ones(3, jnp.float64)] * 2
        assert is_by_leaf(program("adamw"), same, same)
    halves = [jnp.ones(3, jnp.float32), jnp.ones(3, jnp.bfloat16)]
    assert is_by_leaf(program("adamw"), halves, halves)
