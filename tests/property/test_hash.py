"""The structural hash: blind to what makes no difference, and to nothing that makes one."""

import os
import subprocess
import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.arrays import same_bits
from support.programs import EVERYTHING, PAPER, programs
from support.running import reference_stepper
from support.trees import filled
from support.variants import SAME, changed

from optdsl.diagnostics import Source
from optdsl.frontend import load, stdlib
from optdsl.ir import Program, print_program
from optdsl.ops import OPS, Kind
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.hashing import structural_hash
from optdsl.passes.shapes import Leaf

LEAVES = [Leaf((3,), "float32"), Leaf((2, 3), "float32"), Leaf((), "bfloat16")]

ANY_SEED = st.integers(0, 2**16)


def read(body: str, parameters: str = "w, g, m, v, lr") -> Program:
    lines = "".join(f"    {line}\n" for line in body.split("; "))
    return load(Source("<string>", f"def train({parameters}):\n{lines}"))


def updates(program: Program, steps: int = 3) -> list[Any]:
    """The updates of some steps, on random inputs with NaN and infinities among them."""
    stepper, state, found = reference_stepper(program), None, list[Any]()
    for number in range(1, steps + 1):
        weights, gradients = filled(LEAVES, 0, 0.1), filled(LEAVES, number, 0.1)
        outcome = stepper(weights, gradients, state, 0.5, number)
        state = outcome.state
        found += outcome.update
    return found


def assert_equal_updates(a: Program, b: Program) -> None:
    for one, other in zip(updates(a), updates(b), strict=True):
        assert same_bits(one, other), f"{print_program(a)}\n{print_program(b)}"


@pytest.mark.parametrize("variant", SAME, ids=lambda variant: variant.__name__)
@settings(max_examples=30)
@given(program=programs(EVERYTHING, state_kinds=tuple(Kind)), seed=ANY_SEED)
def test_it_does_not_see(
    variant: Callable[[Program, Random], Program], program: Program, seed: int
) -> None:
    other = variant(program, Random(seed))
    assert structural_hash(other) == structural_hash(program)
    assert_equal_updates(program, other)


@settings(max_examples=30)
@given(programs(PAPER), ANY_SEED)
def test_it_does_not_see_all_of_it_at_once(program: Program, seed: int) -> None:
    random, other = Random(seed), program
    for variant in random.sample(SAME, len(SAME)):
        other = variant(other, random)
    assert structural_hash(other) == structural_hash(program)
    assert canonical_hash(other) == canonical_hash(program)
    assert_equal_updates(program, other)


@settings(max_examples=150)
@given(programs(PAPER, min_statements=1, max_statements=5), ANY_SEED)
def test_equal_hashes_mean_equal_updates(program: Program, seed: int) -> None:
    other = changed(program, Random(seed))
    if structural_hash(other) == structural_hash(program):
        assert_equal_updates(program, other)


@settings(max_examples=10)
@given(st.lists(programs(PAPER[-14:], max_statements=2), min_size=10, max_size=40))
def test_small_programs_with_equal_hashes_are_equal(drawn: list[Program]) -> None:
    seen: dict[str, Program] = {}
    for program in drawn:
        first = seen.setdefault(structural_hash(program), program)
        if print_program(first) != print_program(program):
            assert_equal_updates(first, program)


DIFFERENT = [
    ("return g - w, m, v", "return w - g, m, v"),
    ("return g / w, m, v", "return w / g, m, v"),
    ("return g ** w, m, v", "return w ** g, m, v"),
    ("return interp(g, w, 0.5), m, v", "return interp(w, g, 0.5), m, v"),
    ("return g + 1, m, v", "return g + 1.0000000000000002, m, v"),
    ("return g * 0.0, m, v", "return g * -0.0, m, v"),
    ("return g, m, v", "return w, m, v"),
    ("return g * lr, m, v", "return g * g, m, v"),
    ("return (g + w) + m, m, v", "return g + (w + m), m, v"),
    ("return sqrt(g), m, v", "return sqrt(abs(g)), m, v"),
    ("return m, g, v", "return m, w, v"),
    ("return m + g, m, v", "return m + g, m + g, v"),
    # Which of two states takes which value: their names do not matter, their roles do.
    ("m = m + g; v = v + w; return m - v, m, v", "m = m + w; v = v + g; return m - v, m, v"),
    ("return m - v, v, g", "return v - m, v, g"),
    # A state renewed by itself, and one renewed by its twin that starts alike but goes on otherwise
    ("return m - v, m + g, v + w", "return m - v, v + g, m + w"),
    ("return g + m, 0.5 * m + g, v", "return g + m, 0.25 * m + g, v"),
]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_it_sees(a: str, b: str) -> None:
    assert structural_hash(read(a)) != structural_hash(read(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("w, g, m", "w, g, m: bfloat16"),
        ("w, g, m", "w, g, m: per_array"),
        ("w, g, m: float32", "w, g, m: float16"),
    ],
)
def test_it_sees_how_a_state_is_stored(a: str, b: str) -> None:
    body = "return g + m, 1.0"
    assert structural_hash(read(body, a)) != structural_hash(read(body, b))


def test_it_does_not_see_how_a_dead_state_is_stored() -> None:
    assert structural_hash(read("return g, m", "g, m")) == structural_hash(
        read("return g, m", "g, m: bfloat16")
    )


BISIMILAR = {
    "renewed alike": "m = m + g; v = v + g; return m * v, m, v",
    "each renewed by the other": "return m * v, v + g, m + g",
    "with one of them dead": "m = m + g; return m * m, m, v",
}
"""Ways to write `m = m + g; return m * m, m`, whose one state is kept twice here."""


@pytest.mark.parametrize("what", BISIMILAR)
def test_states_that_are_always_equal_are_one(what: str) -> None:
    first, second = read("update = m + g; return m * m, update", "g, m"), read(BISIMILAR[what])
    if what != "each renewed by the other":
        first = read("m = m + g; return m * m, m", "g, m")
    assert structural_hash(first) == structural_hash(second)
    assert_equal_updates(first, second)


@settings(max_examples=50)
@given(programs(PAPER))
@example(read("return maximum(g, w), m, v"))
def test_it_depends_on_nothing_but_the_program(program: Program) -> None:
    again = load(Source("<string>", print_program(program)))
    assert structural_hash(again) == structural_hash(program)


SCRIPT = """
from optdsl.frontend import find_source, load, stdlib
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.hashing import structural_hash
for name in stdlib():
    program = load(find_source(name))
    print(name, structural_hash(program), canonical_hash(program))
"""


def hashes_in_a_process(seed: str) -> str:
    environment = os.environ | {"PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_hashes_are_the_same_in_every_process() -> None:
    first, second = hashes_in_a_process("1"), hashes_in_a_process("2")
    assert first == second
    lines = [line.split() for line in first.splitlines()]
    assert [name for name, _, _ in lines] == list(stdlib())
    assert len({structural for _, structural, _ in lines}) > 0.8 * len(lines)


def test_hashes_do_not_depend_on_what_was_hashed_before() -> None:
    program = read("m = interp(g, m, 0.9); v = v + square(g); return m / sqrt(v), m, v")
    before = structural_hash(program)
    for op in OPS:
        if len(op.args) == 1 and op.rule.__name__ == "broadcast":
            structural_hash(read(f"m = {op.name}(g); return m, m, v"))
    assert structural_hash(program) == before
