"""Normal forms of values: sums of products of powers, over interned atoms.

    lr * 0.1 * m / sqrt(m * m)      is  0.1 * lr * sign(m)
    interp(g, interp(g, m, 0.5), 0.5)  is  0.75 * g + 0.25 * m

A form is a sum of terms, each a coefficient times a monomial: atoms with exponents, which may be
fractions (sqrt(x) is x to the power 0.5). An atom is an input, a use of a function that is not
arithmetic, or a group: a longer sum as a factor. Sums are multiplied out by single terms and
collected again by `as_factor`, so that `lr * (a + b)` and `lr * a + lr * b` are one form.

Programs equal in form differ by rounding, and at isolated points where one is not finite (x / x at
0). `lr` and `step` count as positive, a hyperparameter as having its default's sign.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from optdsl.ir import Input, Role
from optdsl.ops import BY_NAME, Kind, OpDef, Over, Prop, join
from optdsl.passes.fold import evaluate

if TYPE_CHECKING:
    from optdsl.passes.algebra.rules import Rule

Monomial: TypeAlias = tuple[tuple[int, float], ...]
"""Atoms by number with their exponents, never 0, sorted; () is the number 1."""

Form: TypeAlias = tuple[tuple[Monomial, float], ...]
"""Monomials with their coefficients, never 0, sorted; () is 0."""

MAX_TERMS = 24
"""Longer sums are not multiplied out."""

NOISE = 1e-11
"""Coefficients this close, relative to what they were made from, are equal but for rounding."""

POWERS: dict[str, float] = {"sqrt": 0.5, "square": 2.0, "cube": 3.0, "reciprocal": -1.0}
"""Functions that are powers."""

NEVER_NEGATIVE = frozenset(
    {"abs", "exp", "exp2", "exp10", "cosh", "arccos", "arccosh", "norm", "global_norm", "sqrt"}
)

POSITIVE = frozenset({"exp", "exp2", "exp10", "cosh"})

LINEAR = frozenset({"mean", "sum", "row_mean", "column_mean", "transpose", "dot", "matmul"})
"""In each argument: a constant factor comes out."""

NORMS = frozenset({"norm", "global_norm"})
"""A constant factor comes out as its absolute value."""


class Leaf(NamedTuple):
    """An input, by its position."""

    value: int


class Call(NamedTuple):
    """A use of a function."""

    op: OpDef
    args: tuple[Form, ...]
    kinds: tuple[Kind, ...]
    """What a reduction's arguments are, since their sizes matter; () for others."""


class Group(NamedTuple):
    """A sum of several terms as one factor."""

    form: Form


Atom: TypeAlias = Leaf | Call | Group


class Algebra:
    """Arithmetic on forms over a program's inputs, with a set of rules."""

    def __init__(
        self, inputs: tuple[Input, ...], rules: tuple["Rule", ...], nonnegative: frozenset[int]
    ) -> None:
        """Begin with the inputs as atoms.

        Args:
            inputs: the leaves are their positions.
            rules: what is rewritten beyond arithmetic.
            nonnegative: the inputs whose numbers are never negative.
        """
        self.inputs, self.rules, self.nonnegative = inputs, rules, nonnegative
        self.atoms: list[Atom] = []
        self.kinds: list[Kind] = []
        self._numbers: dict[object, int] = {}
        self._groups: dict[Form, tuple[int, float]] = {}
        self.fired: dict[str, None] = {}
        """The rules that were used, in order."""

    def leaf(self, value: int) -> Form:
        """An input."""
        return self.factor(self._intern(Leaf(value), self.inputs[value].kind))

    def kind(self, form: Form) -> Kind:
        """What is computed if the form is."""
        kind = Kind.SCALAR
        for monomial, _ in form:
            for atom, _ in monomial:
                kind = _joined(kind, self.kinds[atom])
        return kind

    def factor(self, atom: int, exponent: float = 1.0) -> Form:
        """An atom to some power."""
        return ((((atom, exponent),), 1.0),)

    def apply(self, op: OpDef, args: list[Form], kinds: tuple[Kind, ...]) -> Form:
        """A function's result.

        Args:
            op: the function.
            args: its arguments' forms.
            kinds: the kinds of the values that these stand for.

        Raises:
            OverflowError: if a coefficient is beyond the range of doubles.
        """
        numbers = [value for form in args if (value := as_number(form)) is not None]
        blocks = op.over is not Over.NOTHING and any(kind != Kind.SCALAR for kind in kinds)
        if len(numbers) == len(args) and not blocks:
            folded = evaluate(op, numbers)
            return self.call(op, args, kinds) if folded is None else number(folded)
        match op.name:
            case "+":
                return self.add(args[0], args[1])
            case "-":
                return self.add(args[0], scaled(args[1], -1.0))
            case "*":
                return self.times(args[0], args[1])
            case "/":
                return self.times(args[0], self.power(args[1], -1.0))
            case "power" if (exponent := as_number(args[1])) is not None:
                return self.power(args[0], exponent)
            case "interpolate" if (share := as_number(args[2])) is not None:
                return self.add(scaled(args[0], 1.0 - share), scaled(args[1], share))
            case "abs" | "sign":
                return self._each_factor(op, args[0])
            case name if name in POWERS:
                return self.power(args[0], POWERS[name])
            case _:
                return self.call(op, args, kinds)

    def add(self, *forms: Form) -> Form:
        """The sum."""
        return self.collect(term for form in forms for term in form)

    def times(self, *forms: Form) -> Form:
        """The product, multiplied out where all factors but one are single terms."""
        exponents: dict[int, float] = {}
        coefficient = 1.0
        for form in forms:
            if not form:
                return ()
            monomial, factor = self.as_factor(form)
            coefficient *= factor
            for atom, exponent in monomial:
                exponents[atom] = exponents.get(atom, 0.0) + exponent
        return self._multiplied_out(self._product(exponents, coefficient))

    def power(self, form: Form, exponent: float) -> Form:
        """A form to a constant power; the root of a square is an absolute value."""
        if exponent == 0.0:
            return number(1.0)
        if not form:
            return () if exponent > 0.0 else self.call(BY_NAME["reciprocal"], [form], ())
        whole = exponent.is_integer()
        monomial, coefficient = self.as_factor(form, signed=whole)
        if whole:
            powers = {atom: n * exponent for atom, n in monomial}
            return self._multiplied_out(self._product(powers, _pow(coefficient, exponent)))
        # Only one factor may be negative: of two, the product may be positive.
        unknown = [atom for atom, n in monomial if not self._is_nonnegative(atom, n)]
        if coefficient < 0.0 or len(unknown) > 1:
            op, half = BY_NAME["power"], exponent == 0.5
            args = [form] if half else [form, number(exponent)]
            return self.call(BY_NAME["sqrt"] if half else op, args, ())
        result = number(_pow(coefficient, exponent))
        for atom, n in monomial:
            even = n % 2.0 == 0.0 and (n * exponent) % 2.0 != 0.0
            base, size = self.as_factor(self._absolute(atom) if even else self.factor(atom))
            powers = {inner: m * n * exponent for inner, m in base}
            result = self.times(result, self._product(powers, _pow(size, n * exponent)))
        return result

    def call(self, op: OpDef, args: list[Form], kinds: tuple[Kind, ...]) -> Form:
        """A use of a function as an atom, constant factors and signs taken out."""
        factor = 1.0
        if op.name in LINEAR or op.name in NORMS or op.name == "cosine_sim":
            for i, form in enumerate(args):
                scale = self.as_factor(form)[1] if form else 1.0
                args = [*args[:i], scaled(form, 1 / scale), *args[i + 1 :]]
                outside = math.copysign(1.0, scale) if op.name == "cosine_sim" else scale
                factor *= abs(outside) if op.name in NORMS else outside
        elif (
            len(args) == 1 and args[0] and args[0][0][1] < 0.0 and op.props & {Prop.ODD, Prop.EVEN}
        ):
            args = [scaled(args[0], -1.0)]
            factor = -1.0 if Prop.ODD in op.props else 1.0
        if op.commutative:
            args = sorted(args)
        sizes = kinds if op.over is not Over.NOTHING else ()
        result = op.kind(kinds or tuple(self.kind(form) for form in args))
        assert isinstance(result, Kind)
        atom = self._intern(Call(op, tuple(args), sizes), result)
        return self._multiplied_out(self._product({atom: 1.0}, factor))

    def as_factor(self, form: Form, signed: bool = True) -> tuple[Monomial, float]:
        """A form that is not 0 as one term: what its terms share, times a group of what is left.

        The same sum with another constant factor gives the same group.

        Args:
            form: what to write as a product.
            signed: whether a negative factor may come out of a group, or a factor of unknown sign.
        """
        if len(form) == 1:
            return form[0]
        shared = {
            atom: n
            for atom, n in self.shared(form).items()
            if signed or self._is_nonnegative(atom, n)
        }
        rest = self.divided(form, shared)
        leading = rest[0][1] if signed else abs(rest[0][1])
        key = tuple((monomial, _rounded(c / leading)) for monomial, c in rest)
        if key not in self._groups:
            if signed and (other := tuple((m, -c) for m, c in key)) in self._groups:
                key, leading = other, -leading
            else:
                atom = self._intern(Group(rest), self.kind(rest))
                self._groups[key] = atom, leading
        atom, first = self._groups[key]
        factors = {**shared, atom: 1.0}
        scale = leading / first
        return tuple(sorted(factors.items())), 1.0 if abs(scale - 1) < NOISE else scale

    def shared(self, form: Form) -> dict[int, float]:
        """The powers that divide every term of a sum."""
        common = dict(form[0][0])
        for monomial, _ in form[1:]:
            powers = dict(monomial)
            common = {
                atom: min(n, powers[atom], key=abs)
                for atom, n in common.items()
                if powers.get(atom, 0.0) * n > 0.0
            }
        return common

    def divided(self, form: Form, by: Mapping[int, float]) -> Form:
        """The form without powers that each of its terms has; a group left alone is its sum."""
        quotients: list[tuple[Monomial, float]] = []
        for monomial, coefficient in form:
            powers = dict(monomial)
            for atom, n in by.items():
                powers[atom] = powers[atom] - n
            left = tuple((atom, n) for atom, n in sorted(powers.items()) if n)
            quotients += self._multiplied_out(((left, coefficient),))
        return self.collect(quotients)

    def collect(self, terms: Iterable[tuple[Monomial, float]]) -> Form:
        """The sum of some terms, like terms added up.

        Raises:
            OverflowError: if a coefficient is not finite.
        """
        sums: dict[Monomial, float] = {}
        sizes: dict[Monomial, float] = {}
        for monomial, coefficient in terms:
            sums[monomial] = sums.get(monomial, 0.0) + coefficient
            sizes[monomial] = max(sizes.get(monomial, 0.0), abs(coefficient))
        if not all(map(math.isfinite, sums.values())):
            raise OverflowError
        return tuple(sorted((m, c) for m, c in sums.items() if abs(c) > NOISE * sizes[m]))

    def substitute(self, form: Form, leaves: Mapping[int, Form]) -> Form:
        """The form with inputs replaced by forms of their kind."""
        done: dict[int, Form] = {}

        def of_atom(number_: int) -> Form:
            if number_ not in done:
                atom = self.atoms[number_]
                match atom:
                    case Leaf(value):
                        done[number_] = leaves.get(value, self.factor(number_))
                    case Group(inner):
                        done[number_] = of_form(inner)
                    case Call(op, args, kinds):
                        new = [of_form(arg) for arg in args]
                        same = tuple(new) == args
                        now = kinds or tuple(self.kind(arg) for arg in new)
                        done[number_] = self.factor(number_) if same else self.apply(op, new, now)
            return done[number_]

        def of_form(form_: Form) -> Form:
            terms: list[Form] = []
            for monomial, coefficient in form_:
                factors = [self._raise_factor(of_atom(atom), n) for atom, n in monomial]
                terms.append(self.times(number(coefficient), *factors))
            return self.add(*terms)

        return of_form(form)

    def reads(self, form: Form) -> set[int]:
        """The inputs that a form depends on."""
        return {atom.value for atom in self.reachable([form]) if isinstance(atom, Leaf)}

    def reachable(self, forms: Iterable[Form]) -> list[Atom]:
        """All atoms that the forms are made of, those of their arguments and groups included."""
        seen: dict[int, None] = {}
        stack = list(forms)
        while stack:
            for monomial, _ in stack.pop():
                for number_, _ in monomial:
                    if number_ not in seen:
                        seen[number_] = None
                        stack += _inside(self.atoms[number_])
        return [self.atoms[number_] for number_ in seen]

    def is_nonnegative(self, form: Form) -> bool:
        """Whether no number of a value with this form can be negative, where it is finite."""
        return all(
            coefficient > 0.0 and all(self._is_nonnegative(atom, n) for atom, n in monomial)
            for monomial, coefficient in form
        )

    def is_positive(self, form: Form) -> bool:
        """Whether all numbers of a value with this form are above 0, where they are finite."""
        return self.is_nonnegative(form) and any(
            all(self._is_positive(atom) for atom, _ in monomial) for monomial, _ in form
        )

    def _is_positive(self, number_: int) -> bool:
        match self.atoms[number_]:
            case Leaf(value):
                return value in self.nonnegative and self.inputs[value].role is not Role.STATE
            case Call(op, _, _):
                return op.name in POSITIVE
            case Group(form):
                return self.is_positive(form)

    def _is_nonnegative(self, number_: int, exponent: float) -> bool:
        if exponent % 2.0 != 1.0:
            return True
        match self.atoms[number_]:
            case Leaf(value):
                return value in self.nonnegative
            case Call(op, _, _):
                return op.name in NEVER_NEGATIVE
            case Group(form):
                return self.is_nonnegative(form)

    def _absolute(self, atom: int) -> Form:
        if self._is_nonnegative(atom, 1.0):
            return self.factor(atom)
        return self.call(BY_NAME["abs"], [self.inner(atom)], ())

    def _each_factor(self, op: OpDef, form: Form) -> Form:
        """`abs` or `sign` of a product: the product of those of its factors."""
        monomial, coefficient = self.as_factor(form)
        result = number(abs(coefficient) if op.name == "abs" else math.copysign(1.0, coefficient))
        for atom, n in monomial:
            if op.name == "abs":
                whole = self._is_nonnegative(atom, n)
                part = (
                    self.factor(atom, n) if whole else self._raise_factor(self._absolute(atom), n)
                )
            elif self._is_positive(atom):
                part = number(1.0)
            else:
                sign = self.call(op, [self.inner(atom)], ())
                part = self.power(sign, 2.0) if self._is_nonnegative(atom, n) else sign
            result = self.times(result, part)
        return result

    def inner(self, atom: int) -> Form:
        """An atom as an argument: a group is its sum."""
        found = self.atoms[atom]
        return found.form if isinstance(found, Group) else self.factor(atom)

    def _raise_factor(self, base: Form, exponent: float) -> Form:
        return base if exponent == 1.0 else self.power(base, exponent)

    def _multiplied_out(self, form: Form) -> Form:
        """A product with one group as a factor is a sum."""
        if len(form) != 1:
            return form
        ((monomial, coefficient),) = form
        for atom, n in monomial:
            found = self.atoms[atom]
            if n == 1.0 and isinstance(found, Group) and len(found.form) <= MAX_TERMS:
                others = [(other, m) for other, m in monomial if other != atom]
                if any(isinstance(self.atoms[other], Group) and m == 1.0 for other, m in others):
                    return form
                terms: list[Form] = []
                for inner, c in found.form:
                    powers = dict(others)
                    for other, m in inner:
                        powers[other] = powers.get(other, 0.0) + m
                    terms.append(self._product(powers, c * coefficient))
                return self.add(*terms)
        return form

    def _product(self, powers: dict[int, float], coefficient: float) -> Form:
        """A term, rewritten by the first rule that fits it, if one does."""
        if not math.isfinite(coefficient):
            raise OverflowError
        if coefficient == 0.0:
            return ()
        powers = {atom: n for atom, n in powers.items() if n}
        for rule in self.rules:
            rewritten = rule.rewrite(self, powers)
            if rewritten is not None:
                self.fired[rule.text] = None
                return scaled(rewritten, coefficient)
        return ((tuple(sorted(powers.items())), coefficient),)

    def _intern(self, atom: Atom, kind: Kind) -> int:
        found = self._numbers.get(atom)
        if found is None:
            found = self._numbers[atom] = len(self.atoms)
            self.atoms.append(atom)
            self.kinds.append(kind)
        return found


def number(value: float) -> Form:
    """The form of a number."""
    return (((), value),) if value else ()


def as_number(form: Form) -> float | None:
    """The number that a form is, if it is one."""
    if not form:
        return 0.0
    return form[0][1] if len(form) == 1 and not form[0][0] else None


def scaled(form: Form, factor: float) -> Form:
    """The form times a number."""
    if factor == 0.0:
        return ()
    result = tuple((monomial, coefficient * factor) for monomial, coefficient in form)
    if not all(math.isfinite(c) for _, c in result):
        raise OverflowError
    return tuple(term for term in result if term[1])


def nonnegative_inputs(inputs: tuple[Input, ...]) -> frozenset[int]:
    """The inputs other than state that count as never negative."""
    return frozenset(
        i
        for i, entry in enumerate(inputs)
        if entry.role in (Role.LEARNING_RATE, Role.STEP)
        or (entry.default is not None and entry.default > 0.0)
    )


def _inside(atom: Atom) -> tuple[Form, ...]:
    match atom:
        case Leaf():
            return ()
        case Call(_, args, _):
            return args
        case Group(form):
            return (form,)


def _joined(x: Kind, y: Kind) -> Kind:
    joined = join(x, y)
    assert joined is not None
    return joined


def _pow(base: float, exponent: float) -> float:
    try:
        return base**exponent
    except ZeroDivisionError:
        raise OverflowError from None


def _rounded(value: float) -> float:
    return float(f"{value:.11g}")
