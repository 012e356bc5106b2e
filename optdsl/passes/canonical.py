"""The canonical hash: the structural one after algebraic normalisation.

Every value is brought into a normal form: a sum of terms, each a number times a product of atoms
and of reciprocals of atoms. Atoms are inputs, states, and other functions of normal forms. So
`x + x` and `2 * x`, `a - b` and `-1 * b + a`, `x ** 2`, `x * x` and `square(x)`, and the order and
grouping of sums and products make no difference; constants are folded. Sums are not multiplied
out, and factors are not cancelled: x / x is NaN at 0. What may differ between equal programs is
rounding, and NaN, infinities and the sign of zero where terms vanish (x - x).
"""

from collections.abc import Iterable
from typing import TypeAlias

from optdsl.ir import Program
from optdsl.ops import BY_NAME, OpDef, Prop
from optdsl.passes.fold import evaluate
from optdsl.passes.hashing import CONSTANT, LR, combine, hash_program

Atom: TypeAlias = tuple[bytes, int]
"""A digest, and 1 or -1 for the reciprocal."""

Monomial: TypeAlias = tuple[tuple[Atom, int], ...]
"""Atoms with their exponents (at least 1), sorted; () is the number 1."""

Form: TypeAlias = tuple[tuple[Monomial, float], ...]
"""A sum: monomials with their coefficients (never 0), sorted by monomial; () is 0."""

MAX_TERMS = 64
"""Longer sums become atoms, so that normal forms stay small."""

MAX_POWER = 8
"""Higher powers than this are not multiplied out."""

ONE: Form = (((), 1.0),)


class Canonical:
    """The numbering of programs by normal forms; see `hashing.Numbering`."""

    def __init__(self, ignore_constants: bool = False) -> None:
        """`ignore_constants`: all constants are equal, and a constant factor of `lr` is none."""
        self.ignore_constants = ignore_constants
        self.memo: dict[tuple[object, ...], Form] = {}

    def constant(self, value: float) -> Form:
        """A number."""
        return self._form([((), value)])

    def leaf(self, digest: bytes) -> Form:
        """An atom."""
        return ((((digest, 1), 1),), 1.0),  # fmt: skip

    def digest(self, value: Form) -> bytes:
        """The digest of a normal form; an atom's own, if it is no more than that."""
        if len(value) == 1:
            ((monomial, coefficient),) = value
            if coefficient == 1.0 and len(monomial) == 1 and monomial[0][1] == monomial[0][0][1]:
                return monomial[0][0][0]
        parts: list[bytes] = []
        for monomial, coefficient in value:
            parts.append(f"{coefficient:.10g}".encode())
            for (atom, sign), exponent in monomial:
                parts += [atom, f"{sign * exponent}".encode()]
            parts.append(b";")
        return combine(b"sum", *parts)

    def apply(self, op: OpDef, args: list[Form]) -> Form:
        """A function's normal form."""
        if self.ignore_constants and all(_is_constant(form) for form in args):
            return self.constant(1.0)
        known = [value for form in args if (value := number(form)) is not None]
        if len(known) == len(args):
            folded = evaluate(op, known)
            if folded is not None:
                return self.constant(folded)
        match op.name:
            case "+":
                return self._add(args[0], args[1])
            case "-":
                return self._add(args[0], _scaled(args[1], -1.0))
            case "*":
                return self._times(args[0], args[1])
            case "/":
                return self._times(args[0], self._inverse(args[1]))
            case "reciprocal":
                return self._inverse(args[0])
            case "square":
                return self._power(args[0], 2)
            case "cube":
                return self._power(args[0], 3)
            case "power":
                return self._raised(op, args)
            case "interpolate":
                x, y, a = args
                rest = self._add(ONE, _scaled(a, -1.0))
                if self.ignore_constants and _is_constant(a):
                    rest = a
                return self._add(self._times(rest, x), self._times(a, y))
            case _:
                return self._function(op, args)

    def _function(self, op: OpDef, args: list[Form]) -> Form:
        """A function of normal forms as an atom; the sign of an odd one is taken out."""
        sign = 1.0
        if len(args) == 1 and args[0] and args[0][0][1] < 0:
            if Prop.ODD in op.props:
                sign = -1.0
            if Prop.ODD in op.props or Prop.EVEN in op.props:
                args = [_scaled(args[0], -1.0)]
        digests = [self.digest(form) for form in args]
        if op.commutative:
            digests.sort()
        atom = combine(b"function", op.hash_id.encode(), *digests)
        return self._form([((((atom, 1), 1),), sign)])

    def _raised(self, op: OpDef, args: list[Form]) -> Form:
        exponent = number(args[1])
        if exponent is not None and exponent == int(exponent) and 0 < abs(exponent) <= MAX_POWER:
            power = self._power(args[0], int(abs(exponent)))
            return power if exponent > 0 else self._inverse(power)
        if exponent in (0.5, -0.5):
            root = self._function(BY_NAME["sqrt"], args[:1])
            return root if exponent == 0.5 else self._inverse(root)
        return self._function(op, args)

    def _add(self, x: Form, y: Form) -> Form:
        form = self._form((*x, *y))
        return self._as_factor(form) if len(form) > MAX_TERMS else form

    def _times(self, x: Form, y: Form) -> Form:
        if not x or not y:
            return ()
        for a, b in ((x, y), (y, x)):
            value = number(a)
            if value is not None:
                return self._form([(monomial, value * c) for monomial, c in b])
        ((left, a),), ((right, b),) = self._as_factor(x), self._as_factor(y)
        return self._form([(_product(left, right), a * b)])

    def _power(self, x: Form, exponent: int) -> Form:
        result = ONE
        for _ in range(exponent):
            result = self._times(result, x)
        return result

    def _inverse(self, x: Form) -> Form:
        if not x:
            return self._function(BY_NAME["reciprocal"], [x])
        ((monomial, coefficient),) = self._as_factor(x)
        flipped = tuple(sorted(((atom, -sign), n) for (atom, sign), n in monomial))
        return self._form([(flipped, 1 / coefficient)])

    def _as_factor(self, x: Form) -> Form:
        """A single term: a longer sum, divided by its first coefficient, becomes an atom."""
        if len(x) == 1:
            return x
        leading = 1.0 if self.ignore_constants else x[0][1]
        atom = self.digest(_scaled(x, 1 / leading))
        return (((((atom, 1), 1),), leading),)

    def _form(self, terms: Iterable[tuple[Monomial, float]]) -> Form:
        """The sum of some terms, like terms collected."""
        collected: dict[Monomial, float] = {}
        for monomial, coefficient in terms:
            if self.ignore_constants:
                monomial, coefficient = _without_constants(monomial, coefficient)
            collected[monomial] = collected.get(monomial, 0.0) + coefficient
        if self.ignore_constants:
            collected = dict(_without_constants(m, c) for m, c in collected.items() if c != 0.0)
        return tuple(sorted((m, c) for m, c in collected.items() if c != 0.0))


_CANONICAL = Canonical()


def canonical_hash(program: Program) -> str:
    """Equal for programs that are equal by ordinary algebra."""
    return hash_program(program, _CANONICAL).digest.hex()


def number(form: Form) -> float | None:
    """The value of a normal form that is a number, else None."""
    if not form:
        return 0.0
    return form[0][1] if len(form) == 1 and form[0][0] == () else None


def _is_constant(form: Form) -> bool:
    return all(atom == CONSTANT for monomial, _ in form for (atom, _), _ in monomial)


def _scaled(form: Form, factor: float) -> Form:
    return tuple((monomial, coefficient * factor) for monomial, coefficient in form)


def _product(x: Monomial, y: Monomial) -> Monomial:
    exponents = dict(x)
    for atom, exponent in y:
        exponents[atom] = exponents.get(atom, 0) + exponent
    return tuple(sorted(exponents.items()))


def _without_constants(monomial: Monomial, coefficient: float) -> tuple[Monomial, float]:
    """Whatever numbers a term has become one anonymous factor, or none beside `lr`."""
    rest = tuple(entry for entry in monomial if entry[0][0] != CONSTANT)
    has_constant = len(rest) < len(monomial) or abs(coefficient) != 1.0 or not rest
    if not has_constant:
        return monomial, coefficient
    if coefficient == 0.0 or any(atom == LR for (atom, _), _ in rest):
        return rest, min(abs(coefficient), 1.0)
    return _product(rest, (((CONSTANT, 1), 1),)), 1.0
