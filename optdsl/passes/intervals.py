"""Between which numbers each value lies, at every training step.

Weights and gradients may be any numbers, the learning rate any that is not negative; a step's
number is at least 1. States start at zero and grow with each turn around the loop until their
intervals hold for the next turn as well. So `sqrt(v)` of an average v of squares is found to be at
least 0, and `sqrt(v) + eps` at least eps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from optdsl.ir import Operation, Program, Role
from optdsl.ops import Over, Prop
from optdsl.passes.live import live_values

Interval = tuple[float, float]
"""The least and the largest number, which may be infinite; NaN is in none."""

ALL: Interval = (-math.inf, math.inf)
POSITIVE: Interval = (0.0, math.inf)

TURNS, LAST_TURNS = 4, 40
"""Turns around the loop before intervals are widened to the next of THRESHOLDS, or to infinity."""

THRESHOLDS = (-math.inf, -1.0, 0.0, 1.0, math.inf)

INPUTS: dict[Role, Interval] = {
    Role.WEIGHT: ALL,
    Role.GRADIENT: ALL,
    Role.LEARNING_RATE: POSITIVE,
    Role.STEP: (1.0, math.inf),
}


@dataclass(frozen=True)
class Risk:
    """An operation that may get an argument outside of what it is a number for."""

    operation: int
    """Its position."""
    argument: int
    """Which of its arguments."""
    by_zero: bool
    """Whether it divides by zero."""


def intervals(program: Program, inputs: dict[Role, Interval] = INPUTS) -> list[Interval]:
    """The interval of every value: the inputs, then the operations' results.

    Args:
        program: any valid one; its hyperparameters have their defaults.
        inputs: what is supposed of the other inputs.
    """
    states: dict[int, Interval] = dict.fromkeys(program.states, (0.0, 0.0))
    turn = 0
    while True:
        found = _one_step(program, inputs, states)
        new = {
            state: _hull(states[state], _of(program, found, output))
            for state, output in zip(program.states, program.outputs[1:], strict=True)
        }
        if new == states:
            return found
        turn += 1
        if turn >= TURNS:
            ends = THRESHOLDS if turn < LAST_TURNS else ALL
            new = {state: _widened(states[state], grown, ends) for state, grown in new.items()}
        states = new


def risks(program: Program, found: Sequence[Interval]) -> list[Risk]:
    """The live operations that may divide by zero, or leave their function's domain."""
    risky: list[Risk] = []
    live = live_values(program)
    for position, (op, args, _) in enumerate(program.operations):
        if not live[len(program.inputs) + position]:
            continue
        spans = [_of(program, found, arg) for arg in args]
        if op.name in ("/", "reciprocal") and _has_zero(spans[-1]):
            risky.append(Risk(position, len(args) - 1, by_zero=True))
        elif op.name == "cosine_sim":
            risky.append(Risk(position, 0, by_zero=True))
        elif op.name == "power":
            base, exponent = spans
            if exponent[0] < 0 and _has_zero(base):
                risky.append(Risk(position, 0, by_zero=True))
            elif base[0] < 0 and not (exponent[0] == exponent[1] and exponent[0] % 1 == 0):
                risky.append(Risk(position, 0, by_zero=False))
        elif op.name in DOMAINS:
            low, high = DOMAINS[op.name]
            least, largest = spans[0]
            outside = least < low or largest > high
            if outside or (op.name in POLES and (least == low or largest == high)):
                risky.append(Risk(position, 0, by_zero=False))
    return risky


DOMAINS: dict[str, Interval] = {
    "sqrt": POSITIVE,
    "log": POSITIVE,
    "log2": POSITIVE,
    "log10": POSITIVE,
    "log1p": (-1.0, math.inf),
    "arcsin": (-1.0, 1.0),
    "arccos": (-1.0, 1.0),
    "arctanh": (-1.0, 1.0),
    "arccosh": (1.0, math.inf),
}
"""For which numbers a function is a number."""

POLES = {"log", "log2", "log10", "log1p", "arctanh"}
"""Functions that are infinite where their domain ends."""


def _of(program: Program, found: Sequence[Interval], operand: int) -> Interval:
    if operand >= 0:
        return found[operand]
    return program.constants[~operand], program.constants[~operand]


def _one_step(
    program: Program, inputs: dict[Role, Interval], states: dict[int, Interval]
) -> list[Interval]:
    found: list[Interval] = []
    for i, entry in enumerate(program.inputs):
        if entry.default is not None:
            found.append((entry.default, entry.default))
        else:
            found.append(states[i] if i in states else inputs[entry.role])
    with np.errstate(all="ignore"):
        for operation in program.operations:
            args = [_of(program, found, arg) for arg in operation.args]
            low, high = _result(operation, args)
            low, high = float(low), float(high)
            found.append((-math.inf if low != low else low, math.inf if high != high else high))
    return found


def _result(operation: Operation, args: list[Interval]) -> Interval:
    """The interval of a function's value."""
    op, operands, _ = operation
    same = len(operands) == 2 and operands[0] == operands[1]
    if op.is_choice:
        return _hull(args[2], args[3])
    if op.over is Over.SHAPE:
        return POSITIVE
    if op.name in ("*", "dot") and same:
        return POSITIVE if op.name == "dot" else _square(args[0])
    if op.name in FUNCTIONS:
        return FUNCTIONS[op.name](*args)
    if op.over is Over.NOTHING and Prop.MONOTONE in op.props:
        low, high = DOMAINS.get(op.name, ALL)
        ends = [np.float64(min(max(end, low), high)) for end in args[0]]
        return op.ref(ends[0]), op.ref(ends[1])
    return ALL


def _hull(x: Interval, y: Interval) -> Interval:
    return min(x[0], y[0]), max(x[1], y[1])


def _widened(old: Interval, new: Interval, ends: Sequence[float]) -> Interval:
    """The new interval with what grew moved to the next of `ends`."""
    low, high = new
    if low < old[0]:
        low = max(end for end in ends if end <= low)
    if high > old[1]:
        high = min(end for end in ends if end >= high)
    return low, high


def _has_zero(x: Interval) -> bool:
    return x[0] <= 0 <= x[1]


def _add(x: Interval, y: Interval) -> Interval:
    return x[0] + y[0], x[1] + y[1]


def _negative(x: Interval) -> Interval:
    return -x[1], -x[0]


def _times(x: Interval, y: Interval) -> Interval:
    corners = [0.0 if a == 0 or b == 0 else a * b for a in x for b in y]
    return min(corners), max(corners)


def _over(x: Interval, y: Interval) -> Interval:
    return _times(x, _reciprocal(y))


def _reciprocal(x: Interval) -> Interval:
    low, high = x
    if low > 0 or high < 0:
        return 1 / high, 1 / low
    if low == 0 < high:
        return 1 / high, math.inf
    if low < 0 == high:
        return -math.inf, 1 / low
    return ALL


def _abs(x: Interval) -> Interval:
    ends = sorted(abs(end) for end in x)
    return (0.0 if _has_zero(x) else ends[0]), ends[1]


def _square(x: Interval) -> Interval:
    low, high = _abs(x)
    return low * low, high * high


def _power(x: Interval, y: Interval) -> Interval:
    if x[0] < 0:
        even = y[0] == y[1] and y[0] % 2 == 0 and y[0] > 0
        return _power(_abs(x), y) if even else ALL
    corners = [float(np.float_power(a, b)) for a in x for b in y]
    return ALL if any(c != c for c in corners) else (min(corners), max(corners))


def _largest(x: Interval, y: Interval) -> Interval:
    return max(x[0], y[0]), max(x[1], y[1])


def _interpolate(x: Interval, y: Interval, a: Interval) -> Interval:
    mixed = _add(_times((1 - a[1], 1 - a[0]), x), _times(a, y))
    if a[0] < 0 or a[1] > 1:
        return mixed
    hull = _hull(x, y)  # an average, which rounding in 1 - a must not take out of its bounds
    return max(mixed[0], hull[0]), min(mixed[1], hull[1])


def _clipped(x: Interval, bound: Interval) -> Interval:
    if bound[0] < 0:
        return ALL
    return max(x[0], -bound[1]) if x[0] < 0 else 0.0, min(x[1], bound[1]) if x[1] > 0 else 0.0


def _itself(x: Interval) -> Interval:
    return x


FUNCTIONS: dict[str, Callable[..., Interval]] = {
    "+": _add,
    "-": lambda x, y: _add(x, _negative(y)),
    "*": _times,
    "/": _over,
    "reciprocal": _reciprocal,
    "abs": _abs,
    "square": _square,
    "power": _power,
    "maximum": _largest,
    "minimum": lambda x, y: _negative(_largest(_negative(x), _negative(y))),
    "interpolate": _interpolate,
    "clip_by_global_norm": _clipped,
    "sin": lambda x: (-1.0, 1.0),
    "cos": lambda x: (-1.0, 1.0),
    "arccos": lambda x: (0.0, math.pi),
    "cosh": lambda x: (1.0, math.inf),
    "cosine_sim": lambda x, y: (-1.0, 1.0),
    "norm": lambda x: POSITIVE,
    "global_norm": lambda x: POSITIVE,
    "mean": _itself,
    "row_mean": _itself,
    "column_mean": _itself,
    "row_max": _itself,
    "column_max": _itself,
    "transpose": _itself,
    "sum": lambda x: POSITIVE if x[0] >= 0 else ALL,
    "orthonormal": lambda x: (-1.0, 1.0),
}
"""For the functions that are not monotone functions of one number; ALL for others."""
