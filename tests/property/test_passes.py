"""Each pass: `verify` holds after it, it is idempotent, and it changes no bit of any update."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.arrays import same_bits
from support.interpreter import interpret
from support.programs import EVERYTHING, PAPER, programs
from support.running import reference_stepper
from support.trees import filled, leaves

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program, Role, print_program, verify
from optdsl.ops import Kind
from optdsl.passes.fold import bind, default_values, fold_constants
from optdsl.passes.infer import infer
from optdsl.passes.live import live_values, remove_dead_code, remove_dead_state
from optdsl.passes.pipeline import prepare
from optdsl.passes.protect import protect

Pass = Callable[[Program], Program]


def bind_all(program: Program) -> Program:
    return bind(program, default_values(program))


def prepare_all(program: Program) -> Program:
    return prepare(program, default_values(program))


PASSES: tuple[Pass, ...] = (
    remove_dead_code,
    remove_dead_state,
    fold_constants,
    bind_all,
    prepare_all,
)

each_pass = pytest.mark.parametrize("change", PASSES, ids=lambda change: change.__name__)

any_program = programs(EVERYTHING, state_kinds=tuple(Kind))


def history(program: Program, tree: list[Any], seed: int) -> list[Any]:
    """All updates and states of some steps, with nothing optimized."""
    state, found = None, list[Any]()
    for number in range(1, 4):
        weights, gradients = filled(tree, seed, 0.1), filled(tree, seed + number, 0.1)
        outcome = interpret(program, weights, gradients, state, 0.5, number)
        state = outcome.state
        found.append(outcome)
    return found


def assert_same_run(a: Program, b: Program, tree: list[Any], seed: int) -> None:
    """Same updates; and the same states, of those that both programs have."""
    for one, other in zip(history(a, tree, seed), history(b, tree, seed), strict=True):
        pairs = list(zip(one.update, other.update, strict=True))
        for name in one.state.keys() & other.state.keys():
            pairs += zip(one.state[name], other.state[name], strict=True)
        assert all(same_bits(x, y) for x, y in pairs), f"{print_program(a)}\n{print_program(b)}"


@each_pass
@settings(max_examples=50)
@given(program=any_program, tree=leaves(), seed=st.integers(0, 99))
def test_it_changes_no_update(change: Pass, program: Program, tree: list[Any], seed: int) -> None:
    before = print_program(program)
    after = verify(change(program))
    assert print_program(program) == before
    assert_same_run(program, after, tree, seed)


@each_pass
@settings(max_examples=40)
@given(program=any_program)
def test_it_is_idempotent(change: Pass, program: Program) -> None:
    once = change(program)
    assert change(once) == once


@settings(max_examples=40)
@given(programs(EVERYTHING))
def test_protection_gives_a_valid_program_of_the_same_kinds(program: Program) -> None:
    protected = verify(protect(program))
    kinds, before = infer(protected), infer(program)
    for new, old in zip(protected.outputs, program.outputs, strict=True):
        assert (kinds[new] if new >= 0 else None) == (before[old] if old >= 0 else None)


@settings(max_examples=80)
@given(any_program, leaves(), st.integers(0, 99))
def test_the_reference_gives_what_the_program_says(
    program: Program, tree: list[Any], seed: int
) -> None:
    stepper, state = reference_stepper(program), None
    for number, wanted in enumerate(history(program, tree, seed), start=1):
        weights, gradients = filled(tree, seed, 0.1), filled(tree, seed + number, 0.1)
        found = stepper(weights, gradients, state, 0.5, number)
        state = found.state
        pairs = list(zip(found.update, wanted.update, strict=True))
        for name, blocks in found.state.items():
            pairs += zip(blocks, wanted.state[name], strict=True)
        assert all(same_bits(x, y) for x, y in pairs), print_program(program)


@given(any_program)
def test_no_dead_code_is_left(program: Program) -> None:
    after = remove_dead_code(program)
    assert after.inputs == program.inputs
    read = {arg for operation in after.operations for arg in operation.args} | {*after.outputs}
    first = len(after.inputs)
    assert read >= set(range(first, first + len(after.operations)))


@given(any_program)
def test_no_dead_state_is_left(program: Program) -> None:
    after = remove_dead_state(program)
    live = live_values(after)
    first = len(after.inputs)
    assert all(live[first:])
    assert all(live[state] for state in after.states)
    assert [e for e in after.inputs if e.role is not Role.STATE] == [
        e for e in program.inputs if e.role is not Role.STATE
    ]


@given(programs(PAPER))
@example(load(Source("<string>", "def train(g, k=0.9):\n    return g * (1 - k) ** 2\n")))
def test_no_foldable_operation_is_left(program: Program) -> None:
    after = prepare_all(program)
    assert not after.with_role(Role.HYPERPARAMETER)
    for operation in after.operations:
        if operation.args and all(arg < 0 for arg in operation.args):
            again = fold_constants(after)
            assert operation in again.operations, "it stays because it is not finite"


def test_a_dead_state_may_renew_itself() -> None:
    text = "def train(w, g, m, v):\n    m = m + v\n    v = v + g\n    return g, m, v\n"
    assert not remove_dead_state(load(Source("<string>", text))).states


def test_a_state_is_alive_through_another_one() -> None:
    text = "def train(g, m, v):\n    update = g + m\n    m = v\n    v = v + g\n"
    text += "    return update, m, v\n"
    assert len(remove_dead_state(load(Source("<string>", text))).states) == 2
