"""The canonical hash: the structural one after algebraic normalisation.

Every value is brought into a normal form: a sum of terms, each a number times a product of atoms
and of reciprocals of atoms. Atoms are inputs, states, and other functions of normal forms. So
`x + x` and `2 * x`, `a - b` and `-1 * b + a`, `x ** 2`, `x * x` and `square(x)`, and the order and
grouping of sums and products make no difference; constants are folded. Sums are not multiplied
out, and factors are not cancelled: x / x is NaN at 0. What may differ between equal programs is
rounding, and NaN, infinities and the sign of zero where terms vanish (x - x).

A form does not tell how many numbers it stands for: `0 * w + 1` and `1` are the same one. That
matters to what adds numbers up, so values have their kinds beside their forms.

Ignoring constants, a program's constants are unknown coefficients, which absorb what they meet.
Coefficients that come of the program's form (2 of x + x, -1 of x - y) stay exact as long as forms
are calculated, and their digests show no more of them than whether they are 1.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from optdsl.ir import Program
from optdsl.ops import BY_NAME, Kind, OpDef, Over, Prop
from optdsl.passes.fold import evaluate
from optdsl.passes.hashing import LR, combine, hash_program

Atom: TypeAlias = tuple[bytes, int]
"""A digest, and 1 or -1 for the reciprocal."""

Monomial: TypeAlias = tuple[tuple[Atom, int], ...]
"""Atoms with their exponents (at least 1), sorted; () is the number 1."""

Form: TypeAlias = tuple[tuple[Monomial, float], ...]
"""A sum: monomials with their coefficients, sorted by monomial; () is 0.

Coefficients are never 0, and finite or UNKNOWN.
"""

MAX_TERMS = 64
"""Longer sums become atoms, so that normal forms stay small."""

MAX_POWER = 8
"""Higher powers than this are not multiplied out."""

UNKNOWN = math.nan
"""The coefficient that some ignored constant is: whatever is calculated from it is unknown too."""


class Value(NamedTuple):
    """What a value is, symbolically."""

    kind: Kind
    form: Form


class Canonical:
    """The numbering of programs by normal forms; see `hashing.Numbering`."""

    def __init__(self, ignore_constants: bool = False, known: Iterable[float] = ()) -> None:
        """What to tell apart.

        Args:
            ignore_constants: all constants are equal, and a constant factor of `lr` is none.
            known: constants that are taken for part of the program's form even so.
        """
        self.ignore_constants = ignore_constants
        self.known = frozenset(known)
        self.memo: dict[tuple[object, ...], Value] = {}

    def constant(self, value: float) -> Value:
        """A number."""
        ignored = self.ignore_constants and value not in self.known
        return Value(Kind.SCALAR, self._number(UNKNOWN if ignored else value))

    def leaf(self, digest: bytes, kind: Kind) -> Value:
        """An atom."""
        return Value(kind, _atom(digest))

    def digest(self, value: Value) -> bytes:
        """The digest of its normal form."""
        return self._digest(value.form)

    def apply(self, op: OpDef, args: list[Value]) -> Value:
        """A function's result."""
        kind = op.kind(tuple(value.kind for value in args))
        assert isinstance(kind, Kind)
        form = self._folded(op, args)
        if form is None:
            try:
                form = self._algebra(op, args)
            except OverflowError:
                form = self._function(op, args)
        return Value(kind, form)

    def _folded(self, op: OpDef, args: list[Value]) -> Form | None:
        """A function of nothing but numbers, if it is one."""
        known = [value for _, form in args if (value := number(form)) is not None]
        if len(known) < len(args) or _adds_blocks(op, args):
            return None
        ignored = self.ignore_constants and (not known or any(map(math.isnan, known)))
        result = UNKNOWN if ignored else evaluate(op, known)
        return None if result is None else self._number(result)

    def _algebra(self, op: OpDef, values: list[Value]) -> Form:
        """A function's normal form.

        Raises:
            OverflowError: if it has a coefficient beyond the range of doubles.
        """
        args = [value.form for value in values]
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
                return self._raised(op, values)
            case "interpolate":
                x, y, a = args
                rest = self._add(self.constant(1.0).form, _scaled(a, -1.0))
                return self._add(self._times(rest, x), self._times(a, y))
            case _:
                return self._function(op, values)

    def _function(self, op: OpDef, args: list[Value]) -> Form:
        """A function of values as an atom; the sign of an odd one is taken out."""
        sign = 1.0
        if len(args) == 1 and (form := args[0].form) and form[0][1] < 0:
            if Prop.ODD in op.props:
                sign = -1.0
            if Prop.ODD in op.props or Prop.EVEN in op.props:
                args = [args[0]._replace(form=_scaled(form, -1.0))]
        digests = [self._digest(form) for _, form in args]
        if op.over is not Over.NOTHING:
            digests = [
                combine(str(value.kind).encode(), digest)
                for value, digest in zip(args, digests, strict=True)
            ]
        if op.commutative:
            digests.sort()
        return _atom(combine(b"function", op.hash_id.encode(), *digests), sign)

    def _raised(self, op: OpDef, args: list[Value]) -> Form:
        base, exponent = args[0].form, number(args[1].form)
        if exponent is not None and exponent.is_integer() and 0 < abs(exponent) <= MAX_POWER:
            power = self._power(base, int(abs(exponent)))
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
                # An unknown factor of a sum is one constant, not one for each term.
                terms = self._as_factor(b) if math.isnan(value) else b
                return self._form((monomial, value * c) for monomial, c in terms)
        ((left, a),), ((right, b),) = self._as_factor(x), self._as_factor(y)
        return self._form([(_product(left, right), a * b)])

    def _power(self, x: Form, exponent: int) -> Form:
        result = x
        for _ in range(exponent - 1):
            result = self._times(result, x)
        return result

    def _inverse(self, x: Form) -> Form:
        if not x:
            return self._function(BY_NAME["reciprocal"], [Value(Kind.SCALAR, x)])
        ((monomial, coefficient),) = self._as_factor(x)
        flipped = tuple(sorted(((atom, -sign), n) for (atom, sign), n in monomial))
        return self._form([(flipped, 1 / coefficient)])

    def _as_factor(self, x: Form) -> Form:
        """A single term: a longer sum, divided by its first known coefficient, becomes an atom."""
        if len(x) == 1:
            return x
        coefficients = [self._beside_lr(monomial, coefficient) for monomial, coefficient in x]
        leading = next((c for c in coefficients if not math.isnan(c)), UNKNOWN)
        quotients = [coefficient / leading for coefficient in coefficients]
        if any(quotient == 0.0 or math.isinf(quotient) for quotient in quotients):
            leading, quotients = 1.0, coefficients
        monomials = [monomial for monomial, _ in x]
        return _atom(self._digest(tuple(zip(monomials, quotients, strict=True))), leading)

    def _number(self, value: float) -> Form:
        return self._form([((), value)])

    def _form(self, terms: Iterable[tuple[Monomial, float]]) -> Form:
        """The sum of some terms, like terms collected."""
        collected: dict[Monomial, float] = {}
        for monomial, coefficient in terms:
            collected[monomial] = collected.get(monomial, 0.0) + coefficient
        for monomial, coefficient in collected.items():
            if not math.isfinite(coefficient):
                if not self.ignore_constants:
                    raise OverflowError
                collected[monomial] = UNKNOWN  # one object: NaN equals nothing but itself
        return tuple(sorted((m, c) for m, c in collected.items() if c != 0.0))

    def _digest(self, form: Form) -> bytes:
        """The digest of a normal form; an atom's own, if it is no more than that."""
        seen = [(monomial, self._seen(monomial, coefficient)) for monomial, coefficient in form]
        match seen:
            case [((((atom, 1), 1),), 1.0)]:
                return atom
            case _:
                pass
        parts: list[bytes] = []
        for monomial, coefficient in seen:
            parts.append(f"{coefficient:.10g}".encode())
            for (atom, sign), exponent in monomial:
                parts += [atom, f"{sign * exponent}".encode()]
            parts.append(b";")
        return combine(b"sum", *parts)

    def _seen(self, monomial: Monomial, coefficient: float) -> float:
        """What a digest shows of a term's coefficient."""
        known = self._beside_lr(monomial, coefficient)
        return UNKNOWN if self.ignore_constants and known != 1.0 else known

    def _beside_lr(self, monomial: Monomial, coefficient: float) -> float:
        """A term's coefficient; ignoring constants, that of `lr` is part of the learning rate."""
        if self.ignore_constants and any(atom == LR for (atom, _), _ in monomial):
            return 1.0
        return coefficient


_CANONICAL = Canonical()


def canonical_hash(program: Program) -> str:
    """Equal for programs that are equal by ordinary algebra."""
    return hash_program(program, _CANONICAL).digest.hex()


def number(form: Form) -> float | None:
    """The value of a normal form that is a number, else None."""
    if not form:
        return 0.0
    return form[0][1] if len(form) == 1 and form[0][0] == () else None


def _adds_blocks(op: OpDef, args: list[Value]) -> bool:
    """Whether the result depends on how many numbers the arguments' blocks have."""
    return op.over is not Over.NOTHING and any(value.kind != Kind.SCALAR for value in args)


def _atom(digest: bytes, coefficient: float = 1.0) -> Form:
    return (((((digest, 1), 1),), coefficient),)


def _scaled(form: Form, factor: float) -> Form:
    return tuple((monomial, coefficient * factor) for monomial, coefficient in form)


def _product(x: Monomial, y: Monomial) -> Monomial:
    exponents = dict(x)
    for atom, exponent in y:
        exponents[atom] = exponents.get(atom, 0) + exponent
    return tuple(sorted(exponents.items()))
