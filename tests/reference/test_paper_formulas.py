"""Programs that optax lacks, and the paper's own, against their formulas in NumPy: 100 steps.

A formula sees the weight tree as one vector, and says what a program does, not how it is written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import optdsl
from optdsl.frontend import stdlib

Vector = np.ndarray
Formula = Callable[..., tuple[Vector, Vector, Vector]]
"""From w, g, m, v, lr and hyperparameters to the update, m and v."""

PAPER = Path(__file__).parents[2] / "examples" / "paper"

E = 2.718281828459045

ELSEWHERE = {"cautious_adamw", "cautious_lion", "shampoo", "sm3", "soap", "sophia"}
"""Programs of `test_matrix_optimizers.py`."""


def powersign(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float, base: float = E, beta: float = 0.9
) -> tuple[Vector, Vector, Vector]:
    """A step of base g where the signs agree, of g / base where they differ."""
    m = (1 - beta) * g + beta * m
    agree = np.sign(g) * np.sign(m)
    factor = np.where(agree > 0, base, np.where(agree < 0, 1 / base, 1)).astype(np.float32)
    return lr * factor * g, m, v


def addsign(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float, alpha: float = 1.0, beta: float = 0.9
) -> tuple[Vector, Vector, Vector]:
    m = (1 - beta) * g + beta * m
    return lr * (alpha * g + np.abs(g) * np.sign(m)), m, v


def ablation_sign(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float, b: float = 0.9
) -> tuple[Vector, Vector, Vector]:
    m = m + (1 - b) * (g - m)
    return lr * np.sign(m), m, v


def program_1(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float,
    β1: float = 0.9, β2: float = 0.99, λ: float = 0.1,
) -> tuple[Vector, Vector, Vector]:  # fmt: skip
    update = np.sign(β1 * m + (1 - β1) * g) + λ * w
    return lr * update, β2 * m + (1 - β2) * g, v


def program_3(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float
) -> tuple[Vector, Vector, Vector]:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    return 0.001 * lr * (m / np.sqrt(v) + 0.01 * w), m, v


def clipped_arcsin(g: Vector, bound: float) -> Vector:
    length = np.linalg.norm(g)
    return np.arcsin(g if length < bound else g * (bound / length))


def program_4(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float
) -> tuple[Vector, Vector, Vector]:
    """Its m is dead; the v it keeps is Lion's momentum with an unusual weight."""
    g = clipped_arcsin(g, lr)
    m = 0.101 * g + 0.899 * v
    v = 1.109 * m - 0.109 * g
    return 0.0002 * lr * (np.sign(m) + 0.4602 * w), m, v


def program_5(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float
) -> tuple[Vector, Vector, Vector]:
    m = 0.84 * m + 0.16 * g
    v = 0.999 * v + 0.001 * g**2
    update = np.sin(m / np.sqrt(v)) + (g @ w) * w
    return 0.0216 * lr * update, m, np.sin(v)


def program_6(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float
) -> tuple[Vector, Vector, Vector]:
    m = 0.9 * m + 0.1 * g
    v = v + 0.0015 * g**2
    return 0.0606 * lr * np.sinh(m / np.sqrt(v)), m, np.minimum(v, np.float32(np.pi))


def program_7(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float
) -> tuple[Vector, Vector, Vector]:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * (g - m) ** 2
    return 0.03721 * lr * (m / np.sqrt(v) + 0.0238 * w), m, v


def program_8(
    w: Vector, g: Vector, m: Vector, v: Vector, lr: float
) -> tuple[Vector, Vector, Vector]:
    """Program 4 with all digits of its constants."""
    a, b = 0.8999999761581421, 1.109133005142212
    g = clipped_arcsin(g, lr)
    m = (1 - a) * g + a * v
    v = b * m + (1 - b) * g
    return 0.0002171761734643951 * lr * (np.sign(m) + 0.4601978361606598 * w), m, v


Options = dict[str, float]

STDLIB: dict[Formula, tuple[Options, ...]] = {
    ablation_sign: ({"b": 0.99}, {"b": 0.8}),
    addsign: ({"alpha": 2.0, "beta": 0.8}, {"alpha": 0.5, "beta": 0.95}),
    powersign: ({"base": 2.0, "beta": 0.8}, {"base": 1.5, "beta": 0.95}),
}
"""Programs of the standard library that optax lacks, and hyperparameters to run them with."""

PAPERS: dict[Formula, float] = {
    program_1: 0.01,
    program_3: 10.0,
    program_4: 1.0,
    program_5: 0.1,
    program_6: 0.1,
    program_7: 0.1,
    program_8: 1.0,
}
"""The paper's programs, with a learning rate."""

REGULAR = "scale_and_kernels"
"""The part of the weight tree without gradients of 0, where some of them give 0 / 0."""

RATES = (0.01, optax.linear_schedule(0.02, 0.005, transition_steps=100))


def as_vector(tree: Any) -> Vector:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def as_tree(vector: Vector, like: Any) -> Any:
    leaves, structure = jax.tree.flatten(like)
    parts = np.split(vector, np.cumsum([leaf.size for leaf in leaves])[:-1])
    shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def in_numpy(formula: Formula, rate: Any, options: Options) -> optax.GradientTransformation:
    """A formula as an optimizer, in float32."""

    def init(params: Any) -> tuple[int, Vector, Vector]:
        zeros = np.zeros_like(as_vector(params))
        return 0, zeros, zeros

    def update(updates: Any, state: Any, params: Any) -> Any:
        count, m, v = state
        lr = np.float32(rate(count) if callable(rate) else rate)
        step, m, v = formula(as_vector(params), as_vector(updates), m, v, lr, **options)
        assert step.dtype == m.dtype == v.dtype == np.float32
        return as_tree(-step, params), (count + 1, m, v)

    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize("rate", RATES, ids=["constant", "schedule"])
@pytest.mark.parametrize("formula", STDLIB)
def test_with_the_defaults(formula: Formula, rate: Any, train: Any, assert_same: Any) -> None:
    ours = optdsl.load(formula.__name__).optimizer(rate)
    assert_same(train(ours), train(in_numpy(formula, rate, {}), jit=False))


@pytest.mark.parametrize(
    ("formula", "options"),
    [(formula, options) for formula, settings in STDLIB.items() for options in settings],
)
def test_with_other_hyperparameters(
    formula: Formula, options: Options, train: Any, assert_same: Any
) -> None:
    program = optdsl.load(formula.__name__)
    assert options.keys() == program.hyperparameters.keys()
    ours = program.optimizer(0.01, **options)
    assert_same(train(ours), train(in_numpy(formula, 0.01, options), jit=False))


@pytest.mark.parametrize("formula", PAPERS)
def test_programs_of_the_paper(formula: Formula, train: Any, assert_same: Any) -> None:
    rate = PAPERS[formula]
    ours = optdsl.load(str(PAPER / f"{formula.__name__}.opt")).optimizer(rate)
    expected = in_numpy(formula, rate, {})
    assert_same(train(ours, REGULAR), train(expected, REGULAR, jit=False))


def test_program_1_is_lion(train: Any, assert_same: Any) -> None:
    program = optdsl.load(str(PAPER / "program_1.opt"))
    expected = train(optax.lion(0.01, b1=0.9, b2=0.99, weight_decay=0.1))
    assert_same(train(program.optimizer(0.01)), expected)


def test_the_tables_have_every_program_that_optax_lacks() -> None:
    docs = {name: " ".join(optdsl.load(name).doc.split()) for name in stdlib()}
    lacking = {name for name, doc in docs.items() if "as optax." not in doc}
    assert lacking == {formula.__name__ for formula in STDLIB} | ELSEWHERE
    assert {path.stem for path in PAPER.glob("*.opt")} == {formula.__name__ for formula in PAPERS}
