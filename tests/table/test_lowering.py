"""Each row's `lower` under jitted JAX against its `ref`: a new row is tested unasked."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np
import pytest
from support.arrays import ULPS, flush, ulps
from support.grids import arguments, numbers, trees
from support.interpreter import ARGUMENT_ULPS, BACKWARD_STABLE
from support.programs_of_one import RESULT, argument_name, program_of_one
from support.running import doubles, reference_stepper
from support.trees import nudged as nudged_arrays

from optdsl.backends.jax_lowering import apply_program
from optdsl.backends.reference import DTYPES
from optdsl.ir import Program
from optdsl.ops import OPS, Kind, OpDef, Over
from optdsl.ops.kinds import last_scalar, square
from optdsl.passes.shapes import Leaf, infer_leaves

INEXACT = {
    ("log1p", "float64"): 128,  # XLA's CPU backend
    ("arctanh", "float64"): 128,  # made from log1p
}
"""Functions that JAX itself gives less exactly."""

FUSED = {"matmul"}
"""A matrix product of finite numbers with a term beyond the largest one is an infinity or NaN, by
whether the library rounds a product (then terms of both signs give inf - inf) before it adds it."""

SCALARS = (0.0, -0.0, 0.3, 1.0, -2.5, 1e-8, np.inf, np.nan)

ELEMENTWISE = [op for op in OPS if op.over is Over.NOTHING and op.args]
OF_SQUARES = [op for op in OPS if op.rule is square]
"""For matrices of a certain sort: see `test_linear_algebra.py`."""
SUMMING = [op for op in OPS if op.over is not Over.NOTHING and op not in OF_SQUARES]


def name(op: OpDef) -> str:
    return op.name


def kinds_of(op: OpDef) -> list[Kind]:
    """Arrays where they are allowed."""
    kinds = [Kind.ARRAY] * len(op.args)
    if op.rule is last_scalar:
        kinds[-1] = Kind.SCALAR
    elif op.name == "matmul":
        kinds[-1] = Kind.TRANSPOSED
    return kinds


class Case(NamedTuple):
    """What to run a row on."""

    what: str
    weights: list[Any]
    state: dict[str, list[Any]]
    """The arguments' blocks."""


def near(op: OpDef, expected: Any, wide: Any, got: Any) -> Any:
    """Which elements are as near to the reference as the row promises.

    Args:
        op: the row.
        expected: the reference's result.
        wide: the reference's result in double precision: JAX may round less often (it fuses
            multiplication and addition), and thus overflow later.
        got: JAX's result.
    """
    dtype = expected.dtype
    bound = bound_of(op, dtype)
    fine = (ulps(expected, got) <= bound) | (ulps(wide.astype(dtype), got) <= bound)
    difference = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    fine |= difference <= 4 * float(ml_dtypes.finfo(dtype).tiny)  # flushed to zero
    if (
        op.over is Over.NOTHING and op.name not in BACKWARD_STABLE
    ):  # the sign of zero shows in 1 / x
        fine &= (expected != 0) | (got != 0) | (np.signbit(expected) == np.signbit(got))
    return fine


def near_for_near_arguments(op: OpDef, expected: Any, got: Any, changed: Sequence[Any]) -> Any:
    """Which elements are near to what the reference gives for arguments changed by some ulps.

    `changed` are the reference's results for arguments changed by ARGUMENT_ULPS.
    """
    exact = expected.astype(np.float64)
    spread = np.max([np.abs(each.astype(np.float64) - exact) for each in changed], axis=0)
    rounding = float(ml_dtypes.finfo(expected.dtype).eps) * np.abs(exact)
    difference = np.abs(exact - got.astype(np.float64))
    return difference <= spread + bound_of(op, expected.dtype) * rounding


def bound_of(op: OpDef, dtype: Any) -> int:
    return INEXACT.get((op.name, str(dtype)), ULPS[str(dtype)])


def nudged(case: Case, random: np.random.RandomState) -> Case:
    """Each argument changed by up to ARGUMENT_ULPS ulps, up or down."""
    state = {
        key: nudged_arrays(blocks, random, ARGUMENT_ULPS) for key, blocks in case.state.items()
    }
    return case._replace(state=state)


def in_double(case: Case) -> Case:
    wide = {k: [np.asarray(x, np.float64) for x in blocks] for k, blocks in case.state.items()}
    return Case(case.what, [np.asarray(w, np.float64) for w in case.weights], wide)


def is_finite(case: Case) -> bool:
    blocks = [block.astype(np.float64) for each in case.state.values() for block in each]
    return all(np.all(np.isfinite(block)) for block in blocks)


def compiled_result(program: Program) -> Callable[[Case], list[Any]]:
    """The result by jitted JAX; nothing else is compiled."""
    scalars = {entry.name for entry in program.inputs if entry.kind == Kind.SCALAR}

    @jax.jit
    def compiled(weights: Any, state: Any) -> Any:
        _, new = apply_program(program, weights, weights, state, None, None, {})
        return new[RESULT]

    def run(case: Case) -> list[Any]:
        state = {k: v[0] if k in scalars else v for k, v in case.state.items()}
        return [np.asarray(leaf) for leaf in jax.tree.leaves(compiled(case.weights, state))]

    return run


def reference_result(program: Program, case: Case) -> list[Any]:
    step = reference_stepper(program)
    return step(case.weights, case.weights, case.state, 1.0, 1).state[RESULT]


@np.errstate(all="ignore")
def compare(op: OpDef, cases: Sequence[Case]) -> None:
    """Run the row on all cases and compare element by element."""
    program = program_of_one(op, kinds_of(op))
    compiled = compiled_result(program)
    stable = op.over is not Over.NOTHING or op.name in BACKWARD_STABLE
    for case in cases:
        expected, got = reference_result(program, case), compiled(case)
        wide = reference_result(program, in_double(case))
        fine = [near(op, *leaf) for leaf in zip(expected, wide, got, strict=True)]
        if stable and not all(map(np.all, fine)):
            random = np.random.RandomState(3)
            others = [reference_result(program, nudged(case, random)) for _ in range(8)]
            for i, (a, b) in enumerate(zip(expected, got, strict=True)):
                fine[i] |= near_for_near_arguments(op, a, b, [other[i] for other in others])
                if op.name in FUSED and is_finite(case):
                    fine[i] |= ~np.isfinite(a) & ~np.isfinite(b)
        for i, each in enumerate(fine):
            assert np.all(each), difference(op, case, i, np.argmin(each), expected[i], got[i])


def difference(op: OpDef, case: Case, leaf: int, at: Any, expected: Any, got: Any) -> str:
    blocks = {key: each[min(leaf, len(each) - 1)] for key, each in case.state.items()}
    given = {
        key: np.broadcast_to(block, expected.shape).flat[at]
        for key, block in blocks.items()
        if np.size(block) in (1, expected.size)
    }
    return (
        f"{op.name} on {case.what}, {expected.dtype}: for {given} {expected.flat[at]} by the"
        f" reference, {got.flat[at]} by JAX"
    )


def elementwise_case(op: OpDef, dtypes: Sequence[str]) -> Case:
    """A grid in each dtype."""
    bounded = op.rule is last_scalar
    grids = [arguments(len(op.args) - bounded, dtype) for dtype in dtypes]
    if bounded:  # products that overflow are inf or NaN in the reference, neither when fused
        grids = [tuple(flush((x / 4).astype(x.dtype)) for x in grid) for grid in grids]
    zeros = [np.zeros_like(grid[0]) for grid in grids]
    state = {argument_name(i): list(blocks) for i, blocks in enumerate(zip(*grids, strict=True))}
    return Case("a grid", zeros, state | {RESULT: zeros})


def elementwise_cases(op: OpDef, dtypes: Sequence[str]) -> list[Case]:
    case = elementwise_case(op, dtypes)
    if op.rule is not last_scalar:
        return [case]
    scalar = np.float64 if "float64" in dtypes else np.float32
    last = argument_name(len(op.args) - 1)
    return [
        Case(f"a grid and {value}", case.weights, case.state | {last: [scalar(value)]})
        for value in SCALARS
    ]


# All dtypes are compiled together, as leaves of one tree: this is what takes the time.


@pytest.mark.parametrize("op", ELEMENTWISE, ids=name)
def test_elementwise_functions_agree(op: OpDef) -> None:
    compare(op, elementwise_cases(op, ("float32", "bfloat16", "float16")))


@pytest.mark.parametrize("op", ELEMENTWISE, ids=name)
def test_elementwise_functions_agree_in_double_precision(op: OpDef) -> None:
    with doubles():
        compare(op, elementwise_cases(op, ("float64",)))


def tree_cases(op: OpDef) -> list[Case]:
    """Each tree with its arrays in float32 and again in bfloat16."""
    program = program_of_one(op, kinds_of(op))
    cases: list[Case] = []
    for what, tree in trees().items():
        weights = [leaf.astype(DTYPES[d]) for d in ("float32", "bfloat16") for leaf in tree]
        types = infer_leaves(program, [Leaf(leaf.shape, str(leaf.dtype)) for leaf in weights])
        for scalar in (0.5, -0.0, np.inf, np.nan) if op.rule is last_scalar else (1.0,):
            state: dict[str, list[Any]] = {}
            for entry, declared in zip(program.inputs[1:], types[1:], strict=False):
                if declared.kind == Kind.SCALAR:
                    state[entry.name] = [np.asarray(scalar, DTYPES[declared.leaves[0].dtype])]
                    continue
                # The second argument is the first one upside down, so that they differ.
                turn = 1 if entry.name == argument_name(0) else -1
                state[entry.name] = [
                    np.resize(leaf.ravel()[::turn], of.shape).astype(DTYPES[of.dtype])
                    for leaf, of in zip(weights, declared.leaves, strict=True)
                ]
            cases.append(Case(what, weights, state))
    return cases


@pytest.mark.parametrize("op", SUMMING, ids=name)
def test_functions_that_add_up_agree(op: OpDef) -> None:
    compare(op, tree_cases(op))


@pytest.mark.parametrize("op", [op for op in OPS if not op.args], ids=name)
def test_constants_agree(op: OpDef) -> None:
    compare(op, [Case("nothing", [np.zeros(2, np.float32)], {RESULT: [np.float32(0)]})])


def test_the_grid_holds_every_special_number() -> None:
    for dtype in ULPS:
        grid = numbers(dtype).astype(np.float64)
        assert np.isnan(grid).any()
        assert {np.inf, -np.inf, 0.0, 1.0} <= set(grid)
        assert np.signbit(grid[grid == 0]).any()
