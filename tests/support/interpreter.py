"""A program run as it stands: no pass before it, every state variable kept, rounding disturbed.

The reference folds constants and removes what is dead before it runs a program, so that it cannot
tell whether these passes are right. This can. With `Noise` it also tells how much a program
amplifies rounding errors: by running it several times, every result disturbed by some ulps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from optdsl.backends import reference
from optdsl.ir import Program, Role
from optdsl.ops import Kind, OpDef, Over
from optdsl.passes.fold import evaluate
from optdsl.passes.shapes import Leaf, infer_leaves, scalar_dtype
from support.arrays import ULPS
from support.running import Blocks, Outcome

EXACT = {"abs", "sign", "maximum", "minimum", "where<", "where<=", "where==", "transpose"}
"""Functions that no implementation rounds."""


BACKWARD_STABLE = {"sinh", "cosh", "exp2", "interpolate", "clip_by_global_norm"}
"""Exact for an argument changed by some ulps: JAX rounds on the way (exp2(x) is exp(x * log(2))),
or terms cancel (in `interpolate`). Sums of many numbers are so as well."""

ARGUMENT_ULPS = 2

PRODUCTS = {"*", "square", "cube", "interpolate", "/", "reciprocal", "sqrt"}
"""Functions whose result XLA may not have rounded when a sum reads it (a * b + c in one go)."""


SUMS = {"+", "-", "interpolate"}
"""XLA takes x + 0.0 for x, which is -0.0 and not 0.0 for x = -0.0; 1 / x shows it."""


@dataclass(frozen=True)
class Noise:
    """Disturbs numbers by as much as JAX may differ from the reference, up or down."""

    random: np.random.RandomState

    def of_results(self, op: OpDef, value: Any) -> Any:
        """A function's result disturbed by ULPS; the zeros of sums get any sign."""
        if op.name in EXACT:
            return value
        value = self._disturbed(value, ULPS)
        return self._with_any_zero(value) if op.name in SUMS else value

    def of_argument(self, op: OpDef, value: Any, source: OpDef | None) -> Any:
        """What a function reads, the result of the function `source`, disturbed where it matters.

        What is read as it stands stays, so that x - x remains 0.
        """
        fused = op.name in ("+", "-") and source is not None and source.name in PRODUCTS
        if op.over is Over.NOTHING and op.name not in BACKWARD_STABLE and not fused:
            return value
        return self._disturbed(value, dict.fromkeys(ULPS, ARGUMENT_ULPS))

    def _with_any_zero(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_any_zero(block) for block in value]
        zeros = np.copysign(np.zeros_like(value), self.random.uniform(-1, 1, np.shape(value)))
        return np.where(np.equal(value, 0), zeros.astype(value.dtype), value)

    def _disturbed(self, value: Any, ulps: Mapping[str, int]) -> Any:
        """A value (a number, an array or blocks) disturbed; zeros, infinities and NaN stay."""
        if isinstance(value, list):
            return [self._disturbed(block, ulps) for block in value]
        if type(value) is float:
            return value
        array = np.asarray(value)
        bound = ulps[str(array.dtype)]
        by = self.random.uniform(-bound, bound, array.shape)
        factor = 1 + by * float(ml_dtypes.finfo(array.dtype).eps)
        return (array.astype(np.float64) * factor).astype(array.dtype)


@np.errstate(all="ignore")
def interpret(
    program: Program,
    weights: Sequence[Any],
    gradients: Sequence[Any],
    state: dict[str, Blocks] | None,
    rate: float,
    number: int,
    noise: Noise | None = None,
) -> Outcome:
    """One step, statement by statement; hyperparameters have their defaults."""
    leaves = [Leaf(w.shape, str(w.dtype)) for w in weights]
    of_gradients = [Leaf(g.shape, str(g.dtype)) for g in gradients]
    types = infer_leaves(program, leaves, of_gradients)
    scalar = reference.DTYPES[scalar_dtype([leaf.dtype for leaf in (*leaves, *of_gradients)])]
    shapes = [leaf.shape for leaf in leaves]
    values: list[Any] = []
    for entry, declared in zip(program.inputs, types, strict=False):
        match entry.role:
            case Role.WEIGHT:
                values.append(list(weights))
            case Role.GRADIENT:
                values.append(list(gradients))
            case Role.LEARNING_RATE:
                values.append(np.asarray(rate, scalar))
            case Role.STEP:
                values.append(np.asarray(number, scalar))
            case Role.HYPERPARAMETER:
                values.append(entry.default)
            case Role.STATE:
                types_of = reference.DTYPES
                zeros = [np.zeros(leaf.shape, types_of[leaf.dtype]) for leaf in declared.leaves]
                blocks = zeros if state is None else state[entry.name]
                values.append(blocks[0] if declared.kind == Kind.SCALAR else blocks)

    def operand(value: int) -> tuple[Any, Kind]:
        if value < 0:
            return program.constants[~value], Kind.SCALAR
        return values[value], types[value].kind

    first = len(program.inputs)
    sources_of = {first + i: operation.op for i, operation in enumerate(program.operations)}
    for i, operation in enumerate(program.operations, start=first):
        op, args = operation.op, [operand(arg) for arg in operation.args]
        if all(type(value) is float for value, _ in args):
            folded = evaluate(op, [value for value, _ in args])
            if folded is not None:
                is_call = not op.syntax and any(arg >= 0 for arg in operation.args)
                if noise is not None and is_call:
                    # The source calls JAX for a function of a hyperparameter; Python adds.
                    folded = float(noise.of_results(op, np.asarray(folded, scalar)))
                values.append(folded)
                continue
        if noise is not None:
            sources = [sources_of.get(arg) for arg in operation.args]
            args = [
                (noise.of_argument(op, value, source), kind)
                for (value, kind), source in zip(args, sources, strict=True)
            ]
        result = reference._apply(op, args, types[i], shapes, scalar)
        values.append(result if noise is None else noise.of_results(op, result))

    update, *new = [operand(output) for output in program.outputs]
    update_blocks = [np.asarray(u, g.dtype) for u, g in zip(update[0], gradients, strict=True)]
    kept: dict[str, Blocks] = {}
    for index, (value, kind) in zip(program.states, new, strict=True):
        declared = types[index]
        one = declared.kind == Kind.SCALAR
        blocks = [value] if kind == Kind.SCALAR else value
        blocks = blocks * len(declared.leaves) if kind == Kind.SCALAR else blocks
        kept[program.inputs[index].name] = [
            np.array(
                np.broadcast_to(reference._cast(block, kind, declared.kind, shape), leaf.shape),
                reference.DTYPES[leaf.dtype],
            )
            for block, leaf, shape in zip(
                blocks, declared.leaves, [()] if one else shapes, strict=True
            )
        ]
    return Outcome(update_blocks, kept)
