"""Optimizers that treat matrices as such, against implementations of their own: 100 steps.

In double precision, so that what is left is rounding that the algorithms amplify: a difference
in the algorithm would be larger by orders of magnitude. Arrays of more than two dimensions are
matrices with the last dimension as columns, for the reference too. Their sides differ by one at
most: where more is missing from the rank of a matrix of moments, its eigenvectors are arbitrary.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from support.running import doubles

import optdsl
from optdsl.frontend import find_source

STEPS = 100

SHAPES = {
    "wide": (5, 6),
    "layers": [(6, 5), (5,)],
    "kernel": (2, 2, 2, 8),
    "scale": (),
}

Array = Any
State = dict[str, Array]


def tree_of(function: Callable[[tuple[int, ...]], Array]) -> Any:
    return jax.tree.map(function, SHAPES, is_leaf=lambda x: isinstance(x, tuple))


class Formula(NamedTuple):
    """An optimizer of one leaf, seen as a matrix or a vector: written as its paper has it."""

    init: Callable[[Array], State]
    step: Callable[[Array, Array, State, float], tuple[Array, State]]
    """(weights, gradient, state, number of the step) -> (what is subtracted, new state)."""


def as_optax(formula: Formula) -> optax.GradientTransformation:
    """Leaf by leaf, with the matrix view of each."""

    def view(x: Array) -> Array:
        return x.reshape(-1, x.shape[-1]) if x.ndim >= 2 else x

    def init(weights: Any) -> Any:
        return jnp.int32(0), [formula.init(view(w)) for w in jax.tree.leaves(weights)]

    def update(gradients: Any, state: Any, weights: Any) -> Any:
        count, states = state[0] + 1, []
        leaves, structure = jax.tree.flatten(gradients)
        steps = []
        for w, g, old in zip(jax.tree.leaves(weights), leaves, state[1], strict=True):
            step, new = formula.step(view(w), view(g), old, count)
            steps.append(-step.reshape(g.shape))
            states.append(new)
        return jax.tree.unflatten(structure, steps), (count, states)

    return optax.GradientTransformation(init, update)


RATE = 0.01


def shampoo(eps: float = 1e-4) -> Formula:
    """Algorithm 1 of Gupta et al. (2018), roots by SVD; AdaGrad for vectors."""

    def root(x: Array) -> Array:
        u, values, _ = jnp.linalg.svd(x, hermitian=True)
        return u @ jnp.diag(values**-0.25) @ u.T

    def init(w: Array) -> State:
        if w.ndim < 2:
            return {"v": jnp.full_like(w, eps)}
        return {"l": eps * jnp.eye(w.shape[0]), "r": eps * jnp.eye(w.shape[1])}

    def step(w: Array, g: Array, state: State, number: float) -> tuple[Array, State]:
        if w.ndim < 2:
            v = state["v"] + g * g
            return RATE * g / jnp.sqrt(v), {"v": v}
        left, right = state["l"] + g @ g.T, state["r"] + g.T @ g
        return RATE * root(left) @ g @ root(right), {"l": left, "r": right}

    return Formula(init, step)


def soap(b1: float = 0.95, b2: float = 0.95, eps: float = 1e-8, decay: float = 0.01) -> Formula:
    """Algorithm 3 of Vyas et al. (2024) with f = 1 and Q of Algorithm 4, from the identity."""

    def init(w: Array) -> State:
        moments = {"m": jnp.zeros_like(w), "v": jnp.zeros_like(w)}
        if w.ndim < 2:
            return moments
        eyes = jnp.eye(w.shape[0]), jnp.eye(w.shape[1])
        return moments | {"l": 0 * eyes[0], "r": 0 * eyes[1], "ql": eyes[0], "qr": eyes[1]}

    def step(w: Array, g: Array, state: State, number: float) -> tuple[Array, State]:
        m = b1 * state["m"] + (1 - b1) * g
        rotated, moved = g, m
        if w.ndim >= 2:
            ql, qr = state["ql"], state["qr"]
            rotated, moved = ql.T @ g @ qr, ql.T @ m @ qr
        v = b2 * state["v"] + (1 - b2) * rotated**2
        n = moved / (1 - b1**number) / (jnp.sqrt(v / (1 - b2**number)) + eps)
        if w.ndim < 2:
            return RATE * (n + decay * w), {"m": m, "v": v}
        new = {"l": b2 * state["l"] + (1 - b2) * g @ g.T, "r": b2 * state["r"] + (1 - b2) * g.T @ g}
        bases = {"ql": jnp.linalg.qr(new["l"] @ ql).Q, "qr": jnp.linalg.qr(new["r"] @ qr).Q}
        return RATE * (ql @ n @ qr.T + decay * w), {"m": m, "v": v, **new, **bases}

    return Formula(init, step)


def sm3() -> optax.GradientTransformation:
    """optax.sm3, on the matrix views."""
    inner = optax.sm3(RATE)

    def view(tree: Any) -> Any:
        return jax.tree.map(
            lambda x: x.reshape(-1, x.shape[-1]) if x.ndim > 2 else x.reshape(x.shape or 1), tree
        )

    def update(gradients: Any, state: Any, weights: Any) -> Any:
        updates, state = inner.update(view(gradients), state, view(weights))
        return jax.tree.map(lambda u, g: u.reshape(g.shape), updates, gradients), state

    return optax.GradientTransformation(lambda weights: inner.init(view(weights)), update)


def cautious(u: Array, g: Array) -> Array:
    mask = (u * g > 0).astype(u.dtype)
    return u * mask / jnp.clip(mask.mean(), min=1e-3)


def cautious_lion(b1: float = 0.9, b2: float = 0.99, decay: float = 1e-3) -> Formula:
    """Algorithm 2 of Liang et al. (2024)."""

    def step(w: Array, g: Array, state: State, number: float) -> tuple[Array, State]:
        u = jnp.sign(b1 * state["m"] + (1 - b1) * g)
        return RATE * (cautious(u, g) + decay * w), {"m": b2 * state["m"] + (1 - b2) * g}

    return Formula(lambda w: {"m": jnp.zeros_like(w)}, step)


def cautious_adamw(decay: float = 1e-4) -> optax.GradientTransformation:
    """Algorithm 1 of Liang et al. (2024), around optax's Adam."""
    adam = optax.scale_by_adam()

    def update(gradients: Any, state: Any, weights: Any) -> Any:
        updates, state = adam.update(gradients, state)
        masked = jax.tree.map(cautious, updates, gradients)
        return jax.tree.map(lambda u, w: -RATE * (u + decay * w), masked, weights), state

    return optax.GradientTransformation(adam.init, update)


def sophia(interval: int = 10) -> optax.GradientTransformation:
    """optax.contrib.sophia with the gradient's square for an estimate of the Hessian."""
    estimate = optax.stateless(lambda g, _: jax.tree.map(jnp.square, g))
    return contrib.sophia(RATE, hessian_diagonal_fn=estimate, update_interval=interval)


def sophia_with_its_loop(interval: int = 10, b2: float = 0.99) -> optax.GradientTransformation:
    """The program, and the training loop's part: a moving average of the same estimates."""
    inner = optdsl.load("sophia").optimizer(RATE)

    def update(gradients: Any, state: Any, weights: Any) -> Any:
        due = (1 - b2) * (state.count % interval == 0)
        updates, state = inner.update(gradients, state, weights)
        hessian = jax.tree.map(
            lambda h, g: (1 - due) * h + due * g * g, state.state["hessian"], gradients
        )
        return updates, state._replace(state=state.state | {"hessian": hessian})

    return optax.GradientTransformation(inner.init, update)


def all_matrices(weights: Any) -> Any:
    """Muon for what has two dimensions or more, as matrices of the last one's columns."""

    def numbers(w: Array) -> Any:
        axes = tuple(range(w.ndim - 1))
        return contrib.MuonDimensionNumbers(axes, w.ndim - 1) if w.ndim >= 2 else None

    return jax.tree.map(numbers, weights)


def muon_of_kernels() -> optax.GradientTransformation:
    text = find_source("muon").text.replace("rank(w) == 2", "rank(w) >= 2")
    return optdsl.parse(text).optimizer(RATE)


def stdlib(name: str) -> Callable[[], optax.GradientTransformation]:
    return lambda: optdsl.load(name).optimizer(RATE)


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "shampoo": (stdlib("shampoo"), lambda: as_optax(shampoo())),
    "soap": (stdlib("soap"), lambda: as_optax(soap())),
    "sm3": (stdlib("sm3"), sm3),
    "cautious_lion": (stdlib("cautious_lion"), lambda: as_optax(cautious_lion())),
    "cautious_adamw": (stdlib("cautious_adamw"), cautious_adamw),
    "sophia": (sophia_with_its_loop, sophia),
    "muon": (stdlib("muon"), partial(contrib.muon, RATE)),
    "muon of kernels": (
        muon_of_kernels,
        partial(contrib.muon, RATE, muon_weight_dimension_numbers=all_matrices),
    ),
}


def gradients_of(weights: Any, noise: Any) -> Any:
    """Of a nonconvex function, another one in every step; see `conftest.py`."""
    return jax.tree.map(lambda w, n: w - 0.3 * n - 0.9 * jnp.sin(1.5 * w + n), weights, noise)


def trained(optimizer: optax.GradientTransformation) -> list[Any]:
    """Each leaf's values after every step, stacked."""
    random = np.random.RandomState(20180226)
    weights = tree_of(lambda shape: jnp.asarray(random.standard_normal(shape)))
    noise = tree_of(lambda shape: jnp.asarray(random.standard_normal((STEPS, *shape))))

    def step(carry: Any, noise: Any) -> Any:
        weights, state = carry
        updates, state = optimizer.update(gradients_of(weights, noise), state, weights)
        weights = optax.apply_updates(weights, updates)
        return (weights, state), weights

    run = jax.jit(lambda weights: jax.lax.scan(step, (weights, optimizer.init(weights)), noise))
    return jax.tree.leaves(run(weights)[1])


@pytest.mark.parametrize("case", CASES)
def test_the_same_weights_for_100_steps(case: str) -> None:
    with doubles():
        ours, theirs = (trained(make()) for make in CASES[case])
    for found, wanted in zip(ours, theirs, strict=True):
        assert wanted.dtype == np.float64
        assert len(found) == STEPS
        assert np.max(np.ptp(wanted, axis=0)) > 0.05, "nothing moved"
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
