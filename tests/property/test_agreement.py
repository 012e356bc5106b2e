"""The reference, jitted JAX and emitted source agree on any program of the paper's set.

How near they must be is derived and not chosen. The tests of the table allow each function some
ulps (`ULPS`, `BACKWARD_STABLE`); `Noise` disturbs every operation of a program by as much, at
random, and the spread of several such runs tells what a program makes of it. So a result may differ
by twice the largest of these deviations, plus the last operation's ulps. XLA also keeps float16 and
bfloat16 in float32 between operations that it fuses: one more run does so throughout. A number that
is NaN or infinite must be so everywhere, unless it is not so in all of these runs.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.arrays import ULPS
from support.interpreter import Noise, interpret
from support.programs import PAPER, programs, tame_constants
from support.running import Outcome, Stepper, emitted_stepper, jax_stepper, reference_stepper
from support.trees import filled

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Builder, Input, Program, Role, print_program, verify
from optdsl.ops import BY_NAME
from optdsl.passes.infer import infer
from optdsl.passes.shapes import Leaf

STEPS = 2
RATE = 0.5
RUNS = 8
"""Disturbed runs."""

MIXED = [
    Leaf((3,), "float32"),
    Leaf((2, 3), "bfloat16"),
    Leaf((), "float32"),
    Leaf((2,), "float16"),
]

DECIDED = 0.9
"""At least this share of all numbers must be finite, infinite or NaN in all runs alike."""

Arrays = dict[str, list[Any]]
"""The updates, and each state variable, of all steps."""


def keeping_all(program: Program) -> Program:
    """The program with each result kept in a state of its own, so that each is compared.

    These states are alive, as the update is chosen by them; from twice the same.
    """
    kinds, first, count = infer(program), len(program.inputs), len(program.operations)
    kept = [Input(f"kept_{i}", Role.STATE, kind) for i, kind in enumerate(kinds[first:])]
    builder = Builder((*program.inputs, *kept))

    def moved(value: int) -> int | float:
        if value < 0:
            return program.constants[~value]
        return value if value < first else value + count

    results = [
        builder.add(op, [moved(arg) for arg in args], name) for op, args, name in program.operations
    ]
    update, *new = map(moved, program.outputs)
    for i in range(count):
        update = builder.add(BY_NAME["where<"], [first + i, 0.0, update, update])
    return verify(builder.finish([update, *new, *results]))


class Inputs(NamedTuple):
    weights: list[Any]
    gradients: list[Any]


def drawn(leaves: list[Leaf], seed: int) -> list[Inputs]:
    """Inputs of some steps; for every other seed a tenth of them NaN, infinities and the like."""
    special = 0.1 if seed % 2 else 0.0
    trees = [filled(leaves, STEPS * 2 * seed + i, special) for i in range(2 * STEPS)]
    return [Inputs(*trees[i : i + 2]) for i in range(0, 2 * STEPS, 2)]


def run(stepper: Stepper, inputs: Sequence[Inputs]) -> Arrays:
    state, found = None, dict[str, list[Any]]()
    for number, (weights, gradients) in enumerate(inputs, start=1):
        outcome = stepper(weights, gradients, state, RATE, number)
        state = outcome.state
        for name, blocks in {"the update": outcome.update, **state}.items():
            found.setdefault(name, []).extend(blocks)
    return found


def interpreted(program: Program, noise: Noise | None) -> Stepper:
    def step(weights: Any, gradients: Any, state: Any, rate: float, number: int) -> Outcome:
        return interpret(program, weights, gradients, state, rate, number, noise)

    return step


def in_single(program: Program, inputs: Sequence[Inputs]) -> Arrays:
    """The program with all numbers in float32."""
    stored = replace(program, inputs=tuple(replace(e, dtype=None) for e in program.inputs))
    wide = [Inputs(*([x.astype(np.float32) for x in tree] for tree in each)) for each in inputs]
    return run(interpreted(stored, None), wide)


def kind_of_number(x: Any) -> Any:
    """0 for finite numbers, other numbers for NaN and the infinities."""
    return np.where(np.isnan(x), 2, np.where(np.isinf(x), np.sign(x), 0))


class Allowed(NamedTuple):
    """What is right for one array."""

    expected: Any
    spread: Any
    decided: Any
    """Where all runs give a number of the same kind."""

    def wrong(self, found: Any) -> Any:
        """Where an array is not right."""
        about, exact = ml_dtypes.finfo(self.expected.dtype), self.expected.astype(np.float64)
        bound = 2 * self.spread + ULPS[str(self.expected.dtype)] * float(about.eps) * np.abs(exact)
        found = np.asarray(found).astype(np.float64)
        far = ~(np.abs(found - exact) <= bound + 4 * float(about.tiny))  # flushed to zero
        other = kind_of_number(found) != kind_of_number(exact)
        return self.decided & (other | (far & np.isfinite(exact)))


@np.errstate(all="ignore")
def allowed(
    program: Program, inputs: Sequence[Inputs], expected: Arrays
) -> dict[str, list[Allowed]]:
    runs = [
        run(interpreted(program, Noise(np.random.RandomState(seed))), inputs)
        for seed in range(RUNS)
    ]
    runs.append(in_single(program, inputs))
    found: dict[str, list[Allowed]] = {}
    for name, arrays in expected.items():
        found[name] = []
        for i, array in enumerate(arrays):
            exact = array.astype(np.float64)
            others = [other[name][i].astype(array.dtype).astype(np.float64) for other in runs]
            kind = kind_of_number(exact)
            decided = np.all([kind_of_number(other) == kind for other in others], axis=0)
            spread = np.max([np.abs(other - exact) for other in others], axis=0)
            found[name].append(Allowed(array, np.where(kind == 0, spread, 0), decided))
    return found


@np.errstate(all="ignore")
def assert_agreement(
    program: Program, right: dict[str, list[Allowed]], found: Arrays, what: str
) -> None:
    for name in right.keys() & found.keys():
        for one, array in zip(right[name], found[name], strict=True):
            assert array.dtype == one.expected.dtype
            assert array.shape == one.expected.shape
            wrong = one.wrong(array)
            assert not np.any(wrong), (
                f"{name} by {what} in\n{print_program(program)}{array[wrong]} and not"
                f" {one.expected[wrong]}, give or take {one.spread[wrong]}"
            )


FOUND = {
    "a scalar stored in float16 is calculated with in float32": (
        "def train(g, b: scalar[float16]):\n    a = cosh(exp2(b))\n    return g * a, a\n"
    ),
    "two values by the name of `_`": (
        "def train(g, _):\n    old = _\n    _ = g * g\n    return _ + old, g\n"
    ),
    "a result by the name of weights that are not read": (
        "def train(w, g, m):\n    w = cube(g)\n    m = sin(w)\n    return m * w, m\n"
    ),
    "a float16 array is clipped by its norm in float32, as 300 squared is infinite in float16": (
        "def train(g):\n    return clip(100 * g, 1)\n"
    ),
    "numbers that the shape gives meet others": (
        "def train(w, g, lr, step):\n    n = rank(g)\n    a = lr * n * g + lr / columns(w) * g\n"
        "    b = minimum(step, rows(w)) * g + 0.9 ** (step * n) * g + where(step == 1, 1, n) * g\n"
        "    return a + b + g * global_norm(g) / sqrt(rows(w)) + interp(lr, rows(w), lr) * g\n"
    ),
    "numbers that the shape gives are added up, and are matrices": (
        "def train(g, lr):\n    n = rows(g)\n    m = where(n < 5, 1, 2)\n"
        "    a = row_max(columns(g)) + norm(m) + sum(n) + clip(rank(g), 0.3)\n"
        "    return lr * (a + matmul(n, n) + transpose(n)) * g\n"
    ),
    "a number in place of a number for each column": (
        "def train(g, lr):\n    if rank(g) == 2:\n        q = column_mean(g)\n    else:\n"
        "        q = 2\n"
        "    a = norm(q) + sum(q) + mean(q) + global_norm(q)\n"
        "    return lr * g * a + row_mean(q) + column_mean(q)\n"
    ),
    "a number in place of a number for each two rows": (
        "def train(g, lr):\n    if rank(g) == 2:\n        q = matmul(g, transpose(g))\n"
        "    else:\n        q = 3\n    return lr * norm(q) * g + matmul(q, g)\n"
    ),
}
"""Programs on which lowerings did not agree."""


@pytest.mark.parametrize("what", FOUND)
def test_lowerings_agree_where_they_did_not(what: str) -> None:
    assert_lowerings_agree(load(Source("<string>", FOUND[what])), drawn(MIXED, 0))


def assert_lowerings_agree(program: Program, inputs: Sequence[Inputs]) -> list[Any]:
    """Returns which numbers were decided, for each array."""
    expected = run(reference_stepper(program), inputs)
    right = allowed(program, inputs, expected)
    assert_agreement(program, right, run(jax_stepper(program), inputs), "JAX")
    found = run(emitted_stepper(program, RATE), inputs)
    assert_agreement(program, right, found, "the source")
    return [np.ravel(one.decided) for arrays in right.values() for one in arrays]


def test_lowerings_agree() -> None:
    decided: list[Any] = []

    # Each example is compiled twice; to shrink one takes hundreds.
    @settings(max_examples=30, phases=[Phase.generate])
    @given(
        programs(
            PAPER,
            min_statements=4,
            dtypes=(None, None, "bfloat16", "float16", "float32"),
            constants=tame_constants(),
        ),
        st.integers(0, 99),
    )
    def agree(program: Program, seed: int) -> None:
        program = keeping_all(program) if seed % 4 else program
        inputs = drawn(MIXED, seed)
        decided.extend(assert_lowerings_agree(program, inputs))

    agree()
    assert np.mean(np.concatenate(decided)) >= DECIDED
