"""A program run as it stands: no pass before it, every state variable kept, rounding disturbed.

The reference folds constants and removes what is dead before it runs a program, so that it cannot
tell whether these passes are right. This can. With `Noise` it also tells how much a program
amplifies rounding errors: by running it several times, with every number disturbed by some ulps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from optdsl.backends import reference
from optdsl.ir import Program, Role
from optdsl.ops import Kind, Over
from optdsl.passes.fold import evaluate
from optdsl.passes.shapes import Leaf, infer_leaves, scalar_dtype
from support.running import Blocks, Outcome

EXACT = {"abs", "sign", "maximum", "minimum", "where<", "where<=", "where==", "transpose"}
"""Functions that no implementation rounds."""


@dataclass(frozen=True)
class Noise:
    """Disturbs numbers by up to `ulps` ulps, up or down."""

    random: np.random.RandomState
    ulps: float

    def __call__(self, value: Any) -> Any:
        """A value (a number, an array or blocks) disturbed; zeros, infinities and NaN stay."""
        if isinstance(value, list):
            return [self(block) for block in value]
        if type(value) is float:
            return value
        array = np.asarray(value)
        by = self.random.uniform(-self.ulps, self.ulps, array.shape)
        with np.errstate(all="ignore"):
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

    for i, operation in enumerate(program.operations, start=len(program.inputs)):
        op, args = operation.op, [operand(arg) for arg in operation.args]
        if all(type(value) is float for value, _ in args):
            folded = evaluate(op, [value for value, _ in args])
            if folded is not None:
                values.append(folded)
                continue
        if noise is not None and op.over is not Over.NOTHING:  # sums of terms rounded otherwise
            args = [(noise(value), kind) for value, kind in args]
        result = reference._apply(op, args, types[i], shapes, scalar)
        values.append(result if noise is None or op.name in EXACT else noise(result))

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
