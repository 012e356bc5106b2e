"""Runs of a program on gradients that break programs: zero, huge, tiny, NaN.

They confirm what `passes/intervals.py` supposes, with an example, and measure what is not seen in
the text. One weight array of float32 numbers, in NumPy, with each function's own reference.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optdsl.backends.reference import DTYPES
from optdsl.ir import Operation, Program, Role
from optdsl.ops import Kind, Over
from optdsl.passes.intervals import Risk
from optdsl.passes.live import live_values
from optdsl.passes.shapes import block_shape

MAX_OPERATIONS = 1000
"""Longer programs are not run for examples, nor for long: a file's text must not take seconds."""

SHAPE = (3, 3)
STEPS = 12
RATE = 0.01
NOISE = 1e-6
"""Updates of no more than this times the weights are rounding errors of `w - w`."""

TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Stream:
    """A run's surroundings."""

    name: str
    """To follow "with"."""
    gradient: Callable[[Any, int], Any]
    """From normal numbers, other ones in each step, and the step's number."""
    learning_rate: float = RATE
    weights: float = 0.5
    """The size of the first weights."""


STREAMS = (
    Stream("zero gradients", lambda normal, step: 0 * normal),
    Stream("zero weights and gradients", lambda normal, step: 0 * normal, weights=0.0),
    Stream("gradients of about 1", lambda normal, step: normal),
    Stream("the same gradients in every step", lambda normal, step: np.ones_like(normal)),
    Stream("huge gradients that stay the same", lambda normal, step: 0 * normal + 3e17),
    Stream("gradients of about 1e-25", lambda normal, step: 1e-25 * normal),
    Stream("gradients that become zero", lambda normal, step: normal * (step < STEPS // 2)),
    Stream("gradients that change their sign", lambda normal, step: 1.0 - 2 * (step % 2)),
    Stream("a learning rate of zero", lambda normal, step: normal, learning_rate=0.0),
)


@dataclass(frozen=True)
class Moment:
    """One step of a run: all values of the program, by number, and how the run is called."""

    stream: str
    step: int
    values: list[Any]


def moments(program: Program, stream: Stream, steps: int = STEPS) -> Iterator[Moment]:
    """The steps of a run.

    Args:
        program: any valid one; its hyperparameters have their defaults.
        stream: what the run is given.
        steps: how many.
    """
    random = np.random.RandomState(20230213)
    weights = stream.weights * random.standard_normal(SHAPE).astype(np.float32)
    state = {i: _stored(program, i, 0.0) for i in program.states}
    for step in range(1, steps + 1):
        normal = random.standard_normal(SHAPE)
        given = {
            Role.WEIGHT: weights,
            Role.GRADIENT: np.asarray(stream.gradient(normal, step) + 0 * normal, np.float32),
            Role.LEARNING_RATE: np.float32(stream.learning_rate),
            Role.STEP: np.float32(step),
        }
        inputs: list[Any] = [
            entry.default if entry.default is not None else state.get(i, given.get(entry.role))
            for i, entry in enumerate(program.inputs)
        ]
        values = _values(program, inputs)
        yield Moment(stream.name, step, values)
        new = [_of(program, values, output) for output in program.outputs]
        with np.errstate(all="ignore"):
            weights = np.asarray(weights - new[0], np.float32)
        pairs = zip(program.states, new[1:], strict=True)
        state = {i: _stored(program, i, value) for i, value in pairs}


def examples(program: Program, risks: Sequence[Risk]) -> dict[Risk, Moment]:
    """For risky operations, a step at which they spoil the update or a live state.

    What the step is given is finite, and so are the operation's arguments; results of other risky
    operations are taken to be zero where they are not. A result that is not finite, but that a
    `where` does not take, spoils nothing. Risks without an example are left out.
    """
    found: dict[Risk, Moment] = {}
    outputs, first = _live_outputs(program), len(program.inputs)
    every = {risk.operation for risk in risks}

    def spoils(values: list[Any]) -> bool:
        return not _finite([_of(program, values, output) for output in outputs])

    short = len(program.operations) <= MAX_OPERATIONS
    for stream in STREAMS if risks and short else ():
        for moment in moments(program, stream):
            inputs = moment.values[:first]
            if not _finite(inputs):
                break
            if not spoils(moment.values) or spoils(_values(program, inputs, every)):
                continue  # the latter overflows somewhere else
            for risk in risks:
                args = program.operations[risk.operation].args
                if risk not in found and _finite([_of(program, moment.values, x) for x in args]):
                    alone = _values(program, inputs, every - {risk.operation})
                    if spoils(alone):
                        found[risk] = moment
    return found


def _values(program: Program, inputs: list[Any], mended: Collection[int] = ()) -> list[Any]:
    """All values of a step; `mended` are operations whose results are zero if not finite."""
    values = list(inputs)
    with np.errstate(all="ignore"):
        for position, operation in enumerate(program.operations):
            result = _result(program, operation, values)
            values.append(
                np.where(np.isfinite(result), result, 0) if position in mended else result
            )
    return values


def _finite(values: Sequence[Any]) -> bool:
    return all(bool(np.all(np.isfinite(value))) for value in values)


def _live_outputs(program: Program) -> list[int]:
    live = live_values(program)
    new = zip(program.states, program.outputs[1:], strict=True)
    return [program.outputs[0], *(output for state, output in new if live[state])]


@np.errstate(all="ignore")
def zero_gradient_behaviour(program: Program) -> str:
    """What the update is if all gradients are zero: `"zero"`, `"decay"`, `"moves"` or `"NaN"`."""
    weight = program.with_role(Role.WEIGHT)
    seen = {"zero"}
    for moment in moments(program, Stream("", lambda normal, step: 0 * normal, 1.0)):
        update = _of(program, moment.values, program.outputs[0])
        if not _finite([update]):
            return "NaN"
        size = np.abs(moment.values[weight[0]]) if weight else 0.0
        if np.any(np.abs(update) > NOISE * size):
            toward = weight and np.all(np.sign(update) == np.sign(moment.values[weight[0]]))
            seen.add("decay" if toward else "moves")
    return next(kind for kind in ("moves", "decay", "zero") if kind in seen)


@np.errstate(all="ignore")
def first_update_ratio(program: Program, steps: int = 300) -> float | None:
    """The first update over the last one, for weights that hardly move and the same gradient.

    1 for a program that needs no correction of its averages' bias, or has one; None where it has
    no meaning, as the last update is zero or not finite, or where the program is too long.
    """
    stream = Stream("", lambda normal, step: np.ones_like(normal), 1e-6)
    if len(program.operations) > MAX_OPERATIONS:
        return None
    first = last = 0.0
    for moment in moments(program, stream, steps):
        last = float(np.mean(_of(program, moment.values, program.outputs[0])))
        first = last if moment.step == 1 else first
    ratio = first / last if last else float("nan")
    return ratio if np.isfinite(ratio) else None


def keeps_nan(program: Program) -> bool:
    """Whether one NaN in a gradient leaves NaN in the states, and so in later updates."""

    def gradient(normal: Any, step: int) -> Any:
        return np.full_like(normal, np.nan) if step == 3 else normal

    runs = list(moments(program, Stream("a NaN", gradient), 4))
    live = live_values(program)
    return any(np.any(np.isnan(runs[3].values[i])) for i in program.states if live[i])


def _of(program: Program, values: Sequence[Any], operand: int) -> Any:
    return program.constants[~operand] if operand < 0 else values[operand]


@np.errstate(all="ignore")
def _stored(program: Program, state: int, value: Any) -> Any:
    """A value in the shape and dtype of a state."""
    entry = program.inputs[state]
    dtype = DTYPES[entry.dtype or "float32"]
    shape = block_shape(entry.kind, SHAPE) if entry.kind != Kind.SCALAR else ()
    return np.broadcast_to(np.asarray(value, dtype), shape)


def _result(program: Program, operation: Operation, values: Sequence[Any]) -> Any:
    """A function's value; what is too small for a normal number is zero, as on XLA's CPU."""
    op = operation.op
    args = [_of(program, values, operand) for operand in operation.args]
    if op.over is Over.TREE and len(args) > 1 and op.name != "clip_by_global_norm":
        args = np.broadcast_arrays(*args)
    elif op.over in (Over.ROW, Over.COLUMN, Over.MATRIX):
        args = [np.atleast_2d(arg) if np.ndim(arg) else arg for arg in args]
    result = np.asarray(op.ref(*args), np.float32)
    return np.where(np.abs(result) < TINY, np.float32(0), result)
