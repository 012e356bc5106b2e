"""Generated programs: valid by construction, made from the op table.

    @given(programs())
    def test(program: Program): ...

A statement applies any function of the set to values whose kinds fit (`OpDef.kind` says which do),
so a new row of the table is drawn from unasked. Names are drawn from a few, so that they repeat and
hide one another; statements and states that nothing reads come of themselves.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

from hypothesis import strategies as st

from optdsl.frontend.roles import DTYPES, ROLE_NAMES
from optdsl.ir import INPUT_KINDS, Builder, Input, Program, Role, verify
from optdsl.ops import FunctionSet, Kind, Mismatch, OpDef, castable, functions

PAPER = functions(FunctionSet.PAPER)
EVERYTHING = PAPER + functions(FunctionSet.EXTENDED)

PAPER_KINDS = (Kind.ARRAY, Kind.ARRAY, Kind.SCALAR, Kind.PER_ARRAY)
"""The kinds of states by default; arrays twice as often."""

VARIABLES = ("m", "v", "t", "t_2", "update", "λ", "x", "abs", "norm", "range", "_", "σ_w1")
"""Names of states, hyperparameters and results; some are those of functions, which is legal."""

CONSTANTS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 0.1, 0.9, 0.999, 1e-8, 3.0, 1e-3, 100.0)
EXTREME = (1e38, 3.5e38, 1e300, 1e-38, 1e-45, 5e-324, 1.7976931348623157e308)

DOCS = (
    "",
    "A program.",
    "Two lines,\n    the second indented.",
    "it's \\ no ''' trouble, β1",
    '"quoted" words',
    "# no comment",
)


def constants() -> st.SearchStrategy[float]:
    """Numbers as programs have them: usual ones, and any that a double can hold."""
    usual = st.sampled_from(CONSTANTS)
    around = st.floats(-10, 10)
    return st.one_of(
        usual, usual, around, around, st.sampled_from(EXTREME),
        st.floats(allow_nan=False, allow_infinity=False),
    )  # fmt: skip


def tame_constants() -> st.SearchStrategy[float]:
    """Numbers that do not at once lead out of float32's range."""
    return st.one_of(st.sampled_from(CONSTANTS), st.floats(-4, 4).map(lambda x: round(x, 3)))


_ANY_CONSTANTS = constants()


@st.composite
def programs(
    draw: st.DrawFn,
    functions: Sequence[OpDef] = PAPER,
    min_statements: int = 0,
    max_statements: int = 12,
    max_states: int = 3,
    state_kinds: Sequence[Kind] = PAPER_KINDS,
    dtypes: Sequence[str | None] = (None, None, *DTYPES),
    constants: st.SearchStrategy[float] = _ANY_CONSTANTS,
    docs: Sequence[str] = DOCS,
    all_inputs: bool = False,
) -> Program:
    """A valid program.

    Args:
        draw: given by hypothesis.
        functions: what to draw from.
        min_statements: the fewest operations.
        max_statements: the most.
        max_states: the most state variables.
        state_kinds: what these can be.
        dtypes: what these can be stored in; None is the weights' own dtype.
        constants: the numbers, and the hyperparameters' defaults.
        docs: the docstrings.
        all_inputs: whether each program has all of w, g, lr and step.
    """
    inputs = draw(_inputs(max_states, state_kinds, dtypes, constants, all_inputs))
    builder = Builder(inputs)
    kinds = [entry.kind for entry in inputs]
    for _ in range(draw(st.integers(min_statements, max_statements))):
        op = draw(st.sampled_from(functions))
        fitting = _fitting(op, frozenset(kinds) | {Kind.SCALAR})
        if not fitting:
            continue
        wanted = draw(st.sampled_from(fitting))
        args = [_operand(draw, kinds, kind, constants) for kind in wanted]
        names = st.sampled_from((*VARIABLES, *(entry.name for entry in inputs)))
        builder.add(op, args, draw(names))
        kind = op.kind(wanted)
        assert not isinstance(kind, Mismatch)
        kinds.append(kind)
    outputs: list[int | float] = [draw(_late([i for i, k in enumerate(kinds) if k == Kind.ARRAY]))]
    for entry in inputs:
        if entry.role is Role.STATE:
            fit = [i for i, kind in enumerate(kinds) if castable(kind, entry.kind)]
            constant = not fit or draw(st.integers(0, 5)) == 0
            outputs.append(draw(constants if constant else _late(fit)))
    return verify(builder.finish(outputs, draw(st.sampled_from(docs))))


@st.composite
def _inputs(
    draw: st.DrawFn,
    max_states: int,
    state_kinds: Sequence[Kind],
    dtypes: Sequence[str | None],
    constants: st.SearchStrategy[float],
    all_inputs: bool,
) -> tuple[Input, ...]:
    """Inputs of all roles in any order, at least one of them an array."""
    inputs: list[Input] = []
    for role, kind in INPUT_KINDS.items():
        names = [name for name, meaning in ROLE_NAMES.items() if meaning is role]
        if names and (all_inputs or draw(st.integers(0, 3))):
            inputs.append(Input(draw(st.sampled_from(names)), role, kind))
    count = draw(st.integers(0, max_states + 2))
    names = draw(st.permutations(VARIABLES))[:count]
    for i, name in enumerate(names):
        if i < max_states:
            kind, dtype = draw(st.sampled_from(state_kinds)), draw(st.sampled_from(dtypes))
            inputs.append(Input(name, Role.STATE, kind, None, dtype))
        else:
            value = draw(constants)
            inputs.append(Input(name, Role.HYPERPARAMETER, Kind.SCALAR, value))
    if not any(entry.kind == Kind.ARRAY for entry in inputs):
        inputs.append(Input("g", Role.GRADIENT, Kind.ARRAY))
    return tuple(draw(st.permutations(inputs)))


@cache
def _fitting(op: OpDef, kinds: frozenset[Kind]) -> list[tuple[Kind, ...]]:
    """The arguments' kinds, out of those at hand, that the function takes."""
    every = product(sorted(kinds), repeat=len(op.args))
    return [each for each in every if not isinstance(op.kind(each), Mismatch)]


def _operand(
    draw: st.DrawFn, kinds: list[Kind], kind: Kind, constants: st.SearchStrategy[float]
) -> int | float:
    fit = [i for i, each in enumerate(kinds) if each == kind]
    if kind == Kind.SCALAR and (not fit or draw(st.booleans())):
        return draw(constants)
    return draw(_late(fit))


def _late(values: list[int]) -> st.SearchStrategy[int]:
    """One of some values, a late one twice as often as chance would have it."""
    return st.sampled_from(values) | st.sampled_from(values[-2:])
