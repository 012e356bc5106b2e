"""Scale invariance: what becomes of the update if all gradients are multiplied by a number c > 0.

A value is homogeneous of degree d if it is multiplied by c ** d. Degrees follow from the functions:
`g * g` has degree 2, `sqrt` halves it, `sign` makes it 0, a sum needs equal ones. A state's degree
is that of its new value, found by going around the training loop until nothing changes; a state
starts at zero, which has every degree. The update of signSGD has degree 0, that of SGD degree 1.
"""

from collections.abc import Sequence
from fractions import Fraction

from optdsl.ir import Operation, Program, Role
from optdsl.ops import Over, Prop

Degree = Fraction | str
"""`"any"` is the degree of zero, `"none"` of what is not homogeneous, as far as is known."""

SMALL = 1e-4
"""Constants that are added and are no larger are there to keep numbers from zero."""

_ADDING = {"+", "-", "maximum", "minimum"}
_POWERS = {"square": 2, "cube": 3, "reciprocal": -1, "sqrt": Fraction(1, 2), "cbrt": Fraction(1, 3)}


def update_degree(program: Program, without_small: bool = False) -> Degree:
    """The update's degree in the gradients, over any number of steps.

    Args:
        program: with its hyperparameters bound and constants folded.
        without_small: take constants of at most SMALL that are added, or compared by `maximum` and
            `minimum`, to be zero. The degree then holds for gradients that are not small.

    Returns:
        A degree that holds exactly in real arithmetic, or `"none"` if none could be proved.
    """
    first = len(program.inputs)
    states: dict[int, Degree] = dict.fromkeys(program.states, "any")
    while True:
        degrees: list[Degree] = [
            states.get(i, Fraction(entry.role is Role.GRADIENT))
            for i, entry in enumerate(program.inputs)
        ]

        def of(arg: int, small_is_zero: bool = False) -> Degree:
            if arg >= 0:
                return degrees[arg]  # noqa: B023 (called in this turn alone)
            limit = SMALL if small_is_zero else 0.0
            return "any" if abs(program.constants[~arg]) <= limit else Fraction(0)

        for operation in program.operations:
            drops = without_small and operation.op.name in _ADDING
            args = [of(arg, drops) for arg in operation.args]
            degrees.append(_degree(operation, args, program))
        assert len(degrees) == first + len(program.operations)
        found = {
            state: _equal([states[state], of(new)])
            for state, new in zip(program.states, program.outputs[1:], strict=True)
        }
        if found == states:
            return of(program.outputs[0])
        states = found


def _degree(operation: Operation, args: list[Degree], program: Program) -> Degree:
    """The degree of a function's value."""
    op, operands, _ = operation
    name = op.name
    if op.over is Over.SHAPE or not args:
        return Fraction(0)
    if op.is_choice:
        return _equal(args[2:]) if _equal(args[:2]) != "none" else "none"
    if name == "sign":
        return args[0] if args[0] in ("any", "none") else Fraction(0)
    if name in _ADDING:
        return _equal(args)
    if name in ("*", "matmul", "dot"):
        return _times(args[0], args[1], 1)
    if name == "/":
        return _times(args[0], args[1], -1)
    if name in _POWERS:
        return _times(Fraction(0), args[0], _POWERS[name])
    if name == "power":
        if operands[1] < 0 and args[0] != "none":
            return _times(Fraction(0), args[0], Fraction(program.constants[~operands[1]]))
        return _unscaled(args)
    if name == "interpolate":
        return _equal(args[:2]) if args[2] in ("any", Fraction(0)) else "none"
    if name == "cosine_sim":
        return "none" if "none" in args else Fraction(0)
    if (op.over is not Over.NOTHING and op.props & {Prop.ODD, Prop.EVEN}) or name == "abs":
        return args[0]  # norms and sums
    if name in ("transpose", "row_max", "column_max"):
        return args[0]
    if name == "orthonormal":
        return "none" if "none" in args else Fraction(0)
    return _unscaled(args)


def _equal(degrees: Sequence[Degree]) -> Degree:
    """The degree of a sum."""
    distinct = {degree for degree in degrees if degree != "any"}
    if len(distinct) > 1:
        return "none"
    return next(iter(distinct), "any")


def _times(x: Degree, y: Degree, power: int | Fraction) -> Degree:
    """The degree of x * y ** power."""
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return x + power * y
    if "none" in (x, y) or (y == "any" and power < 0):  # the latter divides by zero
        return "none"
    return "any"


def _unscaled(degrees: Sequence[Degree]) -> Degree:
    """The degree of a function that has none: its arguments must not depend on the scale."""
    return Fraction(0) if all(d in ("any", Fraction(0)) for d in degrees) else "none"
