"""Each row's `lower` under jitted JAX against its `ref`: a new row is tested unasked."""

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support.arrays import flush, ulps
from support.grids import arguments, numbers, trees
from support.programs_of_one import RESULT, argument_name, program_of_one
from support.running import doubles, jax_stepper, reference_stepper

from optdsl.backends.reference import DTYPES
from optdsl.ops import OPS, Kind, OpDef, Over
from optdsl.ops.kinds import last_scalar
from optdsl.passes.shapes import Leaf, infer_leaves

ULPS = {"float32": 8, "bfloat16": 2, "float16": 2, "float64": 10}
"""By how much a result may differ from the reference's."""

INEXACT = {
    ("log1p", "float64"): 128,  # XLA's CPU backend
    ("arctanh", "float64"): 128,  # made from log1p
}
"""Functions that JAX itself gives less exactly."""

BACKWARD_STABLE = {"sinh", "cosh", "exp2", "interpolate", "clip_by_global_norm"}
"""Exact for an argument changed by some ulps: JAX rounds on the way (exp2(x) is exp(x * log(2))),
or terms cancel (in `interpolate`). Sums of many numbers are so as well."""

ARGUMENT_ULPS = 2
SCALARS = (0.0, -0.0, 0.3, 1.0, -2.5, 1e-8, np.inf, np.nan)

ELEMENTWISE = [op for op in OPS if op.over is Over.NOTHING and op.args]
SUMMING = [op for op in OPS if op.over is not Over.NOTHING]


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


def close(op: OpDef, expected: Any, wide: Any, got: Any, changed: Sequence[Any]) -> Any:
    """Which elements are as near to the reference as the row promises.

    Args:
        op: the row.
        expected: the reference's result.
        wide: the reference's result in double precision: JAX may round less often (it fuses
            multiplication and addition), and thus overflow later.
        got: JAX's result.
        changed: the reference's results for arguments changed by ARGUMENT_ULPS.
    """
    dtype = expected.dtype
    bound = INEXACT.get((op.name, str(dtype)), ULPS[str(dtype)])
    with np.errstate(all="ignore"):
        near = (ulps(expected, got) <= bound) | (ulps(wide.astype(dtype), got) <= bound)
        exact, found = expected.astype(np.float64), got.astype(np.float64)
        difference = np.abs(exact - found)
        near |= difference <= 4 * float(ml_dtypes.finfo(dtype).tiny)  # flushed to zero
        if op.over is not Over.NOTHING or op.name in BACKWARD_STABLE:
            spread = np.max([np.abs(each.astype(np.float64) - exact) for each in changed], axis=0)
            rounding = bound * float(ml_dtypes.finfo(dtype).eps) * np.abs(exact)
            near |= difference <= spread + rounding
        elif op.over is Over.NOTHING:  # the sign of zero shows in 1 / x
            near &= (expected != 0) | (got != 0) | (np.signbit(expected) == np.signbit(got))
    return near


def nudged(block: Any, random: np.random.RandomState) -> Any:
    """Each number changed by up to ARGUMENT_ULPS ulps, up or down."""
    block = np.asarray(block)
    by = random.uniform(-ARGUMENT_ULPS, ARGUMENT_ULPS, block.shape)
    with np.errstate(all="ignore"):
        changed = block.astype(np.float64) * (1 + by * float(ml_dtypes.finfo(block.dtype).eps))
        return changed.astype(block.dtype)


def in_double(blocks: Sequence[Any]) -> list[Any]:
    return [np.asarray(block, np.float64) for block in blocks]


def compare(op: OpDef, cases: Sequence[tuple[str, list[Any], dict[str, list[Any]]]]) -> None:
    """Run the row on (description, weights, arguments' blocks) and compare element by element."""
    program = program_of_one(op, kinds_of(op))
    reference, compiled = reference_stepper(program), jax_stepper(program)
    random = np.random.RandomState(3)
    for what, weights, state in cases:
        expected = reference(weights, weights, state, 1.0, 1).state[RESULT]
        got = compiled(weights, weights, state, 1.0, 1).state[RESULT]
        wide = reference(in_double(weights), in_double(weights), {
            key: in_double(blocks) for key, blocks in state.items()
        }, 1.0, 1).state[RESULT]  # fmt: skip
        others = [
            reference(
                weights, weights,
                {key: [nudged(block, random) for block in blocks] for key, blocks in state.items()},
                1.0, 1,
            ).state[RESULT]
            for _ in range(8)
        ]  # fmt: skip
        for i, (a, b) in enumerate(zip(expected, got, strict=True)):
            fine = close(op, a, wide[i], np.asarray(b), [other[i] for other in others])
            if np.all(fine):
                continue
            worst = np.argmin(fine)
            given = {
                key: np.broadcast_to(blocks[min(i, len(blocks) - 1)], np.shape(a)).flat[worst]
                for key, blocks in state.items()
                if np.size(blocks[min(i, len(blocks) - 1)]) in (1, np.size(a))
            }
            raise AssertionError(
                f"{op.name} on {what}, {a.dtype}: {np.sum(~fine)} of {fine.size} differ; for"
                f" {given} {a.flat[worst]} by the reference, {b.flat[worst]} by JAX"
            )


def elementwise_cases(op: OpDef, dtype: str) -> list[tuple[str, list[Any], dict[str, list[Any]]]]:
    bounded = op.rule is last_scalar
    grid = arguments(len(op.args) - bounded, dtype)
    if bounded:  # products that overflow are inf or NaN in the reference, neither when fused
        grid = tuple(flush((values / 4).astype(values.dtype)) for values in grid)
    weights = [np.zeros(len(grid[0]), DTYPES[dtype])]
    state = {argument_name(i): [values] for i, values in enumerate(grid)}
    state[RESULT] = weights
    if not bounded:
        return [("a grid", weights, state)]
    scalar = np.float64 if dtype == "float64" else np.float32
    return [
        (f"a grid and {value}", weights, state | {argument_name(len(grid)): [scalar(value)]})
        for value in SCALARS
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("op", ELEMENTWISE, ids=name)
def test_elementwise_functions_agree(op: OpDef, dtype: str) -> None:
    compare(op, elementwise_cases(op, dtype))


@pytest.mark.parametrize("op", ELEMENTWISE, ids=name)
def test_elementwise_functions_agree_in_double_precision(op: OpDef) -> None:
    with doubles():
        compare(op, elementwise_cases(op, "float64"))


def tree_cases(op: OpDef, dtype: str) -> list[tuple[str, list[Any], dict[str, list[Any]]]]:
    program = program_of_one(op, kinds_of(op))
    cases: list[tuple[str, list[Any], dict[str, list[Any]]]] = []
    with np.errstate(over="ignore"):
        for what, tree in trees().items():
            weights = [leaf.astype(DTYPES[dtype]) for leaf in tree]
            types = infer_leaves(program, [Leaf(leaf.shape, dtype) for leaf in weights])
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
                cases.append((what, weights, state))
    return cases


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("op", SUMMING, ids=name)
def test_functions_that_add_up_agree(op: OpDef, dtype: str) -> None:
    compare(op, tree_cases(op, dtype))


@pytest.mark.parametrize("op", [op for op in OPS if not op.args], ids=name)
def test_constants_agree(op: OpDef) -> None:
    compare(op, [("nothing", [np.zeros(2, np.float32)], {RESULT: [np.float32(0)]})])


def test_the_grid_holds_every_special_number() -> None:
    for dtype in ULPS:
        grid = numbers(dtype).astype(np.float64)
        assert np.isnan(grid).any()
        assert {np.inf, -np.inf, 0.0, 1.0} <= set(grid)
        assert np.signbit(grid[grid == 0]).any()
